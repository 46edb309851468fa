"""What retrieval reaches without any model, by shared pieces.

Names, numbers and loan words stand on both sides of a pair, so even a model with random weights finds many
translations by them. Counted exactly they find more than the means of a small model do, which lose them among other
pieces; so this is no lower bound, but it says how much of a figure may owe nothing to translation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from weam_fairseq.evaluation.encode import Group, Pieces
from weam_fairseq.evaluation.retrieval import nearest

# The ids of a group's pieces.
Bag = tuple[int, ...]


def bags(pieces: Pieces, groups: Sequence[Sequence[Group]]) -> list[Bag]:
    """One bag a group, in the order of `group_states`."""
    return [
        tuple(ids[position] for position in group)
        for ids, row in zip(pieces.inputs["input_ids"], groups, strict=True)
        for group in row
    ]


def nearest_by_overlap(queries: Sequence[Bag], candidates: Sequence[Bag]) -> np.ndarray:
    """The candidate whose piece counts have the highest cosine with the query's; the first one if none is shared.

    *Shape:* `Q` bags, `C` bags to `(Q,)`.
    """
    columns = {piece: column for column, piece in enumerate(sorted({piece for bag in candidates for piece in bag}))}
    return nearest(_counts(queries, columns), _counts(candidates, columns))


def _counts(bags: Sequence[Bag], columns: dict[int, int]) -> np.ndarray:
    """*Shape:* `(bags, columns)`. Pieces that no candidate has change no query's order of candidates."""
    counts = np.zeros((len(bags), len(columns)), dtype=np.float32)
    for row, bag in enumerate(bags):
        for piece in bag:
            if piece in columns:
                counts[row, columns[piece]] += 1
    return counts
