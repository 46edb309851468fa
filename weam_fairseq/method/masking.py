"""Pure: which pieces are masked and what stands in their place, inputs and targets in one draw.

BERT's rule (Devlin et al. 2019, section 3.1): of the masked pieces 80 % become [MASK], 10 % a random piece, 10 % stay.
"""

from typing import NamedTuple

import numpy as np

UNIFORMS = 3  # numbers drawn for each piece: is it masked, what replaces it, by which piece


class Masked(NamedTuple):
    """`inputs` (P,) int64 what the model sees; `is_masked` (P,) bool which pieces are predicted."""

    inputs: np.ndarray
    is_masked: np.ndarray


def mask_pieces(
    pieces: np.ndarray,
    uniforms: np.ndarray,
    *,
    mask_prob: float,
    replace: str,
    mask: int,
    ordinary: np.ndarray,
    unit_start: np.ndarray | None = None,
) -> Masked:
    """Masks pieces independently, or whole units together.

    Args:
        pieces: (P,) ids without special pieces.
        uniforms: (UNIFORMS, P) numbers in [0, 1).
        mask_prob: chance that a unit is masked.
        replace: `bert` (80 / 10 / 10) or `all` (always [MASK]).
        mask: id of the mask piece.
        ordinary: ids from which a random piece is drawn.
        unit_start: (P,) index of the first piece of each piece's unit (word); None: each piece is its own unit.
    """
    chosen, how, which = uniforms
    is_masked = (chosen if unit_start is None else chosen[unit_start]) < mask_prob
    inputs = np.where(is_masked, mask, pieces)
    if replace == "bert":
        random_piece = ordinary[(which * len(ordinary)).astype(np.int64)]
        inputs = np.where(is_masked & (how >= 0.8), random_piece, inputs)
        inputs = np.where(is_masked & (how >= 0.9), pieces, inputs)
    return Masked(inputs, is_masked)


def unit_starts(words: np.ndarray) -> np.ndarray:
    """(P,) index of the first piece of each piece's word.

    Args:
        words: (P,) dense word numbers (`word_exchange.number_words`).
    """
    return np.unique(words, return_index=True)[1][words]
