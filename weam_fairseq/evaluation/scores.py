"""Scores as lines of JSON: the record, its signature, and the file.

Every score has a signature (an idea of sacrebleu's): task, language, split, method, checkpoint, data, seed and
versions. Two numbers with equal signatures can be compared; others cannot.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import Any

from weam_fairseq import __version__
from weam_fairseq.common.documents import parse_json, read_text
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import write_text
from weam_fairseq.common.lock import lock_file, locked
from weam_fairseq.evaluation.benchmark import Measurement

_VERSIONS = ("v", "transformers", "torch")


@dataclass(frozen=True)
class Score:
    """One line of `scores.jsonl`. `value` is 0–100; `checkpoint` is `hf_folder.checkpoint_hash`."""

    task: str
    model: str
    checkpoint: str
    language: str
    split: str
    metric: str
    value: float
    n: int
    detail: dict[str, Any]
    seed: int
    signature: str

    @property
    def key(self) -> tuple[str, str, str, str, str, int, str]:
        """A later score with the same key replaces this one."""
        return (self.task, self.model, self.language, self.split, self.metric, self.seed, self.trained_on)

    @property
    def trained_on(self) -> str:
        """The training data in the signature, such as `multinli:en:0123456789ab`; empty without fine-tuning.

        Zero-shot and translate-train scores of one model differ only in this.
        """
        return self.parts.get("train", "")

    @property
    def parts(self) -> dict[str, str]:
        """The parts of the signature by name, without the task, which has no name."""
        pairs = (part.partition(":") for part in self.signature.split("|")[1:])
        return {name: value for name, _, value in pairs}


@dataclass(frozen=True)
class Entry:
    """A score; `where` is its file and line, and paths in its detail are relative to `folder`."""

    score: Score
    where: str
    folder: Path

    @property
    def items(self) -> Path | None:
        """The file of the items' shares, if the score names one."""
        name = self.score.detail.get("items")
        return self.folder / name if isinstance(name, str) else None


def make_score(
    measurement: Measurement,
    *,
    task: str,
    model: str,
    checkpoint: str,
    data: str,
    seed: int,
    versions: Mapping[str, str],
) -> Score:
    """Adds the name, the hashes of weights and data, and the signature to a measurement."""
    parts = {
        **measurement.method,
        "metric": measurement.metric,
        "ckpt": checkpoint,
        "data": data,
        "seed": str(seed),
        **versions,
    }
    return Score(
        task=task,
        model=model,
        checkpoint=checkpoint,
        language=measurement.language,
        split=measurement.split,
        metric=measurement.metric,
        value=measurement.value,
        n=measurement.n,
        detail=measurement.detail,
        seed=seed,
        signature="|".join([task, *(f"{name}:{value}" for name, value in parts.items())]),
    )


def installed_versions() -> dict[str, str]:
    """Versions for the signature: ours as `v`, and those that can change a number."""
    return {
        "v": __version__,
        "transformers": metadata.version("transformers"),
        "torch": metadata.version("torch"),
    }


_AGAIN = "Remove the line, or evaluate again into a new file."


def read_scores(path: Path) -> list[Score]:
    """The scores of `numbered_scores`, without their lines."""
    return [score for _, score in numbered_scores(path)]


def numbered_scores(path: Path) -> list[tuple[int, Score]]:
    """Reads `scores.jsonl`: each score with the number of its line.

    Raises:
        InputError: the file is not UTF-8, or a line is not a JSON object or lacks a field.
    """
    names = [field.name for field in fields(Score)]
    scores = []
    for number, line in enumerate(read_text(path, hint=f" {_AGAIN}").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = parse_json(line, f"{path}:{number}", dict, nan=True, hint=f" {_AGAIN}")
            scores.append((number, Score(**{name: record[name] for name in names})))
        except (KeyError, TypeError) as error:
            raise InputError(
                f"{path}:{number}: the line is not a score ({type(error).__name__}: {error}). {_AGAIN}"
            ) from None
    return scores


def write_scores(path: Path, scores: Sequence[Score]) -> list[Score]:
    """Adds all `scores` to the file, or none. They replace older lines with the same key.

    The file is replaced at the end, under a lock. An interruption leaves the old file, and evaluations that finish
    at the same time lose nothing.

    Returns:
        The replaced lines.

    Raises:
        InputError: a number is not finite, which JSON does not allow.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(lock_file(path), wait=True):
        new = {score.key for score in scores}
        old = read_scores(path) if path.exists() else []
        kept = [json.dumps(asdict(score), ensure_ascii=False) + "\n" for score in old if score.key not in new]
        lines = [*kept, *map(_line, scores)]
        write_text(path, "".join(lines))
    return [score for score in old if score.key in new]


def differing_parts(old: Score, new: Score) -> dict[str, tuple[str, str]]:
    """The differing parts of the signatures, each with its old and new value. Versions are ignored."""
    was, now = old.parts, new.parts
    names = [name for name in {**was, **now} if name not in _VERSIONS]
    return {name: (was.get(name, ""), now.get(name, "")) for name in names if was.get(name) != now.get(name)}


def _line(score: Score) -> str:
    try:
        return json.dumps(asdict(score), ensure_ascii=False, allow_nan=False) + "\n"
    except ValueError:
        raise InputError(
            f"{score.task} {score.language} {score.metric} of {score.model}: a number of the score or of its detail is "
            "not finite, so the score was not written. Check whether training diverged."
        ) from None
