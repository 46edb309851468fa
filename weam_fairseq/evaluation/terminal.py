"""Terminal output of weam-evaluate: the table of scores, notes about what was cut or left out, and progress."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from tqdm import tqdm

from weam_fairseq.evaluation.scores import Score, differing_parts

if TYPE_CHECKING:
    from weam_fairseq.evaluation.bootstrap import Interval

# Notes about counts in a score's detail.
_REMARKS = {
    "sentences_cut": "sentences exceeded the model's length limit and were cut",
    "sentences_split": "sentences exceeded the model's length limit and were read in windows",
    "repeated_lines": "lines contain a sentence that other lines also contain, so it has no unique id",
    "pairs_repeated": "mined pairs were left out because one of their sentences is on several lines",
    "dev_pairs_wrong": "pairs were mined from dev and none is correct, so no threshold could be selected and all "
    "pairs mined from test were taken",
    "links_outside": "gold links point outside their sentences, so no model can find them",
    "links_without_pieces": "links were left out because one of their words has no pieces",
    "links_without_neighbour": "links have no other word in their sentence to compare with",
    "sentences_without_masks": "sentences had no piece to mask",
    "pairs_cut": "pairs were longer than --max-length and were cut",
    "choices_cut": "choices with their prompt were longer than --max-length and were cut",
    "questions_cut": "questions were longer than 64 pieces (or half of --max-length) and were cut",
    "empty_answers": "questions have an empty predicted answer",
    "no_valid_answer": "questions have no valid pair among the 20 best starts and ends; their answer is `empty`, as in "
    "the official scripts",
    "sentences_without_words": "sentences lack words (_), contain at most one, and were left out, as in XTREME",
    "words_without_pieces": "words have no pieces and were replaced by the unknown piece",
    "words_too_long": "words alone exceed --max-length and were replaced by the unknown piece",
    "ids_repeated": "questions share their id with others; # and a number were appended",
    "same_answer": "examples all have the same predicted answer: the model has not learned this task",
    "seen_in_training": "examples are in the training data with the same text",
}

_TRAINING_REMARKS = {
    "pairs_cut": "training pairs were longer than --max-length and were cut",
    "pairs_without_label": "training pairs have no label of the task and were left out",
    "answers_not_in_context": "training answers are not at their stated position in the context and were left out",
    "questions_cut": "training questions were longer than 64 pieces (or half of --max-length) and were cut",
    "sentences_without_words": "training sentences lack words (_), contain at most one, and were left out",
    "words_without_pieces": "training words have no pieces and were replaced by the unknown piece",
    "words_too_long": "training words alone exceed --max-length and were replaced by the unknown piece",
}


def format_table(scores: Sequence[Score]) -> str:
    """The scores as aligned columns."""
    rows = [("task", "model", "language", "seed", "metric", "value", "n", "detail")]
    rows += [
        (
            score.task,
            score.model,
            score.language,
            str(score.seed),
            score.metric,
            f"{score.value:.1f}",
            f"{score.n:,}",
            _remark(score.detail),
        )
        for score in scores
    ]
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def _remark(detail: Mapping[str, Any]) -> str:
    parts = []
    if "directions" in detail:
        parts += [f"{name} {value:.1f}" for name, value in detail["directions"].items()]
    for name, text in (
        ("precision", "precision {:.1f}"),
        ("recall", "recall {:.1f}"),
        ("unigram_bound", "unigram bound {:.1f}"),
        ("layer", "layer {}"),
        ("shared_pieces", "shared pieces alone {:.1f}"),
    ):
        if name in detail:
            parts.append(text.format(detail[name]))
    if "fine_tuned" in detail:
        dev = (
            f" of {len(detail['dev'])}, dev {detail['dev'][detail['epoch'] - 1]:.1f}" if detail["dev"] else ", the last"
        )
        parts.append(f"epoch {detail['epoch']}{dev}")
    if "oracle" in detail:
        parts.append(f"target-dev oracle: epoch {detail['oracle']['epoch']}")
    return ", ".join(parts)


def print_replaced(path: Path, old: Sequence[Score], new: Sequence[Score]) -> None:
    """Prints which lines of the scores file were replaced by lines with another method, once per difference."""
    by_key = {score.key: score for score in new}
    replaced: dict[tuple[str, int, str], list[str]] = {}
    for score in old:
        parts = differing_parts(score, by_key[score.key])
        difference = "; ".join(f"{name} was {was or 'none'}, is {now or 'none'}" for name, (was, now) in parts.items())
        if difference:
            replaced.setdefault((score.model, score.seed, difference), []).append(f"{score.language} {score.metric}")
    for (model, seed, difference), figures in replaced.items():
        print(
            f"weam-evaluate: note: {path}: {len(figures)} older lines of {new[0].task} ({figures[0]}"
            f"{', …' if len(figures) > 1 else ''}) of {model}, seed {seed}, were replaced: {difference}. Give another "
            "--name or --out to keep both.",
            file=sys.stderr,
        )


def print_warnings(scores: Sequence[Score]) -> None:
    printed = set()
    for score in scores:
        counts = {**score.detail, **score.detail.get("notes", {})}
        trained = score.detail.get("training_notes", {})
        notes = [
            *((score.language, counts.get(name), meaning) for name, meaning in _REMARKS.items()),
            *((score.task, trained.get(name), meaning) for name, meaning in _TRAINING_REMARKS.items()),
        ]
        for where, count, meaning in notes:
            note = f"{where}: {count:,} {meaning}." if count else ""
            if note and (score.task, note) not in printed:
                printed.add((score.task, note))
                print(f"weam-evaluate: note: {note}", file=sys.stderr)
        if score.detail.get("pooler_new") and (score.task, "pooler") not in printed:
            printed.add((score.task, "pooler"))
            print(
                f"weam-evaluate: note: {score.task}: the folder has no pooler; the seed initialized its weights.",
                file=sys.stderr,
            )


SECONDS = 60.0
T = TypeVar("T")


class TableLines:
    """The used part of tqdm's interface, printed as lines.

    Nothing is printed in the first minute, so short computations print nothing.
    """

    def __init__(
        self, label: str, unit: str, total: int, initial: int, file: TextIO, clock: Callable[[], float]
    ) -> None:
        self._label, self._unit, self._total, self._done = label, unit, total, initial
        self._file, self._clock = file, clock
        self._first = initial
        self._start = self._last = clock()

    def update(self, count: int = 1) -> None:
        self._done += count
        now = self._clock()
        if now - self._last < SECONDS or self._done >= self._total:
            return
        self._last = now
        left = (now - self._start) / (self._done - self._first) * (self._total - self._done)
        print(
            f"{self._label}: {self._done:,} of {self._total:,} {self._unit} after {_minutes(now - self._start)}, about "
            f"{_minutes(left)} left",
            file=self._file,
            flush=True,
        )

    def close(self) -> None:
        """Part of tqdm's interface; does nothing."""


