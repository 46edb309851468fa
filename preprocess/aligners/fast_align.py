"""The program fast_align (Dyer, Chahuneau and Smith 2013), where it is on the PATH.

A model is, for each direction, the program's table of translation probabilities and two numbers that it prints while
it trains: how strongly links keep to the diagonal, and how much longer the target side is.

The program's own limit for that table keeps little beyond each word's best translations: on 20,000 de-en pairs, the
training text itself then got other links in 64 of 100 pairs. So we ask for all of it, and drop what the program
gives to words that it has never seen together, or less: 2 MB, and the same links in 19,998 of 20,000 pairs. The
others are ties within the six digits that the program prints.
"""

from __future__ import annotations

import hashlib
import math
import re
import shutil
from pathlib import Path
from typing import Any

from weam_fairseq.common.errors import InputError

from .directions import DirectionalAligner, Finished, run_directions, run_together, temporary_folder
from .link_files import Outputs
from .models import Card

_ITERATIONS = 5  # fast_align's own default
# The flags of fast_align's own README.
_TRAIN = ["-d", "-o", "-v"]
_NAMES = ("forward", "reverse")
_FLAGS: tuple[list[str], ...] = ([], ["-r"])

_NO_LIMIT = "-1000000"
_UNSEEN_LOG_PROB = math.log(1e-9)  # what the program gives to words that its table does not have

# "source words ||| target words ||| links ||| score"; words may hold "|||" among other characters.
_APPLIED = re.compile(r"\|\|\|((?: [0-9]+-[0-9]+)*) \|\|\| \S+$")


def on_path() -> bool:
    return shutil.which("fast_align") is not None


class FastAlignProgram(DirectionalAligner):
    """Trains on what it aligns, or applies the model of `card`."""

    name = "fast_align (program)"

    def __init__(self, card: Card | None = None) -> None:
        program = shutil.which("fast_align")
        if program is None:
            raise InputError(
                f"The program fast_align{' of this model' if card else ''} must be on the PATH, but is not. Install it "
                f"(github.com/clab/fast_align), or {'train a model' if card else 'align'} with sil-thot's: "
                "--aligner-implementation sil-thot."
            )
        self._program, self._card = program, card
        self.by_pair = card is not None
        # The program does not tell its version.
        version = "sha256:" + hashlib.sha256(Path(program).read_bytes()).hexdigest()[:16]
        self.version = card.applied_version if card else version

    def run(self, words: Path, folder: Path, count: int = 2) -> Outputs:
        command = [self._program, "-i", str(words)]
        if self._card is None:
            train = [[*command, *_TRAIN, *flags] for flags in _FLAGS[:count]]
            return run_directions(self.name, train, folder, _ITERATIONS)
        apply = [[*command, *self._model(self._card, name), *flags] for name, flags in zip(_NAMES, _FLAGS, strict=True)]
        return run_directions(self.name, apply[:count], folder, 0, _links_of)

    def _model(self, card: Card, name: str) -> list[str]:
        told = card.details[name]
        return ["-d", "-T", told["tension"], "-m", told["length_ratio"], "-f", str(card.folder / name)]

    def write_model(self, words: Path, folder: Path) -> dict[str, Any]:
        with temporary_folder(words) as temporary:
            tables = [Path(temporary, name) for name in _NAMES]
            commands = [
                [self._program, "-i", str(words), *_TRAIN, *flags, "-p", str(table), "-t", _NO_LIMIT]
                for flags, table in zip(_FLAGS, tables, strict=True)
            ]
            done = run_together(self.name, commands, Path(temporary), _ITERATIONS)
            for table in tables:
                _write_likely(table, folder / table.name)
        return {name: self._printed(run) for name, run in zip(_NAMES, done, strict=True)}

    def _printed(self, run: Finished) -> dict[str, str]:
        """Unchanged: the program reads it back."""
        numbers = {"tension": "final tension:", "length_ratio": "expected target length = source length *"}
        found = {}
        for key, words in numbers.items():
            lines = [line.removeprefix(words).strip() for line in run.said if line.startswith(words)]
            if not lines:
                raise InputError(f"{self.name} must print {words!r} while it trains, but did not. Use another build.")
            found[key] = lines[-1]
        return found


def _write_likely(table: Path, file: Path) -> None:
    """Lines `source<TAB>target<TAB>log probability` that are above what unseen words have."""
    with table.open("rb") as lines, file.open("wb") as out:
        out.writelines(line for line in lines if float(line.rsplit(b"\t", 1)[1]) > _UNSEEN_LOG_PROB)


def _links_of(line: str) -> str:
    found = _APPLIED.search(line)
    # What is no such line is told as it is, and refused as links.
    return found[1] if found else line
