"""A Slurm of one node, on this machine, for tests: munged, slurmctld and slurmd with all their files in one folder.

    with one_node.started() as node:
        subprocess.run(["sbatch", ...], env=node.environment)

Nothing of a Slurm that the machine may have is touched: keys, sockets, ports and state are its own. Debian has the
programs in `slurm-wlm` and `munge`. Any user may run it; jobs then run as that user.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sinfo", "sbatch", "srun", "squeue", "scancel", "scontrol")
_SBIN = "/usr/sbin"  # where the daemons are, which is not on every user's PATH


class NoSlurm(Exception):
    """Why Slurm did not start."""


@dataclass(frozen=True)
class Node:
    """A node that takes jobs. `environment` is for whoever submits them; `folder` holds the daemons' logs."""

    folder: Path
    partition: str
    environment: dict[str, str]

    def run(self, *command: str) -> str:
        """The standard output of one of Slurm's commands, which must end well."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def go_on(self, job: str) -> None:
        """Starts a job that was queued again, which Slurm would let wait for two minutes.

        Not at once: slurmd refuses a job whose credential is of the second in which it ended the last one ("already
        killed, do not launch"), and Slurm then takes the job for failed.
        """
        self.run("scontrol", "update", f"JobId={job}", "StartTime=now+2")


@contextlib.contextmanager
def started(cpus: int = 2) -> Iterator[Node]:
    """Starts the daemons, waits until the node is idle, and stops them at the end. Raises NoSlurm.

    cpus: that the node has in Slurm's eyes, whatever the machine has.
    """
    path = f"{os.environ['PATH']}:{_SBIN}"
    missing = [program for program in PROGRAMS if shutil.which(program, path=path) is None]
    if missing:
        raise NoSlurm(f"{', '.join(missing)} not found; on Debian: apt-get install slurm-wlm munge")
    with tempfile.TemporaryDirectory(prefix="weam-slurm-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o711)  # munged's socket must be open to all
        free = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "SBATCH_"))}
        node = Node(folder, "test", {**free, "PATH": path, "SLURM_CONF": str(folder / "slurm.conf")})
        _write_configuration(node, cpus)
        stack.enter_context(_daemon(node, "munged", *_munged(folder)))
        _wait_for(folder / "munge.socket")
        stack.enter_context(_daemon(node, "slurmctld", "-D", "-c"))
        stack.enter_context(_daemon(node, "slurmd", "-D", "-c"))
        _wait_until_idle(node)
        stack.callback(cancel_all, node)
        yield node


def _write_configuration(node: Node, cpus: int) -> None:
    folder, host = node.folder, socket.gethostname()
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    controller, daemon = _free_ports(2)
    megabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    lines = f"""
ClusterName=weam
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmUser={getpass.getuser()}
SlurmdUser={getpass.getuser()}
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
KillWait=5
SchedulerParameters=batch_sched_delay=0,sched_interval=2
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={megabytes} State=UNKNOWN
PartitionName={node.partition} Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
    (folder / "slurm.conf").write_text(lines.lstrip(), encoding="utf-8")


def _munged(folder: Path) -> list[str]:
    # Forced, since the folder is open to all, which the socket needs and the key does not like.
    files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    return ["--foreground", "--force", *(f"--{flag}={folder}/munge.{name}" for flag, name in files.items())]


@contextlib.contextmanager
def _daemon(node: Node, name: str, *arguments: str) -> Iterator[None]:
    with (node.folder / f"{name}.out").open("wb") as out:
        process = subprocess.Popen(
            [name, *arguments], env=node.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    try:
        time.sleep(0.2)
        if process.poll() is not None:
            raise NoSlurm(f"{name} ended at once: {_last_line(node.folder, name)}")
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(file: Path) -> None:
    deadline = time.monotonic() + 10
    while not file.exists():
        if time.monotonic() > deadline:
            raise NoSlurm(f"munged opened no socket: {_last_line(file.parent, 'munged')}")
        time.sleep(0.05)


def _wait_until_idle(node: Node) -> None:
    deadline = time.monotonic() + 60
    state = ""
    while state != "idle":
        if time.monotonic() > deadline:
            said = "; ".join(_last_line(node.folder, name) for name in ("slurmctld", "slurmd"))
            raise NoSlurm(f"the node is {state or 'unknown'} and not idle after a minute: {said}")
        time.sleep(0.2)
        with contextlib.suppress(RuntimeError):  # the controller does not answer yet
            state = node.run("sinfo", "--noheader", "--format=%T").strip()


def cancel_all(node: Node) -> None:
    """Cancels what is queued or runs, and waits for it: it would outlive the daemons, or keep the next test waiting."""
    deadline = time.monotonic() + 20
    with contextlib.suppress(RuntimeError):
        while time.monotonic() < deadline and (jobs := node.run("squeue", "--noheader", "--format=%A").split()):
            node.run("scancel", "--quiet", *set(jobs))
            time.sleep(0.2)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _last_line(folder: Path, name: str) -> str:
    for file in (folder / f"{name}.log", folder / f"{name}.out", folder / "munge.log"):
        if file.is_file() and (lines := file.read_text(errors="replace").split("\n")) and any(lines):
            return [line for line in lines if line][-1]
    return "it said nothing"
