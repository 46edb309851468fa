"""Pure: parts that make the training of transformers' models faster: attention, dropout, one embedding gradient.

Shapes: B sentences, H heads, K heads of keys and values, T positions, d width of a head, D width of the states, V rows
of the vocabulary.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weam_fairseq.common.errors import reason_of

ATTENTION = "weam"  # the name of our attention in transformers
_DRAWS = 1 << 16  # number of values of 16 random bits


class Parts(NamedTuple):
    """Which of our faster parts a model trains with. None: active; otherwise the reason why not."""

    attention: str | None
    dropout: str | None
    embedding_gradient: str | None

    def describe(self) -> str:
        """One sentence for the log."""
        names = {name.replace("_", " "): reason for name, reason in self._asdict().items()}
        active = [name for name, reason in names.items() if reason is None]
        inactive = [f"{name} ({reason})" for name, reason in names.items() if reason is not None]
        return f"faster parts: {', '.join(active) or 'none'}" + (
            f"; not used: {', '.join(inactive)}" if inactive else ""
        )


def use_faster_parts(model: Any) -> Parts:
    """Puts our attention, dropout and embedding gradient into a model where they fit. Logits stay the same."""
    register_attention()
    reasons: dict[str, str | None] = dict.fromkeys(Parts._fields)
    try:
        fits = model._can_set_attn_implementation() and model.config._attn_implementation == "sdpa"
        if fits:
            model.set_attn_implementation(ATTENTION)
        else:
            reasons["attention"] = "the family has its own attention"
    except (AttributeError, ValueError, ImportError) as error:
        reasons["attention"] = reason_of(error)
    dropouts = [module for module in model.modules() if type(module) is nn.Dropout]
    for module in dropouts:
        module.__class__ = Dropout
    if not dropouts:
        reasons["dropout"] = "the family has no torch.nn.Dropout"
    embedding = model.get_input_embeddings()
    if not can_share(embedding):
        reasons["embedding_gradient"] = "the family has its own kind of word embeddings"
    elif not is_tied(model):
        reasons["embedding_gradient"] = "the head has its own matrix"
    else:
        embedding.__class__ = SharedEmbedding
    return Parts(**reasons)


# Attention -----------------------------------------------------------------------------------------------------------


def register_attention() -> None:
    """Makes `attn_implementation="weam"` available in transformers. Repeated calls are harmless."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(ATTENTION, attend)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)


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
    """Scaled dot-product attention as transformers calls it: (B, H, T, d), (B, K, T, d) twice -> (B, T, H, d).

    torch has no fused CPU kernel with dropout, so on a CPU `drop` drops the attention weights. All other cases use
    transformers' own function.

    Args:
        attention_mask: bool, broadcast over (B, H, T, T): the positions to attend to; None: all.
        dropout: probability of dropping an attention weight.
    """
    from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward

    causal = getattr(module, "is_causal", False) if is_causal is None else is_causal
    # Of the further arguments that families pass, transformers' function uses only these.
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
    """(B, H, T, d), three times -> (B, H, T, d).

    Computes all (B, H, T, T) weights at once, as torch does on a CPU whenever there is dropout.
    """
    scale = 1 / math.sqrt(query.size(-1)) if scaling is None else scaling
    scores = (query * scale) @ key.transpose(-2, -1)
    if attended is not None:
        scores = scores.masked_fill(~attended, torch.finfo(scores.dtype).min)
    return drop(scores.softmax(-1), dropout) @ value


# Dropout -------------------------------------------------------------------------------------------------------------
#
# On a CPU torch draws one double for each element, on one core: a tenth of an update of `weam_mbert_base` in bf16. Here
# 16 random bits decide for an element, and its mask takes one byte instead of two or four. docs/performance.md has the
# times.


def drop(states: Tensor, chance: float) -> Tensor:
    """Sets each element to 0 with probability `chance`, and divides the others by 1 - chance.

    On a CPU `chance` is rounded to a multiple of 2^-16, also in the division. torch's own generator seeds the generator
    of the random bits, so torch.manual_seed makes them reproducible.
    """
    dropped = round(chance * _DRAWS)
    if states.device.type != "cpu" or not 0 < dropped < _DRAWS:
        return F.dropout(states, chance)
    return _Dropped.apply(states, dropped)  # type: ignore[no-any-return]


