"""Writes the files of a study that weam-report reads: study.json, cells.jsonl, scores.jsonl."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from weam_fairseq.common.files import write_json, write_text
from weam_fairseq.evaluation.scores import Score, read_scores
from weam_fairseq.launch.job import environment
from weam_fairseq.study.cost import cost_of
from weam_fairseq.study.plan import Cell, Plan

# Entries of a score's detail that name files, relative to the scores.
_FILES = ("predictions", "items")


def write_study(plan: Plan) -> None:
    """Writes study.json, a copy of the config beside those of earlier runs, and environment.json.

    The copies show which hypotheses the study had, and when.
    """
    config, folder = plan.config, plan.paths.study
    digest = hashlib.sha256(config.text.encode()).hexdigest()
    (folder / "configs").mkdir(parents=True, exist_ok=True)
    copy = folder / "configs" / f"{config.path.stem}.{digest[:12]}.yaml"
    if not copy.is_file():
        write_text(copy, config.text)
    record = {
        "title": config.title,
        "question": config.question,
        "hypotheses": list(config.hypotheses),
        "decision_rule": config.decision_rule,
        "baseline": config.baseline,
        "config": config.plain,
        "config_sha256": digest,
        "planned": [cell.name for cell in plan.cells],
        # Relative, so that study.json names no folder of this machine if all is below one folder.
        "folders": {name: _relative(getattr(plan.paths, name), folder) for name in ("root", "data")},
    }
    write_text(folder / "study.json", json.dumps(record, indent=1, ensure_ascii=False, default=str) + "\n")
    write_json(folder / "environment.json", environment())


def _relative(path: Path, folder: Path) -> str:
    return os.path.relpath(path.resolve(), folder.resolve())


class Tables:
    """cells.jsonl and scores.jsonl of the finished cells, in the plan's order. Both are rewritten at every change."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._records: dict[str, dict[str, Any]] = {}

    def write(self) -> int:
        """Returns the number of finished cells."""
        finished = [cell for cell in self._plan.cells if self.is_finished(cell)]
        study = self._plan.paths.study
        _write_lines(study / "cells.jsonl", [self._record(cell) for cell in finished])
        scores = [asdict(score) for cell in finished for score in _scores(self._plan, cell)]
        _write_lines(study / "scores.jsonl", scores)
        return len(finished)

    def is_finished(self, cell: Cell) -> bool:
        """Trained, exported, and measured by at least one evaluation; evaluations that are added later come later."""
        made = [step for step in (cell.trained, cell.exported) if step is not None]
        if not all(self._plan.folder(step).done() for step in made):
            return False
        return not cell.evaluated or any(self._plan.folder(each).done() for each in cell.evaluated)

    def _record(self, cell: Cell) -> dict[str, Any]:
        if cell.name not in self._records:
            self._records[cell.name] = _record(self._plan, cell)
        return self._records[cell.name]


def _record(plan: Plan, cell: Cell) -> dict[str, Any]:
    own = cell.trained or cell.base_trained
    done = None if own is None else plan.folder(own).done()
    return {
        "cell": cell.name,
        "model": cell.model,
        "seed": cell.seed,
        "objective": cell.objective,
        "pairs": list(cell.pairs),
        "arch": cell.arch,
        "aligner": cell.aligner,
        "symmetrize": cell.symmetrize,
        "options": cell.options,
        "group": cell.group,
        "cost": cost_of(plan, cell),
        "machine": None if done is None else done.get("machine"),
        "threads": None if done is None else done.get("threads"),
        "revision": None if done is None else done.get("revision"),
        "train_log": None if own is None else f"{own}/{plan.steps[own].log}",
        "base": cell.base,
    }


def _scores(plan: Plan, cell: Cell) -> list[Score]:
    """The scores of weam-evaluate, with the model's current name and paths relative to the study's folder."""
    found = []
    for step in cell.evaluated:
        folder = plan.folder(step)
        file = folder.path / "scores.jsonl"
        if folder.done() is None or not file.is_file():
            continue
        for score in read_scores(file):
            detail = {
                key: os.path.normpath(f"{step}/{value}") if key in _FILES and isinstance(value, str) else value
                for key, value in score.detail.items()
            }
            found.append(replace(score, model=cell.model, detail=detail))
    return found


def _write_lines(path: Path, records: list[dict[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
