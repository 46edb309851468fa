"""Checkpoints: the only file of ours that opens one, weights-only, from an allow-list; saving; mending.

fairseq opens checkpoints itself, with torch's default, which is weights-only from torch 2.6 on. torch then refuses what
fairseq writes (argparse.Namespace) unless it is allow-listed. Loading with weights_only switched off would run
whatever code a downloaded file carries, so that is never done.
"""

import argparse
import errno
import os
import pickle
import shutil
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple

import torch

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import PARTIAL, whole_file

ALLOWED: list[Any] = [argparse.Namespace]
LAST = "checkpoint_last.pt"
# How torch.save's files begin (zip).
MAGIC = b"PK\x03\x04"


# What zipfile raises for an archive that is damaged anywhere.
_OF_DAMAGED_ARCHIVES = (
    zipfile.BadZipFile,
    EOFError,
    zlib.error,
    struct.error,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
)
# What fairseq writes before it fails.
CRASH = "crash.pt"
# How often a checkpoint is written before its saving has failed, and seconds in between: as fairseq.
TRIES, PAUSE = 3, 2.5


class CutShort(InputError):
    """A checkpoint that ends too early or is damaged: an interruption or a disk, not somebody's intent."""


class Unreadable(InputError):
    """A checkpoint that may be intact, but that this process cannot read: too little memory, a permission, a disk."""


class NotSaved(InputError):
    """A checkpoint that could not be written."""


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
        CutShort: it ends too early or is damaged.
        Unreadable: it may be intact, but there is too little memory, or the system does not let it be read.
        InputError: no such file, or holding something that is not allow-listed.
    """
    return _read(path, mmap=False)


def glance(path: Path) -> Glance:
    """What a checkpoint says of itself; its tensors stay on the disk.

    Raises:
        CutShort, Unreadable, InputError: as `load`.
    """
    # A file in torch's format of before 2020 cannot be mapped.
    state = _read(path, mmap=_head(path) == MAGIC)
    history = state.get("optimizer_history") or [{}]
    model = (state.get("cfg") or {}).get("model")
    named = isinstance(model, argparse.Namespace) and getattr(model, "arch", None) is not None
    place = (state.get("extra_state") or {}).get("train_iterator")
    return Glance(int(history[-1].get("num_updates", 0)), model if named else None, place)


def mend_last(folder: Path, otherwise: str) -> str | None:
    """Puts the newest intact checkpoint of a folder in the place of a checkpoint_last.pt that is cut short or damaged.

    The folder holds a checkpoint_last.pt, intact or not, at every moment until the new one is in its place; the one
    that was damaged is kept beside it. Removes partial files that a kill has left. Call it in one process only.

    Args:
        folder: the run's --save-dir.
        otherwise: what the run starts from where no checkpoint is intact, for the sentence.

    Returns:
        What was done, in a sentence; None where nothing had to be.

    Raises:
        Unreadable: checkpoint_last.pt, or another one that is needed, cannot be read here, but may be intact.
        InputError: checkpoint_last.pt holds more than tensors and plain values: nobody's interruption.
    """
    for partial in folder.glob(f"*.pt.*{PARTIAL}"):
        partial.unlink(missing_ok=True)
    last = folder / LAST
    if not last.is_file():
        return None
    damage = find_damage(last)
    if damage is None and _head(last) == MAGIC:
        return None  # whether this process can load it is another question
    if damage is None:
        try:
            glance(last)
            return None
        except CutShort as error:
            damage = str(error)
    newest, passed_over = _newest_intact(folder)
    kept = f"{last} was cut short or damaged, probably by an interruption ({damage}), and is kept as {LAST}.cut-short"
    if passed_over:
        kept += f" (passed over: {', '.join(passed_over)})"
    if newest is None:
        os.replace(last, f"{last}.cut-short")
        return f"{kept}; no whole checkpoint is beside it, so the run starts {otherwise}."
    updates = glance(newest).updates
    copy_whole(str(last), f"{last}.cut-short", overwrite=True)
    copy_whole(str(newest), str(last), overwrite=True)
    return f"{kept}; the run goes on from {newest.name} ({updates:,} updates)."


def adopt_newest(folder: Path) -> str | None:
    """Makes the newest intact checkpoint of a folder its checkpoint_last.pt, where there is none.

    That is how a disk leaves a folder that was full after the checkpoint and before its copy.

    Returns:
        What was done, in a sentence; None where there is a checkpoint_last.pt, or nothing to make it from.

    Raises:
        Unreadable: as `mend_last`.
    """
    last = folder / LAST
    if last.is_file():
        return None
    newest, _ = _newest_intact(folder)
    if newest is None:
        return None
    updates = glance(newest).updates
    copy_whole(str(newest), str(last))
    return f"{last} is missing, so the run goes on from {newest.name} beside it ({updates:,} updates)."


def find_damage(path: Path) -> str | None:
    """Why a checkpoint is not intact; None where it is, or where its format does not tell.

    torch writes a zip archive: its directory is at the end, and it has a checksum of every tensor. This reads the file
    once, with little memory.

    Raises:
        Unreadable: the system does not let it be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(len(MAGIC))
            # Shorter than the first bytes of a checkpoint, or zeros, which a file system may leave after a crash.
            if len(head) < len(MAGIC) and MAGIC.startswith(head):
                return f"it has {len(head)} bytes"
            if not any(head):
                return "it begins with zeros"
            if head != MAGIC:
                return None
            try:
                with zipfile.ZipFile(file) as archive:
                    damaged = archive.testzip()
            except _OF_DAMAGED_ARCHIVES as error:
                reason = str(error).rstrip(".")
                return "its end is missing" if "not a zip file" in reason else reason or "it ends too early"
            except OSError as error:
                if error.errno == errno.EINVAL:  # a place outside the file
                    return "its directory names places outside it"
                raise
            return None if damaged is None else f"{damaged} has another checksum"
    except OSError as error:
        raise Unreadable(f"{path} must be a checkpoint that can be read, but cannot: {error.strerror}.") from error


