"""Lines of `scores.jsonl` from any number of files, each with the place it came from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.scores import Entry, numbered_scores

SCORES = "scores.jsonl"


@dataclass(frozen=True)
class ScoreSet:
    """`repeated`: lines that occur twice with exactly the same score, and count once."""

    entries: list[Entry]
    files: list[Path]
    repeated: int

    @property
    def models(self) -> list[str]:
        return list(dict.fromkeys(entry.score.model for entry in self.entries))

    def checkpoints(self, model: str) -> dict[int, set[str]]:
        """A model's checkpoints by seed."""
        by_seed: dict[int, set[str]] = {}
        for entry in self.entries:
            if entry.score.model == model:
                by_seed.setdefault(entry.score.seed, set()).add(entry.score.checkpoint)
        return dict(sorted(by_seed.items()))

    def mixed(self, model: str) -> bool:
        """Whether several checkpoints have the model's name and the same seed."""
        return any(len(checkpoints) > 1 for checkpoints in self.checkpoints(model).values())


def read_score_files(paths: Sequence[Path]) -> ScoreSet:
    """Reads files, and folders that hold `scores.jsonl`.

    Raises:
        InputError: a file is missing, empty or malformed, or two lines give one measurement differently.
    """
    files = list(dict.fromkeys(_file(path) for path in paths))
    kept: dict[tuple[object, ...], Entry] = {}
    repeated = 0
    for path in files:
        for entry in _read(path):
            known = kept.setdefault(entry.score.key, entry)
            if known is not entry:
                _check_same(known, entry)
                repeated += 1
    if not kept:
        raise InputError(
            f"{', '.join(map(str, files))} must contain scores, but none does. Add some with weam-evaluate … --out."
        )
    return ScoreSet(list(kept.values()), files, repeated)


def _file(path: Path) -> Path:
    if path.is_dir():
        if not (path / SCORES).is_file():
            raise InputError(f"{path / SCORES} does not exist. Make it with weam-evaluate --out, or give another file.")
        return path / SCORES
    if not path.is_file():
        raise InputError(f"{path} does not exist. Give a study's folder, or files written by weam-evaluate --out.")
    return path


def _read(path: Path) -> list[Entry]:
    entries = [Entry(score, f"{path}:{number}", path.parent) for number, score in numbered_scores(path)]
    for entry in entries:
        _check_types(entry)
    return entries


def _check_types(entry: Entry) -> None:
    score = entry.score
    texts = ("task", "model", "checkpoint", "language", "split", "metric", "signature")
    wrong = [name for name in texts if not isinstance(getattr(score, name), str) or not getattr(score, name)]
    wrong += [name for name in ("n", "seed") if type(getattr(score, name)) is not int]
    if type(score.value) not in (int, float) or not math.isfinite(score.value):
        wrong.append("value")
    if not isinstance(score.detail, dict):
        wrong.append("detail")
    if wrong:
        raise InputError(
            f"{entry.where}: `{wrong[0]}` is {getattr(score, wrong[0])!r}, so the line is not a score. "
            "Remove it, or evaluate again into a new file."
        )


def _check_same(known: Entry, other: Entry) -> None:
    one, two = known.score, other.score
    what = f"{one.task} {one.language} {one.metric}, seed {one.seed}"
    if one.checkpoint != two.checkpoint:
        raise InputError(
            f"two checkpoints are named {one.model!r}: {what} is from {one.checkpoint} in {known.where} and from "
            f"{two.checkpoint} in {other.where}. Evaluate one of them again under another --name."
        )
    if (one.value, one.signature) != (two.value, two.signature):
        raise InputError(
            f"{what} of {one.model} has two values: {one.value:.2f} in {known.where}, {two.value:.2f} in "
            f"{other.where}. Remove the outdated line, or evaluate under another --name."
        )
