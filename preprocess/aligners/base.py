"""What an aligner is: words of sentence pairs in, word links out, with probabilities if the aligner has them.

This file and the top level of every aligner's file import nothing heavy: `weam-preprocess --help` reads them all.
"""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from weam_fairseq.common.errors import InputError

from .lines import WordPair, one_side

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Link = tuple[int, int]

SYMMETRIZATIONS = ("intersect", "grow-diag", "grow-diag-final-and", "union", "forward")


# The smallest probability of a link: a data-bin has no smaller one either.
SMALLEST_PROBABILITY = 1e-4


class Aligned(NamedTuple):
    """The links of one pair.

    links: sorted (source word_idx, target word_idx), without repetition.
    probabilities: one number in (0, 1] for each link, in the same order; None if the aligner has none.
    """

    links: list[Link]
    probabilities: list[float] | None = None


class Links(NamedTuple):
    """The links of consecutive pairs, as arrays.

    sizes: (N,) how many links each pair has.
    links: (L, 2) source and target word indices, sorted within each pair.
    probabilities: (L,) numbers in (0, 1]; None if the aligner has none.
    """

    sizes: NDArray[np.int32]
    links: NDArray[np.int32]
    probabilities: NDArray[np.floating[Any]] | None = None

    @classmethod
    def of(cls, items: Sequence[Aligned]) -> Links:
        import numpy as np

        probabilities = [item.probabilities or [] for item in items]
        return cls(
            np.array([len(item.links) for item in items], dtype=np.int32),
            np.array([link for item in items for link in item.links], dtype=np.int32).reshape(-1, 2),
            np.array([p for of_pair in probabilities for p in of_pair], dtype=np.float64)
            if any(item.probabilities is not None for item in items)
            else None,
        )

    def pairs(self) -> Iterator[Aligned]:
        probabilities = None if self.probabilities is None else self.probabilities.tolist()
        links, end = list(map(tuple, self.links.tolist())), 0
        for size in self.sizes.tolist():
            start, end = end, end + size
            yield Aligned(links[start:end], None if probabilities is None else probabilities[start:end])

    def split(self, sizes: Sequence[int]) -> Iterator[Links]:
        """Consecutive parts of `sizes` pairs."""
        import numpy as np

        assert sum(sizes) == len(self.sizes), "one item of links for each pair"
        ends = np.concatenate([[0], np.cumsum(self.sizes, dtype=np.int64)])
        last = 0
        for size in sizes:
            first, last = last, last + size
            of = slice(int(ends[first]), int(ends[last]))
            probabilities = None if self.probabilities is None else self.probabilities[of]
            yield Links(self.sizes[first:last], self.links[of], probabilities)

    @classmethod
    def joined(cls, parts: Iterable[Links]) -> Links:
        import numpy as np

        together = list(parts) or [cls.of([])]
        sizes, links, probabilities = zip(*together, strict=True)
        has = any(part is not None for part in probabilities)
        return cls(np.concatenate(sizes), np.concatenate(links), np.concatenate(probabilities) if has else None)


class Alignments(NamedTuple):
    """The links of many pairs, one item for each pair, in the order of the pairs."""

    links: list[list[Link]]
    probabilities: list[list[float]] | None = None


@dataclass(frozen=True)
class AlignerRecipe:
    """Plain values from which every process of a run builds the same aligner: see `AlignerKind.build`.

    options: an instance of the aligner's `options` class; None means the defaults.
    links, lines: the file of links and the number of input lines, for an aligner that reads links.
    """

    name: str
    seed: int = 1
    model: Path | None = None
    pair: str | None = None
    options: Any = None
    links: Path | None = None
    lines: int = 0


def option(flag: str, default: Any, help: str, **settings: Any) -> Any:
    """A field of an aligner's options. `flag` sets it on the command line; `settings` go to argparse."""
    return field(default=default, metadata={"flag": flag, "help": help, **settings})


