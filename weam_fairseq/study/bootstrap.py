"""Intervals for the difference of two models: over the items of a test set, and over seeds. numpy only.

Over items (paired bootstrap: Koehn 2004; Berg-Kirkpatrick et al. 2012): the test set is drawn again, with replacement
and as large as it is, and every model and seed is scored on the same drawn items. The interval is the middle 95 % of
the differences. It says how much the figure depends on these items and nothing about another training run.

Over seeds: Student's interval of the differences between runs of the same seed. No bootstrap: three seeds can be
drawn in ten ways only, and the interval would be far too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95

# Drawn at once, so that a large test set does not fill the memory.
_DRAWS_AT_ONCE = 4_000_000

# Student's t at 0.975 for 1 to 10 degrees of freedom; beyond, see _student.
_T975 = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)
_Z975 = 1.959964


class Interval(NamedTuple):
    """A 95 % interval of a difference. `p`: two-sided, of one as large by chance alone; None where not worked out."""

    low: float
    high: float
    p: float | None = None

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def resampled_sums(values: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Sums over drawn rows.

    Args:
        values: *Shape:* (N, K), a row an item.

    Returns:
        *Shape:* (resamples, K); all columns of one row are summed over the same N drawn items.
    """
    items = len(values)
    assert items, "there is no item to draw"
    sums = np.empty((resamples, values.shape[1]))
    at_once = max(1, _DRAWS_AT_ONCE // items)
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        drawn = rng.integers(items, size=(rows, items)) + items * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * items).reshape(rows, items)
        sums[start : start + rows] = counts.astype(float) @ values
    return sums


def percentile_interval(resampled: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of resampled figures."""
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def item_interval(difference: float, resampled: np.ndarray) -> Interval:
    """The interval of a difference from its resampled values, *Shape:* (resamples,).

    p: how often a resampled difference lies as far from the observed one as that from 0, either way, the observed
    one counted in (Berg-Kirkpatrick et al. 2012, Fig. 1, for both sides).
    """
    # Sums of the same numbers in another order differ by 1e-14; equal models must differ by nothing.
    resampled = np.round(resampled, 9)
    difference = round(difference, 9)
    low, high = percentile_interval(resampled)
    as_far = int(np.count_nonzero(np.abs(resampled - difference) >= abs(difference)))
    return Interval(low, high, (1 + as_far) / (1 + len(resampled)))


def seed_interval(differences: Sequence[float]) -> Interval | None:
    """Student's interval of the mean of paired differences, one a seed; None for fewer than two."""
    if len(differences) < 2:
        return None
    mean = float(np.mean(differences))
    half = _student(len(differences) - 1) * float(np.std(differences, ddof=1)) / math.sqrt(len(differences))
    return Interval(mean - half, mean + half)


def _student(degrees: int) -> float:
    """Student's t at 0.975, beyond the table by its expansion (Abramowitz and Stegun 26.7.5), to 0.0025."""
    if degrees <= len(_T975):
        return _T975[degrees - 1]
    z = _Z975
    return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
