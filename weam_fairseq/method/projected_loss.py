"""Pure: projection on the vocabulary and cross entropy in one step, without ever holding all logits.

Shapes: M rows, D width, V vocabulary, K blocks of the vocabulary.

M × V logits, their softmax and its gradient are the largest tensors of a masked LM by far (2,000 × 120,000: 0.9 GiB
each). The loss is a sum with known weights, so the gradient of some rows is known as soon as their logits are: the rows
are taken a part at a time, and nothing but gradients (M, D) and (V, D) outlives a part. Within a part the vocabulary
comes in blocks that stay in the processor's cache from the product to the exponential: each block subtracts its own
greatest logit, and what it lacks to the greatest of all is a factor of its rows' weights. torch's
F.linear_cross_entropy (2.13) takes parts too; it is slower here and does not say which predictions are right.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

# Memory for a part of the logits, and columns of a block: docs/performance.md has the times with others.
PART_BYTES = {"cpu": 192 << 20, "cuda": 512 << 20}
BLOCK_COLUMNS = {"cpu": 8192, "cuda": 1 << 30}


class ProjectedCrossEntropy(torch.autograd.Function):
    """Σ weight · nll over M rows, with nll (M,) float32 and hit (M,) bool, of which neither has a gradient.

    Matrices are multiplied in `dtype`; exponentials and sums are at least float32. hit: no piece is more likely than
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
                found = head.project(part, targets[part])
                nll[part], hit[part] = found.nll, found.hit
                if gradients is not None:
                    head.send_back(part, found, targets[part], weights[part], gradients)
        ctx.gradients = gradients
        ctx.mark_non_differentiable(nll, hit)
        return (weights * nll).sum(), nll, hit

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        gradients, ctx.gradients = ctx.gradients, None  # held by nobody else, autograd adds to them in place
        scale = upstream[0]
        if scale.device.type != "cpu" or scale.item() != 1:
            for gradient in gradients:
                if gradient is not None:
                    gradient.mul_(scale)
        return *gradients, None, None, None


class Gradients(NamedTuple):
    """Of the loss by rows (M, D), projection (V, D) and bias (V,); None: nobody asks for it, as where it is frozen."""

    rows: Tensor | None
    projection: Tensor | None
    bias: Tensor | None

    @classmethod
    def like(cls, rows: Tensor, projection: Tensor, bias: Tensor, needed: tuple[bool, ...]) -> "Gradients":
        # What the first part writes over needs no zeros.
        make = torch.empty_like if len(rows) else torch.zeros_like
        makers = (torch.zeros_like, make, make)
        columns = zip(makers, (rows, projection, bias), needed, strict=True)
        return cls(*(maker(like) if need else None for maker, like, need in columns))


class _Found(NamedTuple):
    """Of the M' rows of a part.

    Attributes:
        nll, hit: (M',).
        shares: (M', K) what the exponentials of each block are multiplied by to become probabilities.
    """

    nll: Tensor
    hit: Tensor
    shares: Tensor


class _Head:
    """The operands, and a buffer with the exponentials of one part of the rows, block after block."""

    def __init__(self, rows: Tensor, projection: Tensor, bias: Tensor) -> None:
        self._rows, self._projection, self._bias = rows, projection, bias
        kind = "cpu" if rows.device.type == "cpu" else "cuda"
        vocabulary = len(projection)
        self._at_once = min(len(rows), max(1, PART_BYTES[kind] // (vocabulary * rows.dtype.itemsize)))
        width = min(BLOCK_COLUMNS[kind], vocabulary)
        self._blocks = [slice(start, min(start + width, vocabulary)) for start in range(0, vocabulary, width)]
        # One buffer for all parts: memory that is new to a process costs as much as what is computed in it.
        self._buffer = rows.new_empty(self._at_once * vocabulary)
        # Where half precision is multiplied, the block at hand in float32.
        self._exact = (
            self._buffer[:0]
            if _exact(rows.dtype) == rows.dtype
            else rows.new_empty(self._at_once * width, dtype=_exact(rows.dtype))
        )

    def parts(self) -> Iterator[slice]:
        for start in range(0, len(self._rows), self._at_once or 1):
            yield slice(start, start + self._at_once)

    def project(self, part: slice, targets: Tensor) -> _Found:
        """Leaves in the buffer exp(logit - greatest of the block), and 0 in the targets' places."""
        rows, at = self._rows[part], targets.unsqueeze(1)
        greatest, sums = [], []
        of_target = rows.new_zeros(len(rows), 1, dtype=_exact(rows.dtype))
        for block, stored in self._stored(len(rows)):
            logits = torch.addmm(self._bias[block], rows, self._projection[block].t(), out=stored)
            exact = logits
            if self._exact.numel():
                exact = self._exact[: logits.numel()].view_as(logits).copy_(logits)
            inside = (at >= block.start) & (at < block.stop)
            place = (at - block.start).clamp(0, exact.size(1) - 1)
            of_target = torch.where(inside, exact.gather(1, place), of_target)
            greatest.append(exact.amax(1, keepdim=True))
            powers = exact.sub_(greatest[-1]).exp_()
            sums.append(powers.sum(1, keepdim=True))
            powers.scatter_(1, place, powers.gather(1, place).masked_fill_(inside, 0))
            if powers is not stored:
                stored.copy_(powers)
        by_block = torch.cat(greatest, 1)
        most = by_block.amax(1, keepdim=True)
        factors = (by_block - most).exp_()
        total = (factors * torch.cat(sums, 1)).sum(1, keepdim=True)
        nll = (most - of_target) + total.log()
        return _Found(nll.squeeze(1), (of_target >= most).squeeze(1), factors / total)

    def send_back(self, part: slice, found: _Found, targets: Tensor, weights: Tensor, into: Gradients) -> None:
        """Adds the gradients of the part, of which `project` has filled the buffer."""
        rows, dtype = self._rows[part], self._rows.dtype
        shares = found.shares * weights.unsqueeze(1)
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
        # Of a target's logit: probability - 1, also where the probability is nearly 1.
        of_targets = weights * torch.expm1(-found.nll)
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
