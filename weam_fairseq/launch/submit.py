"""Starts a job, by submitit on Slurm or as a process of this machine, and says how it is.

Nothing here depends on Slurm's accounting (sacct): a job has ended when squeue no longer shows it, and what it left in
its run folder says how.
"""

from __future__ import annotations

import getpass
import platform
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from weam_fairseq.common.arguments import suggest
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import check_parent
from weam_fairseq.common.lock import locked, start_time
from weam_fairseq.launch.job import Job
from weam_fairseq.launch.record import Launch, RunFolder, Submitted
from weam_fairseq.training.preemption import AGAIN, TERMINATED

# Seconds: between two looks, and what a shared folder may take to show what a job wrote.
POLL, PATIENCE = 2.0, 30.0
# After the first of several processes has ended, the others get so many seconds. On several nodes it may have ended
# because a node is gone. Slurm sees that within 400 seconds (SlurmdTimeout, 300 by default, and a third more), and
# queues the job again only if it still runs then.
SRUN_WAIT, SRUN_WAIT_NODES = 120, 600


class State(NamedTuple):
    """How a job is.

    Attributes:
        word: queued, running, done, failed, stopped (by a signal, with a checkpoint) or gone (it was killed).
        job: Slurm's id or that of the process.
        status: its exit code; None: it has left none.
    """

    word: str
    job: str
    status: int | None = None

    @property
    def is_over(self) -> bool:
        return self.word not in ("queued", "running")


def start(run_dir: Path, launch: Launch) -> Submitted:
    """Starts the job; its folder says the rest.

    Raises:
        InputError: a job of the folder is there already; submitit or Slurm is not; Slurm refuses the job.
    """
    run = RunFolder(run_dir)
    check_parent(run.path / "launch.json")
    run.path.mkdir(parents=True, exist_ok=True)
    with locked(run.path / "lock"):
        before = check_free(run_dir)
        run.begin()
        run.write(launch, before)
        job = _to_slurm(run, run_dir, launch) if launch.cluster == "slurm" else _here(run, run_dir)
        run.write(launch, [*before, job])
    return job


def check_free(run_dir: Path) -> list[Submitted]:
    """The jobs that a folder has had. Raises InputError where one has not ended."""
    run = RunFolder(run_dir)
    jobs = run.read()[1] if run.exists() else []
    found = state(run_dir) if jobs else None  # a submission that was refused has left no job
    if found is not None and not found.is_over:
        raise InputError(f"{run_dir} must have no job, but job {found.job} is {found.word}: wait for it or end it.")
    return jobs


def state(run_dir: Path) -> State:
    """How the last job of a folder is. Raises InputError where there is none, or where only another machine knows."""
    run = RunFolder(run_dir)
    jobs = run.read()[1]
    if not jobs:
        raise InputError(f"{run_dir} must have had a job, but its submission failed: start it with --again.")
    job = jobs[-1]
    if job.kind == "local" and job.host not in ("", platform.node()) and run.ended(job.id) is None:
        raise InputError(f"Job {job.id} was started on {job.host}, and how it is can be seen there alone: ask there.")
    alive = _in_slurm(job.id) if job.kind == "slurm" else _alive(job)
    if alive is not None:
        return State(alive, job.id)
    status = run.ended(job.id)
    words = {None: "gone", 0: "done", AGAIN: "stopped", TERMINATED: "stopped"}
    return State(words.get(status, "failed"), job.id, status)


def wait(run_dir: Path, poll: float = POLL, patience: float = PATIENCE) -> State:
    """Waits for the end of the last job of a folder.

    A job that is neither there nor has left its end behind is given `patience`: it may just begin, or its machine's
    files may come late.
    """
    gone_at = None
    while True:
        found = state(run_dir)
        if found.is_over and found.word != "gone":
            return found
        now = time.monotonic()
        gone_at = None if found.word != "gone" else now if gone_at is None else gone_at
        if gone_at is not None and now - gone_at >= patience:
            return found
        time.sleep(poll)


def _to_slurm(run: RunFolder, run_dir: Path, launch: Launch) -> Submitted:
    executor = _executor(run, launch)
    try:
        job = executor.submit(Job(str(run_dir.absolute())))
    except Exception as error:  # submitit's own for what sbatch said
        last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise InputError(f"Slurm must take the job, but does not: {last}") from None
    shutil.copyfile(job.paths.submission_file, run.path / "submit.sh")
    return Submitted("slurm", str(job.job_id))


