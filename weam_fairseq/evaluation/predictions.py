"""Predictions in the benchmark's own format, one file for each task, split and language: what weam-score reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from weam_fairseq.common.files import write_text
from weam_fairseq.evaluation.measurement import Setting


def write_lines(setting: Setting, task: str, language: str, lines: Iterable[str], suffix: str = "txt") -> None:
    """Writes `{task}.{split}.{language}.{suffix}`, if predictions were asked for."""
    _write(setting, f"{setting.stem(task, language)}.{suffix}", "".join(f"{line}\n" for line in lines))


def write_rankings(setting: Setting, task: str, language: str, rankings: Mapping[str, Sequence[str]]) -> None:
    """Writes `{task}.{split}.{language}.json`, `{query: [candidate, …]}`, if predictions were asked for."""
    _write(setting, f"{setting.stem(task, language)}.json", json.dumps(rankings, ensure_ascii=False) + "\n")


def write_items(setting: Setting, task: str, language: str, items: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Writes each item's share in the score, `{task}.{split}.{language}.items.jsonl`, if predictions were asked for.

    Differences between models are tested over them (weam-report). Returns where they are, for a score's detail.
    """
    if setting.predictions is None:
        return {}
    name = f"{setting.stem(task, language)}.items.jsonl"
    _write(setting, name, "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items))
    return {"items": str(setting.predictions / name)}


def _write(setting: Setting, name: str, text: str) -> None:
    folder = setting.predictions
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / name, text)
