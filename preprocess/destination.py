"""Whole or nothing: a folder is written beside its place, as `FOLDER.incomplete`, and renamed when it is done."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from weam_fairseq.common.errors import InputError

from . import lock, manifest, work
from .errors import Unfinished

log = logging.getLogger(__name__)


def check(destdir: Path, overwrite: bool) -> None:
    """Raises InputError when `destdir` must not be written; before any work is done."""
    if not destdir.exists() or (destdir.is_dir() and not any(destdir.iterdir())):
        return
    if not overwrite:
        raise InputError(f"{destdir} is there already. Choose another --destdir, or add --overwrite to replace it.")
    if not (destdir / manifest.FILE).is_file():
        raise InputError(f"{destdir} holds no {manifest.FILE}, so --overwrite leaves it alone. Remove it by hand.")


@contextmanager
def whole_or_nothing(folder: Path) -> Iterator[Path]:
    """Gives the folder to write into. It takes the place of `folder` only when the block ends without an error; an
    error leaves nothing.
    """
    incomplete = _beside(folder, ".incomplete")
    if incomplete.exists():  # of a run that was killed
        shutil.rmtree(incomplete)
    incomplete.mkdir(parents=True)
    try:
        yield incomplete
    except Exception:
        shutil.rmtree(incomplete)
        raise
    _put_in_place(incomplete, folder)


@contextmanager
def resumable(destdir: Path, *, resume: bool) -> Iterator[Path]:
    """The same for a data-bin, of which what is done may be gone on with.

    Only a plain InputError leaves nothing, and not even that with `resume`: it is said in full, and is no fault of the
    machine. What a kill, a full disk or an error of ours leaves is kept, and removed by the next run without `resume`.

    Raises InputError where another run is at work in the folder.
    """
    incomplete = _beside(destdir, ".incomplete")
    incomplete.mkdir(parents=True, exist_ok=True)
    with lock.alone(incomplete):
        if not resume:
            _clear(incomplete)
        for path in incomplete.glob(f"*{work.BESIDE}"):  # half a tokenizer of a run that was killed
            _remove(path)
        try:
            yield incomplete
        except InputError as error:
            if not resume and not isinstance(error, Unfinished):
                shutil.rmtree(incomplete)
            raise
        (incomplete / lock.FILE).unlink()
        _put_in_place(incomplete, destdir)


def _clear(incomplete: Path) -> None:
    left = [path for path in incomplete.iterdir() if path.name != lock.FILE]
    if left:
        log.warning("Removing %s, which an interrupted run left behind (--resume goes on with it).", incomplete)
    for path in left:
        _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _put_in_place(incomplete: Path, destdir: Path) -> None:
    replaced = _beside(destdir, ".replaced")
    if replaced.exists():
        shutil.rmtree(replaced)
    if destdir.exists():
        destdir.rename(replaced)
    incomplete.rename(destdir)
    if replaced.exists():
        shutil.rmtree(replaced)


def _beside(destdir: Path, suffix: str) -> Path:
    absolute = destdir.absolute()
    return absolute.with_name(absolute.name + suffix)
