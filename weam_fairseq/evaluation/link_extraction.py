"""A matrix of similarities between two sentences' pieces to links, and links of pieces to links of words. Numpy only.

Shapes: `I` source pieces, `J` target pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from weam_fairseq.evaluation.readers import WordLink

# The states of both sides' pieces to (I, J) booleans.
Extraction = Callable[[np.ndarray, np.ndarray], np.ndarray]

# Dou and Neubig 2021, section 2: a link has at least this probability in both directions.
SOFTMAX_THRESHOLD = 1e-3

# Jalili Sabet et al. 2020, section 2.3: what a piece that is linked already is worth in the second round.
ITERMAX_DISCOUNT = 0.9


def mutual_argmax(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Links pieces that are each other's nearest by cosine (simalign's `inter`).

    *Shape:* `(I, D)`, `(J, D)` to `(I, J)`, booleans.
    """
    return _mutual(_similarity(source, target))


def itermax(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Mutual argmax, then once more among pairs with a piece that is free (simalign's `itermax`, two rounds).

    *Shape:* `(I, D)`, `(J, D)` to `(I, J)`, booleans.
    """
    similarity = _similarity(source, target)
    links = _mutual(similarity)
    free_source = np.logical_not(links.any(axis=1, keepdims=True))
    free_target = np.logical_not(links.any(axis=0, keepdims=True))
    if min(similarity.shape) <= 2 or not free_source.any() or not free_target.any():
        return links
    weight = np.where(free_source & free_target, 1.0, np.where(free_source | free_target, ITERMAX_DISCOUNT, 0.0))
    return links | (_mutual(similarity * weight) & (weight > 0))


def softmax_both_ways(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Links pieces of which each gives the other more than the threshold (awesome-align), by inner products.

    *Shape:* `(I, D)`, `(J, D)` to `(I, J)`, booleans.
    """
    products = source @ target.T
    return (_softmax(products, 1) > SOFTMAX_THRESHOLD) & (_softmax(products, 0) > SOFTMAX_THRESHOLD)


# Ways to extract links; the first one gives the figure that is reported.
EXTRACTIONS: Mapping[str, Extraction] = {
    "argmax": mutual_argmax,
    "itermax": itermax,
    "softmax": softmax_both_ways,
}


def word_links(
    links: np.ndarray, source_words: Sequence[Sequence[int]], target_words: Sequence[Sequence[int]]
) -> frozenset[WordLink]:
    """Two words are linked if a piece of one is linked to a piece of the other.

    Args:
        source_words: for each source piece, the words that it belongs to.
    """
    return frozenset(
        (source, target)
        for i, j in zip(*np.nonzero(links), strict=True)
        for source in source_words[i]
        for target in target_words[j]
    )


def _similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Cosines moved to 0–1, as simalign has them: weights below 1 then lower every one of them."""
    lengths = np.linalg.norm(source, axis=1)[:, None] * np.linalg.norm(target, axis=1)[None, :]
    return (source @ target.T / np.maximum(lengths, np.finfo(np.float32).tiny) + 1.0) / 2.0


def _mutual(similarity: np.ndarray) -> np.ndarray:
    """The first one if several tie."""
    links = np.zeros(similarity.shape, dtype=bool)
    best_target, best_source = similarity.argmax(axis=1), similarity.argmax(axis=0)
    rows = np.arange(len(similarity))
    links[rows, best_target] = best_source[best_target] == rows
    return links


def _softmax(products: np.ndarray, axis: int) -> np.ndarray:
    powers = np.exp(products - products.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)
