"""--checkpoint-activations changes no gradient, with dropout as well."""

import pytest
import torch

from weam_fairseq.encoder import Encoder, EncoderConfig

CONFIG = EncoderConfig(vocabulary=30, pad=1, layers=3, width=16, heads=2, feed_forward=32)


def gradients(recompute: bool, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
    torch.manual_seed(4)
    encoder = Encoder(CONFIG, recompute=recompute).train()
    positions = torch.arange(tokens.size(1)).expand_as(tokens)
    encoder(tokens, torch.zeros_like(tokens), positions).square().sum().backward()
    return {name: p.grad for name, p in encoder.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("padded", [False, True])
def test_gradients_are_the_same(padded: bool) -> None:
    tokens = torch.randint(4, 30, (3, 7), generator=torch.Generator().manual_seed(1))
    if padded:
        tokens[1, 5:] = 1
    whole, again = gradients(False, tokens), gradients(True, tokens)
    assert whole.keys() == again.keys()
    assert len(whole) > 3 * 16
    for name, gradient in whole.items():
        assert torch.equal(again[name], gradient), name


def test_inner_activations_are_not_kept() -> None:
    """What autograd saves: the inputs of the layers, and nothing of the feed-forward's inner size."""
    tokens = torch.randint(4, 30, (3, 7))
    positions = torch.arange(7).expand_as(tokens)
    for recompute in (False, True):
        sizes: list[int] = []
        encoder = Encoder(CONFIG, recompute=recompute).train()
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.shape[-1]) or t, lambda t: t):  # noqa: B023
            encoder(tokens, torch.zeros_like(tokens), positions)
        assert (32 in sizes) != recompute
