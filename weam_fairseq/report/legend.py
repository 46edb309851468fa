"""One legend for all panels of a figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_IN_A_ROW = 6


def labelled(axes: Iterable[Axes]) -> dict[str, Any]:
    """What was drawn with a label in any of the panels, once."""
    handles: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    return handles


def add_legend(figure: Figure, handles: Mapping[str, Any]) -> None:
    """Above the panels, in rows that are as even as can be."""
    if not handles:
        return
    rows = -(-len(handles) // _IN_A_ROW)
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside upper left",
        ncols=-(-len(handles) // rows),
        frameon=False,
        handlelength=3.2,
    )
