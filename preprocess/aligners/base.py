"""What an aligner is: words of sentence pairs in, word links out, with their probabilities where it has some."""

from __future__ import annotations

import re
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from weam_fairseq.common.errors import InputError

Link = tuple[int, int]
WordPair = tuple[list[str], list[str]]

NOT_IN_A_TOKEN = re.compile(r"[\s\x00-\x1f\x7f-\x9f]")

SEPARATOR = "|||"  # of the sides of a line

SYMMETRIZATIONS = ("intersect", "grow-diag", "grow-diag-final-and", "union", "forward")


class Aligned(NamedTuple):
    """One pair.

    links: sorted (source word_idx, target word_idx), no two the same.
    probabilities: one number in (0, 1] for each link, in the same order; None where the aligner has none.
    """

    links: list[Link]
    probabilities: list[float] | None = None


class Alignments(NamedTuple):
    """The same for many pairs, in their order: one item for each."""

    links: list[list[Link]]
    probabilities: list[list[float]] | None = None


class Aligner(Protocol):
    """`name` and `version` go into the manifest.

    by_pair: the links of a pair depend on that pair alone, so that a text can be aligned in parts, in any order.
    own_cores: it takes all cores, or the GPU, by itself: several of it on one machine gain nothing.
    max_words: a pair with a side of more words gets no links; None where there is no such limit.
    cut: sentences of the last file that were cut, words behind the cut having no links.
    cased: it is given words as they are, not lower-cased.
    """

    name: str
    version: str
    by_pair: bool
    own_cores: bool
    max_words: int | None
    cut: int
    cased: bool

    def line(self, pair: WordPair) -> str:
        """A pair as a line (without its end) of the file that `align_file` takes. Neither side may be empty."""
        ...

    def align_file(self, words: Path, symmetrize: str = "intersect") -> Iterator[Aligned]:
        """Links of a file of lines `source words ||| target words`, one item a line, in order.

        Same file and options, same links and probabilities, but for the eflomal program. Only a few lines are held
        in memory, besides what the aligner itself holds; temporary files are made beside `words`.
        """
        ...

    def align(self, pairs: Sequence[WordPair], symmetrize: str = "intersect") -> Alignments:
        """The same for pairs in memory."""
        ...


class FileAligner(ABC):
    """`align` for aligners that have `align_file`."""

    name: str
    version: str
    by_pair = False
    own_cores = False
    max_words: int | None = None
    cut = 0
    cased = False

    def line(self, pair: WordPair) -> str:
        return " ||| ".join(one_side(words, self.cased) for words in pair)

    @abstractmethod
    def align_file(self, words: Path, symmetrize: str = "intersect") -> Iterator[Aligned]: ...

    def align(self, pairs: Sequence[WordPair], symmetrize: str = "intersect") -> Alignments:
        """Raises InputError for a side without words."""
        with tempfile.TemporaryDirectory(prefix="weam-align-") as folder:
            words = Path(folder, "words.txt")
            with words.open("w", encoding="utf-8", newline="\n") as stream:
                for number, pair in enumerate(pairs, start=1):
                    if not all(pair):
                        raise InputError(
                            f"Pair {number:,} has a side without words, which no aligner takes. Drop it first."
                        )
                    stream.write(self.line(pair) + "\n")
            return gather(self.align_file(words, symmetrize))


def gather(items: Iterable[Aligned]) -> Alignments:
    links: list[list[Link]] = []
    probabilities: list[list[float]] = []
    for item in items:
        links.append(item.links)
        if item.probabilities is not None:
            probabilities.append(item.probabilities)
    assert len(probabilities) in (0, len(links)), "an aligner has probabilities or not"
    return Alignments(links, probabilities or None)


def aligner_line(pair: WordPair) -> str:
    """A pair as aligners that count words see it: lower-cased, which is the usual practice."""
    return " ||| ".join(one_side(words, cased=False) for words in pair)


def one_side(words: Sequence[str], cased: bool) -> str:
    """Words as tokens with spaces between, lower-cased unless `cased`."""
    words = words if cased else [word.lower() for word in words]
    joined = " ".join(words)
    # Nearly always nothing has to be replaced, which one look at the whole side tells.
    if not all(words) or SEPARATOR in joined or NOT_IN_A_TOKEN.search("".join(words)) is not None:
        return " ".join(map(_token, words))
    return joined


def _token(word: str) -> str:
    """A word as one token of a line of tokens.

    White space and control characters would split the token; `|||` is what separates the sides of a line.
    """
    text = NOT_IN_A_TOKEN.sub("_", word)
    return "_" if text in ("", SEPARATOR) else text


def read_words(words: Path) -> Iterator[WordPair]:
    """The pairs of a file of lines that `line` gave."""
    with words.open(encoding="utf-8", newline="\n") as stream:
        for line in stream:
            source, target = line.removesuffix("\n").split(" ||| ")
            yield source.split(" "), target.split(" ")


def read_sizes(words: Path, start: int = 0) -> Generator[tuple[int, int], None, None]:
    """How many words the pairs of such a file have, without taking them apart; `start`: the first one's byte."""
    with words.open("rb") as stream:
        stream.seek(start)
        for line in stream:
            source, target = line.split(b" ||| ")
            yield source.count(b" ") + 1, target.count(b" ") + 1


def count_lines(file: Path) -> int:
    with file.open("rb") as stream:
        return sum(1 for _ in stream)
