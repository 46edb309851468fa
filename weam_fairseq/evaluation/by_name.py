"""A row of a table of tasks by its name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Protocol, TypeVar

from weam_fairseq.common.errors import InputError


class Named(Protocol):
    @property
    def name(self) -> str: ...


Row = TypeVar("Row", bound=Named)


def find_by_name(rows: Sequence[Row], name: str) -> Row:
    """The row called `name`.

    Raises:
        InputError: there is none; the sentence names the closest, or all.
    """
    by_name = {row.name: row for row in rows}
    if name in by_name:
        return by_name[name]
    close = difflib.get_close_matches(name, by_name, n=1, cutoff=0.5)
    hint = f"Did you mean {close[0]!r}?" if close else f"The tasks are {', '.join(by_name)}."
    raise InputError(f"there is no task {name!r}. {hint}")
