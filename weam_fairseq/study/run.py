"""Runs the steps that are not done, each when what it needs is, some at once; what fails does not stop the others."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import NamedTuple

from weam_fairseq.study.durations import duration
from weam_fairseq.study.forecast import Measured, add_measured, measure
from weam_fairseq.study.plan import Plan
from weam_fairseq.study.step import Step
from weam_fairseq.study.step_folder import StepFolder
from weam_fairseq.study.steps import CHECKPOINTS, LAST
from weam_fairseq.study.tables import Tables
from weam_fairseq.study.workers import Worker


class Result(NamedTuple):
    """`failed`: steps that ended badly; `left`: those that therefore, or because of a stop, were not made."""

    failed: list[Step]
    left: list[Step]


class Stopped(Exception):
    """A signal: the process is to end."""


def run(plan: Plan, steps: Sequence[Step], worker: Worker, jobs: int, say: Callable[[str], None]) -> Result:
    """Runs what of the steps is not done.

    Args:
        steps: in the plan's order, which is also the order in which they are taken.
        jobs: steps at once.
        say: shows a line.

    Raises:
        Stopped: as it was raised by a signal's handler, when all that ran has ended.
    """
    return _Run(plan, steps, worker, jobs, say).run()


class _Run:
    def __init__(
        self, plan: Plan, steps: Sequence[Step], worker: Worker, jobs: int, say: Callable[[str], None]
    ) -> None:
        self._plan, self._worker, self._jobs, self._say = plan, worker, jobs, say
        self._all = len(steps)
        self._done = {step.id for step in steps if StepFolder(plan.paths.study / step.id).is_done(step.languages)}
        self._waiting = [step for step in steps if step.id not in self._done]
        self._running: dict[Future[int], tuple[Step, float]] = {}
        self._failed: list[Step] = []
        self._measured: Measured = measure(plan, steps)
        self._tables = Tables(plan)

    def run(self) -> Result:
        self._tables.write()
        with ThreadPoolExecutor(max_workers=self._jobs) as threads:
            try:
                self._go_on(threads)
            except BaseException:
                self._worker.stop()
                raise
        return Result(self._failed, self._waiting)

    def _go_on(self, threads: ThreadPoolExecutor) -> None:
        while True:
            while len(self._running) < self._jobs and (step := self._next()) is not None:
                self._waiting.remove(step)
                self._running[threads.submit(self._worker.run, step)] = (step, time.monotonic())
                self._say(f"starts {step.about}{self._standing()}")
            if not self._running:
                return
            ended, _ = wait(self._running, return_when=FIRST_COMPLETED)
            for future in ended:
                step, start = self._running.pop(future)
                self._end(step, future.result(), time.monotonic() - start)

    def _next(self) -> Step | None:
        """The first in the plan's order, so that a model that is begun is measured before the next one is."""
        return next((step for step in self._waiting if self._done.issuperset(step.needs)), None)

    def _end(self, step: Step, status: int, seconds: float) -> None:
        folder = StepFolder(self._plan.paths.study / step.id)
        if status == 0 and folder.is_done(step.languages):
            self._done.add(step.id)
            add_measured(self._measured, self._plan, step)
            _tidy(self._plan, step)
            self._tables.write()
            self._say(f"ended  {step.about}: {duration(seconds)}{self._standing()}")
            return
        self._failed.append(step)
        told = "".join(f"\n    {line}" for line in folder.last_lines(step.log))
        self._say(f"FAILED {step.about}: exit code {status} (all of it: {folder.path / step.log}){told}")

    def _standing(self) -> str:
        left = self._time_left()
        return f"; {len(self._done)} of {self._all} done{'' if left is None else f', {left} left'}"

    def _time_left(self) -> str | None:
        """From what steps of each kind took so far; those of a kind that has not ended yet are not in it."""
        now = time.monotonic()
        steps = [(step, 0.0) for step in self._waiting]
        steps += [(step, now - start) for step, start in self._running.values()]
        seconds = [(self._seconds(step), elapsed) for step, elapsed in steps]
        known = [max(0.0, each - elapsed) for each, elapsed in seconds if each is not None]
        if not known:
            return None
        about = "about" if len(known) == len(steps) else "more than"
        return f"{about} {duration(sum(known) / self._jobs)}"

    def _seconds(self, step: Step) -> float | None:
        each = self._measured.of(step)
        return each if each is None or step.training is None else each * step.training.updates


def _tidy(plan: Plan, step: Step) -> None:
    """Removes what nothing reads any more: earlier checkpoints, and a cell's last one after its export, if the config
    says so."""
    if step.training is not None:
        for file in (plan.paths.study / step.id / CHECKPOINTS).glob("*.pt*"):
            if file.name != LAST:
                file.unlink()
    if step.kind == "export" and not plan.config.keep_checkpoints:
        for made in step.needs:
            if plan.steps[made].kind == "train":
                shutil.rmtree(plan.paths.study / made / CHECKPOINTS, ignore_errors=True)
