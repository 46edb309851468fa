"""The data-bin's files in fairseq's own formats. The one file of this room that imports fairseq.

fairseq's id space: `<s>`, `<pad>`, `</s>`, `<unk>` are 0 to 3 and stand for the tokenizer's cls, pad, sep and unk;
every other tokenizer id is a line of the dictionary, in increasing order, from 4 on. Symbols are numbers, because
fairseq splits lines on white space and pieces may hold some.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

# What a link's probability is counted in: parts per so many.
CERTAIN = 10_000


class BinarizedPair(NamedTuple):
    """One sentence pair in index spaces: tokenizer ids, word_idx of every piece, links of piece_idx.

    `probabilities` holds one number in (0, 1] for each piece link; None where the aligner has none.
    """

    source_ids: Sequence[int]
    target_ids: Sequence[int]
    source_words: Sequence[int]
    target_words: Sequence[int]
    piece_links: Sequence[tuple[int, int]]
    probabilities: Sequence[float] | None = None


class IdSpace:
    """From tokenizer ids to fairseq ids."""

    def __init__(self, ids: Sequence[int], special_ids: Mapping[str, int]) -> None:
        first = [special_ids[name] for name in ("cls", "pad", "sep", "unk")]
        self.dictionary_ids = [i for i in sorted(ids) if i not in first]
        self._to_fairseq = np.full(max(ids) + 1, -1, dtype=np.int64)
        for fairseq_id, tokenizer_id in enumerate(first + self.dictionary_ids):
            self._to_fairseq[tokenizer_id] = fairseq_id
        self.size = len(first) + len(self.dictionary_ids)

    def fairseq_ids(self, tokenizer_ids: Sequence[int]) -> NDArray[np.int64]:
        converted = self._to_fairseq[np.asarray(tokenizer_ids, dtype=np.int64)]
        assert (converted >= 0).all(), "the tokenizer gave an id that is not in its vocabulary"
        return converted


def require_fairseq() -> None:
    """Raises InputError with the command when fairseq is not installed, before any work is done."""
    try:
        import fairseq.data.indexed_dataset  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"Writing a data-bin needs fairseq ({error}). Install it: pip install --no-deps ve-fairseq==0.12.3"
        ) from error


def write_dictionary(space: IdSpace, file: Path) -> None:
    """fairseq's own writer; the counts are 1 because nothing uses them."""
    from fairseq.data import Dictionary

    dictionary = Dictionary()
    for tokenizer_id in space.dictionary_ids:
        dictionary.add_symbol(str(tokenizer_id), n=1)
    dictionary.save(str(file))


def write_split(
    folder: Path, split: str, languages: tuple[str, str], pairs: Sequence[BinarizedPair], space: IdSpace
) -> None:
    """Writes the bin and idx files of one split (train or valid) of one language pair: five, or six if links have
    probabilities. Either all pairs have them or none."""
    source, target = languages
    name = f"{source}-{target}"
    _write(folder, f"{split}.{name}.{source}", (space.fairseq_ids(pair.source_ids) for pair in pairs), space.size)
    _write(folder, f"{split}.{name}.{target}", (space.fairseq_ids(pair.target_ids) for pair in pairs), space.size)
    # s0 t0 s1 t1 …: the flat layout that fairseq-preprocess gives its alignments.
    _write(folder, f"{split}.align.{name}", (np.array(pair.piece_links).reshape(-1) for pair in pairs))
    _write(folder, f"{split}.words.{name}.{source}", (np.array(pair.source_words) for pair in pairs))
    _write(folder, f"{split}.words.{name}.{target}", (np.array(pair.target_words) for pair in pairs))
    if any(pair.probabilities is not None for pair in pairs):
        _write(folder, f"{split}.probs.{name}", (_parts(pair) for pair in pairs), CERTAIN + 1)


def _parts(pair: BinarizedPair) -> NDArray[np.int64]:
    """Probabilities as whole parts of CERTAIN, at least 1, so that no link vanishes."""
    assert pair.probabilities is not None
    assert len(pair.probabilities) == len(pair.piece_links)
    parts = np.rint(CERTAIN * np.array(pair.probabilities, dtype=np.float64))
    return parts.clip(1, CERTAIN).astype(np.int64)


def _write(folder: Path, prefix: str, items: Iterable[NDArray], values: int | None = None) -> None:
    """`values` is how many different values there may be; None looks at the items."""
    import torch
    from fairseq.data.indexed_dataset import data_file_path, index_file_path, make_builder

    arrays = list(items)
    if values is None:
        values = 1 + max((int(array.max()) for array in arrays if array.size), default=0)
    path = str(folder / prefix)
    builder = make_builder(data_file_path(path), impl="mmap", vocab_size=values)
    for array in arrays:
        builder.add_item(torch.from_numpy(array.astype(np.int64)))
    builder.finalize(index_file_path(path))
    if not any(array.size for array in arrays):
        # No link in the whole split: fairseq's reader maps the file into memory, and an empty one cannot be mapped.
        # The index points at none of these bytes.
        Path(data_file_path(path)).write_bytes(bytes(8))
