"""A step of a study: one command of this project, in a folder of its own, and what it needs to be done before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from weam_fairseq.evaluation.data_files import PREFIX
from weam_fairseq.study.yaml_file import Options

LANGUAGES = "--languages"


def from_hub(data: str) -> bool:
    """Whether an evaluation's data is no folder."""
    return data.startswith(PREFIX)


@dataclass(frozen=True)
class Training:
    """What an estimate and a cost depend on. `options` are all of weam-train's that the config gives."""

    arch: str
    objective: str
    updates: int
    vocabulary: int | None
    options: Options
    is_base: bool


@dataclass(frozen=True)
class Step:
    """Attributes:
    id: its folder in the study's.
    kind: preprocess, import, base, train, export, evaluate.
    about: what is shown of it.
    words: the command.
    needs: ids of steps.
    log: what the command says, a file in the folder.
    whole: a file or folder of the command's that appears when it is done, and not before; None: only the end says so.
    inputs: files and folders outside of the study.
    published: names on the Hugging Face Hub.
    languages: of an evaluation, which is done for each of them.
    arch: of the model, empty where there is none.
    """

    id: str
    kind: str
    about: str
    words: tuple[str, ...]
    needs: tuple[str, ...] = ()
    log: str = "log.txt"
    whole: str | None = None
    inputs: tuple[Path, ...] = ()
    published: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    arch: str = ""
    training: Training | None = None

    def for_languages(self, languages: tuple[str, ...]) -> tuple[str, ...]:
        """The command of an evaluation for some of its languages."""
        place = self.words.index(LANGUAGES) + 1
        return (*self.words[:place], ",".join(languages), *self.words[place + 1 :])
