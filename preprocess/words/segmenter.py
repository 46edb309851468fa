"""What a segmenter is to the rest of the room."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..spans import Span, SpanArrays
from .chunks import Cut, span_arrays, spans_of


class Segmenter:
    """`spans(text)` gives the word spans, `words(text)` their text; `name` says which rules made them.

    `cut` gives the cuts of the chunks of a text, or None when it rewrote the text.
    """

    def __init__(self, name: str, cut: Callable[[str], Sequence[Cut] | None]) -> None:
        self.name = name
        self.by_white_space = 0  # sentences so far that the segmenter rewrote
        self._cut = cut

    def spans(self, text: str) -> list[Span]:
        return spans_of(text, self._cuts(text))

    def words(self, text: str) -> list[str]:
        return [text[start:end] for start, end in self.spans(text)]

    def span_arrays(self, sentences: Sequence[str]) -> SpanArrays:
        """The spans of many sentences, as arrays."""
        return span_arrays(sentences, map(self._cuts, sentences))

    def _cuts(self, text: str) -> Sequence[Cut]:
        cuts = self._cut(text)
        # The segmenter rewrote the text (Moses turns a literal "DOTMULTI" into dots): words by white space are
        # coarse, but never point at the wrong characters.
        if cuts is None:
            self.by_white_space += 1
            return [(len(chunk),) for chunk in text.split()]
        return cuts
