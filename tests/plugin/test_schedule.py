"""The computed number of updates is the number that fairseq makes."""

import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest
from hand_made_data_bin import random_examples, write_data_bin

from weam_fairseq.common.errors import InputError
from weam_fairseq.plugin import checkpoints, schedule
from weam_fairseq.training.command_line import parse, prepare

# Data-bin, options -> parsed options
Parsed = Callable[[Path | str, str], Namespace]


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Parsed:
    """Of a model so small that it trains in no time, without processes of its own."""

    def parsed(data_bin: Path | str, options: str) -> Namespace:
        monkeypatch.setattr(sys, "argv", ["weam-train"])
        words = (
            f"{data_bin} --arch weam_tiny --layers 1 --width 16 --heads 2 --feed-forward 16 --optimizer sgd --lr 0.1"
        )
        words += f" --lr-scheduler polynomial_decay --num-workers 0 --data-buffer-size 0 --save-dir {tmp_path / 'run'}"
        words += " --disable-validation --no-epoch-checkpoints --log-format none --seed 3 --precision fp32"
        return parse(prepare([*words.split(), *options.split()]).arguments, None)

    return parsed


def updates_made(args: Namespace) -> int:
    """Trains, and looks at the checkpoint."""
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from fairseq_cli.train import main as train

    train(convert_namespace_to_omegaconf(args))
    return checkpoints.glance(Path(args.save_dir, checkpoints.LAST)).updates


@pytest.mark.parametrize(
    ("options", "by_hand"),
    [
        # 180 pairs in small_data_bin
        ("--max-epoch 1 --batch-size 16", 12),
        ("--max-epoch 2 --batch-size 17 --update-freq 4", 2 * 3),
        ("--max-epoch 3 --batch-size 16 --update-freq 5,12", 3 + 1 + 1),
        ("--max-epoch 2 --batch-size 16 --pairs en-zh", 2 * 4),
        ("--max-epoch 2 --batch-size 16 --update-freq 4 --skip-remainder-batch", 2 * 2),
        ("--max-epoch 2 --batch-size 16 --max-update 13", 13),
        ("--max-update 7 --batch-size 16", 7),
        ("--max-epoch 2 --max-tokens 150", None),
        ("--max-epoch 2 --batch-size 4 --positions 14", None),  # longer pairs are left out
        ("--max-epoch 2 --max-tokens 60 --sampling-temperature 5 --pairs en-de,en-es --positions 16", None),
    ],
)
def test_the_number_is_that_of_the_updates_made(
    parsed: Parsed, small_data_bin: Path, options: str, by_hand: int | None
) -> None:
    args = parsed(small_data_bin, options)
    assert schedule.lacks_total(args)
    total, sentence = schedule.total_updates(args)
    args.total_num_update = float(total)
    assert total == updates_made(args)
    assert by_hand in (None, total)
    assert f"{total:,}" in sentence


def test_shards_are_counted_in_the_circle_they_come_in(parsed: Parsed, tmp_path: Path) -> None:
    folders = [
        write_data_bin(tmp_path / str(size), {"en-de": {"train": random_examples(size, 1)}}) for size in (10, 30)
    ]
    args = parsed(":".join(map(str, folders)), "--max-epoch 3 --batch-size 4")
    total, _ = schedule.total_updates(args)
    assert total == 3 + 8 + 3
    args.total_num_update = float(total)
    assert total == updates_made(args)


def test_more_processes_make_fewer_updates(parsed: Parsed, small_data_bin: Path) -> None:
    args = parsed(small_data_bin, "--max-epoch 2 --batch-size 16 --distributed-world-size 5")
    assert schedule.total_updates(args)[0] == 2 * 3


def test_a_given_total_and_other_schedules_are_left_alone(parsed: Parsed, small_data_bin: Path) -> None:
    for options in ("--max-epoch 2 --total-num-update 5", "--max-epoch 2 --lr-scheduler fixed"):
        assert not schedule.lacks_total(parsed(small_data_bin, f"--batch-size 16 {options}"))


def test_a_run_of_unknown_length_is_refused(parsed: Parsed, small_data_bin: Path) -> None:
    with pytest.raises(InputError, match="Give --max-epoch, --max-update or --total-num-update"):
        schedule.total_updates(parsed(small_data_bin, "--batch-size 16 --max-epoch 0"))


# Numbers of all options ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--cp-weight nan", "--cp-weight must be 0 or more, but is nan"),
        ("--cp-weight -0.5", "--cp-weight must be 0 or more, but is -0.5"),
        ("--mask-prob nan", "--mask-prob must lie between 0 and 1, but is nan"),
        ("--mask-prob 1", "--mask-prob must lie between 0 and 1, but is 1"),
        ("--sampling-temperature inf", "--sampling-temperature must be over 0, but is inf"),
        ("--lr nan", "argument --lr: it must be a number, or several joined by commas, not 'nan'"),
        ("--lr 1e999", "--lr must be 0 or more, but is inf"),
        ("--total-num-update many", "--total-num-update must be a number, but is many"),
        ("--lr 0.1,-0.1", "--lr must be 0 or more, but is -0.1"),
        ("--clip-norm nan", "--clip-norm must be 0 or more, but is nan"),
        ("--weight-decay inf", "--weight-decay must be 0 or more, but is inf"),
        ("--stop-min-lr nan", "--stop-min-lr must be a finite number, but is nan"),
        ("--end-learning-rate nan", "--end-learning-rate must be 0 or more, but is nan"),
        ("--total-num-update 0", "--total-num-update must be over 0, but is 0"),
        ("--batch-size 0", "--batch-size must be 1 or more, but is 0"),
        ("--max-tokens -5", "--max-tokens must be 1 or more, but is -5"),
        ("--update-freq 2,0", "--update-freq must be 1 or more, but is 0"),
        ("--max-update -1", "--max-update must be 0 or more, but is -1"),
        ("--log-interval 0", "--log-interval must be 1 or more, but is 0"),
        ("--seed -1", "--seed must lie between 0 and"),
        ("--dropout 1", "--dropout must be 0 or more and less than 1, but is 1"),
        ("--write-checkpoints-asynchronously", "--write-checkpoints-asynchronously must not be given"),
    ],
)
def test_numbers_out_of_range_are_refused(parsed: Parsed, options: str, sentence: str) -> None:
    batches = "" if sentence.startswith("--batch-size or") else "--batch-size 16 "
    with pytest.raises(InputError, match=sentence):
        parsed("bin", batches + options)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            "--max-tokens 12",
            "--max-tokens must be large enough for every pair, but is 12, and the longest training pair of",
        ),
        ("--batch-size 4 --grouped-shuffling", "--grouped-shuffling must not be given"),
    ],
)
def test_batches_that_would_leave_pairs_out_are_refused(
    parsed: Parsed, small_data_bin: Path, options: str, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        updates_made(parsed(small_data_bin, f"--total-num-update 9 --max-update 1 {options}"))


def test_a_later_shard_with_a_longer_pair_is_refused_before_the_first_update(parsed: Parsed, tmp_path: Path) -> None:
    long = ([5] * 30, [20] * 30, [], list(range(30)), list(range(30)))
    parts = {"short": random_examples(10, 1), "long": [*random_examples(9, 2), long]}
    folders = [str(write_data_bin(tmp_path / name, {"en-de": {"train": part}})) for name, part in parts.items()]
    args = parsed(":".join(folders), "--max-tokens 40 --max-update 1 --total-num-update 9")
    with pytest.raises(InputError, match=f"the longest training pair of {folders[1]} takes 63. Give at least 63"):
        updates_made(args)
