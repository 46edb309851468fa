"""What a step's folder says of it.

STEP/step.json      its command, where and with which environment it runs
STEP/log.txt        what the command said, each start after a line with the command (train.log for trainings)
STEP/done.json      it has ended well: seconds, peak memory, machine, revision
STEP/failed.json    its last start has not
STEP/lock           held while it runs, by the command too: whoever is killed, nobody runs it twice at once
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from weam_fairseq.common.documents import read_json
from weam_fairseq.common.files import write_json
from weam_fairseq.common.lock import is_locked, locked


@dataclass(frozen=True)
class Order:
    """What is to be run; `whole` as in Step, `languages` those of this command."""

    command: list[str]
    directory: str
    log: str
    whole: str | None = None
    languages: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)


class StepFolder:
    """A step's folder; files in it appear whole."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write_order(self, order: Order) -> None:
        self._write("step.json", {**asdict(order), "typed": shlex.join(order.command)})

    def order(self) -> Order:
        told = self._read("step.json")
        assert told is not None, f"no step.json in {self.path}"
        told.pop("typed", None)
        return Order(**told)

    def done(self) -> dict[str, Any] | None:
        return self._read("done.json")

    def failed(self) -> dict[str, Any] | None:
        return None if self.done() is not None else self._read("failed.json")

    def missing(self, languages: tuple[str, ...]) -> tuple[str, ...]:
        """Of an evaluation's languages those that it has not been done for."""
        done = self.done() or {}
        return tuple(each for each in languages if each not in done.get("languages", []))

    def is_done(self, languages: tuple[str, ...] = ()) -> bool:
        return self.done() is not None and not self.missing(languages)

    def is_running(self) -> bool:
        """Whether a process on this machine works on it."""
        return is_locked(self.path / "lock")

    def locked(self) -> AbstractContextManager[int]:
        """Waits for the lock; gives its descriptor, which a command may inherit."""
        return locked(self.path / "lock", wait=True, keep=True)

    def begin(self) -> None:
        (self.path / "failed.json").unlink(missing_ok=True)

    def end(self, well: bool, told: Mapping[str, Any]) -> None:
        self._write("done.json" if well else "failed.json", told)

    def note(self, log: str, line: str) -> None:
        """Adds a line of ours to the log, after what a kill may have left of another one."""
        with (self.path / log).open("ab+") as file:
            file.seek(max(0, file.tell() - 1))
            cut = file.read() not in (b"", b"\n")
            file.write(f"{chr(10) * cut}{line}\n".encode())

    def last_lines(self, log: str, count: int = 5) -> list[str]:
        file = self.path / log
        if not file.is_file():
            return []
        text = file.read_text(encoding="utf-8", errors="replace")
        return [line[:300] for line in text.splitlines() if line.strip()][-count:]

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = read_json(self.path / name, dict)
        except FileNotFoundError:
            return None
        return found

    def _write(self, name: str, value: Mapping[str, Any]) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / name, value)
