"""Reads a training's log: its losses by update, and what the training cost.

fairseq writes the log with `--log-format json`. The lines read here are `time | INFO | train_inner | {…}`, the same
with `train` and `valid`, and those on the GPU; the rest is ordinary text. Values come as strings or numbers. A
training that was interrupted and resumed logs some updates twice; the last line of an update is the one whose weights
were kept. What is counted is therefore the training as if nobody had interrupted it.

Each start of a command begins with a line `$ command`. Seconds come from the times of the lines, because fairseq's own
clock (`wall`) restarts at 0 when a training resumes in the middle of an epoch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from weam_fairseq.common.documents import parse_json
from weam_fairseq.common.errors import InputError

_LINE = re.compile(r"\|\s*(train_inner|train|valid)\s*\|\s*(\{.*\})\s*$")
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_GPU = re.compile(r"total memory = ([\d.]+) GB")
_GIGABYTE = 1 << 30

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
        """The pairs whose losses were logged, in order of first mention."""
        names = (name for part in (self.valid, self.train) for figures in part.values() for name in figures)
        return list(dict.fromkeys(name.split(":")[0] for name in names if ":" in name))


def read_log(path: Path) -> TrainingLog:
    """Reads one model's `train.log`, replacing invalid UTF-8 bytes."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return parse_log(file)


def parse_log(lines: Iterable[str]) -> TrainingLog:
    log = TrainingLog()
    for line in lines:
        kind, figures = _record(line)
        if kind in ("train_inner", "valid") and "num_updates" in figures:
            part = log.valid if kind == "valid" else log.train
            part[int(figures["num_updates"])] = figures
    return log


def _record(line: str) -> tuple[str, Figures]:
    """A line's kind and its numbers; ("", {}) for any other line, and for one that an interruption cut off."""
    match = _LINE.search(line)
    if match is None:
        return "", {}
    try:
        record = parse_json(match[2], "log", dict, nan=True)
    except InputError:
        return "", {}
    prefix = f"{match[1]}_"
    found = {
        name.removeprefix(prefix): number for name, value in record.items() if (number := _number(value)) is not None
    }
    if not math.isfinite(found.get("num_updates", math.nan)):
        found.pop("num_updates", None)
    return match[1], found


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return float(value)
    except ValueError:
        return None


class Effort(NamedTuple):
    """What a training cost.

    Attributes:
        pieces: positions that are no padding.
        seconds: from each start's first line, with validation and checkpoints.
        gpu_bytes: at the peak; None without a GPU.
    """

    updates: int
    pieces: int
    seconds: float
    gpu_bytes: int | None


class _Point(NamedTuple):
    """`seconds`: since the first line of its start."""

    start: int
    seconds: float
    pieces_per_update: float


def read_effort(log: Path) -> Effort:
    with log.open(encoding="utf-8", errors="replace") as file:
        return effort(file)


def effort(lines: Iterable[str]) -> Effort:
    points: dict[int, _Point] = {}
    last: tuple[int, _Point] | None = None
    start, total, free = 0, None, None
    begin: datetime | None = None
    now = datetime.min
    for line in lines:
        if stamp := _TIME.match(line):
            now = datetime.fromisoformat(stamp[0])
            begin = now if begin is None else begin
        if line.startswith("$ "):
            start, begin = start + 1, None
        elif found := _GPU.search(line):
            total = float(found[1])
        else:
            kind, figures = _record(line)
            if kind not in ("train_inner", "train") or not {"num_updates", "wpb"} <= set(figures):
                continue
            since = 0.0 if begin is None else (now - begin).total_seconds()
            update, point = int(figures["num_updates"]), _Point(start, since, figures["wpb"])
            if kind == "train_inner":
                points[update] = point
                if "gb_free" in figures:
                    free = figures["gb_free"] if free is None else min(free, figures["gb_free"])
            else:  # of an epoch, or of the end: counts for what no line before it holds
                last = (update, point)
    if last is not None and last[0] > max(points, default=0):
        points[last[0]] = last[1]
    seconds = pieces = 0.0
    before, previous = 0, _Point(0, 0.0, 0.0)
    for update, point in sorted(points.items()):
        pieces += (update - before) * point.pieces_per_update
        seconds += point.seconds - (previous.seconds if point.start == previous.start else 0.0)
        before, previous = update, point
    memory = None if total is None or free is None else round((total - free) * _GIGABYTE)
    return Effort(before, round(pieces), round(max(seconds, 0.0), 1), memory)
