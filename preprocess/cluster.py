"""Runs the same function on many items as arrays of Slurm tasks, by submitit.

Items and results are files in one folder, which all machines must see under the same name:

```
CLUSTER/
  jobs                                      ids of what was submitted, so that a run after a kill stops what is left
  logs/                                     submitit's: %A_%a_0_log.err is what a task said
  000-prepare/item.000012.pkl               (function, item)
  000-prepare/result.000012.pkl             what the function gave; both are removed once it is taken
```

A task takes a group of items, one after the other, and leaves out those whose result is there: a task that was killed
or preempted resumes where it stopped. Nothing here depends on Slurm's accounting (sacct): a task has ended when squeue
no longer shows it.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.slurm import make_executor, queue, refusal

from .errors import Unfinished
from .work import written
from .workers import Item, Result

log = logging.getLogger(__name__)

# Slurm's own default for the largest index of an array is 1,000 (MaxArraySize 1001).
_ARRAY = 1_000

# Minutes and cores of a task, unless --cluster-option says otherwise: an aligner runs both directions at once.
_DEFAULTS: dict[str, Any] = {"name": "weam-preprocess", "timeout_min": 240, "cpus_per_task": 2}


@dataclass(frozen=True)
class ClusterOptions:
    """How tasks are submitted.

    parameters: options of sbatch.
    chunks: items of a task. tasks: at once. retries: of a task that failed or was killed.
    kind: submitit's executor, `slurm`, or `local` for processes of this machine, all at once (for tests).
    poll: seconds between two looks. patience: seconds that a shared folder may take to show what a task wrote.
    """

    parameters: Mapping[str, str | int] = field(default_factory=dict)
    chunks: int = 25
    tasks: int = 100
    retries: int = 2
    kind: str = "slurm"
    poll: float = 5.0
    patience: float = 60.0


@dataclass(frozen=True)
class _Task:
    """What a machine is sent: the items from `first` on, `end` left out."""

    folder: Path
    first: int
    end: int

    def __call__(self) -> None:
        # submitit has set up the logging; ours is what a user reads.
        logging.basicConfig(format="weam-preprocess: %(message)s", level=logging.WARNING, force=True)
        for number in range(self.first, self.end):
            item, result = _files(self.folder, number)
            if result.is_file() or not item.is_file():
                continue
            with item.open("rb") as stream:
                function, argument = pickle.load(stream)
            try:
                outcome = ("result", function(argument))
            except InputError as error:
                # The user's data are wrong, and would be so again.
                outcome = ("input error", str(error))
            _dump(outcome, result)

    def checkpoint(self) -> Any:
        """Asked for by submitit before Slurm stops a task; the same task is then queued again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class Cluster:
    """A context manager, like `Workers`. On leaving, it cancels the tasks that still run."""

    elsewhere = True

    def __init__(self, options: ClusterOptions, folder: Path) -> None:
        """Raises InputError if submitit or Slurm is missing, or sbatch has no such option."""
        self._options, self._folder = options, folder.absolute()
        parameters = {"slurm_array_parallelism": options.tasks, **_DEFAULTS}
        self._executor = make_executor(self._folder / "logs", options.parameters, options.kind, **parameters)
        self._is_slurm = options.kind == "slurm"
        self._jobs: list[Any] = []
        self._maps = 0

    def __enter__(self) -> Cluster:
        self._folder.mkdir(parents=True, exist_ok=True)
        before = self._folder / "jobs"
        if before.is_file():
            # Of a run that was killed. They would do no harm, but what they do will be done again.
            ids = before.read_text(encoding="utf-8").split()
            if ids and self._is_slurm:
                subprocess.run(["scancel", *ids], check=False, capture_output=True)
            before.unlink()
        for left in self._folder.glob("[0-9]*-*"):
            shutil.rmtree(left)
        return self

    def __exit__(self, *error: object) -> None:
        running = self._running(self._jobs)
        for job in running:
            with contextlib.suppress(OSError):
                job.cancel(check=False)
        # Nobody should write into a folder that is being removed.
        deadline = time.monotonic() + 30
        while running and self._running(running) and time.monotonic() < deadline:
            time.sleep(0.2)

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Results in any order. Items are written to disk as they come, so they may be large and many.

        Raises:
            InputError: a task met one.
            Unfinished: a task failed more often than it is tried again.
        """
        folder = self._folder / f"{self._maps:03d}-{function.__name__.strip('_')}"
        self._maps += 1
        folder.mkdir()
        tasks: dict[_Task, _Attempts] = {}
        waiting: list[_Task] = []
        count = 0
        for count, item in enumerate(items, start=1):
            _dump((function, item), _files(folder, count - 1)[0])
            if count % self._options.chunks == 0:
                waiting.append(_Task(folder, count - self._options.chunks, count))
            if len(waiting) == _ARRAY:
                self._submit(waiting, tasks)
                waiting = []
        if rest := count % self._options.chunks:
            waiting.append(_Task(folder, count - rest, count))
        self._submit(waiting, tasks)
        yield from self._results(folder, tasks)
        shutil.rmtree(folder)

    def _submit(self, waiting: Sequence[_Task], tasks: dict[_Task, _Attempts]) -> None:
        if not waiting:
            return
        try:
            with self._executor.batch():
                jobs = [self._executor.submit(task) for task in waiting]
            ids = [job.job_id for job in jobs]  # submitit gives them once the array is submitted
        except Exception as error:
            raise Unfinished(
                f"Slurm refused an array of {len(waiting):,} tasks: {refusal(error)}. Resume with --resume."
            ) from None
        self._jobs += jobs
        with (self._folder / "jobs").open("a", encoding="utf-8") as stream:
            stream.write("".join(f"{array}\n" for array in sorted({job_id.split("_")[0] for job_id in ids})))
        for task, job in zip(waiting, jobs, strict=True):
            before = tasks.get(task)
            tasks[task] = _Attempts(job, before.count + 1 if before else 1)

    def _results(self, folder: Path, tasks: dict[_Task, _Attempts]) -> Iterator[Any]:
        missing = {number: task for task in tasks for number in range(task.first, task.end)}
        while missing:
            for number in _found(folder):
                if missing.pop(number, None) is not None:
                    yield _take(folder, number)
            self._retry(set(missing.values()), tasks)
            if missing:
                time.sleep(self._options.poll)

    def _retry(self, unfinished: set[_Task], tasks: dict[_Task, _Attempts]) -> None:
        """Submits again what has ended and left results missing."""
        alive = set(map(id, self._running([tasks[task].job for task in unfinished])))
        again = []
        for task in sorted(unfinished, key=lambda task: task.first):
            attempts = tasks[task]
            if id(attempts.job) in alive:
                attempts.gone_since = None
                continue
            now = time.monotonic()
            attempts.gone_since = attempts.gone_since or now
            if now - attempts.gone_since < self._options.patience:
                continue
            if attempts.count > self._options.retries:
                raise _gave_up(task, attempts)
            log.warning(
                "Task %s of %s ended early (%s); it is tried again.",
                attempts.job.job_id,
                task.folder.name,
                _last_words(attempts.job)[1],
            )
            again.append(task)
        self._submit(again, tasks)

    def _running(self, jobs: Sequence[Any]) -> list[Any]:
        """Those that are queued or run, as far as that is known."""
        if not jobs or not self._is_slurm:
            return [job for job in jobs if job.state == "RUNNING"]
        queued = queue(tasks=True)
        return list(jobs) if queued is None else [job for job in jobs if job.job_id in queued]


@dataclass
class _Attempts:
    """`count` so far, the last one as `job`; since when it is gone, by the monotonic clock."""

    job: Any
    count: int
    gone_since: float | None = None


def _files(folder: Path, number: int) -> tuple[Path, Path]:
    return folder / f"item.{number:06d}.pkl", folder / f"result.{number:06d}.pkl"


def _found(folder: Path) -> list[int]:
    return sorted(
        int(file.name.split(".")[1]) for file in folder.iterdir() if re.fullmatch(r"result\.\d+\.pkl", file.name)
    )


def _take(folder: Path, number: int) -> Any:
    item, result = _files(folder, number)
    with result.open("rb") as stream:
        kind, value = pickle.load(stream)
    if kind == "input error":
        raise InputError(value)
    # The item first: a task that starts now must not do it again.
    item.unlink()
    result.unlink()
    return value


def _dump(value: object, file: Path) -> None:
    with written(file) as beside, beside.open("wb") as stream:
        pickle.dump(value, stream, pickle.HIGHEST_PROTOCOL)


def _gave_up(task: _Task, attempts: _Attempts) -> Unfinished:
    file, last = _last_words(attempts.job)
    return Unfinished(
        f"Task {attempts.job.job_id} of {task.folder.name} failed {attempts.count} times. Its log {file} ends: {last}. "
        "Fix the cause (--cluster-option gives tasks more time or memory), then run the command again with --resume."
    )


def _last_words(job: Any) -> tuple[Path, str]:
    """The log, and its last line."""
    for file in (job.paths.stderr, job.paths.stdout):
        lines = file.read_text(encoding="utf-8", errors="replace").split("\n") if file.is_file() else []
        said = [line.strip() for line in lines if line.strip()]
        if said:
            return file, said[-1]
    return job.paths.stderr, "nothing was said"
