"""Streams raw lines in chunks. Memory is bounded by a chunk, even if files or lines are very long.

Only "\\n" ends a line; the last line may lack it. Nothing is decoded, dropped or repaired here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.text_files import TextStream, check

from .corpus import InputFile

MAX_LINE_BYTES = 1 << 20
_CHUNK_BYTES = 32 << 20
_BLOCK_BYTES = 1 << 20


class RawChunk(NamedTuple):
    """Consecutive lines of one part: `sides` is one list of TSV lines, or a list of each side's lines.

    `first_line_idx` counts through all parts, `first_part_line_idx` from the beginning of this part; both from 0.
    A line of more than `max_line_bytes` bytes is cut after `max_line_bytes` + 1 bytes. `given_words` has one line for
    each line, if the user gives words.
    """

    number: int
    first_line_idx: int
    first_part_line_idx: int
    files: tuple[Path, ...]
    sides: tuple[list[bytes], ...]
    max_line_bytes: int
    given_words: list[bytes] | None = None

    @property
    def size(self) -> int:
        """Lines of either side."""
        return len(self.sides[0])


class RawReader:
    """Iterate over it once for the chunks. After that, `parts` has the hashes and line counts of its files.

    A chunk has `size` lines, or fewer at the end of a part or if lines are long. It never spans two parts.
    """

    def __init__(self, parts: Sequence[tuple[Path, ...]], size: int, *, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        """Raises InputError, before anything is read, if a file does not exist."""
        for part in parts:
            for path in part:
                check(path)
        self.parts: list[tuple[InputFile, ...]] = []
        self._paths = parts
        self._size = size
        self._max_line_bytes = max_line_bytes

    def __iter__(self) -> Iterator[RawChunk]:
        """Raises InputError for a file that is damaged or empty, and for two files of different length."""
        number = line_idx = 0
        for paths in self._paths:
            with ExitStack() as stack:
                sides = [_Lines(stack.enter_context(TextStream(path)), self._max_line_bytes) for path in paths]
                part_line_idx = 0
                while count := _ready(sides, self._size):
                    lines = tuple(side.take(count) for side in sides)
                    yield RawChunk(number, line_idx, part_line_idx, paths, lines, self._max_line_bytes)
                    number, line_idx, part_line_idx = number + 1, line_idx + count, part_line_idx + count
                self.parts.append(_finish(sides))


class _Lines:
    """The lines of one file that were read but not taken yet."""

    def __init__(self, stream: TextStream, max_line_bytes: int) -> None:
        self.stream = stream
        self.waiting: list[bytes] = []
        self.waiting_bytes = 0
        self.found = 0
        self.ended = False
        self._rest = b""  # the beginning of the last line, whose end is not read yet
        self._max = max_line_bytes
        # A block is no longer than the limit for lines, so only the line that a block continues can be too long.
        self._block = min(_BLOCK_BYTES, max_line_bytes)

    def fill(self) -> None:
        """Reads one more block; at the end of the file, sets `ended`."""
        block = self.stream.read(self._block)
        if block:
            lines = block.split(b"\n")
            lines[0] = self._rest + lines[0][: self._max + 1 - len(self._rest)]
            self._rest = lines.pop()
        else:
            lines = [self._rest] if self._rest else []
            self.ended = True
        self.waiting += lines
        self.waiting_bytes += sum(map(len, lines))
        self.found += len(lines)

    def take(self, count: int) -> list[bytes]:
        taken = self.waiting[:count]
        del self.waiting[:count]
        self.waiting_bytes -= sum(map(len, taken))
        return taken

    def skip_to_end(self) -> None:
        while not self.ended:
            self.fill()
            self.take(len(self.waiting))


def _ready(sides: Sequence[_Lines], size: int) -> int:
    """How many lines can be taken from every side, at most `size`; 0 if a side has ended."""
    while True:
        # Reads the side with fewer lines, so that a side of short lines is never more than a block ahead.
        behind = min(sides, key=lambda side: len(side.waiting))
        ready = len(behind.waiting)
        long = sum(side.waiting_bytes for side in sides) >= _CHUNK_BYTES
        if ready >= size or behind.ended or (ready and long):
            return min(ready, size)
        behind.fill()


def _finish(sides: Sequence[_Lines]) -> tuple[InputFile, ...]:
    for side in sides:
        side.skip_to_end()
        if not side.found:
            raise InputError(f"{side.stream.path} is empty. Give a file with one line per sentence pair.")
    counts = [side.found for side in sides]
    if min(counts) != max(counts):
        source, target = (side.stream.path for side in sides)
        raise InputError(
            f"{source} has {counts[0]:,} lines but {target} has {counts[1]:,}. "
            "Line n of one must translate line n of the other. Download or split both files again."
        )
    return tuple(
        InputFile(side.stream.path.name, side.stream.sha256(), side.found, side.stream.compression) for side in sides
    )
