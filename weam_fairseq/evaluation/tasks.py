"""The table of tasks. A benchmark is a row: its files, its reader, what measures it, its metric and whom to cite."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weam_fairseq.errors import InputError
from weam_fairseq.evaluation.hf_folder import Folder
from weam_fairseq.evaluation.masked_pieces import measure_masked_pieces
from weam_fairseq.evaluation.measurement import Measurement, Setting
from weam_fairseq.evaluation.readers import read_linked_pairs, read_pairs
from weam_fairseq.evaluation.sentence_retrieval import measure_sentence_retrieval
from weam_fairseq.evaluation.word_retrieval import measure_word_retrieval


@dataclass(frozen=True)
class Task:
    """A row of the table.

    Attributes:
        languages: the benchmark's languages; None is any language that has files.
        files: names of a language's files, in the order in which `read` takes them.
        read: the files of one language to its data.
        measure: (folder, data by language, setting) to numbers.
        needs_head: whether the masked-LM head is used, and so must be in the checkpoint.
        citation: where the procedure comes from.
    """

    name: str
    summary: str
    languages: tuple[str, ...] | None
    files: tuple[str, ...]
    read: Callable[..., Any]
    measure: Callable[[Folder, Mapping[str, Any], Setting], list[Measurement]]
    metric: str
    needs_head: bool
    citation: str


TASKS = (
    Task(
        name="sentence-retrieval",
        summary="a sentence's translation among half the file, both directions",
        languages=None,
        files=("{split}.{pair}.tsv",),
        read=read_pairs,
        measure=measure_sentence_retrieval,
        metric="accuracy@1",
        needs_head=False,
        citation="Artetxe & Schwenk 2019 (Tatoeba); Hu et al. 2020 (XTREME)",
    ),
    Task(
        name="word-retrieval",
        summary="a word's translation among the linked words, both directions",
        languages=None,
        files=("{split}.{pair}.src-tgt", "{split}.{pair}.gold"),
        read=read_linked_pairs,
        measure=measure_word_retrieval,
        metric="precision@1",
        needs_head=False,
        citation="Cao, Kitaev & Klein 2020 (contextual word retrieval)",
    ),
    Task(
        name="masked-pieces",
        summary="masked pieces of single sentences, beside the unigram bound",
        languages=None,
        files=("{split}.{pair}.tsv",),
        read=read_pairs,
        measure=measure_masked_pieces,
        metric="accuracy@5",
        needs_head=True,
        citation="Devlin et al. 2019 (masked language model)",
    ),
)


def find_task(name: str) -> Task:
    """The row called `name`.

    Raises:
        InputError: there is none; the sentence names the closest, or all.
    """
    by_name = {task.name: task for task in TASKS}
    if name in by_name:
        return by_name[name]
    close = difflib.get_close_matches(name, by_name, n=1, cutoff=0.5)
    hint = f"Did you mean {close[0]!r}?" if close else f"The tasks are {', '.join(by_name)}."
    raise InputError(f"there is no task {name!r}. {hint}")


def data_files(task: Task, setting: Setting) -> dict[str, list[Path]]:
    """The files of each language that was asked for, all of them there.

    Raises:
        InputError: the folder, a file or a language's data is missing.
    """
    if not setting.data.is_dir():
        raise InputError(f"the data folder {setting.data} is not there. Give --data the evaluation files' folder.")
    found = {}
    for language in setting.languages:
        if task.languages is not None and language not in task.languages:
            raise InputError(f"{task.name} has no language {language!r}; it has {', '.join(task.languages)}.")
        names = [name.format(split=setting.split, pair=setting.pair(language)) for name in task.files]
        found[language] = [setting.data / name for name in names]
        for path in found[language]:
            if not path.is_file():
                raise InputError(_missing(task, setting, language, path))
    return found


def read_data(task: Task, files: Mapping[str, list[Path]]) -> dict[str, Any]:
    return {language: task.read(*paths) for language, paths in files.items()}


def _missing(task: Task, setting: Setting, language: str, path: Path) -> str:
    present = _languages_there(task, setting)
    there = f"there is data for {', '.join(present)}" if present else "there is data for no language"
    return (
        f"{task.name} needs {path.name} for language {language!r}, but {setting.data} lacks it; in that folder {there} "
        f"(split {setting.split!r}, source language {setting.source_language!r}). Change --languages, or add the file."
    )


def _languages_there(task: Task, setting: Setting) -> list[str]:
    """Languages with all the files of the task."""
    complete: set[str] | None = None
    for name in task.files:
        before, after = name.format(split=setting.split, pair=setting.pair("\0")).split("\0")
        names = [path.name for path in setting.data.iterdir()]
        here = {each[len(before) : -len(after)] for each in names if each.startswith(before) and each.endswith(after)}
        complete = here if complete is None else complete & here
    return sorted(complete or ())