class AlignerKind(ABC):
    """One value of --aligner. Its subclasses are listed in aligners/__init__.py.

    name: the value of --aligner.
    summary: what --help says about it.
    is_trained: it trains on the text; --save-aligner keeps the model and --aligner-model applies it, one for each pair.
    needs_model: it is never trained here; --aligner-model must name one Hugging Face folder or Hub name for all pairs.
    reads_links: it reads the links of --links, one file for each pair.
    options: a frozen dataclass of its own options, with `option` for each field; None if it has none.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    is_trained: ClassVar[bool] = False
    needs_model: ClassVar[bool] = False
    reads_links: ClassVar[bool] = False
    options: ClassVar[type[Any] | None] = None

    @abstractmethod
    def build(self, recipe: AlignerRecipe) -> Aligner:
        """Raises InputError if the model or the options do not fit."""

    def check_machine(self, options: Any) -> None:  # noqa: B027 - most aligners run anywhere
        """Raises InputError if this machine cannot run the aligner; called before a run that aligns here."""

    def check_together(self, aligners: Sequence[Any]) -> None:  # noqa: B027 - most have nothing to compare
        """Raises InputError if the aligners of all pairs cannot make one data-bin."""

    def describe_options(self, options: Any) -> dict[str, Any]:
        """The options for the manifest; `options` is None in runs with another aligner."""
        return {} if self.options is None else {self.name: None if options is None else asdict(options)}


IMPLEMENTATIONS = ("auto", "program")


def implementation_option() -> Any:
    """The field `implementation` of the options of every aligner that is trained."""
    return option(
        "--aligner-implementation",
        "auto",
        "auto (default): the built-in fast_align, or eflomal of the package sil-thot; program: the "
        "program fast_align or eflomal-align, which must be on the PATH (eflomal-align has no seed, so links differ "
        "from run to run)",
        choices=IMPLEMENTATIONS,
    )


class TrainedKind(AlignerKind):
    """An aligner that is trained here: our own implementation, or the program of that name."""

    is_trained = True

    @abstractmethod
    def own(self, recipe: AlignerRecipe, card: Any) -> Aligner:
        """Ours. `card`: of the model to apply; None trains on the text that is aligned."""

    @abstractmethod
    def program(self, card: Any) -> Aligner:
        """The program. Raises InputError if it is not on the PATH."""

    def build(self, recipe: AlignerRecipe) -> Aligner:
        from .models import read_card

        chosen = getattr(recipe.options, "implementation", "auto")
        if chosen not in IMPLEMENTATIONS:
            raise InputError(f"The implementation must be one of {', '.join(IMPLEMENTATIONS)}, but is {chosen!r}.")
        if recipe.model is None:
            return self.program(None) if chosen == "program" else self.own(recipe, None)
        if chosen != "auto":
            raise InputError(
                "A model is applied by the implementation that trained it. Leave --aligner-implementation out."
            )
        card = read_card(recipe.model, recipe.pair)
        name, _, of = card.name.partition(" (")
        if name != self.name:
            raise InputError(
                f"{card.folder} holds a model of {card.name}, but the aligner is {self.name}. Change --aligner or "
                "--aligner-model."
            )
        return self.program(card) if of == "program)" else self.own(recipe, card)

    def describe_options(self, options: Any) -> dict[str, Any]:
        return {} if options is None else {f"aligner_{name}": value for name, value in asdict(options).items()}


class Aligner(ABC):
    """An aligner that is ready to run. `name` and `version` go into the manifest.

    by_pair: the links of a pair depend on that pair alone, so a text can be aligned in parts, in any order.
    own_cores: it uses all cores, or the GPU, by itself; several on one machine gain nothing.
    max_words: a pair with more words on a side gets no links; None means no limit.
    cut: how many sentences of the last file were cut; words after the cut have no links.
    cased: it gets words as they are, not lower-cased.
    """

    name: str
    version: str
    by_pair = False
    own_cores = False
    max_words: int | None = None
    cut = 0
    cased = False

    def line(self, pair: WordPair) -> str:
        """A pair as a line of the file that `align_file` reads, without the line end. Neither side may be empty."""
        return " ||| ".join(one_side(words, self.cased) for words in pair)

    def check_symmetrize(self, how: str) -> None:  # noqa: B027 - most aligners join in every way
        """Raises InputError if the aligner cannot join its directions like this; called before any work."""

    @abstractmethod
    def align_file(self, words: Path, symmetrize: str = "intersect") -> Iterator[Aligned]:
        """The links of a file of lines `source words ||| target words`, one item a line, in order.

        The same file and options give the same links and probabilities, except with the eflomal program. Memory holds
        a few lines besides the aligner's own tables. Temporary files are written next to `words`.
        """

    def align(self, pairs: Sequence[WordPair], symmetrize: str = "intersect") -> Alignments:
        """The same for pairs in memory. Raises InputError for a side without words."""
        with tempfile.TemporaryDirectory(prefix="weam-align-") as folder:
            words = Path(folder, "words.txt")
            with words.open("w", encoding="utf-8", newline="\n") as stream:
                for number, pair in enumerate(pairs, start=1):
                    if not all(pair):
                        raise InputError(
                            f"Pair {number:,} has a side without words. No aligner takes such a pair: drop it first."
                        )
                    stream.write(self.line(pair) + "\n")
            return _gather(self.align_file(words, symmetrize))


class ArrayAligner(Aligner):
    """An aligner that has the links of many pairs as arrays."""

    @abstractmethod
    def link_arrays(self, words: Path, symmetrize: str = "intersect") -> Iterator[Links]:
        """The links of a file of lines, some thousand pairs at a time."""

    def align_file(self, words: Path, symmetrize: str = "intersect") -> Iterator[Aligned]:
        for part in self.link_arrays(words, symmetrize):
            yield from part.pairs()


def _gather(items: Iterable[Aligned]) -> Alignments:
    links: list[list[Link]] = []
    probabilities: list[list[float]] = []
    for item in items:
        links.append(item.links)
        if item.probabilities is not None:
            probabilities.append(item.probabilities)
    assert len(probabilities) in (0, len(links)), "an aligner has probabilities for all pairs or for none"
    return Alignments(links, probabilities or None)
