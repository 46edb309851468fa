"""What the programs of the two directions have written: read back, whole or in parts side by side, and joined.

A file has a line for each pair: links `i-j`, with a posterior `i-j:p`; after a tab, in the same form, other cells that
are likely enough to tell (directions.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from io import TextIOWrapper
from itertools import accumulate, islice
from pathlib import Path
from typing import IO, NamedTuple

from weam_fairseq.common.errors import InputError

from ..errors import Unfinished
from .base import Aligned, Link, count_lines, read_sizes
from .symmetrize import symmetrize as join

_ITEM = re.compile(r"([0-9]+)-([0-9]+)(?::([0-9.eE+-]+))?")


class DirectedLinks(NamedTuple):
    """One direction of one pair. `posteriors` holds every cell that the aligner told one for; empty if it has none."""

    links: list[Link]
    posteriors: dict[Link, float]


def as_it_is(line: str) -> str:
    return line


class Outputs(NamedTuple):
    """What an aligner has written: for each direction a file with a line for each pair.

    links_of: finds the links in a line; a function of a module, since workers read files as well.
    """

    name: str
    files: Sequence[Path]
    links_of: Callable[[str], str] = as_it_is


class Lines(NamedTuple):
    """Lines that stand together in the file of words and in those of links.

    first: the number of the first one, from 0.
    size: how many there are.
    starts: for each file the byte that they start at, words first.
    """

    first: int
    size: int
    starts: tuple[int, ...]


# The smallest posterior that is told: a data-bin has no smaller probability either.
SMALLEST_POSTERIOR = 1e-4


def mean_posterior(link: Link, directed: Sequence[DirectedLinks]) -> float:
    """Over the directions, whether or not each of them found the link."""
    return sum(direction.posteriors.get(link, SMALLEST_POSTERIOR) for direction in directed) / len(directed)


def parse_links(text: str) -> list[tuple[Link, float | None]]:
    """Reads `0-0 1-2`, and with probabilities in (0, 1] `0-0:0.93 1-2:0.4`. Raises ValueError for anything else."""
    links: list[tuple[Link, float | None]] = []
    for item in text.split():
        match = _ITEM.fullmatch(item)
        if match is None:
            raise ValueError(item)
        source, target, probability = match.groups()
        links.append(((int(source), int(target)), None if probability is None else _probability(probability, item)))
    return links


def _probability(text: str, item: str) -> float:
    try:
        probability = float(text)
    except ValueError:
        raise ValueError(item) from None
    if not 0 < probability <= 1:
        raise ValueError(item)
    return probability


def cut(outputs: Outputs, words: Path, sizes: Sequence[int] | None = None) -> list[Lines]:
    """Where parts of `sizes` pairs start in each file, so that they can be read side by side; None: one part.

    Raises:
        Unfinished: a file has not one line for each pair.
    """
    pairs = count_lines(words)
    for file in outputs.files:
        if (lines := count_lines(file)) != pairs:
            raise Unfinished(
                f"{outputs.name} must give one line of links for each of {pairs:,} pairs, but gave {lines:,} lines. "
                "See that there is room on the disk and go on with --resume, or try --aligner with another one."
            )
    sizes = [pairs] if sizes is None else sizes
    assert sum(sizes) == pairs, "the parts must hold all pairs"
    starts = zip(*(_starts(file, sizes) for file in (words, *outputs.files)), strict=True)
    firsts = accumulate(sizes, initial=0)
    return [Lines(first, size, of) for first, size, of in zip(firsts, sizes, starts, strict=False)]


def _starts(file: Path, sizes: Sequence[int]) -> Iterator[int]:
    at = 0
    with file.open("rb") as stream:
        for size in sizes:
            yield at
            at += sum(map(len, islice(stream, size)))


def read_directions(
    outputs: Outputs, words: Path, lines: Lines
) -> Iterator[tuple[tuple[int, int], tuple[DirectedLinks, ...]]]:
    """How many words, and the links of every direction, for each of `lines`.

    Raises:
        InputError: a line holds something else, or a link outside its pair.
    """
    with ExitStack() as stack:
        streams = [
            stack.enter_context(_open_at(file, start))
            for file, start in zip(outputs.files, lines.starts[1:], strict=True)
        ]
        sizes = stack.enter_context(closing(read_sizes(words, lines.starts[0])))
        together = islice(zip(sizes, zip(*streams, strict=True), strict=True), lines.size)
        for number, (of_pair, texts) in enumerate(together, start=lines.first + 1):
            found = (outputs.links_of(text.removesuffix("\n")) for text in texts)
            yield of_pair, tuple(_read_links(outputs.name, number, text, of_pair) for text in found)


def read_joined(outputs: Outputs, words: Path, lines: Lines, symmetrize: str, posteriors: bool) -> Iterator[Aligned]:
    """The links of each of `lines`, both directions joined."""
    for sizes, directed in read_directions(outputs, words, lines):
        links = join(*sizes, directed[0].links, directed[-1].links, symmetrize)
        yield Aligned(links, [mean_posterior(link, directed) for link in links] if posteriors else None)


def _open_at(file: Path, start: int) -> IO[str]:
    stream = file.open("rb")
    stream.seek(start)
    return TextIOWrapper(stream, encoding="utf-8", errors="replace", newline="\n")


def _read_links(name: str, number: int, line: str, sizes: tuple[int, int]) -> DirectedLinks:
    links = _plain(line, sizes)
    return _checked(name, number, line, sizes) if links is None else DirectedLinks(links, {})


class _Items(dict[str, Link]):
    """`3-4` -> (3, 4), worked out once: a text has millions of items, few of them different. KeyError for others."""

    def __missing__(self, item: str) -> Link:
        match = _ITEM.fullmatch(item)
        if match is None or match[3] is not None:
            raise KeyError(item)
        link = int(match[1]), int(match[2])
        if max(link) < _OFTEN:
            self[item] = link
        return link


_OFTEN = 200  # words of a sentence that are met often enough to remember their items
_items = _Items()


def _plain(text: str, sizes: tuple[int, int]) -> list[Link] | None:
    """The links of a line that holds nothing else, all of them inside the pair; None for any other line."""
    try:
        links = [_items[item] for item in text.split()]
    except KeyError:
        return None
    if links and (max(links)[0] >= sizes[0] or max(link[1] for link in links) >= sizes[1]):
        return None
    return links


def _checked(name: str, number: int, line: str, sizes: tuple[int, int]) -> DirectedLinks:
    found, _, others = line.partition("\t")
    try:
        links, cells = parse_links(found), parse_links(others)
    except ValueError as error:
        raise InputError(
            f"{name} wrote {str(error)!r} for pair {number:,}; links must be like 0-0 or 0-0:0.93. Try --aligner with "
            "another one."
        ) from None
    told = links + cells
    if any(i >= sizes[0] or j >= sizes[1] for (i, j), _ in told):
        raise InputError(f"{name} gave a link outside pair {number:,}: {found!r}. Try --aligner with another one.")
    posteriors = {cell: probability for cell, probability in told if probability is not None}
    return DirectedLinks([link for link, _ in links], posteriors)
