"""What is run, in which order, and what a failure or a kill leaves; the steps' commands are not the real ones here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.study.small_study import plan_of, small_config
from weam_fairseq.common.errors import InputError
from weam_fairseq.study import runner
from weam_fairseq.study.checks import check_processes
from weam_fairseq.study.durations import duration
from weam_fairseq.study.plan import Plan
from weam_fairseq.study.run import Result, Stopped, run
from weam_fairseq.study.step import Step
from weam_fairseq.study.step_folder import Order, StepFolder
from weam_fairseq.study.workers import OnSlurm, write_order


class Pretended:
    """Does each step at once, and notes it."""

    def __init__(self, plan: Plan, fails: Callable[[Step], bool] = lambda step: False) -> None:
        self.plan, self.fails = plan, fails
        self.began: list[str] = []
        self.most = 0
        self.stopped = False
        self._at_once = 0
        self._lock = threading.Lock()

    def run(self, step: Step) -> int:
        with self._lock:
            self.began.append(step.id)
            self._at_once += 1
            self.most = max(self.most, self._at_once)
        time.sleep(0.02)
        folder = write_order(self.plan.paths, step, {})
        order = folder.order()
        failed = self.fails(step)
        if failed:
            (folder.path / step.log).write_text("one\ntwo\nweam-train: error: no such thing\n")
        else:
            before = (folder.done() or {}).get("languages", [])
            folder.end(True, {"languages": [*before, *order.languages], "seconds": 2.0})
        with self._lock:
            self._at_once -= 1
        return 2 if failed else 0

    def stop(self) -> None:
        self.stopped = True


def pretend(plan: Plan, worker: Pretended, jobs: int = 1) -> tuple[Result, list[str]]:
    said: list[str] = []
    (plan.paths.study).mkdir(parents=True, exist_ok=True)
    return run(plan, plan.needed(plan.cells), worker, jobs, said.append), said


def test_each_step_is_made_once_and_after_what_it_needs(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, small_config())
    worker = Pretended(plan)
    result, said = pretend(plan, worker, jobs=3)
    assert result == Result([], [])
    assert sorted(worker.began) == sorted(plan.steps)
    assert worker.most == 3
    for step in plan.steps.values():
        assert all(worker.began.index(need) < worker.began.index(step.id) for need in step.needs)
    assert any(line.startswith("ended  export weam") and "of 14 done" in line for line in said)
    again = Pretended(plan)
    assert pretend(plan, again)[0] == Result([], [])
    assert again.began == []


def test_one_job_finishes_a_cell_before_the_next(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, small_config())
    worker = Pretended(plan)
    pretend(plan, worker)
    assert worker.most == 1
    assert worker.began == list(plan.steps)


def test_a_failure_stops_what_needs_it_and_nothing_else(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, small_config())
    bad = plan.cells[0].trained
    result, said = pretend(plan, Pretended(plan, lambda step: step.id == bad), jobs=2)
    assert [step.id for step in result.failed] == [bad]
    assert {step.id for step in result.left} == {plan.cells[0].exported, *plan.cells[0].evaluated}
    told = next(line for line in said if line.startswith("FAILED"))
    assert told.endswith("\n    one\n    two\n    weam-train: error: no such thing")
    assert "exit code 2" in told
    mended = Pretended(plan)
    assert pretend(plan, mended)[0] == Result([], [])
    assert set(mended.began) == {bad, plan.cells[0].exported, *plan.cells[0].evaluated}


def test_a_further_language_is_measured_beside_those_that_are_there(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, small_config())
    pretend(plan, Pretended(plan))
    config = small_config()
    config["evaluations"][0]["languages"] = ["es", "de", "fr"]
    extended = plan_of(tmp_path, config)
    worker = Pretended(extended)
    pretend(extended, worker)
    assert sorted(worker.began) == sorted(step for cell in extended.cells for step in cell.evaluated)
    command = StepFolder(extended.paths.study / worker.began[0]).order().command
    assert command[command.index("--languages") + 1] == "es,fr"


def test_a_stop_ends_what_runs_and_comes_through(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, small_config())
    worker = Pretended(plan)
    said: list[str] = []

    def stop_at_the_third(line: str) -> None:
        said.append(line)
        if len(said) == 3:
            raise Stopped

    plan.paths.study.mkdir()
    with pytest.raises(Stopped):
        run(plan, plan.needed(plan.cells), worker, 1, stop_at_the_third)
    assert worker.stopped
    assert len(worker.began) == 2


def order_of(folder: Path, code: str, **more: object) -> StepFolder:
    found = StepFolder(folder)
    found.write_order(Order([sys.executable, "-c", code], str(folder.parent), "log.txt", **more))  # type: ignore[arg-type]
    return found


def runner_of(folder: StepFolder) -> int:
    """In a process of its own: it changes what signals do, as befits one that does nothing else."""
    return subprocess.run([sys.executable, "-m", runner.__name__, str(folder.path)]).returncode


def test_the_runner_keeps_what_a_command_said_and_took(tmp_path: Path) -> None:
    code = "import os; x = bytearray(64 << 20); print(os.environ['A'], os.getcwd())"
    folder = order_of(tmp_path / "step", code, environment={"A": "b"})
    assert runner_of(folder) == 0
    done = folder.done()
    assert done is not None
    assert 64 << 20 < done["peak_memory_bytes"] < 1 << 30
    assert done["seconds"] > 0
    log = (folder.path / "log.txt").read_text().splitlines()
    assert log[0].startswith("$ ")
    assert log[1] == f"b {tmp_path}"
    assert runner_of(folder) == 0
    assert len((folder.path / "log.txt").read_text().splitlines()) == 2  # done once
    typed = json.loads((folder.path / "step.json").read_text())["typed"]
    assert typed.startswith(sys.executable)


def test_a_line_of_ours_does_not_end_up_in_half_a_line(tmp_path: Path) -> None:
    folder = StepFolder(tmp_path)
    folder.note("log.txt", "$ one")
    with (tmp_path / "log.txt").open("a") as file:
        file.write("ä whole line\nhalf of ä")
    folder.note("log.txt", "$ two")
    assert (tmp_path / "log.txt").read_text().split("\n") == ["$ one", "ä whole line", "half of ä", "$ two", ""]


def test_the_runner_says_how_a_command_failed(tmp_path: Path) -> None:
    folder = order_of(tmp_path / "step", "import os; os.kill(os.getpid(), 9)")
    assert runner_of(folder) == 137
    assert folder.done() is None
    failed = folder.failed()
    assert failed is not None
    assert failed["status"] == 137


def test_what_appeared_whole_is_not_made_again(tmp_path: Path) -> None:
    """Killed between the command's end and the record of it."""
    folder = order_of(tmp_path / "step", "raise SystemExit(3)", whole="data-bin")
    (folder.path / "data-bin").mkdir()
    assert runner_of(folder) == 0
    assert folder.is_done()


