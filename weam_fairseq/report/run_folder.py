"""What a run leaves in its folder, read and checked once.

RUN_DIR/settings.json             title, commands, options, versions, seconds, corpus, models
RUN_DIR/scores.jsonl              lines of weam-evaluate
RUN_DIR/data-bin/manifest.json    what weam-preprocess kept, dropped and linked      (may be missing)
RUN_DIR/models/NAME/train.log     fairseq's log in JSON                              (may be missing)
RUN_DIR/examples.json             sentences, links and predictions of masked pieces  (may be missing)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weam_fairseq.common.documents import read_json
from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.scores import Score, read_scores
from weam_fairseq.report.logs import TrainingLog, read_log


@dataclass(frozen=True)
class Run:
    """A run folder's contents. `models` are in the order of the table; `logs` holds those that are there."""

    path: Path
    title: str
    models: list[str]
    settings: dict[str, Any]
    scores: list[Score]
    manifest: dict[str, Any] | None
    logs: dict[str, TrainingLog]
    examples: dict[str, Any] | None

    @property
    def pairs(self) -> list[str]:
        """The language pairs of the data, or where there is no manifest, of the logs."""
        if self.manifest is not None:
            return list(self.manifest["pairs"])
        return list(dict.fromkeys(pair for log in self.logs.values() for pair in log.pairs()))


def is_run_folder(path: Path) -> bool:
    """Whether a run wrote into it more than scores."""
    return path.is_dir() and any((path / name).exists() for name in ("settings.json", "data-bin", "models"))


def read_run(path: Path) -> Run:
    """Reads a run folder.

    Raises:
        InputError: the folder, its settings or its scores are missing, or a file is not what it should be.
    """
    if not path.is_dir():
        raise InputError(f"the run folder {path} is not there. Give the folder that the demo or a study wrote.")
    started = f"the run writes it when it starts. For a table of scores alone, give {path / 'scores.jsonl'}"
    settings = _read_object(_required(path / "settings.json", started))
    scores = read_scores(_required(path / "scores.jsonl", "make it with weam-evaluate … --out"))
    if not scores:
        raise InputError(f"{path / 'scores.jsonl'} is empty. Add scores with weam-evaluate … --out.")
    models = _models(settings, scores, path / "settings.json")
    return Run(
        path=path,
        title=str(settings.get("title") or path.resolve().name),
        models=models,
        settings=settings,
        scores=scores,
        manifest=_read_manifest(path / "data-bin" / "manifest.json"),
        logs={name: read_log(log) for name in models if (log := path / "models" / name / "train.log").is_file()},
        examples=_read_object(file) if (file := path / "examples.json").is_file() else None,
    )


def _required(path: Path, how: str) -> Path:
    if not path.is_file():
        raise InputError(f"{path} is not there: {how}.")
    return path


def _models(settings: dict[str, Any], scores: list[Score], path: Path) -> list[str]:
    """The models as the settings order them, then others that have scores."""
    named = settings.get("models", [])
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise InputError(f"{path}: `models` must be a list of names, but is {named!r}.")
    return list(dict.fromkeys([*named, *(score.model for score in scores)]))


def _read_manifest(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    manifest = _read_object(path)
    if not isinstance(manifest.get("pairs"), dict):
        raise InputError(f"{path} has no `pairs` by name, so weam-preprocess did not write it. Preprocess again.")
    return manifest


def _read_object(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = read_json(path, dict, hint=" Run the step again that writes it.")
    return value
