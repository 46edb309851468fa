"""The word embeddings' gradient, of looking up and of projecting together, against nn.Embedding's."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from weam_fairseq.encoder.faster_parts import LookUp

PAD = 1
IDS = torch.tensor([[4, 1, 4], [0, 6, 1]])  # 4 twice, PAD twice


def table() -> Tensor:
    torch.manual_seed(2)
    return torch.randn(7, 3, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("projected", [True, False])
@pytest.mark.parametrize("looked_up", [True, False])
def test_the_gradient_is_torchs(projected: bool, looked_up: bool) -> None:
    ours, theirs = table(), table()
    rows, words = LookUp.apply(ours, IDS, PAD)
    expected_rows = F.embedding(IDS, theirs, padding_idx=PAD)
    torch.testing.assert_close(rows, expected_rows)
    states = torch.randn(5, 3, dtype=torch.float64)
    for each, found in ((rows, words), (expected_rows, theirs)):
        loss = torch.zeros((), dtype=torch.float64, requires_grad=True) * 1
        if looked_up:
            loss = loss + each.pow(3).sum()
        if projected:
            loss = loss + F.linear(states, found).exp().sum()
        loss.backward()
    if not (projected or looked_up):
        assert ours.grad is None
        return
    assert ours.grad is not None
    assert theirs.grad is not None
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_it_is_added_to_the_heads_own_gradient() -> None:
    made: list[int] = []

    class Head(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, words: Tensor) -> Tensor:
            return words.sum()

        @staticmethod
        def backward(ctx: object, *upstream: Tensor) -> Tensor:
            gradient = torch.ones(7, 3, dtype=torch.float64)
            made.append(gradient.data_ptr())
            return gradient

    words = table()
    rows, again = LookUp.apply(words, IDS, PAD)
    (Head.apply(again) + rows.sum()).backward()
    assert words.grad is not None
    assert [words.grad.data_ptr()] == made
    assert words.grad[:, 0].tolist() == [2, 1, 1, 1, 3, 1, 2]
