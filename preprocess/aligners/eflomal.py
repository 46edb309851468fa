"""eflomal (Östling and Tiedemann 2016): sil-thot's seeded sampler, or the program `eflomal-align` on request.

sil-thot comes in wheels, so nobody has to compile anything. Each direction runs in a process of its own, which speaks
fast_align's protocol (directions.py): `python -m weam_preprocess.aligners.eflomal SEED -i FILE [-r] [--save PREFIX |
--load PREFIX]`. With `--save` it trains, writes the model and prints no links. With `--load` it does not train. A
loaded model gives the same links as the trained one: its files hold all digits, and the sampler starts anew for every
pair.

The program is under the GPL-3: it is run, never imported. It takes its random numbers from the system, so two runs over
the same text differ: on 2,000 de-en pairs, 37 of 100 pairs got the same links twice. Therefore it runs only if
`--aligner-implementation program` asks for it.

A model of the program is its file of priors: counts of the links of the training text. A text is aligned anew with
them, so the training text itself does not get the links that training gave.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from weam_fairseq.common.command import PYTHON_MODULE
from weam_fairseq.common.errors import InputError

from .base import AlignerRecipe, Link, TrainedKind, implementation_option
from .directions import NAMES, REVERSE, DirectionalAligner, Outputs, run_together, temporary_folder
from .lines import WordPair, count_lines, read_words
from .models import Card

log = logging.getLogger(__name__)

_MAX_WORDS = 1_024  # sil-thot's limit
_CHUNK = 5_000  # pairs whose links are held in memory
_SHORT = 20_000  # pairs; applying a model to at most that many shows no bar, since longer texts have one for all chunks

_PRIORS = "priors"
_LINKS = (("-f", "forward"), ("-r", "reverse"))


@dataclass(frozen=True)
class EflomalOptions:
    implementation: str = implementation_option()


class Eflomal(TrainedKind):
    name = "eflomal"
    summary = "eflomal has the fewest errors of the aligners without an encoder (docs/aligners.md)"
    options = EflomalOptions

    def own(self, recipe: AlignerRecipe, card: Card | None) -> EflomalSampler:
        return EflomalSampler(recipe.seed, card)

    def program(self, card: Card | None) -> EflomalProgram:
        return EflomalProgram(card)


class EflomalSampler(DirectionalAligner):
    """sil-thot's. With `card`, applies that trained model."""

    name = "eflomal (sil-thot)"
    max_words = _MAX_WORDS

    def __init__(self, seed: int = 1, card: Card | None = None) -> None:
        from importlib.metadata import version

        self.version = card.applied_version if card else version("sil-thot")
        self.by_pair = card is not None
        self._seed, self._card = seed, card

    def run(self, words: Path, folder: Path, count: int = 2) -> Outputs:
        pairs = count_lines(words)
        passes = -(-pairs // _CHUNK)
        if self._card is None:
            passes += _training_passes(pairs)
            commands = self._commands(words)
        else:
            passes = passes if pairs > _SHORT else 0
            commands = [
                [*command, "--load", str(self._card.folder / name)]
                for command, name in zip(self._commands(words), NAMES, strict=True)
            ]
        return Outputs(self.name, [done.out for done in run_together(self.name, commands[:count], folder, passes)])

    def write_model(self, words: Path, folder: Path) -> dict[str, Any]:
        commands = [
            [*command, "--save", str(folder / name)] for command, name in zip(self._commands(words), NAMES, strict=True)
        ]
        with temporary_folder(words) as temporary:
            run_together(self.name, commands, Path(temporary), _training_passes(count_lines(words)))
        return {"seed": self._seed}

    def _commands(self, words: Path) -> list[list[str]]:
        command = [*PYTHON_MODULE, __name__, str(self._seed), "-i", str(words)]
        return [[*command, *flags] for flags in REVERSE]


def _training_passes(pairs: int) -> int:
    """How many ITERATION lines a training writes: eflomal's schedule, which shortens as the text grows."""
    passes = max(2, round(5000 / max(1, pairs) ** 0.5))
    quarter = max(1, passes // 4)
    return max(2, quarter) + quarter + passes


class EflomalProgram(DirectionalAligner):
    name = "eflomal (program)"
    max_words: int | None = 1_023  # a limit of eflomal

    def __init__(self, card: Card | None = None) -> None:
        self._align, self._make_priors = shutil.which("eflomal-align"), shutil.which("eflomal-makepriors")
        if self._align is None:
            raise InputError(
                f"The program eflomal-align{' of this model' if card else ''} must be on the PATH, but is not. Install "
                f"it (pip install eflomal), or {'train a model' if card else 'align'} with sil-thot's: leave "
                "--aligner-implementation out."
            )
        self._card = card
        self.version = card.applied_version if card else _version()

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


def _version() -> str:
    """The version of the Python package, if it is installed here: the program does not print one."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("eflomal")
    except PackageNotFoundError:
        return "unknown"


def trained(seed: int, pairs: Iterable[WordPair]) -> Any:
    """sil-thot's model of the pairs. Its schedule is known only when training has started."""
    from thot.alignment import EflomalAlignmentModel

    model = EflomalAlignmentModel()
    model.seed = seed
    model.deterministic = True
    for source, target in pairs:
        model.add_sentence_pair(source, target)
    model.start_training()
    for _ in range(model.scheduled_iterations):
        model.train()
        _report_pass()
    model.end_training()
    return model


def _report_pass() -> None:
    print("ITERATION", file=sys.stderr, flush=True)


def _loaded(prefix: str) -> Any:
    from thot.alignment import EflomalAlignmentModel

    model = EflomalAlignmentModel()
    if not model.load(prefix):
        raise SystemExit(f"the model {prefix} does not load; train it again")
    return model


def _save(model: Any, prefix: str) -> None:
    if not model.print(prefix):
        raise SystemExit(f"the model {prefix} could not be written")
    # thot writes the training text next to its tables and needs the files to exist, but no link depends on them.
    for suffix in ("src", "trg", "srctrgc"):
        Path(f"{prefix}.{suffix}").write_bytes(b"")


def _directed_links(model: Any, pairs: Iterable[WordPair]) -> Iterator[list[Link]]:
    """Links (word of the model's source, word of its target) of each pair."""
    stream = iter(pairs)
    while chunk := list(islice(stream, _CHUNK)):
        for _, matrix in model.get_best_alignments([source for source, _ in chunk], [target for _, target in chunk]):
            # Entry j is the source word of target word j, from 1; 0 is no word.
            yield [(i - 1, j) for j, i in enumerate(matrix.to_list()) if i > 0]
        _report_pass()


def _work(arguments: argparse.Namespace) -> None:
    def pairs() -> Iterator[WordPair]:
        read = read_words(Path(arguments.i))
        return ((target, source) for source, target in read) if arguments.r else read

    model = _loaded(arguments.load) if arguments.load else trained(arguments.seed, pairs())
    if arguments.save:
        _save(model, arguments.save)
    else:
        for links in _directed_links(model, pairs()):
            print(" ".join(_item(link, arguments.r) for link in links))


def _item(link: Link, reverse: bool) -> str:
    i, j = link
    return f"{j}-{i}" if reverse else f"{i}-{j}"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("seed", type=int)
    parser.add_argument("-i", required=True)
    parser.add_argument("-r", action="store_true")
    parser.add_argument("--save")
    parser.add_argument("--load")
    return parser.parse_args()


if __name__ == "__main__":
    _work(_parse())
