"""manifest.json: what made a data-bin, so that it can be made again and never be taken for another one."""

from __future__ import annotations

import hashlib
import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .pieces import PieceTokenizer, Template

FORMAT = "weam-data-bin/1"
FILE = "manifest.json"

# Name in the manifest -> distributions that may provide it, first one wins.
_PACKAGES = {
    "numpy": ("numpy",),
    "tokenizers": ("tokenizers",),
    "transformers": ("transformers",),
    "fairseq": ("ve-fairseq", "fairseq"),
    "weam": ("weam-fairseq",),
}


def write(folder: Path, content: dict[str, Any]) -> None:
    text = json.dumps({"format": FORMAT, **content}, indent=2, ensure_ascii=False) + "\n"
    # A file name that is no UTF-8 holds lone surrogates, which JSON writes as \udcff.
    (folder / FILE).write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def describe_tokenizer(folder: Path, tokenizer: PieceTokenizer) -> dict[str, Any]:
    """All ids are the tokenizer's own."""
    return {
        "folder": folder.name,
        "vocab_size": len(tokenizer.ids),
        # What decides whether two vocabularies are one, whatever files they came in.
        "pieces_sha256": tokenizer.pieces_sha256(),
        # Two tokenizers with the same pieces may still write a text otherwise: cased and uncased, say.
        "behaviour_sha256": tokenizer.behaviour_sha256(),
        "sha256": {file.name: sha256(file) for file in sorted(folder.iterdir())},
        "special_ids": tokenizer.special_ids,
        "all_special_ids": tokenizer.all_special_ids,
        "template": {"pair": _describe_template(tokenizer.pair), "single": _describe_template(tokenizer.single)},
    }


def _describe_template(template: Template) -> dict[str, Any]:
    return {"ids": template.ids, "segments": template.segments}


def versions(*more: str) -> dict[str, str]:
    """Of what every run uses, and of the distributions that this one uses besides."""
    packages = {**_PACKAGES, **{name: (name,) for name in more}}
    return {"python": platform.python_version(), **{name: _version(*dists) for name, dists in packages.items()}}


def _version(*distributions: str) -> str:
    for distribution in distributions:
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return "unknown"
