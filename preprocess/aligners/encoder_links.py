"""Links between the pieces of two sentences from how alike their states are. Pure NumPy.

Shapes: S source pieces, T target pieces, D width. "Forward" is the direction of the other aligners: every target
piece looks for its source pieces.

argmax: cosine similarity; a piece is linked to the one that is most like it (Jalili Sabet et al. 2020, SimAlign).
softmax: inner product; a piece is linked to all whose share in the softmax over the other sentence is above the
threshold (Dou and Neubig 2021, awesome-align).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .base import Link
from .link_files import SMALLEST_POSTERIOR
from .symmetrize import symmetrize as join

Floats = NDArray[np.float32]

METHODS = ("softmax", "argmax")


@dataclass(frozen=True)
class EncoderOptions:
    """How links come from an encoder.

    method: one of METHODS. softmax gives probabilities, argmax none.
    layer: whose states are compared, 0 for the embeddings; None is two thirds of the layers (8 of 12).
    threshold: of the softmax, between 0 and 1; awesome-align's default.
    bf16: computes in bfloat16: about half the memory, and faster where the machine has it; links differ a little.
    batch_size: sentences encoded at once.
    device: one of torch, such as cpu or cuda:1; None is the GPU where there is one.
    """

    method: str = "softmax"
    layer: int | None = None
    threshold: float = 1e-3
    bf16: bool = False
    batch_size: int = 64
    device: str | None = None


class PieceLinks(NamedTuple):
    """Both directions, and (S, T) probabilities of each where the method has them."""

    forward: list[Link]
    reverse: list[Link]
    forward_probabilities: Floats | None = None
    reverse_probabilities: Floats | None = None

    def probability(self, link: Link, how: str) -> float | None:
        """The mean of the two directions; for the symmetrisation `forward`, that direction's own."""
        if self.forward_probabilities is None or self.reverse_probabilities is None:
            return None
        forward, reverse = float(self.forward_probabilities[link]), float(self.reverse_probabilities[link])
        mean = forward if how == "forward" else (forward + reverse) / 2
        return min(1.0, max(SMALLEST_POSTERIOR, mean))


def piece_links(source: Floats, target: Floats, method: str, threshold: float) -> PieceLinks:
    """From states (S, D) and (T, D), S and T at least 1. Of equal similarities, argmax takes the first piece."""
    if method == "argmax":
        similarity = _unit(source) @ _unit(target).T
        forward = [(int(i), j) for j, i in enumerate(similarity.argmax(axis=0))]
        return PieceLinks(forward, [(i, int(j)) for i, j in enumerate(similarity.argmax(axis=1))])
    similarity = source @ target.T
    over_source, over_target = _softmax(similarity, axis=0), _softmax(similarity, axis=1)
    return PieceLinks(_above(over_source, threshold), _above(over_target, threshold), over_source, over_target)


def word_links(
    links: PieceLinks, source_words: list[list[int]], target_words: list[list[int]], how: str
) -> tuple[list[Link], list[float] | None]:
    """Joins the directions over pieces, as both programs do, and names the words that linked pieces belong to.

    source_words and target_words give the words of each piece. A word link has its likeliest piece link's probability.
    """
    found: dict[Link, float | None] = {}
    for p, q in join(len(source_words), len(target_words), links.forward, links.reverse, how):
        probability = links.probability((p, q), how)
        for link in ((i, j) for i in source_words[p] for j in target_words[q]):
            known = found.get(link)
            found[link] = probability if known is None or probability is None else max(known, probability)
    told = sorted(found)
    if links.forward_probabilities is None:
        return told, None
    return told, [value for link in told if (value := found[link]) is not None]


def _unit(states: Floats) -> Floats:
    return states / np.maximum(np.linalg.norm(states, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def _softmax(similarity: Floats, axis: int) -> Floats:
    powers = np.exp(similarity - similarity.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def _above(probabilities: Floats, threshold: float) -> list[Link]:
    return [(int(i), int(j)) for i, j in np.argwhere(probabilities > threshold)]
