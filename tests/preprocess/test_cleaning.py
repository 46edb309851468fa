"""Rules: what each repairs and drops, its reason, and the account of it."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from weam_preprocess import cleaning, report
from weam_preprocess.cleaning import Rules, Scorer, clean, read_excluded
from weam_preprocess.corpus import InputFile, key
from weam_preprocess.errors import InputError
from weam_preprocess.raw import RawChunk
from weam_preprocess.report import Account, add_up

DEFAULTS = Rules()


def tsv(*lines: bytes | str, first: int = 0, max_line_bytes: int = 1000) -> RawChunk:
    raw = [line.encode() if isinstance(line, str) else line for line in lines]
    return RawChunk(0, first, first, (Path("x.tsv"),), (raw,), max_line_bytes)


def two(*pairs: tuple[str, str]) -> RawChunk:
    sides = tuple([pair[side].encode() for pair in pairs] for side in range(2))
    return RawChunk(0, 0, 0, (Path("x.en"), Path("x.de")), sides, 1000)


def reasons(
    chunk: RawChunk,
    rules: Rules = DEFAULTS,
    excluded: Collection[str] = (),
    scorers: tuple[Scorer, Scorer] | None = None,
) -> dict[str, int]:
    return dict(clean(chunk, rules, excluded, scorers).account.dropped)


def test_lines_that_cannot_be_taken_apart() -> None:
    cleaned = clean(tsv("a\tb", b"\xff\tb", "a", "a\tb\tc", "x" * 1001 + "\ty", "c\td", first=7), Rules())
    assert cleaned.pairs == [(7, "a", "b"), (12, "c", "d")]
    assert cleaned.account.dropped == {"invalid UTF-8": 1, "not one tab": 2, "line over 1,000 bytes": 1}


def test_columns_of_tab_separated_lines_are_numbered_from_1() -> None:
    chunk = tsv("0.9\tid1\ta\tb", "0.8\tid2\tc", "0.7\tid3\td\te\tf")
    cleaned = clean(chunk, Rules(columns=("4", "3")))
    assert cleaned.pairs == [(0, "b", "a"), (2, "e", "d")]
    assert cleaned.account.dropped == {"too few columns": 1}
    with pytest.raises(InputError, match=r"line 2: must have columns 4 and 3, but has 3\. Correct the line or --col"):
        clean(chunk, Rules(columns=("4", "3"), strict=True))
    with pytest.raises(InputError, match=r"--columns must give column numbers for x\.tsv, .* but is src,tgt"):
        clean(chunk, Rules(columns=("src", "tgt")))


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz"])
def test_json_lines_have_the_languages_as_keys_or_those_of_columns(name: str) -> None:
    rows = [
        '{"translation": {"en": "a", "de": "b"}}',
        '{"en": "c\\nd", "de": "e\u2028f", "score": NaN}',
        '{"en": "f"}',
        "[1]",
        '{"s',
    ]
    chunk = tsv(*rows)._replace(files=(Path(name),))
    cleaned = clean(chunk, Rules(), languages=("en", "de"))
    assert cleaned.pairs == [(0, "a", "b"), (1, "c d", "e\u2028f")]
    assert cleaned.account.dropped == {"not a JSON object with both texts": 3}
    given = tsv('{"src": {"text": "a"}, "tgt": "b"}', '{"src.text": "c", "tgt": "d"}')._replace(files=(Path(name),))
    assert clean(given, Rules(columns=("src.text", "tgt"))).pairs == [(0, "a", "b"), (1, "c", "d")]
    with pytest.raises(InputError, match="must give keys for"):
        clean(given, Rules(columns=("1", "2")))


STRICT = [
    (b"\xff\tb", r"x\.tsv line 9: byte 1 is not valid UTF-8 \(0xff\)\. Convert the file to UTF-8 or remove the line"),
    (b"a", r"x\.tsv line 9: must hold exactly one tab, between the two sentences, but holds 0\. Remove or correct"),
    (b"a\tb\tc", r"x\.tsv line 9: must hold exactly one tab, between the two sentences, but holds 2\."),
    (b"a" * 1001, r"x\.tsv line 9: must have at most 1,000 bytes, but has more\."),
]


@pytest.mark.parametrize(("line", "sentence"), STRICT)
def test_strict_is_an_error_with_the_line(line: bytes, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        clean(tsv("a\tb", line, first=7), Rules(strict=True))


def test_strict_names_the_file_of_the_side() -> None:
    chunk = two(("a", "b"))._replace(sides=([b"a"], [b"\x80"]))
    with pytest.raises(InputError, match=r"x\.de line 1: byte 1 is not valid UTF-8 \(0x80\)"):
        clean(chunk, Rules(strict=True))


def test_strict_drops_by_the_other_rules_as_ever() -> None:
    assert reasons(tsv(" \tb", "a\tb"), Rules(strict=True)) == {"empty side": 1}


@pytest.mark.parametrize(
    "empty", ["", " ", "\u3000\u00a0", "\u200b", "\ufeff", "\u200e \u2060", "\u0085\u2028", "\x00"]
)
def test_a_side_without_text(empty: str) -> None:
    chunk = two(("first", "line"), (empty, "b"), ("a", empty))
    assert reasons(chunk) == {"empty side": 2}


CONTROLS = [
    ("a\x00b", "ab"),
    ("a\x0bb\x0cc\x1cd", "a b c d"),  # white space: it parts words
    ("a\rb", "a b"),
    ("a\x07\x1b\x7f\x9bb", "ab"),
    ("a\x80\x84b", "ab"),
]


@pytest.mark.parametrize(("raw", "mended"), CONTROLS)
def test_control_characters_are_removed(raw: str, mended: str) -> None:
    cleaned = clean(two(("a", "b"), (raw, "b"), ("a", raw)), Rules())
    assert cleaned.pairs == [(0, "a", "b"), (1, mended, "b"), (2, "a", mended)]
    assert cleaned.account.repaired == {"control characters": 2}


KEPT = [
    "a\u2028b\u2029c\u0085d",  # line and paragraph separators
    "\u200fשלום, עולם\u200e!",  # right-to-left marks
    "e\u0301 q\u0323\u0307 नि",  # combining characters
    "👩🏽\u200d🚀 🇩🇪 \U0001f3f4\U000e0067\U000e0062\U000e007f",
    "ＦＵＬＬ　ｗｉｄｔｈ",
    "می\u200cخواهم",  # zero width non-joiner
    "soft\u00adhyphen, a\ufeffb, \ue000 \ufffd",
    " white\u00a0space around it ",
]


@pytest.mark.parametrize("text", KEPT)
def test_text_is_kept_as_it_is(text: str) -> None:
    cleaned = clean(two((text, "a longer sentence"), ("another sentence", text)), Rules())
    assert [(pair.source, pair.target) for pair in cleaned.pairs] == [
        (text, "a longer sentence"),
        ("another sentence", text),
    ]
    assert not cleaned.account.repaired


def test_byte_order_mark_and_cr() -> None:
    cleaned = clean(tsv("\ufeffa\tb\r", "\ufeffc\td\r\r", "e\r\tf"), Rules())
    assert cleaned.pairs == [(0, "a", "b"), (1, "\ufeffc", "d"), (2, "e", "f")]
    assert cleaned.account.repaired == {"byte order mark": 1, "CR at line end": 3}
    later = clean(tsv("\ufeffa\tb", first=1), Rules())
    assert later.pairs == [(1, "\ufeffa", "b")]  # not where the file begins
    both = clean(two(("\ufeffa", "\ufeffb")), Rules())
    assert both.account.repaired == {"byte order mark": 2}


def test_excluded_sentences() -> None:
    chunk = tsv(" secret \tx", "y\tsecret", "secrets\tz", "sec\x00ret\tw")
    assert reasons(chunk, excluded={"secret"}) == {"in an excluded file": 3}


def test_composed_and_decomposed_text_is_the_same(tmp_path: Path) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    assert key(composed, "b") == key(decomposed, "b") == key(f"\ufeff{composed}", "b") != key("cafe", "b")
    for one, other in ((composed, decomposed), (decomposed, composed)):
        (tmp_path / "test.txt").write_text(f"{one}\tx\n", encoding="utf-8")
        chunk = tsv(f"{other}\tb", f"a\t\ufeff{one}", "cafe\tc")
        assert reasons(chunk, excluded=read_excluded([tmp_path / "test.txt"])) == {"in an excluded file": 2}


def test_length() -> None:
    chunk = two(("é" * 5000, "b" * 5000), (" " + "a" * 5000, "b" * 5000), ("a" * 5001, "b" * 5000))
    chunk = chunk._replace(max_line_bytes=1 << 20)
    assert reasons(chunk) == {"over 5,000 characters": 1}
    assert reasons(chunk, Rules(max_chars=None)) == {}


def test_ratio_is_of_utf8_bytes() -> None:
    # 18 letters and 2 characters of 3 bytes each: far apart in characters, not in what they say.
    chunk = two(("a" * 18, "bb"), ("a" * 19, "bb"), ("b", "a" * 10), ("environmental care", "环保"))
    assert reasons(chunk) == {"length ratio over 9": 2}
    assert reasons(chunk, Rules(max_ratio=2.5)) == {"length ratio over 2.5": 4}
    assert reasons(chunk, Rules(max_ratio=None)) == {}


def test_copies_are_noted_or_dropped() -> None:
    chunk = two(("Linux", " Linux"), ("Linux", "linux"))
    cleaned = clean(chunk, Rules())
    assert (len(cleaned.pairs), cleaned.account.noted) == (2, {"source equals target": 1})
    cleaned = clean(chunk, Rules(drop_copies=True))
    assert (cleaned.account.dropped, cleaned.account.noted) == ({"source equals target": 1}, {})


def test_wrong_language() -> None:
    scores = {"gut": 0.05, "schlecht": 0.049}
    scorers: tuple[Scorer, Scorer] = (lambda _: 1.0, scores.__getitem__)
    chunk = two(("good", " gut"), ("bad", "schlecht"))
    assert reasons(chunk, Rules(min_language_score=0.05), scorers=scorers) == {"wrong language": 1}
    assert reasons(chunk, scorers=scorers) == {}


def test_py3langid() -> None:
    pytest.importorskip("py3langid")
    german = cleaning.scorer("de")
    assert german("Die Katze schläft im Garten.") == 1
    assert german("The cat sleeps in the garden.") < 0.05
    # Too little to tell: no reason to drop anything.
    assert min(map(german, ["", "1998", "OK", "John Smith"])) > 0.2
    assert cleaning.scorer("zh_Hans")("今天下雨。") == 1
    assert cleaning.scorer("deu_Latn")("Die Katze schläft im Garten.") == 1
    assert cleaning.scorer("nb")("Det regner i dag, sier de.") > 0.05
    with pytest.raises(InputError, match=r"py3langid does not know the language 'tlh'.*; it knows .*, zh, "):
        cleaning.scorer("tlh")


def test_read_excluded(tmp_path: Path) -> None:
    plain, packed = tmp_path / "a.tsv", tmp_path / "b.gz"
    plain.write_bytes("\ufeff1\tone \r\n\n\u2028x\ty\x00z\n".encode())
    packed.write_bytes(gzip.compress(b"two\n"))
    assert read_excluded([plain, packed]) == {"1", "one", "1\tone", "x", "yz", "x\tyz", "two"}
    assert read_excluded([]) == frozenset()
    plain.write_bytes(b"one\n\xff\n")
    with pytest.raises(InputError, match=r"a\.tsv line 2: byte 1 is not valid UTF-8"):
        read_excluded([plain])


def test_accounts_add_up_in_any_order() -> None:
    lines = ["no tab", " \tempty", "a\tb", "c\x00\td"] * 9
    whole = clean(tsv(*lines), Rules()).account
    pieces = [clean(tsv(*lines[i : i + 5], first=i), Rules()).account for i in range(0, len(lines), 5)]
    assert add_up(pieces) == add_up(reversed(pieces)) == whole
    assert (whole.read, whole.kept, whole.dropped) == (36, 18, Counter({"not one tab": 9, "empty side": 9}))


def test_the_first_20_examples_are_kept() -> None:
    accounts = [clean(tsv(*["no tab"] * 15, first=first), Rules()).account for first in (0, 15, 30)]
    merged = add_up(reversed(accounts))
    assert merged.dropped == {"not one tab": 45}
    assert [example.line_idx for example in merged.examples["not one tab"]] == list(range(20))


def test_dropped_tsv(tmp_path: Path) -> None:
    first = clean(tsv("a\tb\tc", "\u200b\tx\\y", b"\xff\xc3\xa9\x00\tb", "ok\tok"), Rules()).account
    second = two(("ok", "ok"), ("", "y" * 501))._replace(first_line_idx=4)
    later = Account(read=0)
    later.drop("over 128 pieces", 4, "long", "länger")
    parts = [(InputFile("x.tsv", "", 4),), (InputFile("x.en", "", 2), InputFile("x.de", "", 2))]
    account = add_up([first, clean(second, Rules()).account, later])
    report.write_dropped(tmp_path / report.DROPPED_FILE, [("en-de", parts, account), ("en-zh", [], Account())])
    assert (tmp_path / report.DROPPED_FILE).read_text(encoding="utf-8") == (
        "pair\tfile\tline\treason\tsource\ttarget\n"
        "en-de\tx.tsv\t2\tempty side\t\\u200b\tx\\\\y\n"
        f"en-de\tx.en,x.de\t2\tempty side\t\t{'y' * 500}…\n"
        "en-de\tx.tsv\t3\tinvalid UTF-8\t\\xffé\\u0000\\tb\t\n"
        "en-de\tx.tsv\t1\tnot one tab\ta\\tb\\tc\t\n"
        "en-de\tx.en,x.de\t1\tover 128 pieces\tlong\tlänger\n"
    )


@given(st.one_of(st.binary(), st.text(), st.binary(min_size=1900, max_size=2100), st.text(min_size=490, max_size=510)))
def test_what_is_shown_is_one_line_of_utf8(text: str | bytes) -> None:
    shown = report.show(text)
    assert shown.isprintable()
    assert shown.encode("utf-8").decode("utf-8") == shown
    # An escape takes at most 10 characters, and "…" one more.
    assert len(shown) <= 5001


@pytest.mark.parametrize("char", ["a", "é", "中", "😀", "\\", "\t"])
def test_long_text_is_cut(char: str) -> None:
    for text in (char * 5000, (char * 5000).encode()):
        assert report.show(text).endswith("…")
    for text in (char * 200, (char * 200).encode()):
        assert not report.show(text).endswith("…")
