"""Figures of matplotlib as SVG elements that stand inside a page."""

from __future__ import annotations

import re
from io import StringIO
from typing import TYPE_CHECKING, Any

from weam_fairseq.common.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RC: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#777777",
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "svg.fonttype": "path",  # letters as outlines: no font is looked up where the page is opened
    "text.parse_math": False,  # a name with two dollar signs is no formula
    "svg.hashsalt": "weam",  # the same data give the same bytes
}


def load_matplotlib() -> Any:
    """matplotlib itself, for its settings; imported late, so that --help is quick.

    Raises:
        InputError: it is not installed.
    """
    try:
        import matplotlib
    except ImportError:
        raise InputError(
            "The report's curves need matplotlib, which is not installed. Run pip install 'weam-fairseq[report]'."
        ) from None
    return matplotlib


def to_svg(figure: Figure, name: str) -> str:
    """Without the XML head and metadata, which name addresses on the network, and with ids unique in the page."""
    file = StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None}, transparent=True)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    return re.sub(r"url\(#", f"url(#{name}-", svg)
