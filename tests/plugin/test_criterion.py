"""The criterion on a real batch against the method's definition: one full pass, E written densely, λ of any size."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from test_dataset import PAIRS, dataset

from weam_fairseq.criterion import WeamCriterion
from weam_fairseq.dataset import Policy
from weam_fairseq.encoder import EncoderConfig
from weam_fairseq.model import WeamModel


@pytest.mark.parametrize("weight", [0.0, 0.7, 1.0])
def test_loss_and_log_are_those_of_the_method(small_data_bin: Path, weight: float) -> None:
    data = dataset(small_data_bin, Policy())
    pairs = [data[i] for i in (0, 5, 61, 62, 125)]
    batch = data.collater(pairs)
    torch.manual_seed(0)
    config = EncoderConfig(vocabulary=len(data.vocabulary), pad=1, layers=1, width=16, heads=2, feed_forward=32)
    model = WeamModel(config, torch.from_numpy(data.vocabulary.tokenizer_ids), "00" * 32).eval()
    task = SimpleNamespace(pairs=PAIRS, policy=data.policy)
    loss, size, log = WeamCriterion(task, weight, "fp32")(model, batch)

    net_input, target = batch["net_input"], batch["target"]
    states = model.encoder(net_input["tokens"], net_input["segments"], net_input["positions"])
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
    mp = F.cross_entropy(model.encoder.logits(states.flatten(0, 1)[rows]), target, reduction="none")
    cp = F.cross_entropy(model.encoder.logits(exchanged.flatten(0, 1)[rows]), target, reduction="none")

    assert size == len(target) > 10
    torch.testing.assert_close(loss, mp.sum() + weight * cp.sum())
    for number, pair in enumerate(PAIRS):
        of_pair = batch["row_pair"] == number
        assert log[f"{pair}:masked"] == int(of_pair.sum())
        assert log[f"{pair}:mp_nll"] == pytest.approx(mp[of_pair].sum().item(), rel=1e-5)
        assert log[f"{pair}:cp_nll"] == pytest.approx(cp[of_pair].sum().item(), rel=1e-5)


@pytest.mark.parametrize("objective", ["tlm", "mlm"])
def test_the_first_loss_alone_without_an_exchange(small_data_bin: Path, objective: str) -> None:
    data = dataset(small_data_bin, Policy(objective=objective))
    batch = data.collater([data[i] for i in (0, 61)])
    config = EncoderConfig(vocabulary=len(data.vocabulary), pad=1, layers=1, width=16, heads=2, feed_forward=32)
    model = WeamModel(config, torch.from_numpy(data.vocabulary.tokenizer_ids), "00" * 32).eval()
    task = SimpleNamespace(pairs=PAIRS, policy=data.policy)
    loss, _, log = WeamCriterion(task, 5.0, "fp32")(model, batch)
    net_input = batch["net_input"]
    states = model.encoder(net_input["tokens"], net_input["segments"], net_input["positions"]).flatten(0, 1)
    wanted = F.cross_entropy(model.encoder.logits(states[net_input["masked_rows"]]), batch["target"], reduction="sum")
    torch.testing.assert_close(loss, wanted)
    assert not log["has_cp"]