class Dropout(nn.Dropout):
    """Replaces `nn.Dropout`: applies `drop` in training and nothing in evaluation. `p` is the probability."""

    def forward(self, states: Tensor) -> Tensor:
        return drop(states, self.p) if self.training else states


class _Dropped(torch.autograd.Function):
    """`dropped` is how many of 2^16 equally likely draws drop an element."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, dropped: int) -> Tensor:
        # As bytes, because torch multiplies by them faster than by booleans.
        kept = (_sixteen_bits(states.shape) >= dropped - _DRAWS // 2).view(torch.uint8)
        ctx.save_for_backward(kept)
        ctx.scale = _DRAWS / (_DRAWS - dropped)
        return (states * kept).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        (kept,) = ctx.saved_tensors
        return (upstream[0] * kept).mul_(ctx.scale), None


def _sixteen_bits(shape: torch.Size) -> Tensor:
    """Uniform int16: each number that numpy's SFC64 draws gives four of them."""
    seed = int(torch.randint(1 << 62, ()))
    count = math.prod(shape)
    drawn = np.random.SFC64(seed).random_raw(-(-count // 4))
    return torch.from_numpy(drawn.view(np.int16)[:count]).view(shape)


# One gradient of the word embeddings ---------------------------------------------------------------------------------


class LookUp(torch.autograd.Function):
    """Returns the rows of a table (V, D) for (B, T) ids, and the table itself for a head that projects on it.

    In the backward pass the head's gradient of the table arrives first, and the gradient of the rows is added to it in
    place. autograd would allocate a second (V, D) gradient for the rows, nearly all zeros: 0.7 GiB with the 250,002
    pieces of XLM-R base, more than all activations of a small batch. `pad` rows get no gradient, as in nn.Embedding;
    None: there is no such row.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, ids: Tensor, pad: int | None) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(ids)
        ctx.pad, ctx.shape = pad, table.shape
        ctx.set_materialize_grads(False)
        return F.embedding(ids, table), table

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> Any:
        rows_gradient, table_gradient = upstream
        (ids,) = ctx.saved_tensors
        if rows_gradient is None:
            return table_gradient, None, None
        if table_gradient is None:
            table_gradient = rows_gradient.new_zeros(ctx.shape)
        if ctx.pad is not None:
            rows_gradient = rows_gradient.masked_fill((ids == ctx.pad).unsqueeze(-1), 0)
        added = rows_gradient.to(table_gradient.dtype).flatten(0, -2)
        return table_gradient.index_add_(0, ids.flatten(), added), None, None


class SharedEmbedding(nn.Embedding):
    """`nn.Embedding` that keeps the table of its last look-up for the head.

    Attributes:
        table: (V, D), the weight that the head must use, so that both gradients become one. None: the last look-up had
            no gradient, or its losses have been computed.
    """

    table: Tensor | None = None

    def forward(self, ids: Tensor) -> Tensor:
        if not (torch.is_grad_enabled() and self.weight.requires_grad):
            self.table = None
            return super().forward(ids)
        rows, self.table = LookUp.apply(self.weight, ids, self.padding_idx)
        return rows

    def projection(self) -> Tensor:
        """(V, D) for a tied head."""
        return self.weight if self.table is None else self.table

    def __getstate__(self) -> dict[str, Any]:
        # A part of an autograd graph cannot be copied or pickled.
        return {name: value for name, value in self.__dict__.items() if name != "table"}


def can_share(embedding: Any) -> bool:
    """Whether an embedding is torch's own class, without the options that `LookUp` does not support."""
    return (
        type(embedding) is nn.Embedding
        and embedding.max_norm is None
        and not embedding.scale_grad_by_freq
        and not embedding.sparse
    )


def is_tied(model: Any) -> bool:
    """Whether the head projects on the word embeddings."""
    output = output_embeddings(model)
    return output is not None and output.weight is model.get_input_embeddings().weight


def output_embeddings(model: Any) -> Any:
    """The module of the last projection. None if the family names no such module."""
    try:
        return model.get_output_embeddings()
    except (AttributeError, NotImplementedError):  # raised by transformers' classes without such a module
        return None
