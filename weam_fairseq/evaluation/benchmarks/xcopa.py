"""XCOPA, and COPA (SuperGLUE's JSON lines) and Social IQa to train on.

The prompt is XTREME-R's: COPA's premise followed by "What was the cause?" or "What was the effect?", in English for
every language; Social IQa's context followed by its question.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from weam_fairseq.common.documents import parse_json
from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.benchmark import (
    Alternatives,
    Benchmark,
    FineTuned,
    HubCopy,
    Row,
    XtremeR,
    language_codes,
    trained_as_xtreme_r,
    with_split,
)
from weam_fairseq.evaluation.fine_tuning.classification import Choice, MultipleChoice, score_labels
from weam_fairseq.evaluation.fine_tuning.recipe import PAIR_RECIPE
from weam_fairseq.evaluation.metrics.labels import Labels
from weam_fairseq.evaluation.prediction_files import LABEL_LINES, label_scoring
from weam_fairseq.evaluation.readers import joined_lines, labels_of, read_lines

CHOICE = Labels(
    ("0", "1"),
    {"choice1": "0", "choice2": "1"},
    "0 (choice1) or 1 (choice2), counted from 0; subtract 1 if the file counts from 1",
)


def read_choices(*paths: Path, language: str = "en") -> list[Choice]:
    """Reads COPA, XCOPA and Social IQa lines; Social IQa's labels may be in a second file, `train-labels.lst`.

    Raises:
        InputError: a line is malformed, or a file has no gold labels (none, or the same label on every line).
    """
    choices = []
    for path in paths:
        rows = [parse_json(line, f"{path}:{number}", dict) for number, line in enumerate(read_lines(path), start=1)]
        if not rows:
            raise InputError(f"{path} contains no question.")
        labels = _labels_beside(path, len(rows))
        here = [
            _choice(row, labels[index] if labels else None, f"{path}:{index + 1}") for index, row in enumerate(rows)
        ]
        if len(here) > 9 and len({choice.label for choice in here}) == 1:
            raise InputError(
                f"{path}: all {len(here)} labels are {here[0].label}: the file has no gold labels (XTREME's "
                "download script writes 0 on every line of test files). Use the published file."
            )
        choices += here
    return choices


def _labels_beside(path: Path, count: int) -> list[str] | None:
    label_file = labels_of(path)
    if not label_file.is_file():
        return None
    labels = [line.strip() for line in read_lines(label_file)]
    if len(labels) != count:
        raise InputError(f"{label_file} has {len(labels):,} labels, but {path} has {count:,} lines.")
    return labels


def _choice(row: Mapping[str, Any], label_beside: str | None, where: str) -> Choice:
    choices: tuple[str, ...]
    try:
        if "premise" in row:
            prompt, choices = f"{row['premise']} What was the {row['question']}?", (row["choice1"], row["choice2"])
            given = str(row.get("label"))
            label = None if given in ("None", "", "-1") else int(CHOICE.known(given, where))
        else:
            prompt = f"{row['context']} {row['question']}"
            choices = (row["answerA"], row["answerB"], row["answerC"])
            label = (
                ["A", "B", "C"].index(row["correct"]) if "correct" in row else _from_1(row.get("label", label_beside))
            )
        if not all(isinstance(choice, str) for choice in choices):
            raise TypeError("the choices must be texts")
    except InputError:
        raise
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{where}: the question is malformed ({type(error).__name__}: {error}).") from None
    if label is None or not 0 <= label < len(choices):
        raise InputError(f"{where}: the question has no gold label. Use the published file with labels.")
    return Choice(prompt, choices, label)


def _from_1(value: Any) -> int | None:
    """A label that counts the choices from 1."""
    return None if value in (None, "") else int(value) - 1


def _from_hub(rows: Iterable[Row], names: Callable[[str], Sequence[str]]) -> str:
    keys = ("premise", "choice1", "choice2", "question", "label", "idx")
    return joined_lines(json.dumps({key: row[key] for key in keys}, ensure_ascii=False) for row in rows)


_FILES = (
    "{split}-{language}.jsonl",
    "data/{language}/{split}.{language}.jsonl",
    "{language}/{split}.{language}.jsonl",
    "{split}.{language}.jsonl",
)


def _siqa(published: str, xtreme: str) -> Alternatives:
    """Social IQa as it is published now, and as XTREME downloads it (version 1.4, with the answers in the lines)."""
    names = (f"socialiqa-train-dev/{published}", f"socialIQa_v1.4_{xtreme}.jsonl")
    return tuple(folder + name for name in names for folder in ("siqa/", ""))


_SOCIAL_IQA = trained_as_xtreme_r(
    *("xcopa", "social-iqa", PAIR_RECIPE),
    files={"english": _siqa("train.jsonl", "trn")},
    dev=_siqa("dev.jsonl", "dev"),
    target_dev=(),
)

BENCHMARK = Benchmark(
    name="xcopa",
    summary="choose the cause or the effect of a premise from two alternatives",
    languages=language_codes("et ht id it qu sw ta th tr vi zh"),
    splits=("test", "val"),
    files=(_FILES,),
    read=read_choices,
    metric="accuracy",
    citation="Ponti et al. 2020",
    published="https://github.com/cambridgeltl/xcopa",
    fine_tuned=FineTuned(
        head=MultipleChoice(),
        score=score_labels,
        training=trained_as_xtreme_r(
            *("xcopa", "copa", PAIR_RECIPE),
            files={"english": ("train-en.jsonl", "train.en.jsonl", "COPA/train.jsonl")},
            dev=("val-en.jsonl", "val.en.jsonl", "COPA/val.jsonl"),
            target_dev=with_split(_FILES, "val"),
            before=_SOCIAL_IQA,
        ),
    ),
    scoring=label_scoring(CHOICE, "Ponti et al. 2020", f"{LABEL_LINES}, or the benchmark's JSON lines"),
    hub=HubCopy(
        usual="cambridgeltl/xcopa",
        splits={"val": "validation", "test": "test"},
        file="{split}-{language}.jsonl",
        text=_from_hub,
    ),
    xtreme_r=XtremeR(2, ("accuracy",)),
)
