"""What a run has done so far, as files in DATA_BIN.incomplete/work: a kill loses no finished part.

A part appears complete or not at all, and is the same whoever made it, so parts can be made in any order, by any number
of workers, and made again. The file run.json records what all parts were made from: the digests of the inputs, the
options, the versions. It is written before the first part and removed after the last one, so parts without it are
never used.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from weam_fairseq.common.documents import read_json
from weam_fairseq.common.errors import InputError

log = logging.getLogger(__name__)

FOLDER = "work"
FINGERPRINT = "run.json"
BESIDE = ".beside"  # ends the name of what is not yet written to its end


def remove_unknown(folder: Path, keep: str) -> None:
    """Removes what an earlier run has left in `folder`, but for the file `keep`, unless a fingerprint tells what it was
    made from: an interrupted clean-up may have left parts without it.
    """
    if (folder / FOLDER / FINGERPRINT).is_file():
        return
    left = [path for path in folder.iterdir() if path.name != keep]
    if left:
        log.warning("Removing %s: nothing records what it was made from, so it cannot be resumed.", folder)
    for path in left:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


class Work:
    """The parts of one run. `fingerprint` is everything that its result depends on; plain values."""

    def __init__(self, folder: Path, fingerprint: Mapping[str, Any]) -> None:
        """Raises InputError when the folder holds the parts of a run with another fingerprint."""
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
                    f"{folder.parent}, but these differ: {', '.join(other)}. Run without --resume to start anew."
                )
        else:
            assert not any(folder.iterdir()), "parts without a fingerprint are removed before"
            with written(file) as beside:
                beside.write_text(json.dumps(wanted, indent=1), encoding="utf-8")

    def remove(self) -> None:
        """The fingerprint goes last: a kill in the middle leaves fewer parts, and none that could be of another run."""
        for path in self.folder.iterdir():
            if path.name == FINGERPRINT:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        (self.folder / FINGERPRINT).unlink()
        self.folder.rmdir()

    def part(self, pair: str, stage: str, number: int | None = None, suffix: str = ".npz") -> Path:
        """The file of one chunk's part of a stage, or of the whole pair's."""
        name = stage if number is None else f"{stage}.{number:06d}"
        folder = self.folder / pair
        folder.mkdir(exist_ok=True)
        return folder / f"{name}{suffix}"


def _differences(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """The names of values that differ, each with the names inside it."""
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
    """A file to write beside `path`; it takes the place of `path` when the block ends without an error."""
    # Processes of several machines may write it at once, and have the same number.
    beside = path.with_name(f"{path.name}.{socket.gethostname()}.{os.getpid()}{BESIDE}")
    yield beside
    beside.replace(path)


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with written(path) as beside, beside.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored.items())
