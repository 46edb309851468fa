"""A Slurm of two nodes, both on this machine, for tests: munged, slurmctld and a slurmd for each node.

    with two_nodes.started() as slurm:
        subprocess.run(["sbatch", ...], env=slurm.environment)

All files are in one folder. Nothing of a Slurm that the machine may have is touched: keys, sockets, ports and state are
its own. Debian has the programs in `slurm-wlm` and `munge`. Any user may run it; jobs then run as that user.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sinfo", "sbatch", "srun", "squeue", "scancel", "scontrol")
_SBIN = "/usr/sbin"  # where the daemons are, which is not on every user's PATH
# No names of machines, as on clusters whose nodes have addresses (NodeAddr) but no names that a resolver knows.
NODES = ("n1", "n2")
PARTITION = "test"


class NoSlurm(Exception):
    """Why Slurm did not start."""


@dataclass(frozen=True)
class Slurm:
    """Two nodes that take jobs.

    Attributes:
        folder: the daemons' files and logs.
        environment: for whoever submits jobs.
        daemons: munged, slurmctld, and the slurmd of each node that is up, by the node's name.
    """

    folder: Path
    environment: dict[str, str]
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def run(self, *command: str) -> str:
        """The standard output of one of Slurm's commands, which must end well."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def show(self, job: str) -> str:
        """What Slurm says about a job, or about a task of an array."""
        return self.run("scontrol", "show", "job", job)

    def start_now(self, job: str) -> None:
        """Starts a job that was queued again, which Slurm would let wait for two minutes.

        Not at once: slurmd refuses a job whose credential is of the second in which it ended the last one ("already
        killed, do not launch"), and Slurm then takes the job for failed.
        """
        self.run("scontrol", "update", f"JobId={job}", "StartTime=now+2")

    @contextlib.contextmanager
    def without(self, name: str, *, tasks_die: bool = True) -> Iterator[None]:
        """A node goes down while it runs jobs, and is back at the end, as after a reboot.

        tasks_die: the machine is off. Else only Slurm has lost it, and what runs there runs on.
        """
        _end(self.daemons.pop(name), signal.SIGKILL)
        if tasks_die:
            self._kill_tasks(name)
        self.run("scontrol", "update", f"NodeName={name}", "State=DOWN", "Reason=test")
        try:
            yield
        finally:
            self._kill_tasks(name)  # a slurmd that finds some makes Slurm take the node for allocated
            self.start_node(name)
            self.wait_until_up(name)

    def start_node(self, name: str) -> None:
        """Starts the slurmd of a node. Raises NoSlurm."""
        self.daemons[name] = _start(self, f"slurmd.{name}", "slurmd", "-D", "-c", "-N", name)

    def wait_until_up(self, *names: str) -> None:
        """Raises NoSlurm after a minute."""
        deadline = time.monotonic() + 60
        states: set[str] = set()
        # Slurm may call a node mixed for a while after its jobs have ended.
        while not states or not states <= {"idle", "mixed", "allocated"}:
            if time.monotonic() > deadline:
                logs = ("slurmctld", *(f"slurmd.{name}" for name in names))
                said = "; ".join(_last_line(self.folder, log) for log in logs)
                found = ", ".join(sorted(states)) or "unknown"
                raise NoSlurm(f"{', '.join(names)} must be up within a minute, but the state is {found}: {said}")
            time.sleep(0.2)
            with contextlib.suppress(RuntimeError):  # the controller does not answer yet
                states = set(self.run("sinfo", "--noheader", "--format=%T", f"--nodes={','.join(names)}").split())

    def cancel_all(self) -> None:
        """Ends what is queued or runs, and waits for it: it would outlive the daemons, or delay the next test."""
        deadline = time.monotonic() + 20
        with contextlib.suppress(RuntimeError):
            while time.monotonic() < deadline and (jobs := self.run("squeue", "--noheader", "--format=%A").split()):
                self.run("scancel", "--quiet", *set(jobs))
                time.sleep(0.2)

    def _kill_tasks(self, name: str) -> None:
        while processes := self._processes(name):
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.05)

    def _processes(self, name: str) -> list[int]:
        """What slurmd has started on a node: each slurmstepd, which writes to slurmd's log, and the jobs' processes."""
        log = str(self.folder / f"slurmd.{name}.log")
        wanted = {f"SLURM_CONF={self.environment['SLURM_CONF']}", f"SLURMD_NODENAME={name}"}
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended, or is another user's
                variables = (process / "environ").read_text(errors="replace").split("\0")
                if wanted <= set(variables) or log in map(os.readlink, (process / "fd").iterdir()):
                    found.append(int(process.name))
        return found


