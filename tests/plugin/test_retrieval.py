"""Sentence retrieval during a training: percent of sentences whose translation is the nearest one."""

from pathlib import Path

import pytest
import torch
from small_encoder import bert
from test_dataset import dataset

from weam_fairseq.method.modeling import WordExchange
from weam_fairseq.method.policy import Policy
from weam_fairseq.method.retrieval import Retrieval, _accuracies, measure


def test_accuracies_of_both_directions_by_hand() -> None:
    """Source 1 is nearest to target 0; every target is nearest to its own source."""
    source = torch.tensor([[[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]])
    target = torch.tensor([[[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]])
    similarity = source[0] @ target[0].T
    assert similarity.argmax(dim=1).tolist() == [0, 1, 2]
    target[0, 1] = torch.tensor([0.0, -1.0])
    forward, backward = _accuracies(source, target)[0].tolist()
    assert forward == pytest.approx(100 * 2 / 3)
    assert backward == pytest.approx(100 * 2 / 3)


def test_a_model_is_measured_the_same_way_each_time_at_its_best_layer(small_data_bin: Path) -> None:
    data = dataset(small_data_bin, Policy())
    model = WordExchange(bert(len(data.vocabulary))).eval()
    found = measure(model, data, pairs=30)
    assert 0 <= found.layer <= model.masked_lm.config.num_hidden_layers
    assert measure(model, data, pairs=30) == found
    assert Retrieval(1, 80.0, 60.0).mean == 70.0
