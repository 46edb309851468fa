"""Aligners that align in each direction on its own: their programs are run, their links read back and joined.

The protocol is that of the fast_align program, and our own worker for sil-thot's models speaks it too: lines of
`source words ||| target words` in, lines of `i-j` out on standard output, a line with ITERATION on standard error
for every pass over the text. Links are source-target in both directions.

Our worker adds posteriors where it has them: `i-j:p` for a link, and after a tab, in the same form, the other cells
that are likely enough to tell, because the other direction may have linked them.

Both directions run at once, with one thread each: they fill two cores, and sums in a fixed order make the links the
same in every run.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NamedTuple

from tqdm import tqdm

from ..errors import InputError
from .base import Aligned, FileAligner, Link, count_lines, read_sizes
from .symmetrize import symmetrize as join

_ITEM = re.compile(r"([0-9]+)-([0-9]+)(?::([0-9.eE+-]+))?")


class DirectedLinks(NamedTuple):
    """One direction of one pair. `posteriors` holds every cell that the aligner told one for; empty if it has none."""

    links: list[Link]
    posteriors: dict[Link, float]


class Finished(NamedTuple):
    """A program that has ended well: the file of what it wrote, and its lines on standard error."""

    out: Path
    said: list[str]


class DirectionalAligner(FileAligner):
    """An aligner that has `directions`; `posteriors` says whether they come with posteriors."""

    posteriors = False

    def directions(self, words: Path, count: int = 2) -> Iterator[tuple[DirectedLinks, ...]]:
        """For each line the links of the forward direction (every target word has at most one source word) and,
        unless `count` is 1, of the reverse one.
        """
        raise NotImplementedError

    def write_model(self, words: Path, folder: Path) -> dict[str, Any]:
        """Trains both directions on `words` and writes them into `folder`; what else must be known is returned."""
        raise NotImplementedError

    def align_file(self, words: Path, symmetrize: str = "intersect") -> Iterator[Aligned]:
        lines = self.directions(words, 1 if symmetrize == "forward" else 2)
        for (source, target), directed in zip(read_sizes(words), lines, strict=True):
            links = join(source, target, directed[0].links, directed[-1].links, symmetrize)
            yield Aligned(links, [mean_posterior(link, directed) for link in links] if self.posteriors else None)


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


def _as_it_is(line: str) -> str:
    return line


def run_directions(
    name: str,
    commands: Sequence[Sequence[str]],
    words: Path,
    passes: int,
    links_of: Callable[[str], str] = _as_it_is,
) -> Iterator[tuple[DirectedLinks, ...]]:
    """Runs a command for each direction, and gives for each line of `words` the links of every direction.

    `passes` is how many ITERATION lines each command writes, for the bar (0: none is shown); `links_of` finds the links
    in a line.
    """
    with temporary_folder(words) as folder:
        done = run_together(name, commands, Path(folder), passes)
        yield from read_directions(name, [each.out for each in done], words, links_of)


def temporary_folder(words: Path) -> tempfile.TemporaryDirectory[str]:
    """Beside `words`, where there is room for files of its size."""
    return tempfile.TemporaryDirectory(prefix=".weam-align-", dir=words.parent)


def run_together(name: str, commands: Sequence[Sequence[str]], folder: Path, passes: int) -> list[Finished]:
    """Runs the commands at once and waits. Raises InputError, and stops the others, when one of them fails."""
    total, hidden = passes * len(commands), None if passes else True
    with tqdm(total=total, desc=f"align ({name})", unit="pass", leave=False, disable=hidden) as bar:
        runs = [_Run(name, command, folder / f"out.{number}", bar) for number, command in enumerate(commands)]
        try:
            return [run.finish() for run in runs]
        finally:
            for run in runs:
                run.stop()


def read_directions(
    name: str, files: Sequence[Path], words: Path, links_of: Callable[[str], str] = _as_it_is
) -> Iterator[tuple[DirectedLinks, ...]]:
    """Reads one file of links for each direction. Raises InputError when a file has not one line for each pair."""
    pairs = count_lines(words)
    for file in files:
        if (lines := count_lines(file)) != pairs:
            raise InputError(
                f"{name} must give one line of links for each of {pairs:,} pairs, "
                f"but gave {lines:,} lines. Try --aligner with another one."
            )
    with ExitStack() as stack:
        streams = [stack.enter_context(file.open(encoding="utf-8", errors="replace", newline="\n")) for file in files]
        together = zip(read_sizes(words), zip(*streams, strict=True), strict=True)
        for number, (sizes, texts) in enumerate(together, start=1):
            yield tuple(_read_links(name, number, links_of(text.removesuffix("\n")), sizes) for text in texts)


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
            f"{name} wrote {str(error)!r} for pair {number:,}; links must be like 0-0 or 0-0:0.93."
        ) from None
    told = links + cells
    if any(i >= sizes[0] or j >= sizes[1] for (i, j), _ in told):
        raise InputError(f"{name} gave a link outside pair {number:,}: {found!r}.")
    posteriors = {cell: probability for cell, probability in told if probability is not None}
    return DirectedLinks([link for link, _ in links], posteriors)


class _Run:
    """One program under way."""

    def __init__(self, name: str, command: Sequence[str], out: Path, bar: tqdm) -> None:
        self._name, self._out = name, out
        self._said: list[str] = []
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        with out.open("wb") as stdout:
            self._process = subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, env=env)
        assert self._process.stderr is not None
        self._listener = threading.Thread(target=self._listen, args=(self._process.stderr, bar), daemon=True)
        self._listener.start()

    def _listen(self, stderr: IO[bytes], bar: tqdm) -> None:
        for line in stderr:
            if b"ITERATION" in line:
                bar.update(1)
            elif line.strip():
                self._said.append(line.decode("utf-8", "replace").strip())

    def finish(self) -> Finished:
        """Waits for the process. Raises InputError when it failed."""
        code = self._process.wait()
        self._listener.join()
        if code != 0:
            last_words = self._said[-1] if self._said else "it said nothing"
            raise InputError(f"{self._name} ended with exit code {code}: {last_words}.")
        return Finished(self._out, self._said)

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._listener.join()
        assert self._process.stderr is not None
        self._process.stderr.close()
