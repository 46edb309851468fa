"""Reads, repairs and saves checkpoints. Only this file opens them, always weights-only with an allow-list.

fairseq opens checkpoints with torch's default, which is weights-only since torch 2.6. torch then rejects
argparse.Namespace, which fairseq writes, unless it is allow-listed. Loading with weights_only=False could run code from
a downloaded file, so we never do that.
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
# First bytes of the files of torch.save (zip).
MAGIC = b"PK\x03\x04"


# Exceptions of zipfile for damaged archives.
_ARCHIVE_ERRORS = (
    zipfile.BadZipFile,
    EOFError,
    zlib.error,
    struct.error,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
)
# fairseq writes this file before it exits with an error.
CRASH = "crash.pt"
# Number of attempts to save a checkpoint, and seconds between them, as in fairseq.
TRIES, PAUSE = 3, 2.5


class DamagedCheckpoint(InputError):
    """The checkpoint is truncated or damaged, probably by an interruption or a disk error."""


class Unreadable(InputError):
    """The checkpoint may be intact, but this process cannot read it: too little memory, a permission, a disk error."""


class NotSaved(InputError):
    """The checkpoint could not be written."""


class Glance(NamedTuple):
    """The facts in a checkpoint, without its tensors.

    Attributes:
        updates: number of updates of its weights; 0 after a conversion.
        model: the model's options, including `arch`; None if the checkpoint has none.
        place: position in the data at which a run resumes; None in the checkpoint that fairseq writes in a crash.
    """

    updates: int
    model: argparse.Namespace | None
    place: dict[str, Any] | None


def allow_fairseq_classes() -> None:
    """Allow-lists the classes in fairseq's checkpoints, and in the messages that its ranks exchange about them."""
    torch.serialization.add_safe_globals(ALLOWED)
    if sys.modules.get("fairseq") is not None:
        from fairseq.distributed import utils

        torch.serialization.add_safe_globals([utils._TensorPlaceholder])


def load(path: Path) -> dict[str, Any]:
    """Reads a checkpoint to the CPU.

    Raises:
        DamagedCheckpoint: the file is truncated or damaged.
        Unreadable: the file may be intact, but there is too little memory, or the system cannot read it.
        InputError: the file does not exist, or contains a class that is not allow-listed.
    """
    return _read(path, mmap=False)


def glance(path: Path) -> Glance:
    """Reads the facts in a checkpoint. Its tensors stay on disk.

    Raises:
        DamagedCheckpoint, Unreadable, InputError: see `load`.
    """
    # A file in torch's format from before 2020 cannot be mapped.
    state = _read(path, mmap=_head(path) == MAGIC)
    history = state.get("optimizer_history") or [{}]
    model = (state.get("cfg") or {}).get("model")
    named = isinstance(model, argparse.Namespace) and getattr(model, "arch", None) is not None
    place = (state.get("extra_state") or {}).get("train_iterator")
    return Glance(int(history[-1].get("num_updates", 0)), model if named else None, place)


def repair_last(folder: Path, otherwise: str) -> str | None:
    """Replaces a truncated or damaged checkpoint_last.pt by the newest intact checkpoint in the folder.

    The folder contains a checkpoint_last.pt, intact or not, at every moment until the replacement. The damaged file is
    kept under another name. Also removes partial files left by a killed process. Call it in only one process.

    Args:
        folder: the run's --save-dir.
        otherwise: where the run starts if no checkpoint is intact, for the message.

    Returns:
        A message about what was done; None if nothing was necessary.

    Raises:
        Unreadable: checkpoint_last.pt or another required checkpoint may be intact, but cannot be read.
        InputError: checkpoint_last.pt contains more than tensors and plain values, so it was not just interrupted.
    """
    for partial in folder.glob(f"*.pt.*{PARTIAL}"):
        partial.unlink(missing_ok=True)
    last = folder / LAST
    if not last.is_file():
        return None
    damage = find_damage(last)
    if damage is None and _head(last) == MAGIC:
        return None  # it is intact; loading it may still fail in this process
    if damage is None:
        try:
            glance(last)
            return None
        except DamagedCheckpoint as error:
            damage = str(error)
    newest, skipped = _newest_intact(folder)
    message = f"{last} is truncated or damaged, probably by an interruption ({damage}). It is kept as {LAST}.cut-short"
    if skipped:
        message += f" (skipped: {', '.join(skipped)})"
    if newest is None:
        os.replace(last, f"{last}.cut-short")
        return f"{message}. There is no intact checkpoint next to it, so the run starts {otherwise}."
    updates = glance(newest).updates
    copy_whole(str(last), f"{last}.cut-short", overwrite=True)
    copy_whole(str(newest), str(last), overwrite=True)
    return f"{message}. The run resumes from {newest.name} ({updates:,} updates)."


