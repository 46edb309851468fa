"""Finds where words end within a chunk, which is a run of characters without white space.

A cut lists the offsets at which the words of a chunk end; the last one is the length of the chunk.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence, Set
from functools import cache, lru_cache
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from ..spans import Span, SpanArrays

Cut = Sequence[int]

_CHUNK = re.compile(r"\S+")  # the same as in str.split()

# Zero-width non-joiner, zero-width joiner, word joiner: they join the words on both sides into one.
_JOINERS = frozenset("\u200c\u200d\u2060")


@cache
def clinging() -> frozenset[str]:
    """Combining marks, control and format characters: they belong to the character before them."""
    # Unicode has no such characters between its last script and the tags of plane 14.
    every = (chr(code) for codes in (range(0x20000), range(0xE0000, 0xE0200)) for code in codes)
    return frozenset(char for char in every if unicodedata.category(char).startswith("M") or _is_format(char))


@cache
def formatting() -> frozenset[str]:
    """Control and format characters except white space; a reader does not see them."""
    return frozenset(char for char in clinging() if _is_format(char))


def _is_format(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cf") and not char.isspace()


def without(removed: Set[str], text: str) -> str:
    return "".join(char for char in text if char not in removed)


def cut_chunks(chunks: Sequence[str], tokens: Iterable[str]) -> list[Cut] | None:
    """Cuts the chunks where the tokens end; None if the tokens are not exactly the characters of the chunks.

    Tokens may contain white space (jieba returns it). A token that crosses the end of a chunk is split there.
    """
    parts = " ".join(tokens).split()
    if "".join(parts) != "".join(chunks):
        return None
    lengths = map(len, parts)
    cuts: list[Cut] = []
    left = 0  # characters of the current token that no chunk has taken yet
    for chunk in chunks:
        ends = []
        end = 0
        while end < len(chunk):
            left = left or next(lengths)
            step = min(left, len(chunk) - end)
            end, left = end + step, left - step
            ends.append(end)
        cuts.append(ends)
    return cuts


def put_back(chunk: str, removed: Set[str], cut: Cut) -> Cut:
    """The cut of a chunk, from that of the chunk without its `removed` characters.

    The removed characters join the word before them, or the first word; by themselves they are a word.
    """
    kept = [idx for idx, char in enumerate(chunk) if char not in removed]
    if not kept:
        return (len(chunk),)
    kept.append(len(chunk))
    return [kept[end] for end in cut]


def separable(chunk: str, cut: Cut) -> Cut:
    """The cut without places where no word can end: before a combining mark, next to a joiner."""
    if len(cut) == 1 or clinging().isdisjoint(chunk):
        return cut
    inner = [end for end in cut[:-1] if chunk[end] not in clinging() and chunk[end - 1] not in _JOINERS]
    return [*inner, len(chunk)]


def cut_tokens(text: str, tokens: Iterable[str]) -> list[Cut] | None:
    """Cuts of the chunks of a text by a segmenter's tokens, which may lack control and format characters.

    None if the tokens are not the characters of the text.
    """
    chunks, found = text.split(), list(tokens)
    cuts = cut_chunks(chunks, found)
    if cuts is None:
        removed = formatting()
        cuts = cut_chunks([without(removed, chunk) for chunk in chunks], [without(removed, token) for token in found])
        if cuts is None:
            return None
        cuts = [put_back(chunk, removed, cut) for chunk, cut in zip(chunks, cuts, strict=True)]
    return [separable(chunk, cut) for chunk, cut in zip(chunks, cuts, strict=True)]


def spans_of(text: str, cuts: Sequence[Cut]) -> list[Span]:
    """The spans of the words of a text."""
    spans = []
    cursor = 0
    for chunk, cut in zip(text.split(), cuts, strict=True):
        begin = start = text.index(chunk, cursor)
        for end in cut:
            spans.append((start, begin + end))
            start = begin + end
        cursor = start
    return spans


def span_arrays(texts: Sequence[str], cuts: Iterable[Sequence[Cut]]) -> SpanArrays:
    """`spans_of` of many texts."""
    chunks: list[str] = []
    flat: list[Cut] = []
    irregular: dict[int, list[int]] = {}  # first chunk -> where the chunks of that text begin
    counts: list[int] = []
    for text, of_text in zip(texts, cuts, strict=True):
        split = text.split()
        if " ".join(split) != text:
            irregular[len(chunks)] = [match.start() for match in _CHUNK.finditer(text)]
        chunks += split
        flat += of_text
        counts.append(len(split))
    sizes = np.array(counts, dtype=np.int64)
    lengths = _integers(map(len, chunks), len(chunks))
    # Where each chunk begins if there is one space between chunks.
    before = np.append(0, np.cumsum(lengths + 1))
    stops = np.cumsum(sizes)
    begins = before[:-1] - np.repeat(before[stops - sizes], sizes)
    for first, places in irregular.items():
        begins[first : first + len(places)] = places
    words = _integers(map(len, flat), len(flat))
    last = np.cumsum(words)
    ends = _integers(chain.from_iterable(flat), int(words.sum())) + np.repeat(begins, words)
    starts = np.append(0, ends)[:-1]  # where the previous word ends …
    starts[last - words] = begins  # … except for the first word of a chunk
    return SpanArrays(starts, ends, np.diff(np.append(0, last)[np.append(0, stops)]))


def _integers(values: Iterable[int], count: int) -> NDArray[np.int64]:
    return np.fromiter(values, dtype=np.int64, count=count)


def locate(text: str, tokens: Iterable[str]) -> list[Span] | None:
    """The spans of a segmenter's tokens in the raw text; None if they are not the characters of the text."""
    cuts = cut_tokens(text, tokens)
    return None if cuts is None else spans_of(text, cuts)


@lru_cache(1 << 17)
def runs(chunk: str) -> Cut:
    """The cut of a chunk into runs of letters and digits, and every other character by itself."""
    kinds = [char.isalnum() or char == "_" or char in clinging() for char in chunk]
    inner = (
        idx for idx in range(1, len(chunk)) if not (kinds[idx] and kinds[idx - 1]) and chunk[idx] not in clinging()
    )
    return (*inner, len(chunk))


class Segmenter:
    """`spans(text)` gives the word spans, `words(text)` their text. `name` tells which rules made them.

    `cut` gives the cuts of the chunks of a text, or None if the segmenter rewrote the text.
    """

    def __init__(self, name: str, cut: Callable[[str], Sequence[Cut] | None]) -> None:
        self.name = name
        self.by_white_space = 0  # how many sentences the segmenter has rewritten so far
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
        # The segmenter rewrote the text (Moses turns a literal "DOTMULTI" into dots). Words by white space are coarse,
        # but never have the wrong characters.
        if cuts is None:
            self.by_white_space += 1
            return [(len(chunk),) for chunk in text.split()]
        return cuts
