"""Word embeddings that a tied head projects on, with one (V, D) gradient in the place of two."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LookUp(torch.autograd.Function):
    """Rows of a table (V, D) for (B, T) ids, and the table itself, for a head that projects on it.

    The head's gradient by the table comes back before that of the rows, which is added to it in place. autograd would
    make a second (V, D) for the rows, nearly all zeros: with the 250,002 pieces of XLM-R base 0.7 GiB, more than all
    activations of a small batch. `pad` rows get none, as in nn.Embedding; None: there is no such row.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, ids: Tensor, pad: int | None) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(ids)
        ctx.pad, ctx.shape = pad, table.shape
        ctx.set_materialize_grads(False)
        return F.embedding(ids, table), table

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> Any:
        of_rows, of_table = upstream
        (ids,) = ctx.saved_tensors
        if of_rows is None:
            return of_table, None, None
        if of_table is None:
            of_table = of_rows.new_zeros(ctx.shape)
        of_pieces = of_rows if ctx.pad is None else of_rows.masked_fill((ids == ctx.pad).unsqueeze(-1), 0)
        return of_table.index_add_(0, ids.flatten(), of_pieces.to(of_table.dtype).flatten(0, -2)), None, None


class SharedEmbedding(nn.Embedding):
    """`nn.Embedding` that keeps the table of its last look-up for the head.

    Attributes:
        table: (V, D), the weight as the head must take it, so that both gradients become one; None: the last look-up
            had no gradient, or its losses are computed.
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
    """Whether an embedding is torch's own, without an option that a look-up here would miss."""
    return (
        type(embedding) is nn.Embedding
        and embedding.max_norm is None
        and not embedding.scale_grad_by_freq
        and not embedding.sparse
    )
