"""Words keep their place in the raw sentence, whatever the segmenter does to it."""

from __future__ import annotations

import sys
import unicodedata
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from real_text import LANGUAGES, SIDES, WHY_SKIPPED, sentences, some_or_all
from weam_preprocess.errors import InputError
from weam_preprocess.spans import Span, unpack
from weam_preprocess.words import KINDS, segmenter
from weam_preprocess.words.chunks import Segmenter, clinging, locate

# Everything that has bitten: control characters, Unicode white space, Moses' own markers, quotes, dots, marks, emoji.
NASTY = st.lists(
    st.sampled_from(
        [
            *"ab.,'\"-&|@$5 ",
            *["\x00", "\x01", "\x1c", "\x85", "\u2028", "\u3000", "\ufeff", "\u200d", "\u200c", "\xad"],
            *["DOTMULTI", "DOTDOTMULTI", "@-@", "...", "&amp;", "e\u0301", "ß", "İ", "今天", "下雨", "👩‍👧", "ي", "\r"],
            *["が", "か\u3099", "ที่", "บ้าน", "क़", "\u094d", "मस्ते"],
        ]
    ),
    max_size=14,
).map("".join)

# Opening a dictionary takes a second, and a busy machine more.
unhurried = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

PACKAGES = {
    "rjieba": "rjieba",
    "jieba": "jieba",
    "sudachi": "sudachidict_core",
    "fugashi": "unidic_lite",
    "pythainlp": "pythainlp",
    "icu": "icu4py",
}
USUAL = {"zh": "rjieba", "ja": "sudachi", "th": "pythainlp"}


def opened(lang: str, kind: str | None = None) -> Segmenter:
    """The test is skipped when the optional package is not installed."""
    package = PACKAGES.get(kind or USUAL.get(lang, ""))
    if package is not None:
        pytest.importorskip(package)
    return segmenter(lang, kind)


def check_spans(text: str, spans: list[Span]) -> None:
    cursor = 0
    for start, end in spans:
        assert cursor <= start < end <= len(text)
        assert not any(char.isspace() for char in text[start:end])
        if start > 0 and not text[start - 1].isspace():
            assert not unicodedata.category(text[start]).startswith("M"), text
        cursor = end
    covered = {index for start, end in spans for index in range(start, end)}
    assert covered == {index for index, char in enumerate(text) if not char.isspace()}


def test_german() -> None:
    text = "Das ist (z.B.) 5,3% groß..."
    #       0   4   8 ...
    words = segmenter("de").words(text)
    assert words == ["Das", "ist", "(", "z.B.", ")", "5,3", "%", "groß", "..."]
    assert segmenter("de").spans(text)[:3] == [(0, 3), (4, 7), (8, 9)]


def test_chinese() -> None:
    for kind in ("rjieba", "jieba"):
        assert opened("zh", kind).spans("今天下雨吗？") == [(0, 2), (2, 4), (4, 5), (5, 6)]
        assert opened("zh", kind).name.startswith(f"{kind} ")


def test_japanese() -> None:
    for kind in ("sudachi", "fugashi"):
        assert opened("ja", kind).words("東京都に　行きました。") == ["東京", "都", "に", "行き", "まし", "た", "。"]
    assert opened("ja").name.startswith("sudachipy ")
    # Longer than Sudachi takes at once.
    assert opened("ja").words("東京 " * 20_000) == ["東京"] * 20_000


def test_thai() -> None:
    assert opened("th").words("ใช้เพื่อระบุหน่วย OK") == ["ใช้", "เพื่อ", "ระบุ", "หน่วย", "OK"]
    assert opened("th").name.startswith("pythainlp ")


def test_icu_serves_languages_without_white_space() -> None:
    assert opened("km", "icu").words("ខ្ញុំស្រលាញ់អ្នក 😀 ok") == ["ខ្ញុំ", "ស្រលាញ់", "អ្នក", "😀", "ok"]
    assert segmenter("km").name == segmenter("khm_Khmr").name


