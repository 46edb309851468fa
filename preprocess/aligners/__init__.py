"""Word aligners behind one interface: `build(name).align_file(words)` gives the word links of every line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from weam_fairseq.common.errors import InputError

from .base import SYMMETRIZATIONS, Aligned, Aligner, Alignments, Link, WordPair
from .encoder_links import METHODS as ENCODER_METHODS
from .encoder_links import EncoderOptions

NAMES = ("fast_align", "eflomal", "hmm", "encoder", "precomputed")
TRAINED = ("fast_align", "eflomal", "hmm")
IMPLEMENTATIONS = ("auto", "program", "sil-thot")

__all__ = [
    "ENCODER_METHODS",
    "IMPLEMENTATIONS",
    "NAMES",
    "SYMMETRIZATIONS",
    "TRAINED",
    "Aligned",
    "Aligner",
    "Alignments",
    "EncoderOptions",
    "Link",
    "Recipe",
    "WordPair",
    "build",
    "train",
]


def build(
    name: str,
    seed: int = 1,
    model: Path | None = None,
    encoder: EncoderOptions | None = None,
    implementation: str = "auto",
    pair: str | None = None,
) -> Aligner:
    """An aligner: fast_align, eflomal, hmm or encoder. Raises InputError for another name, or a model of another.

    model: a folder that `train` wrote; without one, the aligner trains on what it aligns. For `encoder`, which is
    never trained here, a Hugging Face folder, and it must be given.
    seed: of sil-thot's eflomal.
    implementation: what runs it, without a model; a model is applied by what trained it. `auto` is the program for
    fast_align where it is on the PATH, and otherwise sil-thot's model: of eflomal's program no run can be repeated, so
    that it must be asked for.
    pair: like `en-de`; a model that names another one is refused.

    Precomputed links belong to one file: see `precomputed.PrecomputedLinks`.
    """
    if name == "encoder":
        if model is None:
            raise InputError("The aligner encoder needs a Hugging Face folder: add --aligner-model DIR.")
        from .encoder import EncoderAligner

        return EncoderAligner(model, encoder or EncoderOptions())
    if name not in TRAINED:
        raise InputError(f"The aligner must be one of {', '.join(TRAINED)}, encoder, but is {name!r}.")
    if model is None:
        return _untrained(name, seed, implementation)
    if implementation != "auto":
        raise InputError("A model is applied by what trained it: leave --aligner-implementation out.")
    return _from_model(name, model, pair)


def train(
    name: str, words: Path, model: Path, seed: int = 1, implementation: str = "auto", pair: str | None = None
) -> None:
    """Trains fast_align, eflomal or hmm on a file of lines that `Aligner.line` gave, both directions.

    Writes the folder `model`, whole or not at all; `pair`, like `en-de`, is written into it. Raises InputError when it
    is there already.
    """
    from . import models

    if name not in TRAINED:
        raise InputError(f"Only {', '.join(TRAINED)} are trained, but the aligner is {name!r}.")
    models.train(_untrained(name, seed, implementation), words, model, pair)


@dataclass(frozen=True)
class Recipe:
    """The arguments of `build`: plain values, from which every process of a run builds the same aligner."""

    name: str
    seed: int = 1
    model: Path | None = None
    encoder: EncoderOptions | None = None
    implementation: str = "auto"
    pair: str | None = None

    def build(self) -> Aligner:
        return build(self.name, self.seed, self.model, self.encoder, self.implementation, self.pair)


def _untrained(name: str, seed: int, implementation: str) -> Aligner:
    from . import eflomal, fast_align, thot

    if implementation not in IMPLEMENTATIONS:
        raise InputError(
            f"An aligner's implementation must be one of {', '.join(IMPLEMENTATIONS)}, but is {implementation!r}."
        )
    if implementation == "program" and name == "hmm":
        raise InputError("The aligner hmm has no program. Leave --aligner-implementation out.")
    if name == "fast_align" and (implementation == "program" or (implementation == "auto" and fast_align.on_path())):
        return fast_align.FastAlignProgram()
    if name == "eflomal" and implementation == "program":
        return eflomal.EflomalProgram()
    return thot.ThotAligner(name, seed)


def _from_model(name: str, model: Path, pair: str | None) -> Aligner:
    from . import eflomal, fast_align, models, thot

    card = models.read_card(model, pair)
    if card.name.split(" ")[0] != name:
        raise InputError(f"{model} holds a model of {card.name}, but the aligner is {name}. Name one of them only.")
    if card.name == fast_align.FastAlignProgram.name:
        return fast_align.FastAlignProgram(card)
    if card.name == eflomal.EflomalProgram.name:
        return eflomal.EflomalProgram(card)
    return thot.ThotAligner(name, card=card)
