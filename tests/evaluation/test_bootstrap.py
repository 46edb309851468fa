"""Intervals: by hand, against scipy, and by how often they hold the truth."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weam_fairseq.evaluation import bootstrap
from weam_fairseq.evaluation.bootstrap import Part, item_interval, percentile_interval, resampled_sums, seed_interval


def _resampled(values: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """The sums of one language, every item a cluster of its own."""
    (sums,) = resampled_sums([Part(values, np.arange(len(values)))], resamples, rng)
    assert (sums[:, -1] == len(values)).all()
    return sums[:, :-1]


def test_every_column_of_a_resample_is_summed_over_the_same_items() -> None:
    # Item i counts 1 in column i and i in the last: the last is determined by the others if items are drawn alike.
    values = np.concatenate([np.eye(5), np.arange(5.0)[:, None]], axis=1)
    sums = _resampled(values, 500, np.random.default_rng(1))
    assert sums.shape == (500, 6)
    assert (sums[:, :5].sum(axis=1) == 5).all()
    assert (sums[:, :5] @ np.arange(5.0) == sums[:, 5]).all()
    assert len({tuple(row) for row in sums}) > 50


def test_two_items_by_hand() -> None:
    # One item is +100, the other 0. The mean of two drawn ones is 0, 50 or 100 with 1/4, 1/2, 1/4.
    drawn = _resampled(np.array([[100.0], [0.0]]), 8000, np.random.default_rng(1))[:, 0] / 2
    shares = {value: float(np.mean(drawn == value)) for value in (0.0, 50.0, 100.0)}
    assert sum(shares.values()) == 1
    assert shares == pytest.approx({0.0: 0.25, 50.0: 0.5, 100.0: 0.25}, abs=0.02)
    interval = item_interval(drawn)
    assert interval[:2] == (0.0, 100.0)
    # A quarter of the draws is 0 or less, so twice that.
    assert interval.p == pytest.approx(0.5, abs=0.03)
    assert not interval.excludes_zero


def test_items_of_one_cluster_are_drawn_together() -> None:
    """Two languages share two of three questions; the second asks one of them twice, and each has one of its own."""
    one = Part(np.eye(3), np.array([0, 1, 2]))
    other = Part(np.eye(4), np.array([0, 1, 1, 3]))
    first, second = resampled_sums([one, other], 500, np.random.default_rng(1))
    assert (first[:, 0] == second[:, 0]).all()
    assert (first[:, 1] == second[:, 1]).all()
    assert (second[:, 1] == second[:, 2]).all()
    assert (first[:, 2] + second[:, 3] + first[:, 0] + first[:, 1] == 4).all()  # four clusters are drawn
    assert (first[:, :3].sum(axis=1) == first[:, 3]).all()
    assert min(first[:, -1].min(), second[:, -1].min()) > 0  # a resample without an item gives no figure


@given(st.lists(st.integers(-3, 3), min_size=40, max_size=130), st.integers(0, 60), st.sampled_from([0.0, 1e-13, 0.5]))
def test_p_is_below_five_percent_exactly_where_the_interval_excludes_zero(
    drawn: list[int], below: int, shift: float
) -> None:
    """Around the border: up to 60 values below 0 among 40 to 2,000 resampled differences."""
    for resampled in (
        np.array(drawn) + shift,
        np.r_[np.ones(1999 - below), -np.ones(below)] + shift,
        np.r_[np.full(below + 1, shift), np.ones(1999)],
    ):
        interval = item_interval(resampled)
        assert interval.p is not None
        assert interval.excludes_zero == (interval.p < 0.05)
        mirrored = item_interval(-resampled)
        assert mirrored.excludes_zero == interval.excludes_zero


def test_the_border_between_clear_and_unclear() -> None:
    """Of 2,000 resampled differences 49 may lie on the other side of 0: 2 · 50 / 2,001 is just below 0.05."""
    for below, clear in ((49, True), (50, False)):
        interval = item_interval(np.r_[-np.ones(below), np.ones(2000 - below)])
        assert (interval.excludes_zero, interval.p) == (clear, 2 * (below + 1) / 2001)


def test_chunks_change_nothing_in_what_a_draw_is(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(2).normal(size=(7, 2))
    whole = _resampled(values, 50, np.random.default_rng(3))
    monkeypatch.setattr(bootstrap, "_DRAWS_AT_ONCE", 20)
    assert np.allclose(_resampled(values, 50, np.random.default_rng(3)), whole)


def test_equal_models_differ_by_nothing() -> None:
    interval = item_interval(np.full(1000, 3e-14))
    assert (interval.low, interval.high, interval.p) == (0.0, 0.0, 1.0)
    assert not interval.excludes_zero


def test_the_same_seed_draws_the_same() -> None:
    values = np.arange(10.0)[:, None]
    one, two = (_resampled(values, 20, np.random.default_rng(7)) for _ in range(2))
    assert (one == two).all()


def test_agrees_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(4)
    one, other = rng.normal(1, 3, 200), rng.normal(0, 3, 200)
    theirs = stats.bootstrap(
        (one, other),
        lambda a, b, axis: a.mean(axis) - b.mean(axis),
        paired=True,
        vectorized=True,
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(5),
    ).confidence_interval
    sums = _resampled(np.stack([one, other], axis=1), 20_000, rng) / 200
    ours = percentile_interval(sums[:, 0] - sums[:, 1])
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_seeds_by_hand() -> None:
    # Mean 2, standard deviation 1 (n − 1), three seeds: half is 4.30265 / sqrt(3).
    interval = seed_interval([1.0, 2.0, 3.0])
    assert interval is not None
    half = 4.302653 / math.sqrt(3)
    assert interval[:2] == pytest.approx((2 - half, 2 + half))
    assert interval.p is None
    assert seed_interval([1.0]) is None
    assert seed_interval([]) is None


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """300 simulated test sets of 150 items; the true difference is 4. Binomial: 95 % ± 2.5 (two standard errors)."""
    rng = np.random.default_rng(6)
    held = 0
    for _ in range(300):
        hard = rng.normal(0, 20, 150)
        one, other = hard + rng.normal(4, 10, 150), hard + rng.normal(0, 10, 150)
        sums = _resampled(np.stack([one, other], axis=1), 1000, rng) / 150
        low, high = percentile_interval(sums[:, 0] - sums[:, 1])
        held += low <= 4 <= high
        # Pairing takes the items' common part out: unpaired, the interval would be about 9.5 wide.
        assert high - low < 7
    assert 0.91 <= held / 300 <= 0.985


def test_seed_intervals_hold_the_truth_with_three_seeds() -> None:
    rng = np.random.default_rng(8)
    intervals = [seed_interval(list(rng.normal(1.0, 2.0, 3))) for _ in range(2000)]
    held = np.mean([each is not None and each.low <= 1.0 <= each.high for each in intervals])
    assert held == pytest.approx(0.95, abs=0.015)


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=30), st.integers(0, 2**32 - 1))
def test_the_mirrored_difference_has_the_mirrored_interval(values: list[float], seed: int) -> None:
    column = np.array(values)[:, None]
    drawn = _resampled(column, 200, np.random.default_rng(seed))[:, 0] / len(values)
    there, back = item_interval(drawn), item_interval(-drawn)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert there.p == back.p
    assert there.low <= there.high
    assert 0 < (there.p or 0) <= 1