@pytest.mark.parametrize(
    ("lang", "text", "words"),
    [
        # Zero-width joiners, a nukta of its own and a danda.
        ("hi", "फ\u093cोल्\u200dडर खोलें।", ["फ\u093cोल्\u200dडर", "खोलें", "।"]),
        ("ar", "قَالَ: «نَعَمْ»؟", ["قَالَ", ":", "«", "نَعَمْ", "»", "؟"]),
        ("ur", "یہ کتاب ہے۔", ["یہ", "کتاب", "ہے", "۔"]),
        ("fa", "می\u200cخواهم.", ["می\u200cخواهم", "."]),
        # Accents of decomposed text: "é" in two characters, "ệ" in three.
        ("fr", "l'e\u0301te\u0301, non", ["l'", "e\u0301te\u0301", ",", "non"]),
        ("vi", "Tie\u0302\u0301ng Vie\u0323\u0302t.", ["Tie\u0302\u0301ng", "Vie\u0323\u0302t", "."]),
        ("ru", "бо\u0301льшим (а\u0301)", ["бо\u0301льшим", "(", "а\u0301", ")"]),
        ("ko", "오늘은 비가 와요!", ["오늘은", "비가", "와요", "!"]),
        ("sw", "Leo mvua inanyesha.", ["Leo", "mvua", "inanyesha", "."]),
        ("en", "a👩\u200d👧b \u0301x", ["a", "👩\u200d👧", "b", "\u0301x"]),
    ],
)
def test_marks_and_joiners_stay_with_their_letters(lang: str, text: str, words: list[str]) -> None:
    assert segmenter(lang).words(text) == words


def test_a_language_that_moses_lacks_says_whose_rules_it_uses() -> None:
    assert "rules of en" in segmenter("sw").name
    for lang in ("de", "de_AT", "deu_Latn", "ko"):
        assert "rules of en" not in segmenter(lang).name


def test_codes_with_scripts_and_of_three_letters() -> None:
    for lang in ("zh", "zh_Hans", "zho_Hant", "cmn"):
        assert opened("zh").name == segmenter(lang).name
    assert segmenter("zh_Latn").name.startswith("sacremoses ")
    assert segmenter("deu_Latn").words("z.B. das") == ["z.B.", "das"]


@pytest.mark.parametrize(
    ("lang", "modules", "command"),
    [
        ("zh", ["rjieba", "jieba"], "zh .*pip install rjieba or pip install jieba"),
        ("ja", ["sudachipy", "fugashi"], "ja .*pip install sudachipy sudachidict_core or pip install fugashi unidic-l"),
        (
            "th_Thai",
            ["pythainlp"],
            "pip install pythainlp.* --words th_Thai=whitespace splits at white space",
        ),
        ("lo", ["icu4py"], "pip install icu4py"),
    ],
)
def test_a_missing_package_gives_the_command(
    lang: str, modules: list[str], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in modules:
        for loaded in [name for name in sys.modules if name.startswith(f"{module}.")]:
            monkeypatch.delitem(sys.modules, loaded)
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=command):
        segmenter.__wrapped__(lang)


def test_the_kind_overrides() -> None:
    assert segmenter("ja", "whitespace").words("東京に (行く)。今日 don't") == [
        *("東京に", "(", "行く", ")", "。", "今日", "don", "'", "t")
    ]
    assert "fallback" in segmenter("ja", "whitespace").name
    assert segmenter("ja", "moses").name.startswith("sacremoses ")
    with pytest.raises(InputError, match=r"must be one of moses, rjieba, .*whitespace, but is 'mecab'"):
        segmenter("ja", "mecab")


def test_removed_control_characters_stay_in_their_word() -> None:
    #                              ho·use x
    assert segmenter("en").spans("ho\x01use x") == [(0, 6), (7, 8)]


def test_a_rewritten_text_falls_back_to_white_space() -> None:
    assert locate("DOTMULTI x", [".", "x"]) is None
    assert segmenter("en").words("DOTMULTI x") == ["DOTMULTI", "x"]


