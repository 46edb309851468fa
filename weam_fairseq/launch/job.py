"""A job: its record in the run folder, and the process that runs its command.

RUN/launch/launch.json        the command, where it runs, its options, and the ids of its jobs
RUN/launch/environment.json   git revision, versions, machine; no variable that might hold a secret
RUN/launch/CONFIG.yaml        a copy of the command's --config, which the job reads
RUN/launch/submit.sh          the submitted script
RUN/launch/lock               locked while a job is started; by a local job and its command, while they run
RUN/launch/ended.json         exit code, time and memory of the last job; missing while it runs, and after a kill
RUN/launch/ended.N.json       the same of its rank N, if that rank failed
RUN/launch/logs/              output of the jobs; rank 0 of job 12: 12_0_log.out and 12_0_log.err

python -m weam_fairseq.launch.job RUN [LOCK]   runs a local job, which inherits the lock
Job(RUN)()                                     runs a task of a Slurm job, called by submitit
"""

from __future__ import annotations

import functools
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from weam_fairseq.common.command import PYTHON_MODULE
from weam_fairseq.common.documents import read_json, value_at
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import write_json
from weam_fairseq.common.process_setup import usable_cores
from weam_fairseq.training.preemption import AGAIN

TRAIN = "weam-train"
# Seconds that Slurm may need to stop a job that it queues again.
PATIENCE = 300
# Variables that change results or speed. Any other variable may hold a secret.
VARIABLES = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "MKL_NUM_THREADS", "LOGLEVEL")


@dataclass(frozen=True)
class Launch:
    """A job to start.

    Attributes:
        command: program and arguments.
        directory: where the command runs.
        cluster: local or slurm.
        nodes, tasks_per_node: processes of weam-train; one for all other commands.
        gpus_per_node, cpus_per_task, minutes: asked of Slurm.
        grace: seconds before the end of its time at which a job gets a signal.
        parameters: more options of sbatch.
        name: the job's name in squeue.
        environment: variables of the command, besides those of the job.
        log: the file of the run folder that gets the command's output, each start after a line `$ command`; empty: the
            output goes to the job's own logs.
    """

    command: list[str]
    directory: str
    cluster: str = "local"
    nodes: int = 1
    tasks_per_node: int = 1
    gpus_per_node: int = 0
    cpus_per_task: int = 1
    minutes: int = 60
    grace: int = 120
    parameters: dict[str, str | int] = field(default_factory=dict)
    name: str = "weam"
    environment: dict[str, str] = field(default_factory=dict)
    log: str = ""


class Submitted(NamedTuple):
    """A job: its kind (local, slurm), and its id (Slurm's, or the process id)."""

    kind: str
    id: str


