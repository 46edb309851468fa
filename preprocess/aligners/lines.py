"""The files that aligners read: a line `source words ||| target words` for each sentence pair.

`token_lines` writes the lines of many sentences at once. It copies words out of one long array of characters. Sentences
with a word that must be rewritten, or that changes when the sentence is lower-cased as one, are handled word by word.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..spans import SpanArrays

WordPair = tuple[list[str], list[str]]

_NOT_IN_A_TOKEN = re.compile(r"[\s\x00-\x1f\x7f-\x9f]")
_SEPARATOR = "|||"  # between the two sides of a line
_UTF_32 = "utf-32-le"
_SPACE, _LINE_END = " ", "\n"
_SIGMA = "Σ"  # the only letter whose lower-case form depends on its neighbors


def aligner_line(pair: WordPair) -> str:
    """A pair as aligners that count words see it: lower-cased, which is the usual practice."""
    return " ||| ".join(one_side(words, cased=False) for words in pair)


def one_side(words: Sequence[str], cased: bool) -> str:
    """Words as tokens separated by spaces, lower-cased unless `cased`."""
    words = words if cased else [word.lower() for word in words]
    joined = " ".join(words)
    # Usually nothing must be replaced, and one look at the joined text shows it.
    if not all(words) or _SEPARATOR in joined or _NOT_IN_A_TOKEN.search("".join(words)) is not None:
        return " ".join(map(_token, words))
    return joined


def _token(word: str) -> str:
    """A word as one token. White space and control characters would split the token; `|||` separates the sides."""
    text = _NOT_IN_A_TOKEN.sub("_", word)
    return "_" if text in ("", _SEPARATOR) else text


def read_words(words: Path) -> Iterator[WordPair]:
    """The pairs of a file of lines."""
    with words.open(encoding="utf-8", newline="\n") as stream:
        for line in stream:
            source, target = line.removesuffix("\n").split(" ||| ")
            yield source.split(" "), target.split(" ")


def read_sizes(words: Path, start: int = 0) -> Generator[tuple[int, int], None, None]:
    """The number of words on both sides of each pair, from byte `start` on."""
    with words.open("rb") as stream:
        stream.seek(start)
        for line in stream:
            source, target = line.split(b" ||| ")
            yield source.count(b" ") + 1, target.count(b" ") + 1


def count_lines(file: Path) -> int:
    with file.open("rb") as stream:
        return sum(1 for _ in stream)


def token_lines(sentences: Sequence[str], words: SpanArrays, cased: bool) -> list[str]:
    """A line without its end for each sentence, equal to `one_side` of its words."""
    import numpy as np

    from ..spans import unpack

    texts = [_text(sentence, cased) for sentence in sentences]
    together = np.array(
        [len(text) == len(sentence) for text, sentence in zip(texts, sentences, strict=True)], dtype=bool
    )
    together &= words.sizes > 0
    together[np.repeat(np.arange(len(sentences)), words.sizes)[words.ends == words.starts]] = False
    joined = _join([text for text, is_so in zip(texts, together.tolist(), strict=True) if is_so], words, together)
    made = iter(joined.split(_LINE_END)[1:])
    lines = [next(made) if is_so else "" for is_so in together.tolist()]
    alone = _to_be_rewritten(lines, joined, words.sizes) | ~together
    if alone.any():
        spans = unpack(words)
        for place in np.flatnonzero(alone).tolist():
            lines[place] = one_side([sentences[place][a:b] for a, b in spans[place]], cased)
    return lines


def _text(sentence: str, cased: bool) -> str:
    """The sentence in the case of its line. The empty text if lower-casing moves or changes characters."""
    if _LINE_END in sentence or (_SIGMA in sentence and not cased):
        return ""
    return sentence if cased else sentence.lower()


def _join(texts: Sequence[str], words: SpanArrays, together: NDArray[np.bool_]) -> str:
    """The words of these sentences: a line end before the first word of each, a space before every other word."""
    import numpy as np

    chosen, sizes = np.repeat(together, words.sizes), words.sizes[together]
    lengths = (words.ends - words.starts)[chosen]
    text_lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    begins = words.starts[chosen] + np.repeat(np.cumsum(text_lengths) - text_lengths, sizes)
    # Word k takes lengths[k] + 1 characters of the result; the first one is the separator before it.
    before = np.cumsum(lengths + 1) - lengths - 1
    places = np.repeat(begins - before - 1, lengths + 1) + np.arange(int((lengths + 1).sum()))
    characters = np.frombuffer("".join(texts).encode(_UTF_32), dtype=np.uint32)
    made = characters[np.maximum(places, 0)]
    made[before] = ord(_SPACE)
    made[before[np.cumsum(sizes) - sizes]] = ord(_LINE_END)
    return made.tobytes().decode(_UTF_32)


def _to_be_rewritten(lines: Sequence[str], joined: str, sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Lines with a character or a word that no token may contain. Usually one look at the joined text finds none."""
    import numpy as np

    spaces = np.fromiter((line.count(_SPACE) for line in lines), np.int64, len(lines))
    found = spaces != np.maximum(sizes - 1, 0)
    if _SEPARATOR in joined or _NOT_IN_A_TOKEN.search(joined.replace(_SPACE, "").replace(_LINE_END, "")) is not None:
        found |= [_SEPARATOR in line or _NOT_IN_A_TOKEN.search(line.replace(_SPACE, "")) is not None for line in lines]
    return found
