"""What a tokenizer is trained on: the sentences that cleaning leaves, each pair once, or a sample of them."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .cleaning import Rules, clean, scorers
from .corpus import PairFiles, keys
from .kept_pairs import first_occurrences
from .raw import RawReader

if TYPE_CHECKING:
    from .corpus import Keys


class Sentences:
    """The sentences of all pairs; can be gone through several times, and are the same each time.

    Where there are more than `most`, so many of them, drawn by `seed`. `total` is how many there are.
    """

    def __init__(
        self,
        pairs: Sequence[PairFiles],
        chunk: int,
        rules: Rules,
        excluded: Collection[str],
        most: int | None = None,
        seed: int = 1,
    ) -> None:
        self._pairs, self._chunk, self._rules, self._excluded = pairs, chunk, rules, excluded
        self._seed = seed
        self._kept = {pair.name: self._find_kept(pair) for pair in pairs}
        self.total = 2 * sum(int(lines.sum()) for chunks in self._kept.values() for lines in chunks)
        self._size = self.total if most is None else min(most, self.total)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[str]:
        return sample(self._all(), self.total, self._size, self._seed)

    def _find_kept(self, pair: PairFiles) -> list[NDArray[np.bool_]]:
        """For each chunk which of its lines are trained on. Languages are told here, once: that takes the longest."""
        of_languages = scorers(self._rules, (pair.source_lang, pair.target_lang))
        found: list[Keys] = []
        kept: list[NDArray[np.bool_]] = []
        for chunk in RawReader(pair.parts, self._chunk):
            cleaned = clean(chunk, self._rules, self._excluded, of_languages).pairs
            lines = np.zeros(chunk.size, dtype=bool)
            lines[[item.line_idx - chunk.first_line_idx for item in cleaned]] = True
            found.append(keys(cleaned))
            kept.append(lines)
        for lines, first in zip(kept, first_occurrences(found), strict=True):
            lines[np.flatnonzero(lines)] = first
        return kept

    def _all(self) -> Iterator[str]:
        rules = replace(self._rules, min_language_score=None)
        for pair in self._pairs:
            for chunk, lines in zip(RawReader(pair.parts, self._chunk), self._kept[pair.name], strict=True):
                for item in clean(chunk, rules, self._excluded).pairs:
                    if lines[item.line_idx - chunk.first_line_idx]:
                        yield from (item.source, item.target)


def sample(sentences: Iterable[str], total: int, wanted: int, seed: int) -> Iterator[str]:
    """`wanted` of `total` sentences in their order, every such choice as likely as any other.

    Knuth, The Art of Computer Programming 2, 3.4.2, algorithm S: none but the current sentence is held.
    """
    draw = random.Random(f"{seed}:tokenizer")
    for left, sentence in zip(range(total, 0, -1), sentences, strict=True):
        if draw.random() * left < wanted:
            wanted -= 1
            yield sentence
