"""Word aligners behind one interface: `build(name).align_file(words)` gives the word links of every line."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from .base import SYMMETRIZATIONS, Aligned, Aligner, Alignments, Link, WordPair
from .encoder_links import EncoderOptions

NAMES = ("fast_align", "eflomal", "hmm", "encoder", "precomputed")
_TRAINED = ("fast_align", "eflomal", "hmm")

__all__ = [
    "NAMES",
    "SYMMETRIZATIONS",
    "Aligned",
    "Aligner",
    "Alignments",
    "EncoderOptions",
    "Link",
    "WordPair",
    "build",
    "train",
]


def build(name: str, seed: int = 1, model: Path | None = None, encoder: EncoderOptions | None = None) -> Aligner:
    """An aligner: fast_align, eflomal, hmm or encoder. Raises InputError for another name, or a model of another.

    model: a folder that `train` wrote; without one, the aligner trains on what it aligns. For `encoder`, which is
    never trained here, a Hugging Face folder, and it must be given.

    fast_align and eflomal are the programs where they are on the PATH, else the same models from sil-thot; a model
    is applied by what trained it. `seed` is for sil-thot's eflomal. Precomputed links belong to one file: see
    `precomputed.PrecomputedLinks`.
    """
    if name == "encoder":
        if model is None:
            raise InputError("The aligner encoder needs a Hugging Face folder: add --aligner-model DIR.")
        from .encoder import EncoderAligner

        return EncoderAligner(model, encoder or EncoderOptions())
    if name not in _TRAINED:
        raise InputError(f"The aligner must be one of {', '.join(_TRAINED)}, encoder, but is {name!r}.")
    return _untrained(name, seed) if model is None else _from_model(name, model)


def train(name: str, words: Path, model: Path, seed: int = 1) -> None:
    """Trains fast_align, eflomal or hmm on a file of lines that `Aligner.line` gave, both directions.

    Writes the folder `model`, whole or not at all. Raises InputError when it is there already.
    """
    from . import models

    if name not in _TRAINED:
        raise InputError(f"Only {', '.join(_TRAINED)} are trained, but the aligner is {name!r}.")
    models.train(_untrained(name, seed), words, model)


def _untrained(name: str, seed: int) -> Aligner:
    from . import eflomal, fast_align, thot

    if name == "fast_align" and fast_align.on_path():
        return fast_align.FastAlignProgram()
    if name == "eflomal" and eflomal.on_path():
        return eflomal.EflomalProgram()
    return thot.ThotAligner(name, seed)


def _from_model(name: str, model: Path) -> Aligner:
    from . import eflomal, fast_align, models, thot

    card = models.read_card(model)
    if card.name.split(" ")[0] != name:
        raise InputError(f"{model} holds a model of {card.name}, but the aligner is {name}. Name one of them only.")
    if card.name == fast_align.FastAlignProgram.name:
        return fast_align.FastAlignProgram(card)
    if card.name == eflomal.EflomalProgram.name:
        return eflomal.EflomalProgram(card)
    return thot.ThotAligner(name, card=card)
