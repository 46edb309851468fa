"""Tables and plain text in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def pipe_table(head: Sequence[str], rows: Iterable[Sequence[str]], escape: bool = True) -> str:
    """A table; with `escape`, head and cells are plain text, else they are Markdown already."""
    clean = escape_text if escape else str
    lines = [
        [clean(cell) for cell in head],
        ["---", *["---:"] * (len(head) - 1)],
        *([clean(cell) for cell in row] for row in rows),
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def escape_text(text: str) -> str:
    for character in "\\`*_|<[":
        text = text.replace(character, "\\" + character)
    return text.replace("\n", " ")
