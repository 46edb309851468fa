"""weam-preprocess --cluster slurm on two nodes: the bytes of a run without it, whatever happens to its tasks."""

from __future__ import annotations

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

WORDS = ["house", "garden", "dog", "cat", "book", "small", "big", "sleeps", "reads", "today"]
WOERTER = ["Haus", "Garten", "Hund", "Katze", "Buch", "klein", "groß", "schläft", "liest", "heute"]
LINES = 900  # three chunks


def corpus(folder: Path) -> Path:
    """Pairs of five words and a number, of which some are there twice."""

    def sentence(words: list[str], n: int) -> str:
        return " ".join(words[n * step // 7 % 10] for step in (3, 5, 11, 17, 23)) + f" {n % 850}"

    file = folder / "en-de.tsv"
    lines = (f"{sentence(WORDS, n)}\t{sentence(WOERTER, n)}\n" for n in range(LINES))
    file.write_text("".join(lines), encoding="utf-8")
    return file


def preprocess(tsv: Path, destdir: Path, *words: str) -> list[str]:
    command = [sys.executable, str(Path(__file__).with_name("in_small_chunks.py"))]
    command += ["--pair", f"en-de={tsv}", "--destdir", str(destdir)]
    return [*command, "--train-tokenizer", "wordpiece", "--vocab-size", "200", "--valid-size", "20", *words]


# By default a task takes two CPUs, so a node runs one task at a time.
ON_SLURM = ["--cluster", "slurm", "--cluster-chunks", "1"]


def contents(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus, the data-bin of one process, and the model of its aligner."""
    folder = tmp_path_factory.mktemp("local")
    command = preprocess(corpus(folder), folder / "bin", "--save-aligner", str(folder / "models"))
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder


class Gated(NamedTuple):
    """A run whose tasks wait for the gate, one on each node; the last node's, by Slurm's name (7_1) and its process."""

    process: subprocess.Popen[str]
    gate: Path
    task: str
    task_pid: int

    def open(self) -> None:
        self.gate.touch()


def start_gated(slurm: two_nodes.Slurm, command: list[str], gate: Path) -> Gated:
    """Returns when a task waits on each node."""
    environment = {**slurm.environment, "PYTHONPATH": str(Path(__file__).parent), "WEAM_TEST_GATE": str(gate)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    pids: dict[str, int] = {}
    while set(pids) != set(two_nodes.NODES):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, f"tasks ran on {set(pids) or 'no node'}"
        time.sleep(0.05)
        waiting = [file.name.split(".")[-2:] for file in gate.parent.glob(f"{gate.name}.*")]
        pids = {node: int(pid) for node, pid in waiting}
    pid = pids[two_nodes.NODES[-1]]
    told = dict(item.partition("=")[::2] for item in Path(f"/proc/{pid}/environ").read_text().split("\0"))
    return Gated(process, gate, f"{told['SLURM_ARRAY_JOB_ID']}_{told['SLURM_ARRAY_TASK_ID']}", pid)


def running_tasks(slurm: two_nodes.Slurm) -> list[str]:
    """Ids of the tasks that run, such as 7_1."""
    return slurm.run("squeue", "--noheader", "--array", "--states=RUNNING", "--format=%i").split()


def wait_for_change(slurm: two_nodes.Slurm, task: str) -> str:
    """What Slurm says about a task once it does not run, or runs again."""
    deadline = time.monotonic() + 60
    told = ""
    while time.monotonic() < deadline:
        told = slurm.show(task)
        if "JobState=RUNNING" not in told and "JobState=COMPLETING" not in told:
            return told
        time.sleep(0.1)
    raise AssertionError(told)


@pytest.mark.parametrize("by", ["scancel", "kernel"])
def test_a_task_that_is_killed_changes_nothing(local: Path, tmp_path: Path, slurm: two_nodes.Slurm, by: str) -> None:
    """By the kernel: as it does when memory runs out."""
    command = preprocess(local / "en-de.tsv", tmp_path / "bin", "--aligner-model", str(local / "models"), *ON_SLURM)
    run = start_gated(slurm, command, tmp_path / "gate")
    if by == "scancel":
        slurm.run("scancel", "--signal=KILL", run.task)
    else:
        os.kill(run.task_pid, signal.SIGKILL)
    assert f"JobState={'CANCELLED' if by == 'scancel' else 'FAILED'}" in wait_for_change(slurm, run.task)
    run.open()
    said = run.process.communicate(timeout=240)[1]
    assert run.process.returncode == 0, said
    assert f"Task {run.task} of 000-gated_prepare ended early" in said
    assert "sacct" not in said
    assert contents(tmp_path / "bin") == contents(local / "bin")
    assert not (tmp_path / "bin.incomplete").exists()


def test_a_task_that_must_go_is_queued_again(local: Path, tmp_path: Path, slurm: two_nodes.Slurm) -> None:
    """By submitit, to which Slurm says so with USR2; no try of ours is spent on it."""
    command = preprocess(local / "en-de.tsv", tmp_path / "bin", *ON_SLURM, "--cluster-retries", "0")
    run = start_gated(slurm, command, tmp_path / "gate")
    slurm.run("scancel", "--signal=USR2", run.task)
    assert "Restarts=1" in wait_for_change(slurm, run.task)
    slurm.start_now(run.task)
    run.open()
    said = run.process.communicate(timeout=240)[1]
    assert run.process.returncode == 0, said
    assert "ended early" not in said
    assert contents(tmp_path / "bin") == contents(local / "bin")


def test_a_task_whose_node_goes_down_is_queued_again(local: Path, tmp_path: Path, slurm: two_nodes.Slurm) -> None:
    """By Slurm; the other node does it all, and no try of ours is spent on it."""
    command = preprocess(local / "en-de.tsv", tmp_path / "bin", *ON_SLURM, "--cluster-retries", "0")
    run = start_gated(slurm, command, tmp_path / "gate")
    with slurm.without(two_nodes.NODES[-1]):
        assert "Restarts=1" in wait_for_change(slurm, run.task)
        slurm.start_now(run.task)
        run.open()
        said = run.process.communicate(timeout=240)[1]
    assert run.process.returncode == 0, said
    assert "ended early" not in said
    assert contents(tmp_path / "bin") == contents(local / "bin")


def test_a_run_that_is_killed_goes_on(local: Path, tmp_path: Path, slurm: two_nodes.Slurm) -> None:
    """Its tasks run on without it; the next run stops them, and makes only what is missing."""
    command = preprocess(local / "en-de.tsv", tmp_path / "bin", *ON_SLURM, "--resume")
    run = start_gated(slurm, command, tmp_path / "gate")
    run.process.kill()
    run.process.communicate()
    assert run.task in running_tasks(slurm)
    subprocess.run(command, env={**slurm.environment, "PYTHONPATH": str(Path(__file__).parent)}, check=True)
    assert contents(tmp_path / "bin") == contents(local / "bin")
    assert "JobState=CANCELLED" in slurm.show(run.task)
    assert slurm.run("squeue", "--noheader") == ""


def test_what_slurm_refuses_is_said(local: Path, tmp_path: Path, slurm: two_nodes.Slurm) -> None:
    command = preprocess(local / "en-de.tsv", tmp_path / "bin", *ON_SLURM, "--cluster-option", "partition=nowhere")
    done = subprocess.run(command, env=slurm.environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "Slurm refused an array of 3 tasks: " in done.stderr
    assert "invalid partition" in done.stderr.lower()
