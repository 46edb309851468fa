"""Links from similarities, drawn by hand; peers' rules on small matrices."""

from __future__ import annotations

import numpy as np

from weam_fairseq.evaluation.benchmarks.word_alignment import itermax, mutual_argmax, softmax_both_ways, word_links


def angles(*degrees: float) -> np.ndarray:
    """Vectors by their angle: the nearer the angles, the higher the cosine."""
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def pairs(links: np.ndarray) -> set[tuple[int, int]]:
    return {(int(i), int(j)) for i, j in zip(*np.nonzero(links), strict=True)}


def test_mutual_argmax_links_what_is_nearest_to_each_other() -> None:
    #  source 0° 40° 50°; target 48° 2°: 50° and 40° both want 48°, which wants 50°
    assert pairs(mutual_argmax(angles(0, 40, 50), angles(48, 2))) == {(0, 1), (2, 0)}
    assert pairs(mutual_argmax(angles(7), angles(300))) == {(0, 0)}


def test_length_makes_no_difference_to_argmax() -> None:
    source, target = angles(0, 40, 50, 80), angles(48, 2, 79)
    assert pairs(mutual_argmax(source * [[1], [9], [0.1], [3]], target)) == pairs(mutual_argmax(source, target))


def test_itermax_links_once_more_what_is_free() -> None:
    # 20° and 22° both want 21.5°; in the second round 20°, which is free, gets its own best free partner, 10°.
    source, target = angles(20, 22, 70), angles(21.5, 10, 71)
    assert pairs(mutual_argmax(source, target)) == {(1, 0), (2, 2)}
    assert pairs(itermax(source, target)) == {(1, 0), (2, 2), (0, 1)}
    # with two pieces on a side there is no second round
    assert pairs(itermax(source[:2], target)) == pairs(mutual_argmax(source[:2], target))


def test_softmax_keeps_what_both_directions_find_likely() -> None:
    source, target = 10 * angles(0, 90), 10 * angles(0, 5, 90)
    # the inner products of one direction are about 100 against 0 to 9: only near ones pass
    assert pairs(softmax_both_ways(source, target)) == {(0, 0), (0, 1), (1, 2)}
    # short vectors are all alike
    assert softmax_both_ways(source / 1e3, target / 1e3).all()


def test_words_are_linked_through_their_pieces() -> None:
    # source pieces: word 0, word 1, word 1; target pieces: words 0 and 1 in one piece, word 2
    links = np.array([[True, False], [False, False], [False, True]])
    assert word_links(links, [[0], [1], [1]], [[0, 1], [2]]) == {(0, 0), (0, 1), (1, 2)}
    assert word_links(np.zeros((2, 1), dtype=bool), [[0], [1]], [[0]]) == frozenset()
