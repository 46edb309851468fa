"""Temperature sampling: how often pairs of languages are drawn, and that every draw gets random numbers of its own."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hand_made_data_bin import random_examples, random_probabilities, write_data_bin
from hypothesis import given
from hypothesis import strategies as st
from run_training import arguments, curve, train

from weam_fairseq.common.errors import InputError
from weam_fairseq.method.policy import OBJECTIVES, Policy
from weam_fairseq.method.randomness import PairRandom, Stream
from weam_fairseq.method.sampling import draw, drawn_per_epoch
from weam_fairseq.method.word_exchange import LinkPolicy
from weam_fairseq.plugin import checkpoints
from weam_fairseq.plugin.fairseq_dataset import FairseqWordExchangeDataset
from weam_fairseq.plugin.task import WeamTask, WeamTaskConfig

SIZES = {"en-de": 60, "de-zh": 8}
N = sum(SIZES.values())


@pytest.fixture(scope="module")
def unequal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 sentence pairs of en-de, 8 of de-zh, with link probabilities."""
    pairs = {
        pair: {"train": random_examples(size, seed), "valid": random_examples(6, seed + 5)}
        for seed, (pair, size) in enumerate(SIZES.items())
    }
    probabilities = {
        pair: {split: random_probabilities(examples, 3) for split, examples in splits.items()}
        for pair, splits in pairs.items()
    }
    return write_data_bin(tmp_path_factory.mktemp("unequal") / "bin", pairs, probabilities)


def task_of(data_bin: Path | str, **options: Any) -> WeamTask:
    return WeamTask.setup_task(WeamTaskConfig(data=str(data_bin), seed=5, **options))


def train_set(data_bin: Path, **options: Any) -> FairseqWordExchangeDataset:
    task = task_of(data_bin, **options)
    task.load_dataset("train")
    return task.dataset("train")


def drawn_indices(data: FairseqWordExchangeDataset, epoch: int) -> list[int]:
    data.set_epoch(epoch)
    return sorted(int(i) for i in data.ordered_indices())


@pytest.mark.parametrize(
    ("sizes", "temperature", "expected"),
    [
        ([900, 100], 1.0, [900, 100]),
        ([900, 100], 2.0, [750, 250]),  # 30 : 10
        ([900, 100], 1e9, [500, 500]),
        ([900, 100], 0.5, [988, 12]),  # 81 : 1 of 1000 is 987.8 : 12.2
        ([4, 1, 1], 2.0, [3, 2, 1]),  # 3, 1.5, 1.5: what remains goes to the first of equals
        ([99, 1], 0.001, [99, 1]),  # never none, and no number too large
        ([2, 2, 10**9], 1e-3, [1, 1, 10**9 + 2]),
        ([7], 3.0, [7]),
    ],
)
def test_how_often_pairs_of_languages_are_drawn(sizes: list[int], temperature: float, expected: list[int]) -> None:
    assert drawn_per_epoch(np.array(sizes), temperature).tolist() == expected


@given(st.lists(st.integers(1, 10**10), min_size=1, max_size=20), st.floats(0.01, 1e6))
def test_an_epoch_keeps_its_length_and_every_pair_of_languages(sizes: list[int], temperature: float) -> None:
    counts = drawn_per_epoch(np.array(sizes), temperature)
    assert counts.sum() == sum(sizes)
    assert counts.min() >= 1
    assert drawn_per_epoch(np.array(sizes), 1.0).tolist() == sizes


def test_whole_passes_come_before_single_draws() -> None:
    places, repetitions = draw(3, 7, np.random.default_rng(0))
    assert places[:6].tolist() == [0, 1, 2, 0, 1, 2]
    assert repetitions.tolist() == [0, 0, 0, 1, 1, 1, 2]


