"""Lines of scores and files of items, as weam-evaluate writes them; the figures are made up."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def signature(task: str, language: str, metric: str, checkpoint: str, seed: int, **parts: str) -> str:
    """`parts` replace or add some."""
    named = {
        "lang": language,
        "split": "test",
        "scorer": "accuracy",
        "metric": metric,
        "ckpt": checkpoint,
        "data": "0f3a5c7e9b1d",
        "seed": str(seed),
        "v": "0.1.0",
        **parts,
    }
    return "|".join([task, *(f"{name}:{value}" for name, value in named.items())])


def score(
    model: str,
    language: str,
    value: float,
    *,
    seed: int = 1,
    task: str = "xnli",
    metric: str = "accuracy",
    checkpoint: str = "",
    split: str = "test",
    n: int = 4,
    detail: dict[str, Any] | None = None,
    **parts: str,
) -> dict[str, Any]:
    checkpoint = checkpoint or f"{model}-{seed}"
    return {
        "task": task,
        "model": model,
        "checkpoint": checkpoint,
        "language": language,
        "split": split,
        "metric": metric,
        "value": value,
        "n": n,
        "detail": detail or {},
        "seed": seed,
        "signature": signature(task, language, metric, checkpoint, seed, split=split, **parts),
    }


def with_items(folder: Path, line: dict[str, Any], items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The line with a file of items; those without an id are numbered."""
    name = f"{line['task']}.{line['model']}.{line['language']}.{line['metric']}.seed{line['seed']}.items.jsonl"
    numbered = [{"id": number, **item} for number, item in enumerate(items)]
    (folder / name).write_text("".join(json.dumps(item) + "\n" for item in numbered), encoding="utf-8")
    return {**line, "n": len(items), "detail": {**line["detail"], "items": name}}


def right_and_wrong(folder: Path, line: dict[str, Any], marks: str) -> dict[str, Any]:
    """The line with an item for each mark, `1` for a right one, and the accuracy of these."""
    items = [{"accuracy": 100.0 * int(mark)} for mark in marks]
    return with_items(folder, {**line, "value": 100.0 * marks.count("1") / len(marks)}, items)


def write_lines(path: Path, lines: Sequence[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path