class RunFolder:
    """RUN/launch. Its files appear complete or not at all."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir.absolute()
        self.path = self.run_dir / "launch"
        self.logs, self.lock = self.path / "logs", self.path / "lock"

    def exists(self) -> bool:
        return (self.path / "launch.json").is_file()

    def read(self) -> tuple[Launch, list[Submitted]]:
        """Raises InputError if weam-launch has not written the folder."""
        file = self.path / "launch.json"
        if not file.is_file():
            raise InputError(f"{file} must exist, but does not. Start a job first (weam-launch --run-dir … -- …).")
        try:
            record = read_json(file, dict)
            return Launch(**record["launch"]), [Submitted(job["kind"], job["id"]) for job in record["jobs"]]
        except (KeyError, TypeError) as error:
            raise InputError(f"{file} must be as weam-launch wrote it, but is not ({error}). Start anew.") from None

    def is_local(self) -> bool:
        """Whether the last job is one of this machine."""
        return [job.kind for job in self.read()[1][-1:]] == ["local"]

    def write(self, launch: Launch, jobs: Sequence[Submitted]) -> None:
        record = {"launch": asdict(launch), "jobs": [job._asdict() for job in jobs]}
        self._write("launch.json", record)

    def begin(self) -> None:
        """Before a new job: removes the record of the last one's end."""
        self.logs.mkdir(parents=True, exist_ok=True)
        self.forget_end()
        self._write("environment.json", environment())

    def forget_end(self) -> None:
        for file in self.path.glob("ended*.json"):
            file.unlink(missing_ok=True)

    def end(self, job: str, status: int, rank: int = 0, restarts: int = 0, **measured: Any) -> None:
        """Records the end of a rank. Only the first rank's end ends a job; the others record failures.

        Args:
            restarts: how often Slurm had queued the job again. A node that Slurm has lost may still run a rank of an
                earlier start. Its end is not that of the job: it replaces no later end, and `ended` ignores it.
            measured: what else to record.
        """
        file = self.path / ("ended.json" if rank == 0 else f"ended.{rank}.json")
        found = read_json(file, dict) if file.is_file() else None
        later = found is not None and found["job"] == job and _start_of(found) > (job, restarts)
        if (rank == 0 or status) and not later:
            self._write(file.name, {"job": job, "status": status, "restarts": restarts, **measured})

    def ended(self, job: str) -> int | None:
        """Exit code of a job, that of another rank if the first one's is 0; None: the job has left no exit code."""
        first = self.path / "ended.json"
        last = self.last_end()
        if last is None or value_at(last, "job", str, first) != job:
            return None
        others = [read_json(file, dict) for file in sorted(self.path.glob("ended.*.json"))]
        of_last_start = [one for one in others if _start_of(one) == _start_of(last)]
        return next((status for one in [last, *of_last_start] if (status := value_at(one, "status", int, first))), 0)

    def last_end(self) -> dict[str, Any] | None:
        """ended.json."""
        file = self.path / "ended.json"
        return read_json(file, dict) if file.is_file() else None

    def _write(self, name: str, value: dict[str, Any]) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / name, value)


def _start_of(end: dict[str, Any]) -> tuple[str, int]:
    """The job, and how often Slurm had queued it again."""
    return end["job"], end["restarts"]


class CommandFailed(Exception):
    """The command's exit code is not 0. submitit, and so Slurm, then count the job as failed."""


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
            run.forget_end()  # Slurm may have queued the job again
        ended = run_command(run, launch, launch.command, log=launch.log if rank == 0 else "")
        if ended["status"] == AGAIN:
            _queue_again(job, first=rank == 0)
        run.end(job, rank=rank, restarts=restarts, **ended)
        if ended["status"]:
            raise CommandFailed(f"{Path(launch.command[0]).name} ended with exit code {ended['status']}.")


def run_here(run_dir: Path, inherited: tuple[int, ...]) -> int:
    """Runs a local job. `inherited`: the descriptor of the locked file, which the command inherits."""
    run = RunFolder(run_dir)
    launch, _ = run.read()
    ended = run_command(run, launch, local_command(launch), log=launch.log, inherited=inherited)
    run.end(str(os.getpid()), **ended)
    return int(ended["status"])


def local_command(launch: Launch) -> list[str]:
    """Several processes are started by torchrun; one for each GPU, by weam-train itself."""
    if launch.tasks_per_node == 1:
        return launch.command
    torchrun = [*PYTHON_MODULE, "torch.distributed.run", "--standalone"]
    command = [_beside_python(launch.command[0]), *launch.command[1:]]
    return [*torchrun, "--nproc_per_node", str(launch.tasks_per_node), "--no-python", *command]


def runs_to_the_end(program: str) -> bool:
    """Returns whether a signal before the time limit would only kill the program, because it cannot save its state."""
    return Path(program).name.startswith("weam-") and Path(program).name != TRAIN


