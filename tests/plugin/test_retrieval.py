"""Sentence retrieval during a training: percent of sentences whose translation is the nearest one."""

from pathlib import Path

import pytest
import torch
from small_encoder import bert
from test_dataset import dataset

from weam_fairseq.common.errors import InputError
from weam_fairseq.method.modeling import WordExchange
from weam_fairseq.method.policy import Policy
from weam_fairseq.method.retrieval import Retrieval, Texts, _accuracies, _vectors, measure


def test_accuracies_of_both_directions_by_hand() -> None:
    """Source 1 is nearest to target 0; every target is nearest to its own source."""
    source = torch.tensor([[[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]])
    target = torch.tensor([[[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]])
    similarity = source[0] @ target[0].T
    assert similarity.argmax(dim=1).tolist() == [0, 1, 2]
    target[0, 1] = torch.tensor([0.0, -1.0])
    different = torch.arange(3)
    forward, backward = _accuracies(source, target, Texts(different, different))[0].tolist()
    assert forward == pytest.approx(100 * 2 / 3)
    assert backward == pytest.approx(100 * 2 / 3)
    # Sources 0 and 1 have the same translation, so it is right for both.
    forward, backward = _accuracies(source, target, Texts(different, torch.tensor([1, 1, 2])))[0].tolist()
    assert (forward, backward) == (100, pytest.approx(100 * 2 / 3))


def test_sentences_that_are_too_long_for_the_model_are_left_out(small_data_bin: Path) -> None:
    data = dataset(small_data_bin, Policy())
    sizes = [max(len(pair.source), len(pair.target)) for pair in data.__getitems__(list(range(len(data))))]
    short = WordExchange(bert(len(data.vocabulary), max_position_embeddings=sorted(sizes)[len(sizes) // 2] + 2)).eval()
    assert measure(short, data, pairs=30).mean >= 0
    with pytest.raises(InputError, match="No validation pair is short enough for the model"):
        measure(WordExchange(bert(len(data.vocabulary), max_position_embeddings=min(sizes))).eval(), data, pairs=30)


def test_a_sentence_is_the_mean_of_its_pieces_without_special_ones(small_data_bin: Path) -> None:
    data = dataset(small_data_bin, Policy())
    model = WordExchange(bert(len(data.vocabulary))).eval()
    pairs = data.__getitems__(list(range(5)))
    single = data.vocabulary.single
    for side, found in zip(("source", "target"), _vectors(model, data, pairs), strict=True):
        for number, pair in enumerate(pairs):
            before, after = ([piece for piece, _ in part] for part in (single.before, single.after))
            ids = [*before, *getattr(pair, side).tolist(), *after]
            with torch.no_grad():
                layers = model.base(torch.tensor([ids]), output_hidden_states=True).hidden_states
            for layer, states in enumerate(layers):
                mean = states[0, len(before) : len(ids) - len(after)].mean(dim=0)
                torch.testing.assert_close(found[layer, number], torch.nn.functional.normalize(mean, dim=0))


def test_a_model_is_measured_the_same_way_each_time_at_its_best_layer(small_data_bin: Path) -> None:
    data = dataset(small_data_bin, Policy())
    model = WordExchange(bert(len(data.vocabulary))).eval()
    found = measure(model, data, pairs=30)
    assert 0 <= found.layer <= model.masked_lm.config.num_hidden_layers
    assert measure(model, data, pairs=30) == found
    assert Retrieval(1, 80.0, 60.0).mean == 70.0
