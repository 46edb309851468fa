"""Links between the pieces of two sentences, by their states: simalign's two ways and awesome-align's.

Shapes: `I` source pieces, `J` target pieces, `D` width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

# Dou and Neubig 2021, section 2: a link has at least this probability in both directions.
SOFTMAX_THRESHOLD = 1e-3

# Jalili Sabet et al. 2020, section 2.3: the weight of a linked piece in the second round.
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
    import numpy as np

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


def _similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Cosines moved to 0–1, as simalign has them: weights below 1 then lower every one of them."""
    import numpy as np

    lengths = np.linalg.norm(source, axis=1)[:, None] * np.linalg.norm(target, axis=1)[None, :]
    return (source @ target.T / np.maximum(lengths, np.finfo(np.float32).tiny) + 1.0) / 2.0


def _mutual(similarity: np.ndarray) -> np.ndarray:
    """The first one if several tie."""
    import numpy as np

    links = np.zeros(similarity.shape, dtype=bool)
    best_target, best_source = similarity.argmax(axis=1), similarity.argmax(axis=0)
    rows = np.arange(len(similarity))
    links[rows, best_target] = best_source[best_target] == rows
    return links


def _softmax(products: np.ndarray, axis: int) -> np.ndarray:
    import numpy as np

    powers = np.exp(products - products.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)
