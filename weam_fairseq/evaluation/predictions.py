"""Predictions in the benchmark's own format, one file a task, split, language and seed: what weam-score reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from weam_fairseq.common.files import write_text
from weam_fairseq.evaluation.measurement import Setting


def write_lines(
    setting: Setting, task: str, language: str, lines: Iterable[str], suffix: str = "txt", pair: str | None = None
) -> None:
    """Writes `{task}.{split}.{language}.seed{N}.{suffix}`, if predictions were asked for."""
    _write(setting, f"{setting.stem(task, language, pair)}.{suffix}", "".join(f"{line}\n" for line in lines))


def write_rankings(setting: Setting, task: str, language: str, rankings: Mapping[str, Sequence[str]]) -> None:
    """Writes `{task}.{split}.{language}.seed{N}.json`, `{query: [candidate, …]}`, if predictions were asked for."""
    _write(setting, f"{setting.stem(task, language)}.json", json.dumps(rankings, ensure_ascii=False) + "\n")


def write_items(
    setting: Setting, task: str, language: str, items: Iterable[Mapping[str, Any]], pair: str | None = None
) -> dict[str, str]:
    """Writes each item's share in the score, `….seed{N}.items.jsonl`, if predictions were asked for.

    Differences between models are tested over them (weam-report). Items of several languages that name the same
    `cluster` are drawn together; without one, those with the same id. Returns where they are, for a score's detail.
    """
    if setting.predictions is None:
        return {}
    name = f"{setting.stem(task, language, pair)}.items.jsonl"
    _write(setting, name, "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items))
    return {"items": str(setting.predictions / name)}


def _write(setting: Setting, name: str, text: str) -> None:
    folder = setting.predictions
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / name, text)