def test_a_signal_reaches_the_command(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    code = f"import pathlib, signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)); pathlib.Path({str(ready)!r}).touch(); time.sleep(99)"  # noqa: E501
    folder = order_of(tmp_path / "step", code)
    process = subprocess.Popen([sys.executable, "-m", runner.__name__, str(folder.path)])
    until(ready.exists)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    assert folder.failed() is not None


def test_a_command_that_outlives_its_runner_is_waited_for(tmp_path: Path) -> None:
    """Only weam-study and the runner are killed: nobody may train twice at once into one folder."""
    ready, go = tmp_path / "ready", tmp_path / "go"
    code = f"""if True:
        import pathlib, time
        ready, go = pathlib.Path({str(ready)!r}), pathlib.Path({str(go)!r})
        print("starts" if not ready.exists() else "again", flush=True)
        ready.touch()
        while not go.exists():
            time.sleep(0.02)
        print("ends", flush=True)
    """
    folder = order_of(tmp_path / "step", code)
    first = subprocess.Popen([sys.executable, "-m", runner.__name__, str(folder.path)])
    until(ready.exists)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert folder.is_running()
    second = subprocess.Popen([sys.executable, "-m", runner.__name__, str(folder.path)])
    time.sleep(0.3)
    assert second.poll() is None
    go.touch()
    assert second.wait(timeout=60) == 0
    said = [line for line in (folder.path / "log.txt").read_text().splitlines() if not line.startswith(("$", " "))]
    assert said == ["starts", "ends", "again", "ends"]
    assert folder.is_done()
    assert not folder.is_running()


@pytest.fixture
def slurms_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of which takes a job."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    code = "#!/bin/sh\n[ $1 = --help ] && echo '--account=name' && exit\necho Full >&2\nexit 1\n"
    for name in ("sbatch", "srun", "squeue", "scontrol"):
        (folder / name).write_text(code)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.usefixtures("slurms_programs")
def test_what_slurm_does_not_take_fails_and_may_be_tried_again(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, small_config())
    first = next(iter(plan.steps.values()))
    for _ in range(2):
        assert OnSlurm(plan.paths, plan.config).run(first) == 2
    folder = StepFolder(plan.paths.study / first.id)
    assert folder.last_lines(first.log)[-1] == "Slurm must take the job, but does not: Full"


@pytest.mark.usefixtures("slurms_programs")
def test_a_mistyped_option_of_sbatch_shows_at_once(tmp_path: Path) -> None:
    config = small_config()
    config["slurm"] = {"train": {"acount": "lab"}}
    plan = plan_of(tmp_path, config)
    with pytest.raises(InputError, match=r"must be an option of sbatch, but acount is none\. Did you mean account"):
        OnSlurm(plan.paths, plan.config)


def test_what_slurm_cannot_be_asked_for_shows_at_once(tmp_path: Path) -> None:
    config = small_config()
    config["slurm"] = {"evaluate": {"gpus-per-node": 2, "tasks-per-node": 2}}
    plan = plan_of(tmp_path, config)
    with pytest.raises(InputError, match=r"`slurm.evaluate` must ask for one process, but asks for 2"):
        OnSlurm(plan.paths, plan.config)
    config["slurm"] = {"default": {"time": "soon"}}
    plan = plan_of(tmp_path, config)
    with pytest.raises(InputError, match="--time must be minutes"):
        OnSlurm(plan.paths, plan.config)


@pytest.mark.parametrize("kind", ["default", "base", "train"])
def test_trainings_are_of_as_many_processes_as_the_config_says(tmp_path: Path, kind: str) -> None:
    config = small_config()
    check_processes(plan_of(tmp_path / "one", config).config, ())
    config["slurm"] = {kind: {"nodes": 2, "gpus-per-node": 4}}
    plan = plan_of(tmp_path / "many", config)
    with pytest.raises(InputError, match=r"must be of 8 processes, as `slurm\.\w+` in the config says, but .* be of 1"):
        check_processes(plan.config, list(plan.steps.values()))


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"), (12000, "3 h 20 min"), (2e5, "2 d 7 h")],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said
