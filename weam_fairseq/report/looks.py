"""How each model looks in a plot.

Colours are Okabe and Ito's, which differ for colour-blind readers; line styles and markers tell the models apart
in grey print as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple


class Look(NamedTuple):
    colour: str
    line: Any
    marker: str


LOOKS = {
    "base": Look("#000000", "-", "x"),
    "mlm": Look("#56B4E9", (0, (5, 1.5)), "^"),
    "tlm": Look("#009E73", "--", "s"),
    "weam": Look("#D55E00", "-", "o"),
    "shuffled": Look("#CC79A7", ":", "D"),
    "identity": Look("#0072B2", "-.", "v"),
}
_OTHERS = (
    Look("#0072B2", "-.", "v"),
    Look("#E69F00", "-", "P"),
    Look("#000000", ":", "*"),
    Look("#56B4E9", "--", "<"),
    Look("#009E73", "-", "X"),
    Look("#CC79A7", "-.", "h"),
    Look("#D55E00", ":", ">"),
    Look("#F0E442", "-", "d"),
)


def look_of(name: str) -> Look:
    """The same look for the same name, wherever it stands; two unknown names may look alike."""
    return LOOKS.get(name) or _OTHERS[sum(name.encode()) % 3]


def looks_of(names: Iterable[str]) -> dict[str, Look]:
    """Looks that differ, for up to eight models that LOOKS does not know; colours repeat before markers do."""
    unknown = [name for name in dict.fromkeys(names) if name not in LOOKS]
    return {**LOOKS, **{name: _OTHERS[number % len(_OTHERS)] for number, name in enumerate(unknown)}}
