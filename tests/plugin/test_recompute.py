"""--checkpoint-activations changes no gradient, with dropout as well."""

from typing import Any

import pytest
import torch
from small_encoder import bert

from weam_fairseq.method.modeling import WordExchange

CHANCES = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}


def model_of(recompute: bool) -> WordExchange:
    torch.manual_seed(4)
    masked_lm = bert(30, num_hidden_layers=3, **CHANCES)
    if recompute:
        masked_lm.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return WordExchange(masked_lm).train()


def encode(model: WordExchange, tokens: torch.Tensor) -> Any:
    return model.states(tokens, tokens.ne(0).long(), torch.zeros_like(tokens), None)


@pytest.mark.parametrize("padded", [False, True])
def test_gradients_are_the_same(padded: bool) -> None:
    tokens = torch.randint(4, 30, (3, 7), generator=torch.Generator().manual_seed(1))
    if padded:
        tokens[1, 5:] = 0
    found = []
    for recompute in (False, True):
        model = model_of(recompute)
        torch.manual_seed(8)
        encode(model, tokens).square().sum().backward()
        found.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    whole, again = found
    assert whole.keys() == again.keys()
    assert len(whole) >= 3 * 16
    for name, gradient in whole.items():
        assert torch.equal(again[name], gradient), name


def test_inner_activations_are_not_kept() -> None:
    """What autograd saves: the inputs of the layers, and nothing of the feed-forward's inner size."""
    tokens = torch.randint(4, 30, (3, 7))
    for recompute in (False, True):
        sizes: list[int] = []
        model = model_of(recompute)
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.shape[-1]) or t, lambda t: t):  # noqa: B023
            encode(model, tokens)
        assert (32 in sizes) != recompute
