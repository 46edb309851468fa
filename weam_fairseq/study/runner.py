"""Runs one step: python -m weam_fairseq.study.runner STEP_FOLDER, here or as a Slurm job.

The command's output goes to the step's log; time and peak memory are measured; signals are passed on, so that
weam-train saves a checkpoint in time; other commands do not hear that their time runs out, and use it. Of several
processes of one step (Slurm's ranks) the first keeps the records.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import IO, Any, NamedTuple

from weam_fairseq.launch.job import works_to_the_end
from weam_fairseq.launch.record import revision
from weam_fairseq.study.step_folder import Order, StepFolder


class Ended(NamedTuple):
    """How a command ended. `memory`: bytes of its largest process."""

    status: int
    seconds: float
    memory: int


def main(arguments: list[str]) -> int:
    """The command's exit code; 128 + N where signal N ended it."""
    folder = StepFolder(Path(arguments[0]))
    order = folder.order()
    if os.environ.get("SLURM_PROCID", "0") != "0":
        return _run(order, None, ()).status
    with folder.locked() as lock:
        if folder.is_done(tuple(order.languages)):
            return 0  # by somebody whose end was waited for
        folder.begin()
        if order.whole is not None and (folder.path / order.whole).exists():
            folder.end(True, _told(folder, order, None))  # killed between the command's end and the record of it
            return 0
        folder.note(order.log, f"$ {shlex.join(order.command)}")
        with (folder.path / order.log).open("a", encoding="utf-8") as log:
            ended = _run(order, log, (lock,))
        folder.end(ended.status == 0, _told(folder, order, ended))
    return ended.status


def _run(order: Order, log: IO[str] | None, kept: tuple[int, ...]) -> Ended:
    """Args: kept: descriptors that the command inherits."""
    children: list[int] = []
    heard: list[int] = []

    def pass_on(number: int, frame: FrameType | None = None) -> None:
        heard.append(number)
        for child in children:
            os.kill(child, number)

    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
        signal.signal(number, pass_on)
    if works_to_the_end(order.command[0]):
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)  # the command begins with that
    # Ctrl-C reaches all processes of a terminal; weam-study, which gets it too, then says TERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    start = time.monotonic()
    process = subprocess.Popen(
        [_program(order.command[0]), *order.command[1:]],
        cwd=order.directory,
        env={**os.environ, **order.environment},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=None if log is None else subprocess.STDOUT,
        pass_fds=kept,
    )
    children.append(process.pid)
    for early in heard:  # before there was a child
        os.kill(process.pid, early)
    _, status, usage = os.wait4(process.pid, 0)
    children.clear()
    process.returncode = os.waitstatus_to_exitcode(status)
    code = process.returncode
    # Linux counts in kilobytes.
    return Ended(code if code >= 0 else 128 - code, time.monotonic() - start, usage.ru_maxrss * 1024)


def _told(folder: StepFolder, order: Order, ended: Ended | None) -> dict[str, Any]:
    before = folder.done() or {}
    well = ended is None or ended.status == 0
    return {
        "command": order.command,
        "status": 0 if ended is None else ended.status,
        "languages": [*before.get("languages", []), *order.languages] if well else order.languages,
        # An evaluation that was done again, for more languages, has taken the sum.
        "seconds": None if ended is None else round(ended.seconds + (before.get("seconds") or 0.0), 2),
        "peak_memory_bytes": None if ended is None else max(ended.memory, before.get("peak_memory_bytes") or 0),
        "machine": machine(),
        "threads": order.environment.get("OMP_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS"),
        "revision": revision(Path(__file__).parent),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def machine() -> str:
    """Processor, cores that may be used, GPUs; no name of the host."""
    model = "unknown processor"
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    cores = len(os.sched_getaffinity(0))
    parts = [model, f"{cores} core{'' if cores == 1 else 's'}"]
    if shutil.which("nvidia-smi"):
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        told = subprocess.run(command, capture_output=True, text=True)
        names = [line.strip() for line in told.stdout.splitlines() if line.strip()] if told.returncode == 0 else []
        parts += [f"{names.count(name)} × {name}" for name in dict.fromkeys(names)]
    return ", ".join(parts)


def _program(name: str) -> str:
    """Beside this Python first: the same installation."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.is_file() else name


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
