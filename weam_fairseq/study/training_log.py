"""What a training took, from its own log, whatever interrupted it: updates, pieces, seconds, memory of the GPU.

A log begins each start with a line `$ command` (runner.py). Updates that a kill had lost were made again, and the last
line for an update is the one whose weights were kept, so what is counted is a training that nobody interrupted. Time is
that of the lines, since fairseq's own clock (`wall`) stands at 0 after a start from the middle of an epoch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from weam_fairseq.common.documents import parse_json

_LINE = re.compile(r"\|\s*(train_inner|train)\s*\|\s*(\{.*\})\s*$")
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_GPU = re.compile(r"total memory = ([\d.]+) GB")
_GIGABYTE = 1 << 30


class Effort(NamedTuple):
    """`pieces`: positions that are no padding; `seconds`: from the first line of a log on, with validation and
    checkpoints; `gpu_bytes`: at the peak, None without a GPU."""

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
        elif found := _LINE.search(line):
            told = _figures(found[2], "train_" if found[1] == "train" else "")
            if told is None:
                continue
            since = 0.0 if begin is None else (now - begin).total_seconds()
            update, point = int(told["num_updates"]), _Point(start, since, told["wpb"])
            if found[1] == "train_inner":
                points[update] = point
                if "gb_free" in told:
                    free = told["gb_free"] if free is None else min(free, told["gb_free"])
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


def _figures(text: str, prefix: str) -> dict[str, float] | None:
    try:
        record = parse_json(text, "log", dict, nan=True)
        found = {key: float(record[prefix + key]) for key in ("num_updates", "wpb")}
        if prefix + "gb_free" in record:
            found["gb_free"] = float(record[prefix + "gb_free"])
    except (ValueError, KeyError, TypeError):  # cut off by an interruption
        return None
    return found
