"""Words of a raw sentence, each with its character span, whatever the segmenter did to the text.

Spans are half-open `(start, end)` in characters of the raw sentence. They are in order, do not overlap, hold no
white space, and together hold every character that is not white space: the words between two white spaces (a
*chunk*) are a partition of it. No word begins with a combining mark unless the chunk does.
"""

from __future__ import annotations

from ..spans import Span
from .chunks import locate
from .registry import KINDS, segmenter
from .segmenter import Segmenter

__all__ = ["KINDS", "Segmenter", "Span", "locate", "segmenter"]
