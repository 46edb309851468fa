"""Pure: computes projection on the vocabulary and cross entropy in one step, without holding all logits.

Shapes: M rows, D width, V vocabulary, K blocks of the vocabulary.

The M × V logits, their softmax and its gradient are by far the largest tensors of a masked LM (2,000 × 120,000: 0.9 GiB
each). The loss is a sum with known weights, so the gradient of a row can be computed as soon as its logits are known.
The rows are therefore processed in parts, and only the gradients (M, D) and (V, D) outlive a part. Within a part the
vocabulary is divided into blocks that stay in the processor's cache from the product to the exponential. Each block
subtracts its own largest logit. The difference to the largest logit of all blocks becomes a factor of the rows'
weights. torch's F.linear_cross_entropy (2.13) works in parts too, but is slower here and does not return `hit`.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

# Memory for the logits of a part, and columns of a block. docs/performance.md has the times with other values.
PART_BYTES = {"cpu": 192 << 20, "cuda": 512 << 20}
BLOCK_COLUMNS = {"cpu": 8192, "cuda": 1 << 30}


class ProjectedCrossEntropy(torch.autograd.Function):
    """Σ weight · nll over M rows. Also returns nll (M,) float32 and hit (M,) bool, both without gradients.

    Matrices are multiplied in `dtype`. Exponentials and sums are at least float32. hit: no piece is more likely than
    the target.
    """

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, projection: Tensor, bias: Tensor, targets: Tensor, weights: Tensor, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor, Tensor]:
        nll = torch.empty(len(rows), device=rows.device)
        hit = torch.empty(len(rows), dtype=torch.bool, device=rows.device)
        needed = ctx.needs_input_grad[:3]
        gradients = Gradients.like(rows, projection, bias, needed) if any(needed) else None
        with torch.autocast(rows.device.type, enabled=False):
            head = _Head(rows.to(dtype), projection.to(dtype), bias.to(dtype))
            for part in head.parts():
                result = head.project(part, targets[part])
                nll[part], hit[part] = result.nll, result.hit
                if gradients is not None:
                    head.send_back(part, result, targets[part], weights[part], gradients)
        ctx.gradients = gradients
        ctx.mark_non_differentiable(nll, hit)
        return (weights * nll).sum(), nll, hit

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        gradients, ctx.gradients = ctx.gradients, None  # without another reference, autograd can add to them in place
        scale = upstream[0]
        if scale.device.type != "cpu" or scale.item() != 1:
            for gradient in gradients:
                if gradient is not None:
                    gradient.mul_(scale)
        return *gradients, None, None, None


class Gradients(NamedTuple):
    """Gradients of the loss by rows (M, D), projection (V, D) and bias (V,). None: not needed, as if frozen."""

    rows: Tensor | None
    projection: Tensor | None
    bias: Tensor | None

    @classmethod
    def like(cls, rows: Tensor, projection: Tensor, bias: Tensor, needed: tuple[bool, ...]) -> "Gradients":
        # The first part overwrites projection and bias, so they need no zeros.
        make = torch.empty_like if len(rows) else torch.zeros_like
        makers = (torch.zeros_like, make, make)
        columns = zip(makers, (rows, projection, bias), needed, strict=True)
        return cls(*(maker(like) if need else None for maker, like, need in columns))


class _PartResult(NamedTuple):
    """The result for the M' rows of a part.

    Attributes:
        nll, hit: (M',).
        shares: (M', K) factors that turn the exponentials of each block into probabilities.
    """

    nll: Tensor
    hit: Tensor
    shares: Tensor


class _Head:
    """The operands, and a buffer for the exponentials of one part of the rows, block by block."""

    def __init__(self, rows: Tensor, projection: Tensor, bias: Tensor) -> None:
        self._rows, self._projection, self._bias = rows, projection, bias
        kind = "cpu" if rows.device.type == "cpu" else "cuda"
        vocabulary = len(projection)
        self._at_once = min(len(rows), max(1, PART_BYTES[kind] // (vocabulary * rows.dtype.itemsize)))
        width = min(BLOCK_COLUMNS[kind], vocabulary)
        self._blocks = [slice(start, min(start + width, vocabulary)) for start in range(0, vocabulary, width)]
        # One buffer for all parts, because touching new memory costs as much as the computation in it.
        self._buffer = rows.new_empty(self._at_once * vocabulary)
        # The current block in float32, if matrices are multiplied in half precision.
        self._exact = (
            self._buffer[:0]
            if _exact(rows.dtype) == rows.dtype
            else rows.new_empty(self._at_once * width, dtype=_exact(rows.dtype))
        )

    def parts(self) -> Iterator[slice]:
        for start in range(0, len(self._rows), self._at_once or 1):
            yield slice(start, start + self._at_once)

    def project(self, part: slice, targets: Tensor) -> _PartResult:
        """Writes exp(logit - largest of the block) into the buffer, and 0 for the targets."""
        rows, columns = self._rows[part], targets.unsqueeze(1)
        maxima, sums = [], []
        of_target = rows.new_zeros(len(rows), 1, dtype=_exact(rows.dtype))
        for block, stored in self._stored(len(rows)):
            logits = torch.addmm(self._bias[block], rows, self._projection[block].t(), out=stored)
            exact = logits
            if self._exact.numel():
                exact = self._exact[: logits.numel()].view_as(logits).copy_(logits)
            inside = (columns >= block.start) & (columns < block.stop)
            place = (columns - block.start).clamp(0, exact.size(1) - 1)
            of_target = torch.where(inside, exact.gather(1, place), of_target)
            maxima.append(exact.amax(1, keepdim=True))
            powers = exact.sub_(maxima[-1]).exp_()
            sums.append(powers.sum(1, keepdim=True))
            powers.scatter_(1, place, powers.gather(1, place).masked_fill_(inside, 0))
            if powers is not stored:
                stored.copy_(powers)
        block_maxima = torch.cat(maxima, 1)
        maximum = block_maxima.amax(1, keepdim=True)
        factors = (block_maxima - maximum).exp_()
        total = (factors * torch.cat(sums, 1)).sum(1, keepdim=True)
        nll = (maximum - of_target) + total.log()
        return _PartResult(nll.squeeze(1), (of_target >= maximum).squeeze(1), factors / total)

    def send_back(self, part: slice, result: _PartResult, targets: Tensor, weights: Tensor, into: Gradients) -> None:
        """Adds the gradients of a part. `project` must have filled the buffer for it."""
        rows, dtype = self._rows[part], self._rows.dtype
        shares = result.shares * weights.unsqueeze(1)
        keep = float(part.start > 0)
        of_rows = None if into.rows is None else rows.new_zeros(rows.shape, dtype=into.rows.dtype)
        for number, (block, powers) in enumerate(self._stored(len(rows))):
            share = shares[:, number : number + 1]
            if into.projection is not None:
                weighed = (rows * share).to(dtype)
                if into.projection.dtype == dtype:
                    into.projection[block].addmm_(powers.t(), weighed, beta=keep)
                else:
                    _add(into.projection[block], powers.t() @ weighed, keep)
            if into.bias is not None:
                _add(into.bias[block], share.to(dtype).squeeze(1) @ powers, keep)
            if of_rows is not None:
                of_rows.addcmul_(powers @ self._projection[block], share.to(of_rows.dtype))
        # The gradient by a target's logit is probability - 1, computed exactly even if the probability is nearly 1.
        of_targets = weights * torch.expm1(-result.nll)
        if into.rows is not None and of_rows is not None:
            into.rows[part] = of_rows + self._projection[targets] * of_targets.unsqueeze(1)
        if into.projection is not None:
            into.projection.index_add_(0, targets, (rows * of_targets.unsqueeze(1)).to(into.projection.dtype))
        if into.bias is not None:
            into.bias.index_add_(0, targets, of_targets.to(into.bias.dtype))

    def _stored(self, rows: int) -> Iterator[tuple[slice, Tensor]]:
        for block in self._blocks:
            width = block.stop - block.start
            yield block, self._buffer.narrow(0, block.start * rows, rows * width).view(rows, width)


def _add(into: Tensor, more: Tensor, keep: float) -> None:
    if keep:
        into += more
    else:
        into.copy_(more)


def _exact(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
