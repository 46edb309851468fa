"""Links made elsewhere: Pharaoh lines (`0-0 1-2`) over our words, one line for every line of the input."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from ..corpus import read_text
from ..errors import InputError
from .base import Link, WordPair
from .directions import parse_links


class PrecomputedLinks:
    """`line_idxs` are the input lines (from 0) of the pairs that `align` will be given; `lines` is the input's length.

    The file is read and its line count checked at once, its links when the words are known.
    """

    name = "precomputed"

    def __init__(self, file: Path, lines: int) -> None:
        self._file = file
        self._lines = read_text(file).lines
        self.version = "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest()
        self.line_idxs: Sequence[int] = range(lines)
        if len(self._lines) != lines:
            raise InputError(
                f"{file} has {len(self._lines):,} lines of links, but the input has {lines:,} lines. "
                "Give one line of links for each line of the input, empty where there is no link."
            )

    def align(self, pairs: Sequence[WordPair], symmetrize: str = "intersect") -> list[list[Link]]:
        """The links as they are given: they are not symmetrised again."""
        return [self._links_of(idx, pair) for idx, pair in zip(self.line_idxs, pairs, strict=True)]

    def _links_of(self, line_idx: int, pair: WordPair) -> list[Link]:
        where = f"{self._file.name} line {line_idx + 1:,}"
        try:
            links = parse_links(self._lines[line_idx])
        except ValueError as error:
            raise InputError(f"{where}: links must be like 0-0 1-2, but {str(error)!r} stands there.") from None
        for i, j in links:
            side, words = ("source", pair[0]) if i >= len(pair[0]) else ("target", pair[1])
            if i >= len(pair[0]) or j >= len(pair[1]):
                raise InputError(
                    f"{where}: link {i}-{j} points outside the {side} ({len(words)} words). "
                    "Align the same files again, or pass --links for this corpus."
                )
        return sorted(set(links))
