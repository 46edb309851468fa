"""Starts a job, on Slurm or as a process of this machine, and reports its state.

A Slurm job has ended when squeue no longer shows it. Its run folder records how it ended, so sacct is not needed.
"""

from __future__ import annotations

import platform
import shlex
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

from weam_fairseq.common.command import PYTHON_MODULE
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import check_parent, write_text
from weam_fairseq.common.lock import Process, is_locked, locked, start_time, write_owner
from weam_fairseq.common.slurm import make_executor, queue, refusal
from weam_fairseq.launch.job import Job, Launch, RunFolder, Submitted
from weam_fairseq.training.preemption import AGAIN, TERMINATED

# Seconds: between two looks at a job, here and on Slurm, and until a shared folder shows what a job on Slurm wrote.
POLL, POLL_SLURM, PATIENCE = 0.1, 2.0, 30.0
# After the first of several processes has ended, the others get so many seconds. On several nodes it may have ended
# because a node is gone. Slurm sees that within 400 seconds (SlurmdTimeout, 300 by default, and a third more), and
# queues the job again only if it still runs then.
SRUN_WAIT, SRUN_WAIT_NODES = 120, 600


class State(NamedTuple):
    """State of a job.

    Attributes:
        word: queued, running, done, failed, stopped (by a signal, with a checkpoint) or gone (it was killed).
        job: Slurm's id or that of the process.
        status: the exit code; None: the job has left none.
    """

    word: str
    job: str
    status: int | None = None

    @property
    def is_over(self) -> bool:
        return self.word not in ("queued", "running")


def start(run_dir: Path, launch: Launch) -> Submitted:
    """Starts the job and records it in its folder.

    Raises:
        InputError: the folder has a job that has not ended; submitit or Slurm is missing; Slurm refuses the job.
    """
    run = RunFolder(run_dir)
    check_parent(run.path / "launch.json")
    run.path.mkdir(parents=True, exist_ok=True)
    check_free(run_dir)
    with locked(run.lock, keep=True) as lock:
        before = run.read()[1] if run.exists() else []
        # No local job runs, since the lock was free. Another process may have sent a job to Slurm meanwhile.
        if before and before[-1].kind == "slurm":
            check_free(run_dir)
        run.begin()
        run.write(launch, before)
        job = _to_slurm(run, launch) if launch.cluster == "slurm" else _here(run, lock)
        run.write(launch, [*before, job])
    return job


def check_free(run_dir: Path) -> None:
    """Raises InputError if a job of the folder has not ended."""
    run = RunFolder(run_dir)
    if not run.exists() or not run.read()[1]:  # a submission that was refused has left no job
        return
    found = state(run_dir)
    if not found.is_over:
        raise InputError(f"{run_dir} already has job {found.job}, which is {found.word}. Wait for it or cancel it.")


def state(run_dir: Path) -> State:
    """State of the last job of a folder. Raises InputError if there is none."""
    run = RunFolder(run_dir)
    jobs = run.read()[1]
    if not jobs:
        raise InputError(f"The job of {run_dir} was never submitted. Submit it with --again.")
    job = jobs[-1]
    alive = _in_slurm(job.id, _owner(run)) if job.kind == "slurm" else "running" if is_locked(run.lock) else None
    if alive is not None:
        return State(alive, job.id)
    status = run.ended(job.id)
    words = {None: "gone", 0: "done", AGAIN: "stopped", TERMINATED: "stopped"}
    return State(words.get(status, "failed"), job.id, status)


def wait(run_dir: Path) -> State:
    """Waits for the end of the last job of a folder.

    A Slurm job that is not in the queue and has no recorded exit code gets time: it may be about to begin, or its files
    may appear late.
    """
    poll, patience = (POLL, 0.0) if RunFolder(run_dir).is_local() else (POLL_SLURM, PATIENCE)
    gone_since = None
    while True:
        found = state(run_dir)
        if found.is_over and found.word != "gone":
            return found
        now = time.monotonic()
        gone_since = None if found.word != "gone" else now if gone_since is None else gone_since
        if gone_since is not None and now - gone_since >= patience:
            return found
        time.sleep(poll)


def executor(run: RunFolder, launch: Launch) -> Any:
    """An executor of submitit for the job. Raises InputError for what Slurm would not accept, as far as it is known."""
    gpus: dict[str, Any] = {"gpus_per_node": launch.gpus_per_node} if launch.gpus_per_node else {}
    return make_executor(
        run.logs,
        launch.parameters,
        name=launch.name,
        timeout_min=launch.minutes,
        nodes=launch.nodes,
        tasks_per_node=launch.tasks_per_node,
        cpus_per_task=launch.cpus_per_task,
        slurm_signal_delay_s=launch.grace,
        slurm_srun_args=[f"--wait={SRUN_WAIT if launch.nodes == 1 else SRUN_WAIT_NODES}"],
        # From Slurm 22.05 on srun does not take it from the job.
        slurm_setup=["export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK"],
        **gpus,
    )


def _to_slurm(run: RunFolder, launch: Launch) -> Submitted:
    submits = executor(run, launch)
    try:
        job = submits.submit(Job(str(run.run_dir)))
    except Exception as error:
        raise InputError(f"Slurm must accept the job, but does not: {refusal(error)}") from None
    shutil.copyfile(job.paths.submission_file, run.path / "submit.sh")
    return Submitted("slurm", str(job.job_id))


def _here(run: RunFolder, lock: int) -> Submitted:
    """Starts a local job, which keeps the lock until it and its command have ended."""
    command = [*PYTHON_MODULE, "weam_fairseq.launch.job", str(run.run_dir)]
    write_text(run.path / "submit.sh", f"#!/bin/sh\n{shlex.join(command)}\n")
    with (run.logs / "out.part").open("wb") as out, (run.logs / "err.part").open("wb") as err:
        process = subprocess.Popen(
            [*command, str(lock)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            pass_fds=(lock,),
            start_new_session=True,  # it outlives the terminal, and Ctrl-C there does not reach it
        )
    write_owner(run.lock, Process(process.pid, start_time(process.pid) or "", platform.node(), "weam-launch"))
    for name in ("out", "err"):
        (run.logs / f"{name}.part").replace(run.logs / f"{process.pid}_0_log.{name}")
    return Submitted("local", str(process.pid))


def _owner(run: RunFolder) -> str:
    """Who started the last job; empty: unknown. --status may be asked by another user."""
    try:
        return (run.path / "launch.json").owner()
    except (OSError, KeyError):
        return ""


def _in_slurm(job: str, owner: str) -> str | None:
    """queued, running, or None: Slurm does not show the job."""
    try:
        jobs = queue(owner=owner)
    except OSError as error:
        raise InputError(f"squeue must give the state of job {job}, but cannot be run: {error}") from None
    if jobs is None:
        return "running"
    found = jobs.get(job)
    if found is None:
        return None
    return "queued" if found.startswith(("PENDING", "CONFIGURING", "REQUEUE")) else "running"
