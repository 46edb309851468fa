"""A headless Chromium opens the pages: nothing is asked of the network, and nothing is said on the console."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.report.studies import grid, write_study
from weam_fairseq.report.report import main

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (Debian: apt-get install chromium)")

QUIET = [
    "--headless=new",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--host-resolver-rules=MAP * ~NOTFOUND",
]


class Visit(NamedTuple):
    """`requests`: addresses asked for by the page; `console`: what it said; `dom`: the page as Chromium has it."""

    requests: list[str]
    console: list[str]
    dom: str


def _visit(page: Path, folder: Path) -> Visit:
    log = folder / "net.json"
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    command = [str(CHROMIUM), *QUIET, *root, f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}"]
    result = subprocess.run(
        [*command, "--enable-logging=stderr", "--virtual-time-budget=3000", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    console = [line for line in result.stderr.splitlines() if "CONSOLE" in line]
    return Visit(_requests(log), console, result.stdout)


def _requests(log: Path) -> list[str]:
    """All addresses that a page's request was started for; the browser's own have no page as their initiator."""
    events = json.loads(log.read_text(encoding="utf-8"))
    asked = [event.get("params", {}) for event in events["events"]]
    return [
        each["url"] for each in asked if "url" in each and "initiator" in each and each["initiator"] != "not an origin"
    ]


def test_what_asks_or_complains_is_noticed(tmp_path: Path) -> None:
    """The check itself: a page with an address and a mistake in it."""
    page = tmp_path / "bad.html"
    page.write_text(
        '<img src="http://weam.example/x.png"><script>console.error("a mistake")</script>', encoding="utf-8"
    )
    visit = _visit(page, tmp_path)
    assert any("weam.example" in address for address in visit.requests)
    assert any("a mistake" in line for line in visit.console)


@pytest.mark.parametrize("kind", ["study", "scores"])
def test_pages_ask_nothing_and_complain_of_nothing(kind: str, tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", grid(seeds=(1, 2)))
    arguments = [str(folder)] if kind == "study" else [str(folder / "scores.jsonl"), "--out", str(folder)]
    assert main(arguments) == 0
    visit = _visit(folder / "report.html", tmp_path)
    assert visit.requests == []
    assert visit.console == []
    assert visit.dom.count("<svg") >= 4
    assert "</footer>" in visit.dom
