"""Files of nasty lines, read and cleaned: nothing crashes, no line shifts, counts add up, chunks do not show."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from hypothesis import assume, given
from hypothesis import strategies as st
from weam_preprocess.cleaning import Rules, clean
from weam_preprocess.corpus import SentencePair, keys
from weam_preprocess.kept_pairs import first_occurrences
from weam_preprocess.raw import RawReader
from weam_preprocess.report import Account, add_up

from weam_fairseq.common.text_files import find_compression, find_format

MAX_LINE_BYTES = 60
RULES = Rules(max_chars=40, max_ratio=30)


class Result(NamedTuple):
    pairs: list[SentencePair]
    account: Account


def process(contents: list[bytes], size: int, rules: Rules = RULES, max_line_bytes: int = MAX_LINE_BYTES) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        paths = tuple(Path(folder, f"{index}") for index in range(len(contents)))
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        cleaned = [clean(chunk, rules) for chunk in RawReader([paths], size, max_line_bytes=max_line_bytes)]
    return Result([pair for part in cleaned for pair in part.pairs], add_up(part.account for part in cleaned))


def is_text(content: bytes) -> bool:
    """Whether a file is read at all; small files of odd bytes may look like another format."""
    return find_compression(content) is None and find_format(content) is None


def files(lines: list[tuple[bytes, ...]]) -> list[bytes]:
    return [b"".join(line + b"\n" for line in side) for side in zip(*lines, strict=True)]


# name -> source and target as bytes, and the pair or the reason that comes of it.
NASTY: dict[str, tuple[bytes, bytes, tuple[str, str] | str]] = {
    "a plain pair": (b"The house.", b"Das Haus.", ("The house.", "Das Haus.")),
    "Latin-1": (b"The garden is nice.", b"Der Garten ist sch\xf6n.", "invalid UTF-8"),
    "half a character at the end": (b"caf\xc3", b"Kaffee", "invalid UTF-8"),
    "a surrogate": (b"\xed\xa0\xbd", b"x", "invalid UTF-8"),
    "overlong NUL": (b"\xc0\x80", b"x", "invalid UTF-8"),
    "nothing": (b"", b"", "empty side"),
    "one side only": (b"Title", b"", "empty side"),
    "ideographic spaces": ("\u3000\u3000".encode(), b"x", "empty side"),
    "zero width space": (b"x", "\u200b".encode(), "empty side"),
    "a byte order mark and no more": ("\ufeff".encode(), b"x", "empty side"),
    "NULs": (b"\x00\x00", b"x", "empty side"),
    "NUL within a word": (b"hou\x00se", b"Haus", ("house", "Haus")),
    "escape codes of a terminal": (b"\x1b[31mred\x1b[0m", b"rot", ("[31mred[0m", "rot")),
    "vertical tab": (b"two\x0bwords", b"zwei W\xc3\xb6rter", ("two words", "zwei Wörter")),
    "CR LF": (b"end\r", b"Ende\r", ("end", "Ende")),
    "CR within": (b"one\rtwo", b"eins zwei", ("one two", "eins zwei")),
    "C1, from Windows-1252": ("\x93quoted\x94".encode(), b"zitiert", ("quoted", "zitiert")),
    "line separators": (
        "a\u2028b\u2029c".encode(),
        "a\u0085b".encode(),
        ("a\u2028b\u2029c", "a\u0085b"),
    ),
    "Hebrew with marks": ("\u200fשלום\u200e".encode(), b"Hello", ("\u200fשלום\u200e", "Hello")),
    "right-to-left override": ("\u202etxet\u202c".encode(), b"text", ("\u202etxet\u202c", "text")),
    "Zalgo": (("a" + "\u0301" * 50).encode(), b"aaaaaaaaaaaa", ("a" + "\u0301" * 50, "aaaaaaaaaaaa")),
    "decomposed and composed": ("e\u0301".encode(), "é".encode(), ("e\u0301", "é")),
    "a family": ("👨\u200d👩\u200d👧".encode(), b"family", ("👨\u200d👩\u200d👧", "family")),
    "flags": ("🇩🇪🇺🇸".encode(), b"flags", ("🇩🇪🇺🇸", "flags")),
    "full width": ("ＡＢＣ　１２３".encode(), b"ABC 123", ("ＡＢＣ　１２３", "ABC 123")),
    "private use, not assigned, no character": (
        "\ue000 \u0378 \uffff".encode(),
        "\U0010ffff".encode(),
        ("\ue000 \u0378 \uffff", "\U0010ffff"),
    ),
    "replacement character": ("caf\ufffd".encode(), b"Kaffee", ("caf\ufffd", "Kaffee")),
    "white space around": (b"  padded ", b" voll ", ("  padded ", " voll ")),
    "markup": (b"<b>&amp;nbsp;</b>", b"&#0;", ("<b>&amp;nbsp;</b>", "&#0;")),
    "quotes that a CSV reader would join": (b'"open', b'"offen', ('"open', '"offen')),
    "a paragraph beside its title": (b"word " * 60, b"Titel", "length ratio over 9"),
    "a document": (b"word " * 1100, b"Wort " * 1100, "over 5,000 characters"),
    "an endless line": (b"x" * 30_000, b"y", "line over 20,000 bytes"),
    "the last line": (b"The end.", b"Das Ende.", ("The end.", "Das Ende.")),
}


def test_nasty_corpus() -> None:
    """As two files and as TSV, with the defaults of the rules."""
    lines = [(source, target) for source, target, _ in NASTY.values()]
    for contents in (files(lines), files([(b"\t".join(line),) for line in lines])):
        pairs, account = process(contents, 4, Rules(), 20_000)
        found = {pair.line_idx: (pair.source, pair.target) for pair in pairs}
        for line_idx, (name, (_, _, expected)) in enumerate(NASTY.items()):
            assert found.get(line_idx) == (None if isinstance(expected, str) else expected), name
        assert account.dropped == Counter(expected for *_, expected in NASTY.values() if isinstance(expected, str))
        for line_idx, (name, (_, _, expected)) in enumerate(NASTY.items()):
            if isinstance(expected, str):
                assert line_idx in [example.line_idx for example in account.examples[expected]], name


def test_more_or_fewer_than_one_tab() -> None:
    contents = [b"no tab\n\t\n\t\t\na\tb\tc\na\tb\n\ta\tb\na\tb"]
    pairs, account = process(contents, 2)
    assert pairs == [(4, "a", "b"), (6, "a", "b")]
    assert account.dropped == {"not one tab": 4, "empty side": 1}
    assert [mask.tolist() for mask in first_occurrences([keys(pairs)])] == [[True, False]]


CHARS = "ab é中\t\r\x00\x0b\x1c\x7f\x85\x9f\u00a0\u200b\u200f\u2028\u3000\u0301\ufeff😀\ufffd"
PIECE = st.one_of(
    st.text(st.sampled_from(CHARS), max_size=8).map(str.encode),
    st.binary(max_size=6),
    st.sampled_from([b"\xff", b"\xc3", b"\xed\xa0\x80", b"x" * 30, b"x" * 61, b"\t"]),
)
LINE = st.lists(PIECE, max_size=4).map(b"".join).map(lambda raw: raw.replace(b"\n", b""))


def documented(raw: bytes, line_idx: int, *, tsv: bool) -> str:
    """The repairs, said once more: mark at the file's beginning, CRs at a side's end, control characters."""
    text = raw.decode("utf-8")
    if line_idx == 0:
        text = text.removeprefix("\ufeff")
    text = re.sub("\r+(?=\t|$)" if tsv else "\r+$", "", text)
    controls = {c: " " if chr(c).isspace() else "" for c in [*range(32), *range(127, 160)] if chr(c) not in "\t\n\x85"}
    return text.translate(controls)


@given(st.lists(LINE, min_size=1), st.integers(1, 7), st.booleans())
def test_fuzzed_tsv(lines: list[bytes], size: int, ended: bool) -> None:
    content = b"\n".join(lines) + (b"\n" if ended or not lines[-1] else b"")
    assume(is_text(content))
    pairs, account = process([content], size)
    assert (account.read, account.kept) == (len(lines), len(pairs))
    for line_idx, source, target in pairs:
        assert f"{source}\t{target}" == documented(lines[line_idx], line_idx, tsv=True)
    check(pairs, account, [content])


@given(st.lists(st.tuples(LINE, LINE), min_size=1), st.integers(1, 7))
def test_fuzzed_files(lines: list[tuple[bytes, bytes]], size: int) -> None:
    contents = files(lines)
    assume(all(map(is_text, contents)))
    pairs, account = process(contents, size)
    assert (account.read, account.kept) == (len(lines), len(pairs))
    for line_idx, source, target in pairs:
        assert (source, target) == tuple(documented(raw, line_idx, tsv=False) for raw in lines[line_idx])
    check(pairs, account, contents)


def check(pairs: list[SentencePair], account: Account, contents: list[bytes]) -> None:
    """What holds whatever the lines are."""
    assert account.read == len(pairs) + account.dropped.total()
    assert process(contents, 1000) == (pairs, account)
    assert all(pair.source.strip() and pair.target.strip() for pair in pairs)
    assert [pair.line_idx for pair in pairs] == sorted({pair.line_idx for pair in pairs})
    # What was kept is clean: it stays as it is when it is written to files and cleaned again.
    if pairs and not any(pairs[0][side].startswith("\ufeff") for side in (1, 2)):
        again = process(files([(pair.source.encode(), pair.target.encode()) for pair in pairs]), 3)
        assert [pair[1:] for pair in again.pairs] == [pair[1:] for pair in pairs]
        assert not again.account.repaired
