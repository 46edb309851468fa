"""Word links to piece links, by character spans over the raw sentence. Pure: no tokenizer, no aligner, no files.

`word_idx` and `piece_idx` count from 0 within a sentence; special pieces have no `piece_idx`. A piece touches a word if
they share at least one character. Piece p is linked to piece q exactly if some word link (a, b) has p touching a and q
touching b.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .spans import SpanArrays

Integers = NDArray[np.int64]


class Projected(NamedTuple):
    """S sentence pairs with P source pieces, Q target pieces and L piece links in total, laid end to end.

    source_words (P,), target_words (Q,): the word that each piece shares most characters with, the first of equals. A
        piece that touches no word is a unit of its own: it gets an index after the last word, no two the same.
    links (L, 2): sorted within each pair, without repetition; flat, they are s0 t0 s1 t1 …
    link_sizes (S,): the links of each pair.
    probabilities (L,): for each link, the largest probability of the word links that give it.
    words_without_pieces: the number of words on each side that no piece touches.
    """

    source_words: Integers
    target_words: Integers
    links: Integers
    link_sizes: Integers
    probabilities: NDArray[np.float64] | None
    words_without_pieces: tuple[int, int]


def project_batch(
    source_words: SpanArrays,
    target_words: SpanArrays,
    source_pieces: SpanArrays,
    target_pieces: SpanArrays,
    word_links: Integers,
    link_sizes: Integers,
    probabilities: NDArray[np.float64] | None = None,
) -> Projected:
    """Projects S pairs. `word_links` is (M, 2), `link_sizes` (S,) the links of each pair, `probabilities` (M,)."""
    assert len(source_words.sizes) == len(target_words.sizes) == len(link_sizes)
    assert int(link_sizes.sum()) == len(word_links)
    source, target = _Touching(source_words, source_pieces), _Touching(target_words, target_pieces)
    pair_of_link = np.repeat(np.arange(len(link_sizes)), link_sizes)
    a = word_links[:, 0] + source.first_word[pair_of_link]
    b = word_links[:, 1] + target.first_word[pair_of_link]
    # Every word link becomes all pairs of a piece that touches a and a piece that touches b.
    counts = source.touching[a] * target.touching[b]
    link, place = _spread(counts)
    p = source.pieces_by_word[source.first_touching[a[link]] + place // target.touching[b[link]]]
    q = target.pieces_by_word[target.first_touching[b[link]] + place % target.touching[b[link]]]
    # Sorted by pair, p and q: pieces are numbered through the batch. Two word links may give one piece link.
    width = max(len(target_pieces.starts), 1)
    keys = p * width + q
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    first = np.flatnonzero(np.diff(keys, prepend=-1))
    p, q = keys[first] // width, keys[first] % width
    pair = np.searchsorted(np.cumsum(source_pieces.sizes), p, side="right")
    return Projected(
        source.word_of_each_piece(),
        target.word_of_each_piece(),
        np.stack([p - source.first_piece[pair], q - target.first_piece[pair]], axis=1),
        np.bincount(pair, minlength=len(link_sizes)),
        None if probabilities is None else _largest(probabilities[link][order], first),
        (int((source.touching == 0).sum()), int((target.touching == 0).sum())),
    )


class _Touching:
    """Which pieces touch which words, on one side of a batch. Words and pieces are numbered through the batch."""

    def __init__(self, words: SpanArrays, pieces: SpanArrays) -> None:
        assert len(words.sizes) == len(pieces.sizes)
        self.words, self.pieces = words, pieces
        self.first_word, self.first_piece = _firsts(words.sizes), _firsts(pieces.sizes)
        # Places all sentences on one axis, at distances of `stretch`.
        stretch = 1 + max(words.ends.max(initial=0), pieces.ends.max(initial=0))
        self._sentence_of_piece = np.repeat(np.arange(len(pieces.sizes)), pieces.sizes)
        word_shift = stretch * np.repeat(np.arange(len(words.sizes)), words.sizes)
        piece_shift = stretch * self._sentence_of_piece
        word_starts, word_ends = words.starts + word_shift, words.ends + word_shift
        starts, ends = pieces.starts + piece_shift, pieces.ends + piece_shift
        # Words are in order, so those that share a character with a piece are neighbors.
        low = np.searchsorted(word_ends, starts, side="right")
        high = np.where(starts < ends, np.searchsorted(word_starts, ends, side="left"), low)
        self._words_of_piece = np.maximum(high - low, 0)
        self._piece, place = _spread(self._words_of_piece)
        self._word = low[self._piece] + place
        self._shared = np.minimum(word_ends[self._word], ends[self._piece]) - np.maximum(
            word_starts[self._word], starts[self._piece]
        )
        self.touching = np.bincount(self._word, minlength=len(words.starts))
        self.first_touching = _firsts(self.touching)
        self.pieces_by_word = self._piece[np.argsort(self._word, kind="stable")]

    def word_of_each_piece(self) -> Integers:
        """(P,): see `Projected.source_words`."""
        # A piece's words are in order: the first of the largest is the lowest.
        touched = np.flatnonzero(self._words_of_piece)
        firsts = _firsts(self._words_of_piece)[touched]
        most = np.zeros(len(self._words_of_piece), dtype=np.int64)
        most[touched] = _largest(self._shared, firsts)
        best = np.full(len(most), len(self.words.starts), dtype=np.int64)
        is_most = (self._shared == most[self._piece]) & (self._shared > 0)
        best[touched] = _smallest(np.where(is_most, self._word, len(self.words.starts)), firsts)
        alone = best == len(self.words.starts)
        before = np.cumsum(alone) - alone
        own = self.words.sizes[self._sentence_of_piece] + before - before[self.first_piece[self._sentence_of_piece]]
        return np.where(alone, own, best - self.first_word[self._sentence_of_piece])


def _firsts(sizes: Integers) -> Integers:
    """Returns the start of each consecutive run, given the runs' lengths."""
    return np.cumsum(sizes) - sizes


def _spread(counts: Integers) -> tuple[Integers, Integers]:
    """Repeats each index by its count, and numbers the repetitions: counts 2 0 1 give 0 0 2 and 0 1 0."""
    whose = np.repeat(np.arange(len(counts)), counts)
    return whose, np.arange(len(whose)) - _firsts(counts)[whose]


def _largest(values: NDArray, firsts: Integers) -> NDArray:
    return np.maximum.reduceat(values, firsts) if len(firsts) else values[:0]


def _smallest(values: NDArray, firsts: Integers) -> NDArray:
    return np.minimum.reduceat(values, firsts) if len(firsts) else values[:0]