def adopt_newest(folder: Path) -> str | None:
    """Copies the newest intact checkpoint of a folder to checkpoint_last.pt, if that is missing.

    It is missing if the disk was full after the checkpoint was written and before it was copied.

    Returns:
        A message about what was done; None if there is a checkpoint_last.pt, or no checkpoint to copy.

    Raises:
        Unreadable: see `repair_last`.
    """
    last = folder / LAST
    if last.is_file():
        return None
    newest, _ = _newest_intact(folder)
    if newest is None:
        return None
    updates = glance(newest).updates
    copy_whole(str(newest), str(last))
    return f"{last} is missing, so the run resumes from {newest.name} in the same folder ({updates:,} updates)."


def find_damage(path: Path) -> str | None:
    """Describes the damage of a checkpoint. None if it is intact, or if its format does not allow a check.

    torch writes a zip archive with its directory at the end and a checksum for every tensor. This function reads the
    file once and needs little memory.

    Raises:
        Unreadable: the system cannot read the file.
    """
    try:
        with path.open("rb") as file:
            head = file.read(len(MAGIC))
            # The file is very short or begins with zeros. A file system may leave such files after a crash.
            if len(head) < len(MAGIC) and MAGIC.startswith(head):
                return f"it has {len(head)} bytes"
            if not any(head):
                return "it begins with zeros"
            if head != MAGIC:
                return None
            try:
                with zipfile.ZipFile(file) as archive:
                    damaged = archive.testzip()
            except _ARCHIVE_ERRORS as error:
                reason = str(error).rstrip(".")
                return "its end is missing" if "not a zip file" in reason else reason or "it ends too early"
            except OSError as error:
                if error.errno == errno.EINVAL:  # a position outside the file
                    return "its directory points outside the file"
                raise
            return None if damaged is None else f"{damaged} has a wrong checksum"
    except OSError as error:
        raise Unreadable(f"{path} must be a readable checkpoint, but is not: {error.strerror}.") from error


def check_intact(path: Path) -> None:
    """Raises DamagedCheckpoint unless a checkpoint is intact."""
    damage = find_damage(path)
    if damage is not None:
        raise _damaged(path, damage)


def _newest_intact(folder: Path) -> tuple[Path | None, list[str]]:
    """Finds the checkpoint with the most updates from which a run can resume. Also explains which ones are skipped."""
    intact: list[tuple[int, Path]] = []
    skipped = []
    for path in sorted(set(folder.glob("checkpoint*.pt")) - {folder / LAST}):
        try:
            check_intact(path)
            facts = glance(path)
        except DamagedCheckpoint:
            skipped.append(f"{path.name} is also truncated or damaged")
        except Unreadable:
            raise
        except InputError:
            skipped.append(f"{path.name} is not a checkpoint of fairseq")
        else:
            if facts.place is not None:
                intact.append((facts.updates, path))
    return max(intact, default=(0, None))[1], skipped


def _read(path: Path, *, mmap: bool) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path} must be a checkpoint, but there is no such file.")
    allow_fairseq_classes()
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # torch may raise any exception for malformed data
        raise _read_error(path, error) from error
    if not isinstance(state, dict) or "model" not in state:
        raise InputError(f"{path} must be a fairseq checkpoint with the key 'model', but is not.")
    return state


def _read_error(path: Path, error: Exception) -> InputError:
    """Turns an error of torch.load into one of ours."""
    reason = next(iter(str(error).splitlines()), "") or type(error).__name__
    # Only the file shows whether it is damaged. A process with too little memory gets similar errors.
    damage = find_damage(path)
    if damage is not None:
        return _damaged(path, damage)
    if isinstance(error, MemoryError) or "allocate memory" in reason or "out of memory" in reason.lower():
        return Unreadable(f"{path} is intact, but there is not enough memory to read it ({reason}).")
    if isinstance(error, pickle.UnpicklingError):
        return InputError(
            f"{path} must hold only tensors and plain values, but contains more. None of it was run: {reason}"
        )
    if isinstance(error, OSError) or _head(path) == MAGIC:
        return Unreadable(f"{path} must be a readable checkpoint, but is not: {reason}.")
    return InputError(f"{path} must be a checkpoint, but is not: {reason}")


