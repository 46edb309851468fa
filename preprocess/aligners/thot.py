"""sil-thot's models of fast_align, eflomal and an HMM. They come in wheels, so nobody has to compile anything.

The HMM's links have probabilities: the posterior of the link, averaged over the directions (hmm.py).

Each direction runs in a process of its own, which speaks fast_align's protocol (directions.py):
`python -m weam_preprocess.aligners.thot MODEL SEED -i FILE [-r] [--save PREFIX | --load PREFIX]`.
With `--save` it trains, writes the model and prints no links. With `--load` it does not train. A loaded model gives
the same links as the trained one: its files hold all digits, and eflomal's sampler starts anew for every pair.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from weam_fairseq.common.errors import InputError

from .base import Aligner, AlignerKind, AlignerRecipe, Link, option
from .directions import (
    SMALLEST_POSTERIOR,
    DirectionalAligner,
    Outputs,
    run_together,
    temporary_folder,
)
from .lines import WordPair, count_lines, read_words
from .models import Card, read_card

if TYPE_CHECKING:
    from .hmm import Floats

NAMES = ("forward", "reverse")
REVERSE: tuple[list[str], ...] = ([], ["-r"])  # the flag of each direction

_EM_ITERATIONS = 5
_MAX_WORDS = {"fast_align": 1_024, "eflomal": 1_024, "hmm": 200}  # limits of thot
_CHUNK = 5_000  # pairs whose links are held in memory
_SHORT = 20_000  # pairs; applying a model to at most that many shows no bar, since longer texts have one for all chunks


@dataclass(frozen=True)
class TrainedOptions:
    implementation: str = option(
        "--aligner-implementation",
        "auto",
        "what runs the aligner: auto (default) takes the program fast_align if it is on the PATH, otherwise sil-thot's "
        "model; program takes the program (eflomal-align has no seed, so links differ from run to run); sil-thot "
        "takes its model",
        choices=("auto", "program", "sil-thot"),
    )


class ThotKind(AlignerKind):
    """An aligner that is trained: sil-thot's model of that name, or a program of that name.

    program: its class, if there is one. prefers_program: `auto` takes the program if it is on the PATH.
    """

    is_trained = True
    options = TrainedOptions
    program: ClassVar[Any] = None
    prefers_program: ClassVar[bool] = False

    def build(self, recipe: AlignerRecipe) -> Aligner:
        implementation = (recipe.options or TrainedOptions()).implementation
        choices = ("auto", "program", "sil-thot")
        if implementation not in choices:
            raise InputError(f"The implementation must be one of {', '.join(choices)}, but is {implementation!r}.")
        if recipe.model is not None:
            if implementation != "auto":
                raise InputError(
                    "A model is applied by the implementation that trained it. Leave --aligner-implementation out."
                )
            return self._of_model(read_card(recipe.model, recipe.pair))
        if implementation == "program" and self.program is None:
            raise InputError(f"The aligner {self.name} has no program. Leave --aligner-implementation out.")
        is_preferred = implementation == "auto" and self.prefers_program and self.program.on_path()
        is_program = implementation == "program" or is_preferred
        aligner: Aligner = self.program() if is_program else ThotAligner(self.name, recipe.seed)
        return aligner

    def _of_model(self, card: Card) -> Aligner:
        if card.name.split(" ")[0] != self.name:
            raise InputError(
                f"{card.folder} holds a model of {card.name}, but the aligner is {self.name}. Change --aligner or "
                "--aligner-model."
            )
        is_program = self.program is not None and card.name == self.program.name
        aligner: Aligner = self.program(card) if is_program else ThotAligner(self.name, card=card)
        return aligner

    def describe_options(self, options: Any) -> dict[str, Any]:
        return {"aligner_implementation": (options or TrainedOptions()).implementation}


class Hmm(ThotKind):
    name = "hmm"
    summary = "hmm gives its links probabilities"


class ThotAligner(DirectionalAligner):
    """`model` is fast_align, eflomal or hmm. Only hmm has probabilities. With `card`, applies that trained model."""

    def __init__(self, model: str, seed: int = 1, card: Card | None = None) -> None:
        from importlib.metadata import version

        self.name = f"{model} (sil-thot)"
        self.version = card.applied_version if card else version("sil-thot")
        self.posteriors = model == "hmm"
        self.max_words = _MAX_WORDS[model]
        self.by_pair = card is not None
        self._model, self._seed, self._card = model, seed, card

    def run(self, words: Path, folder: Path, count: int = 2) -> Outputs:
        pairs = count_lines(words)
        passes = -(-pairs // _CHUNK)
        if self._card is None:
            passes += _training_passes(self._model, pairs)
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
        passes = _training_passes(self._model, count_lines(words))
        with temporary_folder(words) as temporary:
            run_together(self.name, commands, Path(temporary), passes)
        return {"seed": self._seed} if self._model == "eflomal" else {}

    def _commands(self, words: Path) -> list[list[str]]:
        command = [sys.executable, "-m", __name__, self._model, str(self._seed), "-i", str(words)]
        return [[*command, *flags] for flags in REVERSE]


def _training_passes(model: str, pairs: int) -> int:
    """How many ITERATION lines a training writes. Eflomal's schedule shortens as the text grows."""
    if model == "eflomal":
        passes = max(2, round(5000 / max(1, pairs) ** 0.5))
        quarter = max(1, passes // 4)
        return max(2, quarter) + quarter + passes
    return 2 * _EM_ITERATIONS if model == "hmm" else _EM_ITERATIONS


def _trained(name: str, seed: int, pairs: Iterable[WordPair]) -> Any:
    return {"fast_align": _fast_align, "eflomal": _eflomal, "hmm": _hmm}[name](pairs, seed)


def _fast_align(pairs: Iterable[WordPair], seed: int) -> Any:
    from thot.alignment import FastAlignModel

    # Its defaults are those of the program with `-d -o -v`.
    return _train(_with_pairs(FastAlignModel(), pairs), _EM_ITERATIONS)


def _eflomal(pairs: Iterable[WordPair], seed: int) -> Any:
    from thot.alignment import EflomalAlignmentModel

    model = EflomalAlignmentModel()
    model.seed = seed
    model.deterministic = True
    return _train(_with_pairs(model, pairs))


def _hmm(pairs: Iterable[WordPair], seed: int) -> Any:
    from thot.alignment import HmmAlignmentModel, Ibm1AlignmentModel

    # IBM model 1 gives the HMM its first translation table (Och and Ney 2003).
    first = _train(_with_pairs(Ibm1AlignmentModel(), pairs), _EM_ITERATIONS)
    return _train(HmmAlignmentModel(first), _EM_ITERATIONS)


def _with_pairs(model: Any, pairs: Iterable[WordPair]) -> Any:
    for source, target in pairs:
        model.add_sentence_pair(source, target)
    return model


def _train(model: Any, passes: int | None = None) -> Any:
    """Without `passes`, follows eflomal's schedule for this text, which it knows once training has started."""
    model.start_training()
    for _ in range(model.scheduled_iterations if passes is None else passes):
        model.train()
        _report_pass()
    model.end_training()
    return model


def _report_pass() -> None:
    print("ITERATION", file=sys.stderr, flush=True)


def _loaded(name: str, prefix: str) -> Any:
    from thot import alignment

    model = {
        "fast_align": alignment.FastAlignModel,
        "eflomal": alignment.EflomalAlignmentModel,
        "hmm": alignment.HmmAlignmentModel,
    }[name]()
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

    if arguments.load:
        model = _loaded(arguments.model, arguments.load)
    else:
        model = _trained(arguments.model, arguments.seed, pairs())
    if arguments.save:
        _save(model, arguments.save)
    elif arguments.model == "hmm":
        from .hmm import hmm_posteriors

        for links, posteriors in zip(_directed_links(model, pairs()), hmm_posteriors(model, pairs()), strict=True):
            print(_line_with_posteriors(links, posteriors, arguments.r))
    else:
        for links in _directed_links(model, pairs()):
            print(" ".join(_item(link, arguments.r) for link in links))


def _line_with_posteriors(links: Sequence[Link], posteriors: Floats, reverse: bool) -> str:
    """`posteriors` (J, I) are of the model's target and source words; directions.py has the form of the line."""
    import numpy as np

    written = {link: f"{_item(link, reverse)}:{max(posteriors[link[::-1]], SMALLEST_POSTERIOR):.6f}" for link in links}
    likely = [(int(i), int(j)) for j, i in np.argwhere(posteriors >= SMALLEST_POSTERIOR)]
    others = [f"{_item(cell, reverse)}:{posteriors[cell[::-1]]:.6f}" for cell in likely if cell not in written]
    return " ".join(written.values()) + "\t" + " ".join(others)


def _item(link: Link, reverse: bool) -> str:
    i, j = link
    return f"{j}-{i}" if reverse else f"{i}-{j}"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("seed", type=int)
    parser.add_argument("-i", required=True)
    parser.add_argument("-r", action="store_true")
    parser.add_argument("--save")
    parser.add_argument("--load")
    return parser.parse_args()


if __name__ == "__main__":
    _work(_parse())
