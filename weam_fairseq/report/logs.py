"""Reads the log that fairseq writes with `--log-format json`.

A line of interest is `time | INFO | train_inner | {…}` or `time | INFO | valid | {…}`; whatever else stands in the file
is ordinary log text. Values come as strings or numbers. An interrupted training that went on wrote some updates
twice, and the last line for an update is the one whose weights were kept.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from weam_fairseq.common.documents import parse_json
from weam_fairseq.common.errors import InputError

_LINE = re.compile(r"\|\s*(train_inner|valid)\s*\|\s*(\{.*\})\s*$")

# Figures by name, of one update.
Figures = dict[str, float]


@dataclass(frozen=True)
class Curve:
    """`y[k]` was logged at update `x[k]`; x grows."""

    x: list[int]
    y: list[float]


@dataclass
class TrainingLog:
    """Figures by update, of training (means since the line before) and of validation, under fairseq's names
    without the `valid_`: `loss`, `en-de:mp_loss` and so on."""

    train: dict[int, Figures] = field(default_factory=dict)
    valid: dict[int, Figures] = field(default_factory=dict)

    def curve(self, part: str, name: str) -> Curve:
        """The curve of one figure; `part` is `train` or `valid`."""
        figures = self.train if part == "train" else self.valid
        points = [(update, figures[update][name]) for update in sorted(figures) if name in figures[update]]
        return Curve([update for update, _ in points], [value for _, value in points])

    def pairs(self) -> list[str]:
        """The pairs that losses were logged for, in order of first mention."""
        names = (name for part in (self.valid, self.train) for figures in part.values() for name in figures)
        return list(dict.fromkeys(name.split(":")[0] for name in names if ":" in name))


def read_log(path: Path) -> TrainingLog:
    """Reads one model's `train.log`; bytes that are no UTF-8 are replaced, for a log is no data."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return parse_log(file)


def parse_log(lines: Iterable[str]) -> TrainingLog:
    log = TrainingLog()
    for line in lines:
        match = _LINE.search(line)
        if match is None:
            continue
        try:
            record = parse_json(match[2], "log", dict, nan=True)
        except InputError:
            continue  # a line cut off by the interruption
        if match[1] == "valid":
            _keep(log.valid, {name.removeprefix("valid_"): value for name, value in record.items()})
        else:
            _keep(log.train, record)
    return log


def _keep(part: dict[int, Figures], record: dict[str, object]) -> None:
    figures = {name: number for name, value in record.items() if (number := _number(value)) is not None}
    if math.isfinite(figures.get("num_updates", math.nan)):
        part[int(figures["num_updates"])] = figures


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return float(value)
    except ValueError:
        return None
