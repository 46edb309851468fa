"""weam-score: predictions in a benchmark's own format to scores. No model is loaded."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from weam_fairseq.errors import InputError
from weam_fairseq.evaluation.word_alignment import score_files

EXAMPLE = """example:
  weam-score word-alignment --gold de-en.gold --predictions de-en.links --language de

Prints one JSON object on one line, such as {"aer": 25.0, "precision": 80.0, "recall": 70.6}.
"""


@dataclass(frozen=True)
class ScoringTask:
    """A row of the table.

    Attributes:
        gold: what a gold file holds.
        predictions: what a file of predictions holds.
        metrics: the keys of the JSON object, each 0–100.
        score: (gold, predictions, language) to a number for each metric.
        citation: where the metrics come from.
    """

    name: str
    gold: str
    predictions: str
    metrics: tuple[str, ...]
    score: Callable[[Path, Path, str | None], dict[str, float]]
    citation: str


TASKS = (
    ScoringTask(
        name="word-alignment",
        gold="a line a pair: sure links i-j and possible ones ipj, words counted from 0",
        predictions="a line a pair: links i-j",
        metrics=("aer", "precision", "recall"),
        # Links are word numbers, whatever the language.
        score=lambda gold, predictions, language: score_files(gold, predictions)._asdict(),
        citation="Och and Ney 2003",
    ),
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, like every other mistake; argparse would print the whole usage first."""
        raise InputError(f"{message}. See weam-score --help.")


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the scores. Returns the exit code: 0, or 2 after one sentence on stderr."""
    try:
        options = _parser().parse_args(argv)
        task = find_task(options.task)
        scores = task.score(options.gold, options.predictions, options.language)
        assert tuple(scores) == task.metrics
    except (InputError, OSError) as error:
        print(f"weam-score: error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(scores))
    return 0


def find_task(name: str) -> ScoringTask:
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


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="weam-score",
        description="Scores predictions in a benchmark's own format, without a model. Every number is 0–100.",
        epilog="tasks:\n" + "\n".join(_describe(task) for task in TASKS) + "\n\n" + EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("task", metavar="TASK", help=", ".join(task.name for task in TASKS))
    parser.add_argument("--gold", metavar="FILE", type=Path, required=True, help="the benchmark's answers")
    parser.add_argument("--predictions", metavar="FILE", type=Path, required=True, help="what is scored")
    parser.add_argument("--language", metavar="XX", help="language of the predictions, where the metric depends on it")
    return parser


def _describe(task: ScoringTask) -> str:
    return (
        f"  {task.name:<16}{', '.join(task.metrics)}; {task.citation}\n"
        f"  {'':<16}gold: {task.gold}\n"
        f"  {'':<16}predictions: {task.predictions}"
    )


if __name__ == "__main__":
    sys.exit(main())
