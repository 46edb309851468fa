"""Measures what a training took, from its log, and what a cell cost.

A log begins each start with a line `$ command`. Updates that a kill lost were made again. The last line of an update is
the one whose weights were kept, so the effort is that of a training without interruptions. Times are those of the log's
lines, because fairseq's own clock (`wall`) is 0 after a start within an epoch.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from weam_fairseq.common.documents import parse_json, read_json, value_at
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import write_text
from weam_fairseq.study.plan import Cell, Plan
from weam_fairseq.study.step import StepFolder

_LINE = re.compile(r"\|\s*(train_inner|train)\s*\|\s*(\{.*\})\s*$")
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_GPU = re.compile(r"total memory = ([\d.]+) GB")
_GIGABYTE = 1 << 30


class Effort(NamedTuple):
    """`pieces`: without padding; `seconds`: from a log's first line, with validation and checkpoints; `gpu_bytes`: at
    the peak, None without a GPU."""

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
            figures = _figures(found[2], "train_" if found[1] == "train" else "")
            if figures is None:
                continue
            since = 0.0 if begin is None else (now - begin).total_seconds()
            update, point = int(figures["num_updates"]), _Point(start, since, figures["wpb"])
            if found[1] == "train_inner":
                points[update] = point
                if "gb_free" in figures:
                    free = figures["gb_free"] if free is None else min(free, figures["gb_free"])
            else:  # of an epoch, or of the end: counts for updates that no line before it has
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


NOTHING = Effort(0, 0, 0.0, None)


def cost_of(plan: Plan, cell: Cell) -> dict[str, Any]:
    """`cost` of a line of cells.jsonl. The base's training is counted apart, because many cells share it.

    Time is wall-clock time of the training; memory is the GPU's, or that of the largest process without a GPU.
    """
    own = _effort(plan, cell.trained)
    base = _effort(plan, cell.base_trained)
    measured = cell.trained or cell.base_trained
    gpu = (own if cell.trained else base).gpu_bytes
    return {
        "parameters": parameters(plan.paths.study / cell.exported),
        "updates": own.updates,
        "pieces": own.pieces,
        "seconds": own.seconds,
        "peak_memory_bytes": gpu if gpu is not None else _memory(plan, measured),
        "base_seconds": base.seconds,
        "base_updates": base.updates,
        "base_pieces": base.pieces,
    }


def _effort(plan: Plan, step: str | None) -> Effort:
    if step is None:
        return NOTHING
    log = plan.paths.study / step / plan.steps[step].log
    return read_effort(log) if log.is_file() else NOTHING


def _memory(plan: Plan, step: str | None) -> int | None:
    done = None if step is None else StepFolder(plan.paths.study / step).done()
    return None if done is None else done.get("peak_memory_bytes")


def parameters(export: Path) -> int | None:
    """Numbers in the exported weights, tied matrices once; counted once and kept in parameters.json."""
    kept = export / "parameters.json"
    if kept.is_file():
        return int(value_at(read_json(kept, dict), "parameters", int, kept))
    if not (export / "hf" / "model.safetensors").is_file():
        return None
    found = _count(export / "hf" / "model.safetensors")
    write_text(kept, json.dumps({"parameters": found}) + "\n")
    return found


def _count(file: Path) -> int:
    """Matrices that hold the same numbers are tied, and were written twice."""
    total = 0
    matrices: set[tuple[tuple[int, ...], str]] = set()
    with file.open("rb") as weights:
        # safetensors: eight bytes that say how long the header is, the header in JSON, then the numbers.
        begin = 8 + int.from_bytes(weights.read(8), "little")
        if begin > file.stat().st_size:
            raise InputError(f"{file} must be a complete safetensors file, but its header is cut off. Export it again.")
        header = parse_json(weights.read(begin - 8), file, dict)
        header.pop("__metadata__", None)
        for tensor in header.values():
            shape, (first, last) = tuple(tensor["shape"]), tensor["data_offsets"]
            if not tensor["dtype"].startswith(("F", "BF")):
                continue  # positions are no parameters
            if len(shape) == 2:
                weights.seek(begin + first)
                key = (shape, hashlib.sha256(weights.read(last - first)).hexdigest())
                if key in matrices:
                    continue
                matrices.add(key)
            total += math.prod(shape)
    return total
