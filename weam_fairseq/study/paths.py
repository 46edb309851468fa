"""Where a study's files are on this machine, and the digests that identify its inputs and steps.

STUDY/study.json, configs/                what is studied, and each config that the study was run with
STUDY/cells.jsonl, scores.jsonl           what weam-report reads (tables.py)
STUDY/inputs.json                         contents of the study's input files, by digest
STUDY/data/NAME-DIGEST/                   a data-bin
STUDY/bases/NAME-DIGEST/train|import/     the checkpoint that cells start from
STUDY/cells/NAME-DIGEST/train/            a cell's training, with train.log and checkpoints
               …/export/hf/               the model, as a Hugging Face folder
               …/TASK-DIGEST/             an evaluation: scores.jsonl, items/

A step's DIGEST covers everything that decides its result, files by their contents, and no path of this machine. To make
a step again, remove its folder (step.py says what it contains).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from weam_fairseq.common.documents import read_json
from weam_fairseq.common.files import file_sha256, write_json
from weam_fairseq.common.hub import is_name

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_DIGITS = 10


class StudyPaths(NamedTuple):
    """Absolute paths.

    Attributes:
        root: where relative paths of the config start, and where commands run.
        data: the data folder.
        study: the study's folder.
    """

    root: Path
    data: Path
    study: Path

    def in_root(self, name: str) -> Path:
        """A file or folder that the config names outside the data folder."""
        return self.root / name

    def is_on_hub(self, name: str) -> bool:
        """Whether a published model or tokenizer is a name on the Hugging Face Hub: there is no such folder."""
        return not self.in_root(name).exists() and is_name(name)

    def find(self, kind: str, name: str, identity: str) -> str:
        """The folder `kind/name-identity`. A folder of that identity that was made under another name keeps it."""
        own = f"{name}-{identity}"
        found = sorted(folder.name for folder in (self.study / kind).glob(f"*-{identity}"))
        return f"{kind}/{found[0] if found and own not in found else own}"

    def typed(self, path: Path) -> str:
        """The path as a command in `root` would name it."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)


def study_paths(root: Path, data: Path | None, data_of_config: str, study: Path) -> StudyPaths:
    """Paths of the command line, relative to the current folder. `data` replaces the config's data folder."""
    absolute = root.absolute()
    return StudyPaths(absolute, absolute / data_of_config if data is None else data.absolute(), study.absolute())


def is_given(value: Any) -> bool:
    """Whether an option is neither left out nor off. 0 is given, although it equals False."""
    return value is not None and value is not False


def canonical(value: Any) -> Any:
    """Equal for equal meanings: 1, 1.0 and "1"; keys in any order; an option that is off and one that is left out."""
    if isinstance(value, Mapping):
        given = {str(key): each for key, each in value.items() if is_given(each)}
        return {key: canonical(given[key]) for key in sorted(given)}
    if isinstance(value, list | tuple):
        return [canonical(each) for each in value]
    if isinstance(value, bool) or value is None:
        return value
    text = str(value)
    return repr(float(text)) if _NUMBER.fullmatch(text) else text


def digest(decides: Mapping[str, Any]) -> str:
    """Ten hexadecimal digits."""
    text = json.dumps(canonical(decides), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


class Files:
    """Contents of files and folders outside the study. Each file is read once; inputs.json keeps digest, size and time.

    A missing file has the identity that it had when it was last read, so --list works on a machine without the data. A
    file that was never read is identified by its name.
    """

    NAME = "inputs.json"

    def __init__(self, study: Path) -> None:
        self._path = study / self.NAME
        self._seen: dict[str, dict[str, Any]] = {}
        if self._path.is_file():
            self._seen = read_json(self._path, dict)

    def identity(self, path: Path, name: str) -> str:
        """SHA-256 of a file, or of a folder's files with their names.

        Args:
            path: where it is.
            name: what the config calls it.
        """
        if path.is_dir():
            files = sorted(each for each in path.rglob("*") if each.is_file())
            names = [each.relative_to(path).as_posix() for each in files]
            parts = [[own, self._of_file(path / own, f"{name}/{own}")] for own in names]
            found = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
            self._seen[name] = {"sha256": found}
            return found
        return self._of_file(path, name)

    def save(self) -> None:
        write_json(self._path, self._seen)

    def _of_file(self, path: Path, name: str) -> str:
        known = self._seen.get(name)
        if not path.is_file():
            return f"unseen:{name}" if known is None else str(known["sha256"])
        stat = os.stat(path)
        now = {"size": stat.st_size, "time": stat.st_mtime_ns}
        if known is None or {key: known.get(key) for key in now} != now:
            known = {**now, "sha256": file_sha256(path)}
            self._seen[name] = known
        return str(known["sha256"])