def _executor(run: RunFolder, launch: Launch) -> Any:
    try:
        import submitit
    except ImportError:
        raise InputError(
            "--cluster slurm needs submitit, but it is not installed: pip install 'weam-fairseq[slurm]'"
        ) from None
    for program in ("sbatch", "srun", "squeue", "scontrol"):
        if shutil.which(program) is None:
            raise InputError(
                f"--cluster slurm needs Slurm's {program} on the PATH, but it is not there: run it where jobs can be "
                "submitted."
            )
    given = {
        "name": launch.name,
        "timeout_min": launch.minutes,
        "nodes": launch.nodes,
        "tasks_per_node": launch.tasks_per_node,
        "cpus_per_task": launch.cpus_per_task,
        "slurm_signal_delay_s": launch.grace,
        "slurm_srun_args": [f"--wait={SRUN_WAIT if launch.nodes == 1 else SRUN_WAIT_NODES}"],
        # From Slurm 22.05 on srun does not take it from the job.
        "slurm_setup": ["export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK"],
        **({"gpus_per_node": launch.gpus_per_node} if launch.gpus_per_node else {}),
    }
    ours, of_sbatch = slurm_parameters(launch.parameters)
    _check_options(of_sbatch)
    given = {**given, **ours, "slurm_additional_parameters": {"requeue": True, **of_sbatch}}
    executor = submitit.AutoExecutor(run.logs, cluster="slurm")
    try:
        executor.update_parameters(**given)
    except (AssertionError, NameError, TypeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(f"--cluster-option slurm_… must be a parameter of submitit, but is not: {first}") from None
    return executor


def check_slurm(launch: Launch) -> None:
    """Raises InputError for what Slurm or submitit would not take of a job, as far as that shows before."""
    _executor(RunFolder(Path(launch.directory)), launch)


def slurm_parameters(named: dict[str, str | int]) -> tuple[dict[str, Any], dict[str, Any]]:
    """submitit's parameters, and options of sbatch, of which one without a value (`exclusive=`) is given as True."""
    shared = {"name", "timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node", "tasks_per_node"}
    ours, of_sbatch = {}, {}
    for name, value in named.items():
        plain = name.replace("-", "_")
        if plain in shared or plain.startswith("slurm_"):
            ours[plain] = value
        else:
            of_sbatch[plain] = True if value == "" else value
    return ours, of_sbatch


def _check_options(names: Iterable[str]) -> None:
    """Raises InputError for what sbatch has no option for: it says so of one job after the other else."""
    if not names:
        return
    told = subprocess.run(["sbatch", "--help"], capture_output=True, text=True).stdout
    known = sorted(set(re.findall(r"--([a-z][a-z-]+)", told)))
    for name in names:
        if known and name.replace("_", "-") not in known:
            raise InputError(f"--cluster-option must be an option of sbatch, but {name} is none.{suggest(name, known)}")


def _here(run: RunFolder, run_dir: Path) -> Submitted:
    command = [sys.executable, "-u", "-m", "weam_fairseq.launch.job", str(run_dir.absolute())]
    run.keep("submit.sh", f"#!/bin/sh\n{shlex.join(command)}\n")
    with (run.logs / "out.part").open("wb") as out, (run.logs / "err.part").open("wb") as err:
        # A session of its own: it outlives the terminal, and Ctrl-C there is not for it.
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True)
    job = str(process.pid)
    for name in ("out", "err"):
        (run.logs / f"{name}.part").replace(run.logs / f"{job}_0_log.{name}")
    return Submitted("local", job, platform.node(), start_time(process.pid) or "")


def _in_slurm(job: str) -> str | None:
    """queued, running, or None: Slurm does not show the job."""
    command = ["squeue", "--noheader", "--user", getpass.getuser(), "--format=%i %T"]
    try:
        told = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise InputError(f"squeue must tell how job {job} is, but cannot be run: {error}") from None
    if told.returncode != 0:  # the controller is away for a while: nothing is known
        return "running"
    states = dict(line.split(maxsplit=1) for line in told.stdout.splitlines() if line.strip())
    found = states.get(job)
    if found is None:
        return None
    return "queued" if found.startswith(("PENDING", "CONFIGURING", "REQUEUE")) else "running"


def _alive(job: Submitted) -> str | None:
    """running, or None. Another process may have the number by now: its start time tells. Where the job's own process
    was killed, its command may still run, in the session that the job began."""
    now = start_time(int(job.id))
    if now is not None:
        return "running" if now == job.started else None
    return "running" if any(_session(Path(entry)) == job.id for entry in Path("/proc").glob("[0-9]*")) else None


def _session(process: Path) -> str | None:
    """The session of a process that has not ended."""
    try:
        state, _, _, session = process.joinpath("stat").read_text().rpartition(")")[2].split()[:4]
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else session
