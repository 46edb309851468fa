"""What a cell cost: updates, pieces, seconds, memory, and the parameters of its model."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

from weam_fairseq.common.documents import parse_json, read_json, value_at
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import write_json
from weam_fairseq.common.training_log import Effort, read_effort
from weam_fairseq.study.plan import Cell, Plan

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
    done = None if step is None else plan.folder(step).done()
    return None if done is None else done.get("peak_memory_bytes")


def parameters(export: Path) -> int | None:
    """Numbers in the exported weights, tied matrices once; counted once and kept in parameters.json."""
    kept = export / "parameters.json"
    if kept.is_file():
        return int(value_at(read_json(kept, dict), "parameters", int, kept))
    if not (export / "hf" / "model.safetensors").is_file():
        return None
    found = _count(export / "hf" / "model.safetensors")
    write_json(kept, {"parameters": found}, indent=None)
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
