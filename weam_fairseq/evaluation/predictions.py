"""Predictions in the benchmark's own format, one file for each task, split and language: what weam-score reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from weam_fairseq.evaluation.measurement import Setting


def write_lines(setting: Setting, task: str, language: str, lines: Iterable[str], suffix: str = "txt") -> None:
    """Writes `{task}.{split}.{language}.{suffix}`, if predictions were asked for."""
    _write(setting, f"{task}.{setting.split}.{language}.{suffix}", "".join(f"{line}\n" for line in lines))


def write_rankings(setting: Setting, task: str, language: str, rankings: Mapping[str, Sequence[str]]) -> None:
    """Writes `{task}.{split}.{language}.json`, `{query: [candidate, …]}`, if predictions were asked for."""
    _write(setting, f"{task}.{setting.split}.{language}.json", json.dumps(rankings, ensure_ascii=False) + "\n")


def _write(setting: Setting, name: str, text: str) -> None:
    folder: Path | None = getattr(setting, "predictions", None)
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f"{name}.part"
    beside.write_text(text, encoding="utf-8", newline="\n")
    beside.replace(folder / name)
