"""Pure: dropout (Srivastava et al. 2014) that costs a CPU little.

torch draws one double for each element, on one core: in bf16 a tenth of the update of `weam_mbert_base`, and its scaled
dot-product attention has no fused CPU kernel with dropout. Here 16 random bits decide for an element, and the mask is
kept in one byte instead of the element's own two or four. docs/performance.md has the times.
"""

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

_CHANCES = 1 << 16  # what 16 bits tell apart


def drop(states: Tensor, chance: float) -> Tensor:
    """Each element 0 with `chance`, the others divided by 1 - chance.

    On a CPU the chance is rounded to a multiple of 2^-16, and so is what the others are divided by. The random bits
    come from a generator that torch's own one seeds, so torch.manual_seed fixes them.
    """
    dropped = round(chance * _CHANCES)
    if states.device.type != "cpu" or not 0 < dropped < _CHANCES:
        return F.dropout(states, chance)
    return _Dropped.apply(states, dropped)  # type: ignore[no-any-return]


class Dropout(nn.Dropout):
    """`drop` in training, nothing otherwise. It takes the place of `nn.Dropout`, whose chance is `p`."""

    def forward(self, states: Tensor) -> Tensor:
        return drop(states, self.p) if self.training else states


class _Dropped(torch.autograd.Function):
    """dropped: of 2^16 equally likely draws, how many drop an element."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, dropped: int) -> Tensor:
        # As bytes: torch multiplies by them faster than by booleans.
        kept = (_sixteen_bits(states.shape) >= dropped - _CHANCES // 2).view(torch.uint8)
        ctx.save_for_backward(kept)
        ctx.scale = _CHANCES / (_CHANCES - dropped)
        return (states * kept).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        (kept,) = ctx.saved_tensors
        return (upstream[0] * kept).mul_(ctx.scale), None


def _sixteen_bits(shape: torch.Size) -> Tensor:
    """Uniform int16, four of each number that numpy's SFC64 draws."""
    seed = int(torch.randint(1 << 62, ()))
    count = math.prod(shape)
    drawn = np.random.SFC64(seed).random_raw(-(-count // 4))
    return torch.from_numpy(drawn.view(np.int16)[:count]).view(shape)
