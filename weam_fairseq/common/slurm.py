"""Slurm, through submitit: options of sbatch, an executor, and the queue. Accounting (sacct) is not needed."""

from __future__ import annotations

import getpass
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from weam_fairseq.common.arguments import suggest
from weam_fairseq.common.errors import InputError

OPTION_HELP = (
    "any option of sbatch, such as mem=8G, account=lab or exclusive= (without a value); it replaces an option of this "
    "command that sets the same; repeatable"
)


def sbatch_options(texts: Iterable[str]) -> dict[str, str | int]:
    """The values of --cluster-option."""
    options: dict[str, str | int] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"--cluster-option must be NAME=VALUE, such as partition=gpu, but is {text}.")
        if name in options:
            raise InputError(f"--cluster-option must give each option once, but gives {name} twice.")
        options[name] = int(value) if re.fullmatch("0|[1-9][0-9]*", value) else value  # an account may be 0123
    return options


def minutes(text: str) -> int:
    """Slurm's notations of a time: M, M:S, H:M:S, D-H, D-H:M, D-H:M:S; rounded up."""
    if not (found := re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)):
        raise InputError(f"A time for Slurm must be minutes or D-HH:MM:SS, but is {text}.")
    days, *rest = found.groups()
    numbers = [int(part) for part in rest if part is not None]
    if days is not None:
        hours, minute, second = [*numbers, 0, 0][:3]
    elif len(numbers) == 3:
        hours, minute, second = numbers
    else:
        hours, minute, second = 0, *[*numbers, 0][:2]
    total = int(days or 0) * 1440 + hours * 60 + minute + (second > 0) + second // 61
    if total < 1:
        raise InputError(f"A time for Slurm must be at least a minute, but is {text}.")
    return total


def make_executor(logs: Path, options: Mapping[str, str | int], kind: str = "slurm", **parameters: Any) -> Any:
    """An executor of submitit.

    Args:
        logs: the folder for logs.
        options: of sbatch; an empty value gives the option without one. They replace what `parameters` ask for.
        kind: of submitit's executors: slurm, or local for processes of this machine (for tests).
        parameters: of submitit.

    Raises:
        InputError: submitit or Slurm is missing, or sbatch has no such option.
    """
    try:
        import submitit
    except ImportError:
        raise InputError(
            "--cluster slurm needs submitit, but it is not installed: pip install 'weam-fairseq[slurm]'"
        ) from None
    for program in ("sbatch", "srun", "squeue", "scontrol") if kind == "slurm" else ():
        if shutil.which(program) is None:
            raise InputError(
                f"--cluster slurm needs Slurm's {program} on the PATH, but it is missing. Run this command on a "
                "machine where jobs can be submitted."
            )
    _check(options)
    given = {name.replace("-", "_"): True if value == "" else value for name, value in options.items()}
    if "time" in given:  # submitit needs to know it, too
        parameters["timeout_min"] = minutes(str(given.pop("time")))
    # -P: the job imports nothing from the current folder, such as a random.py of the user.
    own = {"slurm_python": f"{shlex.quote(sys.executable)} -P"} if kind == "slurm" else {}
    executor = submitit.AutoExecutor(logs, cluster=kind, **own)
    executor.update_parameters(**parameters, slurm_additional_parameters={"requeue": True, **given})
    return executor


def _check(options: Iterable[str]) -> None:
    """Raises InputError for an unknown option, which sbatch itself would only report for one job after the other."""
    if not options:
        return
    output = subprocess.run(["sbatch", "--help"], capture_output=True, text=True).stdout
    known = sorted(set(re.findall(r"--([a-z][a-z-]+)", output)))
    for name in options:
        if known and name.replace("_", "-") not in known:
            raise InputError(
                f"--cluster-option must be an option of sbatch, but {name} is not one.{suggest(name, known)}"
            )


def refusal(error: Exception) -> str:
    """The reason that sbatch gave, from the error that submitit raises."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def queue(*, tasks: bool = False, owner: str = "") -> dict[str, str] | None:
    """State of each of the user's jobs by its id; None: the controller does not answer, and nothing is known.

    Args:
        tasks: tasks of arrays, one by one.
        owner: another user whose jobs are wanted too.

    Raises:
        OSError: squeue cannot be run.
    """
    users = ",".join(filter(None, dict.fromkeys([getpass.getuser(), owner])))
    command = ["squeue", "--noheader", *(["--array"] if tasks else []), "--user", users, "--format=%i %T"]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode != 0:
        return None
    return dict(line.split(maxsplit=1) for line in answer.stdout.splitlines() if line.strip())
