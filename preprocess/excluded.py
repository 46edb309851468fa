"""Sentences that must not be trained on: the lines of the `--exclude` files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from .cleaning import mend, strict_lines
from .work import written


def read_excluded(paths: Sequence[Path]) -> frozenset[str]:
    """Every line, and every tab-separated column of it, repaired by the same rules as the pairs.

    Raises InputError for a line that is too long or not valid UTF-8, whether or not the rules are strict: a test
    sentence that is passed over would be trained on.
    """
    excluded: set[str] = set()
    for text in strict_lines(paths):
        excluded.update(mend(side, Counter()).strip() for side in (text, *text.split("\t")))
    return frozenset(excluded - {""})


def write_excluded(excluded: Iterable[str], file: Path) -> None:
    """For workers, who read it once each."""
    with written(file) as beside:
        beside.write_text(json.dumps(sorted(excluded), ensure_ascii=False), encoding="utf-8")


def read_written(file: Path) -> frozenset[str]:
    return frozenset(json.loads(file.read_text(encoding="utf-8")))