def check_intact(path: Path) -> None:
    """Raises CutShort unless a checkpoint is intact."""
    damage = find_damage(path)
    if damage is not None:
        raise _cut_short(path, damage)


def _newest_intact(folder: Path) -> tuple[Path | None, list[str]]:
    """The checkpoint with most updates that a run can go on from, and why others cannot be used."""
    found: list[tuple[int, Path]] = []
    passed_over = []
    for path in sorted(set(folder.glob("checkpoint*.pt")) - {folder / LAST}):
        try:
            check_intact(path)
            seen = glance(path)
        except CutShort:
            passed_over.append(f"{path.name} is cut short too, or damaged")
        except Unreadable:
            raise
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
    except Exception as error:  # torch's reader lets through whatever strange bytes lead to
        raise _wrong(path, error) from error
    if not isinstance(state, dict) or "model" not in state:
        raise InputError(f"{path} must be a fairseq checkpoint with the key 'model', but is not one.")
    return state


def _wrong(path: Path, error: Exception) -> InputError:
    """What an error of torch's reader says about the file."""
    reason = next(iter(str(error).splitlines()), "") or type(error).__name__
    # The file tells whether it is damaged; the error does not: a process with too little memory gets similar ones.
    damage = find_damage(path)
    if damage is not None:
        return _cut_short(path, damage)
    if isinstance(error, MemoryError) or "allocate memory" in reason or "out of memory" in reason.lower():
        return Unreadable(f"{path} is intact, but there is not enough memory to read it ({reason}).")
    if isinstance(error, pickle.UnpicklingError):
        return InputError(
            f"{path} must hold tensors and plain values only, but asks for more, and nothing of it was run: {reason}"
        )
    if isinstance(error, OSError) or _head(path) == MAGIC:
        return Unreadable(f"{path} must be a checkpoint that can be read, but cannot: {reason}.")
    return InputError(f"{path} must be a checkpoint, but is none: {reason}")


def _cut_short(path: Path, damage: str) -> CutShort:
    return CutShort(
        f"{path} must be a whole checkpoint, but is cut short or damaged ({damage}), probably by an interruption: use "
        "the newest other checkpoint beside it."
    )


