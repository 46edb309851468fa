"""JSON lines: one for each thing measured, so an interrupted benchmark resumes where it stopped."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

Row = dict[str, Any]


class Results:
    def __init__(self, file: Path) -> None:
        self._file = file
        file.parent.mkdir(parents=True, exist_ok=True)

    def rows(self) -> list[Row]:
        return [json.loads(line) for line in self._file.read_text().splitlines()] if self._file.is_file() else []

    def has(self, **key: Any) -> bool:
        return any(all(row.get(name) == value for name, value in key.items()) for row in self.rows())

    def add(self, **row: Any) -> None:
        row |= {"machine": machine(), "python": platform.python_version()}
        print(json.dumps(row), file=sys.stderr, flush=True)
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")


def machine() -> str:
    """As "AMD EPYC, 2 cores, avx512_bf16"; the last word is the best of what speeds bf16 up."""
    facts = {}
    if Path("/proc/cpuinfo").is_file():
        lines = (line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines())
        facts = {name.strip(): value.strip() for name, _, value in lines}
    flags = facts.get("flags", "").split()
    fast = next((flag for flag in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if flag in flags), "")
    return ", ".join(filter(None, (facts.get("model name", platform.machine()), f"{os.cpu_count()} cores", fast)))
