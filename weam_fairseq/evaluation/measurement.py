"""What goes into a task and what comes out of it, before model names and hashes are put to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weam_fairseq.evaluation.fine_tuning.recipe import FineTuning

# In place of a split's name.
WHOLE = "-"


@dataclass(frozen=True)
class Setting:
    """What the user asked for.

    Attributes:
        split: the part of the data that is measured, as it stands in the files' names.
        batch_size: sentences encoded at once.
        predictions: the model's folder for predictions in the benchmark's own format; None is the fine-tuned folder, or
            nowhere.
        without_split: languages whose files name no split, where the user named none either.
        fine_tuning: choices for tasks that fine-tune.
        gold_from: the number of a sentence's first word in gold links; None expects 0.
    """

    data: Path
    languages: tuple[str, ...]
    source_language: str = "en"
    split: str = "heldout"
    seed: int = 1
    batch_size: int = 64
    predictions: Path | None = None
    fine_tuning: FineTuning | None = None
    without_split: frozenset[str] = frozenset()
    gold_from: int | None = None

    def pair(self, language: str) -> str:
        return f"{self.source_language}-{language}"

    def split_of(self, language: str) -> str:
        """What a score says of the split: `-` for a set that is published whole."""
        return WHOLE if language in self.without_split else self.split

    def stem(self, task: str, language: str, pair: str | None = None) -> str:
        """How the names of a task's files of predictions begin: with all that tells its scores apart, but the model and
        the training data, which have folders of their own.

        Args:
            pair: what the score calls the language, if not `language`.
        """
        parts = (task, self.split_of(language), pair or language, f"seed{self.seed}")
        return ".".join(part for part in parts if part != WHOLE)


@dataclass(frozen=True)
class Measurement:
    """One number.

    Attributes:
        language: a language (`de`) or a pair (`en-de`).
        split: the lines that the number stands for.
        value: 0–100.
        n: how many decisions `value` is the mean of (per direction, where there are two).
        detail: what a reader needs to trust or doubt it.
        method: the parts of the signature that say how it was measured, in order.
    """

    language: str
    split: str
    metric: str
    value: float
    n: int
    detail: dict[str, Any] = field(default_factory=dict)
    method: dict[str, str] = field(default_factory=dict)
