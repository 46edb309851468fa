"""Margin mining against a slow version of itself, and the places where margins differ from cosines."""

from __future__ import annotations

import numpy as np
import pytest

from weam_fairseq.evaluation.benchmarks.bucc import mine
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
