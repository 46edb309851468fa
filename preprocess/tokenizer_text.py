"""The training text of a tokenizer: the sentences that cleaning keeps, each pair once, or a sample of them."""

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


class TokenizerText:
    """The sentences of all pairs. They can be iterated several times and are the same each time.

    If there are more than `most`, a sample of that size, drawn by `seed`. `total` is the number of all sentences.
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
        """A mask of the training lines of each chunk. Languages are identified here only, since that is slow."""
        languages = (pair.source_lang, pair.target_lang)
        of_languages = scorers(self._rules, languages)
        found: list[Keys] = []
        kept: list[NDArray[np.bool_]] = []
        for chunk in RawReader(pair.parts, self._chunk):
            cleaned = clean(chunk, self._rules, self._excluded, of_languages, languages).pairs
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
            languages = (pair.source_lang, pair.target_lang)
            for chunk, lines in zip(RawReader(pair.parts, self._chunk), self._kept[pair.name], strict=True):
                for item in clean(chunk, rules, self._excluded, None, languages).pairs:
                    if lines[item.line_idx - chunk.first_line_idx]:
                        yield from (item.source, item.target)


def sample(sentences: Iterable[str], total: int, wanted: int, seed: int) -> Iterator[str]:
    """Draws `wanted` of `total` sentences, in their order; all samples are equally likely.

    Knuth, The Art of Computer Programming 2, 3.4.2, algorithm S: holds only the current sentence.
    """
    draw = random.Random(f"{seed}:tokenizer")
    for left, sentence in zip(range(total, 0, -1), sentences, strict=True):
        if draw.random() * left < wanted:
            wanted -= 1
            yield sentence
