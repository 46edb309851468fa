"""What a step is: a short digest of everything that decides its result, files by their content."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weam_fairseq.common.documents import read_json
from weam_fairseq.common.files import write_json

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_DIGITS = 10


def canonical(value: Any) -> Any:
    """Equal for what means the same: 1, 1.0 and "1"; keys in any order; an option that is off, and one left out."""
    if isinstance(value, Mapping):
        given = {str(key): each for key, each in value.items() if each is not None and each is not False}
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
    """Content of files and folders outside of the study, each read once and remembered in inputs.json by size and time.

    A file that is not there is what it was when it was last seen, so that a study can be looked at where its data is
    not; one never seen is known by its name alone.
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
            with path.open("rb") as file:
                known = {**now, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
            self._seen[name] = known
        return str(known["sha256"])
