"""The models of one weam-evaluate command: their names in the scores, and a Hugging Face folder for each."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.hub import is_name, resolve

CHECKPOINT = ".pt"


class NamedModel(NamedTuple):
    """`path`: a folder, a name on the Hub, or a checkpoint of weam-train."""

    name: str
    path: Path


def name_models(paths: Sequence[Path], names: Sequence[str] | None) -> list[NamedModel]:
    """Gives each model a name of its own: the names that the user chose, or the shortest ones that differ.

    A folder is named after itself, a checkpoint after its run's folder. Where two have the same name, both get the
    folders above as well.

    Raises:
        InputError: there are more or fewer names than models, or a name or a model occurs twice.
    """
    repeated = _repeated([str(path) for path in paths])
    if repeated:
        raise InputError(f"--model must name each model once, but names {repeated} twice. Leave one out.")
    if not names:
        return [NamedModel(*each) for each in zip(_distinct(paths), paths, strict=True)]
    if len(names) != len(paths):
        raise InputError(
            f"--name must be given once for each --model, but there are {len(paths)} models and {len(names)} names. "
            "Give one --name a model, in the same order, or none."
        )
    if not all(map(str.strip, names)):
        raise InputError("--name must not be empty.")
    repeated = _repeated(names)
    if repeated:
        raise InputError(f"--name must differ for each model, but two are {repeated!r}. Change one of them.")
    return [NamedModel(*each) for each in zip(names, paths, strict=True)]


def _repeated(texts: Sequence[str]) -> str | None:
    return next((text for number, text in enumerate(texts) if text in texts[:number]), None)


def _distinct(paths: Sequence[Path]) -> list[str]:
    candidates = [_candidates(path) for path in paths]
    depth = [0] * len(paths)
    while True:
        chosen = [each[level] for each, level in zip(candidates, depth, strict=True)]
        longer = [k for k, name in enumerate(chosen) if chosen.count(name) > 1 and depth[k] + 1 < len(candidates[k])]
        if not longer:
            return chosen
        for k in longer:
            depth[k] += 1


def _candidates(path: Path) -> list[str]:
    """Names for a model, shortest first."""
    if is_name(path):
        return [str(path)]
    full = Path(os.path.abspath(path))
    if is_checkpoint(path):
        run = full.parent
        return [run.name or full.stem, *("/".join(full.with_suffix("").parts[-k:]) for k in range(2, len(full.parts)))]
    return ["/".join(full.parts[-k:]) for k in range(1, max(2, len(full.parts)))]


def is_checkpoint(path: Path) -> bool:
    return path.suffix == CHECKPOINT and path.is_file()


def local_folder(path: Path, stack: ExitStack) -> Path:
    """The model's Hugging Face folder. Downloads it from the Hub, or exports the checkpoint into a temporary folder.

    Args:
        stack: removes the temporary folder when it closes.

    Raises:
        InputError: the Hub has no such model, or the checkpoint cannot be exported.
    """
    if is_name(path):
        return resolve(path).folder
    if not is_checkpoint(path):
        return path
    from weam_fairseq.convert.to_hf import convert

    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="weam-evaluate-"))) / "hf"
    convert(path, folder)
    return folder
