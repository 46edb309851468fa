"""--freeze and --head-first: which parameters have gradients, and when; a new head is fitted once."""

from typing import Any

import pytest
import torch
from small_encoder import bert

from weam_fairseq.plugin.model import WeamModel


def model_of(**options: Any) -> WeamModel:
    torch.manual_seed(1)
    return WeamModel(bert(40), "00" * 32, "00" * 32, **options).train()


def gradients(model: WeamModel) -> set[str]:
    """Names of the parameters that a loss reaches."""
    model.zero_grad(set_to_none=True)
    tokens = torch.randint(5, 40, (2, 6), generator=torch.Generator().manual_seed(2))
    rows = torch.tensor([1, 4, 9])
    segments = torch.zeros_like(tokens)
    predicted = model(tokens, torch.ones_like(tokens), segments, None, rows, None, torch.tensor([7, 8, 9]))
    predicted.weighed.loss.backward()
    return {name for name, parameter in model.named_parameters() if parameter.grad is not None}


WORDS = "masked_lm.bert.embeddings.word_embeddings.weight"


def test_a_frozen_encoder_leaves_the_head() -> None:
    model = model_of(freeze="encoder")
    found = gradients(model)
    assert found == {name for name, _ in model.named_parameters() if name.startswith("masked_lm.cls.")}
    assert not model.states(torch.tensor([[7]]), torch.tensor([[1]]), None, None).requires_grad


def test_a_frozen_encoder_has_no_dropout_until_it_is_freed() -> None:
    model = model_of(head_first=1)
    model.set_num_updates(0)
    model.train()
    assert (model.base.training, model.masked_lm.cls.training) == (False, True)
    model.set_num_updates(1)
    assert model.base.training
    model.eval()
    model.set_num_updates(2)
    assert not model.base.training


def test_frozen_embeddings_keep_a_tied_projection_too() -> None:
    model = model_of(freeze="embeddings")
    found = gradients(model)
    assert WORDS not in found
    assert {name for name, _ in model.named_parameters()} - found == {WORDS}
    assert model.masked_lm.cls.predictions.decoder.weight.grad is None


@pytest.mark.parametrize("freeze", ["none", "embeddings", "encoder"])
def test_the_head_is_trained_first_and_then_what_is_not_frozen(freeze: str) -> None:
    model = model_of(freeze=freeze, head_first=3)
    alone = gradients(model_of(freeze="encoder"))
    expected = gradients(model_of(freeze=freeze))
    for update in range(5):
        model.set_num_updates(update)
        assert gradients(model) == (alone if update < 3 else expected)


def test_a_second_head_is_trained_with_a_frozen_encoder() -> None:
    model = model_of(freeze="encoder", cp_head="own")
    names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name.split(".")[0] for name in names} == {"masked_lm", "own_head"}
    assert not any(".bert." in name for name in names)
