"""Trained aligners in folders, and the model that each language pair gets: --save-aligner and --aligner-model.

A model serves one language pair in one order. `MODELS/en-de` is the model of the pair en-de: --save-aligner MODELS
writes such folders, and --aligner-model MODELS reads them.

```
MODELS/en-de/
  aligner.json     the aligner, its version, its language pair, the hash of the training text, and the sizes and hashes
                   of the files
  …                the aligner's own files
```
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from weam_fairseq.common.documents import check_name, read_json, shown, value_at
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import check_parent, file_sha256, whole_folder
from weam_fairseq.common.hub import is_name, resolve

from ..corpus import parse_path
from . import kind_of, trained_names
from .base import AlignerKind, AlignerRecipe
from .lines import count_lines

log = logging.getLogger(__name__)

FILE = "aligner.json"
FORMAT = "weam-aligner/1"
_AGAIN = " Train the aligner again."
_NAMED = re.compile(r"([A-Za-z][A-Za-z0-9_]*-[A-Za-z][A-Za-z0-9_]*)=(.+)", re.DOTALL)


class Card(NamedTuple):
    """The content of aligner.json. `details` are the aligner's own numbers; `sha256` is that of aligner.json itself.

    `pair` is like `en-de`, source language first; None if it was not given for the training.
    """

    folder: Path
    name: str
    version: str
    pair: str | None
    details: dict[str, Any]
    sha256: str

    @property
    def applied_version(self) -> str:
        """For the manifest: the aligner's version and the exact model, since aligner.json holds all hashes."""
        return f"{self.version}, model sha256:{self.sha256[:16]}"


def check_free(model: Path) -> None:
    """Raises InputError if the folder of a new model exists and is not empty."""
    if model.exists() and (not model.is_dir() or any(model.iterdir())):
        raise InputError(f"The aligner model {model} exists already. Apply it, name another folder, or remove it.")


def train(aligner: Any, words: Path, model: Path, pair: str | None = None) -> None:
    """Trains on a file of lines that `aligner.line` wrote, and writes the folder `model` completely or not at all.

    Raises InputError if the folder exists.
    """
    check_free(model)
    with whole_folder(model) as folder:
        details = aligner.write_model(words, folder)
        content = {
            "format": FORMAT,
            "name": aligner.name,
            "version": aligner.version,
            "pair": pair,
            "trained_on": {"pairs": count_lines(words), "sha256": file_sha256(words)},
            "details": details,
            "files": {
                file.name: {"bytes": file.stat().st_size, "sha256": file_sha256(file)}
                for file in sorted(folder.iterdir())
            },
        }
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        (folder / FILE).write_text(text, encoding="utf-8", newline="\n")


def read_card(model: Path, pair: str | None = None) -> Card:
    """Raises InputError if `model` is not a folder that `train` wrote, if a file is missing or truncated, or if both
    the model and the caller name a pair and the two differ.
    """
    file = model / FILE
    if not file.is_file():
        raise InputError(f"{model} has no {FILE}, so it is not an aligner model. Name a folder that was trained here.")
    content = read_json(file, dict, hint=_AGAIN)
    if content.get("format") != FORMAT:
        raise InputError(
            f"{file} has the format {shown(content.get('format'))}, but this version reads {FORMAT!r}.{_AGAIN}"
        )
    name, version = (value_at(content, key, str, file, _AGAIN) for key in ("name", "version"))
    trained_pair = content.get("pair")
    if trained_pair is not None:
        value_at(content, "pair", str, file, _AGAIN)
    details = value_at(content, "details", dict, file, _AGAIN)
    card = Card(model, name, version, trained_pair, details, file_sha256(file))
    files = value_at(content, "files", dict, file, _AGAIN)
    sizes = {check_name(name, file): value_at(files[name], "bytes", int, file, _AGAIN) for name in files}
    for name, size in sizes.items():
        if not (model / name).is_file() or (model / name).stat().st_size != size:
            raise InputError(f"{model / name} must have {size:,} bytes, but is truncated or missing.{_AGAIN}")
    if pair is not None and card.pair not in (None, pair):
        raise InputError(
            f"{model} holds a model of {card.pair}, but the pair is {pair}. A model serves one language pair in one "
            f"order. Name or train a model of {pair}."
        )
    return card


def describe(recipe: AlignerRecipe) -> dict[str, Any] | None:
    """The model for the manifest; None if the aligner has no model that was trained here."""
    if recipe.model is None or not kind_of(recipe.name).is_trained:
        return None
    card = read_card(recipe.model)
    return {"version": card.version, "sha256": card.sha256}


