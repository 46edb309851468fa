"""Links from files: Pharaoh lines over our words, one line for every line of the input.

An item is `i-j`, or `i-j:p` where p is the link's probability. Either all items of all files have one, or none has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weam_fairseq.common.errors import InputError

from ..raw import RawReader
from .base import Aligned, Aligner, AlignerKind, AlignerRecipe, Link, option
from .directions import parse_links
from .lines import WordPair, read_words

_CHUNK = 10_000  # lines that are held in memory

# A file with that many lines of links, and no 0 in any of them, counts words from 1.
_LINES_WITHOUT_0 = 5
_HAS_0 = re.compile(r"(?:^|\s)0-|-0(?:\s|:|$)")


@dataclass(frozen=True)
class PrecomputedOptions:
    first_word: int | None = option(
        "--links-from",
        None,
        "number of the first word of a sentence in the files of --links: 0 or 1 (default 0; a file that seems to count "
        "from 1 is an error)",
        type=int,
        choices=(0, 1),
    )


class Precomputed(AlignerKind):
    name = "precomputed"
    summary = "precomputed reads links, and probabilities if there are any, from the files of --links"
    reads_links = True
    options = PrecomputedOptions

    def build(self, recipe: AlignerRecipe) -> PrecomputedLinks:
        assert recipe.links is not None
        return PrecomputedLinks(recipe.links, recipe.lines, (recipe.options or PrecomputedOptions()).first_word)

    def check_together(self, aligners: Sequence[PrecomputedLinks]) -> None:
        agree_on_probabilities(aligners)

    def describe_options(self, options: Any) -> dict[str, Any]:
        return {}  # the manifest describes the files


class PrecomputedLinks(Aligner):
    """The links of one file.

    lines: the number of input lines.
    first_word: the number of a sentence's first word in the file, 0 or 1; None means 0, and a file that counts from 1
        is refused.
    line_idxs: the input lines (from 0), in increasing order, of the pairs that are aligned.
    probabilities: whether links have them, as in the first line with links; None if no line has links.

    The file is read twice and never held in memory: its line count and its first links are checked at once, the other
    links when the words are known.
    """

    name = "precomputed"
    version = "as given"

    def __init__(self, file: Path, lines: int, first_word: int | None = None) -> None:
        self.file = file
        self._first_word = first_word or 0
        self.line_idxs: Iterable[int] = range(lines)
        self.probabilities: bool | None = None
        count = linked = 0
        has_0 = False
        reader = RawReader([(file,)], _CHUNK)
        for line in self._read(reader):
            count += 1
            has_0 = has_0 or _HAS_0.search(line) is not None
            linked += not line.isspace() and line != ""
            if self.probabilities is None and line.split():
                self.probabilities = self._parsed(line, count - 1)[0][1] is not None
        self.sha256 = reader.parts[0][0].sha256
        if count != lines:
            raise InputError(
                f"{file} has {count:,} lines of links, but the input has {lines:,} lines. "
                "Give one line of links for each line of the input, an empty one where there is no link."
            )
        if first_word is None and not has_0 and linked >= _LINES_WITHOUT_0:
            raise InputError(
                f"{file} seems to count words from 1, because no link contains a 0. Give --links-from 1 if it does, or "
                "--links-from 0 if it does not."
            )

    def align_file(self, words: Path, symmetrize: str = "intersect") -> Iterator[Aligned]:
        """The links as given: they are not symmetrized again. If a line repeats a link, the likeliest copy is kept."""
        lines = enumerate(self._read(RawReader([(self.file,)], _CHUNK)))
        for wanted, pair in zip(self.line_idxs, read_words(words), strict=True):
            line = next(line for idx, line in lines if idx == wanted)
            found = self._checked(line, wanted, pair)
            links = sorted(found)
            yield Aligned(links, [found[link] for link in links] if self.probabilities else None)

    def _read(self, reader: RawReader) -> Iterator[str]:
        for chunk in reader:
            for number, raw in enumerate(chunk.sides[0], start=chunk.first_line_idx + 1):
                if len(raw) > chunk.max_line_bytes:
                    raise InputError(
                        f"{self.file.name} line {number:,}: has over {chunk.max_line_bytes:,} bytes. Correct the line."
                    )
                # Invalid UTF-8 is not a link either, and is refused as one.
                line = raw.decode("utf-8", "replace")
                yield line.removeprefix("\ufeff") if number == 1 else line

    def _checked(self, line: str, line_idx: int, pair: WordPair) -> dict[Link, float]:
        """Link to probability, 1 where links have none."""
        found: dict[Link, float] = {}
        for (i, j), probability in self._parsed(line, line_idx):
            side, words = ("source", pair[0]) if i >= len(pair[0]) else ("target", pair[1])
            if i >= len(pair[0]) or j >= len(pair[1]):
                raise InputError(
                    f"{self._where(line_idx)}: link {i}-{j} points outside the {side} ({len(words)} words). "
                    "Align the same files again, or give the --links of this corpus."
                )
            if (probability is not None) != self.probabilities:
                has, first = ("no probability", "one") if probability is None else ("a probability", "none")
                raise InputError(
                    f"{self._where(line_idx)}: link {i}-{j} has {has}, but the first link of the file has {first}. "
                    "Give either all links a probability (i-j:p) or none."
                )
            found[i, j] = max(found.get((i, j), 0.0), 1.0 if probability is None else probability)
        return found

    def _parsed(self, line: str, line_idx: int) -> list[tuple[Link, float | None]]:
        try:
            links = parse_links(line)
        except ValueError as error:
            raise InputError(
                f"{self._where(line_idx)}: links must be like 0-0 1-2, or with probabilities above 0 and at most 1 "
                f"like 0-0:0.93 1-2:0.4, but one is {str(error)!r}. Correct the line."
            ) from None
        if not self._first_word:
            return links
        for (i, j), _ in links:
            if min(i, j) < self._first_word:
                raise InputError(
                    f"{self._where(line_idx)}: link {i}-{j} has a word 0, but with --links-from 1 words count "
                    "from 1. Give --links-from 0, or correct the file."
                )
        return [((i - self._first_word, j - self._first_word), probability) for (i, j), probability in links]

    def _where(self, line_idx: int) -> str:
        return f"{self.file.name} line {line_idx + 1:,}"


def agree_on_probabilities(files: Iterable[PrecomputedLinks]) -> None:
    """Raises InputError unless all files have probabilities or none has. A file without any link follows the others."""
    files = list(files)
    having = [file for file in files if file.probabilities is True]
    lacking = [file for file in files if file.probabilities is False]
    if having and lacking:
        raise InputError(
            f"Either all files of --links must give their links probabilities (i-j:p) or none, but {having[0].file} "
            f"does and {lacking[0].file} does not. Add or remove probabilities in one of them."
        )
    for file in files:
        file.probabilities = bool(having)
