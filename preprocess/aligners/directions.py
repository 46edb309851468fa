"""Runs an aligner in both directions at once, each as a process of its own, and reads back its links.

The protocol is that of the fast_align program, and our own worker for sil-thot's models speaks it too: lines of
`source words ||| target words` in, lines of `i-j` out on standard output, a line with ITERATION on standard error
for every pass over the text, `-r` for the other direction (its links are source-target as well).

One thread each: two directions fill two cores, and sums in a fixed order make the links the same in every run.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from tqdm import tqdm

from ..errors import InputError
from .base import Link, WordPair, aligner_line


def parse_links(line: str) -> list[Link]:
    """Reads `0-0 1-2`. Raises ValueError for anything else."""
    links = []
    for item in line.split():
        source, hyphen, target = item.partition("-")
        if not (hyphen and source.isascii() and source.isdigit() and target.isascii() and target.isdigit()):
            raise ValueError(item)
        links.append((int(source), int(target)))
    return links


def run_directions(
    name: str, command: Sequence[str], pairs: Sequence[WordPair], passes: int, directions: int = 2
) -> list[list[list[Link]]]:
    """Links of the forward direction and, unless `directions` is 1, of the reverse one.

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
                return [run.links(pairs) for run in runs]
            finally:
                for run in runs:
                    run.stop()


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

    def links(self, pairs: Sequence[WordPair]) -> list[list[Link]]:
        code = self._process.wait()
        self._listener.join()
        if code != 0:
            raise InputError(f"{self._name} ended with exit code {code}: {self._last_words or 'it said nothing'}.")
        lines = self._out.read_text(encoding="utf-8", errors="replace").split("\n")
        if lines[-1] == "":
            lines.pop()
        if len(lines) != len(pairs):
            raise InputError(
                f"{self._name} must give one line of links for each of {len(pairs):,} pairs, "
                f"but gave {len(lines):,} lines. Try --aligner with another one."
            )
        return [self._checked(number, line, pair) for number, (line, pair) in enumerate(zip(lines, pairs, strict=True))]

    def _checked(self, number: int, line: str, pair: WordPair) -> list[Link]:
        try:
            links = parse_links(line)
        except ValueError as error:
            raise InputError(
                f"{self._name} wrote {str(error)!r} for pair {number + 1:,}; links must be like 0-0."
            ) from None
        if any(i >= len(pair[0]) or j >= len(pair[1]) for i, j in links):
            raise InputError(f"{self._name} gave a link outside pair {number + 1:,}: {line!r}.")
        return links

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._listener.join()
        assert self._process.stderr is not None
        self._process.stderr.close()
