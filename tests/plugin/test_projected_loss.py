"""The loss in parts and blocks against torch's own projection and cross entropy."""

import pytest
import torch
import torch.nn.functional as F

from weam_fairseq.method import projected_loss
from weam_fairseq.method.losses import predict_and_weigh

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


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_what_is_frozen_gets_no_gradient_and_the_others_theirs(monkeypatch: pytest.MonkeyPatch, frozen: int) -> None:
    small_parts(monkeypatch, 4, 20)
    every, some = operands(), operands()
    some[frozen].requires_grad_(False)
    for each in (every, some):
        predict_and_weigh(*each, TARGETS, WEIGHTS).loss.backward()
    assert some[frozen].grad is None
    for number, (mine, other) in enumerate(zip(some, every, strict=True)):
        assert number == frozen or torch.equal(mine.grad, other.grad)


def test_without_gradients_nothing_is_kept_or_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projected_loss._Head, "send_back", None)
    with torch.no_grad():
        found = predict_and_weigh(*operands(), TARGETS, WEIGHTS)
    assert not found.loss.requires_grad
    assert found.predictions.nll.shape == (M,)


# Small whole numbers: products and their sums are exact in half precision, so that only the loss can lose digits.
EXACT_ROWS = torch.tensor([[4.0, 1.0], [2.0, 3.0], [1.0, -1.0]])
EXACT_WORDS = torch.tensor([[3.0, 0.0], [2.0, 1.0], [1.0, 2.0], [-2.0, 1.0]])
EXACT_TARGETS = torch.tensor([0, 2, 3])
EXACT_WEIGHTS = torch.tensor([1.0, 2.0, 0.5])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_ends_with_the_logits(dtype: torch.dtype) -> None:
    """The loss, its predictions and their weights are float32."""
    logits = (EXACT_ROWS @ EXACT_WORDS.t()).double()
    nll = F.cross_entropy(logits, EXACT_TARGETS, reduction="none")
    found = predict_and_weigh(
        *(tensor.to(dtype) for tensor in (EXACT_ROWS, EXACT_WORDS, torch.zeros(4))), EXACT_TARGETS, EXACT_WEIGHTS
    )
    assert found.loss.dtype == found.predictions.nll.dtype == torch.float32
    torch.testing.assert_close(found.predictions.nll.double(), nll, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.loss.double(), (EXACT_WEIGHTS * nll).sum(), rtol=1e-6, atol=1e-6)
    assert found.predictions.hit.tolist() == [True, True, False]


def test_a_piece_as_likely_as_the_target_does_not_make_it_wrong() -> None:
    words = torch.tensor([[1.0], [1.0], [0.0]])  # 0 and 1 are equally likely
    found = predict_and_weigh(torch.ones(3, 1), words, torch.zeros(3), torch.tensor([0, 1, 2]), torch.ones(3))
    assert found.predictions.hit.tolist() == [True, True, False]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_target_that_is_nearly_certain_keeps_its_gradient(dtype: torch.dtype) -> None:
    """probability - 1 from the loss itself, not from a probability that was rounded."""
    biases = torch.tensor([[x, 0.0] for x in (4.0, 5.0, 6.0, 7.0, 8.0)])
    for bias in biases:
        operand = bias.to(dtype).requires_grad_()
        found = predict_and_weigh(
            torch.zeros(1, 1, dtype=dtype), torch.zeros(2, 1, dtype=dtype), operand, torch.tensor([0]), torch.ones(1)
        )
        found.loss.backward()
        expected = torch.expm1(-found.predictions.nll.double())
        rounding = torch.finfo(dtype).eps
        torch.testing.assert_close(operand.grad[:1].double(), expected, rtol=2 * rounding, atol=0)


def test_the_head_multiplies_in_the_requested_precision() -> None:
    """Also where autocast is on around it."""
    found = []
    for enabled in (False, True):
        rows, projection, bias = operands()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss, nll, _ = projected_loss.ProjectedCrossEntropy.apply(
                rows, projection, bias, TARGETS, WEIGHTS, torch.float32
            )
        loss.backward()
        found.append((loss, nll, rows.grad, projection.grad, bias.grad))
    for without, inside in zip(*found, strict=True):
        assert torch.equal(without, inside)
