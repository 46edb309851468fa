"""A sentence pair with its word links, as an SVG drawing: source words above, target words below, lines between."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

_FONT = 15  # pixels
_GAP = 15
_MARGIN = 6
_SOURCE_LINE, _TARGET_LINE = 20, 112  # baselines
_LINK_TOP, _LINK_BOTTOM = 28, 94
_HEIGHT = 122

_NARROW = set("iljtfrI.,;:!|'’()[]\"-‐ ")
_BROAD = set("mwMWABCDGHKNOQRUVXY@%&—")


class _Word(NamedTuple):
    text: str
    middle: float


def draw_links(source: Sequence[str], target: Sequence[str], links: Sequence[Sequence[int]], label: str) -> str:
    """Draws the pair. Words without a link are grey; `label` is read out instead of the drawing.

    Raises:
        IndexError: a link points outside its sentence.
    """
    width = max(_row_width(source), _row_width(target)) + 2 * _MARGIN
    above, below = _place(source, width), _place(target, width)
    curves = [_curve(above[i].middle, below[j].middle) for i, j in links]
    words = _words(above, {i for i, _ in links}, _SOURCE_LINE) + _words(below, {j for _, j in links}, _TARGET_LINE)
    return (
        f'<svg class="links" role="img" aria-label="{escape(label)}" width="{width:.0f}" height="{_HEIGHT}" '
        f'viewBox="0 0 {width:.0f} {_HEIGHT}" font-size="{_FONT}" text-anchor="middle">{"".join(curves + words)}</svg>'
    )


def _words(words: Sequence[_Word], linked: set[int], baseline: int) -> list[str]:
    classes = ["linked" if idx in linked else "unlinked" for idx in range(len(words))]
    return [
        f'<text class="{name}" x="{word.middle:.1f}" y="{baseline}">{escape(word.text)}</text>'
        for word, name in zip(words, classes, strict=True)
    ]


def _curve(top: float, bottom: float) -> str:
    half = (_LINK_TOP + _LINK_BOTTOM) / 2
    return (
        f'<path d="M{top:.1f} {_LINK_TOP}C{top:.1f} {half:.0f} {bottom:.1f} {half:.0f} {bottom:.1f} {_LINK_BOTTOM}"/>'
    )


def _place(words: Sequence[str], width: float) -> list[_Word]:
    """Words from left to right, the row in the middle."""
    x = (width - _row_width(words)) / 2
    placed = []
    for word in words:
        placed.append(_Word(word, x + _text_width(word) / 2))
        x += _text_width(word) + _GAP
    return placed


def _row_width(words: Sequence[str]) -> float:
    return sum(_text_width(word) for word in words) + _GAP * max(0, len(words) - 1)


def _text_width(text: str) -> float:
    """An estimate in pixels, on the broad side: the page's font is not known here."""
    return _FONT * sum(_character_width(character) for character in text)


def _character_width(character: str) -> float:
    if unicodedata.combining(character):
        return 0.0
    if unicodedata.east_asian_width(character) in "WF":
        return 1.0
    if character in _NARROW:
        return 0.36
    return 0.8 if character in _BROAD else 0.58
