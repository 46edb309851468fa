"""Scores as lines of JSON: the record, its signature, and the file that holds them.

A score never travels without its signature (the habit is sacrebleu's): task, language, split, how it was measured,
checkpoint, data, seed and versions, so that two numbers with equal signatures may be compared and others not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import Any

from weam_fairseq import __version__
from weam_fairseq.common.documents import parse_json
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
        """What a later run of the same measurement replaces."""
        return (self.task, self.model, self.language, self.split, self.metric, self.seed, self.trained_on)

    @property
    def trained_on(self) -> str:
        """The training data as the signature names it, such as `multinli:en:0123456789ab`; empty without fine-tuning.

        Zero-shot and translate-train figures of one model differ in this alone.
        """
        parts = [part for part in self.signature.split("|") if part.startswith("train:")]
        return parts[0].removeprefix("train:") if parts else ""


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
    """Puts the name, the hashes of weights and data, and the signature to a measurement."""
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
    """Versions for the signature: ours as `v`, then the two that can change a number."""
    return {
        "v": __version__,
        "transformers": metadata.version("transformers"),
        "torch": metadata.version("torch"),
    }


_AGAIN = "Remove the line, or evaluate again into a new file."


def read_scores(path: Path) -> list[Score]:
    """Reads `scores.jsonl`.

    Raises:
        InputError: a line is no JSON object or lacks a field.
    """
    names = [field.name for field in fields(Score)]
    scores = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = parse_json(line, f"{path}:{number}", dict, nan=True, hint=f" {_AGAIN}")
            scores.append(Score(**{name: record[name] for name in names}))
        except (KeyError, TypeError) as error:
            raise InputError(
                f"{path}:{number}: the line is no score ({type(error).__name__}: {error}). {_AGAIN}"
            ) from None
    return scores


def write_scores(path: Path, scores: Sequence[Score]) -> list[Score]:
    """Adds `scores` to the file, in place of older lines with the same key, all of them or none.

    The file is replaced at the end, under a lock: an interruption leaves the old file, and two evaluations that end
    together lose nothing.

    Returns:
        The older lines that went.

    Raises:
        InputError: a number is not finite, which JSON does not have.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(lock_file(path), wait=True):
        new = {score.key for score in scores}
        old = read_scores(path) if path.exists() else []
        kept = [json.dumps(asdict(score), ensure_ascii=False) + "\n" for score in old if score.key not in new]
        lines = [*kept, *map(_line, scores)]
        write_text(path, "".join(lines))
    return [score for score in old if score.key in new]


def measured_otherwise(old: Score, new: Score) -> dict[str, tuple[str, str]]:
    """The parts of the signatures that differ, each as it was and as it is; versions of programs are none."""
    was, now = _parts(old), _parts(new)
    names = [name for name in {**was, **now} if name not in _VERSIONS]
    return {name: (was.get(name, ""), now.get(name, "")) for name in names if was.get(name) != now.get(name)}


def _parts(score: Score) -> dict[str, str]:
    pairs = (part.partition(":") for part in score.signature.split("|")[1:])
    return {name: value for name, _, value in pairs}


def _line(score: Score) -> str:
    try:
        return json.dumps(asdict(score), ensure_ascii=False, allow_nan=False) + "\n"
    except ValueError:
        raise InputError(
            f"{score.task} {score.language} {score.metric} of {score.model}: a number of the score or of its detail is "
            "not finite, so the score was not written. Look for a training that diverged."
        ) from None
