"""Which aligner, and which model of it, each language pair gets: --aligner-model and --save-aligner.

A trained model serves one language pair in one order. `MODELS/en-de` is the model of the pair en-de: --save-aligner
MODELS writes such folders, --aligner-model MODELS reads them.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import whole_folder
from weam_fairseq.common.hub import is_name, resolve

from . import aligners
from .aligners import Recipe, models

log = logging.getLogger(__name__)

_NAMED = re.compile(r"([A-Za-z][A-Za-z0-9_]*-[A-Za-z][A-Za-z0-9_]*)=(.+)", re.DOTALL)


def parse_models(texts: Sequence[str], aligner: str, pairs: Sequence[str]) -> dict[str, Path]:
    """`--aligner-model` options: `en-de=MODEL` for some pairs each, or one `DIR` for all. Gives every pair its folder.

    DIR is a folder with a model `DIR/en-de` for each pair, or the model of the one pair, or the encoder of all, which
    may be a name on the Hugging Face Hub.
    Raises InputError.
    """
    if not texts:
        return {}
    # `en-de=x` may also be the name of a folder, of one that is there.
    named = [None if Path(text).is_dir() else _NAMED.fullmatch(text) for text in texts]
    if len(texts) == 1 and named[0] is None:
        return _for_all(Path(texts[0]), aligner, pairs)
    found: dict[str, Path] = {}
    for text, match in zip(texts, named, strict=True):
        if match is None:
            raise InputError(f"--aligner-model must be one DIR, or en-de=DIR for each pair, but one is {text!r}.")
        name, folder = match.groups()
        if name not in pairs:
            raise InputError(f"--aligner-model {name}: there is no such --pair; the pairs are {', '.join(pairs)}.")
        if name in found:
            raise InputError(f"--aligner-model {name} is given twice.")
        found[name] = _encoder_folder(Path(folder)) if aligner == "encoder" else Path(folder)
    for name in pairs:
        if name not in found:
            raise InputError(f"--aligner-model must name a model for each pair: add --aligner-model {name}=DIR.")
    return found


def _for_all(folder: Path, aligner: str, pairs: Sequence[str]) -> dict[str, Path]:
    if aligner == "encoder":
        return dict.fromkeys(pairs, _encoder_folder(folder))
    if (folder / models.FILE).is_file():
        if len(pairs) > 1:
            raise InputError(
                f"--aligner-model {folder} is the model of one pair, but the pairs are {', '.join(pairs)}. Name a "
                f"folder that holds a model for each of them, as {folder.parent} may, or give --aligner-model "
                f"{pairs[0]}=DIR for each."
            )
        return {pairs[0]: folder}
    if not folder.is_dir():
        raise InputError(f"--aligner-model {folder} is no folder. Name one that --save-aligner wrote.")
    for name in pairs:
        if not (folder / name / models.FILE).is_file():
            raise InputError(
                f"--aligner-model {folder} must be a model, or hold one for each pair, but {folder / name} is none. "
                f"Name a folder that --save-aligner wrote, or give --aligner-model {name}=DIR."
            )
    return {name: folder / name for name in pairs}


def _encoder_folder(given: Path) -> Path:
    """A name on the Hub becomes the folder of its download."""
    return resolve(given).folder if is_name(given) else given


def recipes(
    aligner: str,
    pairs: Sequence[str],
    folders: Mapping[str, Path],
    seed: int,
    encoder: aligners.EncoderOptions | None,
    implementation: str,
) -> dict[str, Recipe]:
    """How the aligner of each pair is built. Raises InputError when models of some pairs only, or of several aligners,
    are given.
    """
    if encoder is not None and aligner != "encoder":
        raise InputError(f"The options --encoder-… need --aligner encoder, but the aligner is {aligner}.")
    if implementation != "auto" and aligner not in aligners.TRAINED:
        raise InputError(
            f"--aligner-implementation is for {', '.join(aligners.TRAINED)}, but the aligner is {aligner}. "
            "Leave it out."
        )
    if folders and sorted(folders) != sorted(pairs):
        raise InputError(f"Each of the pairs {', '.join(pairs)} needs an aligner model, or none.")
    if folders and aligner == "precomputed":
        raise InputError("--aligner-model is for aligners, but --aligner precomputed reads links. Leave it out.")
    if aligner == "encoder":
        if len(set(folders.values())) > 1:
            raise InputError("--aligner encoder takes one folder for all pairs: give --aligner-model DIR.")
        # One of it for all pairs: it is large.
        return dict.fromkeys(pairs, Recipe(aligner, model=next(iter(folders.values()), None), encoder=encoder))
    made_by = {}
    for name, folder in folders.items():
        card = models.read_card(folder, name)
        made_by[card.name] = folder
        if card.pair is None:
            log.warning("The model %s does not say its languages; it is taken for one of %s.", folder, name)
    if len(made_by) > 1:
        listed = ", ".join(f"{folder} is of {name}" for name, folder in made_by.items())
        raise InputError(f"All models of a run must be of one aligner, but {listed}.")
    return {
        name: Recipe(
            aligner, seed, _absolute(folders.get(name)), implementation=implementation, pair=name if folders else None
        )
        for name in pairs
    }


def _absolute(folder: Path | None) -> Path | None:
    return None if folder is None else folder.absolute()


def check_trained(aligner: str) -> None:
    """Raises InputError when --save-aligner has nothing to save; before a model is downloaded."""
    if aligner not in aligners.TRAINED:
        raise InputError(
            f"--save-aligner needs an aligner that is trained ({', '.join(aligners.TRAINED)}), but it is {aligner}."
        )


def check_save(
    folder: Path | None, aligner: str, pairs: Sequence[str], folders: Mapping[str, Path], destdir: Path, resume: bool
) -> None:
    """Raises InputError when --save-aligner cannot be done; before any work is."""
    if folder is None:
        return
    check_trained(aligner)
    if folders:
        raise InputError("--save-aligner keeps what this run trains, but with --aligner-model nothing is trained.")
    if folder.absolute().is_relative_to(destdir.absolute()):
        raise InputError(f"--save-aligner {folder} must lie outside the data-bin {destdir}, which is written whole.")
    for name in pairs:
        # A run that goes on may have been killed after this; then it must be the same model, which is seen at the end.
        if not resume:
            models.check_free(folder / name)


def save(model: Path, folder: Path) -> None:
    """Copies a trained model to its place, whole or not at all. Raises InputError when another one is there."""
    if (folder / models.FILE).is_file() and (folder / models.FILE).read_bytes() == (model / models.FILE).read_bytes():
        return
    models.check_free(folder)
    with whole_folder(folder) as partial:
        shutil.copytree(model, partial, dirs_exist_ok=True)


def describe(recipe: Recipe) -> dict[str, Any] | None:
    """The model for the manifest; None where the aligner has no model that was trained here."""
    if recipe.model is None or recipe.name == "encoder":
        return None
    card = models.read_card(recipe.model)
    return {"version": card.version, "sha256": card.sha256}