def run_command(
    run: RunFolder, launch: Launch, command: Sequence[str], *, log: str, inherited: tuple[int, ...] = ()
) -> dict[str, Any]:
    """Runs a command, passes signals on to it, and returns its exit code and what it took.

    Slurm signals all processes of a job, and a person the one whose number they know: the command gets each signal,
    maybe twice, and this process waits for it. The exit code is 128 + N if signal N ended the command, as in a shell.
    """
    children: list[int] = []
    early: list[int] = []

    def pass_on(number: int, frame: FrameType | None = None) -> None:
        for child in children:
            with suppress(ProcessLookupError):  # wait4 has just returned: the same signal may have ended the command
                os.kill(child, number)
        if not children:
            early.append(number)

    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
        signal.signal(number, pass_on)
    if runs_to_the_end(launch.command[0]):
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)  # the command inherits this
    signal.signal(signal.SIGCONT, signal.SIG_DFL)
    start = time.monotonic()
    with ExitStack() as stack:
        output = None
        if log:
            add_line(run.run_dir / log, f"$ {shlex.join(launch.command)}")
            output = stack.enter_context((run.run_dir / log).open("ab"))
        try:
            process = subprocess.Popen(
                [_beside_python(command[0]), *command[1:]],
                cwd=launch.directory,
                env={**os.environ, **launch.environment},
                stdout=output,
                stderr=None if output is None else subprocess.STDOUT,
                pass_fds=inherited,
            )
        except OSError as error:  # the program or the folder is gone, or it is no program
            message = f"weam-launch: the command cannot be started: {error}"
            print(message, file=sys.stderr, flush=True)
            if log:
                add_line(run.run_dir / log, message)
            return _ended(launch, 127 if isinstance(error, FileNotFoundError) else 126, start, None)
        children.append(process.pid)
        for signal_number in early:  # before there was a child
            os.kill(process.pid, signal_number)
        _, status, usage = os.wait4(process.pid, 0)
        children.clear()
    process.returncode = code = os.waitstatus_to_exitcode(status)
    # The peak is that of its largest process. Linux counts in kilobytes.
    return _ended(launch, code if code >= 0 else 128 - code, start, usage.ru_maxrss * 1024)


def _ended(launch: Launch, status: int, start: float, peak_memory_bytes: int | None) -> dict[str, Any]:
    return {
        "status": status,
        "seconds": round(time.monotonic() - start, 2),
        "peak_memory_bytes": peak_memory_bytes,
        "machine": machine(),
        "threads": {**os.environ, **launch.environment}.get("OMP_NUM_THREADS"),
        "revision": revision(),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _queue_again(job: str, *, first: bool) -> None:
    """Lets Slurm stop the job and queue it again, and then does not return. Returns if Slurm refuses."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if first:
        answer = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True)
        if answer.returncode:
            print(f"weam-launch: scontrol requeue: {answer.stderr.strip()}", file=sys.stderr, flush=True)
            return
    # Also if Slurm was about to do so by itself, and for the other ranks.
    time.sleep(PATIENCE)


def _beside_python(name: str) -> str:
    """The program of this installation, if it has one with this name."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.is_file() else name


def add_line(log: Path, line: str) -> None:
    """Adds a line to a log, after a half line that a kill may have left."""
    with log.open("ab+") as file:
        file.seek(max(0, file.tell() - 1))
        is_cut = file.read() not in (b"", b"\n")
        file.write(f"{chr(10) * is_cut}{line}\n".encode())


def environment() -> dict[str, Any]:
    """What a result may depend on."""
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "host": platform.node(),
        "revision": revision(),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "versions": _versions(),
    }


@functools.cache
def _versions() -> dict[str, str]:
    # An interrupted pip leaves folders without a name.
    named = [(each.metadata["Name"], each) for each in metadata.distributions() if each.metadata]
    return {name: each.version for name, each in sorted(named, key=str) if name}


def revision() -> str | None:
    """The git commit of this code, with "-dirty" if files differ from it; None outside a git checkout."""
    # Only in a repository of this code: an installed copy may lie in a folder (.venv) of another project's repository.
    if _git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    return _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(*arguments: str) -> str | None:
    """What git answers about this code's folder; None if it fails."""
    command = ["git", "--no-optional-locks", "-C", str(Path(__file__).parent), *arguments]
    try:
        answer = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def machine() -> str:
    """Processor, usable cores and GPUs; not the name of the host."""
    model = "unknown processor"
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    cores = usable_cores()
    parts = [model, f"{cores} core{'' if cores == 1 else 's'}"]
    if shutil.which("nvidia-smi"):
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        answer = subprocess.run(command, capture_output=True, text=True)
        names = [line.strip() for line in answer.stdout.splitlines() if line.strip()] if answer.returncode == 0 else []
        parts += [f"{names.count(name)} × {name}" for name in dict.fromkeys(names)]
    return ", ".join(parts)


if __name__ == "__main__":
    sys.exit(run_here(Path(sys.argv[1]), tuple(map(int, sys.argv[2:]))))
