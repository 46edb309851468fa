"""The criterion on a real batch against the method's definition: one full pass, E written densely, λ of any size."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from fairseq.logging import metrics
from fairseq.trainer import Trainer
from small_encoder import bert, logits_of, states_of
from test_dataset import PAIRS, dataset

from weam_fairseq.common.errors import InputError
from weam_fairseq.encoder.published import Published, pack
from weam_fairseq.method.dataset import WordExchangeDataset
from weam_fairseq.method.policy import Policy
from weam_fairseq.plugin.criterion import WeamCriterion
from weam_fairseq.plugin.model import WeamModel
from weam_fairseq.plugin.patches import without_loss


def small_model(data: WordExchangeDataset, *, cp_head: bool = False) -> WeamModel:
    torch.manual_seed(0)
    model = WeamModel(bert(len(data.vocabulary)), "00" * 32, "00" * 32, cp_head="own" if cp_head else "shared")
    return model.eval()


@pytest.mark.parametrize("cp_head", [False, True], ids=["shared", "own"])
@pytest.mark.parametrize("weight", [0.0, 0.7, 1.0])
def test_loss_and_log_are_those_of_the_method(small_data_bin: Path, weight: float, cp_head: bool) -> None:
    data = dataset(small_data_bin, Policy())
    pairs = [data[i] for i in (0, 5, 61, 62, 125)]
    batch = data.collater(pairs)
    model = small_model(data, cp_head=cp_head)
    task = SimpleNamespace(pairs=PAIRS, policy=data.policy)
    loss, size, log = WeamCriterion(task, weight, "fp32")(model, batch)

    net_input, target = batch["net_input"], batch["target"]
    states = states_of(model.masked_lm, net_input)
    exchanged = states.clone()
    before = len(data.vocabulary.pair.before)
    for row, pair in enumerate(pairs):
        for own, other, own_start, other_start in (
            (0, 1, before, before + len(pair.source) + 1),
            (1, 0, before + len(pair.source) + 1, before),
        ):
            for piece in {int(link[own]) for link in pair.links}:
                partners = [other_start + int(link[other]) for link in pair.links if int(link[own]) == piece]
                exchanged[row, own_start + piece] = states[row, partners].mean(0)
    rows = net_input["masked_rows"]
    second = model.own_head.cls if cp_head else None
    mp = F.cross_entropy(logits_of(model.masked_lm, states.flatten(0, 1)[rows]), target, reduction="none")
    logits = logits_of(model.masked_lm, exchanged.flatten(0, 1)[rows], second)
    cp = F.cross_entropy(logits, target, reduction="none")

    assert size == len(target) > 10
    torch.testing.assert_close(loss, mp.sum() + weight * cp.sum())
    for number, pair in enumerate(PAIRS):
        of_pair = batch["row_pair"] == number
        assert log[f"{pair}:masked"] == int(of_pair.sum())
        assert 0 < log[f"{pair}:linked"] <= log[f"{pair}:masked"]
        assert log[f"{pair}:mp_nll"] == pytest.approx(mp[of_pair].sum().item(), rel=1e-5)
        assert log[f"{pair}:cp_nll"] == pytest.approx(cp[of_pair].sum().item(), rel=1e-5)


@pytest.mark.parametrize("objective", ["tlm", "mlm"])
def test_the_first_loss_alone_without_an_exchange(small_data_bin: Path, objective: str) -> None:
    data = dataset(small_data_bin, Policy(objective=objective))
    batch = data.collater([data[i] for i in (0, 61)])
    model = small_model(data)
    task = SimpleNamespace(pairs=PAIRS, policy=data.policy)
    loss, _, log = WeamCriterion(task, 5.0, "fp32")(model, batch)
    net_input = batch["net_input"]
    states = states_of(model.masked_lm, net_input).flatten(0, 1)
    logits = logits_of(model.masked_lm, states[net_input["masked_rows"]])
    expected = F.cross_entropy(logits, batch["target"], reduction="sum")
    torch.testing.assert_close(loss, expected)
    assert not log["has_cp"]


def test_the_mean_over_pairs_gives_each_pair_the_same_weight() -> None:
    """en-de has 10 masked pieces of 2 nats, en-es 30 of 4: the mean is 3, not 3.5."""
    names = ("mp_nll", "cp_nll", "mp_hits", "cp_hits", "masked", "linked", "pieces")
    values = {"en-de": (20.0, 10.0, 5, 5, 10, 5, 40), "en-es": (120.0, 60.0, 5, 5, 30, 5, 90)}
    log = {f"{pair}:{name}": v for pair, row in values.items() for name, v in zip(names, row, strict=True)}
    log |= {"loss": 210.0, "sample_size": 40, "without_masked": 0, "has_cp": 1}
    with metrics.aggregate() as shown:
        WeamCriterion.reduce_metrics([log])
    found = shown.get_smoothed_values()
    assert (found["en-de:mp_loss"], found["en-es:mp_loss"], found["mp_loss"]) == (2, 4, 3)
    assert found["cp_loss"] == 1.5


def log_of(**sums: tuple[float, float]) -> dict[str, float]:
    """What one batch reports: pair -> summed loss, masked pieces."""
    names = ("mp_hits", "cp_hits", "linked", "pieces")
    log: dict[str, float] = {f"{pair}:{name}": 9.0 for pair in sums for name in names}
    for pair, (nll, masked) in sums.items():
        log |= {f"{pair}:mp_nll": nll, f"{pair}:cp_nll": nll, f"{pair}:masked": masked}
    size = sum(masked for _, masked in sums.values())
    loss = sum(nll for nll, _ in sums.values())
    return log | {"loss": loss, "sample_size": size, "without_masked": int(not size), "has_cp": 1}


def test_a_rare_pair_is_left_out_of_the_means_until_it_is_seen_again() -> None:
    """fairseq empties its meters after each line of the log; an empty one has no average."""
    with metrics.aggregate() as shown:
        WeamCriterion.reduce_metrics([log_of(en_de=(20.0, 10), en_zh=(8.0, 2))])
        assert shown.get_smoothed_values()["mp_loss"] == 3
        shown.reset()
        WeamCriterion.reduce_metrics([log_of(en_de=(20.0, 10), en_zh=(0.0, 0))])
    found = shown.get_smoothed_values()
    assert (found["mp_loss"], found["cp_loss"]) == (2, 2)


@pytest.mark.parametrize("empty", [1, 2])
def test_batches_without_a_masked_piece_are_counted_and_not_averaged(empty: int) -> None:
    task = SimpleNamespace(reduce_metrics=lambda outputs, _: WeamCriterion.reduce_metrics(outputs))
    trainer = SimpleNamespace(task=task, get_criterion=lambda: None, tpu=False, _warn_once={"loss"})
    with metrics.aggregate() as shown:
        for log in [log_of(en_de=(0.0, 0))] * empty + [log_of(en_de=(70.0, 10))]:
            Trainer._reduce_and_log_stats(trainer, [log], log["sample_size"])
    assert shown["loss"].avg == 7
    assert shown["skipped_without_masked"].sum == empty


def test_a_validation_without_a_masked_piece_has_no_loss() -> None:
    with metrics.aggregate() as shown:
        WeamCriterion.reduce_metrics([log_of(en_de=(0.0, 0))])
    stats = shown.get_smoothed_values()
    assert stats["loss"] is None
    cfg = SimpleNamespace(checkpoint=SimpleNamespace(best_checkpoint_metric="loss"))
    tracked = []
    without_loss(lambda cfg, trainer, stats, tracking: tracked.append(tracking))(cfg, None, stats, True)
    without_loss(lambda cfg, trainer, stats, tracking: tracked.append(tracking))(cfg, None, {"loss": 2.0}, True)
    assert tracked == [False, True]


@pytest.mark.parametrize("weight", [math.nan, math.inf, -1.0])
def test_an_invalid_weight_is_refused(small_data_bin: Path, weight: float) -> None:
    task = SimpleNamespace(pairs=PAIRS, policy=dataset(small_data_bin, Policy()).policy)
    with pytest.raises(InputError, match=r"--cp-weight must be 0 or more, but is"):
        WeamCriterion(task, weight, "fp32")


def test_half_precision_without_loss_scaling_is_refused(small_data_bin: Path) -> None:
    task = SimpleNamespace(pairs=PAIRS, policy=dataset(small_data_bin, Policy()).policy)
    with pytest.raises(InputError, match="--precision fp16 needs --amp and a GPU"):
        WeamCriterion(task, 1.0, "fp16")


def test_a_checkpoint_without_a_second_head_starts_it_as_a_copy(small_data_bin: Path) -> None:
    data = dataset(small_data_bin, Policy())
    shared, own = small_model(data), small_model(data, cp_head=True)
    torch.nn.init.normal_(shared.masked_lm.cls.predictions.bias)
    own.load_state_dict(shared.state_dict())
    for name, value in shared.masked_lm.cls.state_dict().items():
        assert torch.equal(own.own_head.cls.state_dict()[name], value), name
    again = small_model(data)
    again.load_state_dict(own.state_dict())
    assert torch.equal(again.masked_lm.cls.predictions.bias, shared.masked_lm.cls.predictions.bias)


def test_a_second_head_shares_only_tied_embeddings(small_data_bin: Path) -> None:
    model = small_model(dataset(small_data_bin, Policy()), cp_head=True)
    first, second = model.masked_lm.cls.predictions, model.own_head.cls.predictions
    assert second.decoder.weight is first.decoder.weight is model.masked_lm.bert.embeddings.word_embeddings.weight
    assert second.bias is second.decoder.bias is not first.bias
    assert not any(name.startswith("own_head.bert") for name in model.state_dict())


def test_published_parts_do_not_change_in_training(small_data_bin: Path) -> None:
    data = dataset(small_data_bin, Policy())
    start = small_model(data)
    folder = Published({}, [], {"config.json": start.masked_lm.config.to_json_string().encode()}, {})
    start.published = pack(folder)
    model = small_model(data)
    model.load_state_dict(start.state_dict())
    assert torch.equal(model.half().state_dict()["published"], start.published)
    assert not any("published" in name for name, _ in model.named_parameters())


BIAS = "masked_lm.cls.predictions.bias"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"pieces_sha256": torch.ones(32, dtype=torch.uint8)}, "their pieces differ"),
        ({"behaviour_sha256": torch.ones(32, dtype=torch.uint8)}, "split the same text differently"),
        ({BIAS: torch.zeros(41)}, r"first is .*predictions\.bias: \(41,\) in the checkpoint, \(40,\)"),
        ({"masked_lm.bert.encoder.layer.1.output.dense.bias": torch.zeros(16)}, "missing in the model"),
        ({"encoder.layers.1.attention.query.bias": torch.zeros(16)}, "written by an older version of weam_fairseq"),
    ],
)
def test_weights_of_another_shape_or_tokenizer_are_refused(
    small_data_bin: Path, change: dict[str, torch.Tensor], sentence: str
) -> None:
    model = small_model(dataset(small_data_bin, Policy()))
    with pytest.raises(InputError, match=sentence):
        model.load_state_dict(model.state_dict() | change)


def test_weights_of_another_config_are_refused(small_data_bin: Path) -> None:
    """For example with another activation: the tensors have the same shapes."""
    model = small_model(dataset(small_data_bin, Policy()))
    config = {**model.masked_lm.config.to_dict(), "hidden_act": "relu"}
    folder = Published({}, [], {"config.json": json.dumps(config).encode()}, {})
    with pytest.raises(InputError, match="hidden_act is 'relu' and 'gelu'"):
        model.load_state_dict(model.state_dict() | {"published": pack(folder)})


def test_a_model_that_fails_in_bfloat16_gets_one_sentence(small_data_bin: Path) -> None:
    data = dataset(small_data_bin, Policy())
    task = SimpleNamespace(pairs=PAIRS, policy=data.policy)

    def fails(**inputs: object) -> None:  # as transformers' xmod and deberta do under autocast
        raise RuntimeError("Index put requires the source and destination dtypes match, got Float and BFloat16")

    with pytest.raises(InputError, match=r"does not run in bfloat16: Index put .*\. Give --precision fp32\."):
        WeamCriterion(task, 1.0, "bf16")(fails, data.collater([data[0]]))
    with pytest.raises(RuntimeError, match="Index put"):
        WeamCriterion(task, 1.0, "fp32")(fails, data.collater([data[0]]))
