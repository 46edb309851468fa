"""`--data hub:NAME`: a benchmark's rows by its name on the Hugging Face Hub, written as files that the readers know.

The rows go into a folder first and are read from there like any other data: one way through the code, a hash over the
very bytes that were scored, and no network the second time. It needs the package `datasets`; NAME may also be a
local folder that `datasets.load_dataset` takes. MLQA and XQuAD are trained on SQuAD, which is fetched too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import write_text

PREFIX = "hub:"

Row = Mapping[str, Any]


class Source(NamedTuple):
    """How a benchmark is kept on the Hub.

    Attributes:
        usual: the name that it usually has there.
        config: the configuration of a language, with {language}, or {context} and {question} (see data_files.fill).
        splits: our split to the Hub's.
        file: our file's name, with {split} and the same fields.
        text: (rows, names of a column's classes) to the file's text.
        english: splits of the English data that training and selection need, where they are kept with the benchmark.
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
    return _lines(f"{_cell(row['premise'])}\t{_cell(row['hypothesis'])}\t{_named(labels, row)}" for row in rows)


def _named(labels: Sequence[str], row: Row) -> str:
    if row["label"] < 0:
        raise InputError("the Hub's rows have the label -1: this split comes without its gold. Give another one.")
    return labels[row["label"]]


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
        *("facebook/mlqa", "mlqa.{context}.{question}", {"dev": "validation", "test": "test"}),
        *("{split}/{split}-context-{context}-question-{question}.json", _questions, ()),
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
_SQUAD = Source(
    *("rajpurkar/squad", "plain_text", {"train": "train", "dev": "validation"}),
    *("squad/{split}-v1.1.json", _questions, _TRAIN_AND_DEV),
)
# Tasks whose English training data is kept elsewhere.
_TRAINED_ON = {"mlqa": _SQUAD, "xquad": _SQUAD}


def check_served(task: str) -> None:
    """Raises InputError: the task has no place on the Hub."""
    if task not in SOURCES:
        raise InputError(f"{task} cannot be read from the Hub; these can: {', '.join(SOURCES)}. Give --data a folder.")


def folder_of(task: str, data: str, languages: Sequence[str], split: str, english: Collection[str], work: Path) -> Path:
    """The folder with the files of these languages and of English training, downloaded where they are not there yet.

    Args:
        data: `hub:NAME`, or `hub:` for the benchmark's usual name.
        english: which of `train` and `dev` training and selection need; the user's own files may stand for either.

    Raises:
        InputError: the task has no place on the Hub, or its training data none; `datasets` is not installed, or the Hub
            has no such data.
    """
    check_served(task)
    source = SOURCES[task]
    training = _TRAINED_ON.get(task, source)
    if english and not training.english:
        raise InputError(
            f"{task} on the Hub comes without the English data that it is trained on: also give --train-file FILE, and "
            "--dev-file FILE, --hold-out N or --select last."
        )
    name = data.removeprefix(PREFIX) or source.usual
    local = Path(name).exists()  # as datasets decides; its files may have changed since the last run
    named = str(Path(name).resolve()) if local else name
    folder = work / "hub" / task / named.strip("/").replace("/", "--")
    for language in languages:
        _fetch(source, name, folder, split, language, again=local)
    for each in training.english:
        if each in english and training is source:
            _fetch(source, name, folder, each, "en", again=local)
        elif each in english:
            _fetch(training, training.usual, folder, each, "en", again=False)
    return folder


def _fetch(source: Source, name: str, folder: Path, split: str, language: str, again: bool) -> None:
    path = folder / _filled(source.file, split, language)
    if again or not path.is_file():
        _write(path, _download(source, name, split, language))


def _download(source: Source, name: str, split: str, language: str) -> str:
    try:
        import datasets
    except ImportError:
        raise InputError(
            "--data hub: needs the package datasets: pip install datasets. Or give --data a folder."
        ) from None
    config = _filled(source.config, split, language)
    try:
        rows = datasets.load_dataset(name, config, split=source.splits[split])
    except (ValueError, OSError, KeyError, RuntimeError) as error:  # RuntimeError: a data set that is a program
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(
            f"the Hub gives no {split} data of {name}, configuration {config}: {lines[0].rstrip('.')}. Give "
            "--data hub:NAME with another name, or a folder."
        ) from None
    return source.text(rows, lambda column: _class_names(rows, column))


def _filled(text: str, split: str, language: str) -> str:
    context, _, question = language.partition("-")
    return text.format(split=split, language=language, context=context, question=question or context)


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
    write_text(path, text)
