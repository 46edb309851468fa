"""Reads the pages that weam-report writes, and its errors."""

from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest

from weam_fairseq.report.report import main

VOID = {"meta", "br", "hr", "img", "link"}


class Checker(HTMLParser):
    """Collects tags, ids and addresses, and checks that every element is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href", "action", "data"):
                self.addresses.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def checked(folder: Path) -> tuple[str, Checker]:
    """The page, which is well formed."""
    page = (folder / "report.html").read_text(encoding="utf-8")
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert len(checker.ids) == len(set(checker.ids))
    return page, checker


def fails(capsys: pytest.CaptureFixture[str], arguments: Sequence[object], message: str) -> None:
    """weam-report ends with 2 after one sentence."""
    assert main([str(each) for each in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("weam-report: error: ")
    assert error.count("\n") == 1
    assert message in error
