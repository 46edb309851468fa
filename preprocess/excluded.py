"""Sentences that must not be trained on: the lines of the `--exclude` files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from .cleaning import Rules, mend, strict_lines


def read_excluded(paths: Sequence[Path], rules: Rules) -> frozenset[str]:
    """Every line, and every tab-separated column of it, repaired by the same rules as the pairs.

    Raises InputError for a line that is too long or not valid UTF-8, whether or not the rules are strict: a test
    sentence that is passed over would be trained on.
    """
    excluded: set[str] = set()
    for text in strict_lines(paths):
        excluded.update(mend(side, rules, Counter()).strip() for side in (text, *text.split("\t")))
    return frozenset(excluded - {""})
