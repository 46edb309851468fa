"""Pure: chooses the pieces to mask and their replacements.

BERT's rule (Devlin et al. 2019, section 3.1): of the masked pieces 80 % become [MASK], 10 % become a random piece, and
10 % stay.
"""

from typing import NamedTuple

import numpy as np

UNIFORMS = 3  # random numbers per piece: for masking, for the kind of replacement, for the random piece


class Masked(NamedTuple):
    """`inputs` (P,) int64: the model's input. `is_masked` (P,) bool: whether each piece must be predicted."""

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
    """Masks pieces independently, or all pieces of a unit together.

    Args:
        pieces: (P,) ids without special pieces.
        uniforms: (UNIFORMS, P) numbers in [0, 1).
        mask_prob: probability that a unit is masked.
        replace: `bert` (80 / 10 / 10) or `all` (always [MASK]).
        mask: id of the mask piece.
        ordinary: ids to draw a random piece from.
        unit_start: (P,) index of the first piece of each piece's unit (word); None: each piece is its own unit.
    """
    mask_draws, replace_draws, piece_draws = uniforms
    is_masked = (mask_draws if unit_start is None else mask_draws[unit_start]) < mask_prob
    inputs = np.where(is_masked, mask, pieces)
    if replace == "bert":
        random_piece = ordinary[(piece_draws * len(ordinary)).astype(np.int64)]
        inputs = np.where(is_masked & (replace_draws >= 0.8), random_piece, inputs)
        inputs = np.where(is_masked & (replace_draws >= 0.9), pieces, inputs)
    return Masked(inputs, is_masked)


def unit_starts(words: np.ndarray) -> np.ndarray:
    """(P,) index of the first piece in the word of each piece.

    Args:
        words: (P,) dense word numbers (`word_exchange.number_words`).
    """
    return np.unique(words, return_index=True)[1][words]
