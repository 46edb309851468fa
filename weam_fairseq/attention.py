"""Pure: scaled dot-product attention (Vaswani et al. 2017, equation 1), by what is fastest where it runs.

Shapes: B sentences, H heads, T positions, d width of a head.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .dropout import drop


def attend(query: Tensor, key: Tensor, value: Tensor, attended: Tensor | None, dropout: float) -> Tensor:
    """(B, H, T, d), three times -> (B, H, T, d).

    Args:
        attended: bool, broadcast over (B, H, T, T), which positions may be looked at; None: all.
        dropout: chance to drop an attention weight.
    """
    if dropout and query.device.type == "cpu":
        return attend_in_steps(query, key, value, attended, dropout)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=attended, dropout_p=dropout)


def attend_in_steps(query: Tensor, key: Tensor, value: Tensor, attended: Tensor | None, dropout: float) -> Tensor:
    """`attend` with all (B, H, T, T) weights at once, as torch's own does on a CPU as soon as weights are dropped."""
    scores = (query / math.sqrt(query.size(-1))) @ key.transpose(-2, -1)
    if attended is not None:
        scores = scores.masked_fill(~attended, torch.finfo(scores.dtype).min)
    return drop(scores.softmax(-1), dropout) @ value
