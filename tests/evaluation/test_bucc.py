"""BUCC: mining with a margin."""

from __future__ import annotations

import numpy as np
import pytest

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.benchmarks import bucc as mining
from weam_fairseq.evaluation.benchmarks.bucc import best_threshold, mine, mining_f1, mining_shares
from weam_fairseq.evaluation.retrieval import ranked, unit_rows


def slow(source: np.ndarray, target: np.ndarray) -> list[tuple[int, int, float]]:
    cosines = source @ target.T
    k, m = min(4, len(target)), min(4, len(source))
    row, column = -np.sort(-cosines, axis=1)[:, :k].mean(axis=1), -np.sort(-cosines, axis=0)[:m].mean(axis=0)
    margin = cosines / ((row[:, None] + column[None, :]) / 2)
    near = np.zeros(cosines.shape, dtype=bool)
    candidates = set()
    for i in range(len(source)):
        near = np.argsort(-cosines[i])[:k]
        candidates.add((i, int(near[margin[i, near].argmax()])))
    for j in range(len(target)):
        near = np.argsort(-cosines[:, j])[:m]
        candidates.add((int(near[margin[near, j].argmax()]), j))
    taken: list[tuple[int, int, float]] = []
    for i, j in sorted(candidates, key=lambda pair: -margin[pair]):
        if all(i != one and j != other for one, other, _ in taken):
            taken.append((i, j, float(margin[i, j])))
    return taken


@pytest.mark.parametrize("sizes", [(30, 50), (50, 30), (7, 7), (3, 9), (1, 1)])
@pytest.mark.parametrize("block", [4, 11, 100])
def test_equal_to_the_slow_version_whatever_the_block(sizes: tuple[int, int], block: int) -> None:
    rng = np.random.default_rng(0)
    # all near one direction, so that no mean cosine is near zero
    source, target = (unit_rows(rng.normal(size=(size, 8)) + 1.0).astype(np.float32) for size in sizes)
    mined = mine(source, target, "test", block)
    expected = slow(source, target)
    assert list(zip(mined.source.tolist(), mined.target.tolist(), strict=True)) == [(i, j) for i, j, _ in expected]
    np.testing.assert_allclose(mined.score, [score for _, _, score in expected], rtol=1e-5)
    assert len(set(mined.source)) == len(mined.source)


def test_pairs_without_a_positive_score_are_left_out() -> None:
    """As in XTREME. The second source sentence points away from both targets, and the second target is free."""
    source = unit_rows(np.array([[1.0, 0.0, 0.0], [-0.42, 0.637, 0.646]]))
    target = unit_rows(np.array([[0.95, 0.312, 0.0], [0.9, 0.436, 0.0]]))
    assert [(i, j, score > 0) for i, j, score in slow(source, target)] == [(0, 0, True), (1, 1, False)]
    mined = mine(source, target, "test")
    assert list(zip(mined.source.tolist(), mined.target.tolist(), strict=True)) == [(0, 0)]


def test_ranked_gives_the_nearest_best_first() -> None:
    rng = np.random.default_rng(0)
    queries, candidates = rng.normal(size=(9, 5)), rng.normal(size=(40, 5))
    cosines = unit_rows(queries) @ unit_rows(candidates).T
    np.testing.assert_array_equal(ranked(queries, candidates, 20), np.argsort(-cosines, axis=1)[:, :20])
    assert ranked(queries, candidates[:3], 20).shape == (9, 3)


def test_mining_f1() -> None:
    gold = {("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")}
    score = mining_f1(gold, [("a", "1"), ("b", "2"), ("x", "9"), ("a", "1")])
    assert score == pytest.approx((100 * 2 * (2 / 3) * 0.5 / (2 / 3 + 0.5), 200 / 3, 50.0))
    assert mining_f1(gold, [("1", "a")]) == (0.0, 0.0, 0.0)
    with pytest.raises(InputError, match="the gold contains no pair"):
        mining_f1([], [("a", "1")])


def test_the_threshold_stands_between_the_last_pair_taken_and_the_next() -> None:
    scored = {("a", "1"): 1.5, ("b", "2"): 1.3, ("x", "9"): 1.1, ("c", "3"): 1.0, ("y", "9"): 0.9}
    # right after 1, 2, 2, 3, 3 of 3 gold pairs: F1 1/2, 4/5, 2/3, 6/7, 3/4
    assert best_threshold(scored, [("a", "1"), ("b", "2"), ("c", "3")]) == pytest.approx(0.95)
    # equal scores are taken together or not at all
    tied = {("a", "1"): 1.0, ("x", "9"): 1.0, ("b", "2"): 0.5}
    assert best_threshold(tied, [("a", "1")]) == pytest.approx(0.75)
    assert best_threshold({("a", "1"): 1.0}, [("a", "1")]) == 1.0
    assert best_threshold(scored, [("q", "q")]) is None


def test_mining_shares_sum_to_f1(monkeypatch: pytest.MonkeyPatch) -> None:
    gold = {("a", "1"), ("b", "2"), ("z", "9")}  # z stands twice in the text, and so is not among what was mined
    found = [("a", "1"), ("b", "9"), ("c", "3")]
    rows = [tuple(row.values()) for row in mining_shares(["a", "b", "c", "d"], gold, found)]
    assert rows == [(0, 1, 1, 1), (1, 0, 1, 1), (2, 0, 1, 0), (3, 0, 0, 0), (4, 0, 0, 1)]
    assert mining_f1(gold, found).f1 == pytest.approx(200 * 1 / (3 + 3))
    monkeypatch.setattr(mining, "MOST_ITEMS", 2)  # then three sentences make an item
    assert [tuple(row.values()) for row in mining_shares(["a", "b", "c", "d"], gold, found)] == [
        *((0, 1, 3, 2), (1, 0, 0, 1)),
    ]
