"""Retrieval on vectors that can be checked by eye."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from weam_fairseq.evaluation.retrieval import choose_layer, dev_and_test, hits, nearest, percent


def test_nearest_goes_by_angle_not_length() -> None:
    queries = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]], dtype=np.float32)
    candidates = np.array([[0.1, 100.0], [50.0, 1.0], [0.2, 0.2]], dtype=np.float32)
    assert nearest(queries, candidates).tolist() == [1, 0, 2]


def test_the_first_of_equal_candidates_is_taken_and_zero_vectors_are_no_error() -> None:
    candidates = np.array([[0.0, 0.0], [2.0, 0.0], [1.0, 0.0]])
    assert nearest(np.array([[1.0, 0.0], [0.0, 0.0]]), candidates).tolist() == [1, 0]


def test_a_hit_on_any_candidate_with_the_same_text_counts() -> None:
    texts = ["ja", "nein", "ja"]
    found = np.array([2, 0, 0])
    assert hits(found, texts, texts).tolist() == [True, False, True]
    assert percent(np.array([True, False, True, True])) == 75.0


def test_halves_are_even_and_odd_lines() -> None:
    dev, test = dev_and_test(5)
    assert (dev.name, dev.lines.tolist()) == ("even", [0, 2, 4])
    assert (test.name, test.lines.tolist()) == ("odd", [1, 3])


def test_the_lowest_of_equally_good_layers_is_chosen() -> None:
    assert choose_layer([10.0, 30.0, 30.0]).layer == 1


@given(st.integers(1, 30), st.integers(1, 2100), st.integers(0, 2**32 - 1))
def test_blocks_of_queries_change_nothing(candidates: int, queries: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    query, candidate = rng.normal(size=(queries, 3)), rng.normal(size=(candidates, 3))
    cosine = query @ candidate.T / np.linalg.norm(candidate, axis=1)  # a query's own length changes no order
    found = nearest(query, candidate)
    np.testing.assert_allclose(cosine[np.arange(queries), found], cosine.max(axis=1), atol=1e-9)
