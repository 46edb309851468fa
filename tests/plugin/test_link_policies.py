"""Which links count, drawn by hand.

source words  0      1             pieces  0 | 1 2        "play" "##ing", word 1 has two pieces
target words  0    1     2         pieces  0 | 1 2 3 | 4  word 1 has three pieces
word links    0-0, 1-1, 1-2        so source word 1 is linked to two words
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weam_fairseq.layout import Ragged
from weam_fairseq.word_exchange import LinkPolicy, choose_links, edges_between, next_in_circle, number_words

SOURCE_WORDS = np.array([0, 1, 1])
TARGET_WORDS = np.array([0, 1, 1, 1, 2])
LINKS = np.array([[0, 0], [1, 1], [1, 2], [1, 3], [2, 1], [2, 2], [2, 3], [1, 4], [2, 4]])


def partners(policy: LinkPolicy) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """Source piece -> target pieces that it receives from, and the other way round."""
    sides = choose_links(LINKS, SOURCE_WORDS, TARGET_WORDS, policy)
    found: tuple[dict[int, list[int]], dict[int, list[int]]] = ({}, {})
    for side, links in zip(found, sides, strict=True):
        for to, origin in sorted(links.tolist()):
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


def test_a_row_takes_the_mean_of_its_partners() -> None:
    chosen = choose_links(LINKS, SOURCE_WORDS, TARGET_WORDS, LinkPolicy())
    edges = edges_between(*chosen, np.array([1, 2, 3]), np.array([5, 6, 7, 8, 9]))
    weights = {row: edges.weight[edges.to == row].tolist() for row in np.unique(edges.to)}
    assert weights == {
        1: [1],
        2: [0.25] * 4,
        3: [0.25] * 4,
        5: [1],
        6: [0.5] * 2,
        7: [0.5] * 2,
        8: [0.5] * 2,
        9: [0.5] * 2,
    }


def test_words_are_numbered_apart_between_sentences() -> None:
    words = Ragged.of([np.array([0, 0, 1]), np.array([0, 2, 2])])
    assert number_words(words).tolist() == [0, 0, 1, 2, 3, 3]


@given(st.lists(st.integers(2, 6), min_size=1, max_size=4), st.integers(0, 2**31))
def test_wrong_names_are_a_circle_within_each_sentence(sizes: list[int], seed: int) -> None:
    targets = Ragged(np.arange(sum(sizes)), np.array(sizes))
    renamed = next_in_circle(targets, np.random.default_rng(seed).random(sum(sizes)))
    assert sorted(renamed) == list(range(sum(sizes))), "each piece once: as many linked rows as before"
    assert (renamed != np.arange(sum(sizes))).all(), "no piece keeps its own name"
    assert (targets.owner()[renamed] == targets.owner()).all(), "links stay within their pair"
