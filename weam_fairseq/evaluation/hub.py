"""`--data hub:NAME`: a benchmark's rows by its name on the Hugging Face Hub, written as files that the readers know.

The rows go into a folder first and are read from there like any other data: one way through the code, a hash over the
very bytes that were scored, and no network the second time. It needs the package `datasets`; NAME may also be a
local folder that `datasets.load_dataset` takes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from weam_fairseq.errors import InputError

PREFIX = "hub:"

Row = Mapping[str, Any]


class Source(NamedTuple):
    """How a benchmark is kept on the Hub.

    Attributes:
        usual: the name that it usually has there.
        config: the configuration of a language, with {language}.
        splits: our split to the Hub's.
        file: our file's name, with {split} and {language}.
        text: (rows, names of a column's classes) to the file's text.
        english: splits that training and selection need.
    """

    usual: str
    config: str
    splits: Mapping[str, str]
    file: str
    text: Callable[[Iterable[Row], Callable[[str], Sequence[str]]], str]
    english: tuple[str, ...]


Names = Callable[[str], Sequence[str]]


def _nli(rows: Iterable[Row], names: Names) -> str:
    labels = names("label")
    return _lines(f"{_cell(row['premise'])}\t{_cell(row['hypothesis'])}\t{labels[row['label']]}" for row in rows)


def _paws(rows: Iterable[Row], names: Names) -> str:
    return _lines(f"{_cell(row['sentence1'])}\t{_cell(row['sentence2'])}\t{row['label']}" for row in rows)


def _choices(rows: Iterable[Row], names: Names) -> str:
    keys = ("premise", "choice1", "choice2", "question", "label", "idx")
    return _lines(json.dumps({key: row[key] for key in keys}, ensure_ascii=False) for row in rows)


def _questions(rows: Iterable[Row], names: Names) -> str:
    paragraphs = [
        {
            "context": row["context"],
            "qas": [
                {
                    "id": row["id"],
                    "question": row["question"],
                    "answers": [
                        {"text": text, "answer_start": start}
                        for text, start in zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True)
                    ],
                }
            ],
        }
        for row in rows
    ]
    return json.dumps({"version": "1.1", "data": [{"paragraphs": paragraphs}]}, ensure_ascii=False) + "\n"


def _entities(rows: Iterable[Row], names: Names) -> str:
    tags = names("ner_tags")
    return "\n".join(
        _lines(f"{_cell(word)}\t{tags[tag]}" for word, tag in zip(row["tokens"], row["ner_tags"], strict=True))
        for row in rows
    )


_TRAIN_AND_DEV = ("train", "dev")
SOURCES = {
    "xnli": Source(
        *("facebook/xnli", "{language}", {"train": "train", "dev": "validation", "test": "test"}),
        *("{split}-{language}.tsv", _nli, _TRAIN_AND_DEV),
    ),
    "pawsx": Source(
        *("google-research-datasets/paws-x", "{language}", {"train": "train", "dev": "validation", "test": "test"}),
        *("{split}-{language}.tsv", _paws, _TRAIN_AND_DEV),
    ),
    "xcopa": Source(
        *("cambridgeltl/xcopa", "{language}", {"val": "validation", "test": "test"}),
        *("{split}-{language}.jsonl", _choices, ()),
    ),
    "mlqa": Source(
        *("facebook/mlqa", "mlqa.{language}.{language}", {"dev": "validation", "test": "test"}),
        *("{split}/{split}-context-{language}-question-{language}.json", _questions, ()),
    ),
    "xquad": Source(
        *("google/xquad", "xquad.{language}", {"test": "validation"}),
        *("xquad.{language}.json", _questions, ()),
    ),
    "tydiqa": Source(
        *("google-research-datasets/tydiqa", "secondary_task", {"train": "train", "dev": "validation"}),
        *("tydiqa-goldp-v1.1-{split}.json", _questions, ("train",)),
    ),
    "panx": Source(
        *("unimelb-nlp/wikiann", "{language}", {"train": "train", "dev": "validation", "test": "test"}),
        *("{split}-{language}.tsv", _entities, _TRAIN_AND_DEV),
    ),
}


def folder_of(task: str, data: str, languages: Sequence[str], split: str, work: Path) -> Path:
    """The folder with the files of these languages and of English training, downloaded where they are not there yet.

    Args:
        data: `hub:NAME`, or `hub:` for the benchmark's usual name.

    Raises:
        InputError: the task has no place on the Hub, `datasets` is not installed, or the Hub has no such data.
    """
    if task not in SOURCES:
        raise InputError(f"{task} cannot be read from the Hub; these can: {', '.join(SOURCES)}. Give --data a folder.")
    source = SOURCES[task]
    name = data.removeprefix(PREFIX) or source.usual
    folder = work / "hub" / task / name.strip("/").replace("/", "--")
    for each, language in [*((split, language) for language in languages), *((each, "en") for each in source.english)]:
        path = folder / source.file.format(split=each, language=language)
        if not path.is_file():
            _write(path, _download(source, name, each, language))
    return folder


def _download(source: Source, name: str, split: str, language: str) -> str:
    try:
        import datasets
    except ImportError:
        raise InputError(
            "--data hub: needs the package datasets: pip install datasets. Or give --data a folder."
        ) from None
    config = source.config.format(language=language)
    try:
        rows = datasets.load_dataset(name, config, split=source.splits[split])
    except (ValueError, OSError, KeyError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"the Hub gives no {split} data of {name}, configuration {config}: {lines[0]}") from None
    return source.text(rows, lambda column: _class_names(rows, column))


def _class_names(rows: Any, column: str) -> Sequence[str]:
    feature = rows.features[column]
    return getattr(feature, "feature", feature).names  # of a list of labels, the label


def _cell(text: str) -> str:
    """Tabs and line ends would part cells and lines."""
    return " ".join(text.replace("\t", " ").split("\n"))


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    beside.write_text(text, encoding="utf-8", newline="\n")
    beside.replace(path)
