"""What tasks of test_cluster.py and workers of test_kills.py run: other processes, which import it from here."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from weam_preprocess.errors import InputError

if TYPE_CHECKING:
    from weam_preprocess.prepare import Preparation
    from weam_preprocess.raw import RawChunk


def double(number: int) -> int:
    return 2 * number


def log_and_double(job: tuple[Path, int]) -> int:
    """Leaves a line for every time that it is run."""
    file, number = job
    with file.open("a") as stream:
        stream.write(f"{number}\n")
    return 2 * number


def killed_once(job: tuple[Path, int]) -> int:
    """At item 3, kills its own process, as a machine does that has no memory left; but only the first time."""
    folder, number = job
    if number == 3 and not (folder / "killed").exists():
        (folder / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return log_and_double((folder / "log", number))


def always_fails(number: int) -> int:
    raise RuntimeError(f"no room for {number}")


def bad_data(number: int) -> int:
    raise InputError(f"en-de.tsv line {number}: has no tab.")


def prepare_the_first_two(job: tuple[Preparation, RawChunk]) -> int:
    from weam_preprocess.prepare import prepare

    return prepare(job) if job[1].number < 2 else always_fails(job[1].number)


def prepare_but_one_is_killed(job: tuple[Preparation, RawChunk]) -> int:
    """At chunk 2, kills its own process; but only the first time."""
    from weam_preprocess.prepare import prepare

    killed = job[0].work.folder / "killed"
    if job[1].number == 2 and not killed.exists():
        killed.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return prepare(job)
