"""Runs the steps that are not done as jobs, several at once. A failure stops only the steps that need that step."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.process_setup import usable_cores
from weam_fairseq.common.slurm import minutes
from weam_fairseq.evaluation.data_files import from_hub
from weam_fairseq.launch import submit
from weam_fairseq.launch.job import Launch, RunFolder, add_line
from weam_fairseq.study.config import KINDS, TRAININGS, Config, asked_whole
from weam_fairseq.study.forecast import MeasuredCost, add_measured, duration, forecast, measure
from weam_fairseq.study.paths import StudyPaths
from weam_fairseq.study.plan import Plan
from weam_fairseq.study.step import Step, StepFolder
from weam_fairseq.study.steps import CHECKPOINTS, LAST
from weam_fairseq.study.tables import Tables

# Seconds between two looks at a job on Slurm. Each asks the controller.
POLL_SLURM = 15.0
# Keys of `slurm` that are no options of sbatch.
_OF_LAUNCH = {"nodes", "tasks-per-node", "gpus-per-node", "cpus-per-task", "time", "grace"}
_REASONS = {
    "gone": "was killed (out of memory or time, or its node failed)",
    "stopped": "was told to stop, for example because its time ran out (`slurm` in the config gives it more)",
}


class Worker(Protocol):
    def run(self, step: Step) -> int:
        """Runs a step to its end and returns the exit code. Called from several threads at once."""

    def stop(self) -> None:
        """Ends what runs; `run` then returns."""


class Jobs:
    """Runs each step as a job of weam-launch. A job that already runs is waited for, and no second one is started."""

    def __init__(self, paths: StudyPaths, config: Config, cluster: str, jobs: int) -> None:
        self._paths, self._config, self._cluster = paths, config, cluster
        self._stopped = threading.Event()
        # Jobs of this machine share its cores, unless OMP_NUM_THREADS gives a number.
        self._threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, usable_cores() // jobs))
        if cluster == "slurm":  # a mistake in the config shows before a job is sent
            for launch in [self._on_slurm(kind, Launch([], str(paths.root))) for kind in KINDS]:
                submit.executor(RunFolder(paths.study), launch)

    def run(self, step: Step) -> int:
        path = self._paths.study / step.id
        folder = StepFolder(path)
        self._wait(path)  # an earlier weam-study may have left a job
        folder.settle(step)
        if folder.is_done(step.languages):
            return 0
        if self._stopped.is_set():
            return 143
        try:
            submit.start(path, self._launch(step, folder.missing(step.languages)))
        except InputError as error:  # maybe only for now, so the other steps run
            path.mkdir(parents=True, exist_ok=True)
            add_line(path / step.log, str(error))
            return 2
        found = self._wait(path)
        if found is None or not found.is_over:  # told to stop; the job on Slurm continues
            return 143
        folder.settle(step)
        if folder.is_done(step.languages):
            return 0
        if self._cluster == "slurm":
            reason = _REASONS.get(found.word, "has failed")
            add_line(path / step.log, f"Slurm job {found.job} {reason}: see {folder.run.logs}")
        return 137 if found.status is None else found.status

    def stop(self) -> None:
        """Local jobs get SIGTERM, so that trainings save a checkpoint. Jobs on Slurm continue, and the next weam-study
        waits for them."""
        self._stopped.set()

    def _wait(self, path: Path) -> submit.State | None:
        """Waits for the last job of a step. None: there is none."""
        run = RunFolder(path)
        if not run.exists() or not (jobs := run.read()[1]):
            return None
        is_local, is_told = jobs[-1].kind == "local", False
        while not (found := submit.state(path)).is_over:
            if self._stopped.is_set() and not is_local:
                return found
            if self._stopped.is_set() and not is_told:
                is_told = True
                with suppress(ProcessLookupError):
                    os.killpg(int(found.job), signal.SIGTERM)  # a local job leads a process group of its own
            time.sleep(submit.POLL) if is_local else self._stopped.wait(POLL_SLURM)
        return submit.wait(path)

    def _launch(self, step: Step, languages: tuple[str, ...]) -> Launch:
        """The job for what is missing of a step."""
        command = step.for_languages(languages) if languages else step.command
        # If everything is in local folders, no library asks the Hugging Face Hub for news.
        environment = {} if any(map(from_hub, command)) else {"HF_HUB_OFFLINE": "1"}
        launch = Launch(
            command=list(command),
            directory=str(self._paths.root),
            name=step.about.replace(" ", "-"),
            environment={**environment, "OMP_NUM_THREADS": self._threads},
            log=step.log,
        )
        return launch if self._cluster == "local" else self._on_slurm(step.kind, launch)

    def _on_slurm(self, kind: str, launch: Launch) -> Launch:
        asked = self._config.asked_of_slurm(kind)
        nodes, tasks = self._config.processes(kind)
        if kind not in TRAININGS and nodes * tasks > 1:
            raise InputError(f"`slurm.{kind}` must ask for one process, but asks for {nodes * tasks}.")
        cores = asked_whole(asked, "cpus-per-task", 1)
        return replace(
            launch,
            cluster="slurm",
            nodes=nodes,
            tasks_per_node=tasks,
            gpus_per_node=asked_whole(asked, "gpus-per-node", 0),
            cpus_per_task=cores,
            minutes=minutes(str(asked.get("time", 60))),
            grace=asked_whole(asked, "grace", 120),
            parameters={
                key: _of_sbatch(value)
                for key, value in asked.items()
                if key not in _OF_LAUNCH and value is not None and value is not False
            },
            environment={**launch.environment, "OMP_NUM_THREADS": str(cores)},
        )


def _of_sbatch(value: Any) -> str | int:
    """An option's value: a list with commas, as --exclude takes it; true without a value, as for --exclusive."""
    if value is True:
        return ""
    return value if type(value) is int else ",".join(map(str, value if isinstance(value, list) else [value]))


