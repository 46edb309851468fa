"""The words of many sentences as lines of tokens, all at once: what `base.one_side` gives for each of them.

Words are copied out of one long array of characters. Sentences with a word that must be rewritten, or that is not
what lower-casing the whole sentence makes of it, go word by word.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..spans import SpanArrays, unpack
from .base import NOT_IN_A_TOKEN, SEPARATOR, one_side

_UTF_32 = "utf-32-le"
_SPACE, _LINE_END = " ", "\n"
_SIGMA = "Σ"  # the one letter whose small form depends on its neighbours


def token_lines(sentences: Sequence[str], words: SpanArrays, cased: bool) -> list[str]:
    """A line (without its end) for each sentence: its words with spaces between, lower-cased unless `cased`."""
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
    """As the words are written; of another length where places would move, or letters depend on their neighbours."""
    if _LINE_END in sentence or (_SIGMA in sentence and not cased):
        return ""
    return sentence if cased else sentence.lower()


def _join(texts: Sequence[str], words: SpanArrays, together: NDArray[np.bool_]) -> str:
    """The words of these sentences: a line end before the first of each, a space before every other."""
    chosen, sizes = np.repeat(together, words.sizes), words.sizes[together]
    lengths = (words.ends - words.starts)[chosen]
    text_lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    begins = words.starts[chosen] + np.repeat(np.cumsum(text_lengths) - text_lengths, sizes)
    # Word k takes lengths[k] + 1 places of what is made, the first of them for what stands before it.
    before = np.cumsum(lengths + 1) - lengths - 1
    places = np.repeat(begins - before - 1, lengths + 1) + np.arange(int((lengths + 1).sum()))
    characters = np.frombuffer("".join(texts).encode(_UTF_32), dtype=np.uint32)
    made = characters[np.maximum(places, 0)]
    made[before] = ord(_SPACE)
    made[before[np.cumsum(sizes) - sizes]] = ord(_LINE_END)
    return made.tobytes().decode(_UTF_32)


def _to_be_rewritten(lines: Sequence[str], joined: str, sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Lines with a character or a word that no token may be. Nearly always one look at everything finds none."""
    spaces = np.fromiter((line.count(_SPACE) for line in lines), np.int64, len(lines))
    found = spaces != np.maximum(sizes - 1, 0)
    if SEPARATOR in joined or NOT_IN_A_TOKEN.search(joined.replace(_SPACE, "").replace(_LINE_END, "")) is not None:
        found |= [SEPARATOR in line or NOT_IN_A_TOKEN.search(line.replace(_SPACE, "")) is not None for line in lines]
    return found
