"""What a training took is read from its log, whatever interrupted it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from weam_fairseq.study.cost import Effort, effort

START = datetime(2026, 1, 1, 12)


def stamp(seconds: float) -> str:
    return f"{START + timedelta(seconds=seconds)} | INFO | "


def begin(at: float = 0) -> str:
    return f"$ weam-train bin\n{stamp(at)}fairseq_cli.train | …\n"


def inner(update: int, at: float, pieces: float = 100.0, **more: str) -> str:
    """fairseq's `wall` is 0 after a start from the middle of an epoch."""
    record = {"num_updates": str(update), "wall": "0", "wpb": str(pieces), **more}
    return f"{stamp(at)}train_inner | {json.dumps(record)}\n"


def at_end(update: int, at: float, pieces: float = 100.0) -> str:
    record = {"train_num_updates": str(update), "train_wall": "0", "train_wpb": str(pieces)}
    return f"{stamp(at)}train | {json.dumps(record)}\n"


def read(parts: list[str]) -> Effort:
    return effort("".join(parts).splitlines(keepends=True))


def test_an_undisturbed_training() -> None:
    lines = [begin(), inner(10, 20, 100), inner(20, 41, 120), at_end(20, 42, 110)]
    assert read(lines) == Effort(updates=20, pieces=2200, seconds=41.0, gpu_bytes=None)


def test_updates_after_the_last_line_are_in_the_line_at_the_end() -> None:
    lines = [begin(), inner(10, 20, 100), at_end(13, 27, 102)]
    assert read(lines) == Effort(13, 1000 + 3 * 102, 27.0, None)


def test_updates_that_were_lost_count_once() -> None:
    """Killed after update 30; the checkpoint held 20, and the second start made 21 to 40."""
    lines = [begin(), inner(10, 20), inner(20, 40), inner(30, 60, 999), '… | train_inner | {"num_up']
    lines += ["\n", begin(500), inner(30, 525, 100), inner(40, 545, 100), at_end(40, 546)]
    assert read(lines) == Effort(40, 4000, 40 + 45, None)


def test_a_second_start_that_is_as_far_as_the_first_was() -> None:
    """The time between the two starts is not the training's."""
    lines = [begin(), inner(10, 10), begin(1000), inner(20, 1015)]
    assert read(lines).seconds == 25


def test_the_memory_of_a_gpu_is_what_was_least_free() -> None:
    lines = ["rank   0: capabilities =  9.0  ; total memory = 79.000 GB ; name = NVIDIA H100\n"]
    lines += [inner(10, 1, gb_free="70.0"), inner(20, 2, gb_free="60.5"), inner(30, 3, gb_free="65")]
    assert read(lines).gpu_bytes == pytest.approx(18.5 * 2**30)


def test_nothing_was_logged() -> None:
    assert read(["$ weam-train bin\n", "weam-train: error: no\n"]) == Effort(0, 0, 0.0, None)
