"""Where the data-bin goes: it is written into `DESTDIR.incomplete`, which is renamed when it is complete.

That name is fixed, because --resume must find the folder again. So the folder is used only if weam-preprocess made it.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import check_destination, put_in_place
from weam_fairseq.common.lock import lock_file, locked

from . import manifest, work
from .errors import Unfinished

log = logging.getLogger(__name__)

# Marks a folder that weam-preprocess made, and so may empty.
MARKER = ".weam-preprocess"


def check(destdir: Path, overwrite: bool) -> None:
    """Raises InputError when `destdir` must not be written; before any work is done."""
    check_destination(destdir, overwrite=overwrite, marker=manifest.FILE, option="--destdir")
    _check_incomplete(incomplete_folder(destdir))


def incomplete_folder(destdir: Path) -> Path:
    """Beside the folder itself: a link to a folder is followed."""
    folder = Path(os.path.realpath(destdir))
    return folder.with_name(f"{folder.name}.incomplete")


@contextmanager
def resumable(destdir: Path, *, resume: bool) -> Iterator[Path]:
    """Gives the folder to write into. It takes the place of `destdir` when the block ends without an error.

    A plain InputError leaves nothing, unless `resume` is set: it is reported, and nothing failed but the input. What a
    kill, a full disk or an error of ours leaves is kept, and removed by the next run without `resume`.

    Raises:
        InputError: another run writes the same data-bin; `DESTDIR.incomplete` is a link, or not from weam-preprocess.
    """
    incomplete = incomplete_folder(destdir)
    incomplete.parent.mkdir(parents=True, exist_ok=True)
    with locked(lock_file(Path(os.path.realpath(destdir)))):
        _check_incomplete(incomplete)
        incomplete.mkdir(exist_ok=True)
        (incomplete / MARKER).touch()
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
        except OSError as error:
            if error.filename is None:  # a full disk, while a file is written
                error.filename = str(incomplete)
            raise
        folder = Path(os.path.realpath(destdir))
        put_in_place(incomplete, folder)
        (folder / MARKER).unlink()  # last: a kill before the renaming leaves a folder that --resume accepts


def _check_incomplete(incomplete: Path) -> None:
    if incomplete.is_symlink() or (incomplete.exists() and not incomplete.is_dir()):
        raise InputError(
            f"{incomplete} must be free, because weam-preprocess writes there, but is a "
            f"{'link' if incomplete.is_symlink() else 'file'}. Remove it, or choose another --destdir."
        )
    if incomplete.is_dir() and any(incomplete.iterdir()) and not (incomplete / MARKER).is_file():
        raise InputError(
            f"{incomplete} must be free, because weam-preprocess writes there, but holds files of something else. "
            "Move them, or choose another --destdir."
        )


def _clear(incomplete: Path) -> None:
    left = [path for path in incomplete.iterdir() if path.name != MARKER]
    if left:
        log.warning("Removing %s, which an interrupted run left behind (--resume continues that run).", incomplete)
    for path in left:
        _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
