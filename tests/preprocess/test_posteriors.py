"""Posteriors of hmm's links: against the enumeration of every alignment, with the model's own numbers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weam_preprocess import aligners
from weam_preprocess.aligners import thot
from weam_preprocess.aligners.hmm import Transitions, hmm_posteriors, link_posteriors

PAIRS = [
    (["the", "house"], ["das", "haus"]),
    (["the", "book"], ["das", "buch"]),
    (["a", "book"], ["ein", "buch"]),
    (["a", "house"], ["ein", "haus"]),
    (["the", "small", "house"], ["das", "kleine", "haus"]),
    (["see", "the", "house"], ["sehen", "das", "haus", "."]),
    (["rain"], ["es", "regnet", "heute"]),
    (["it", "is", "raining", "today"], ["heute"]),
]


@pytest.fixture(scope="module")
def model() -> Any:
    return thot._trained("hmm", 1, PAIRS)


def enumerate_alignments(
    place: Callable[[int, int], float], word: Callable[[int, int], float], source_words: int, target_words: int
) -> dict[tuple[int, ...], float]:
    """Weight of every path of states 1 … 2I, where I + i is the null state of source word i."""
    weights = {}
    for path in product(range(1, 2 * source_words + 1), repeat=target_words):
        weight, previous = 1.0, 0
        for j, state in enumerate(path):
            weight *= place(previous, state) * word(state, j)
            previous = state
        weights[path] = weight
    return weights


def by_enumeration(weights: dict[tuple[int, ...], float], source_words: int, target_words: int) -> np.ndarray:
    posteriors = np.zeros((target_words, source_words))
    for path, weight in weights.items():
        for j, state in enumerate(path):
            if state <= source_words:
                posteriors[j, state - 1] += weight
    return posteriors / sum(weights.values())


def weights_of(model: Any, source: list[str], target: list[str]) -> dict[tuple[int, ...], float]:
    size = len(source)
    source_idxs = [0, *(model.get_src_word_index(word) for word in source), *[0] * size]  # 0 is the null word
    target_idxs = [model.get_trg_word_index(word) for word in target]
    return enumerate_alignments(
        lambda previous, state: model.hmm_alignment_prob(previous, size, state),
        lambda state, j: model.translation_prob(source_idxs[state], target_idxs[j]),
        size,
        len(target),
    )


def test_posteriors_of_the_model_equal_enumeration(model: Any) -> None:
    for (source, target), found in zip(PAIRS, hmm_posteriors(model, PAIRS), strict=True):
        expected = by_enumeration(weights_of(model, source, target), len(source), len(target))
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)


def test_the_states_are_those_of_the_models_own_best_alignment(model: Any) -> None:
    """Its links and its score are those of the likeliest path, so nothing of the model is left out."""
    for source, target in PAIRS:
        weights = weights_of(model, source, target)
        best = max(weights.values())
        score, matrix = model.get_best_alignment(source, target)
        assert score == pytest.approx(np.log(best) + model.sentence_length_log_prob(len(source), len(target)))
        likeliest = [
            [state if state <= len(source) else 0 for state in path]
            for path, weight in weights.items()
            if weight == pytest.approx(best)
        ]
        assert matrix.to_list() in likeliest


@pytest.fixture(scope="module")
def both_ways(model: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Posteriors of both directions by enumeration, both (source words, target words)."""
    reverse_model = thot._trained("hmm", 1, [(target, source) for source, target in PAIRS])
    return [
        (
            by_enumeration(weights_of(model, source, target), len(source), len(target)).T,
            by_enumeration(weights_of(reverse_model, target, source), len(target), len(source)),
        )
        for source, target in PAIRS
    ]


@pytest.mark.parametrize("symmetrize", ["intersect", "union", "grow-diag-final-and", "forward"])
def test_a_links_probability_is_the_mean_of_its_two_posteriors(
    symmetrize: str, both_ways: list[tuple[np.ndarray, np.ndarray]]
) -> None:
    links, probabilities = aligners.build("hmm").align(PAIRS, symmetrize)
    assert probabilities is not None
    assert any(links)
    for (forward, reverse), of_pair, numbers in zip(both_ways, links, probabilities, strict=True):
        mean = forward if symmetrize == "forward" else (forward + reverse) / 2
        # Posteriors below 0.0001 are told as 0.0001.
        assert numbers == pytest.approx([mean[link] for link in of_pair], abs=1.1e-4)
        assert all(0 < number <= 1 for number in numbers)


def test_links_are_those_without_posteriors(model: Any) -> None:
    assert aligners.build("hmm").align(PAIRS, "forward").links == [
        sorted(line) for line in thot._directed_links(model, PAIRS)
    ]


def test_a_pair_too_long_for_the_model_has_no_links() -> None:
    long = (["the"] * 201, ["das", "lange"])
    links, probabilities = aligners.build("hmm").align([PAIRS[0], long, *PAIRS[1:]], "union")
    assert probabilities is not None
    assert (links[1], probabilities[1]) == ([], [])
    assert all(links[2:6])
    assert aligners.build("hmm").align([long], "union") == ([[]], [[]])


weight = st.floats(1e-6, 1.0)


@st.composite
def small_models(draw: st.DrawFn) -> tuple[Transitions, np.ndarray, np.ndarray]:
    """Transitions whose rows sum to anything, and B sentence pairs of up to 3 source and 3 target words."""
    size, target_words, batch = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2))

    def array(*shape: int) -> np.ndarray:
        count = int(np.prod(shape))
        return np.array(draw(st.lists(weight, min_size=count, max_size=count))).reshape(shape)

    transitions = Transitions(array(size), array(size), array(size, size), array(size))
    return transitions, array(batch, target_words, size), array(batch, target_words)


@settings(max_examples=60, deadline=None)
@given(small_models())
def test_forward_backward_equals_enumeration(drawn: tuple[Transitions, np.ndarray, np.ndarray]) -> None:
    transitions, words, nulls = drawn
    _, target_words, size = words.shape

    def place(previous: int, state: int) -> float:
        i, null = (state - 1) % size, state > size
        if previous == 0:
            return (transitions.first_null if null else transitions.first)[i]
        last = (previous - 1) % size
        if null:
            return transitions.null[i] if i == last else 0.0
        return transitions.following[last, i]

    posteriors = link_posteriors(transitions, words, nulls)
    for n, found in enumerate(posteriors):

        def word(state: int, j: int, n: int = n) -> float:
            return words[n, j, state - 1] if state <= size else nulls[n, j]

        expected = by_enumeration(enumerate_alignments(place, word, size, target_words), size, target_words)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)
        assert (found.sum(1) <= 1 + 1e-9).all()


def test_what_the_model_holds_for_impossible_has_zeros() -> None:
    transitions = Transitions(np.ones(2), np.ones(2), np.ones((2, 2)), np.ones(2))
    assert link_posteriors(transitions, np.zeros((1, 3, 2)), np.zeros((1, 3))).tolist() == [[[0.0, 0.0]] * 3]
