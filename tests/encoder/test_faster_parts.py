"""The faster parts: dropout with 16 random bits, attention with it, and one gradient of the word embeddings."""

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from weam_fairseq.encoder import faster_parts
from weam_fairseq.encoder.faster_parts import Dropout, LookUp, attend, attend_in_steps, drop

PAD = 1
IDS = torch.tensor([[4, 1, 4], [0, 6, 1]])  # 4 twice, PAD twice


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("chance", [0.1, 0.5, 0.9])
def test_the_share_of_dropped_elements_and_the_mean_are_right(chance: float, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    dropped = drop(torch.ones(1000, 1000, dtype=dtype), chance)
    assert dropped.dtype == dtype
    error = math.sqrt(chance * (1 - chance)) / 1000
    assert (dropped == 0).double().mean().item() == pytest.approx(chance, abs=5 * error)
    # 1 / (1 - chance) as the type can hold it.
    assert dropped.unique().tolist() == pytest.approx([0, 1 / (1 - chance)], rel=torch.finfo(dtype).eps + 2e-4)
    assert dropped.double().mean().item() == pytest.approx(1, rel=5 * error / (1 - chance) + torch.finfo(dtype).eps)


def test_neighbors_and_rows_are_dropped_independently() -> None:
    """Four elements come from one random number, and every call has its own generator."""
    torch.manual_seed(2)
    kept = (drop(torch.ones(2, 1 << 18), 0.5) != 0).double()
    again = (drop(torch.ones(2, 1 << 18), 0.5) != 0).double()
    others = [kept[0].roll(shift) for shift in (1, 2, 3, 4, 8)]
    for other in [*others, kept[1], again[0]]:
        assert torch.corrcoef(torch.stack([kept[0], other]))[0, 1].abs() < 5 / math.sqrt(1 << 18)


@given(count=st.integers(0, 9), chance=st.floats(0, 1, exclude_max=True), seed=st.integers(0, 2**31))
def test_the_gradient_has_the_same_mask(count: int, chance: float, seed: int) -> None:
    states = torch.arange(1.0, 1 + count, requires_grad=True)
    torch.manual_seed(seed)
    dropped = drop(states, chance)
    dropped.sum().backward()
    assert states.grad is not None
    torch.testing.assert_close(states.grad * states, dropped)
    torch.manual_seed(seed)
    assert torch.equal(drop(states, chance), dropped), "torch's seed fixes it"


def test_the_number_of_draws_that_drop_an_element_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    every = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int16)
    monkeypatch.setattr(faster_parts, "_sixteen_bits", lambda shape: every.view(shape))
    for of_all in (1, 6554, 1 << 15, (1 << 16) - 1):
        assert (drop(torch.ones(1 << 16), of_all / (1 << 16)) == 0).sum() == of_all


def test_probabilities_near_0_and_1() -> None:
    states = torch.randn(5)
    assert torch.equal(drop(states, 0.0), states)
    assert torch.equal(drop(states, 1.0), torch.zeros(5))
    layer = Dropout(0.5).eval()
    assert layer(states) is states


# What transformers' families say of their attention.
MODULE = SimpleNamespace(is_causal=False, num_key_value_groups=1)


@pytest.mark.parametrize("padded", [False, True])
def test_attention_in_steps_is_that_of_torch(padded: bool) -> None:
    query, key, value = torch.randn(3, 4, 2, 7, 5, dtype=torch.float64).unbind()
    attended = None
    if padded:
        attended = torch.arange(7).expand(4, 7).lt(torch.tensor([[7], [3], [1], [5]]))[:, None, None, :]
    expected = F.scaled_dot_product_attention(query, key, value, attn_mask=attended)
    torch.testing.assert_close(attend_in_steps(query, key, value, attended, 0.0), expected)
    assert torch.equal(attend(MODULE, query, key, value, attended)[0].transpose(1, 2), expected)


def test_keys_shared_by_heads_and_a_scale_are_those_of_transformers() -> None:
    """As in EuroBERT: four heads of queries, two of keys and values."""
    query = torch.randn(3, 4, 7, 5, dtype=torch.float64)
    key, value = torch.randn(2, 3, 2, 7, 5, dtype=torch.float64).unbind()
    expected = F.scaled_dot_product_attention(query, key, value, enable_gqa=True, scale=0.7)
    module = SimpleNamespace(is_causal=False, num_key_value_groups=2)
    # So little dropout that nothing is dropped.
    found, _ = attend(module, query, key, value, None, dropout=1e-9, scaling=0.7)
    torch.testing.assert_close(found.transpose(1, 2), expected)


def test_dropped_attention_is_right_on_average() -> None:
    torch.manual_seed(3)
    query, key, value = torch.randn(3, 1, 2, 6, 4, dtype=torch.float64).unbind()
    attended = torch.tensor([True] * 4 + [False] * 2)[None, None, None, :]
    expected = F.scaled_dot_product_attention(query, key, value, attn_mask=attended)
    many = [attend(MODULE, query, key, value, attended, 0.3)[0].transpose(1, 2) for _ in range(4000)]
    assert len({tuple(one.flatten().tolist()) for one in many}) == 4000, "something is dropped"
    torch.testing.assert_close(torch.stack(many).mean(0), expected, atol=0.1, rtol=0)


# One gradient of the word embeddings


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