def _damaged(path: Path, damage: str) -> DamagedCheckpoint:
    return DamagedCheckpoint(
        f"{path} must be a complete checkpoint, but is truncated or damaged ({damage}), probably by an interruption. "
        "Use the newest other checkpoint in its folder."
    )


def _head(path: Path) -> bytes:
    """Returns the first four bytes; none if the file cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC))
    except OSError:
        return b""


# Saving --------------------------------------------------------------------------------------------------------------


class Saves:
    """The result of saving checkpoints in this process.

    Attributes:
        failure: why the last checkpoint could not be saved; None: it was saved, or there was none.
    """

    failure: str | None = None


def copy_whole(source: str, destination: str, overwrite: bool = False) -> bool:
    """Replaces fairseq's PathManager.copy. Copies atomically: after a kill the old file is still complete."""
    if os.path.exists(destination) and not overwrite:
        raise FileExistsError(destination)
    try:
        with whole_file(Path(destination), follow=False) as partial:
            shutil.copyfile(source, partial)
    except OSError as error:  # it may name only the source
        raise NotSaved(f"{destination} could not be saved: {_system_error(error)}.") from error
    return True


def save_whole(state: Any, filename: str, async_write: bool = False) -> None:
    """Replaces fairseq's torch_persistent_save. Each attempt writes a new file, which is renamed once it is complete.

    Raises:
        NotSaved: all attempts failed. An older file of that name is unchanged.
    """
    del async_write  # command_line.py rejects it, because an error in a thread would be lost
    for attempts_left in reversed(range(TRIES)):
        try:
            with whole_file(Path(filename), follow=False) as partial, partial.open("wb") as file:
                torch.save(state, file)
            return
        except (OSError, RuntimeError) as error:
            reason = _system_error(error)
            if attempts_left == 0 and os.path.basename(filename) == CRASH:
                # Not raised, because the error that caused the crash is more important.
                report(f"{filename} could not be saved: {reason}.")
            elif attempts_left == 0:
                raise NotSaved(f"{filename} could not be saved: {reason}.") from error
            else:
                time.sleep(PAUSE)


def save_or_report(save_checkpoint: Callable[..., Any], saves: type[Saves] = Saves) -> Callable[..., Any]:
    """Wraps fairseq's save_checkpoint: if a checkpoint cannot be saved, reports it and continues the training.

    Older checkpoints are removed only after the new one is saved. `saves` records whether the last one was saved.
    """

    @wraps(save_checkpoint, updated=())
    def save(*args: Any, **kwargs: Any) -> Any:
        best = getattr(save, "best", None)  # fairseq's lowest validation loss of a saved checkpoint
        try:
            file = save_checkpoint(*args, **kwargs)
        except (NotSaved, OSError) as error:
            sentence = str(error) if isinstance(error, NotSaved) else f"{error.filename}: {_system_error(error)}."
            report(f"{sentence} Training continues. Earlier checkpoints are kept.")
            saves.failure = sentence
            if best is None:
                vars(save).pop("best", None)
            else:
                save.best = best  # type: ignore[attr-defined]
            return None
        if file is not None:
            saves.failure = None
        return file

    return save


def fail_unless_saved(main: Callable[..., Any], saves: type[Saves] = Saves) -> Callable[..., Any]:
    """Wraps fairseq_cli.train.main: raises InputError at the end if the last checkpoint could not be saved."""

    @wraps(main)
    def training(*args: Any, **kwargs: Any) -> Any:
        saves.failure = None
        result = main(*args, **kwargs)
        if saves.failure is not None:
            raise InputError(
                f"The training has ended, but its last checkpoint was not saved: {saves.failure} Earlier checkpoints "
                "are kept. Free some space and run the same command to resume from the last of them."
            )
        return result

    return training


def report(sentence: str) -> None:
    print(f"weam-train: warning: {' '.join(sentence.split())}", file=sys.stderr, flush=True)


def _system_error(error: BaseException) -> str:
    """Returns the text of the system error that caused an error of torch.save, whose own text is unclear."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def patch_saving() -> None:
    """Installs the functions above in fairseq, once."""
    from fairseq import checkpoint_utils
    from fairseq.file_io import PathManager

    PathManager.copy = staticmethod(copy_whole)
    checkpoint_utils.torch_persistent_save = save_whole
    if not hasattr(checkpoint_utils.save_checkpoint, "__weam__"):
        # fairseq stores the best loss as an attribute of checkpoint_utils.save_checkpoint.
        checkpoint_utils.save_checkpoint = save_or_report(checkpoint_utils.save_checkpoint)
        checkpoint_utils.save_checkpoint.__weam__ = True
