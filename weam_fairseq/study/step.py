"""A step of a study: one command of this project, in a folder of its own, and the steps that it needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from weam_fairseq.evaluation.hub import PREFIX
from weam_fairseq.study.config import Options

LANGUAGES = "--languages"


@dataclass(frozen=True)
class Training:
    """What an estimate and a cost depend on. `options`: all options of weam-train that the config gives."""

    arch: str
    objective: str
    updates: int
    vocabulary: int | None
    options: Options
    is_base: bool


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
    training: Training | None = None

    def for_languages(self, languages: tuple[str, ...]) -> tuple[str, ...]:
        """The command of an evaluation for some of its languages."""
        place = self.command.index(LANGUAGES) + 1
        return (*self.command[:place], ",".join(languages), *self.command[place + 1 :])


def from_hub(data: str) -> bool:
    """Whether an evaluation's data comes from the Hugging Face Hub."""
    return data.startswith(PREFIX)


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
