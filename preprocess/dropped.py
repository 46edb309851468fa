"""What became of the lines: counts that add up over chunks, and the first examples of every reason (dropped.tsv)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from .corpus import InputFile

FILE = "dropped.tsv"
EXAMPLES = 20
_SHOWN_CHARS = 500
_COLUMNS = ("pair", "file", "line", "reason", "source", "target")


class Example(NamedTuple):
    """A dropped pair as dropped.tsv shows it. A line that could not be taken apart is the source, with no target."""

    line_idx: int
    source: str
    target: str


@dataclass
class Account:
    """Of `read` pairs, how many were dropped by reason, and the first `EXAMPLES` of each reason in input order.

    `repaired` counts sides by what was mended, dropped lines included; `noted` counts kept pairs by what is odd.
    """

    read: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Example]] = field(default_factory=dict)

    @property
    def kept(self) -> int:
        return self.read - self.dropped.total()

    def drop(self, reason: str, line_idx: int, source: str | bytes, target: str | bytes = "") -> None:
        """Counts one pair. Within one account, lines come in input order."""
        self.dropped[reason] += 1
        if self.dropped[reason] <= EXAMPLES:
            self.examples.setdefault(reason, []).append(Example(line_idx, show(source), show(target)))


def merge(accounts: Iterable[Account]) -> Account:
    """One account of them all. They may come in any order: the examples are the first ones by `line_idx` again."""
    merged = Account()
    for account in accounts:
        merged.read += account.read
        merged.dropped += account.dropped
        merged.repaired += account.repaired
        merged.noted += account.noted
        for reason, examples in account.examples.items():
            merged.examples[reason] = sorted([*merged.examples.get(reason, []), *examples])[:EXAMPLES]
    return merged


def show(text: str | bytes) -> str:
    """At most 500 characters of the text, then `…`; on one line, without tabs: what does not print is escaped.

    A byte that is not valid UTF-8 becomes like `\\xff`, a control or format character like `\\u200b`, and a
    backslash two, so that neither is taken for text.
    """
    if isinstance(text, bytes):
        # No character has more than 4 bytes, so these are over 500 characters if the text has as many.
        text = text[: 4 * _SHOWN_CHARS + 4].replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
    else:
        text = text[: 2 * _SHOWN_CHARS].replace("\\", "\\\\")
    shown = text[:_SHOWN_CHARS] + ("…" if len(text) > _SHOWN_CHARS else "")
    return shown if shown.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in shown)


def _escape(char: str) -> str:
    short = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}.get(char)
    return short or (f"\\u{ord(char):04x}" if ord(char) <= 0xFFFF else f"\\U{ord(char):08x}")


def write(file: Path, pairs: Iterable[tuple[str, Sequence[tuple[InputFile, ...]], Account]]) -> None:
    """Writes dropped.tsv for (pair name, files of its parts, account). Reasons in alphabetical order."""
    rows = [_COLUMNS]
    for name, parts, account in pairs:
        for reason, examples in sorted(account.examples.items()):
            for example in examples:
                files, line = locate(parts, example.line_idx)
                rows.append((name, show(files), f"{line}", reason, example.source, example.target))
    file.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8", newline="\n")


def locate(parts: Sequence[tuple[InputFile, ...]], line_idx: int) -> tuple[str, int]:
    """The file names (two with a comma between them) and the 1-based line in them of a line counted through all."""
    for part in parts:
        if line_idx < part[0].lines:
            return ",".join(file.file for file in part), line_idx + 1
        line_idx -= part[0].lines
    raise AssertionError("the line is of these files")
