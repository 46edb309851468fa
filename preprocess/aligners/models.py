"""A trained aligner in a folder: train once, apply to new text.

```
MODEL/
  aligner.json     which aligner, its version, its language pair, the hash of the text that it was trained on, the
                   files' sizes and hashes
  …                the aligner's own files
```
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from weam_fairseq.common.documents import check_name, read_json, shown, value_at
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import whole_folder

from .base import count_lines

FILE = "aligner.json"
FORMAT = "weam-aligner/1"
AGAIN = " Train the aligner again."


class Card(NamedTuple):
    """What aligner.json says. `details` are the aligner's own numbers; `sha256` is over aligner.json itself.

    `pair` is like `en-de`, source language first; None when the training was not told.
    """

    folder: Path
    name: str
    version: str
    pair: str | None
    details: dict[str, Any]
    sha256: str

    @property
    def applied_version(self) -> str:
        """For the manifest: the aligner's version and, since aligner.json holds all hashes, the very model."""
        return f"{self.version}, model sha256:{self.sha256[:16]}"


def check_free(model: Path) -> None:
    """Raises InputError when there is something at the place of a model that is to be written."""
    if model.exists() and (not model.is_dir() or any(model.iterdir())):
        raise InputError(f"The aligner model {model} is there already. Apply it, name another folder, or remove it.")


def train(aligner: Any, words: Path, model: Path, pair: str | None = None) -> None:
    """Trains on a file of lines that `aligner.line` gave, and writes the folder `model`, whole or not at all.

    Raises InputError when it is there already, or when the aligner has nothing to train.
    """
    check_free(model)
    if not hasattr(aligner, "write_model"):
        raise InputError(f"The aligner {aligner.name} is not trained, so it has no model to write.")
    with whole_folder(model) as folder:
        details = aligner.write_model(words, folder)
        content = {
            "format": FORMAT,
            "name": aligner.name,
            "version": aligner.version,
            "pair": pair,
            "trained_on": {"pairs": count_lines(words), "sha256": _sha256(words)},
            "details": details,
            "files": {
                file.name: {"bytes": file.stat().st_size, "sha256": _sha256(file)} for file in sorted(folder.iterdir())
            },
        }
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        (folder / FILE).write_text(text, encoding="utf-8", newline="\n")


def read_card(model: Path, pair: str | None = None) -> Card:
    """Raises InputError when `model` is no folder that `train` wrote, a file of it is gone or cut, or when both it and
    the caller name a pair, and not the same: a model serves one pair of languages in one order.
    """
    file = model / FILE
    if not file.is_file():
        raise InputError(f"{model} holds no {FILE}, so it is no aligner model. Name a folder that was trained here.")
    content = read_json(file, dict, hint=AGAIN)
    if content.get("format") != FORMAT:
        raise InputError(
            f"{file} has the format {shown(content.get('format'))}, but this version reads {FORMAT!r}.{AGAIN}"
        )
    name, version = (value_at(content, key, str, file, AGAIN) for key in ("name", "version"))
    trained_pair = content.get("pair")
    if trained_pair is not None:
        value_at(content, "pair", str, file, AGAIN)
    details = value_at(content, "details", dict, file, AGAIN)
    card = Card(model, name, version, trained_pair, details, _sha256(file))
    files = value_at(content, "files", dict, file, AGAIN)
    sizes = {check_name(name, file): value_at(files[name], "bytes", int, file, AGAIN) for name in files}
    for name, size in sizes.items():
        if not (model / name).is_file() or (model / name).stat().st_size != size:
            raise InputError(f"{model / name} must have {size:,} bytes, but is cut or gone. Train the aligner again.")
    if pair is not None and card.pair not in (None, pair):
        raise InputError(
            f"{model} holds a model of {card.pair}, but the pair is {pair}. A model serves one pair of languages in "
            f"one order: name or train one of {pair}."
        )
    return card


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
