"""weam-launch on a real Slurm: a training of two processes, on one node or two, that goes on whatever happens to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
import two_nodes

pytestmark = pytest.mark.slurm

sys.path.append(str(Path(__file__).resolve().parents[1] / "plugin"))

from hand_made_data_bin import random_examples, write_data_bin  # noqa: E402
from run_training import arguments  # noqa: E402

LAUNCH = [sys.executable, "-m", "weam_fairseq.launch.cli"]
GATED = [sys.executable, str(Path(__file__).with_name("gated_training.py"))]
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
UPDATES, INTERVAL = 17, 5


@pytest.fixture(scope="module")
def data_bin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pairs = {"en-de": {"train": random_examples(160, 1), "valid": random_examples(8, 2)}}
    return write_data_bin(tmp_path_factory.mktemp("data") / "bin", pairs)


def launch(run: Path, environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [*LAUNCH, "--run-dir", str(run), *words]
    return subprocess.run(command, env=environment | ONE_THREAD, capture_output=True, text=True)


def losses(log: Path) -> list[tuple[int, str]]:
    """Update and loss, as logged, in the order of the log."""
    lines = [line.split(" | ")[-1] for line in log.read_text().splitlines() if " | train_inner | " in line]
    return [(int(told["num_updates"]), told["loss"]) for told in map(json.loads, lines)]


def until(what: str, holds: object, seconds: float = 600) -> None:
    assert callable(holds)
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} seconds: {what}"
        time.sleep(0.1)


def wait_for_requeue(slurm: two_nodes.Slurm, job: str, restarts: int) -> None:
    wanted = f"Restarts={restarts} "
    until(f"Restarts={restarts}", lambda: wanted in slurm.show(job) and "JobState=PENDING" in slurm.show(job))


def go_on(slurm: two_nodes.Slurm, job: str, restarts: int) -> None:
    """Once Slurm has queued the job again."""
    wait_for_requeue(slurm, job, restarts)
    slurm.start_now(job)


class Gate(NamedTuple):
    """Where a training waits: `file` holds the number of the update."""

    file: Path

    def reach(self, update: int) -> dict[int, str]:
        """Both processes wait before an update: process id -> Slurm's node."""

        def waiting() -> list[list[str]]:
            return [file.name.split(".")[-2:] for file in self.file.parent.glob(f"{self.file.name}.{update}.*")]

        until(f"update {update}", lambda: len(waiting()) == 2)
        return {int(process): node for node, process in waiting()}

    def move_to(self, update: int) -> None:
        """0: there is no gate any more."""
        self.file.write_text(str(update))


def log_of(run: Path, started: subprocess.CompletedProcess[str]) -> Path:
    assert started.returncode == 0, started.stderr
    return run / "launch" / "logs" / f"{started.stdout.split('job ')[1].split()[0]}_0_log.out"


