"""Readers of evaluation files: lines, JSON, sentence pairs, word-segmented pairs, and gold links.

Every reader takes paths, returns one entry per line, and reports the file and line of what it cannot read. Only a
line feed ends a line: `str.splitlines` would also split at Unicode separators, which occur in real text.
common/text_files.py handles byte order marks and compression.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from weam_fairseq.common.documents import parse_json
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.text_files import is_regular, open_text


class TextPair(NamedTuple):
    """A sentence and its translation, as raw text."""

    source: str
    target: str


# Indices of a source word and a target word, from 0.
WordLink = tuple[int, int]


class GoldLinks(NamedTuple):
    """One pair. A link that is given as both sure and possible is sure; `possible` holds the sure ones too."""

    sure: frozenset[WordLink]
    possible: frozenset[WordLink]


class GoldPair(NamedTuple):
    """A pair in words and its links."""

    source_words: list[str]
    target_words: list[str]
    gold: GoldLinks

    def holds(self, link: WordLink) -> bool:
        """Whether both ends of the link are words of the pair."""
        return link[0] < len(self.source_words) and link[1] < len(self.target_words)


T = TypeVar("T")

# Benchmarks put all their questions on one line of JSON.
_LONGEST_LINE = 1 << 30

# Nine digits at most: no sentence has more words, and longer numbers are slow to read.
_ITEM = re.compile(r"([0-9]{1,9})([-pP?])([0-9]{1,9})(?::([A-Za-z]+))?")
_LABELS = {"s": "sure", "sure": "sure", "p": "possible", "possible": "possible"}
_GOLD_FORMS = "i-j or i-j:S (sure), ipj, i?j or i-j:P (possible)"

# A file with at least this many lines of links and no 0 counts words from 1. In the eight published sets of
# docs/evaluation.md, at least 96 in 100 lines have a link with a 0.
LINES_WITHOUT_0 = 5


def read_pairs(path: Path) -> list[TextPair]:
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
        pair = TextPair(sides[0].strip(), sides[1].strip())
        if not pair.source or not pair.target:
            raise InputError(f"{path}:{number}: one side is empty. Remove the pair from the evaluation file.")
        pairs.append(pair)
    return _not_too_few(pairs, path)


def read_linked_pairs(words_path: Path, gold_path: Path, first_word: int | None = None) -> list[GoldPair]:
    """Reads `source words ||| target words` lines and their lines of links (see `read_gold`).

    Raises:
        InputError: the two files differ in length, a line is malformed, or a link leaves its sentence.
    """
    pairs = []
    sentences, gold = read_words_and_gold(words_path, gold_path, first_word)
    for number, (sides, each) in enumerate(zip(sentences, gold, strict=True), start=1):
        for link in sorted(each.possible):
            for word_idx, words, side in zip(link, sides, ("source", "target"), strict=True):
                if word_idx >= len(words):
                    raise InputError(
                        f"{gold_path}:{number}: link {link[0]}-{link[1]} points outside the {side} ({len(words)} "
                        "words, counted from 0). Align the same file again."
                    )
        pairs.append(GoldPair(*sides, each))
    return _not_too_few(pairs, words_path)


def read_words_and_gold(
    words_path: Path, gold_path: Path, first_word: int | None = None
) -> tuple[list[tuple[list[str], list[str]]], list[GoldLinks]]:
    """The words of both sides and the links of each pair (see `read_gold`). Links may point outside their sentence.

    Raises:
        InputError: the two files differ in length, or a line is malformed.
    """
    lines, gold_lines = read_lines(words_path), read_lines(gold_path)
    if len(lines) != len(gold_lines):
        raise InputError(
            f"{words_path} has {len(lines):,} lines but {gold_path} has {len(gold_lines):,}: line k of one must belong "
            "to line k of the other. Take both files from the same release, or make both again from the same pairs."
        )
    sentences = [_words_of_sides(line, f"{words_path}:{number}") for number, line in enumerate(lines, start=1)]
    sizes = [(len(source), len(target)) for source, target in sentences]
    return sentences, read_gold(gold_path, first_word, sizes)


def split_words(text: str) -> list[str]:
    """Splits at spaces only: `split()` also splits at Unicode spaces inside words, which would shift later links."""
    return [word for word in text.split(" ") if word]


def _words_of_sides(line: str, where: str) -> tuple[list[str], list[str]]:
    sides = line.split("|||")
    if len(sides) != 2:
        raise InputError(
            f"{where}: the line must be `source words ||| target words`, but has {len(sides) - 1} separators `|||`."
        )
    source_words, target_words = map(split_words, sides)
    if not source_words or not target_words:
        raise InputError(f"{where}: one side has no words. Remove the pair from both files.")
    return source_words, target_words


def read_gold(
    path: Path, first_word: int | None = None, sizes: Sequence[tuple[int, int]] | None = None
) -> list[GoldLinks]:
    """Reads gold links, for all tasks.

    A line holds sure links `i-j` (also `i-j:S`) and possible ones `ipj` (also `i?j` and `i-j:P`).

    Args:
        first_word: the number of a sentence's first word in the file, 0 or 1 (--gold-from); None expects 0.
        sizes: how many words both sides of each pair have, where that is known.

    Returns:
        Links that count words from 0.

    Raises:
        InputError: an item is not a link, or the file counts words from 1 and `first_word` is None.
    """
    rows = []
    for number, line in enumerate(read_lines(path), start=1):
        items = [_gold_item(item, f"{path}:{number}") for item in line.split()]
        sure = frozenset(link for link, kind in items if kind == "sure")
        rows.append((sure, sure.union(link for link, _ in items)))
    every = [possible for _, possible in rows]
    if first_word is None and (sign := counted_from_1(every, sizes)) is not None:
        raise InputError(
            f"{path} seems to count words from 1, because no link contains a 0{sign}. Give --gold-from 1 if it does, "
            "or --gold-from 0 if it does not."
        )
    shifted = (from_0(links, first_word or 0, path, "--gold-from") for links in ([sure for sure, _ in rows], every))
    return [GoldLinks(*row) for row in zip(*shifted, strict=True)]


def _gold_item(item: str, where: str) -> tuple[WordLink, str]:
    match = _ITEM.fullmatch(item)
    kind = None
    if match is not None:
        kind = "sure" if match[2] == "-" else "possible"
        if match[4] is not None:
            kind = _LABELS.get(match[4].lower()) if match[2] == "-" else None
    if match is None or kind is None:
        raise InputError(
            f"{where}: {item!r} is not a link. Write links as {_GOLD_FORMS}, words counted from 0; correct the item or "
            "remove it."
        )
    return (int(match[1]), int(match[3])), kind


def read_predicted_links(path: Path) -> list[frozenset[WordLink]]:
    """Lines of `i-j`, numbered as in the file. Raises InputError with the file and the line of another item."""
    return [
        frozenset(_predicted_item(item, f"{path}:{number}") for item in line.split())
        for number, line in enumerate(read_lines(path), start=1)
    ]


def _predicted_item(item: str, where: str) -> WordLink:
    match = _ITEM.fullmatch(item)
    if match is None or match[2] != "-" or match[4] is not None:
        raise InputError(f"{where}: {item!r} is not a link. Write links as i-j, words counted from 0.")
    return int(match[1]), int(match[3])


def counted_from_1(lines: Sequence[frozenset[WordLink]], sizes: Sequence[tuple[int, int]] | None = None) -> str | None:
    """None, or further evidence that a file without 0 counts words from 1 (empty: the number of its lines)."""
    if any(0 in link for links in lines for link in links):
        return None
    for number, (links, size) in enumerate(zip(lines, sizes or [], strict=sizes is not None), start=1):
        for i, j in sorted(links):
            if i == size[0] or j == size[1]:
                return f", and line {number:,} links word {max(i, j)} of {size[0]} and {size[1]} words as {i}-{j}"
    return "" if sum(map(bool, lines)) >= LINES_WITHOUT_0 else None


def from_0(lines: Sequence[frozenset[WordLink]], first_word: int, path: Path, option: str) -> list[frozenset[WordLink]]:
    """Links that count words from `first_word`, counted from 0.

    Raises:
        InputError: a link has a number below `first_word`, with the file and the line.
    """
    for number, links in enumerate(lines, start=1):
        for i, j in sorted(links):
            if min(i, j) < first_word:
                raise InputError(
                    f"{path}:{number}: link {i}-{j} has a word {min(i, j)}, but with {option} {first_word} words "
                    f"count from {first_word}. Give {option} 0, or correct the file."
                )
    return [frozenset((i - first_word, j - first_word) for i, j in links) for links in lines]


def labels_of(path: Path) -> Path:
    """The file of labels that belongs to a file of questions, as Social IQa is published. It may not exist."""
    return path.with_name(f"{path.stem}-labels.lst")


def with_labels(paths: Sequence[Path]) -> list[Path]:
    """The files, and the existing files of labels that are read with them."""
    return [each for path in paths for each in (path, labels_of(path)) if each == path or each.is_file()]


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, plain or compressed (common/text_files.py).

    The lines of a pipe, which can be read only once, are kept for later calls.

    Raises:
        InputError: the file is missing or damaged, contains no text, or a line is not UTF-8.
    """
    if is_regular(path):
        return list(_open(path))
    pipe = path, path.stat().st_ino
    if pipe not in _READ_ONCE:
        _READ_ONCE[pipe] = list(_open(path))
    return list(_READ_ONCE[pipe])


_READ_ONCE: dict[tuple[Path, int], list[str]] = {}


def _open(path: Path) -> Iterator[str]:
    return open_text(path, allow_json=True, max_line_bytes=_LONGEST_LINE)


def read_document(path: Path, kind: type = object) -> Any:
    """The value of a JSON file, plain or compressed.

    Raises:
        InputError: as `read_lines` and `parse_json`.
    """
    return parse_json("\n".join(read_lines(path)), path, kind)


def _not_too_few(pairs: list[T], path: Path) -> list[T]:
    if len(pairs) < 2:
        raise InputError(f"{path} has {len(pairs)} pairs, but a dev half and a test half need at least 2.")
    return pairs


def one_cell(text: str) -> str:
    """Replaces tabs and line ends, which would split cells and lines."""
    return " ".join(text.replace("\t", " ").split("\n"))


def joined_lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
