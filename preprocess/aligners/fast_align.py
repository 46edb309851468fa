"""fast_align (Dyer, Chahuneau and Smith 2013): our own implementation, or the program on request.

Ours is diagonal_model.py. Training runs in a process of its own; a trained model is applied in this one. Its links have
probabilities.

A model of the program is, for each direction, its table of translation probabilities and two numbers that it prints
while it trains: how strongly links keep to the diagonal, and how much longer the target side is. With the program's own
limit, that table keeps little more than the best translations of each word: on 20,000 de-en pairs, 64 of 100 pairs of
the training text then got other links. So we ask for the complete table and drop entries that are no likelier than what
the program gives to words that it has never seen together. That takes 2 MB and gives the same links in 19,998 of 20,000
pairs. The other two are ties within the six digits that the program prints.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import math
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weam_fairseq.common.command import PYTHON_MODULE
from weam_fairseq.common.errors import InputError

from .base import Aligner, AlignerRecipe, ArrayAligner, Links, TrainedKind, implementation_option, option
from .directions import NAMES, REVERSE, DirectionalAligner, Finished, Outputs, run_together, temporary_folder
from .lines import count_lines
from .models import Card

if TYPE_CHECKING:
    from .diagonal_model import Model

log = logging.getLogger(__name__)

_ITERATIONS = 5  # fast_align's own default
_VERSION = "1"  # changes when the links of the same text change
_TRAIN = ["-d", "-o", "-v"]  # the flags of fast_align's README

_NO_LIMIT = "-1000000"
_UNSEEN_LOG_PROB = math.log(1e-9)  # what the program gives to word pairs that are not in its table

# "source words ||| target words ||| links ||| score"; words may contain "|||" among other characters.
_APPLIED = re.compile(r"\|\|\|((?: [0-9]+-[0-9]+)*) \|\|\| \S+$")


@dataclass(frozen=True)
class FastAlignOptions:
    implementation: str = implementation_option()
    agreement: bool = option(
        "--aligner-agreement",
        True,
        "for the built-in fast_align: train both directions to agree, which gives fewer errors (default); "
        "--no-aligner-agreement trains them apart, as the program does",
        action=argparse.BooleanOptionalAction,
    )
    sample: int = option(
        "--aligner-sample",
        1_000_000,
        "for the built-in fast_align: train on at most that many pairs, evenly spread, and apply the model to all "
        "(default 1,000,000, which took 2.4 GiB for sentences of 14 words)",
        type=int,
        metavar="PAIRS",
    )


class FastAlign(TrainedKind):
    name = "fast_align"
    summary = "fast_align is the fastest and also gives link probabilities"
    options = FastAlignOptions

    def build(self, recipe: AlignerRecipe) -> Aligner:
        given = recipe.options or FastAlignOptions()
        other = "the program" if given.implementation == "program" else "a model" if recipe.model is not None else None
        if other and (given.agreement, given.sample) != (FastAlignOptions.agreement, FastAlignOptions.sample):
            raise InputError(
                "--no-aligner-agreement and --aligner-sample are for training our fast_align, but this run uses "
                f"{other}. Leave them out."
            )
        return super().build(recipe)

    def own(self, recipe: AlignerRecipe, card: Card | None) -> FastAlignModel:
        return FastAlignModel(recipe.options or FastAlignOptions(), card)

    def program(self, card: Card | None) -> FastAlignProgram:
        return FastAlignProgram(card)


class FastAlignModel(ArrayAligner):
    """Ours. With `card`, applies that trained model. Raises InputError for a sample below one pair."""

    def __init__(self, options: FastAlignOptions, card: Card | None = None) -> None:
        from importlib.metadata import version

        if options.sample < 1:
            raise InputError(f"--aligner-sample must be at least 1 pair, but is {options.sample}.")
        # The name is the same for a trained model and for the run that trains it.
        self.name = card.name if card else f"fast_align ({'agreement' if options.agreement else 'independent'})"
        self.version = card.applied_version if card else f"{_VERSION}, numpy {version('numpy')}"
        self.by_pair = card is not None
        self._options, self._card = options, card

    def link_arrays(self, words: Path, symmetrize: str = "intersect") -> Iterator[Links]:
        import numpy as np

        from . import diagonal_model

        if self._card is not None:
            yield from diagonal_model.apply(self._model, words, symmetrize)
            return
        with temporary_folder(words) as temporary:
            folder = Path(temporary)
            self._train(words, folder, ["--links", str(folder), "--symmetrize", symmetrize])
            yield Links(*(np.load(folder / f"{name}.npy", allow_pickle=False) for name in Links._fields))

    def write_model(self, words: Path, folder: Path) -> dict[str, Any]:
        with temporary_folder(words) as temporary:
            self._train(words, Path(temporary), ["--model", str(folder)])
        return {"agreement": self._options.agreement, "sampled_pairs": self._trained_on(words)}

    def _trained_on(self, words: Path) -> int:
        pairs = count_lines(words)
        return -(-pairs // max(1, -(-pairs // self._options.sample)))

    def _train(self, words: Path, folder: Path, results: list[str]) -> None:
        pairs = count_lines(words)
        every = max(1, -(-pairs // self._options.sample))
        if every > 1:
            log.warning(
                "fast_align is trained on %s of %s pairs (--aligner-sample) and applied to all.",
                f"{self._trained_on(words):,}",
                f"{pairs:,}",
            )
        command = [
            *PYTHON_MODULE,
            f"{__package__}.diagonal_model",
            "-i",
            str(words),
            "--every",
            str(every),
        ]
        agreement = ["--agreement"] if self._options.agreement else []
        run_together(self.name, [[*command, *agreement, *results]], folder, _ITERATIONS)

    @cached_property
    def _model(self) -> Model:
        from . import diagonal_model

        assert self._card is not None
        try:
            return diagonal_model.Model.load(self._card.folder)
        except (ValueError, KeyError, OSError) as error:
            raise InputError(
                f"The model {self._card.folder} does not load ({error}). Train the aligner again."
            ) from None


class FastAlignProgram(DirectionalAligner):
    """Trains on the text that it aligns, or applies the model of `card`."""

    name = "fast_align (program)"

    def __init__(self, card: Card | None = None) -> None:
        program = shutil.which("fast_align")
        if program is None:
            raise InputError(
                f"The program fast_align{' of this model' if card else ''} must be on the PATH, but is not. Install it "
                f"(github.com/clab/fast_align), or {'train a model' if card else 'align'} with ours: leave "
                "--aligner-implementation out."
            )
        self._program, self._card = program, card
        self.by_pair = card is not None
        # The program does not print its version.
        version = "sha256:" + hashlib.sha256(Path(program).read_bytes()).hexdigest()[:16]
        self.version = card.applied_version if card else version

    def run(self, words: Path, folder: Path, count: int = 2) -> Outputs:
        command = [self._program, "-i", str(words)]
        if self._card is None:
            train = [[*command, *_TRAIN, *flags] for flags in REVERSE[:count]]
            return Outputs(self.name, [done.out for done in run_together(self.name, train, folder, _ITERATIONS)])
        apply = [[*command, *self._model(self._card, name), *flags] for name, flags in zip(NAMES, REVERSE, strict=True)]
        done = run_together(self.name, apply[:count], folder, 0)
        return Outputs(self.name, [program.out for program in done], _links_of)

    def _model(self, card: Card, name: str) -> list[str]:
        numbers = card.details[name]
        return ["-d", "-T", numbers["tension"], "-m", numbers["length_ratio"], "-f", str(card.folder / name)]

    def write_model(self, words: Path, folder: Path) -> dict[str, Any]:
        with temporary_folder(words) as temporary:
            tables = [Path(temporary, name) for name in NAMES]
            commands = [
                [self._program, "-i", str(words), *_TRAIN, *flags, "-p", str(table), "-t", _NO_LIMIT]
                for flags, table in zip(REVERSE, tables, strict=True)
            ]
            done = run_together(self.name, commands, Path(temporary), _ITERATIONS)
            for table in tables:
                _write_likely(table, folder / table.name)
        return {name: self._printed(run) for name, run in zip(NAMES, done, strict=True)}

    def _printed(self, run: Finished) -> dict[str, str]:
        """The numbers as text, unchanged: the program reads them back."""
        numbers = {"tension": "final tension:", "length_ratio": "expected target length = source length *"}
        found = {}
        for key, label in numbers.items():
            lines = [line.removeprefix(label).strip() for line in run.messages if line.startswith(label)]
            if not lines:
                raise InputError(f"{self.name} must print {label!r} while it trains, but did not. Use another build.")
            found[key] = lines[-1]
        return found


def _write_likely(table: Path, file: Path) -> None:
    """Lines `source<TAB>target<TAB>log probability` that are above the probability of unseen word pairs."""
    with table.open("rb") as lines, file.open("wb") as out:
        out.writelines(line for line in lines if float(line.rsplit(b"\t", 1)[1]) > _UNSEEN_LOG_PROB)


def _links_of(line: str) -> str:
    found = _APPLIED.search(line)
    # Any other line is returned unchanged and then refused as links.
    return found[1] if found else line
