"""Intervals for the difference of two models: over the items of a test set, and over seeds. numpy only.

Over items (paired bootstrap: Koehn 2004): the test set is drawn again, with replacement and as large as it is, and
every model and seed is scored on the same drawn items. An item that several languages share, such as a translated
question, is drawn for all of them together (cluster bootstrap: Davison and Hinkley 1997, 3.8). The interval is the
middle 95 % of the differences, and p comes from the same resamples (Efron and Tibshirani 1993, 15.4): p is below 0.05
exactly where the interval excludes 0. Both say how much the figure depends on these items and nothing about another
training run.

Over seeds: Student's interval of the differences between runs of the same seed. No bootstrap: three seeds can be
drawn in ten ways only, and the interval would be far too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 2000
# The share of the resamples outside of a 95 % interval, half of it on each side.
OUTSIDE = 0.05
_SIDES = 40  # 2 / OUTSIDE, as a whole number: no rounding where p is near 0.05

# Drawn at once, so that a large test set does not fill the memory.
_DRAWS_AT_ONCE = 4_000_000


class Interval(NamedTuple):
    """A 95 % interval of a difference. `p` is two-sided and below 0.05 exactly where the interval excludes 0; None for
    an interval over seeds."""

    low: float
    high: float
    p: float | None = None

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


class Difference(NamedTuple):
    """A model's score minus the baseline's, over the seeds that both have; if they share none, of their means.

    Attributes:
        items: the interval over resampled items; None where item files are missing.
        seeds: Student's interval over runs of the same seed; None for fewer than two.
        by_seed: the difference of each seed that both have.
        all_shared: whether these are all seeds of both.
    """

    value: float
    items: Interval | None
    seeds: Interval | None
    by_seed: dict[int, float]
    all_shared: bool = True

    @property
    def interval(self) -> Interval | None:
        """The one to show: over items if there is one, else over seeds."""
        return self.items or self.seeds

    @property
    def over(self) -> str:
        return "items" if self.items else "seeds" if self.seeds else ""

    @property
    def clear(self) -> bool:
        """Whether every interval excludes 0: neither other items nor another run is likely to change the sign."""
        intervals = [each for each in (self.items, self.seeds) if each is not None]
        return bool(intervals) and all(each.excludes_zero for each in intervals)

    def turned(self) -> Difference:
        """With the opposite sign."""
        by_seed = {seed: -value for seed, value in self.by_seed.items()}
        return self._replace(value=-self.value, items=_turned(self.items), seeds=_turned(self.seeds), by_seed=by_seed)


def _turned(interval: Interval | None) -> Interval | None:
    return None if interval is None else Interval(-interval.high, -interval.low, interval.p)


class Part(NamedTuple):
    """The items of one language.

    Attributes:
        values: *Shape:* (N, K), a row an item.
        clusters: *Shape:* (N,), the number of the cluster that each item belongs to. Items of several languages in one
            cluster are drawn together.
    """

    values: np.ndarray
    clusters: np.ndarray


def resampled_sums(parts: Sequence[Part], resamples: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Sums over drawn items: as many clusters as all parts have are drawn with replacement, with all their items.

    A resample without any item of a part is drawn again, for it gives no figure.

    Returns:
        For each part *Shape:* (resamples, K + 1): the sums of its columns, and how many of its items were drawn.
    """
    assert all(len(part.values) for part in parts), "there is no item to draw"
    clusters = 1 + max(int(part.clusters.max()) for part in parts)
    columns = [np.concatenate([part.values, np.ones((len(part.values), 1))], axis=1) for part in parts]
    sums = [np.empty((resamples, each.shape[1])) for each in columns]
    at_once = max(1, _DRAWS_AT_ONCE // clusters)
    for start in range(0, resamples, at_once):
        rows = np.arange(start, min(start + at_once, resamples))
        while len(rows):
            drawn = rng.integers(clusters, size=(len(rows), clusters)) + clusters * np.arange(len(rows))[:, None]
            counts = np.bincount(drawn.ravel(), minlength=len(rows) * clusters).reshape(len(rows), clusters)
            for part, values, total in zip(parts, columns, sums, strict=True):
                total[rows] = counts[:, part.clusters].astype(float) @ values
            rows = rows[np.any([total[rows, -1] == 0 for total in sums], axis=0)]
    return sums


def percentile_interval(resampled: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of resampled figures, from one of them to another."""
    ranked = np.sort(resampled)
    outside = _outside(len(ranked))
    return float(ranked[outside]), float(ranked[-1 - outside])


def _outside(resamples: int) -> int:
    """How many resamples lie below the interval, and as many above.

    The largest number n with 2 (n + 1) / (resamples + 1) < 0.05, so that `item_interval`'s p is below 0.05 exactly
    where at most n resampled differences are on the other side of 0.
    """
    assert resamples >= _SIDES, f"{resamples} resamples are too few for a 95 % interval"
    return -(-(resamples + 1) // _SIDES) - 2


def item_interval(resampled: np.ndarray) -> Interval:
    """The interval and p of a difference from its resampled values, *Shape:* (resamples,).

    p is twice the share of resampled differences on the rarer side of 0, with 0 counted on both sides and one more
    added to the count and to the resamples (Davison and Hinkley 1997, 4.11). So p < 0.05 holds exactly where the
    interval excludes 0.
    """
    # Sums of the same numbers in another order differ by 1e-14; equal models must differ by nothing.
    resampled = np.round(resampled, 9)
    low, high = percentile_interval(resampled)
    rarer = min(int(np.count_nonzero(resampled <= 0)), int(np.count_nonzero(resampled >= 0)))
    return Interval(low, high, min(1.0, 2 * (1 + rarer) / (1 + len(resampled))))


def seed_interval(differences: Sequence[float]) -> Interval | None:
    """Student's interval of the mean of paired differences, one a seed; None for fewer than two."""
    if len(differences) < 2:
        return None
    from scipy.special import stdtrit  # Student's quantiles, a tenth of the import time of scipy.stats

    mean = float(np.mean(differences))
    half = (
        float(stdtrit(len(differences) - 1, 1 - OUTSIDE / 2))
        * float(np.std(differences, ddof=1))
        / math.sqrt(len(differences))
    )
    return Interval(mean - half, mean + half)
