"""What an aligner is: words of sentence pairs in, word links out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

Link = tuple[int, int]
WordPair = tuple[list[str], list[str]]

_NOT_IN_A_TOKEN = re.compile(r"[\s\x00-\x1f\x7f-\x9f]")

SYMMETRIZATIONS = ("intersect", "grow-diag", "grow-diag-final-and", "union", "forward")


class Aligner(Protocol):
    """`name` and `version` go into the manifest."""

    name: str
    version: str

    def align(self, pairs: Sequence[WordPair], symmetrize: str = "intersect") -> list[list[Link]]:
        """Sorted links (source word_idx, target word_idx), one list per pair, in the order of the pairs.

        Trains on the pairs that it aligns. Same pairs and options, same links.
        """
        ...


def aligner_word(word: str) -> str:
    """A word as aligners see it: lower-cased (the usual practice), one token of a line of tokens.

    White space and control characters would split the token; `|||` is what separates the sides of a line.
    """
    text = _NOT_IN_A_TOKEN.sub("_", word.lower())
    return "_" if text in ("", "|||") else text


def aligner_line(pair: WordPair) -> str:
    source, target = pair
    return " ".join(map(aligner_word, source)) + " ||| " + " ".join(map(aligner_word, target))
