"""One run at a time in a folder: a lock on a file of it, which ends with the process, however that ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from weam_fairseq.common.errors import InputError

FILE = "lock"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Raises InputError where another run is at work in the folder; a file system without locks lets both in."""
    file = folder / FILE
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = _is_at(file, descriptor)
        except BlockingIOError:
            free = False
        except OSError:  # a file system without locks
            free = True
        if not free:
            raise InputError(
                f"{folder} must be free, but another weam-preprocess is at work in it. Wait for it, end it, or choose "
                "another --destdir."
            )
        yield
    finally:
        os.close(descriptor)


def _is_at(file: Path, descriptor: int) -> bool:
    """Whether the file is still there: a run that ends removes its own before it lets go of the lock."""
    return file.exists() and os.path.samestat(file.stat(), os.fstat(descriptor))
