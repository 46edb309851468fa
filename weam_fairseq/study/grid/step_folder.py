"""What a step's folder says of it.

STEP/step.json      its command, where and with which environment it runs
STEP/log.txt        what the command said, each start after a line with the command (train.log for trainings)
STEP/done.json      it has ended well: seconds, peak memory, machine, revision
STEP/failed.json    its last start has not
STEP/lock           held while it runs, by the command too: whoever is killed, nobody runs it twice at once
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


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
        """Whether somebody on this machine is at work on it."""
        if not (self.path / "lock").is_file():
            return False
        with (self.path / "lock").open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            except OSError:  # a file system without locks
                return False
        return False

    @contextmanager
    def locked(self) -> Iterator[int]:
        """Waits for the lock; gives its descriptor, which a command may inherit."""
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            with suppress(OSError):  # a file system without locks: launch's own record must do
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)

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
            found: dict[str, Any] = json.loads((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return found

    def _write(self, name: str, value: Mapping[str, Any]) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        write_whole(self.path / name, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Beside, then renamed."""
    beside = path.with_name(f"{path.name}.part")
    with beside.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
