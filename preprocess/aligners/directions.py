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
import subprocess
import tempfile
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from tqdm import tqdm

from ..errors import Unfinished
from .base import Aligned, FileAligner
from .link_files import DirectedLinks, Outputs, as_it_is, cut, read_directions, read_joined


class Finished(NamedTuple):
    """A program that has ended well: the file of what it wrote, and its lines on standard error."""

    out: Path
    said: list[str]


class DirectionalAligner(FileAligner):
    """An aligner that has `directions`; `posteriors` says whether they come with posteriors."""

    posteriors = False

    @abstractmethod
    def run(self, words: Path, folder: Path, count: int = 2) -> Outputs:
        """Runs the forward direction (every target word has at most one source word) and, unless `count` is 1, the
        reverse one; `folder` takes their files.
        """

    @abstractmethod
    def write_model(self, words: Path, folder: Path) -> dict[str, Any]:
        """Trains both directions on `words` and writes them into `folder`; what else must be known is returned."""

    def directions(self, words: Path) -> Iterator[tuple[DirectedLinks, ...]]:
        """For each line the links of both directions."""
        with temporary_folder(words) as folder:
            outputs = self.run(words, Path(folder))
            [lines] = cut(outputs, words)
            for _, directed in read_directions(outputs, words, lines):
                yield directed

    def align_file(self, words: Path, symmetrize: str = "intersect") -> Iterator[Aligned]:
        with temporary_folder(words) as folder:
            outputs = self.run(words, Path(folder), directions_of(symmetrize))
            [lines] = cut(outputs, words)
            yield from read_joined(outputs, words, lines, symmetrize, self.posteriors)


def directions_of(symmetrize: str) -> int:
    """How many directions have to be run."""
    return 1 if symmetrize == "forward" else 2


def run_directions(
    name: str,
    commands: Sequence[Sequence[str]],
    folder: Path,
    passes: int,
    links_of: Callable[[str], str] = as_it_is,
) -> Outputs:
    """Runs a command for each direction.

    `passes` is how many ITERATION lines each command writes, for the bar (0: none is shown); `links_of` finds the links
    in a line.
    """
    return Outputs(name, [each.out for each in run_together(name, commands, folder, passes)], links_of)


def temporary_folder(words: Path) -> tempfile.TemporaryDirectory[str]:
    """Beside `words`, where there is room for files of its size."""
    return tempfile.TemporaryDirectory(prefix=".weam-align-", dir=words.parent)


def run_together(name: str, commands: Sequence[Sequence[str]], folder: Path, passes: int) -> list[Finished]:
    """Runs the commands at once and waits. Raises Unfinished, and stops the others, when one of them fails."""
    total, hidden = passes * len(commands), None if passes else True
    with tqdm(total=total, desc=f"align ({name})", unit="pass", leave=False, disable=hidden) as bar:
        runs = [_Run(name, command, folder / f"out.{number}", bar) for number, command in enumerate(commands)]
        try:
            return [run.finish() for run in runs]
        finally:
            for run in runs:
                run.stop()


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
        """Waits for the process. Raises Unfinished when it failed: its input is ours, so the machine is to blame."""
        code = self._process.wait()
        self._listener.join()
        if code != 0:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            last_words = self._said[-1].rstrip(".") if self._said else "it said nothing"
            raise Unfinished(
                f"{self._name} {how}: {last_words}. See that there is memory and room on the disk, and go on with "
                "--resume."
            )
        return Finished(self._out, self._said)

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._listener.join()
        assert self._process.stderr is not None
        self._process.stderr.close()
