"""Projection by character spans: an oracle for one pair, drawn by hand and as properties, and the arrays against it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from weam_preprocess.projection import project_batch
from weam_preprocess.spans import Span, pack, unpack

Link = tuple[int, int]


def touching_pieces(words: Sequence[Span], pieces: Sequence[Span]) -> list[list[int]]:
    """For every word the pieces whose span shares at least one character with it, in order.

    Words are in order and do not overlap. Pieces may share characters (the bytes of one emoji) or have none.
    """
    touched: list[list[int]] = [[] for _ in words]
    word_ends = [end for _, end in words]
    for piece_idx, (start, end) in enumerate(pieces):
        word_idx = bisect_right(word_ends, start)
        while word_idx < len(words) and max(start, words[word_idx][0]) < end:
            touched[word_idx].append(piece_idx)
            word_idx += 1
    return touched


def word_of_each_piece(words: Sequence[Span], pieces: Sequence[Span], touched: Sequence[Sequence[int]]) -> list[int]:
    """The word that each piece shares most characters with; of equals the first.

    A piece that touches no word is a unit of its own: it gets an index after the last word, no two the same.
    """
    best: list[tuple[int, int]] = [(0, -1)] * len(pieces)
    for word_idx, piece_idxs in enumerate(touched):
        for piece_idx in piece_idxs:
            overlap = min(words[word_idx][1], pieces[piece_idx][1]) - max(words[word_idx][0], pieces[piece_idx][0])
            if overlap > best[piece_idx][0]:
                best[piece_idx] = (overlap, word_idx)
    unclaimed = len(words)
    result = []
    for _, word_idx in best:
        result.append(unclaimed if word_idx < 0 else word_idx)
        unclaimed += word_idx < 0
    return result


def project(
    word_links: Iterable[Link], source_touched: Sequence[Sequence[int]], target_touched: Sequence[Sequence[int]]
) -> list[Link]:
    """Piece p links to piece q exactly when some word link (a, b) has p touching a and q touching b. Sorted, unique."""
    return sorted({(p, q) for a, b in word_links for p in source_touched[a] for q in target_touched[b]})


def project_probabilities(
    word_links: Iterable[Link],
    probabilities: Iterable[float],
    source_touched: Sequence[Sequence[int]],
    target_touched: Sequence[Sequence[int]],
) -> list[float]:
    """For each link of `project`, in its order, the largest probability of the word links that give it."""
    best: dict[Link, float] = {}
    for (a, b), probability in zip(word_links, probabilities, strict=True):
        for link in product(source_touched[a], target_touched[b]):
            best[link] = max(probability, best.get(link, 0.0))
    return [best[link] for link in sorted(best)]


def spans_of(text: str, drawing: str) -> list[tuple[int, int]]:
    """A drawing under the text: a new letter begins a new span, a blank is in none."""
    assert len(text) == len(drawing)
    spans: list[tuple[int, int]] = []
    for index, mark in enumerate(drawing):
        if mark == " ":
            continue
        if spans and index > 0 and drawing[index - 1] == mark:
            spans[-1] = (spans[-1][0], index + 1)
        else:
            spans.append((index, index + 1))
    return spans


def test_chinese_word_of_two_pieces() -> None:
    text, words, pieces = "今天下雨", "aabb", "abcd"
    w, p = spans_of(text, words), spans_of(text, pieces)
    source = touching_pieces(w, p)
    assert source == [[0, 1], [2, 3]]
    #  it raining today
    #  ^0 ^1      ^2
    english = "it raining today"
    target = touching_pieces(spans_of(english, "aa bbbbbbb ccccc"), spans_of(english, "aa bbbbccc ddddd"))
    assert target == [[0], [1, 2], [3]]
    # 今天-today, 下雨-raining
    assert project([(0, 2), (1, 1)], source, target) == [(0, 3), (1, 3), (2, 1), (2, 2), (3, 1), (3, 2)]
    assert word_of_each_piece(w, p, source) == [0, 0, 1, 1]


def test_a_piece_that_touches_two_words_takes_the_links_of_both() -> None:
    text = "don't go"
    words = spans_of(text, "aaabb cc")
    #                       ^0 ^1 ^2
    pieces = spans_of(text, "aabbb cc")
    #                        ^0^1  ^2
    touched = touching_pieces(words, pieces)
    assert touched == [[0, 1], [1], [2]]
    assert project([(0, 0), (1, 1)], touched, [[0], [1]]) == [(0, 0), (1, 0), (1, 1)]
    # Piece 1 is "n't": one character of "don", two of "'t".
    assert word_of_each_piece(words, pieces, touched) == [0, 1, 2]


def test_a_piece_link_is_as_likely_as_the_likeliest_word_link_that_gives_it() -> None:
    # Piece 1 of the source touches both words: 1-0 comes from word links 0-0 and 1-0.
    source, target = [[0, 1], [1]], [[0], [1]]
    word_links, probabilities = [(0, 0), (1, 0), (1, 1)], [0.9, 0.3, 0.4]
    assert project(word_links, source, target) == [(0, 0), (1, 0), (1, 1)]
    assert project_probabilities(word_links, probabilities, source, target) == [0.9, 0.9, 0.4]


def test_equal_overlap_goes_to_the_first_word() -> None:
    words, pieces = [(0, 1), (1, 2)], [(0, 2)]
    assert word_of_each_piece(words, pieces, touching_pieces(words, pieces)) == [0]


def test_sentencepiece_spans_begin_with_the_space() -> None:
    text = "a big house"
    words = spans_of(text, "a bbb ccccc")
    pieces = [(0, 1), (1, 5), (5, 8), (8, 11)]
    #         ▁a      ▁big    ▁ho     use
    touched = touching_pieces(words, pieces)
    assert touched == [[0], [1], [2, 3]]
    assert word_of_each_piece(words, pieces, touched) == [0, 1, 2, 2]


def test_a_piece_without_a_word_is_a_unit_of_its_own() -> None:
    words, pieces = [(1, 3), (6, 7)], [(0, 0), (1, 3), (3, 5), (6, 7)]
    touched = touching_pieces(words, pieces)
    assert touched == [[1], [3]]
    assert word_of_each_piece(words, pieces, touched) == [2, 0, 3, 1]


def test_bytes_of_one_character_all_touch_its_word() -> None:
    assert touching_pieces([(0, 1)], [(0, 1), (0, 1), (0, 1)]) == [[0, 1, 2]]


@st.composite
def increasing_spans(draw: st.DrawFn) -> list[tuple[int, int]]:
    cuts = sorted(draw(st.sets(st.integers(0, 30), max_size=16)))
    return [(a, b) for a, b in zip(cuts[::2], cuts[1::2], strict=False)]


any_spans = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 4)).map(lambda x: (x[0], x[0] + x[1])), max_size=10)


@given(increasing_spans(), any_spans)
def test_touching_is_sharing_a_character(words: list[tuple[int, int]], pieces: list[tuple[int, int]]) -> None:
    naive = [[k for k, (a, b) in enumerate(pieces) if set(range(a, b)) & set(range(*word))] for word in words]
    assert touching_pieces(words, pieces) == naive


@given(increasing_spans(), any_spans, increasing_spans(), any_spans, st.data())
def test_every_piece_link_lies_inside_a_word_link(
    source_words: list[tuple[int, int]],
    source_pieces: list[tuple[int, int]],
    target_words: list[tuple[int, int]],
    target_pieces: list[tuple[int, int]],
    data: st.DataObject,
) -> None:
    every = [(a, b) for a in range(len(source_words)) for b in range(len(target_words))]
    links = data.draw(st.lists(st.sampled_from(every), unique=True)) if every else []
    source, target = touching_pieces(source_words, source_pieces), touching_pieces(target_words, target_pieces)
    piece_links = project(links, source, target)
    assert piece_links == sorted(set(piece_links))
    inside = {(p, q) for p in range(len(source_pieces)) for q in range(len(target_pieces))}
    for p, q in inside:
        assert ((p, q) in piece_links) == any(p in source[a] and q in target[b] for a, b in links)
    probabilities = data.draw(st.lists(st.floats(1e-4, 1), min_size=len(links), max_size=len(links)))
    assert project_probabilities(links, probabilities, source, target) == [
        max(x for (a, b), x in zip(links, probabilities, strict=True) if p in source[a] and q in target[b])
        for p, q in piece_links
    ]


@given(increasing_spans(), any_spans)
def test_word_indices(words: list[tuple[int, int]], pieces: list[tuple[int, int]]) -> None:
    touched = touching_pieces(words, pieces)
    indices = word_of_each_piece(words, pieces, touched)
    assert len(indices) == len(pieces)
    own = [idx for idx in indices if idx >= len(words)]
    assert own == list(range(len(words), len(words) + len(own)))
    for piece_idx, word_idx in enumerate(indices):
        if word_idx < len(words):
            assert piece_idx in touched[word_idx]
        else:
            assert not any(piece_idx in pieces_of_word for pieces_of_word in touched)


@given(st.lists(st.one_of(increasing_spans(), any_spans), max_size=5))
def test_packed_spans_come_back(sentences: list[list[Span]]) -> None:
    assert unpack(pack(sentences)) == sentences


@st.composite
def pairs(draw: st.DrawFn) -> tuple:
    """One pair: words and pieces of both sides, word links with probabilities."""
    words, pieces = (draw(increasing_spans()), draw(increasing_spans())), (draw(any_spans), draw(any_spans))
    every = [(a, b) for a in range(len(words[0])) for b in range(len(words[1]))]
    links = draw(st.lists(st.sampled_from(every), unique=True)) if every else []
    likely = draw(st.lists(st.floats(1e-4, 1), min_size=len(links), max_size=len(links)))
    return *words, *pieces, links, likely


@given(st.lists(pairs(), max_size=5), st.booleans())
def test_a_batch_is_its_pairs_one_after_the_other(batch: list[tuple], with_probabilities: bool) -> None:
    sides = [pack(pair[k] for pair in batch) for k in range(4)]
    sizes = np.array([len(pair[4]) for pair in batch], dtype=np.int64)
    flat = np.array([link for pair in batch for link in pair[4]], dtype=np.int64).reshape(-1, 2)
    likely = np.array([x for pair in batch for x in pair[5]], dtype=np.float64)
    found = project_batch(*sides, flat, sizes, likely if with_probabilities else None)
    source = [touching_pieces(pair[0], pair[2]) for pair in batch]
    target = [touching_pieces(pair[1], pair[3]) for pair in batch]
    indices = [word_of_each_piece(p[0], p[2], touched) for p, touched in zip(batch, source, strict=True)]
    assert found.source_words.tolist() == [idx for sentence in indices for idx in sentence]
    indices = [word_of_each_piece(p[1], p[3], touched) for p, touched in zip(batch, target, strict=True)]
    assert found.target_words.tolist() == [idx for sentence in indices for idx in sentence]
    links = [project(pair[4], s, t) for pair, s, t in zip(batch, source, target, strict=True)]
    assert found.links.tolist() == [[p, q] for pair in links for p, q in pair]
    assert found.link_sizes.tolist() == [len(pair) for pair in links]
    expected = [
        x for pair, s, t in zip(batch, source, target, strict=True) for x in project_probabilities(*pair[4:], s, t)
    ]
    assert (None if found.probabilities is None else found.probabilities.tolist()) == (
        expected if with_probabilities else None
    )


@pytest.mark.parametrize("pairs_in_batch", [0, 2])
def test_a_batch_without_words_pieces_or_links(pairs_in_batch: int) -> None:
    nothing = pack([[]] * pairs_in_batch)
    links = np.zeros((0, 2), dtype=np.int64)
    found = project_batch(nothing, nothing, nothing, nothing, links, np.zeros(pairs_in_batch, dtype=np.int64))
    assert [found.source_words.size, found.target_words.size, found.links.shape] == [0, 0, (0, 2)]
    assert found.link_sizes.tolist() == [0] * pairs_in_batch
    assert found.probabilities is None


def test_words_that_no_piece_touches_are_counted() -> None:
    words, pieces = pack([[(0, 2), (3, 5)]]), pack([[(0, 2), (3, 3)]])
    found = project_batch(words, words, pieces, words, np.zeros((0, 2), dtype=np.int64), np.zeros(1, dtype=np.int64))
    assert found.words_without_pieces == (1, 0)
