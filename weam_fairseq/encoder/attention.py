"""Scaled dot-product attention (Vaswani et al. 2017, equation 1), registered with transformers as `weam`.

Shapes: B sentences, H heads, K heads of keys and values, T positions, d width of a head.
"""

import math
from typing import Any

import torch
from torch import Tensor

from weam_fairseq.encoder.dropout import drop

NAME = "weam"


def register() -> None:
    """Makes `attn_implementation="weam"` known to transformers; more than once does no harm."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it: (B, H, T, d), (B, K, T, d) twice -> (B, T, H, d).

    On a CPU torch has no fused kernel with dropout: there the weights are dropped by `drop`. Everything else is
    transformers' own function.

    Args:
        attention_mask: bool, broadcast over (B, H, T, T): which positions are attended to; None: all.
        dropout: chance to drop an attention weight.
    """
    from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward

    causal = getattr(module, "is_causal", False) if is_causal is None else is_causal
    # Of what families pass besides, transformers' function looks at these only.
    is_plain = not causal and all(others.get(name) is None for name in ("position_bias", "softcap", "cache"))
    is_boolean = attention_mask is None or attention_mask.dtype == torch.bool
    if not dropout or query.device.type != "cpu" or not is_plain or not is_boolean:
        mixed, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, is_causal=is_causal, **others
        )
        return mixed, None
    groups = query.size(1) // key.size(1)
    mixed = attend_in_steps(
        query, repeat_kv(key, groups), repeat_kv(value, groups), attention_mask, dropout, scaling=scaling
    )
    return mixed.transpose(1, 2).contiguous(), None


def attend_in_steps(
    query: Tensor, key: Tensor, value: Tensor, attended: Tensor | None, dropout: float, scaling: float | None = None
) -> Tensor:
    """(B, H, T, d), three times -> (B, H, T, d), with all (B, H, T, T) weights at once, as torch's own does on a CPU as
    soon as weights are dropped."""
    scale = 1 / math.sqrt(query.size(-1)) if scaling is None else scaling
    scores = (query * scale) @ key.transpose(-2, -1)
    if attended is not None:
        scores = scores.masked_fill(~attended, torch.finfo(scores.dtype).min)
    return drop(scores.softmax(-1), dropout) @ value
