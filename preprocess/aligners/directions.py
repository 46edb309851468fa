"""Runs an aligner in both directions at once, each as a process of its own, and reads back its links.

The protocol is that of the fast_align program, and our own worker for sil-thot's models speaks it too: lines of
`source words ||| target words` in, lines of `i-j` out on standard output, a line with ITERATION on standard error
for every pass over the text, `-r` for the other direction (its links are source-target as well).

Our worker adds posteriors where it has them: `i-j:p` for a link, and after a tab, in the same form, the other cells
that are likely enough to tell, because the other direction may have linked them.

One thread each: two directions fill two cores, and sums in a fixed order make the links the same in every run.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from tqdm import tqdm

from ..errors import InputError
from .base import Link, WordPair, aligner_line

_ITEM = re.compile(r"([0-9]+)-([0-9]+)(?::([0-9.eE+-]+))?")


class DirectedLinks(NamedTuple):
    """One direction of one pair. `posteriors` holds every cell that the aligner told one for; empty if it has none."""

    links: list[Link]
    posteriors: dict[Link, float]


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


def run_directions(
    name: str, command: Sequence[str], pairs: Sequence[WordPair], passes: int, directions: int = 2
) -> Iterator[tuple[DirectedLinks, ...]]:
    """For each pair the links of the forward direction and, unless `directions` is 1, of the reverse one.

    `command` gets `-i FILE` and, for the reverse, `-r`; `passes` is how many ITERATION lines it writes, for the bar.
    """
    for number, (source, target) in enumerate(pairs, start=1):
        if not source or not target:
            raise InputError(f"Pair {number:,} has a side without words, which no aligner takes. Drop it first.")
    with tempfile.TemporaryDirectory(prefix="weam-align-") as folder:
        text = Path(folder, "words.txt")
        text.write_text("".join(aligner_line(pair) + "\n" for pair in pairs), encoding="utf-8", newline="\n")
        with tqdm(total=passes * directions, desc=f"align ({name})", unit="pass", leave=False, disable=None) as bar:
            runs = [
                _Run(name, [*command, "-i", str(text), *extra], Path(folder, f"links.{number}"), bar)
                for number, extra in enumerate(([], ["-r"])[:directions])
            ]
            try:
                for run in runs:
                    run.finish(len(pairs))
            finally:
                for run in runs:
                    run.stop()
        yield from zip(*(run.links(pairs) for run in runs), strict=True)


class _Run:
    """One direction under way."""

    def __init__(self, name: str, command: Sequence[str], out: Path, bar: tqdm) -> None:
        self._name, self._out = name, out
        self._last_words = ""
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
                self._last_words = line.decode("utf-8", "replace").strip()

    def finish(self, pairs: int) -> None:
        """Waits for the process. Raises InputError when it failed, or did not write one line for each pair."""
        code = self._process.wait()
        self._listener.join()
        if code != 0:
            raise InputError(f"{self._name} ended with exit code {code}: {self._last_words or 'it said nothing'}.")
        lines = sum(1 for _ in self._lines())
        if lines != pairs:
            raise InputError(
                f"{self._name} must give one line of links for each of {pairs:,} pairs, "
                f"but gave {lines:,} lines. Try --aligner with another one."
            )

    def links(self, pairs: Sequence[WordPair]) -> Iterator[DirectedLinks]:
        for number, (line, pair) in enumerate(zip(self._lines(), pairs, strict=True), start=1):
            yield self._checked(number, line, pair)

    def _lines(self) -> Iterator[str]:
        with self._out.open(encoding="utf-8", errors="replace", newline="\n") as stream:
            for line in stream:
                yield line.removesuffix("\n")

    def _checked(self, number: int, line: str, pair: WordPair) -> DirectedLinks:
        found, _, others = line.partition("\t")
        try:
            links, cells = parse_links(found), parse_links(others)
        except ValueError as error:
            raise InputError(
                f"{self._name} wrote {str(error)!r} for pair {number:,}; links must be like 0-0 or 0-0:0.93."
            ) from None
        told = links + cells
        if any(i >= len(pair[0]) or j >= len(pair[1]) for (i, j), _ in told):
            raise InputError(f"{self._name} gave a link outside pair {number:,}: {found!r}.")
        posteriors = {cell: probability for cell, probability in told if probability is not None}
        return DirectedLinks([link for link, _ in links], posteriors)

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._listener.join()
        assert self._process.stderr is not None
        self._process.stderr.close()
