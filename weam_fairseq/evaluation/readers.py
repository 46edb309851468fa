"""Readers of evaluation files: sentence pairs, word-segmented pairs, and gold links.

Every reader takes paths, returns a list with one entry a line, and refuses what it does not understand with the
file and the line. Lines end at a line feed and nowhere else: `str.splitlines` would also split at the Unicode
separators that real text contains.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple, TypeVar

from weam_fairseq.common.errors import InputError


class Pair(NamedTuple):
    """A sentence and its translation, as raw text."""

    source: str
    target: str


class Link(NamedTuple):
    """A sure word link; both indices count words from 0."""

    source_word_idx: int
    target_word_idx: int


class LinkedPair(NamedTuple):
    """A pair in words, with its sure links; `possible` counts the links that are only possible."""

    source_words: list[str]
    target_words: list[str]
    links: list[Link]
    possible: int


T = TypeVar("T")

_LINK = re.compile(r"(\d+)([-p])(\d+)")


def read_pairs(path: Path) -> list[Pair]:
    """Reads `source<TAB>target` lines.

    Raises:
        InputError: a line is not UTF-8, has not exactly one tab, or has an empty side.
    """
    pairs = []
    for number, line in enumerate(read_lines(path), start=1):
        sides = line.split("\t")
        if len(sides) != 2:
            raise InputError(
                f"{path}:{number}: the line must hold a source, one tab and a target, but has {len(sides) - 1} tabs. "
                "Write one pair a line."
            )
        pair = Pair(sides[0].strip(), sides[1].strip())
        if not pair.source or not pair.target:
            raise InputError(f"{path}:{number}: one side is empty. Remove the pair from the evaluation file.")
        pairs.append(pair)
    return _not_too_few(pairs, path)


def read_linked_pairs(words_path: Path, gold_path: Path) -> list[LinkedPair]:
    """Reads `source words ||| target words` lines and their lines of links, `i-j` (sure) or `ipj` (possible).

    Raises:
        InputError: the two files differ in length, a line is malformed, or a link leaves its sentence.
    """
    word_lines, gold_lines = read_lines(words_path), read_lines(gold_path)
    if len(word_lines) != len(gold_lines):
        raise InputError(
            f"{words_path} has {len(word_lines):,} lines but {gold_path} has {len(gold_lines):,}: "
            "line k of one must belong to line k of the other. Make both files again from the same pairs."
        )
    pairs = []
    for number, (words, gold) in enumerate(zip(word_lines, gold_lines, strict=True), start=1):
        source_words, target_words = _split_words(words, f"{words_path}:{number}")
        links, possible = _parse_links(gold, len(source_words), len(target_words), f"{gold_path}:{number}")
        pairs.append(LinkedPair(source_words, target_words, links, possible))
    return _not_too_few(pairs, words_path)


def _split_words(line: str, where: str) -> tuple[list[str], list[str]]:
    sides = line.split("|||")
    if len(sides) != 2:
        raise InputError(
            f"{where}: the line must be `source words ||| target words`, but has {len(sides) - 1} separators `|||`."
        )
    # At spaces only: `split()` would also cut at the Unicode spaces inside words, and shift every link behind them.
    source_words, target_words = ([word for word in side.split(" ") if word] for side in sides)
    if not source_words or not target_words:
        raise InputError(f"{where}: one side has no words. Remove the pair from both files.")
    return source_words, target_words


def _parse_links(line: str, source_length: int, target_length: int, where: str) -> tuple[list[Link], int]:
    links: dict[Link, None] = {}
    possible = 0
    for text in line.split():
        match = _LINK.fullmatch(text)
        if match is None:
            raise InputError(f"{where}: {text!r} is no link. Sure links are written i-j, possible ones ipj, from 0.")
        link = Link(int(match[1]), int(match[3]))
        for word_idx, length, side in (
            (link.source_word_idx, source_length, "source"),
            (link.target_word_idx, target_length, "target"),
        ):
            if word_idx >= length:
                raise InputError(
                    f"{where}: link {text} points outside the {side} ({length} words, counted from 0). "
                    "Align the same file again."
                )
        if match[2] == "-":
            links[link] = None
        else:
            possible += 1
    return list(links), possible


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file. Raises InputError: the file is not there, or a line is not UTF-8."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path} is not there.") from None
    rows = data.split(b"\n")
    if rows and not rows[-1]:
        rows.pop()
    return [_decode(row, path, number) for number, row in enumerate(rows, start=1)]


def _decode(row: bytes, path: Path, number: int) -> str:
    try:
        return row.decode("utf-8").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}:{number}: byte {error.start + 1} of the line is not UTF-8. Convert the file to UTF-8."
        ) from None


def _not_too_few(pairs: list[T], path: Path) -> list[T]:
    if len(pairs) < 2:
        raise InputError(f"{path} has {len(pairs)} pairs, but a dev half and a test half need at least 2.")
    return pairs
