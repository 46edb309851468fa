"""Lines of tokens made all at once are those made word by word."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from weam_preprocess.aligners.base import one_side
from weam_preprocess.aligners.lines import token_lines
from weam_preprocess.spans import SpanArrays, pack

# Letters whose small form is longer (İ), depends on what follows (Σ), lies beyond 16 bits (𐐀), and what no token holds.
_CHARACTERS = "aBÉΣσİß中𐐀|.' \u00a0\u3000\t\x00\x85\u200b\u0301\n"


@st.composite
def _sentences(draw: st.DrawFn) -> tuple[list[str], SpanArrays]:
    sentences = draw(st.lists(st.text(st.sampled_from(_CHARACTERS), max_size=12), max_size=6))
    words = []
    for sentence in sentences:
        places = sorted(draw(st.lists(st.integers(0, len(sentence)), max_size=8)))
        words.append(list(zip(places[::2], places[1::2], strict=False)))
    return sentences, pack(words)


@given(_sentences(), st.booleans())
def test_as_word_by_word(text: tuple[list[str], SpanArrays], cased: bool) -> None:
    sentences, words = text
    stops = np.cumsum(words.sizes)
    spans = list(zip(words.starts.tolist(), words.ends.tolist(), strict=True))
    of_sentence = [spans[stop - size : stop] for stop, size in zip(stops, words.sizes, strict=True)]
    expected = [
        one_side([sentence[a:b] for a, b in found], cased)
        for sentence, found in zip(sentences, of_sentence, strict=True)
    ]
    assert token_lines(sentences, words, cased) == expected


@pytest.mark.parametrize(
    ("sentence", "spans", "line"),
    [
        ("Hello, World!", [(0, 5), (5, 6), (7, 12), (12, 13)], "hello , world !"),
        ("ΟΔΟΣ.Α", [(0, 4), (4, 5), (5, 6)], "οδος . α"),  # a Σ at the end of its word, though not of the chunk
        ("İX y", [(0, 2), (3, 4)], "i\u0307x y"),
        ("a\u00a0b |||", [(0, 3), (4, 7)], "a_b _"),
        ("words nobody took", [], ""),
    ],
)
def test_drawn_by_hand(sentence: str, spans: list[tuple[int, int]], line: str) -> None:
    around = "Alle Wörter"
    made = token_lines([around, sentence, around], pack([[(0, 4), (5, 11)], spans, [(5, 11)]]), cased=False)
    assert made == ["alle wörter", line, "wörter"]
