"""One table of scores: means over seeds, averages over languages, differences to a baseline."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import stdev

from weam_fairseq.evaluation.bootstrap import Difference
from weam_fairseq.evaluation.items import LOWER_IS_BETTER
from weam_fairseq.report.groups import Group

AVERAGE = "average"


@dataclass(frozen=True)
class MeanScore:
    """One model's score, 0–100, in one language or on average.

    Attributes:
        values: by seed.
        mean: over seeds.
        n: how many decisions it is the mean of; several numbers if the seeds differ, none for averages.
        interval: the middle 95 % over resampled items; None without item files.
    """

    values: dict[int, float]
    mean: float
    n: tuple[int, ...] = ()
    interval: tuple[float, float] | None = None

    @property
    def sd(self) -> float | None:
        """The standard deviation over seeds (n − 1); None for one."""
        return stdev(self.values.values()) if len(self.values) > 1 else None


@dataclass(frozen=True)
class TaskTable:
    """The scores and differences of one group by (model, language), where AVERAGE counts as a language.

    Attributes:
        models: those with a score here, the baseline first if it has one.
        common: the languages for which all of these models have a score. The average is over them.
        missing: by model, the languages for which only other models have a score.
        notes: sentences that a reader of this table needs.
    """

    group: Group
    title: str
    models: list[str]
    baseline: str | None
    languages: list[str]
    common: list[str]
    missing: dict[str, list[str]]
    scores: dict[tuple[str, str], MeanScore]
    differences: dict[tuple[str, str], Difference]
    notes: list[str]

    @property
    def rows(self) -> list[str]:
        """The languages, then the average if there are several."""
        return [*self.languages, AVERAGE] if len(self.common) > 1 else self.languages

    @property
    def summary_row(self) -> str | None:
        """AVERAGE, or the only language that all models have; None without such a language."""
        if len(self.common) > 1:
            return AVERAGE
        return self.common[0] if self.common else None

    @property
    def compared(self) -> list[str]:
        return [model for model in self.models if model != self.baseline] if self.baseline else []

    @property
    def lower_is_better(self) -> bool:
        return self.group.metric in LOWER_IS_BETTER

    @property
    def heading(self) -> str:
        """The title, with the direction if it is unusual. A study turns the signs of such gains instead."""
        return f"{self.title} (lower is better)" if self.lower_is_better else self.title

    @property
    def seeds(self) -> tuple[int, int]:
        """The fewest and the most seeds of a score."""
        counts = [len(score.values) for score in self.scores.values() if score.n]
        return min(counts), max(counts)

    def decisions(self, model: str, language: str) -> tuple[int, ...]:
        """The number of decisions that a score is the mean of; empty without scores."""
        score = self.scores.get((model, language))
        return score.n if score else ()
