"""eflomal (Östling and Tiedemann 2016): sil-thot's seeded sampler, or the program `eflomal-align` on request.

The program is under the GPL-3: it is run, never imported. It takes its random numbers from the system, so two runs over
the same text differ: on 2,000 de-en pairs, 37 of 100 pairs got the same links twice. Therefore it runs only if
`--aligner-implementation program` asks for it.

A model of the program is its file of priors: counts of the links of the training text. A text is aligned anew with
them, so the training text itself does not get the links that training gave.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

from weam_fairseq.common.errors import InputError

from .directions import DirectionalAligner, Outputs, run_together, temporary_folder
from .models import Card
from .thot import ThotKind

log = logging.getLogger(__name__)

_PRIORS = "priors"
_LINKS = (("-f", "forward"), ("-r", "reverse"))


class EflomalProgram(DirectionalAligner):
    name = "eflomal (program)"
    max_words: int | None = 1_023  # a limit of eflomal

    def __init__(self, card: Card | None = None) -> None:
        self._align, self._make_priors = shutil.which("eflomal-align"), shutil.which("eflomal-makepriors")
        if self._align is None:
            raise InputError(
                f"The program eflomal-align{' of this model' if card else ''} must be on the PATH, but is not. Install "
                f"it (pip install eflomal), or {'train a model' if card else 'align'} with sil-thot's: "
                "--aligner-implementation sil-thot."
            )
        self._card = card
        self.version = card.applied_version if card else _version()

    @staticmethod
    def on_path() -> bool:
        return shutil.which("eflomal-align") is not None

    def run(self, words: Path, folder: Path, count: int = 2) -> Outputs:
        return Outputs(self.name, self._run(words, folder, count))

    def write_model(self, words: Path, folder: Path) -> dict[str, Any]:
        if self._make_priors is None:
            raise InputError(
                "The program eflomal-makepriors must be on the PATH with eflomal-align, but is not. Install the "
                "complete package (pip install eflomal), or leave --save-aligner out."
            )
        with temporary_folder(words) as temporary:
            forward, reverse = self._run(words, Path(temporary), 2)
            command = [self._make_priors, "-i", str(words), "-f", str(forward), "-r", str(reverse)]
            run_together(self.name, [[*command, "-p", str(folder / _PRIORS)]], Path(temporary), 0)
        return {}

    def _run(self, words: Path, folder: Path, count: int) -> list[Path]:
        log.warning("The program eflomal cannot be seeded. The next run with the same text will give other links.")
        assert self._align is not None
        command = [self._align, "-i", str(words)]
        if self._card is not None:
            command += ["-p", str(self._card.folder / _PRIORS)]
        files = [folder / name for _, name in _LINKS[:count]]
        for (flag, _), file in zip(_LINKS, files, strict=False):
            command += [flag, str(file)]
        run_together(self.name, [command], folder, 0)
        return files


class Eflomal(ThotKind):
    name = "eflomal"
    summary = "eflomal has the fewest errors (docs/aligners.md)"
    program = EflomalProgram


def _version() -> str:
    """The version of the Python package, if it is installed here: the program does not print one."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("eflomal")
    except PackageNotFoundError:
        return "unknown"
