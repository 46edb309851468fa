"""Word aligners behind one interface: `build(name).align_file(words)` gives the word links of every line.

To add an aligner, write a file in this folder with a subclass of `base.AlignerKind`, and add one line below.
"""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from weam_fairseq.common.errors import InputError

from .base import SYMMETRIZATIONS, Aligned, Aligner, AlignerKind, AlignerRecipe, Alignments, Link, WordPair

# The values of --aligner, and the class of each in this folder.
_CLASSES = {
    "fast_align": "fast_align.FastAlign",
    "eflomal": "eflomal.Eflomal",
    "encoder": "encoder.Encoder",
    "precomputed": "precomputed.Precomputed",
}
NAMES = tuple(_CLASSES)
DEFAULT = "fast_align"  # docs/aligners.md has the rule and the figures that chose it

__all__ = [
    "DEFAULT",
    "NAMES",
    "SYMMETRIZATIONS",
    "Aligned",
    "Aligner",
    "AlignerKind",
    "AlignerRecipe",
    "Alignments",
    "Link",
    "WordPair",
    "build",
    "kind_of",
    "kinds",
    "train",
    "trained_names",
]


@cache
def kind_of(name: str) -> AlignerKind:
    """Raises InputError for an unknown name."""
    if name not in _CLASSES:
        raise InputError(f"The aligner must be one of {', '.join(NAMES)}, but is {name!r}.")
    module, _, class_name = _CLASSES[name].partition(".")
    kind: AlignerKind = getattr(import_module(f".{module}", __name__), class_name)()
    return kind


def kinds() -> list[AlignerKind]:
    return [kind_of(name) for name in NAMES]


def trained_names() -> str:
    return ", ".join(kind.name for kind in kinds() if kind.is_trained)


def build(name: str, seed: int = 1, model: Path | None = None, pair: str | None = None, **options: Any) -> Aligner:
    """Builds an aligner.

    Args:
        name: one of NAMES, except an aligner that reads links from files.
        seed: for aligners that draw random numbers.
        model: a folder that `train` wrote, or the Hugging Face folder of an encoder. Without a model, the aligner
            trains on the text that it aligns.
        pair: like `en-de`; a model of another pair is refused.
        options: the aligner's own options, such as `implementation="program"` or `layer=8`.

    Raises:
        InputError: an unknown name or option, or a model of another aligner.
    """
    kind = kind_of(name)
    if kind.reads_links:
        raise InputError(f"The aligner {name} reads links from files. Only weam-preprocess can use it.")
    return kind.build(AlignerRecipe(name, seed, model, pair, _options_of(kind, options)))


def train(name: str, words: Path, model: Path, seed: int = 1, pair: str | None = None, **options: Any) -> None:
    """Trains both directions on a file of lines `source words ||| target words`, as `Aligner.line` writes them.

    Writes the folder `model` completely or not at all; `pair`, like `en-de`, is recorded in it.
    Raises InputError if the folder exists, or the aligner cannot be trained.
    """
    from . import models

    if not kind_of(name).is_trained:
        raise InputError(f"Only {trained_names()} can be trained, but the aligner is {name!r}.")
    models.train(build(name, seed, **options), words, model, pair)


def _options_of(kind: AlignerKind, given: dict[str, Any]) -> Any:
    known = [] if kind.options is None else [field.name for field in fields(kind.options)]
    for name in given:
        if name not in known:
            raise InputError(
                f"The aligner {kind.name} has no option {name!r}. Its options: {', '.join(known) or 'none'}."
            )
    return kind.options(**given) if given and kind.options is not None else None
