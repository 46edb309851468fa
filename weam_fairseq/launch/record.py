"""What a run folder says of its job.

RUN/launch/launch.json        the command, where it runs, with what options, and the ids of its jobs
RUN/launch/environment.json   git revision, versions, machine; no variable that might hold a secret
RUN/launch/CONFIG.yaml        a copy of the command's --config, which the job reads
RUN/launch/submit.sh          what was submitted
RUN/launch/ended.json         exit code of the last job; not there while it runs, and after a kill
RUN/launch/ended.N.json       of its rank N, where that has failed
RUN/launch/logs/              what the jobs said; job 12's rank 0: 12_0_log.out and 12_0_log.err
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from weam_fairseq.common.documents import read_json, value_at
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import write_text

TRAIN = "weam-train"

# Variables that change results or speed. All others may hold a secret and are nobody's business.
VARIABLES = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "MKL_NUM_THREADS", "LOGLEVEL")


@dataclass(frozen=True)
class Launch:
    """A job to start.

    Attributes:
        command: program and arguments.
        directory: where it runs.
        cluster: local or slurm.
        nodes, tasks_per_node: processes of weam-train; one for all other commands.
        gpus_per_node, cpus_per_task, minutes: asked of Slurm; 0: its defaults (60 minutes).
        grace: seconds before the end of its time at which a job is told.
        parameters: further ones of sbatch, as submitit names them.
        name: that squeue shows.
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


@dataclass(frozen=True)
class Submitted:
    """A job: its kind (local, slurm), its id (Slurm's, or the process id), and for a process its machine and its start
    time (`common.lock.start_time`), because process ids are used again."""

    kind: str
    id: str
    host: str = ""
    started: str = ""


class RunFolder:
    """RUN/launch, read and written whole or not at all."""

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir.absolute() / "launch"
        self.logs = self.path / "logs"

    def exists(self) -> bool:
        return (self.path / "launch.json").is_file()

    def read(self) -> tuple[Launch, list[Submitted]]:
        """Raises InputError where weam-launch has not written it."""
        file = self.path / "launch.json"
        if not file.is_file():
            raise InputError(f"{file} must be there, but is not: start a job first (weam-launch --run-dir … -- …).")
        try:
            told = read_json(file, dict)
            return Launch(**told["launch"]), [Submitted(**job) for job in told["jobs"]]
        except (KeyError, TypeError) as error:
            raise InputError(f"{file} must be as weam-launch wrote it, but is not ({error}). Start anew.") from None

    def write(self, launch: Launch, jobs: list[Submitted]) -> None:
        self._write("launch.json", {"launch": asdict(launch), "jobs": [asdict(job) for job in jobs]})

    def begin(self) -> None:
        """For a new start: what the last one left is no longer true."""
        self.logs.mkdir(parents=True, exist_ok=True)
        self.forget_end()
        self._write("environment.json", environment())

    def forget_end(self) -> None:
        for file in self.path.glob("ended*.json"):
            file.unlink(missing_ok=True)

    def end(self, job: str, status: int, rank: int = 0, restarts: int = 0) -> None:
        """Only the first rank's end ends a job; the others' failures are kept beside it.

        restarts: how often Slurm had queued the job again. A node that Slurm has lost may still run a rank of an
            earlier start. Its end says nothing about the job: it replaces no later end, and `ended` ignores it.
        """
        file = self.path / ("ended.json" if rank == 0 else f"ended.{rank}.json")
        found = read_json(file, dict) if file.is_file() else None
        later = found is not None and found["job"] == job and _start_of(found) > (job, restarts)
        if (rank == 0 or status) and not later:
            self._write(file.name, {"job": job, "status": status, "restarts": restarts})

    def ended(self, job: str) -> int | None:
        """Exit code of a job, that of another rank where the first one's is 0; None: it left none."""
        first = self.path / "ended.json"
        if not first.is_file():
            return None
        last = read_json(first, dict)
        if value_at(last, "job", str, first) != job:
            return None
        others = [read_json(file, dict) for file in sorted(self.path.glob("ended.*.json"))]
        of_last_start = [one for one in others if _start_of(one) == _start_of(last)]
        return next((status for one in [last, *of_last_start] if (status := value_at(one, "status", int, first))), 0)

    def keep(self, name: str, text: str) -> Path:
        """Writes a file of text."""
        file = self.path / name
        write_text(file, text)
        return file

    def _write(self, name: str, value: Mapping[str, Any]) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        self.keep(name, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def _start_of(end: dict[str, Any]) -> tuple[str, int]:
    """The job, and how often Slurm had queued it again; files of earlier versions do not tell that."""
    return end["job"], end.get("restarts", 0)


def environment() -> dict[str, Any]:
    """What a result may depend on."""
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "host": platform.node(),
        "revision": revision(Path(__file__).parent),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "versions": dict(sorted({d.metadata["Name"]: d.version for d in metadata.distributions()}.items())),
    }


def revision(folder: Path) -> str | None:
    """The git commit of our own code, with "-dirty" where files differ from it; None outside a git checkout."""
    try:
        told = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
        )
    except OSError:
        return None
    return told.stdout.strip() if told.returncode == 0 else None