class StudyResult(NamedTuple):
    """`failed`: steps that failed; `left`: steps that were not run because of a failure."""

    failed: list[Step]
    left: list[Step]


class Stopped(Exception):
    """A signal asks the process to end."""


def run(plan: Plan, steps: Sequence[Step], worker: Worker, jobs: int, say: Callable[[str], None]) -> StudyResult:
    """Runs the steps that are not done.

    Args:
        steps: in the plan's order, which is the order in which they are started.
        jobs: steps at once.
        say: shows a line.

    Raises:
        Stopped: a signal's handler raised it; all that ran has ended.
    """
    return _Run(plan, steps, worker, jobs, say).run()


class _Run:
    def __init__(
        self, plan: Plan, steps: Sequence[Step], worker: Worker, jobs: int, say: Callable[[str], None]
    ) -> None:
        self._plan, self._worker, self._jobs, self._say = plan, worker, jobs, say
        self._all = len(steps)
        self._done = {step.id for step in steps if plan.is_done(step)}
        self._waiting = [step for step in steps if step.id not in self._done]
        self._running: dict[Future[int], tuple[Step, float]] = {}
        self._failed: list[Step] = []
        self._measured: MeasuredCost = measure(plan, steps)
        self._tables = Tables(plan)

    def run(self) -> StudyResult:
        self._tables.write()
        with ThreadPoolExecutor(max_workers=self._jobs) as threads:
            try:
                self._run_all(threads)
            except BaseException:
                self._worker.stop()
                raise
        return StudyResult(self._failed, self._waiting)

    def _run_all(self, threads: ThreadPoolExecutor) -> None:
        while True:
            while len(self._running) < self._jobs and (step := self._next()) is not None:
                self._waiting.remove(step)
                self._running[threads.submit(self._worker.run, step)] = (step, time.monotonic())
                self._say(f"starts {step.about}{self._progress()}")
            if not self._running:
                return
            ended, _ = wait(self._running, return_when=FIRST_COMPLETED)
            for future in ended:
                step, start = self._running.pop(future)
                self._end(step, future.result(), time.monotonic() - start)

    def _next(self) -> Step | None:
        """The first in the plan's order, so that a model is measured before the next one is trained."""
        return next((step for step in self._waiting if self._done.issuperset(step.needs)), None)

    def _end(self, step: Step, status: int, seconds: float) -> None:
        folder = self._plan.folder(step.id)
        if status == 0 and folder.is_done(step.languages):
            self._done.add(step.id)
            add_measured(self._measured, self._plan, step)
            _tidy(self._plan, step)
            self._tables.write()
            self._say(f"ended  {step.about}: {duration(seconds)}{self._progress()}")
            return
        self._failed.append(step)
        lines = "".join(f"\n    {line}" for line in folder.last_lines(step.log))
        self._say(f"FAILED {step.about}: exit code {status} (log: {folder.path / step.log}){lines}")

    def _progress(self) -> str:
        left = self._time_left()
        return f"; {len(self._done)} of {self._all} done{'' if left is None else f', {left} left'}"

    def _time_left(self) -> str | None:
        """From what steps of each kind took so far. Kinds that have not ended yet are not counted."""
        now = time.monotonic()
        steps = [(step, 0.0) for step in self._waiting]
        steps += [(step, now - start) for step, start in self._running.values()]
        estimate = self._plan.config.estimate
        seconds = [(forecast(step, self._measured, estimate).seconds, elapsed) for step, elapsed in steps]
        known = [max(0.0, each - elapsed) for each, elapsed in seconds if each is not None]
        if not known:
            return None
        about = "about" if len(known) == len(steps) else "more than"
        return f"{about} {duration(sum(known) / self._jobs)}"


def _tidy(plan: Plan, step: Step) -> None:
    """Removes files that nothing reads again: earlier checkpoints, and, unless the config keeps it, a cell's last one
    after its export."""
    if step.training is not None:
        for file in (plan.paths.study / step.id / CHECKPOINTS).glob("*.pt*"):
            if file.name != LAST:
                file.unlink()
    if step.kind == "export" and not plan.config.keep_checkpoints:
        for need in step.needs:
            if plan.steps[need].kind == "train":
                shutil.rmtree(plan.paths.study / need / CHECKPOINTS, ignore_errors=True)
