"""How far a long computation is: a bar on a terminal, a line a minute elsewhere (a log file, a batch job)."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO, TypeVar

from tqdm import tqdm

SECONDS = 60.0

T = TypeVar("T")


class Lines:
    """The part of tqdm's interface that is used here, as lines.

    Nothing is printed in the first minute: what is short needs no progress.
    """

    def __init__(
        self, label: str, unit: str, total: int, initial: int, file: TextIO, clock: Callable[[], float]
    ) -> None:
        self._label, self._unit, self._total, self._done = label, unit, total, initial
        self._file, self._clock = file, clock
        self._first = initial
        self._start = self._last = clock()

    def update(self, count: int = 1) -> None:
        self._done += count
        now = self._clock()
        if now - self._last < SECONDS or self._done >= self._total:
            return
        self._last = now
        left = (now - self._start) / (self._done - self._first) * (self._total - self._done)
        print(
            f"{self._label}: {self._done:,} of {self._total:,} {self._unit} after {_minutes(now - self._start)}, about "
            f"{_minutes(left)} left",
            file=self._file,
            flush=True,
        )

    def close(self) -> None:
        """As tqdm has it; there is nothing to close."""


def progress_bar(
    label: str,
    unit: str,
    total: int,
    initial: int = 0,
    file: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Any:
    """Something with `update(count)` and `close()`. `unit` is a plural; `file` is stderr if not given."""
    file = sys.stderr if file is None else file
    if file.isatty():
        return tqdm(total=total, initial=initial, desc=label, unit=f" {unit}", leave=False, file=file, smoothing=0.1)
    return Lines(label, unit, total, initial, file, clock)


def progress(items: Iterable[T], label: str, unit: str, total: int) -> Iterator[T]:
    """The items, while it is shown how many of `total` are done."""
    bar = progress_bar(label, unit, total)
    try:
        for item in items:
            yield item
            bar.update()
    finally:
        bar.close()


def _minutes(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
