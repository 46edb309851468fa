"""Aligners that align in each direction separately: runs their programs, reads their links and joins the directions.

The protocol is that of the program fast_align; our own worker for sil-thot's eflomal speaks it too. Lines of
`source words ||| target words` come in. Lines of `i-j` go out on standard output, and one line with ITERATION on
standard error for every pass over the text. Links are source-target in both directions.

Both directions run at the same time, with one thread each. They fill two cores, and sums in a fixed order make the
links the same in every run.

The joining heuristics are sil-thot's (Och and Ney 2003; Koehn et al. 2005). On fast_align's links of 20,000 de-en and
20,000 zh-en pairs they give the same lines as the program atools.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from io import TextIOWrapper
from itertools import accumulate, islice
from pathlib import Path
from typing import IO, Any, NamedTuple

from weam_fairseq.common.errors import InputError

from ..errors import Unfinished
from .base import Aligned, Aligner, Link
from .lines import count_lines, read_sizes

NAMES = ("forward", "reverse")
REVERSE: tuple[list[str], ...] = ([], ["-r"])  # the flag of each direction

_ITEM = re.compile(r"([0-9]+)-([0-9]+)(?::([0-9.eE+-]+))?")
_OFTEN = 200  # word numbers below this occur often enough to remember their items


class Finished(NamedTuple):
    """A program that succeeded: the file with its output, and the lines that it wrote to standard error."""

    out: Path
    messages: list[str]


class Outputs(NamedTuple):
    """What an aligner has written: for each direction a file with one line for each pair.

    links_of: finds the links in a line; a function of a module, since worker processes read the files too. By default,
        a line is nothing but links.
    """

    name: str
    files: Sequence[Path]
    links_of: Callable[[str], str] = str


class Lines(NamedTuple):
    """Consecutive lines of the file of words and of the files of links.

    first: the number of the first one, from 0.
    size: how many there are.
    starts: the byte at which they start in each file; the file of words comes first.
    """

    first: int
    size: int
    starts: tuple[int, ...]


class DirectionalAligner(Aligner):
    """An aligner that aligns in each direction separately."""

    @abstractmethod
    def run(self, words: Path, folder: Path, count: int = 2) -> Outputs:
        """Runs the forward direction, in which every target word has at most one source word, and, unless `count` is 1,
        the reverse direction. Their files go into `folder`.
        """

    @abstractmethod
    def write_model(self, words: Path, folder: Path) -> dict[str, Any]:
        """Trains both directions on `words` and writes them into `folder`. Returns the details for aligner.json."""

    def align_file(self, words: Path, symmetrize: str = "intersect") -> Iterator[Aligned]:
        with temporary_folder(words) as folder:
            outputs = self.run(words, Path(folder), directions_of(symmetrize))
            [lines] = cut(outputs, words)
            yield from read_joined(outputs, words, lines, symmetrize)


def directions_of(symmetrize: str) -> int:
    """How many directions must run."""
    return 1 if symmetrize == "forward" else 2


def temporary_folder(words: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder next to `words`, where there is room for files of its size."""
    return tempfile.TemporaryDirectory(prefix=".weam-align-", dir=words.parent)


def run_together(name: str, commands: Sequence[Sequence[str]], folder: Path, passes: int) -> list[Finished]:
    """Runs the commands at the same time and waits for all of them.

    passes: how many ITERATION lines each command writes, for the progress bar; 0 shows no bar.
    Raises Unfinished, and stops the other commands, if one fails.
    """
    from tqdm import tqdm

    total, hidden = passes * len(commands), None if passes else True
    with tqdm(total=total, desc=f"align ({name})", unit="pass", leave=False, disable=hidden) as bar:
        runs = [_Run(name, command, folder / f"out.{number}", bar) for number, command in enumerate(commands)]
        try:
            return [run.finish() for run in runs]
        finally:
            for run in runs:
                run.stop()


