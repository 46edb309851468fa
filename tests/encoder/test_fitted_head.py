"""The fitted head predicts masked pieces better than their frequencies, in every family with this form of head."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from weam_fairseq.common.errors import InputError
from weam_fairseq.encoder.fitted_head import BIAS, DENSE, NOTHING, Batch, FitReport, fit_head

V, WIDTH, LENGTH, MASK = 40, 24, 6, 4
FIRST = 5  # of the ordinary pieces
SHAPE: dict[str, Any] = {
    "vocab_size": V,
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 16,
    "pad_token_id": 1,
    "initializer_range": 0.3,
}
DISTILBERT = {"dim": WIDTH, "n_layers": 2, "n_heads": 2, "hidden_dim": 32} | SHAPE
FAMILIES: dict[str, dict[str, Any]] = {
    "bert": SHAPE,
    "xlm-roberta": SHAPE,
    "camembert": SHAPE,
    "distilbert": {k: v for k, v in DISTILBERT.items() if not k.startswith(("num_", "hidden_size", "intermediate"))},
    "modernbert": SHAPE | {"cls_token_id": 0, "sep_token_id": 2, "bos_token_id": 0, "eos_token_id": 2},
    "mpnet": SHAPE,
    "albert": SHAPE | {"embedding_size": 16},
    "electra": SHAPE | {"embedding_size": 16},
    "deberta-v2": SHAPE | {"legacy": False},
    "nomic_bert": SHAPE,
}


def model_of(family: str, **options: Any) -> Any:
    from transformers import AutoConfig, AutoModelForMaskedLM

    torch.manual_seed(0)
    model = AutoModelForMaskedLM.from_config(AutoConfig.for_model(family, **FAMILIES.get(family, SHAPE) | options))
    return model.eval()


def batches_of(sentences: int = 600, seed: int = 0) -> tuple[list[Batch], Tensor]:
    """Sentences of one piece, repeated, with one masked: the visible pieces tell which."""
    generator = torch.Generator().manual_seed(seed)
    weights = 1 / torch.arange(1.0, V - FIRST + 1)
    pieces = FIRST + torch.multinomial(weights, sentences, replacement=True, generator=generator)
    frequencies = torch.bincount(pieces, minlength=V)
    batches: list[Batch] = []
    for some in pieces.split(100):
        ids = some[:, None].repeat(1, LENGTH)
        ids[:, 0], ids[:, -1] = 0, 2
        masked = torch.randint(1, LENGTH - 1, (len(some),), generator=generator)
        rows = torch.arange(len(some)) * LENGTH + masked
        ids.flatten()[rows] = MASK
        batches.append(({"input_ids": ids, "attention_mask": torch.ones_like(ids)}, rows, some))
    return batches, frequencies


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fitted_head_is_better_than_frequencies(family: str) -> None:
    model = model_of(family)
    encoder = {name: value.clone() for name, value in model.base_model.state_dict().items()}
    batches, frequencies = batches_of()
    report = fit_head(model, batches, frequencies)
    assert report.how == DENSE
    assert report.nats_after < report.nats_unigram - 0.5
    assert report.nats_after < report.nats_before
    assert report.rows == 540
    # The figures are those of the model as anybody calls it.
    nats, accuracy = measured(model, batches_of(seed=1)[0])
    assert nats == pytest.approx(report.nats_after, abs=0.6)
    assert accuracy == pytest.approx(report.accuracy_after, abs=0.2)
    for name, value in model.base_model.state_dict().items():
        assert torch.equal(value, encoder[name]), name


def measured(model: Any, batches: list[Batch]) -> tuple[float, float]:
    nats, right, count = 0.0, 0, 0
    with torch.no_grad():
        for inputs, rows, targets in batches:
            logits = model(**inputs).logits.flatten(0, 1)[rows]
            nats += float(torch.nn.functional.cross_entropy(logits, targets, reduction="sum"))
            right += int((logits.argmax(1) == targets).sum())
            count += len(targets)
    return nats / count, right / count


def test_the_same_seed_and_batches_give_the_same_head() -> None:
    batches, frequencies = batches_of()
    fits = []
    for seed in (1, 1, 2):
        model = model_of("bert")
        report = fit_head(model, iter(batches), frequencies, seed=seed)
        fits.append((report._replace(seconds=0), torch.cat([p.flatten() for p in model.cls.parameters()])))
    assert fits[0][0] == fits[1][0]
    assert torch.equal(fits[0][1], fits[1][1])
    assert not torch.equal(fits[0][1], fits[2][1])


def test_the_model_keeps_its_mode_and_random_numbers() -> None:
    model = model_of("bert").train()
    batches, frequencies = batches_of(200)
    state = torch.get_rng_state()
    fit_head(model, batches, frequencies)
    assert model.training
    assert model.bert.embeddings.dropout.training
    assert "forward" not in vars(model.bert)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_head_of_another_form_gets_the_bias_alone() -> None:
    """XLM projects the states themselves."""
    model = model_of("xlm", emb_dim=WIDTH, n_layers=2, n_heads=2, embed_init_std=0.02, init_std=0.3, n_words=V)
    weight = model.pred_layer.proj.weight.clone()
    batches, frequencies = batches_of()
    report = fit_head(model, batches, frequencies)
    assert report.how == BIAS
    assert report.nats_after < report.nats_before
    assert (report.ridge, report.scale) == (0, 0)
    shares = model.pred_layer.proj.bias.softmax(0)
    assert torch.allclose(shares[frequencies > 0], frequencies[frequencies > 0] / frequencies.sum(), atol=0.02)
    assert torch.equal(model.pred_layer.proj.weight, weight)


def test_a_head_without_bias_stays_as_it_is() -> None:
    model = model_of("modernbert", decoder_bias=False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    batches, frequencies = batches_of(200)
    report = fit_head(model, batches, frequencies)
    assert report.how == NOTHING
    assert report.nats_after == report.nats_before
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_only_the_bias_is_fitted_to_uninformative_states() -> None:
    """The masked piece does not depend on the sentence."""
    model = model_of("bert", initializer_range=0.02)
    batches, frequencies = batches_of()
    generator = torch.Generator().manual_seed(3)
    noise = [
        (inputs, rows, targets[torch.randperm(len(targets), generator=generator)]) for inputs, rows, targets in batches
    ]
    report = fit_head(model, noise, frequencies)
    assert report.nats_after == pytest.approx(report.nats_unigram, abs=0.1)


def test_a_new_untied_projection_becomes_the_input_embeddings_if_that_helps() -> None:
    model = model_of("bert", tie_word_embeddings=False)
    words = model.get_input_embeddings().weight
    projection = model.get_output_embeddings().weight
    with torch.no_grad():
        projection.zero_()
    batches, frequencies = batches_of()
    report = fit_head(model, batches, frequencies)
    assert report.how == DENSE
    assert torch.equal(projection, words)
    assert projection is not words


def test_a_trained_head_is_not_made_worse() -> None:
    model = model_of("bert")
    batches, frequencies = batches_of()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(6):
        for inputs, rows, targets in batches:
            logits = model(**inputs).logits.flatten(0, 1)[rows]
            torch.nn.functional.cross_entropy(logits, targets).backward()
            optimizer.step()
            optimizer.zero_grad()
    before = measured(model, batches)[0]
    report = fit_head(model, batches, frequencies)
    assert report.nats_after <= report.nats_before
    assert measured(model, batches)[0] < before + 0.1


def test_half_precision_and_fewer_frequencies_than_rows() -> None:
    model = model_of("bert").to(torch.bfloat16)
    batches, frequencies = batches_of()
    used = int(frequencies.nonzero().max()) + 1
    report = fit_head(model, batches, frequencies[:used])
    assert report.nats_after < report.nats_unigram - 0.5
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("sentences", "times", "sentence"),
    [(0, 1, "no batch"), (1, 1, "two or more sentences"), (10, 0, "all are 0")],
)
def test_too_little_text_is_one_sentence(sentences: int, times: int, sentence: str) -> None:
    batches, frequencies = batches_of(10)
    inputs, rows, targets = batches[0]
    some: list[Batch] = [(inputs, rows[:sentences], targets[:sentences])] if sentences else []
    with pytest.raises(InputError, match=sentence):
        fit_head(model_of("bert"), some, frequencies * times)


def test_two_sentences_are_enough() -> None:
    batches, frequencies = batches_of(10)
    inputs, rows, targets = batches[0]
    report = fit_head(model_of("bert"), [(inputs, rows[:2], targets[:2])], frequencies)
    assert isinstance(report, FitReport)
    assert report.rows == 1
    assert math.isfinite(report.nats_after)