@pytest.fixture(scope="module")
def curve(data_bin: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """Update -> loss of a training of two processes on this machine that nobody disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    words = arguments(data_bin, folder / "checkpoints", UPDATES, "--save-interval-updates", str(INTERVAL))
    done = launch(folder, dict(os.environ), "--tasks-per-node", "2", "--wait", "--", *GATED, *words)
    assert done.returncode == 0, done.stderr
    (out,) = (folder / "launch" / "logs").glob("*.out")
    found = losses(out)
    assert [update for update, _ in found] == list(range(1, UPDATES + 1))
    return dict(found)


def test_a_training_goes_on_whatever_slurm_does(
    data_bin: Path, curve: dict[int, str], tmp_path: Path, slurm: two_nodes.Slurm
) -> None:
    gate, run = Gate(tmp_path / "gate"), tmp_path / "run"
    environment = {**slurm.environment, "WEAM_TEST_GATE": str(gate.file)}
    words = arguments(data_bin, tmp_path / "checkpoints", UPDATES, "--save-interval-updates", str(INTERVAL))

    def is_over() -> bool:
        return "--again" in launch(run, environment, "--status").stdout

    gate.move_to(3)
    asked = ["--cluster", "slurm", "--tasks-per-node", "2", "--time", "30", "--partition", two_nodes.PARTITION]
    log = log_of(run, launch(run, environment, *asked, "--", *GATED, *words))
    job = log.name.split("_")[0]

    # Its time is nearly over, says Slurm: the job has itself queued again.
    assert len(set(gate.reach(3).values())) == 1
    assert "is running" in launch(run, environment, "--status").stdout
    slurm.run("scancel", "--signal=USR2", job)
    wait_for_requeue(slurm, job, 1)  # the signal itself ends the wait at the gate
    gate.move_to(7)
    slurm.start_now(job)
    assert "stopped by SIGUSR2 after " in log.read_text()
    assert " | valid | " not in log.read_text()

    # Somebody else needs the machine.
    gate.reach(7)
    gate.move_to(12)
    slurm.run("scontrol", "requeue", job)
    go_on(slurm, job, 2)

    # Somebody wants it gone; Slurm says TERM before it kills.
    gate.reach(12)
    gate.move_to(15)
    slurm.run("scancel", "--signal=KILL", job)
    until("the end", is_over)
    second = log_of(run, launch(run, environment, "--again"))

    # Both processes die: nothing can be saved.
    for process in gate.reach(15):
        os.kill(process, signal.SIGKILL)
    until("the end", is_over)
    gate.move_to(0)
    third = launch(run, environment, "--again", "--wait")
    assert "is done" in third.stdout, third.stdout + third.stderr

    last = losses(log_of(run, third))
    assert [update for update, _ in last] == list(range(last[0][0], UPDATES + 1))
    assert 15 - last[0][0] <= INTERVAL
    seen = [*losses(log), *losses(second), *last]
    assert dict(seen) == curve
    assert set(seen) == set(curve.items())


def test_a_training_over_two_nodes_outlives_either_of_them(
    data_bin: Path, curve: dict[int, str], tmp_path: Path, slurm: two_nodes.Slurm
) -> None:
    gate, run = Gate(tmp_path / "gate"), tmp_path / "run"
    environment = {**slurm.environment, "WEAM_TEST_GATE": str(gate.file)}
    words = arguments(data_bin, tmp_path / "checkpoints", UPDATES, "--save-interval-updates", str(INTERVAL))
    gate.move_to(7)
    log = log_of(run, launch(run, environment, "--cluster", "slurm", "--nodes", "2", "--", *GATED, *words))
    job = log.name.split("_")[0]
    first, second = two_nodes.NODES

    # Slurm loses the node of rank 1. The process there runs on, and ends by itself after the job is queued again.
    assert sorted(gate.reach(7).values()) == [first, second]
    with slurm.without(second, tasks_die=False):
        wait_for_requeue(slurm, job, 1)
        assert "is queued" in launch(run, environment, "--status").stdout
        gate.move_to(12)
        until("the end of rank 1", (run / "launch" / "ended.1.json").is_file)
    slurm.start_now(job)

    # The machine of rank 0 and of the job's script is off: nothing can be saved.
    assert sorted(gate.reach(12).values()) == [first, second]
    with slurm.without(first):
        wait_for_requeue(slurm, job, 2)
        gate.move_to(0)
    slurm.start_now(job)
    ended = launch(run, environment, "--status", "--wait")
    assert "is done" in ended.stdout, ended.stdout + ended.stderr

    seen = losses(log)
    assert [update for update, _ in seen] == [*range(1, 7), *range(6, 12), *range(11, UPDATES + 1)]
    assert set(seen) == set(curve.items())


def test_what_slurm_refuses_is_said(tmp_path: Path, slurm: two_nodes.Slurm) -> None:
    told = launch(tmp_path, slurm.environment, "--cluster", "slurm", "--partition", "nowhere", "--", "true")
    assert told.returncode == 2
    assert "Slurm must accept the job, but does not: " in told.stderr
    assert "invalid partition" in told.stderr.lower()
    assert os.path.isfile(tmp_path / "launch" / "launch.json")
