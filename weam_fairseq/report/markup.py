"""HTML from values, escaped where text enters: a page made of these functions can hold no stray markup."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from weam_fairseq.report.stylesheet import CSS

# The browser itself then refuses whatever would need the network.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def text(value: object) -> str:
    return escape(str(value), quote=True)


def paragraph(value: str, css: str = "") -> str:
    return f"<p{_class(css)}>{text(value)}</p>"


def absent(value: str) -> str:
    """Says that an optional part of the run is not there."""
    return paragraph(value, "absent")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], css: str = "", caption: str = "") -> str:
    """A table of plain texts; the first cell of each row is its heading."""
    return table_of_cells(head, ([text(cell) for cell in row] for row in rows), css, caption)


def table_of_cells(head: Sequence[str], rows: Iterable[Sequence[str]], css: str = "", caption: str = "") -> str:
    """A table whose cells are HTML already; heading and caption are plain."""
    top = "".join(f'<th scope="col">{text(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>' for first, *rest in rows
    )
    above = f"<caption>{text(caption)}</caption>" if caption else ""
    return (
        f'<div class="wide"><table{_class(css)}>{above}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def facts(value: Any) -> str:
    """Any JSON value: an object as two columns, a list in one line, objects of one kind as rows of one table."""
    if isinstance(value, dict) and _of_one_kind(list(value.values())):
        return _rows([{"": name, **each} for name, each in value.items()])
    if isinstance(value, list) and _of_one_kind(value):
        return _rows(value)
    if isinstance(value, dict) and value:
        rows = "".join(
            f'<tr><th scope="row">{text(key)}</th><td>{facts(each)}</td></tr>' for key, each in value.items()
        )
        return f'<table class="facts left"><tbody>{rows}</tbody></table>'
    if isinstance(value, list) and any(isinstance(each, dict | list) for each in value):
        return "".join(facts(each) for each in value)
    return text(_plain(value))


def _of_one_kind(values: list[Any]) -> bool:
    """Several objects of plain values with a key in common, such as the sources of a corpus."""
    return (
        len(values) > 1
        and all(isinstance(each, dict) for each in values)
        and bool(set.intersection(*(set(each) for each in values)))
        and not any(isinstance(leaf, dict | list) for each in values for leaf in each.values())
    )


def _rows(records: list[dict[str, Any]]) -> str:
    head = list(dict.fromkeys(key for record in records for key in record))
    return table(head, [[_plain(record.get(key)) for key in head] for record in records], "left")


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(each) for each in value) or "–"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}" if value >= 10_000 else str(value)
    return "–" if value is None or value == {} else str(value)


def commands(value: Any) -> str:
    """Commands by name as blocks of code; a command is a text, or a list of arguments or of texts."""
    if isinstance(value, dict):
        return "".join(f"<h3>{text(name)}</h3>{commands(each)}" for name, each in value.items())
    if isinstance(value, list):
        multiple = any(" " in str(each) for each in value)
        return (
            "".join(commands(each) for each in value) if multiple else commands(" ".join(str(each) for each in value))
        )
    return f"<pre>{text(value)}</pre>"


def section(anchor: str, title: str, *parts: str) -> str:
    return f'<section id="{anchor}"><h2>{text(title)}</h2>{"".join(parts)}</section>'


def figure(svg: str, title: str, remark: str) -> str:
    """A drawing below its caption; wide ones scroll by themselves."""
    caption = f"<b>{text(title)}</b> <span>{text(remark)}</span>"
    return f'<figure><figcaption>{caption}</figcaption><div class="wide">{svg}</div></figure>'


def document(title: str, introduction: str, sections: Mapping[str, tuple[str, str]], footer: str) -> str:
    """A whole page that needs no network: `sections` are titles and HTML by anchor."""
    links = " ".join(f'<a href="#{anchor}">{text(name)}</a>' for anchor, (name, _) in sections.items())
    body = "".join(section(anchor, name, content) for anchor, (name, content) in sections.items())
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{text(title)}</title><style>{CSS}</style></head><body>"
        f"<header><h1>{text(title)}</h1>{paragraph(introduction)}<nav>{links}</nav></header>"
        f"<main>{body}</main>"
        f"<footer>{text(footer)}</footer></body></html>\n"
    )


def _class(css: str) -> str:
    return f' class="{css}"' if css else ""
