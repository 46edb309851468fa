"""The figures of one table: means over seeds, averages over languages, differences to a baseline."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import stdev
from typing import NamedTuple

from weam_fairseq.report.bootstrap import Interval
from weam_fairseq.report.groups import Group

AVERAGE = "average"
LOWER_IS_BETTER = {"aer"}


@dataclass(frozen=True)
class Figure:
    """One model's figure, 0–100, in one language or on average.

    Attributes:
        values: by seed.
        mean: over seeds.
        n: how many decisions it is the mean of, each different count; empty for averages.
        interval: the middle 95 % over drawn items, where the items are there.
    """

    values: dict[int, float]
    mean: float
    n: tuple[int, ...] = ()
    interval: tuple[float, float] | None = None

    @property
    def sd(self) -> float | None:
        """The standard deviation over seeds (n − 1); None for one."""
        return stdev(self.values.values()) if len(self.values) > 1 else None


class Difference(NamedTuple):
    """A model's figure minus the baseline's, over the seeds that both have; where there is none, of their means.

    Attributes:
        items: the interval over drawn items; None where item files are missing.
        seeds: Student's interval over runs of the same seed; None for fewer than two.
        shared: how many seeds both have.
        all_shared: whether these are all seeds of both.
    """

    value: float
    items: Interval | None
    seeds: Interval | None
    shared: int
    all_shared: bool

    @property
    def interval(self) -> Interval | None:
        """The one to show: over items where they are there, else over seeds."""
        return self.items or self.seeds

    @property
    def clear(self) -> bool:
        """Whether every interval there is leaves 0 out: neither other items nor another run may turn the sign."""
        intervals = [each for each in (self.items, self.seeds) if each is not None]
        return bool(intervals) and all(each.excludes_zero for each in intervals)

    @property
    def over(self) -> str:
        return "items" if self.items else "seeds" if self.seeds else ""


@dataclass(frozen=True)
class TaskTable:
    """One group's figures and differences by (model, language); AVERAGE stands for a language.

    Attributes:
        models: those that have a score here, the baseline first where it is among them.
        common: the languages that all of these have: the average goes over them.
        missing: languages that others have and a model has not.
        notes: what a reader must know about this table, in sentences.
    """

    group: Group
    title: str
    models: list[str]
    baseline: str | None
    languages: list[str]
    common: list[str]
    missing: dict[str, list[str]]
    figures: dict[tuple[str, str], Figure]
    differences: dict[tuple[str, str], Difference]
    notes: list[str]

    @property
    def rows(self) -> list[str]:
        """The languages, and the average where there is one of several."""
        return [*self.languages, AVERAGE] if len(self.common) > 1 else self.languages

    @property
    def compared(self) -> list[str]:
        return [model for model in self.models if model != self.baseline] if self.baseline else []

    @property
    def lower_is_better(self) -> bool:
        return self.group.metric in LOWER_IS_BETTER

    @property
    def seeds(self) -> tuple[int, int]:
        """The fewest and the most seeds of a figure."""
        counts = [len(figure.values) for figure in self.figures.values() if figure.n]
        return min(counts), max(counts)

    def decisions(self, model: str, language: str) -> tuple[int, ...]:
        """How many decisions a figure is the mean of; nothing where there is no figure."""
        figure = self.figures.get((model, language))
        return figure.n if figure else ()
