"""The table of tasks. A benchmark is a row: its files, its reader, what measures it, its metric and whom to cite."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation import fine_tuned_benchmarks, retrieval_benchmarks
from weam_fairseq.evaluation.data_files import alternatives, fill, find_files, is_there, languages_in_names
from weam_fairseq.evaluation.masked_pieces import measure_masked_pieces
from weam_fairseq.evaluation.measurement import Setting
from weam_fairseq.evaluation.readers import read_linked_pairs, read_pairs
from weam_fairseq.evaluation.sentence_retrieval import measure_sentence_retrieval
from weam_fairseq.evaluation.task import Task
from weam_fairseq.evaluation.word_retrieval import measure_word_retrieval

_ANY_PAIRS = "pairs of your own: this is no published set"

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
        published=_ANY_PAIRS,
    ),
    Task(
        name="word-retrieval",
        summary="a word's translation among the linked words, both directions",
        languages=None,
        files=("{split}.{pair}.src-tgt", "{split}.{pair}.gold"),
        read=read_linked_pairs,
        reads_links=True,
        measure=measure_word_retrieval,
        metric="precision@1",
        needs_head=False,
        citation="Cao, Kitaev & Klein 2020 (contextual word retrieval)",
        published=_ANY_PAIRS,
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
        published=_ANY_PAIRS,
        uses_seed=True,
    ),
    *fine_tuned_benchmarks.TASKS,
    *retrieval_benchmarks.TASKS,
)


def data_files(task: Task, setting: Setting) -> dict[str, list[Path]]:
    """The files of each language that was asked for, all of them there.

    Raises:
        InputError: the folder, or files, are missing; all missing files are named.
    """
    check_split(task, setting.split)
    found: dict[str, list[Path]] = {}
    missing: dict[tuple[str, ...], list[str]] = {}
    for language in setting.languages:
        check_language(task, language)
        for names in task.files:
            paths = find_files(setting, task.name, names, language)
            found.setdefault(language, []).extend(paths)
            if not paths:
                needed = tuple(dict.fromkeys(fill(name, setting, language) for name in alternatives(names)))
                missing.setdefault(needed, []).append(language)
    if missing:
        raise InputError(_missing(task, setting, missing))
    return found


def read_data(task: Task, files: Mapping[str, list[Path]], gold_from: int | None = None) -> dict[str, Any]:
    """Each language's data.

    Args:
        gold_from: the number of a sentence's first word in gold links; None expects 0.

    Raises:
        InputError: a file is not in the benchmark's format, or its gold was taken out.
    """
    if task.reads_language:
        return {language: task.read(*paths, language=language) for language, paths in files.items()}
    if task.reads_links:
        return {language: task.read(*paths, first_word=gold_from) for language, paths in files.items()}
    return {language: task.read(*paths) for language, paths in files.items()}


def languages_there(task: Task, setting: Setting) -> list[str]:
    """Languages with all the files of the task."""
    every = languages_of(task, setting)
    return [language for language in every if is_there(setting, task.name, task.files, language)]


def languages_of(task: Task, setting: Setting) -> list[str]:
    """The benchmark's languages; where it takes any, those with the first of its files."""
    if task.languages is not None:
        return list(task.languages)
    return languages_in_names(setting, task.name, task.files[0])


def check_split(task: Task, split: str) -> None:
    if task.splits and split not in task.splits:
        raise InputError(f"{task.name} has no split {split!r}; it has {', '.join(task.splits)}.")


def check_language(task: Task, language: str) -> None:
    """`de`, or `en-de` where the file names part a context's language from a question's."""
    if task.languages is None:
        return
    parts = language.split("-") if any("{context}" in name for name in alternatives(task.files[0])) else [language]
    if len(parts) > 2 or not all(part in task.languages for part in parts):
        raise InputError(f"{task.name} has no language {language!r}; it has {', '.join(task.languages)}.")


def _missing(task: Task, setting: Setting, missing: Mapping[tuple[str, ...], list[str]]) -> str:
    """`missing`: the languages that lack a file, by the file's possible names."""
    present = languages_there(task, setting)
    there = f"there is data for {', '.join(present)}" if present else "there is data for no language"
    needed = "; ".join(
        f"{' or '.join(names)} for language {', '.join(map(repr, languages))}" for names, languages in missing.items()
    )
    return (
        f"{task.name} needs {needed}, but {setting.data} lacks {'it' if len(missing) == 1 else 'them'}; in that folder "
        f"{there} (split {setting.split!r}, source language {setting.source_language!r}). Change --languages, or add "
        f"the {'file' if len(missing) == 1 else 'files'}."
    )
