"""Whole or nothing: a data-bin is written beside its place, as `DATA_BIN.incomplete`, and renamed when it is done."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import manifest
from .errors import InputError, Unfinished

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
def whole_or_nothing(destdir: Path, *, resume: bool = False) -> Iterator[Path]:
    """Gives the folder to write into. It takes the place of `destdir` only when the block ends without an error.

    resume: what an interrupted run left behind is gone on with, and what an error leaves is kept. What `Unfinished`
    leaves is always kept.
    """
    incomplete = _beside(destdir, ".incomplete")
    if incomplete.exists() and not resume:
        log.warning("Removing %s, which an interrupted run left behind (--resume goes on with it).", incomplete)
        shutil.rmtree(incomplete)
    incomplete.mkdir(parents=True, exist_ok=True)
    try:
        yield incomplete
    except Exception as error:
        # An error is said in full, so nothing of it needs to stay; a kill leaves the folder, with its telling name.
        if not resume and not isinstance(error, Unfinished):
            shutil.rmtree(incomplete)
        raise
    _put_in_place(incomplete, destdir)


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
