"""adam_bert: which parameters decay, by hand, and that both groups survive a restart."""

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from weam_fairseq.common.errors import InputError
from weam_fairseq.plugin.optimizer import BertAdam, decay_groups


def small_model() -> nn.Module:
    torch.manual_seed(1)
    return nn.ModuleDict({"words": nn.Embedding(5, 4), "dense": nn.Linear(4, 3), "norm": nn.LayerNorm(3)})


def build(model: nn.Module, **options: object) -> BertAdam:
    from fairseq import optim

    cfg = OmegaConf.create({"_name": "adam_bert", "adam_betas": "(0.9, 0.999)", "lr": [0.1], "tpu": False, **options})
    optimizer = optim.build_optimizer(cfg, list(model.parameters()))
    assert isinstance(optimizer, BertAdam)
    return optimizer


def names(model: nn.Module, group: dict) -> list[str]:
    of = {id(parameter): name for name, parameter in model.named_parameters()}
    return [of[id(parameter)] for parameter in group["params"]]


def test_biases_and_layer_norms_are_not_decayed() -> None:
    model = small_model()
    decayed, others = decay_groups(model.parameters())
    assert names(model, decayed) == ["words.weight", "dense.weight"]
    assert names(model, others) == ["dense.bias", "norm.weight", "norm.bias"]
    assert others["weight_decay"] == 0


def test_the_defaults_are_those_of_berts_code() -> None:
    decayed, others = build(small_model()).param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.01, 0.0)
    assert decayed["eps"] == others["eps"] == 1e-6
    assert decayed["betas"] == (0.9, 0.999)


def test_without_gradients_only_matrices_shrink() -> None:
    model = small_model()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = build(model, weight_decay=0.5)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        # lr 0.1, weight decay 0.5: 5 % less
        expected = 0.95 * before[name] if parameter.dim() == 2 else before[name]
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-6, atol=0)


def test_the_learning_rate_is_set_for_both_groups() -> None:
    optimizer = build(small_model())
    optimizer.set_lr(0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]


def test_a_restart_keeps_both_groups() -> None:
    def step(optimizer: BertAdam, model: nn.Module, seed: int) -> None:
        torch.manual_seed(seed)
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()

    ours, theirs = small_model(), small_model()
    first, whole = build(ours), build(theirs)
    step(first, ours, 1)
    step(whole, theirs, 1)
    again = build(ours)
    again.load_state_dict(first.state_dict(), {})
    step(again, ours, 2)
    step(whole, theirs, 2)
    assert [group["weight_decay"] for group in again.param_groups] == [0.01, 0.0]
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_flattened_parameters_are_refused() -> None:
    """The parameters as --fp16 passes them: one long parameter."""
    flat = nn.Parameter(torch.zeros(30))
    with pytest.raises(InputError, match="Add --fp16-no-flatten-grads"):
        decay_groups([flat])
    assert not build(small_model()).supports_flat_params


@pytest.mark.parametrize("later", [(), ("words.weight", "norm.bias")])
def test_the_fused_kernel_makes_the_updates_of_fairseqs_adam(later: tuple[str, ...]) -> None:
    """A large epsilon, so that it matters where it is added. `later` has no gradients in the first three updates."""
    from fairseq.optim.adam import Adam

    ours, theirs = small_model(), small_model()
    fused = build(ours, weight_decay=0.5, adam_eps=0.1)
    plain = Adam(decay_groups(theirs.parameters()), lr=0.1, betas=(0.9, 0.999), eps=0.1, weight_decay=0.5)
    for seed in range(5):
        for model, optimizer in ((ours, fused), (theirs, plain)):
            torch.manual_seed(seed)
            for name, parameter in model.named_parameters():
                gradient = torch.randn_like(parameter)
                parameter.grad = None if seed < 3 and name in later else gradient
            optimizer.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)
    assert fused.param_groups[0]["eps"] == 0.1


def test_the_state_of_fairseqs_adam_can_be_loaded() -> None:
    """Checkpoints from before the fused kernel."""
    from fairseq.optim.adam import Adam

    def step(optimizer: object, model: nn.Module, seed: int) -> None:
        torch.manual_seed(seed)
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()

    ours, theirs = small_model(), small_model()
    before = Adam(decay_groups(ours.parameters()), lr=0.1, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.01)
    whole = Adam(decay_groups(theirs.parameters()), lr=0.1, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.01)
    for seed in (1, 2):
        step(before, ours, seed)
        step(whole, theirs, seed)
    again = build(ours)
    again.load_state_dict(before.state_dict(), {})
    for seed in (3, 4):
        step(again, ours, seed)
        step(whole, theirs, seed)
    assert [group["weight_decay"] for group in again.param_groups] == [0.01, 0.0]
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)