@contextlib.contextmanager
def started(cpus: int = 2) -> Iterator[Slurm]:
    """Starts the daemons, waits until both nodes are up, and stops them at the end. Raises NoSlurm.

    cpus: that each node has in Slurm's eyes, whatever the machine has.
    """
    path = f"{os.environ['PATH']}:{_SBIN}"
    missing = [program for program in PROGRAMS if shutil.which(program, path=path) is None]
    if missing:
        raise NoSlurm(f"{', '.join(missing)} not found; on Debian: apt-get install slurm-wlm munge")
    with tempfile.TemporaryDirectory(prefix="weam-slurm-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o711)  # munged's socket must be open to all
        free = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "SBATCH_"))}
        slurm = Slurm(folder, {**free, "PATH": path, "SLURM_CONF": str(folder / "slurm.conf")})
        _write_configuration(slurm, cpus)
        stack.callback(_end_all, slurm.daemons)
        slurm.daemons["munged"] = _start(slurm, "munged", "munged", *_munged(folder))
        _wait_for(folder / "munge.socket")
        slurm.daemons["slurmctld"] = _start(slurm, "slurmctld", "slurmctld", "-D", "-c")
        for node in NODES:
            slurm.start_node(node)
        slurm.wait_until_up(*NODES)
        stack.callback(slurm.cancel_all)
        yield slurm


def _write_configuration(slurm: Slurm, cpus: int) -> None:
    folder = slurm.folder
    (folder / "state").mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    controller, *ports = _free_ports(1 + len(NODES))
    megabytes = (os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20) // len(NODES)
    host = socket.gethostname()
    nodes = "\n".join(
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} RealMemory={megabytes}"
        for name, port in zip(NODES, ports, strict=True)
    )
    lines = f"""
ClusterName=weam
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={getpass.getuser()}
SlurmdUser={getpass.getuser()}
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
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
{nodes}
PartitionName={PARTITION} Nodes={",".join(NODES)} Default=YES LLN=YES MaxTime=INFINITE State=UP
"""
    (folder / "slurm.conf").write_text(lines.lstrip(), encoding="utf-8")


def _munged(folder: Path) -> list[str]:
    # Forced, since the folder is open to all, which the socket needs and the key does not like.
    files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    return ["--foreground", "--force", *(f"--{flag}={folder}/munge.{name}" for flag, name in files.items())]


def _start(slurm: Slurm, name: str, *command: str) -> subprocess.Popen[bytes]:
    """A daemon. Raises NoSlurm if it ends at once."""
    with (slurm.folder / f"{name}.out").open("ab") as out:
        process = subprocess.Popen(command, env=slurm.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    time.sleep(0.2)
    if process.poll() is not None:
        raise NoSlurm(f"{name} ended at once: {_last_line(slurm.folder, name)}")
    return process


def _end_all(daemons: dict[str, subprocess.Popen[bytes]]) -> None:
    """The last one first."""
    while daemons:
        _end(daemons.popitem()[1], signal.SIGTERM)


def _end(process: subprocess.Popen[bytes], by: signal.Signals) -> None:
    process.send_signal(by)
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
