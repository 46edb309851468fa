"""Who runs a step: a process of this machine, or a job of Slurm."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Protocol

from weam_fairseq.common.errors import InputError
from weam_fairseq.launch.cli import minutes
from weam_fairseq.launch.record import Launch, RunFolder
from weam_fairseq.launch.submit import PATIENCE, check_slurm, start, state, wait
from weam_fairseq.study.config import KINDS, TRAININGS, Config, asked_whole
from weam_fairseq.study.paths import StudyPaths
from weam_fairseq.study.step import Step, from_hub
from weam_fairseq.study.step_folder import Order, StepFolder

# Seconds between two looks at a Slurm job; each look asks the controller.
POLL = 15.0
_WHY = {
    "gone": "was killed (out of memory or time, or its node has failed)",
    "stopped": "was told to stop, as when its time runs out; `slurm` in the config gives it more",
}
_LAUNCH = {"nodes", "tasks-per-node", "gpus-per-node", "cpus-per-task", "time", "grace"}


class Worker(Protocol):
    def run(self, step: Step) -> int:
        """Runs a step to its end; its exit code. From several threads at once."""

    def stop(self) -> None:
        """What runs is told to end; run() then comes back."""


class Here:
    """Processes of this machine. The cores are shared among `jobs`, unless OMP_NUM_THREADS says otherwise."""

    def __init__(self, paths: StudyPaths, jobs: int) -> None:
        threads = max(1, len(os.sched_getaffinity(0)) // jobs)
        self._paths = paths
        self._environment = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS") or str(threads)}
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def run(self, step: Step) -> int:
        folder = write_order(self._paths, step, self._environment)
        with self._lock:
            if self._stopped:
                return 143
            process = subprocess.Popen(runner(folder.path))
            self._running.add(process)
        status = process.wait()
        with self._lock:
            self._running.discard(process)
        return status if status >= 0 else 128 - status

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.terminate()


class OnSlurm:
    """Jobs of Slurm, by weam-launch's record: a job that is there already is waited for, and no second one started."""

    def __init__(self, paths: StudyPaths, config: Config) -> None:
        self._paths, self._config = paths, config
        self._stopped = threading.Event()
        # So that a mistake in the config shows before a job is sent.
        asked = [self._launch(kind, kind, Path(), paths.study) for kind in KINDS]
        for launch in asked:
            check_slurm(launch)

    def run(self, step: Step) -> int:
        path = self._paths.study / step.id
        folder, run = StepFolder(path), RunFolder(path)
        if run.exists() and not run.read()[1]:
            (run.path / "launch.json").unlink()  # of a job that Slurm did not take
        for _ in range(2):  # a job that was there already may have been for fewer languages
            if not run.exists() or state(path).is_over:
                launch = self._launch(step.kind, step.about, path, self._paths.root)
                threads = {"OMP_NUM_THREADS": str(launch.cpus_per_task)}
                write_order(self._paths, step, threads)
                try:
                    start(path, launch)
                except InputError as error:  # maybe for now only: the other steps go on
                    folder.note(step.log, str(error))
                    return 2
            while not state(path).is_over:
                if self._stopped.wait(POLL):
                    return 143
            found = wait(path, poll=1.0)
            if found.status != 0:
                folder.note(step.log, f"Slurm job {found.job} {_WHY.get(found.word, 'has failed')}: see {run.logs}")
                return 137 if found.status is None else found.status
            self._see(folder, step)
            if folder.is_done(step.languages):
                break
        return 0

    def _see(self, folder: StepFolder, step: Step) -> None:
        """Waits until the record of a step that has ended well shows here, as that of its job does."""
        end = time.monotonic() + PATIENCE
        while not folder.is_done(step.languages) and time.monotonic() < end:
            time.sleep(1.0)

    def stop(self) -> None:
        """Jobs go on; the next weam-study waits for them."""
        self._stopped.set()

    def _launch(self, kind: str, name: str, folder: Path, root: Path) -> Launch:
        asked = self._config.asked_of_slurm(kind)
        gpus = asked_whole(asked, "gpus-per-node", 0)
        nodes, tasks = self._config.processes(kind)
        if kind not in TRAININGS and nodes * tasks > 1:
            raise InputError(f"`slurm.{kind}` must ask for one process, but asks for {nodes * tasks}.")
        return Launch(
            command=runner(folder),
            directory=str(root),
            cluster="slurm",
            nodes=nodes,
            tasks_per_node=tasks,
            gpus_per_node=gpus,
            cpus_per_task=asked_whole(asked, "cpus-per-task", 1),
            minutes=minutes(str(asked.get("time", 60))),
            grace=asked_whole(asked, "grace", 120),
            parameters={
                key: value for key, value in asked.items() if key not in _LAUNCH and isinstance(value, str | int)
            },
            name=name.replace(" ", "-"),
        )


def runner(folder: Path) -> list[str]:
    return [sys.executable, "-m", "weam_fairseq.study.runner", str(folder)]


def write_order(paths: StudyPaths, step: Step, environment: dict[str, str]) -> StepFolder:
    """The order for what of a step is not done yet."""
    folder = StepFolder(paths.study / step.id)
    languages = folder.missing(step.languages)
    if not any(map(from_hub, step.command)):
        # Everything lies in folders: no hub is asked for news of them.
        environment = {"HF_HUB_OFFLINE": "1", **environment}
    command = step.for_languages(languages) if languages else step.command
    folder.write_order(
        Order(
            command=list(command),
            directory=str(paths.root),
            log=step.log,
            whole=step.finished_when,
            languages=list(languages),
            environment=environment,
        )
    )
    return folder
