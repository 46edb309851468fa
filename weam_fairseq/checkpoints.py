"""Checkpoints: the only file of ours that opens one, weights-only, from an allow-list; and whole copies.

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
from typing import Any

import torch

from .errors import InputError

ALLOWED: list[Any] = [argparse.Namespace]


def allow_fairseq_classes() -> None:
    """Lets torch.load read fairseq's checkpoints, weights-only, and what its ranks send each other of them."""
    torch.serialization.add_safe_globals(ALLOWED)
    if sys.modules.get("fairseq") is not None:
        from fairseq.distributed import utils

        torch.serialization.add_safe_globals([utils._TensorPlaceholder])


def load(path: Path) -> dict[str, Any]:
    """Reads a checkpoint to the CPU.

    Raises:
        InputError: no such file, cut short, or holding something that is not allow-listed.
    """
    if not path.is_file():
        raise InputError(f"{path} must be a checkpoint, but there is no such file.")
    allow_fairseq_classes()
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} must hold tensors and plain values only, but asks for more, and nothing of it was run: "
            f"{str(error).splitlines()[0]}"
        ) from error
    except (RuntimeError, EOFError, OSError) as error:
        raise InputError(
            f"{path} must be a whole checkpoint, but cannot be read to its end ({str(error).splitlines()[0]}). "
            "It was probably cut short by an interruption: use the newest other checkpoint beside it."
        ) from error
    if not isinstance(state, dict) or "model" not in state:
        raise InputError(f"{path} must be a fairseq checkpoint with the key 'model', but is not one.")
    return state


def updates_of(path: Path) -> int:
    """How many updates a checkpoint has seen; tensors are not read."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, pickle.UnpicklingError):
        return int(load(path)["optimizer_history"][-1]["num_updates"])  # says what is wrong with it
    return int(state["optimizer_history"][-1]["num_updates"])


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
