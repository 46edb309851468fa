"""Shards: a data-bin in several folders, DATA_BIN1:DATA_BIN2, one per epoch."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hand_made_data_bin import Example, random_examples, random_probabilities, write_data_bin
from run_training import arguments, curve, train

from weam_fairseq.common.errors import InputError
from weam_fairseq.plugin import checkpoints
from weam_fairseq.plugin.task import WeamTask, WeamTaskConfig

# Training examples of each shard: four and three batches of 16.
SIZES = (64, 48)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("shards")
    first, second = (
        write_data_bin(
            folder / f"shard{k}",
            {"en-de": {"train": random_examples(size, k), "valid": random_examples(6 + k, 8)}},
        )
        for k, size in enumerate(SIZES)
    )
    return first, second


def task_of(*folders: Path, **options: Any) -> WeamTask:
    return WeamTask.setup_task(WeamTaskConfig(data=":".join(map(str, folders)), seed=1, **options))


def test_each_epoch_trains_on_the_next_shard_and_validates_on_the_first(shards: tuple[Path, Path]) -> None:
    task = task_of(*shards)
    assert task.has_sharded_data("train")
    for epoch, size in ((1, 64), (2, 48), (3, 64), (4, 48)):
        task.load_dataset("train", combine=True, epoch=epoch)
        assert len(task.dataset("train")) == size
        task.load_dataset("valid", epoch=epoch)
        assert len(task.dataset("valid")) == 6
    assert not task_of(shards[0]).has_sharded_data("train")


def test_a_training_over_shards_resumes_within_one(shards: tuple[Path, Path], tmp_path: Path) -> None:
    """Three epochs are 4 + 3 + 4 updates; the first run stops at the sixth, within the second shard."""
    both = Path(":".join(map(str, shards)))
    whole = train(arguments(both, tmp_path / "whole", 11))
    assert whole.returncode == 0, whole.stderr
    for updates in (6, 11):
        part = train(arguments(both, tmp_path / "parts", updates))
        assert part.returncode == 0, part.stderr
    loaded = [line.split(" | ")[-1] for line in part.stdout.splitlines() if "train, shard" in line]
    assert [line.split(":")[0] for line in loaded][:2] == ["train, shard 2 of 2", "train, shard 1 of 2"]
    assert "48 pairs, 48 drawn per epoch" in loaded[0]
    assert curve(part.stdout) == {update: loss for update, loss in curve(whole.stdout).items() if update > 6}
    assert sorted(curve(whole.stdout)) == list(range(1, 12))
    ours, theirs = (checkpoints.load(tmp_path / run / "checkpoint_last.pt")["model"] for run in ("parts", "whole"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def pairs(*names: str) -> dict[str, dict[str, list[Example]]]:
    return {name: {"train": random_examples(4, 1)} for name in names}


def change(folder: Path, part: str, name: str, value: object) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest[part][name] = value
    (folder / "manifest.json").write_text(json.dumps(manifest))


def of_another_tokenizer(folder: Path) -> Path:
    write_data_bin(folder, pairs("en-de"))
    change(folder, "tokenizer", "pieces_sha256", "12" * 32)
    return folder


def numbered_otherwise(folder: Path) -> Path:
    write_data_bin(folder, pairs("en-de"))
    for dictionary in folder.glob("dict.*.txt"):
        dictionary.write_text("".join(reversed(dictionary.read_text().splitlines(keepends=True))))
    return folder


def of_another_pair(folder: Path) -> Path:
    return write_data_bin(folder, pairs("en-fr"))


def of_more_pairs(folder: Path) -> Path:
    return write_data_bin(folder, pairs("en-de", "en-fr"))


def with_probabilities(folder: Path) -> Path:
    written = {"en-de": {"train": random_probabilities(random_examples(4, 1), 1)}}
    return write_data_bin(folder, pairs("en-de"), written)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            of_another_tokenizer,
            "must have the same tokenizer, but pieces_sha256 in the manifest of {other} differs from ",
        ),
        (numbered_otherwise, "must have the same dictionary, but the dictionaries of {other} differ from those of "),
        (of_another_pair, "must hold the same pairs, but {first} holds en-de, and {other} holds en-fr"),
        (of_more_pairs, "must hold the same pairs, but {first} holds en-de, and {other} holds en-de, en-fr"),
        (with_probabilities, "link probabilities or none, but {first} has none, and {other} has them"),
    ],
)
def test_shards_that_do_not_belong_together_are_named(
    tmp_path: Path, make: Callable[[Path], Path], sentence: str
) -> None:
    first, other = write_data_bin(tmp_path / "first", pairs("en-de")), make(tmp_path / "other")
    with pytest.raises(InputError) as raised:
        task_of(first, other)
    assert sentence.format(first=first, other=other) in str(raised.value)
    assert str(first) in str(raised.value)


def test_pairs_that_all_shards_hold_can_be_named(tmp_path: Path) -> None:
    first, other = write_data_bin(tmp_path / "first", pairs("en-de")), of_more_pairs(tmp_path / "other")
    assert task_of(first, other, pairs="en-de").pairs == ["en-de"]
    with pytest.raises(InputError, match="must hold the same pairs"):
        task_of(other, first, pairs="en-fr")


def test_shards_aligned_differently_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, other = (write_data_bin(tmp_path / name, pairs("en-de")) for name in ("first", "other"))
    change(other, "aligner", "symmetrize", "union")
    with caplog.at_level(logging.WARNING):
        task_of(first, other)
    assert f"{first} and {other} were aligned differently" in caplog.text


def test_a_shard_that_is_not_there_gets_one_sentence(shards: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere must be a folder made by weam-preprocess"):
        task_of(shards[0], tmp_path / "nowhere")
    with pytest.raises(InputError, match="joined by colons, but one is empty"):
        WeamTask.setup_task(WeamTaskConfig(data=f"{shards[0]}:", seed=1))


def test_weights_need_an_aligner_with_probabilities(shards: tuple[Path, Path]) -> None:
    with pytest.raises(
        InputError, match=r"aligned by by hand without probabilities\. Make the data-bin with --aligner fast_align"
    ):
        task_of(shards[0], one_to_many="weighted")
