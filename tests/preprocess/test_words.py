"""Words keep their place in the raw sentence, whatever the segmenter does to it."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weam_preprocess.errors import InputError
from weam_preprocess.words import locate, segmenter

# Everything that has bitten: control characters, Unicode white space, Moses' own markers, quotes, dots, emoji.
NASTY = st.lists(
    st.sampled_from(
        [
            *"ab.,'\"-&|@$5 ",
            *["\x00", "\x01", "\x1c", "\x85", "\u2028", "\u3000", "\ufeff", "\u200d"],
            *["DOTMULTI", "DOTDOTMULTI", "@-@", "...", "&amp;", "e\u0301", "ß", "İ", "今天", "下雨", "👩‍👧", "ي", "\r"],
        ]
    ),
    max_size=14,
).map("".join)


def test_german() -> None:
    text = "Das ist (z.B.) 5,3% groß..."
    #       0   4   8 ...
    words = segmenter("de").words(text)
    assert words == ["Das", "ist", "(", "z.B.", ")", "5,3", "%", "groß", "..."]
    assert segmenter("de").spans(text)[:3] == [(0, 3), (4, 7), (8, 9)]


def test_chinese() -> None:
    assert segmenter("zh").spans("今天下雨吗？") == [(0, 2), (2, 4), (4, 5), (5, 6)]
    assert segmenter("zh_Hans").name.startswith("rjieba ")


def test_a_language_that_moses_lacks_says_whose_rules_it_uses() -> None:
    assert "rules of en" in segmenter("sw").name
    assert "rules of en" not in segmenter("de").name


def test_missing_rjieba_gives_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rjieba", None)
    with pytest.raises(InputError, match="pip install rjieba"):
        segmenter.__wrapped__("zh")


def test_removed_control_characters_stay_in_their_word() -> None:
    #                              ho·use x
    assert segmenter("en").spans("ho\x01use x") == [(0, 6), (7, 8)]


def test_a_rewritten_text_falls_back_to_white_space() -> None:
    assert locate("DOTMULTI x", [".", "x"]) is None
    assert segmenter("en").words("DOTMULTI x") == ["DOTMULTI", "x"]


@settings(max_examples=300, deadline=None)
@given(st.one_of(NASTY, st.text(max_size=20)), st.sampled_from(["en", "de", "fr", "zh", "ja"]))
def test_spans_hold_every_character_once(text: str, lang: str) -> None:
    spans = segmenter(lang).spans(text)
    cursor = 0
    for start, end in spans:
        assert cursor <= start < end <= len(text)
        assert not any(char.isspace() for char in text[start:end])
        cursor = end
    covered = {index for start, end in spans for index in range(start, end)}
    assert covered == {index for index, char in enumerate(text) if not char.isspace()}
