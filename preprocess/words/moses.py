"""Words by the rules of the Moses tokenizer (sacremoses), computed once for every kind of chunk.

The words are always those that sacremoses gives for the complete sentence, except for marks that it does not know: it
would split words at them, so they are removed before. Few of its rules look across white space, and they use few
properties of a character. So most chunks can be cut separately, and like others of the same shape.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence
from functools import cache, lru_cache

from .chunks import Cut, clinging, cut_chunks, put_back, separable, without

_REMEMBERED = 1 << 17  # chunks, and shapes of chunks; about 30 MB each when full
# sacremoses writes dots as such words and back, so it takes one in the text for dots.
_DOTS = "DOTMULTI"
_LARGE = "A"  # what follows a full stop, if it is neither a small letter nor a digit
_NEED_NEIGHBOURS = frozenset("',")
# These include all marks, control and format characters: a quick test that is enough for most Latin text.
_SUSPECTS = re.compile(r"[^ -~\xa0-\xac\xae-\u02ff]")


class MosesCutter:
    """Cuts the chunks of a text by the rules of `rules`, a language that sacremoses knows."""

    def __init__(self, rules: str) -> None:
        from sacremoses import MosesTokenizer

        self._moses = moses = MosesTokenizer(rules)
        self._lower = frozenset(moses.IsLower)
        self._prefixes = frozenset(moses.NONBREAKING_PREFIXES + moses.NUMERIC_ONLY_PREFIXES)
        self._alphabetic = frozenset(moses.IsAlpha)
        self._alphanumeric = frozenset(moses.IsAlnum)
        # The same results as sacremoses' own methods, which make a set of these letters at each call.
        moses.islower = self._lower.issuperset
        moses.isanyalpha = lambda text: not self._alphabetic.isdisjoint(text)
        # Moses takes marks that it does not know (the accents of decomposed text, the tones of Thai) for symbols
        # and separates them. Here it never gets them, nor control and format characters.
        self._unseen = clinging() - self._alphanumeric
        self._shapes = self._shape_table()
        self._cut_literal = lru_cache(_REMEMBERED)(self._cut_between)
        self._remembered = lru_cache(_REMEMBERED)(self._cut_chunk)

    def __call__(self, text: str) -> Sequence[Cut] | None:
        chunks = text.split()
        if _SUSPECTS.search(text) is None or self._unseen.isdisjoint(text):
            return self._cut(chunks)
        seen = [without(self._unseen, chunk) for chunk in chunks]
        found = self._cut([chunk for chunk in seen if chunk])
        if found is None:
            return None
        cuts = iter(found)
        both = zip(chunks, seen, strict=True)
        whole = [put_back(chunk, self._unseen, next(cuts) if rest else ()) for chunk, rest in both]
        return [separable(chunk, cut) for chunk, cut in zip(chunks, whole, strict=True)]

    def _cut(self, chunks: Sequence[str]) -> Sequence[Cut] | None:
        text = " ".join(chunks)
        if _context_matters(text):
            return self._cut_whole(chunks)
        if ". " not in text:
            cuts = list(map(self._remembered, chunks))
        else:
            neighbours = zip(chunks, [*chunks[1:], _LARGE], strict=True)
            cuts = [
                self._remembered(chunk, self._kind(after[0])) if chunk[-1] == "." else self._remembered(chunk)
                for chunk, after in neighbours
            ]
        found = [cut for cut in cuts if cut is not None]
        return found if len(found) == len(chunks) else self._cut_whole(chunks)

    def _kind(self, char: str) -> str:
        """What matters to Moses in the token after a full stop: whether it begins with a small letter or a digit."""
        if char in self._lower:
            return "a"
        return "0" if "0" <= char <= "9" else _LARGE

    def _cut_chunk(self, chunk: str, following: str = _LARGE) -> Cut | None:
        cut = self._cut_literal(chunk.translate(self._shapes) if self._shape_is_all(chunk) else chunk, following)
        return None if cut is None else separable(chunk, cut)  # in a shape, marks are letters

    def _shape_is_all(self, chunk: str) -> bool:
        """Whether only the kinds of the chunk's characters matter to Moses.

        It looks up letters next to an apostrophe or a full stop ("'s", "etc.").
        """
        if "'" in chunk:
            return False
        stop = chunk.find(".")
        if stop < 0:
            return True
        return stop == len(chunk) - 1 and self._alphanumeric.issuperset(chunk[:-1]) and chunk[:-1] not in self._prefixes

    def _shape_table(self) -> dict[int, str]:
        """Maps letters and digits of one kind (alphabetic or not, numeric or not) to one of them."""
        numeric = frozenset(self._moses.IsN)
        in_prefixes = frozenset().union(*self._prefixes)
        kinds: dict[tuple[bool, bool], list[str]] = {}
        for char in sorted(self._alphanumeric):
            kinds.setdefault((char in self._alphabetic, char in numeric), []).append(char)
        table = {}
        for chars in kinds.values():
            # Not a character in a rule or a list, so that no shape is a word of a list.
            named = in_prefixes.union(string.ascii_letters)
            representative = next(char for char in chars if char not in named)
            table.update(dict.fromkeys(map(ord, chars), representative))
        return table

    def _cut_between(self, chunk: str, following: str) -> Cut | None:
        """The cut of a chunk in the middle of a sentence, before a chunk like `following`."""
        cuts = self._cut_whole(["a", chunk, following])
        return None if cuts is None else tuple(cuts[1])

    def _cut_whole(self, chunks: Sequence[str]) -> list[Cut] | None:
        cuts = cut_chunks(chunks, self._moses.tokenize(" ".join(chunks), escape=False))
        return None if cuts is None else [separable(chunk, cut) for chunk, cut in zip(chunks, cuts, strict=True)]


def _context_matters(text: str) -> bool:
    """Whether a rule of Moses may look across white space, other than at what follows a full stop.

    The rules for commas and apostrophes need the characters before and after, so they do not apply at the ends of a
    sentence. If there is one space between two apostrophes, the first one consumes the space.
    """
    return text[:1] in _NEED_NEIGHBOURS or text[-1:] in _NEED_NEIGHBOURS or "' '" in text or _DOTS in text


def moses_cutter(lang: str) -> tuple[Callable[[str], Sequence[Cut] | None], bool]:
    """The function that cuts a text of a language, and whether sacremoses has rules for it; if not, it uses English.

    The cutter is made with the first text, because that takes a second and some callers need only names.
    """
    from sacremoses.corpus import NonbreakingPrefixes

    known = lang in NonbreakingPrefixes().available_langs.values() or lang in {"ja", "ko"}
    rules = lang if known else "en"
    return (lambda text: _by_rules(rules)(text)), known


@cache
def _by_rules(rules: str) -> MosesCutter:
    return MosesCutter(rules)
