"""What a run has done so far, as files in DATA_BIN.incomplete/work: a kill loses no finished part.

A part appears whole or not at all, and is the same whoever made it, so parts can be made in any order, by any number
of workers, and made again.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from weam_fairseq.common.documents import read_json
from weam_fairseq.common.errors import InputError

FINGERPRINT = "run.json"
BESIDE = ".beside"  # ends the name of what is not yet written to its end


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
            other = sorted(key for key in {*there, *wanted} if there.get(key) != wanted.get(key))
            if other:
                raise InputError(
                    f"--resume must go on with the inputs, options and versions that {folder.parent} was begun with, "
                    f"but these differ: {', '.join(other)}. Leave --resume out to start anew."
                )
        else:
            with written(file) as beside:
                beside.write_text(json.dumps(wanted, indent=1), encoding="utf-8")

    def part(self, pair: str, stage: str, number: int | None = None, suffix: str = ".npz") -> Path:
        """The file of one chunk's part of a stage, or of the whole pair's."""
        name = stage if number is None else f"{stage}.{number:06d}"
        folder = self.folder / pair
        folder.mkdir(exist_ok=True)
        return folder / f"{name}{suffix}"


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
