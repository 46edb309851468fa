"""Posteriors of links under an HMM word alignment model (Vogel, Ney and Tillmann 1996). Pure NumPy.

Shapes: B sentence pairs of one size, J target words, I source words. A target word comes from a source word or from
no word. Next to every source word i stands a null state, which remembers that i was the last word (Och and Ney 2003).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_TINY = np.finfo(np.float64).tiny  # a pair that the model holds for impossible gets zeros, not a division by zero


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
    """(B, J, I): how likely target word j comes from source word i, given both sentences; the rest to 1 is no word.

    words (B, J, I) is p(target word j | source word i), nulls (B, J) is p(target word j | no word).
    """
    target_words = words.shape[1]
    # Forward, each target word scaled to sum 1, of words and of null states.
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
    # Backward: what may follow word i may follow its null state, so one number (B, I) serves both.
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
