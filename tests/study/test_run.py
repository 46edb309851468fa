"""What is run, in which order, and what a failure or a kill leaves; the steps' commands are not the real ones here."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.study.small_study import plan_of, small_config
from weam_fairseq.common.errors import InputError
from weam_fairseq.launch import submit
from weam_fairseq.launch.job import Launch, Submitted
from weam_fairseq.study.forecast import duration
from weam_fairseq.study.inputs import check_processes
from weam_fairseq.study.plan import Plan
from weam_fairseq.study.run import Jobs, Stopped, StudyResult, run
from weam_fairseq.study.step import Step, StepFolder


class Pretended:
    """Does each step at once, and notes it."""

    def __init__(self, plan: Plan, fails: Callable[[Step], bool] = lambda step: False) -> None:
        self.plan, self.fails = plan, fails
        self.began: list[str] = []
        self.commands: list[tuple[str, ...]] = []
        self.most = 0
        self.stopped = False
        self._at_once = 0
        self._lock = threading.Lock()

    def run(self, step: Step) -> int:
        with self._lock:
            self.began.append(step.id)
            self._at_once += 1
            self.most = max(self.most, self._at_once)
        time.sleep(0.01)
        folder = StepFolder(self.plan.paths.study / step.id)
        failed = self.fails(step)
        if failed:
            folder.path.mkdir(parents=True, exist_ok=True)
            (folder.path / step.log).write_text("one\ntwo\nweam-train: error: no such thing\n")
        else:
            languages = folder.missing(step.languages)
            self.commands.append(step.for_languages(languages) if languages else step.command)
            folder.run.write(Launch(list(self.commands[-1]), ""), [Submitted("local", "7")])
            folder.run.end("7", 0, seconds=2.0)
            folder.settle(step)
        with self._lock:
            self._at_once -= 1
        return 2 if failed else 0

    def stop(self) -> None:
        self.stopped = True


def pretend(plan: Plan, worker: Pretended, jobs: int = 1) -> tuple[StudyResult, list[str]]:
    said: list[str] = []
    (plan.paths.study).mkdir(parents=True, exist_ok=True)
    return run(plan, plan.needed(plan.cells), worker, jobs, said.append), said


def test_each_step_is_made_once_and_after_what_it_needs(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, small_config())
    worker = Pretended(plan)
    result, said = pretend(plan, worker, jobs=3)
    assert result == StudyResult([], [])
    assert sorted(worker.began) == sorted(plan.steps)
    assert worker.most == 3
    for step in plan.steps.values():
        assert all(worker.began.index(need) < worker.began.index(step.id) for need in step.needs)
    assert any(line.startswith("ended  export weam") and "of 14 done" in line for line in said)
    again = Pretended(plan)
    assert pretend(plan, again)[0] == StudyResult([], [])
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
    assert pretend(plan, mended)[0] == StudyResult([], [])
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
    assert {command[command.index("--languages") + 1] for command in worker.commands} == {"es,fr"}
    done = StepFolder(extended.paths.study / worker.began[0]).done()
    assert done is not None
    assert (done["languages"], done["seconds"]) == (["de", "es", "fr"], 4.0)


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


def jobs_of(plan: Plan) -> Jobs:
    return Jobs(plan.paths, plan.config, "local", 1)


def step_of(code: str, **more: object) -> Step:
    return Step("exports/one", "export", "export one", (sys.executable, "-c", code), **more)  # type: ignore[arg-type]


def test_a_job_keeps_the_output_and_the_cost_of_its_command(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, small_config())
    code = "import os; x = bytearray(64 << 20); print(os.environ['HF_HUB_OFFLINE'], os.getcwd())"
    step, folder = step_of(code), StepFolder(plan.paths.study / "exports" / "one")
    assert jobs_of(plan).run(step) == 0
    done = folder.done()
    assert done is not None
    assert 64 << 20 < done["peak_memory_bytes"] < 1 << 30
    assert done["seconds"] > 0
    log = (folder.path / "log.txt").read_text().splitlines()
    assert log == [f"$ {shlex.join(step.command)}", f"1 {tmp_path}"]
    assert jobs_of(plan).run(step) == 0
    assert (folder.path / "log.txt").read_text().splitlines() == log  # done once


def test_a_failure_is_recorded_and_may_be_tried_again(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, small_config())
    folder = StepFolder(plan.paths.study / "exports" / "one")
    code = "import os, pathlib; pathlib.Path('fixed').exists() or os.kill(os.getpid(), 9)"
    assert jobs_of(plan).run(step_of(code)) == 137
    assert folder.done() is None
    assert folder.failed() == 137
    (tmp_path / "fixed").touch()
    assert jobs_of(plan).run(step_of(code)) == 0
    assert folder.failed() is None


def test_a_complete_output_is_not_made_again(tmp_path: Path) -> None:
    """The job was killed between the end of its command and the record of it."""
    plan = plan_of(tmp_path, small_config())
    (plan.paths.study / "exports" / "one" / "hf").mkdir(parents=True)
    assert jobs_of(plan).run(step_of("raise SystemExit(3)", finished_when="hf")) == 0
    assert StepFolder(plan.paths.study / "exports" / "one").is_done()


def test_a_stop_reaches_the_command(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, small_config())
    code = """if True:
        import pathlib, signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        pathlib.Path("ready").touch()
        time.sleep(99)
    """
    worker = jobs_of(plan)
    with ThreadPoolExecutor() as threads:
        status = threads.submit(worker.run, step_of(code))
        until((tmp_path / "ready").exists)
        worker.stop()
        assert status.result(timeout=60) == 143
    assert StepFolder(plan.paths.study / "exports" / "one").failed() == 143
    assert worker.run(step_of(code)) == 143  # starts nothing more


def test_a_command_that_outlives_weam_study_and_its_job_is_waited_for(tmp_path: Path) -> None:
    """Two trainings never write into the same folder at once."""
    plan = plan_of(tmp_path, small_config())
    code = """if True:
        import pathlib, time
        print("starts" if not pathlib.Path("ready").exists() else "again", flush=True)
        pathlib.Path("ready").touch()
        while not pathlib.Path("go").exists():
            time.sleep(0.02)
        print("ends", flush=True)
    """
    step, folder = step_of(code), StepFolder(plan.paths.study / "exports" / "one")
    folder.path.mkdir(parents=True)
    job = submit.start(folder.path, Launch(list(step.command), str(tmp_path), log="log.txt"))
    until((tmp_path / "ready").exists)
    os.kill(int(job.id), signal.SIGKILL)
    with ThreadPoolExecutor() as threads:
        status = threads.submit(jobs_of(plan).run, step)
        time.sleep(0.3)
        assert folder.is_running()
        assert not status.done()
        (tmp_path / "go").touch()
        assert status.result(timeout=60) == 0
    lines = [line for line in (folder.path / "log.txt").read_text().splitlines() if line in ("starts", "again", "ends")]
    assert lines == ["starts", "ends", "again", "ends"]
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
        assert Jobs(plan.paths, plan.config, "slurm", 1).run(first) == 2
    folder = StepFolder(plan.paths.study / first.id)
    assert folder.last_lines(first.log)[-1] == "Slurm must accept the job, but does not: Full"


@pytest.mark.usefixtures("slurms_programs")
def test_a_mistyped_option_of_sbatch_shows_at_once(tmp_path: Path) -> None:
    config = small_config()
    config["slurm"] = {"train": {"acount": "lab"}}
    plan = plan_of(tmp_path, config)
    with pytest.raises(InputError, match=r"must be an option of sbatch, but acount is not one. Did you mean account"):
        Jobs(plan.paths, plan.config, "slurm", 1)


def test_what_slurm_cannot_be_asked_for_shows_at_once(tmp_path: Path) -> None:
    config = small_config()
    config["slurm"] = {"evaluate": {"gpus-per-node": 2, "tasks-per-node": 2}}
    plan = plan_of(tmp_path, config)
    with pytest.raises(InputError, match=r"`slurm.evaluate` must ask for one process, but asks for 2"):
        Jobs(plan.paths, plan.config, "slurm", 1)
    config["slurm"] = {"default": {"time": "soon"}}
    plan = plan_of(tmp_path, config)
    with pytest.raises(InputError, match="must be minutes or D-HH:MM:SS, but is soon"):
        Jobs(plan.paths, plan.config, "slurm", 1)


@pytest.mark.parametrize("kind", ["default", "base", "train"])
def test_trainings_are_of_as_many_processes_as_the_config_says(tmp_path: Path, kind: str) -> None:
    config = small_config()
    check_processes(plan_of(tmp_path / "one", config).config, ())
    config["slurm"] = {kind: {"nodes": 2, "gpus-per-node": 4}}
    plan = plan_of(tmp_path / "many", config)
    with pytest.raises(
        InputError, match=r"`slurm\.\w+` of the config asks for trainings of 8 processes, but this machine would run 1"
    ):
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


def test_a_step_is_not_done_if_any_rank_of_its_job_failed(tmp_path: Path) -> None:
    step, folder = step_of(""), StepFolder(tmp_path)
    folder.run.write(Launch(list(step.command), ""), [Submitted("slurm", "7")])
    folder.run.end("7", 1, rank=1)
    folder.run.end("7", 0, seconds=1.0)
    folder.settle(step)
    assert not folder.is_done()
    assert folder.failed() == 1
