"""A step of a study: one command of this project, in a folder of its own, which is a run folder of weam-launch."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weam_fairseq.common.arguments import value_of
from weam_fairseq.common.documents import read_json
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import write_json
from weam_fairseq.launch.job import RunFolder
from weam_fairseq.launch.submit import state
from weam_fairseq.study.config import Options, Shape

LANGUAGES = "--languages"


@dataclass(frozen=True)
class TrainingFacts:
    """What an estimate and a cost depend on.

    Attributes:
        options: all options of weam-train that the config gives.
        shape: of an encoder that is not a named architecture; None: named or unknown.
    """

    arch: str
    objective: str
    updates: int
    vocabulary: int | None
    options: Options
    is_base: bool
    shape: Shape | None = None


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        id: the step's folder, relative to the study's.
        kind: preprocess, import, base, train, export, evaluate.
        about: a description for the terminal.
        command: program and arguments, as a person would type them.
        needs: ids of steps that must be done before.
        log: the file of the step's folder that gets the command's output.
        finished_when: the file or folder whose presence means that the command has finished; None: there is none.
        inputs: files and folders outside the study.
        published: names on the Hugging Face Hub.
        languages: of an evaluation, which is done for each of them.
        arch: of the model; empty: the step has no model.
    """

    id: str
    kind: str
    about: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()
    log: str = "log.txt"
    finished_when: str | None = None
    inputs: tuple[Path, ...] = ()
    published: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    arch: str = ""
    training: TrainingFacts | None = None

    def for_languages(self, languages: tuple[str, ...]) -> tuple[str, ...]:
        """The command of an evaluation for some of its languages."""
        place = self.command.index(LANGUAGES) + 1
        return (*self.command[:place], ",".join(languages), *self.command[place + 1 :])


def option_arguments(options: Options, *, repeat: bool = False) -> list[str]:
    """Options as arguments. true sets a flag; false and null leave an option out.

    Args:
        repeat: a list gives the option once for each value; otherwise once, with commas.
    """
    found: list[str] = []
    for name, value in options.items():
        if value is None or value is False:
            continue
        if value is True:
            found.append(f"--{name}")
        elif isinstance(value, list) and repeat:
            found += [word for each in value for word in (f"--{name}", str(each))]
        else:
            found += [f"--{name}", ",".join(map(str, value)) if isinstance(value, list) else str(value)]
    return found


class StepFolder:
    """A step's folder, which is the run folder of its jobs.

    STEP/launch/     the record of the last job (weam_fairseq/launch/job.py)
    STEP/log.txt     the output of the command, each start after a line with the command (train.log for trainings)
    STEP/done.json   the step is done: seconds, peak memory, machine, revision
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run = RunFolder(path)

    def done(self) -> dict[str, Any] | None:
        file = self.path / "done.json"
        return read_json(file, dict) if file.is_file() else None

    def missing(self, languages: tuple[str, ...]) -> tuple[str, ...]:
        """The languages of an evaluation that it has not been done for."""
        done = self.done() or {}
        return tuple(each for each in languages if each not in done.get("languages", []))

    def is_done(self, languages: tuple[str, ...] = ()) -> bool:
        return self.done() is not None and not self.missing(languages)

    def is_running(self) -> bool:
        """Whether a job of the step runs or is queued, as far as this machine can see."""
        if not self.run.exists() or not self.run.read()[1]:
            return False
        with suppress(InputError):  # no Slurm here
            return not state(self.path).is_over
        return False

    def failed(self) -> int | None:
        """Exit code of the last job, if it has failed; None: it has not."""
        end = self.run.last_end()
        return None if self.done() is not None or end is None else self.run.ended(end["job"]) or None

    def settle(self, step: Step) -> None:
        """Records as done what the last job has finished. No job of the step may be running."""
        end, done = self.run.last_end(), self.done() or {}
        if end is None or self.run.ended(end["job"]) != 0:
            if done or step.finished_when is None or not (self.path / step.finished_when).exists():
                return
            end = {}  # the job was killed between the end of the command and the record of it
        command = self.run.read()[0].command if self.run.exists() else list(step.command)
        languages = (value_of(command, LANGUAGES) or "").split(",")
        new = [each for each in languages if each and each not in done.get("languages", [])]
        if not new and (done or step.languages):
            return
        seconds, memory = end.get("seconds"), end.get("peak_memory_bytes")
        record = {
            "command": command,
            "languages": [*done.get("languages", []), *new],
            # An evaluation that was run again, for more languages, has taken the sum.
            "seconds": None if seconds is None else round(seconds + (done.get("seconds") or 0.0), 2),
            "peak_memory_bytes": None if memory is None else max(memory, done.get("peak_memory_bytes") or 0),
            **{key: end.get(key) for key in ("machine", "threads", "revision", "ended")},
        }
        write_json(self.path / "done.json", record)

    def last_lines(self, log: str, count: int = 5) -> list[str]:
        file = self.path / log
        if not file.is_file():
            return []
        text = file.read_text(encoding="utf-8", errors="replace")
        return [line[:300] for line in text.splitlines() if line.strip()][-count:]
