"""What an aligner is: words of sentence pairs in, word links out, with their probabilities where it has some."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, Protocol

Link = tuple[int, int]
WordPair = tuple[list[str], list[str]]

_NOT_IN_A_TOKEN = re.compile(r"[\s\x00-\x1f\x7f-\x9f]")

SYMMETRIZATIONS = ("intersect", "grow-diag", "grow-diag-final-and", "union", "forward")


class Alignments(NamedTuple):
    """One item for each pair, in the order of the pairs.

    links: sorted (source word_idx, target word_idx), no two the same.
    probabilities: one number in (0, 1] for each link, in the same order; None where the aligner has none.
    """

    links: list[list[Link]]
    probabilities: list[list[float]] | None = None


class Aligner(Protocol):
    """`name` and `version` go into the manifest."""

    name: str
    version: str

    def align(self, pairs: Sequence[WordPair], symmetrize: str = "intersect") -> Alignments:
        """Trains on the pairs that it aligns. Same pairs and options, same links and probabilities."""
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
