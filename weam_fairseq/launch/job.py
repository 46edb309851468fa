"""What runs as the job: the command, in as many processes as were started, and what its end means.

python -m weam_fairseq.launch.job RUN          as a local job
Job(RUN)()                                     in each task of a Slurm job, by submitit
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from weam_fairseq.launch.record import TRAIN, Launch, RunFolder
from weam_fairseq.training.preemption import AGAIN

# Seconds that Slurm may take to stop a job that it queues again.
PATIENCE = 300


class CommandFailed(Exception):
    """The command ended with another exit code than 0; submitit, and so Slurm, count the job as failed."""


@dataclass(frozen=True)
class Job:
    """A task of a Slurm job; submitit pickles it."""

    run_dir: str

    def __call__(self) -> None:
        run = RunFolder(Path(self.run_dir))
        launch, _ = run.read()
        job, rank = os.environ["SLURM_JOB_ID"], int(os.environ.get("SLURM_PROCID", "0"))
        restarts = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
        if rank == 0:
            run.forget_end()  # Slurm may have queued the job again after one
        status = _run(launch.command, launch.directory)
        if status == AGAIN:
            _queue_again(job, first=rank == 0)
        run.end(job, status, rank, restarts)
        if status:
            raise CommandFailed(f"{Path(launch.command[0]).name} ended with exit code {status}.")


def run_here(run_dir: Path) -> int:
    """A local job."""
    run = RunFolder(run_dir)
    launch, _ = run.read()
    status = _run(local_command(launch), launch.directory)
    run.end(str(os.getpid()), status)
    return status


def local_command(launch: Launch) -> list[str]:
    """Several processes by torchrun; for one for each GPU, weam-train needs nobody's help."""
    if launch.tasks_per_node == 1:
        return launch.command
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*torchrun, "--nproc_per_node", str(launch.tasks_per_node), "--no-python", *launch.command]


def works_to_the_end(program: str) -> bool:
    """Whether nothing is gained by telling it that its time runs out: the signal would end it, its work half done."""
    return Path(program).name.startswith("weam-") and Path(program).name != TRAIN


def _run(command: list[str], directory: str) -> int:
    """The exit code of the command; 128 + N where signal N ended it, as in a shell.

    Slurm signals all processes of a job, and a person the one whose number they know: the command gets each signal,
    maybe twice, and this process waits for it.
    """
    children: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, frame: FrameType | None = None) -> None:
        for child in children:
            child.send_signal(number)

    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
        signal.signal(number, pass_on)
    if works_to_the_end(command[0]):
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)  # the command begins with that
    signal.signal(signal.SIGCONT, signal.SIG_DFL)
    children.append(subprocess.Popen(command, cwd=directory))
    status = children[0].wait()
    return status if status >= 0 else 128 - status


def _queue_again(job: str, *, first: bool) -> None:
    """Has Slurm stop the job and queue it again, and does not come back then; comes back where Slurm does not."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if first:
        told = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True)
        if told.returncode:
            print(f"weam-launch: scontrol requeue: {told.stderr.strip()}", file=sys.stderr, flush=True)
            return
    # Also where Slurm was about to do so by itself, and for the other ranks.
    time.sleep(PATIENCE)


if __name__ == "__main__":
    sys.exit(run_here(Path(sys.argv[1])))
