"""The programs fast_align and atools (Dyer, Chahuneau and Smith 2013), where they are on the PATH."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError
from .base import Alignments, Link, WordPair
from .directions import parse_links, run_directions

_ITERATIONS = 5  # fast_align's own default


def on_path() -> bool:
    return shutil.which("fast_align") is not None and shutil.which("atools") is not None


class FastAlignProgram:
    """The flags are those of fast_align's own README: `-d -o -v`, and `-r` for the reverse."""

    name = "fast_align (program)"

    def __init__(self) -> None:
        self._fast_align, self._atools = shutil.which("fast_align"), shutil.which("atools")
        if self._fast_align is None or self._atools is None:
            raise InputError("The programs fast_align and atools must both be on the PATH.")
        # The program does not tell its version.
        self.version = "sha256:" + hashlib.sha256(Path(self._fast_align).read_bytes()).hexdigest()[:16]

    def align(self, pairs: Sequence[WordPair], symmetrize: str = "intersect") -> Alignments:
        assert self._fast_align is not None
        directions = 1 if symmetrize == "forward" else 2
        command = [self._fast_align, "-d", "-o", "-v"]
        lines = list(run_directions(self.name, command, pairs, _ITERATIONS, directions))
        links = [[line[direction].links for line in lines] for direction in range(directions)]
        if directions == 1:
            return Alignments([sorted(set(line)) for line in links[0]])
        return Alignments(self._symmetrize(links, symmetrize))

    def _symmetrize(self, links: Sequence[Sequence[list[Link]]], how: str) -> list[list[Link]]:
        assert self._atools is not None
        with tempfile.TemporaryDirectory(prefix="weam-align-") as folder:
            files = [Path(folder, name) for name in ("forward", "reverse")]
            for file, direction in zip(files, links, strict=True):
                lines = (" ".join(f"{i}-{j}" for i, j in line) + "\n" for line in direction)
                file.write_text("".join(lines), encoding="ascii", newline="\n")
            command = [self._atools, "-c", how, "-i", str(files[0]), "-j", str(files[1])]
            done = subprocess.run(command, capture_output=True, text=True)
        lines_out = done.stdout.removesuffix("\n").split("\n")
        if done.returncode != 0 or len(lines_out) != len(links[0]):
            raise InputError(
                f"atools must give {len(links[0]):,} lines, but gave {len(lines_out):,} and ended with exit code "
                f"{done.returncode}: {done.stderr.strip().splitlines()[-1:] or 'it said nothing'}."
            )
        return [sorted({link for link, _ in parse_links(line)}) for line in lines_out]
