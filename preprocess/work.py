"""Where a run writes: DATA_BIN.incomplete, which is renamed to DATA_BIN when it is complete.

That name is fixed, because --resume must find the folder again. So the folder is used only if weam-preprocess made it.

What a run has done so far is in its folder `work`, so a kill loses no finished part. A part appears complete or not at
all. It does not depend on the worker that made it, so any number of workers can make parts in any order, and again. The
file run.json records what all parts were made from: the digests of the inputs, the options, the versions. It is
written before the first part and removed after the last one, so parts without it are never used.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from weam_fairseq.common.documents import read_json
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import check_destination, is_filled, put_in_place
from weam_fairseq.common.lock import lock_file, locked

from .databin import MANIFEST
from .errors import Unfinished

log = logging.getLogger(__name__)


FOLDER = "work"
FINGERPRINT = "run.json"
PARTIAL = ".unfinished"  # the end of the name of a file that is not complete yet

# This file marks a folder that weam-preprocess made and may empty.
MARKER = ".weam-preprocess"


def check_destdir(destdir: Path, overwrite: bool) -> None:
    """Raises InputError, before any work, if `destdir` must not be written."""
    if ":" in str(destdir):
        raise InputError(
            f"--destdir must have no colon, because weam-train takes A:B as two data-bins, but is {destdir}."
        )
    check_destination(destdir, overwrite=overwrite, marker=MANIFEST, option="--destdir")
    _check_incomplete(incomplete_folder(destdir))


def incomplete_folder(destdir: Path) -> Path:
    """The folder `DESTDIR.incomplete`. A link is followed first."""
    folder = Path(os.path.realpath(destdir))
    return folder.with_name(f"{folder.name}.incomplete")


@contextmanager
def resumable(destdir: Path, *, resume: bool, overwrite: bool = False) -> Iterator[Path]:
    """Gives the folder to write into. It takes the place of `destdir` when the block ends without an error.

    A plain InputError means wrong input, so the folder is removed, unless `resume` is set.
    After a kill, a full disk or an error of ours it is kept, and removed by the next run without `resume`.

    Raises:
        InputError: another run writes the same data-bin; `DESTDIR.incomplete` is a link, or not from weam-preprocess.
    """
    incomplete = incomplete_folder(destdir)
    incomplete.parent.mkdir(parents=True, exist_ok=True)
    with locked(lock_file(Path(os.path.realpath(destdir)))):
        check_destdir(destdir, overwrite)  # again: another run may just have finished
        was_there = is_filled(destdir)
        incomplete.mkdir(exist_ok=True)
        (incomplete / MARKER).touch()
        if not resume:
            _clear(incomplete)
        for path in incomplete.glob(f"*{PARTIAL}"):  # incomplete files of a killed run, such as half a tokenizer
            _remove(path)
        try:
            yield incomplete
        except InputError as error:
            if not resume and not isinstance(error, Unfinished):
                shutil.rmtree(incomplete)
            raise
        except OSError as error:
            if error.filename is None:  # the disk became full while a file was written
                error.filename = str(incomplete)
            raise
        folder = Path(os.path.realpath(destdir))
        if is_filled(folder) and not was_there:
            raise InputError(
                f"{destdir} was empty when the run began, but holds files now. They were not touched. The complete "
                f"data-bin is {incomplete}: move those files away, and rename it."
            )
        put_in_place(incomplete, folder)
        (folder / MARKER).unlink()  # last, so that a kill before the renaming leaves a folder that --resume accepts


def _check_incomplete(incomplete: Path) -> None:
    if incomplete.is_symlink() or (incomplete.exists() and not incomplete.is_dir()):
        raise InputError(
            f"{incomplete} must not exist, because weam-preprocess writes there, but is a "
            f"{'link' if incomplete.is_symlink() else 'file'}. Remove it, or choose another --destdir."
        )
    if incomplete.is_dir() and any(incomplete.iterdir()) and not (incomplete / MARKER).is_file():
        raise InputError(
            f"{incomplete} must not exist, because weam-preprocess writes there, but holds other files. "
            "Move them, or choose another --destdir."
        )


def _clear(incomplete: Path) -> None:
    left = [path for path in incomplete.iterdir() if path.name != MARKER]
    if left:
        log.warning("Removing %s, which an interrupted run left. To continue such a run, use --resume.", incomplete)
    for path in left:
        _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def remove_unknown(folder: Path, keep: str) -> None:
    """Empties `folder`, except for the file `keep`, if it has no fingerprint of the run that filled it: an interrupted
    clean-up may have left parts without one.
    """
    if (folder / FOLDER / FINGERPRINT).is_file():
        return
    left = [path for path in folder.iterdir() if path.name != keep]
    if left:
        log.warning(
            "Removing %s: there is no record of what its parts were made from, so they cannot be resumed.", folder
        )
    for path in left:
        _remove(path)


class Work:
    """The parts of one run. `fingerprint` holds everything that the result depends on, as plain values."""

    def __init__(self, folder: Path, fingerprint: Mapping[str, Any]) -> None:
        """Raises InputError if the folder holds parts of a run with another fingerprint."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        wanted = json.loads(json.dumps(fingerprint))
        file = folder / FINGERPRINT
        if file.is_file():
            there = read_json(file, dict)
            other = _differences(there, wanted)
            if other:
                raise InputError(
                    f"--resume needs the same inputs, options and versions as the run that it resumes in "
                    f"{folder.parent}, but these differ: {', '.join(other)}. Run without --resume to start again."
                )
        else:
            assert not any(folder.iterdir()), "parts without a fingerprint are removed before"
            with written(file) as partial:
                partial.write_text(json.dumps(wanted, indent=1), encoding="utf-8")

    def remove(self) -> None:
        """Removes everything, the fingerprint last, so that a kill never leaves parts without one."""
        for path in self.folder.iterdir():
            if path.name == FINGERPRINT:
                continue
            _remove(path)
        (self.folder / FINGERPRINT).unlink()
        self.folder.rmdir()

    def part(self, pair: str, stage: str, number: int | None = None, suffix: str = ".npz") -> Path:
        """The file of a stage for one chunk, or for all chunks of a language pair."""
        name = stage if number is None else f"{stage}.{number:06d}"
        folder = self.folder / pair
        folder.mkdir(exist_ok=True)
        return folder / f"{name}{suffix}"


def _differences(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """The names of values that differ; names of nested values are in brackets."""
    found = []
    for name in sorted({*there, *wanted}):
        old, new = there.get(name), wanted.get(name)
        if isinstance(old, dict) and isinstance(new, dict) and old != new:
            found.append(f"{name} ({', '.join(_differences(old, new))})")
        elif old != new:
            found.append(name)
    return found


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """Gives a path next to `path` to write to. It is renamed to `path` if the block ends without an error."""
    # Processes of several machines may write it at the same time, and may have the same number.
    partial = path.with_name(f"{path.name}.{socket.gethostname()}.{os.getpid()}{PARTIAL}")
    yield partial
    partial.replace(path)


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with written(path) as partial, partial.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Raises InputError for a damaged file, such as one that a power failure emptied."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return dict(stored.items())
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} is damaged ({type(error).__name__}). Run again without --resume.") from None
