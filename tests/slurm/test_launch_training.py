"""weam-launch on a real Slurm: a training of two processes that is told to go, requeued and killed, and goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import one_node
import pytest

pytestmark = pytest.mark.slurm

pytest.importorskip("submitit")

sys.path.append(str(Path(__file__).resolve().parents[1] / "plugin"))

from hand_made_data_bin import random_examples, write_data_bin  # noqa: E402
from run_training import arguments  # noqa: E402

LAUNCH = [sys.executable, "-m", "weam_fairseq.launch"]
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


def shows(node: one_node.Node, job: str) -> str:
    return node.run("scontrol", "show", "job", job)


def go_on(node: one_node.Node, job: str, restarts: int) -> None:
    """Once Slurm has queued the job again."""
    wanted = f"Restarts={restarts} "
    until(f"Restarts={restarts}", lambda: wanted in shows(node, job) and "JobState=PENDING" in shows(node, job))
    node.go_on(job)


def test_a_training_goes_on_whatever_slurm_does(data_bin: Path, tmp_path: Path, node: one_node.Node) -> None:
    gate, run, whole = tmp_path / "gate", tmp_path / "run", tmp_path / "whole"
    environment = {**node.environment, "WEAM_TEST_GATE": str(gate)}
    words = arguments(data_bin, tmp_path / "checkpoints", UPDATES, "--save-interval-updates", str(INTERVAL))

    def reach(update: int) -> list[int]:
        """Both processes wait before it; their ids."""

        def waiting() -> list[Path]:
            return list(tmp_path.glob(f"gate.{update}.*"))

        until(f"update {update}", lambda: len(waiting()) == 2)
        return [int(file.suffix[1:]) for file in waiting()]

    def log_of(started: subprocess.CompletedProcess[str]) -> Path:
        assert started.returncode == 0, started.stderr
        return run / "launch" / "logs" / f"{started.stdout.split('job ')[1].split()[0]}_0_log.out"

    def is_over() -> bool:
        return "--again" in launch(run, environment, "--status").stdout

    gate.write_text("3")
    asked = ["--cluster", "slurm", "--tasks-per-node", "2", "--time", "30", "--partition", node.partition]
    told = launch(run, environment, *asked, "--", *GATED, *words)
    log = log_of(told)
    job = log.name.split("_")[0]

    # Its time is nearly over, says Slurm: the job has itself queued again.
    reach(3)
    assert "is running" in launch(run, environment, "--status").stdout
    gate.write_text("7")
    node.run("scancel", "--signal=USR2", job)
    go_on(node, job, 1)
    assert "told to stop (SIGUSR2): checkpoint_last.pt holds " in log.read_text()
    assert " | valid | " not in log.read_text()

    # Somebody else needs the machine.
    reach(7)
    gate.write_text("12")
    node.run("scontrol", "requeue", job)
    go_on(node, job, 2)

    # Somebody wants it gone; Slurm says TERM before it kills.
    reach(12)
    gate.write_text("15")
    node.run("scancel", "--signal=KILL", job)
    until("the end", is_over)
    second = log_of(launch(run, environment, "--again"))

    # The machine dies: nothing can be saved.
    for process in reach(15):
        os.kill(process, signal.SIGKILL)
    until("the end", is_over)
    gate.write_text("0")
    third = launch(run, environment, "--again", "--wait")
    assert "is done" in third.stdout, third.stdout + third.stderr

    last = losses(log_of(third))
    assert [update for update, _ in last] == list(range(last[0][0], UPDATES + 1))
    assert 15 - last[0][0] <= INTERVAL
    seen = [*losses(log), *losses(second), *last]

    # The same on this machine, by the other door.
    here = {key: value for key, value in environment.items() if key != "WEAM_TEST_GATE"}
    words[words.index("--save-dir") + 1] = str(tmp_path / "whole-checkpoints")
    undisturbed = launch(whole, here, "--tasks-per-node", "2", "--wait", "--", *GATED, *words)
    assert undisturbed.returncode == 0, undisturbed.stderr
    (out,) = (whole / "launch" / "logs").glob("*.out")
    curve = dict(losses(out))
    assert list(curve) == list(range(1, UPDATES + 1))
    assert dict(seen) == curve
    assert set(seen) == set(curve.items())


def test_what_slurm_refuses_is_said(tmp_path: Path, node: one_node.Node) -> None:
    told = launch(tmp_path, node.environment, "--cluster", "slurm", "--partition", "nowhere", "--", "true")
    assert told.returncode == 2
    assert "Slurm must take the job, but does not: " in told.stderr
    assert "invalid partition" in told.stderr.lower()
    assert os.path.isfile(tmp_path / "launch" / "launch.json")


def test_the_templates_are_taken_by_slurm(node: one_node.Node) -> None:
    folder = Path(__file__).resolve().parents[2] / "scripts" / "slurm"
    templates = sorted(folder.glob("*.sbatch"))
    assert len(templates) == 4
    for template in templates:
        subprocess.run(["bash", "-n", str(template)], check=True)
        lines = [line.split()[1] for line in template.read_text().splitlines() if line.startswith("#SBATCH")]
        assert any(line.startswith("--time=") for line in lines)
