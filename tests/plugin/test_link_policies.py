"""Which links count, in hand-made cases.

source words  0      1             pieces  0 | 1 2        "play" "##ing", word 1 has two pieces
target words  0    1     2         pieces  0 | 1 2 3 | 4  word 1 has three pieces
word links    0-0, 1-1, 1-2        so source word 1 is linked to two words

Each piece link has a probability, in parts per 10,000, which only `weighted` looks at.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weam_fairseq.data.layout import Ragged
from weam_fairseq.method.word_exchange import LinkPolicy, choose_links, edges_between, next_in_cycle, number_words

SOURCE_WORDS = np.array([0, 1, 1])
TARGET_WORDS = np.array([0, 1, 1, 1, 2])
#    pieces 0-0, 1-1 1-2 1-3, 2-1 2-2 2-3, 1-4, 2-4
LINKS = np.array([[0, 0], [1, 1], [1, 2], [1, 3], [2, 1], [2, 2], [2, 3], [1, 4], [2, 4]])
PROBABILITIES = np.array([9000, 6000, 6000, 6000, 6000, 6000, 6000, 2000, 6000])
SOURCE_ROWS, TARGET_ROWS = np.array([1, 2, 3]), np.array([5, 6, 7, 8, 9])


def links(probabilities: np.ndarray | None = None) -> np.ndarray:
    return np.column_stack([LINKS, np.ones(len(LINKS), dtype=np.int64) if probabilities is None else probabilities])


def partners(policy: LinkPolicy) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """Source piece -> target pieces that it receives from, and the other way round."""
    sides = choose_links(links(), SOURCE_WORDS, TARGET_WORDS, policy)
    found: tuple[dict[int, list[int]], dict[int, list[int]]] = ({}, {})
    for side, chosen in zip(found, sides, strict=True):
        for to, origin, _ in sorted(chosen.tolist()):
            side.setdefault(to, []).append(origin)
    return found


@pytest.mark.parametrize(
    ("policy", "into_source", "into_target"),
    [
        (
            LinkPolicy("mean", "all"),
            {0: [0], 1: [1, 2, 3, 4], 2: [1, 2, 3, 4]},
            {0: [0], 1: [1, 2], 2: [1, 2], 3: [1, 2], 4: [1, 2]},
        ),
        (
            LinkPolicy("first", "all"),
            {0: [0], 1: [1, 2, 3], 2: [1, 2, 3]},
            {0: [0], 1: [1, 2], 2: [1, 2], 3: [1, 2], 4: [1, 2]},
        ),
        (LinkPolicy("one-to-one", "all"), {0: [0]}, {0: [0]}),
        (LinkPolicy("mean", "first"), {0: [0], 1: [1, 4], 2: [1, 4]}, {0: [0], 1: [1], 2: [1], 3: [1], 4: [1]}),
        # two pieces onto three: 0 -> 0, 1 -> 1 (1 * 3 // 2); three onto two: 0 -> 0, 1 -> 0, 2 -> 1
        (LinkPolicy("mean", "monotone"), {0: [0], 1: [1, 4], 2: [2, 4]}, {0: [0], 1: [1], 2: [1], 3: [2], 4: [1]}),
    ],
)
def test_policies(policy: LinkPolicy, into_source: dict[int, list[int]], into_target: dict[int, list[int]]) -> None:
    assert partners(policy) == (into_source, into_target)


def weights(policy: LinkPolicy, probabilities: np.ndarray | None = None) -> dict[int, list[float]]:
    """Row -> weights of the rows that it receives, in their order."""
    chosen = choose_links(links(probabilities), SOURCE_WORDS, TARGET_WORDS, policy)
    edges = edges_between(*chosen, SOURCE_ROWS, TARGET_ROWS)
    return {int(row): edges.weight[edges.to == row].tolist() for row in np.unique(edges.to)}


def test_a_row_takes_the_mean_of_its_partners() -> None:
    assert weights(LinkPolicy()) == {
        1: [1],
        2: [0.25] * 4,
        3: [0.25] * 4,
        5: [1],
        6: [0.5] * 2,
        7: [0.5] * 2,
        8: [0.5] * 2,
        9: [0.5] * 2,
    }


@pytest.mark.parametrize(
    ("piece_policy", "expected"),
    [
        # source piece 1 receives 1 2 3 (6000 each) and 4 (2000); target piece 4 receives 1 (2000) and 2 (6000)
        (
            "all",
            {1: [1], 2: [0.3, 0.3, 0.3, 0.1], 3: [0.25] * 4, 6: [0.5] * 2, 7: [0.5] * 2, 8: [0.5] * 2, 9: [0.25, 0.75]},
        ),
        # only first pieces are received, and the rest is weighed among themselves
        ("first", {1: [1], 2: [0.75, 0.25], 3: [0.5, 0.5], 6: [1], 7: [1], 8: [1], 9: [1]}),
        ("monotone", {1: [1], 2: [0.75, 0.25], 3: [0.5, 0.5], 6: [1], 7: [1], 8: [1], 9: [1]}),
    ],
)
def test_a_row_takes_its_partners_in_proportion_to_their_probabilities(
    piece_policy: str, expected: dict[int, list[float]]
) -> None:
    found = weights(LinkPolicy("weighted", piece_policy), PROBABILITIES)
    assert found.pop(5) == [1]
    assert found.keys() == expected.keys()
    for row, received in expected.items():
        assert found[row] == pytest.approx(received), row


def test_a_link_named_twice_counts_once_with_the_weight_named_first() -> None:
    twice = np.array([[0, 0, 3000], [0, 1, 1000], [0, 0, 9000]])
    words = np.arange(1), np.arange(2)
    edges = edges_between(*choose_links(twice, *words, LinkPolicy("weighted")), np.array([1]), np.array([3, 4]))
    assert edges.to.tolist() == [1, 1, 3, 4]
    assert edges.weight.tolist() == [0.75, 0.25, 1, 1]


@pytest.mark.parametrize(
    ("sentences", "numbers"),
    [
        ([[0, 0, 1], [0, 2, 2]], [0, 0, 1, 2, 3, 3]),
        ([[0, 1, 2], [0, 0]], [0, 1, 2, 3, 3]),  # the first word of the second sentence is not the third of the first
    ],
)
def test_words_are_numbered_apart_between_sentences(sentences: list[list[int]], numbers: list[int]) -> None:
    assert number_words(Ragged.of([np.array(words) for words in sentences])).tolist() == numbers


def test_the_first_word_is_the_first_in_the_text_and_not_that_of_a_piece_number() -> None:
    """Source word 1 (pieces 1 2) is linked to target words 1 (piece 3) and 2 (piece 4); word 0 has three pieces."""
    links = np.array([[s, t, 1] for s in (1, 2) for t in (3, 4)])
    into_source, into_target = choose_links(
        links, np.array([0, 1, 1]), np.array([0, 0, 0, 1, 2]), LinkPolicy("first", "all")
    )
    assert into_source[:, :2].tolist() == [[1, 3], [2, 3]]
    assert sorted(into_target[:, :2].tolist()) == [[3, 1], [3, 2], [4, 1], [4, 2]]


@given(st.lists(st.integers(2, 6), min_size=1, max_size=4), st.integers(0, 2**31))
def test_replacements_are_a_cycle_within_each_sentence(sizes: list[int], seed: int) -> None:
    targets = Ragged(np.arange(sum(sizes)), np.array(sizes))
    renamed = next_in_cycle(targets, np.random.default_rng(seed).random(sum(sizes)))
    assert sorted(renamed) == list(range(sum(sizes))), "each piece once: as many linked rows as before"
    assert (renamed != np.arange(sum(sizes))).all(), "no piece keeps its own name"
    assert (targets.owner()[renamed] == targets.owner()).all(), "links stay within their pair"


def test_the_cycle_depends_on_the_random_numbers_not_on_the_text() -> None:
    targets = Ragged(np.arange(6), np.array([4, 2]))
    #                       order of the pieces: 1 0 3 2, then 5 4
    numbers = np.array([0.3, 0.1, 0.9, 0.5, 0.8, 0.2])
    assert next_in_cycle(targets, numbers).tolist() == [3, 0, 1, 2, 5, 4]
