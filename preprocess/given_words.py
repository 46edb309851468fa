"""Words from the user: a file with a line `source words ||| target words` for each line of the input.

Aligners read the same lines, so links over these words can be given too. Words are found in the raw sentence by their
characters; there may be white space anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.text_files import BYTE_ORDER_MARK

from .raw import RawReader
from .spans import Span
from .words.chunks import locate

NOT_THERE = "given words are not the sentence's"
_CHUNK = 10_000  # lines that are held in memory
# How sacremoses and Moses write characters that are special to Moses; `&` is last, since all others contain it.
_ESCAPES = {
    **{"&#124;": "|", "&lt;": "<", "&gt;": ">", "&apos;": "'", "&quot;": '"', "&#91;": "[", "&#93;": "]"},
    "&amp;": "&",
}


class WordSpans(NamedTuple):
    source: list[Span]
    target: list[Span]


class GivenWords:
    """The lines of a file, from the first to the last."""

    def __init__(self, file: Path) -> None:
        """Raises InputError, before anything is read, if the file does not exist."""
        self._file = file
        self._reader = RawReader([(file,)], _CHUNK)
        lines = (line for chunk in self._reader for line in chunk.sides[0])
        self._lines: Iterator[bytes] = (
            line.removeprefix(BYTE_ORDER_MARK) if number == 0 else line for number, line in enumerate(lines)
        )
        self._taken = 0

    def take(self, count: int) -> list[bytes]:
        """The next lines. Raises InputError if there are fewer."""
        lines = list(islice(self._lines, count))
        self._taken += len(lines)
        if len(lines) < count:
            raise self._wrong(f"{self._taken:,} lines, but the input has more")
        return lines

    def finish(self) -> str:
        """The SHA-256 of the file. Raises InputError if lines are left."""
        left = sum(1 for _ in self._lines)
        if left:
            raise self._wrong(f"{self._taken + left:,} lines, but the input has {self._taken:,}")
        return self._reader.parts[0][0].sha256

    def _wrong(self, found: str) -> InputError:
        return InputError(
            f"{self._file} has {found}. Give one line of words for each line of the input, including lines that "
            "will be dropped."
        )


def find_words(line: bytes, source: str, target: str) -> WordSpans | None:
    """The spans of the words of a line in the sentences; None if they are not the sentences' own characters.

    Words that Moses has escaped (`&apos;`) are unescaped if they are not found as written.
    """
    try:
        sides = line.decode("utf-8").removesuffix("\r").split(" ||| ")
    except UnicodeDecodeError:
        return None
    if len(sides) != 2:
        return None
    found = [_located(text, side.split()) for text, side in zip((source, target), sides, strict=True)]
    if not all(found):
        return None
    return WordSpans(*(spans for spans in found if spans is not None))


def _located(text: str, words: Sequence[str]) -> list[Span] | None:
    """One span for each word, or None, since links refer to words by number."""
    for candidates in (words, [_unescaped(word) for word in words]):
        found = locate(text, candidates)
        if found is not None and len(found) == len(words):
            return found
    return None


def _unescaped(word: str) -> str:
    for escaped, char in _ESCAPES.items():
        word = word.replace(escaped, char)
    return word