def _head(path: Path) -> bytes:
    """The first four bytes, none where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC))
    except OSError:
        return b""


# Saving --------------------------------------------------------------------------------------------------------------


class Saves:
    """What has become of the checkpoints that this process has saved.

    Attributes:
        failure: of the last one, in a sentence; None: it was saved, or there was none.
    """

    failure: str | None = None


def copy_whole(source: str, destination: str, overwrite: bool = False) -> bool:
    """fairseq's PathManager.copy, but a kill in the middle leaves the old file and never half of the new one."""
    if os.path.exists(destination) and not overwrite:
        raise FileExistsError(destination)
    try:
        with whole_file(Path(destination), follow=False) as partial:
            shutil.copyfile(source, partial)
    except OSError as error:  # names the source
        raise NotSaved(f"{destination} could not be saved: {_system_error(error)}.") from error
    return True


def save_whole(state: Any, filename: str, async_write: bool = False) -> None:
    """fairseq's torch_persistent_save, but each try writes a new file, and only a complete one gets the name.

    Raises:
        NotSaved: no try has succeeded; a file of that name is as it was.
    """
    del async_write  # command_line.py refuses it: an error of a thread would be lost
    for rest in reversed(range(TRIES)):
        try:
            with whole_file(Path(filename), follow=False) as partial, partial.open("wb") as file:
                torch.save(state, file)
            return
        except (OSError, RuntimeError) as error:
            reason = _system_error(error)
            if rest == 0 and os.path.basename(filename) == CRASH:
                report(f"{filename} could not be saved: {reason}.")  # the error that fairseq saves it for counts
            elif rest == 0:
                raise NotSaved(f"{filename} could not be saved: {reason}.") from error
            else:
                time.sleep(PAUSE)


def save_or_report(save_checkpoint: Callable[..., Any], saves: type[Saves] = Saves) -> Callable[..., Any]:
    """fairseq's save_checkpoint, which goes on training where a checkpoint cannot be saved, and reports it.

    Older checkpoints are removed only after the new one is saved. `saves` tells at the end of the training whether the
    last one was.
    """

    @wraps(save_checkpoint, updated=())
    def saving(*args: Any, **kwargs: Any) -> Any:
        best = getattr(saving, "best", None)  # fairseq's note of the lowest validation loss that was saved
        try:
            saved = save_checkpoint(*args, **kwargs)
        except (NotSaved, OSError) as error:
            sentence = str(error) if isinstance(error, NotSaved) else f"{error.filename}: {_system_error(error)}."
            report(f"{sentence} Training goes on; the checkpoints saved before are kept.")
            saves.failure = sentence
            if best is None:
                vars(saving).pop("best", None)
            else:
                saving.best = best  # type: ignore[attr-defined]
            return None
        if saved is not None:
            saves.failure = None
        return saved

    return saving


def fail_unless_saved(main: Callable[..., Any], saves: type[Saves] = Saves) -> Callable[..., Any]:
    """fairseq_cli.train.main, which raises InputError at the end of a training whose last checkpoint was not saved."""

    @wraps(main)
    def training(*args: Any, **kwargs: Any) -> Any:
        saves.failure = None
        result = main(*args, **kwargs)
        if saves.failure is not None:
            raise InputError(
                f"The training has ended, but its last checkpoint is missing: {saves.failure} The checkpoints saved "
                "before are kept: make room, and the same command goes on from the last of them."
            )
        return result

    return training


def report(sentence: str) -> None:
    print(f"weam-train: warning: {' '.join(sentence.split())}", file=sys.stderr, flush=True)


def _system_error(error: BaseException) -> str:
    """The text of the system's error behind an error of torch's writer, whose own says little."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def mend_saving() -> None:
    """Puts these into fairseq, once."""
    from fairseq import checkpoint_utils
    from fairseq.file_io import PathManager

    PathManager.copy = staticmethod(copy_whole)
    checkpoint_utils.torch_persistent_save = save_whole
    if not hasattr(checkpoint_utils.save_checkpoint, "__weam__"):
        # fairseq keeps the best loss as an attribute of its function, which it finds by the module's name.
        checkpoint_utils.save_checkpoint = save_or_report(checkpoint_utils.save_checkpoint)
        checkpoint_utils.save_checkpoint.__weam__ = True
