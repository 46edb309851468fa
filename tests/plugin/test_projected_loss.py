"""The loss in parts and blocks against torch's own projection and cross entropy."""

import pytest
import torch
import torch.nn.functional as F

from weam_fairseq import projected_loss
from weam_fairseq.losses import predict_and_weigh

M, D, V = 11, 6, 50


def operands(dtype: torch.dtype = torch.float32, scale: float = 1.0) -> list[torch.Tensor]:
    torch.manual_seed(3)
    rows, projection = torch.randn(M, D, dtype=dtype), scale * torch.randn(V, D, dtype=dtype)
    return [tensor.requires_grad_() for tensor in (rows, projection, torch.randn(V, dtype=dtype))]


def small_parts(monkeypatch: pytest.MonkeyPatch, rows: int, columns: int) -> None:
    monkeypatch.setitem(projected_loss.PART_BYTES, "cpu", rows * V * 4)
    monkeypatch.setitem(projected_loss.BLOCK_COLUMNS, "cpu", columns)


TARGETS = torch.tensor([0, 49, 7, 7, 7, 12, 33, 20, 19, 48, 1])  # first and last of blocks, one again and again
WEIGHTS = torch.linspace(0.0, 2.0, M)


@pytest.mark.parametrize(("rows", "columns"), [(100, 100), (4, 7), (1, 1), (3, 20)])
@pytest.mark.parametrize("scale", [1.0, 40.0])  # the second makes some targets certain and others all but impossible
def test_loss_and_gradients_are_torchs(monkeypatch: pytest.MonkeyPatch, rows: int, columns: int, scale: float) -> None:
    small_parts(monkeypatch, rows, columns)
    theirs, ours = operands(torch.float64, scale), operands(torch.float64, scale)
    logits = F.linear(*theirs)
    nll = F.cross_entropy(logits, TARGETS, reduction="none")
    (3 * (WEIGHTS * nll).sum()).backward()
    found = predict_and_weigh(*ours, TARGETS, WEIGHTS)
    (3 * found.loss).backward()
    torch.testing.assert_close(found.predictions.nll.double(), nll.detach(), rtol=1e-6, atol=1e-6)
    assert torch.equal(found.predictions.hit, logits.argmax(1) == TARGETS)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-6, atol=1e-6)


def test_bf16_is_as_close_as_torchs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    small_parts(monkeypatch, 4, 20)
    exact, theirs, ours = operands(), operands(), operands()
    (WEIGHTS * F.cross_entropy(F.linear(*exact), TARGETS, reduction="none")).sum().backward()
    with torch.autocast("cpu", torch.bfloat16):
        (WEIGHTS * F.cross_entropy(F.linear(*theirs).float(), TARGETS, reduction="none")).sum().backward()
        found = predict_and_weigh(*ours, TARGETS, WEIGHTS)
    found.loss.backward()
    assert found.loss.dtype == torch.float32
    for mine, other, right in zip(ours, theirs, exact, strict=True):
        error = (mine.grad - right.grad).norm()
        assert 0 < error <= 2 * (other.grad - right.grad).norm()


def test_no_rows_give_no_loss_and_gradients_of_zero() -> None:
    rows, projection, bias = operands()
    empty = rows[:0].detach().requires_grad_()
    found = predict_and_weigh(empty, projection, bias, TARGETS[:0], WEIGHTS[:0])
    found.loss.backward()
    assert found.loss == 0
    assert not projection.grad.any()
    assert not bias.grad.any()


def test_without_gradients_nothing_is_kept() -> None:
    with torch.no_grad():
        found = predict_and_weigh(*operands(), TARGETS, WEIGHTS)
    assert not found.loss.requires_grad
    assert found.predictions.nll.shape == (M,)