def progress_bar(
    label: str,
    unit: str,
    total: int,
    initial: int = 0,
    file: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Any:
    """An object with `update(count)` and `close()`. `unit` is a plural; `file` defaults to stderr."""
    file = sys.stderr if file is None else file
    if file.isatty():
        return tqdm(total=total, initial=initial, desc=label, unit=f" {unit}", leave=False, file=file, smoothing=0.1)
    return TableLines(label, unit, total, initial, file, clock)


def progress(items: Iterable[T], label: str, unit: str, total: int) -> Iterator[T]:
    """Yields the items and shows how many of `total` are done."""
    bar = progress_bar(label, unit, total)
    try:
        for item in items:
            yield item
            bar.update()
    finally:
        bar.close()


def _minutes(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def bounds(interval: Interval, decimals: int = 1) -> str:
    """`[−0.4, +1.2]`; more decimals if rounding would hide that the interval excludes 0."""
    nearest = interval.low if interval.low > 0 else interval.high
    while interval.excludes_zero and decimals < 6 and round(nearest, decimals) == 0:
        decimals += 1
    return f"[{signed(interval.low, decimals)}, {signed(interval.high, decimals)}]"


def signed(value: float, decimals: int = 1) -> str:
    """`+1.2`, `−0.4`, and `0.0` without a sign."""
    text = f"{value:+.{decimals}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")
