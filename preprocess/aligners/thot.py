"""The models of sil-thot: fast_align's, eflomal's and an HMM, from wheels, so that nobody has to compile to start.

The HMM's links carry probabilities: the posterior of the link, averaged over the directions.

Each direction runs in a process of its own, which speaks fast_align's protocol (directions.py):
`python -m weam_preprocess.aligners.thot MODEL SEED -i FILE [-r]`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from .base import Alignments, Link, WordPair
from .directions import DirectedLinks, run_directions
from .forward_backward import Floats
from .symmetrize import symmetrize as join
from .thot_posteriors import hmm_posteriors

_EM_ITERATIONS = 5
# Passes over the text, for the progress bar; eflomal's are its own schedule (8 + 8 + 32).
_PASSES = {"fast_align": _EM_ITERATIONS, "hmm": 2 * _EM_ITERATIONS, "eflomal": 48}
# The smallest posterior that is told: a data-bin has no smaller probability either.
_SMALLEST = 1e-4


class ThotAligner:
    """`model` is one of fast_align, eflomal, hmm. hmm alone has probabilities.

    Pairs with a side of more than 1,024 words (hmm: 200) get no links, which is a limit of thot.
    """

    def __init__(self, model: str, seed: int = 1) -> None:
        self.name = f"{model} (sil-thot)"
        self.version = version("sil-thot")
        self._model, self._seed = model, seed

    def align(self, pairs: Sequence[WordPair], symmetrize: str = "intersect") -> Alignments:
        directions = 1 if symmetrize == "forward" else 2
        command = [sys.executable, "-m", __name__, self._model, str(self._seed)]
        links: list[list[Link]] = []
        probabilities: list[list[float]] = []
        lines = run_directions(self.name, command, pairs, _PASSES[self._model], directions)
        for (source, target), directed in zip(pairs, lines, strict=True):
            joined = join(len(source), len(target), directed[0].links, directed[-1].links, symmetrize)
            links.append(joined)
            probabilities.append([_mean_posterior(link, directed) for link in joined])
        return Alignments(links, probabilities if self._model == "hmm" else None)


def _mean_posterior(link: Link, directed: Sequence[DirectedLinks]) -> float:
    """Over the directions, whether or not each of them found the link."""
    return sum(direction.posteriors.get(link, _SMALLEST) for direction in directed) / len(directed)


def _trained(name: str, seed: int, pairs: Sequence[WordPair]) -> Any:
    return {"fast_align": _fast_align, "eflomal": _eflomal, "hmm": _hmm}[name](pairs, seed)


def _fast_align(pairs: Sequence[WordPair], seed: int) -> Any:
    from thot.alignment import FastAlignModel

    # Its defaults are those of the program with `-d -o -v`.
    return _train(_with_pairs(FastAlignModel(), pairs), _EM_ITERATIONS)


def _eflomal(pairs: Sequence[WordPair], seed: int) -> Any:
    from thot.alignment import EflomalAlignmentModel

    model = EflomalAlignmentModel()
    model.seed = seed
    model.deterministic = True
    return _train(_with_pairs(model, pairs), model.scheduled_iterations)


def _hmm(pairs: Sequence[WordPair], seed: int) -> Any:
    from thot.alignment import HmmAlignmentModel, Ibm1AlignmentModel

    # IBM model 1 gives the HMM its first translation table (Och and Ney 2003).
    first = _train(_with_pairs(Ibm1AlignmentModel(), pairs), _EM_ITERATIONS)
    return _train(HmmAlignmentModel(first), _EM_ITERATIONS)


def _with_pairs(model: Any, pairs: Sequence[WordPair]) -> Any:
    for source, target in pairs:
        model.add_sentence_pair(source, target)
    return model


def _train(model: Any, passes: int) -> Any:
    model.start_training()
    for step in range(1, passes + 1):
        model.train()
        print("ITERATION", step, file=sys.stderr, flush=True)
    model.end_training()
    return model


def _directed_links(model: Any, pairs: Sequence[WordPair]) -> Iterator[list[Link]]:
    """Links (word of the model's source, word of its target) of each pair."""
    results = model.get_best_alignments([source for source, _ in pairs], [target for _, target in pairs])
    for _, matrix in results:
        # Entry j is the source word of target word j, from 1; 0 is no word.
        yield [(i - 1, j) for j, i in enumerate(matrix.to_list()) if i > 0]


def _work(name: str, seed: int, file: str, reverse: bool) -> None:
    with open(file, encoding="utf-8", newline="\n") as stream:
        pairs = [_pair(line.rstrip("\n"), reverse) for line in stream]
    model = _trained(name, seed, pairs)
    if name != "hmm":
        for links in _directed_links(model, pairs):
            print(" ".join(_item(link, reverse) for link in links))
        return
    for links, posteriors in zip(_directed_links(model, pairs), hmm_posteriors(model, pairs), strict=True):
        print(_line_with_posteriors(links, posteriors, reverse))


def _line_with_posteriors(links: Sequence[Link], posteriors: Floats, reverse: bool) -> str:
    """`posteriors` (J, I) are of the model's target and source words; see directions.py for the form."""
    told = {link: f"{_item(link, reverse)}:{max(posteriors[link[::-1]], _SMALLEST):.6f}" for link in links}
    likely = [(int(i), int(j)) for j, i in np.argwhere(posteriors >= _SMALLEST)]
    others = [f"{_item(cell, reverse)}:{posteriors[cell[::-1]]:.6f}" for cell in likely if cell not in told]
    return " ".join(told.values()) + "\t" + " ".join(others)


def _item(link: Link, reverse: bool) -> str:
    i, j = link
    return f"{j}-{i}" if reverse else f"{i}-{j}"


def _pair(line: str, reverse: bool) -> WordPair:
    source, target = (side.split(" ") for side in line.split(" ||| "))
    return (target, source) if reverse else (source, target)


if __name__ == "__main__":
    _work(sys.argv[1], int(sys.argv[2]), sys.argv[4], reverse="-r" in sys.argv[5:])