@given(st.integers(1, 30), st.integers(1, 100), st.integers(0, 2**31))
def test_draws_are_as_even_as_can_be(size: int, count: int, seed: int) -> None:
    places, repetitions = draw(size, count, np.random.default_rng(seed))
    times = np.bincount(places, minlength=size)
    assert len(times) == size
    assert times.sum() == count
    assert set(times) <= {count // size, count // size + 1}
    assert len(set(zip(places.tolist(), repetitions.tolist(), strict=True))) == count, "no draw is there twice"


def test_random_numbers_differ_for_the_largest_virtual_indices() -> None:
    # 3e9 sentence pairs, one pair of languages with a single one: N + N * N is the largest that can be.
    largest = 3_000_000_000 * 3_000_000_001
    random = PairRandom(1)
    numbers = [random.at(1, index, Stream.MASK).random() for index in (largest, largest - 1, largest % 2**32)]
    assert len(set(numbers)) == 3
    assert np.array([largest]).dtype == np.int64


def test_an_epoch_is_drawn_from_seed_and_epoch(unequal: Path) -> None:
    data = train_set(unequal, sampling_temperature=2.0)
    counts = dict(zip(SIZES, data.drawn.tolist(), strict=True))
    assert counts == {"en-de": 50, "de-zh": 18}  # 7.746 : 2.828 of 68
    first, again, second = (drawn_indices(data, epoch) for epoch in (1, 1, 2))
    assert first == again
    for epoch in (first, second):
        assert len(set(epoch)) == N, "virtual indices name each draw"
        real = np.array(epoch) % N
        assert (real < 60).sum() == counts["en-de"]
        assert set(real[real >= 60]) == set(range(60, 68))
        assert set(np.bincount(real)[60:]) == {2, 3}
    assert set(first) != set(second)
    other = FairseqWordExchangeDataset(data.splits, data.vocabulary, data.policy, seed=6)
    assert set(drawn_indices(other, 1)) != set(first)


def test_a_temperature_of_one_draws_each_sentence_pair_once(unequal: Path) -> None:
    assert drawn_indices(train_set(unequal), 3) == list(range(N))


def test_each_repetition_is_masked_linked_and_ordered_anew(unequal: Path) -> None:
    data = train_set(unequal, sampling_temperature=5.0, objective="shuffled", shuffle_order=True, mask_replace="all")
    repetitions = [61 + repetition * N for repetition in range(6)]
    batches = [data.collater([data[v]]) for v in repetitions]
    assert [batch["id"].item() for batch in batches] == repetitions
    assert all((data[v].source == data[61].source).all() for v in repetitions)
    tokens = {tuple(batch["net_input"]["tokens"][0].tolist()) for batch in batches}
    assert len(tokens) == len(batches)
    wrong = data._draw([data[v] for v in repetitions], Stream.LINKS, [(1,)] * 6)
    orders = data._draw([data[v] for v in repetitions], Stream.ORDER, [(1,)] * 6)
    assert len({float(n[0]) for n in wrong}) == len({float(n[0]) for n in orders}) == 6


def test_sizes_are_those_of_the_sentence_pair(unequal: Path) -> None:
    data = train_set(unequal, sampling_temperature=5.0)
    virtual = np.array([3, 61, 61 + N, 61 + 2 * N])
    sizes = data.num_tokens_vec(virtual)
    assert sizes.tolist() == [data.size(int(v)) for v in virtual] == [data.num_tokens(int(v)) for v in virtual]
    assert sizes[1] == sizes[2] == sizes[3] == len(data[61].source) + len(data[61].target) + 3
    order = data.ordered_indices()
    longest = int(data.num_tokens_vec(order).max())
    kept, left_out = data.filter_indices_by_size(order, longest - 1)
    assert sorted([*kept, *left_out]) == sorted(order)
    assert left_out
    assert {data.size(v) for v in left_out} == {longest}
    for limit in ({"max_sentences": 7}, {"max_tokens": 60}):
        batches = data.batch_by_size(order, required_batch_size_multiple=8, **limit)
        assert [int(v) for batch in batches for v in batch] == order.tolist()


@pytest.mark.parametrize("objective", ["weam", "mlm"])
def test_no_batch_has_more_places_than_max_tokens(unequal: Path, objective: str) -> None:
    """In `mlm` a pair is two rows, each as long as the longest sentence of the batch."""
    data = train_set(unequal, objective=objective)
    batches = data.batch_by_size(data.ordered_indices(), max_tokens=120)
    grids = [data.collater([data[int(v)] for v in batch])["net_input"]["tokens"].shape for batch in batches]
    assert max(rows * length for rows, length in grids) <= 120
    assert sum(rows for rows, _ in grids) == len(data) * (2 if objective == "mlm" else 1)
    assert len(batches) < len(data) / 2


def batches_of(task: WeamTask, epoch: int, workers: int = 0, split: str = "train") -> list[dict[str, Any]]:
    """What a training or a validation sees in one epoch, through the iterator that fairseq builds."""
    longest = 15 if split == "train" else 512  # a few are left out of training, as fairseq does for a small model
    sizes = {"max_sentences": 9, "max_positions": longest, "ignore_invalid_inputs": True, "data_buffer_size": 10}
    iterator = task.get_batch_iterator(task.dataset(split), **sizes, seed=5, epoch=epoch, num_workers=workers)
    return list(iterator.next_epoch_itr(shuffle=split == "train"))


def seen(batch: dict[str, Any], objective: str) -> tuple[Any, ...]:
    """Sentence pairs and masks of a batch, comparable between objectives."""
    net_input = batch["net_input"]
    if objective == "mlm":  # rows of their own: sources first, so compare what is masked
        return batch["id"].tolist(), sorted(batch["target"].tolist())
    return batch["id"].tolist(), sorted(batch["target"].tolist()), net_input["tokens"].tolist()


@pytest.mark.parametrize("one_to_many", ["mean", "weighted"])
def test_every_objective_sees_the_same_batches_and_masks(unequal: Path, one_to_many: str) -> None:
    found: dict[str, list[tuple[Any, ...]]] = {}
    for objective in OBJECTIVES:
        task = task_of(unequal, objective=objective, sampling_temperature=3.0, one_to_many=one_to_many)
        task.load_dataset("train")
        found[objective] = [seen(batch, objective) for epoch in (1, 2) for batch in batches_of(task, epoch)]
    for objective in OBJECTIVES:
        length = 2 if objective == "mlm" else 3
        assert found[objective] == [batch[:length] for batch in found["weam"]], objective
    ids = [v for batch in found["weam"] for v in batch[0]]
    assert max(ids) >= N, "something was drawn repeatedly"


def test_workers_change_nothing(unequal: Path) -> None:
    found = []
    for workers in (0, 1, 2):
        task = task_of(unequal, sampling_temperature=3.0)
        task.load_dataset("train")
        found.append([seen(batch, "weam") for epoch in (1, 2) for batch in batches_of(task, epoch, workers)])
    assert found[0] == found[1] == found[2]


def test_processes_share_an_epoch_between_them(unequal: Path) -> None:
    task = task_of(unequal, sampling_temperature=3.0)
    task.load_dataset("train")
    ids = []
    for rank in (0, 1):
        iterator = task.get_batch_iterator(
            task.dataset("train"), max_sentences=9, seed=5, epoch=2, num_shards=2, shard_id=rank
        )
        ids += [v for batch in iterator.next_epoch_itr() for v in batch["id"].tolist()]
    assert sorted(ids) == drawn_indices(task.dataset("train"), 2)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_validation_is_the_same_whatever_is_trained(unequal: Path, objective: str) -> None:
    plain = task_of(unequal)
    task = task_of(unequal, objective=objective, sampling_temperature=4.0)
    for either in (plain, task):
        either.load_dataset("valid")
    expected = batches_of(plain, 1, split="valid")
    assert sorted(v for batch in expected for v in batch["id"].tolist()) == list(range(12))
    for epoch in (1, 7):
        for ours, theirs in zip(batches_of(task, epoch, split="valid"), expected, strict=True):
            assert seen(ours, "weam") == seen(theirs, "weam")
            for part, there in zip(ours["net_input"]["exchange"], theirs["net_input"]["exchange"], strict=True):
                assert torch.equal(part, there), "the true links"


def test_validation_weighs_links_as_training_does(unequal: Path) -> None:
    for objective in ("weam", "tlm", "shuffled"):
        task = task_of(unequal, objective=objective, one_to_many="weighted")
        task.load_dataset("valid")
        data = task.dataset("valid")
        assert data.policy.links == LinkPolicy("weighted")
        assert data.policy.objective == "weam"


def test_how_often_each_pair_is_drawn_is_logged(unequal: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        train_set(unequal, sampling_temperature=2.0)
    lines = [record.getMessage() for record in caplog.records]
    assert "train: en-de 60 pairs, 50 drawn per epoch (× 0.833); de-zh 8 pairs, 18 drawn per epoch (× 2.25)" in lines
    assert any("'sampling_temperature': 2.0" in line for line in lines if line.startswith("method: "))


def test_a_policy_survives_a_checkpoint_and_older_ones_are_read() -> None:
    policy = Policy(sampling_temperature=2.5, links=LinkPolicy("weighted", "first", True), shuffle_order=True)
    assert Policy.of(policy.plain()) == policy
    older = policy.plain()
    del older["sampling_temperature"]
    assert Policy.of(older).sampling_temperature == 1.0


@pytest.mark.parametrize("temperature", ["0", "-1", "nan", "inf"])
def test_a_temperature_must_be_over_zero(unequal: Path, temperature: str) -> None:
    with pytest.raises(InputError, match="--sampling-temperature must be over 0, but is"):
        task_of(unequal, sampling_temperature=float(temperature))


def test_a_training_resumes_within_an_epoch_as_if_it_had_not_stopped(unequal: Path, tmp_path: Path) -> None:
    """With every new option on. Five batches of 16 are an epoch: the first run stops in the middle of the second."""
    more = ["--sampling-temperature", "3", "--one-to-many", "weighted", "--shuffle-order"]
    whole = train(arguments(unequal, tmp_path / "whole", 13, *more))
    assert whole.returncode == 0, whole.stderr
    for updates, workers in ((7, "2"), (13, "0")):
        part = train(arguments(unequal, tmp_path / "parts", updates, *more, "--num-workers", workers))
        assert part.returncode == 0, part.stderr
    assert curve(part.stdout) == {update: loss for update, loss in curve(whole.stdout).items() if update > 7}
    ours, theirs = (checkpoints.load(tmp_path / run / "checkpoint_last.pt") for run in ("parts", "whole"))
    assert all(torch.equal(ours["model"][name], theirs["model"][name]) for name in theirs["model"])
    method = ours["task_state"]["weam"]["method"]
    assert (method["sampling_temperature"], method["links"]["one_to_many"]) == (3.0, "weighted")
    last = [json.loads(line.split(" | ")[-1]) for line in whole.stdout.splitlines() if " | train_inner | " in line][-1]
    for pair in SIZES:
        assert f"{pair}:cp_loss" in last
