"""Nearest neighbors by cosine and by shared pieces."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from weam_fairseq.evaluation.encode import sentence_groups, tokenize, word_groups
from weam_fairseq.evaluation.hf_folder import Folder
from weam_fairseq.evaluation.retrieval import (
    bags,
    choose_layer,
    dev_and_test,
    hits,
    nearest,
    nearest_by_overlap,
    percent,
)


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


def test_nearest_shares_the_largest_part_of_its_pieces() -> None:
    candidates = [(1, 2, 3, 4), (1, 2), (9,), (5, 5, 6)]
    # (1, 2) equals candidate 1; (5, 7) shares 5 with candidate 3 alone; (8,) shares nothing, so the first is taken.
    assert nearest_by_overlap([(1, 2), (5, 7), (8,), (9, 9, 2)], candidates).tolist() == [1, 3, 0, 2]


def test_bags_hold_the_pieces_of_each_group(folder: Folder) -> None:
    pieces = tokenize(folder, ["the town", "a"])
    names = folder.tokenizer.convert_ids_to_tokens
    assert [names(list(bag)) for bag in bags(pieces, sentence_groups(pieces))] == [["the", "town"], ["a"]]
    words = word_groups(pieces, [["the", "town"], ["a"]])
    assert [names(list(bag)) for bag in bags(pieces, words)] == [["the"], ["town"], ["a"]]