class _Run:
    """A running program."""

    def __init__(self, name: str, command: Sequence[str], out: Path, bar: Any) -> None:
        self._name, self._out = name, out
        self._messages: list[str] = []
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        with out.open("wb") as stdout:
            self._process = subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, env=env)
        assert self._process.stderr is not None
        self._listener = threading.Thread(target=self._listen, args=(self._process.stderr, bar), daemon=True)
        self._listener.start()

    def _listen(self, stderr: IO[bytes], bar: Any) -> None:
        for line in stderr:
            if b"ITERATION" in line:
                bar.update(1)
            elif line.strip():
                self._messages.append(line.decode("utf-8", "replace").strip())

    def finish(self) -> Finished:
        """Waits for the process. Raises Unfinished if it failed: we wrote its input, so the machine is the cause."""
        code = self._process.wait()
        self._listener.join()
        if code != 0:
            how = f"was killed by signal {-code}" if code < 0 else f"failed with exit code {code}"
            last = self._messages[-1].rstrip(".") if self._messages else "it printed no message"
            raise Unfinished(
                f"{self._name} {how}: {last}. Make sure that there is enough memory and disk space, then continue with "
                "--resume."
            )
        return Finished(self._out, self._messages)

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._listener.join()
        assert self._process.stderr is not None
        self._process.stderr.close()


def cut(outputs: Outputs, words: Path, sizes: Sequence[int] | None = None) -> list[Lines]:
    """Where parts of `sizes` pairs start in each file, so that they can be read in parallel; None means one part.

    Raises:
        Unfinished: a file does not have one line for each pair.
    """
    pairs = count_lines(words)
    for file in outputs.files:
        if (lines := count_lines(file)) != pairs:
            raise Unfinished(
                f"{outputs.name} must write one line of links for each of {pairs:,} pairs, but wrote {lines:,} lines. "
                "Make sure that there is enough disk space and continue with --resume, or choose another --aligner."
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
) -> Iterator[tuple[tuple[int, int], tuple[list[Link], ...]]]:
    """The number of words on both sides, and the links of every direction, for each of `lines`.

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


def read_joined(outputs: Outputs, words: Path, lines: Lines, how: str) -> Iterator[Aligned]:
    """The links of each of `lines`, with both directions joined."""
    for sizes, directed in read_directions(outputs, words, lines):
        yield Aligned(symmetrize(*sizes, directed[0], directed[-1], how))


# The ways to join that need no look at neighbors, on boolean arrays or tensors of both directions.
JOINED: dict[str, Callable[[Any, Any], Any]] = {
    "forward": lambda forward, reverse: forward,
    "intersect": lambda forward, reverse: forward & reverse,
    "union": lambda forward, reverse: forward | reverse,
}


def symmetrize(
    source_words: int, target_words: int, forward: Sequence[Link], reverse: Sequence[Link], how: str
) -> list[Link]:
    """Joins the links of the two directions. `how` is one of SYMMETRIZATIONS; `forward` takes that direction alone."""
    if how == "forward":
        return sorted(set(forward))
    if how == "intersect":
        return sorted(set(forward) & set(reverse))
    if how == "union":
        return sorted(set(forward) | set(reverse))
    if not forward and not reverse:
        return []
    joined = _matrix(source_words, target_words, forward)
    other = _matrix(source_words, target_words, reverse)
    getattr(joined, {"grow-diag": "grow_diag", "grow-diag-final-and": "grow_diag_final_and"}[how])(other)
    return sorted((int(i), int(j)) for i, j in zip(*joined.to_numpy().nonzero(), strict=True))


def _matrix(rows: int, columns: int, links: Sequence[Link]) -> Any:
    from thot.common import WordAlignmentMatrix

    matrix = WordAlignmentMatrix(rows, columns)
    for i, j in links:
        matrix.set(i, j)
    return matrix


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


def _open_at(file: Path, start: int) -> IO[str]:
    stream = file.open("rb")
    stream.seek(start)
    return TextIOWrapper(stream, encoding="utf-8", errors="replace", newline="\n")


def _read_links(name: str, number: int, line: str, sizes: tuple[int, int]) -> list[Link]:
    try:
        links = [_items[item] for item in line.split()]
    except KeyError as error:
        raise InputError(
            f"{name} wrote {error.args[0]!r} for pair {number:,}; links must be like 0-0. Choose another --aligner."
        ) from None
    if links and (max(links)[0] >= sizes[0] or max(link[1] for link in links) >= sizes[1]):
        raise InputError(f"{name} wrote a link outside pair {number:,}: {line!r}. Choose another --aligner.")
    return links


class _Items(dict[str, Link]):
    """`3-4` -> (3, 4), parsed once: a text has millions of items, but few different ones. KeyError for others."""

    def __missing__(self, item: str) -> Link:
        match = _ITEM.fullmatch(item)
        if match is None or match[3] is not None:
            raise KeyError(item)
        link = int(match[1]), int(match[2])
        if max(link) < _OFTEN:
            self[item] = link
        return link


_items = _Items()