def test_a_token_over_white_space_is_cut_there() -> None:
    assert locate("ab  cd", ["a", "bc", "d"]) == [(0, 1), (1, 2), (4, 5), (5, 6)]


EVERY = [
    *((lang, None) for lang in ("en", "de", "fr", "hi", "zh", "ja", "th")),
    *(("ja", kind) for kind in KINDS if kind not in ("rjieba", "jieba")),
]


@pytest.mark.parametrize(("lang", "kind"), EVERY)
@unhurried
@given(text=st.one_of(NASTY, st.text(max_size=20)))
def test_spans_hold_every_character_once(text: str, lang: str, kind: str | None) -> None:
    check_spans(text, opened(lang, kind).spans(text))


@pytest.mark.parametrize("lang", ["de", "ja"])
@unhurried
@given(texts=st.lists(NASTY, max_size=4))
def test_arrays_hold_the_same_spans(texts: list[str], lang: str) -> None:
    assert unpack(opened(lang).span_arrays(texts)) == [opened(lang).spans(text) for text in texts]


@cache
def moses(lang: str) -> object:
    from sacremoses import MosesTokenizer

    return MosesTokenizer(lang)


# What Moses' rules ask for: full stops after known and unknown words, before small letters, digits and others; commas
# between digits; apostrophes between anything; ends of sentences.
ASKED_FOR = [
    *" .,'\"`-",
    "a",
    "s",
    "X",
    "é",
    "5",
    "٣",
    "½",
    "Ⅷ",
    "Mr.",
    "z.B.",
    "No.",
    "Nr. 5",
    "...",
    "..",
    "ab",
    "('",
]


@pytest.mark.parametrize("lang", ["en", "de", "fr", "hi", "cs"])
@settings(max_examples=150, deadline=None)
@given(text=st.lists(st.sampled_from(ASKED_FOR), max_size=12).map("".join))
def test_words_are_those_of_sacremoses_for_the_whole_sentence(text: str, lang: str) -> None:
    assert segmenter(lang).spans(text) == locate(text, moses(lang).tokenize(text, escape=False))  # type: ignore[attr-defined]


@pytest.mark.skipif(not LANGUAGES, reason=WHY_SKIPPED)
@pytest.mark.parametrize("side", [side for side in SIDES if side[1] not in USUAL], ids="-".join)
def test_words_of_real_text_are_those_of_sacremoses(side: tuple[str, str]) -> None:
    """With WEAM_TEST_ALL=1 of all of it. Segmenters with a dictionary are always given the whole sentence.

    Text with marks that Moses does not know is left out: it would cut words at them, and ours never shows it any.
    """
    segment = segmenter(side[1])
    whole = moses("en" if "rules of en" in segment.name else side[1])
    unseen = clinging() - frozenset(whole.IsAlnum)  # type: ignore[attr-defined]
    texts = [text for text in some_or_all(side) if unseen.isdisjoint(text)]
    assert texts
    for text in texts:
        spans = locate(text, whole.tokenize(text, escape=False))  # type: ignore[attr-defined]
        # None: Moses rewrote the text, and our words are cut at white space.
        assert spans is None or segment.spans(text) == spans, text


@pytest.mark.skipif(not LANGUAGES, reason=WHY_SKIPPED)
@pytest.mark.parametrize("lang", LANGUAGES)
def test_spans_of_real_text(lang: str) -> None:
    lines = sentences(lang, 300)
    segment = opened(lang)
    before = segment.by_white_space
    arrays = segment.span_arrays(lines)
    for text, spans in zip(lines, unpack(arrays), strict=True):
        assert spans == segment.spans(text)
        check_spans(text, spans)
    assert segment.by_white_space == before
    # Words, not sentences, and not characters.
    assert 0.5 < arrays.sizes.sum() / sum(len(text.split()) for text in lines) < 12
    assert len(arrays.starts) < 0.8 * sum(len(text) for text in lines)
