"""Posteriors of links under an HMM word alignment model (Vogel, Ney and Tillmann 1996) that sil-thot has trained.

Shapes: B sentence pairs of one size, J target words, I source words. A target word comes from a source word or from
no word. Every source word i has a null state, which remembers that i was the last word (Och and Ney 2003).

The numbers are the trained model's own: `translation_prob(s, t)`, and `hmm_alignment_prob(i', I, i)`. There, i and i'
count from 1, I + i is the null state of i, and i' = 0 is the state before the first target word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .lines import WordPair

Floats = NDArray[np.float64]

_TINY = np.finfo(np.float64).tiny  # an impossible pair gets zeros instead of a division by zero


_NULL_WORD = 0  # thot's index of the null word
_CELLS = 4_000_000  # (target word, source word) cells in memory: about 200 MB


class Transitions(NamedTuple):
    """Where target words of sentences with I source words come from; the numbers need not sum to 1.

    first (I,) and first_null (I,): the first target word, from word i or from its null state.
    following (I, I): after word i or its null state (row), word i' (column).
    null (I,): after word i or its null state, its null state.
    """

    first: Floats
    first_null: Floats
    following: Floats
    null: Floats


def link_posteriors(transitions: Transitions, words: Floats, nulls: Floats) -> Floats:
    """(B, J, I): the probability that target word j comes from source word i, given both sentences.

    words (B, J, I) is p(target word j | source word i), nulls (B, J) is p(target word j | no word).
    """
    target_words = words.shape[1]
    # Forward: words and null states of each target word are scaled to sum 1.
    from_word, from_null = np.empty_like(words), np.empty_like(words)
    for j in range(target_words):
        if j == 0:
            arrive_word, arrive_null = transitions.first, transitions.first_null
        else:
            last = from_word[:, j - 1] + from_null[:, j - 1]
            arrive_word, arrive_null = last @ transitions.following, last * transitions.null
        from_word[:, j] = arrive_word * words[:, j]
        from_null[:, j] = arrive_null * nulls[:, j, None]
        total = np.maximum((from_word[:, j] + from_null[:, j]).sum(1, keepdims=True), _TINY)
        from_word[:, j] /= total
        from_null[:, j] /= total
    # Backward: word i and its null state have the same successors, so one number (B, I) serves both.
    posteriors = np.empty_like(words)
    backward = np.ones_like(words[:, 0])
    for j in reversed(range(target_words)):
        if j + 1 < target_words:
            by_word = (words[:, j + 1] * backward) @ transitions.following.T
            backward = by_word + nulls[:, j + 1, None] * backward * transitions.null
            backward /= np.maximum(backward.max(1, keepdims=True), _TINY)
        total = ((from_word[:, j] + from_null[:, j]) * backward).sum(1, keepdims=True)
        posteriors[:, j] = from_word[:, j] * backward / np.maximum(total, _TINY)
    return posteriors


def hmm_posteriors(model: Any, pairs: Iterable[WordPair]) -> Iterator[Floats]:
    """For each pair (J, I): the probability that target word j comes from source word i, given both sentences.

    Zeros if a side is too long for the model, which gives such pairs no links.
    """
    lexicon = _Lexicon(model)

    @cache
    def transitions(source_words: int) -> Transitions:
        return _transitions(model, source_words)

    for run in _runs(pairs):
        found = [np.zeros((len(target), len(source))) for source, target in run]
        fitting = sorted((found[n].shape, n) for n, pair in enumerate(run) if _fits(model, pair))
        for (_, source_words), same_size in groupby(fitting, key=lambda item: item[0]):
            places = [n for _, n in same_size]
            words, nulls = lexicon.probabilities([run[n] for n in places])
            for n, posteriors in zip(places, link_posteriors(transitions(source_words), words, nulls), strict=True):
                found[n] = posteriors
        yield from found


def _fits(model: Any, pair: WordPair) -> bool:
    return max(map(len, pair)) <= model.max_sentence_length


def _runs(pairs: Iterable[WordPair]) -> Iterator[list[WordPair]]:
    """Consecutive pairs that together have about `_CELLS` cells."""
    run: list[WordPair] = []
    cells = 0
    for pair in pairs:
        run.append(pair)
        cells += len(pair[0]) * len(pair[1])
        if cells >= _CELLS:
            yield run
            run, cells = [], 0
    if run:
        yield run


def _transitions(model: Any, source_words: int) -> Transitions:
    places = range(1, source_words + 1)

    def probability(previous: int, place: int) -> float:
        return model.hmm_alignment_prob(previous, source_words, place)

    return Transitions(
        first=np.array([probability(0, i) for i in places]),
        first_null=np.array([probability(0, source_words + i) for i in places]),
        following=np.array([[probability(previous, i) for i in places] for previous in places]),
        null=np.array([probability(i, source_words + i) for i in places]),
    )


class _Lexicon:
    """p(target word | source word), including the null word. Words that the model never saw, or never saw together, all
    have the same probability.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._size = model.trg_vocab_size
        self._unseen = model.translation_prob(_NULL_WORD, self._size)  # the first index after all target words
        keys: list[NDArray[np.int64]] = []
        values: list[Floats] = []
        for source_idx in range(model.src_vocab_size):
            entries = np.array(model.get_translations(source_idx)).reshape(-1, 2)  # target index, probability
            entries = entries[entries[:, 0].argsort()]
            keys.append(source_idx * self._size + entries[:, 0].astype(np.int64))
            values.append(entries[:, 1])
        self._keys, self._values = np.concatenate(keys), np.concatenate(values)

    def probabilities(self, pairs: Sequence[WordPair]) -> tuple[Floats, Floats]:
        """For B pairs of one size: (B, J, I) of target word j from source word i, and (B, J) from no word."""
        source = _indices(self._model.get_src_word_index, [source for source, _ in pairs])
        target = _indices(self._model.get_trg_word_index, [target for _, target in pairs])
        return self._look_up(source[:, None, :], target[:, :, None]), self._look_up(np.int64(_NULL_WORD), target)

    def _look_up(self, source: Any, target: Any) -> Floats:
        keys = source * self._size + target
        places = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where(self._keys[places] == keys, self._values[places], self._unseen)


def _indices(index_of: Callable[[str], int], sentences: Sequence[Sequence[str]]) -> NDArray[np.int64]:
    """(B, words) of B sentences of one length."""
    known = {word: index_of(word) for word in {word for sentence in sentences for word in sentence}}
    return np.array([[known[word] for word in sentence] for sentence in sentences], dtype=np.int64)