def parse_models(texts: Sequence[str], kind: AlignerKind, pairs: Sequence[str]) -> dict[str, Path]:
    """Reads `--aligner-model` options: `en-de=MODEL` for each pair, or one `DIR` for all. Returns the folders.

    DIR holds a model `DIR/en-de` for each pair, or is the model of the only pair, or is the encoder of all pairs, which
    may be a name on the Hugging Face Hub.
    Raises InputError.
    """
    if not texts:
        return {}
    # `en-de=x` may also be the name of an existing folder.
    named = [None if Path(text).is_dir() else _NAMED.fullmatch(text) for text in texts]
    if len(texts) == 1 and named[0] is None:
        return _for_all(Path(texts[0]), kind, pairs)
    found: dict[str, Path] = {}
    for text, match in zip(texts, named, strict=True):
        if match is None:
            raise InputError(f"--aligner-model must be one DIR, or en-de=DIR for each pair, but one is {text!r}.")
        name, folder = match.groups()
        if name not in pairs:
            raise InputError(f"--aligner-model {name}: there is no such --pair; the pairs are {', '.join(pairs)}.")
        if name in found:
            raise InputError(f"--aligner-model {name} is given twice.")
        found[name] = _downloaded(parse_path(folder)) if kind.needs_model else parse_path(folder)
    for name in pairs:
        if name not in found:
            raise InputError(f"--aligner-model must name a model for each pair. Add --aligner-model {name}=DIR.")
    return found


def _for_all(folder: Path, kind: AlignerKind, pairs: Sequence[str]) -> dict[str, Path]:
    if kind.needs_model:
        return dict.fromkeys(pairs, _downloaded(folder))
    if (folder / FILE).is_file():
        if len(pairs) > 1:
            raise InputError(
                f"--aligner-model {folder} is the model of one pair, but the pairs are {', '.join(pairs)}. Name a "
                f"folder that holds a model for each of them, such as {folder.parent}, or give --aligner-model "
                f"{pairs[0]}=DIR for each."
            )
        return {pairs[0]: folder}
    if not folder.is_dir():
        raise InputError(f"--aligner-model {folder} is not a folder. Name one that --save-aligner wrote.")
    for name in pairs:
        if not (folder / name / FILE).is_file():
            raise InputError(
                f"--aligner-model {folder} must be a model, or hold one for each pair, but {folder / name} is not one. "
                f"Name a folder that --save-aligner wrote, or give --aligner-model {name}=DIR."
            )
    return {name: folder / name for name in pairs}


def _downloaded(given: Path) -> Path:
    """The folder itself, or the folder of the download if it is a name on the Hub."""
    return resolve(given).folder if is_name(given) else given


def recipes(
    kind: AlignerKind, pairs: Sequence[str], folders: Mapping[str, Path], seed: int, options: Any
) -> dict[str, AlignerRecipe]:
    """How to build the aligner of each pair.

    Raises InputError if only some pairs have models, or if the models are of several aligners.
    """
    if folders and sorted(folders) != sorted(pairs):
        raise InputError(f"Either each of the pairs {', '.join(pairs)} needs an aligner model, or none of them.")
    if kind.needs_model:
        if len(set(folders.values())) > 1:
            raise InputError(f"--aligner {kind.name} takes one folder for all pairs: give --aligner-model DIR.")
        # The same recipe for all pairs, so that the large model is loaded once.
        return dict.fromkeys(pairs, AlignerRecipe(kind.name, model=next(iter(folders.values()), None), options=options))
    if folders and not kind.is_trained:
        raise InputError(f"The aligner {kind.name} has no model. Leave --aligner-model out.")
    folder_of = {}
    for name, folder in folders.items():
        card = read_card(folder, name)
        folder_of[card.name] = folder
        if card.pair is None:
            log.warning("The model %s does not name its languages. It is used as a model of %s.", folder, name)
    if len(folder_of) > 1:
        listed = ", ".join(f"{folder} is of {name}" for name, folder in folder_of.items())
        raise InputError(f"All models of a run must be of one aligner, but {listed}.")
    return {
        name: AlignerRecipe(
            kind.name,
            seed,
            folders[name].absolute() if name in folders else None,
            pair=name if folders else None,
            options=options,
        )
        for name in pairs
    }


def check_trained(kind: AlignerKind) -> None:
    """Raises InputError if --save-aligner has nothing to save; called before a model is downloaded."""
    if not kind.is_trained:
        raise InputError(f"--save-aligner needs an aligner that is trained ({trained_names()}), but it is {kind.name}.")


def check_save(
    folder: Path | None,
    kind: AlignerKind,
    pairs: Sequence[str],
    folders: Mapping[str, Path],
    destdir: Path,
    resume: bool,
) -> None:
    """Raises InputError if --save-aligner cannot be done; called before any work."""
    if folder is None:
        return
    check_trained(kind)
    if folders:
        raise InputError(
            "--save-aligner saves a model that the run trains, but --aligner-model applies one. Remove one of them."
        )
    if folder.absolute().is_relative_to(destdir.absolute()):
        raise InputError(f"--save-aligner {folder} must be outside the data-bin {destdir}. Name another folder.")
    for name in pairs:
        # A resumed run may have saved its models before it was killed. `save` then checks that they are the same.
        if not resume:
            check_free(folder / name)
            check_parent(folder / name)


def save(model: Path, folder: Path) -> None:
    """Copies a trained model to its folder, completely or not at all. Raises InputError if another model is there."""
    if (folder / FILE).is_file() and (folder / FILE).read_bytes() == (model / FILE).read_bytes():
        return
    check_free(folder)
    with whole_folder(folder) as partial:
        shutil.copytree(model, partial, dirs_exist_ok=True)
