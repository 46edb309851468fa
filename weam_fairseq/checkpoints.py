"""Checkpoints: the only file of ours that opens one, weights-only, from an allow-list; whole copies; mending.

fairseq opens checkpoints itself, with torch's default, which is weights-only from torch 2.6 on. torch then refuses what
fairseq writes (argparse.Namespace) unless it is allow-listed. Loading with weights_only switched off would run
whatever code a downloaded file carries, so that is never done.
"""

import argparse
import os
import pickle
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch

from .common.errors import InputError

ALLOWED: list[Any] = [argparse.Namespace]
LAST = "checkpoint_last.pt"
# How torch.save's files begin (zip).
MAGIC = b"PK\x03\x04"


class CutShort(InputError):
    """A checkpoint that ends too early: an interruption, not somebody's intent."""


class Glance(NamedTuple):
    """What a checkpoint says of itself, tensors aside.

    Attributes:
        updates: that its weights have seen; 0 in a converted one.
        model: options of its model, `arch` among them; None where it names none.
        place: where in the data a run goes on from it; None in what fairseq writes in a crash.
    """

    updates: int
    model: argparse.Namespace | None
    place: dict[str, Any] | None


def allow_fairseq_classes() -> None:
    """Lets torch.load read fairseq's checkpoints, weights-only, and what its ranks send each other of them."""
    torch.serialization.add_safe_globals(ALLOWED)
    if sys.modules.get("fairseq") is not None:
        from fairseq.distributed import utils

        torch.serialization.add_safe_globals([utils._TensorPlaceholder])


def load(path: Path) -> dict[str, Any]:
    """Reads a checkpoint to the CPU.

    Raises:
        CutShort: it ends too early.
        InputError: no such file, or holding something that is not allow-listed.
    """
    return _read(path, mmap=False)


def glance(path: Path) -> Glance:
    """What a checkpoint says of itself; its tensors stay on the disk.

    Raises:
        CutShort, InputError: as `load`.
    """
    # A file in torch's format of before 2020 cannot be mapped.
    state = _read(path, mmap=_head(path) == MAGIC)
    history = state.get("optimizer_history") or [{}]
    model = (state.get("cfg") or {}).get("model")
    named = isinstance(model, argparse.Namespace) and getattr(model, "arch", None) is not None
    place = (state.get("extra_state") or {}).get("train_iterator")
    return Glance(int(history[-1].get("num_updates", 0)), model if named else None, place)


def mend_last(folder: Path, otherwise: str) -> str | None:
    """Puts the newest whole checkpoint of a folder in the place of a checkpoint_last.pt that was cut short.

    The folder holds a checkpoint_last.pt, whole or not, at every moment until the new one is in its place; the one that
    was cut short is kept beside it. Call it in one process only.

    Args:
        folder: the run's --save-dir.
        otherwise: what the run starts from where no checkpoint is whole, for the sentence.

    Returns:
        What was done, in a sentence; None where nothing had to be.

    Raises:
        InputError: checkpoint_last.pt holds more than tensors and plain values: nobody's interruption.
    """
    last = folder / LAST
    if not last.is_file():
        return None
    try:
        glance(last)
        return None
    except CutShort:
        pass
    newest, passed_over = _newest_whole(folder)
    kept = f"{last} was cut short, probably by an interruption, and is kept as {LAST}.cut-short"
    if passed_over:
        kept += f" (passed over: {', '.join(passed_over)})"
    if newest is None:
        os.replace(last, f"{last}.cut-short")
        return f"{kept}; no whole checkpoint is beside it, so the run starts {otherwise}."
    updates = glance(newest).updates
    copy_whole(str(last), f"{last}.cut-short", overwrite=True)
    copy_whole(str(newest), str(last), overwrite=True)
    return f"{kept}; the run goes on from {newest.name} ({updates:,} updates)."


def _newest_whole(folder: Path) -> tuple[Path | None, list[str]]:
    """The checkpoint with most updates that a run can go on from, and why others cannot be used."""
    found: list[tuple[int, Path]] = []
    passed_over = []
    for path in sorted(set(folder.glob("checkpoint*.pt")) - {folder / LAST}):
        try:
            seen = glance(path)
        except CutShort:
            passed_over.append(f"{path.name} is cut short too")
        except InputError:
            passed_over.append(f"{path.name} is not a checkpoint of fairseq")
        else:
            if seen.place is not None:
                found.append((seen.updates, path))
    return max(found, default=(0, None))[1], passed_over


def _read(path: Path, *, mmap: bool) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path} must be a checkpoint, but there is no such file.")
    allow_fairseq_classes()
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except OSError as error:  # a permission, a disk: the file itself may be whole
        raise InputError(f"{path} must be a checkpoint that can be read, but cannot: {error}") from error
    except Exception as error:  # torch's reader lets through whatever strange bytes lead to
        raise _wrong(path, error) from error
    if not isinstance(state, dict) or "model" not in state:
        raise InputError(f"{path} must be a fairseq checkpoint with the key 'model', but is not one.")
    return state


def _wrong(path: Path, error: Exception) -> InputError:
    """What an error of torch's reader says about the file."""
    head = _head(path)
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    # Shorter than the first bytes of a checkpoint, or zeros, which a file system may leave after a crash.
    hardly_begun = (len(head) < len(MAGIC) and MAGIC.startswith(head)) or not any(head)
    if hardly_begun or (head == MAGIC and isinstance(error, RuntimeError | EOFError)):
        return CutShort(
            f"{path} must be a whole checkpoint, but cannot be read to its end ({reason}). "
            "It was probably cut short by an interruption: use the newest other checkpoint beside it."
        )
    if isinstance(error, pickle.UnpicklingError):
        return InputError(
            f"{path} must hold tensors and plain values only, but asks for more, and nothing of it was run: {reason}"
        )
    return InputError(f"{path} must be a checkpoint, but is none: {reason}")


def _head(path: Path) -> bytes:
    """The first four bytes, none where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC))
    except OSError:
        return b""


def copy_whole(source: str, destination: str, overwrite: bool = False) -> bool:
    """fairseq's PathManager.copy, but a kill in the middle leaves the old file and never half of the new one."""
    if os.path.exists(destination) and not overwrite:
        raise FileExistsError(destination)
    beside = f"{destination}.incomplete"
    shutil.copyfile(source, beside)
    os.replace(beside, destination)
    return True


def make_copies_whole() -> None:
    """fairseq writes checkpoint_last.pt as a plain copy, which a kill leaves truncated."""
    from fairseq.file_io import PathManager

    PathManager.copy = staticmethod(copy_whole)
