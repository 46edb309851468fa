"""Links made elsewhere: Pharaoh lines over our words, one line for every line of the input.

An item is `i-j`, or `i-j:p` with p the link's probability: all items of all files have one, or none has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..corpus import read_text
from ..errors import InputError
from .base import Alignments, Link, WordPair
from .directions import parse_links


class PrecomputedLinks:
    """`line_idxs` are the input lines (from 0) of the pairs that `align` will be given; `lines` is the input's length.

    The file is read, its line count and its first links are checked at once, the others when the words are known.
    `probabilities` says whether links have them, as the first line with links does; None when no line has links, which
    goes with either.
    """

    name = "precomputed"

    def __init__(self, file: Path, lines: int) -> None:
        self.file = file
        self._lines = read_text(file).lines
        self.version = "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest()
        self.line_idxs: Sequence[int] = range(lines)
        if len(self._lines) != lines:
            raise InputError(
                f"{file} has {len(self._lines):,} lines of links, but the input has {lines:,} lines. "
                "Give one line of links for each line of the input, empty where there is no link."
            )
        first = next((idx for idx, line in enumerate(self._lines) if line.split()), None)
        self.probabilities = None if first is None else self._parsed(first)[0][1] is not None

    def align(self, pairs: Sequence[WordPair], symmetrize: str = "intersect") -> Alignments:
        """The links as they are given: they are not symmetrised again. Of equal links the likeliest is kept."""
        items = [self._checked(idx, pair) for idx, pair in zip(self.line_idxs, pairs, strict=True)]
        links = [sorted(line) for line in items]
        if not self.probabilities:
            return Alignments(links)
        return Alignments(links, [[items[n][link] for link in line] for n, line in enumerate(links)])

    def _checked(self, line_idx: int, pair: WordPair) -> dict[Link, float]:
        """Link to probability, 1 where links have none."""
        found: dict[Link, float] = {}
        for (i, j), probability in self._parsed(line_idx):
            side, words = ("source", pair[0]) if i >= len(pair[0]) else ("target", pair[1])
            if i >= len(pair[0]) or j >= len(pair[1]):
                raise InputError(
                    f"{self._where(line_idx)}: link {i}-{j} points outside the {side} ({len(words)} words). "
                    "Align the same files again, or pass --links for this corpus."
                )
            if (probability is not None) != self.probabilities:
                has, first = ("no probability", "one") if probability is None else ("a probability", "none")
                raise InputError(
                    f"{self._where(line_idx)}: link {i}-{j} has {has}, but the first link of the file has {first}. "
                    "Give either all links a probability (i-j:p) or none."
                )
            found[i, j] = max(found.get((i, j), 0.0), 1.0 if probability is None else probability)
        return found

    def _parsed(self, line_idx: int) -> list[tuple[Link, float | None]]:
        try:
            return parse_links(self._lines[line_idx])
        except ValueError as error:
            raise InputError(
                f"{self._where(line_idx)}: links must be like 0-0 1-2, or with probabilities above 0 and at most 1 "
                f"like 0-0:0.93 1-2:0.4, but {str(error)!r} stands there. Mend the line."
            ) from None

    def _where(self, line_idx: int) -> str:
        return f"{self.file.name} line {line_idx + 1:,}"


def agree_on_probabilities(files: Iterable[PrecomputedLinks]) -> None:
    """Either all files have probabilities or none; a file without any link follows the others. Raises InputError."""
    files = list(files)
    having = [file for file in files if file.probabilities is True]
    lacking = [file for file in files if file.probabilities is False]
    if having and lacking:
        raise InputError(
            f"Either all files of --links must give their links probabilities (i-j:p) or none, but {having[0].file} "
            f"does and {lacking[0].file} does not. Add them to the one or remove them from the other."
        )
    for file in files:
        file.probabilities = bool(having)
