"""Words of a raw sentence, each with its character span, whatever the segmenter did to the text.

Spans are half-open `(start, end)` in characters of the raw sentence. They are in order, do not overlap, hold no
white space, and together hold every character that is not white space.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import version

from .errors import InputError

Span = tuple[int, int]


class Segmenter:
    """`spans(text)` gives the word spans, `words(text)` their text; `name` says which rules made them."""

    def __init__(self, name: str, tokenize: Callable[[str], Iterable[str]]) -> None:
        self.name = name
        self.by_white_space = 0  # sentences so far that the segmenter rewrote
        self._tokenize = tokenize

    def spans(self, text: str) -> list[Span]:
        found = locate(text, self._tokenize(text))
        # The segmenter rewrote the text (Moses turns a literal "DOTMULTI" into dots): words by white space are
        # coarse, but never point at the wrong characters.
        if found is None:
            self.by_white_space += 1
            return locate_or_fail(text, text.split())
        return found

    def words(self, text: str) -> list[str]:
        return [text[start:end] for start, end in self.spans(text)]


@cache
def segmenter(lang: str) -> Segmenter:
    """The segmenter of a language code such as `de` or `zh_Hans`. Raises InputError when its package is missing."""
    return _chinese() if lang.split("_")[0].lower() == "zh" else _moses(lang)


def _chinese() -> Segmenter:
    try:
        import rjieba
    except ImportError:
        raise InputError("Chinese words need the package rjieba. Install it: pip install rjieba") from None
    return Segmenter(f"rjieba {version('rjieba')}", rjieba.cut)


def _moses(lang: str) -> Segmenter:
    from sacremoses import MosesTokenizer
    from sacremoses.corpus import NonbreakingPrefixes

    known = lang in NonbreakingPrefixes().available_langs or lang in {"ja", "ko"}
    moses = MosesTokenizer(lang if known else "en")
    name = f"sacremoses {version('sacremoses')}" + ("" if known else f" (rules of en, it has none for {lang})")
    return Segmenter(name, lambda text: moses.tokenize(text, escape=False))


def locate(text: str, tokens: Iterable[str]) -> list[Span] | None:
    """Finds tokens in the raw text, left to right; None when they are not the text's own characters.

    A token may lack control characters that the text has (Moses removes them) and may hold white space (jieba
    returns it). Characters that no token has are put into the word that they touch, else are a word of their own.
    """
    spans: list[Span] = []
    cursor = 0
    for token in tokens:
        for part in token.split():
            start = _skip(text, cursor, part[0])
            end = start + len(part)
            if not text.startswith(part, start):
                matched = _match_with_gaps(text, start, part)
                if matched is None:
                    return None
                end = matched
            spans.extend(_leftovers(text, cursor, start))
            spans.append((start, end))
            cursor = end
    if any(not _is_junk(char) for char in text[cursor:]):
        return None
    spans.extend(_leftovers(text, cursor, len(text)))
    return _join_leftovers(text, spans)


def locate_or_fail(text: str, tokens: Iterable[str]) -> list[Span]:
    spans = locate(text, tokens)
    assert spans is not None, "white-space words are the text's own characters"
    return spans


def _is_junk(char: str) -> bool:
    """White space, and the ASCII control characters that Moses removes."""
    return char <= "\x1f" or char.isspace()


def _skip(text: str, cursor: int, wanted: str) -> int:
    """The first place at or after `cursor` where a token that begins with `wanted` can stand."""
    while cursor < len(text) and text[cursor] != wanted and _is_junk(text[cursor]):
        cursor += 1
    return cursor


def _match_with_gaps(text: str, start: int, part: str) -> int | None:
    """Where `part` ends in the text when control characters, but no white space, may stand between its own."""
    cursor = start
    for char in part:
        while cursor < len(text) and text[cursor] != char and text[cursor] <= "\x1f" and not text[cursor].isspace():
            cursor += 1
        if cursor >= len(text) or text[cursor] != char:
            return None
        cursor += 1
    return cursor


def _leftovers(text: str, start: int, end: int) -> list[Span]:
    """Runs without white space in a stretch that no token claims."""
    runs: list[Span] = []
    for index in range(start, end):
        if text[index].isspace():
            continue
        if runs and runs[-1][1] == index:
            runs[-1] = (runs[-1][0], index + 1)
        else:
            runs.append((index, index + 1))
    return runs


def _join_leftovers(text: str, spans: list[Span]) -> list[Span]:
    """Puts a run of control characters into the word before it, or after it, that it touches."""
    joined: list[Span] = []
    for start, end in spans:
        touches = bool(joined) and joined[-1][1] == start
        if touches and (_only_control(text, start, end) or _only_control(text, *joined[-1])):
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def _only_control(text: str, start: int, end: int) -> bool:
    return text[start] <= "\x1f" and all(char <= "\x1f" for char in text[start:end])
