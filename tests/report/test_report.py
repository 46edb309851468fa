"""weam-report: one page that needs no network, whatever text is in the run."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from weam_fairseq.report.drawing import draw_links
from weam_fairseq.report.report import main

Change = Callable[[Path, Callable[[Any], None]], None]
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


def _check(run_dir: Path) -> tuple[str, Checker]:
    page = (run_dir / "report.html").read_text(encoding="utf-8")
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    return page, checker


def _fails(capsys: pytest.CaptureFixture[str], run_dir: Path, message: str) -> None:
    assert main([str(run_dir)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("weam-report: error: ")
    assert error.count("\n") == 1
    assert message in error
    assert not (run_dir / "report.html").exists()


def test_the_report_and_what_is_printed(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(run_dir)]) == 0
    printed = capsys.readouterr().out
    assert "weam − tlm" in printed
    assert "One seed: a direction, not a result." in printed
    page, checker = _check(run_dir)
    assert page.count("<svg") == 5 + 2  # two losses, training and validation; the base; two examples
    assert len(checker.ids) == len(set(checker.ids))
    assert "One seed: a direction, not a result." in page
    assert re.search(r"<tr class=\"model\"><th scope=\"row\">weam</th><td[^>]*><b>39.0</b>", page)
    markdown = (run_dir / "report.md").read_text(encoding="utf-8")
    assert "| weam | **39.0** | **36.0** |" in markdown
    assert "| en-zh | en: raining | 下雨 |" in markdown
    assert not list(run_dir.glob("*.part"))


def test_nothing_comes_from_the_network(run_dir: Path) -> None:
    main([str(run_dir)])
    page, checker = _check(run_dir)
    assert checker.addresses  # links inside the page
    assert all(address.startswith("#") for address in checker.addresses)
    assert {address[1:] for address in checker.addresses} <= set(checker.ids)
    assert not checker.tags & {"script", "link", "iframe", "img", "object", "embed"}
    assert not re.search(r"@import|url\((?!#)", page)
    assert "http" not in re.sub(r'xmlns(:xlink)?="http://www\.w3\.org/[^"]*"|http-equiv', "", page)


def test_text_of_the_run_is_never_markup(run_dir: Path, change_json: Change) -> None:
    evil = "<script>alert('x')</script>&\"|"

    def poison(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: poison(each) for name, each in value.items()}
        if isinstance(value, list):
            return [poison(each) for each in value]
        return value + evil if isinstance(value, str) and value not in ("source", "target") else value

    change_json(run_dir / "examples.json", lambda value: value.update(poison(value)))
    change_json(run_dir / "settings.json", lambda value: value.update(poison(value) | {"models": value["models"]}))
    change_json(run_dir / "data-bin" / "manifest.json", lambda value: value["aligner"].update(poison(value["aligner"])))
    assert main([str(run_dir)]) == 0
    page, checker = _check(run_dir)
    assert "script" not in checker.tags
    assert "<script" not in page
    assert "alert(&#x27;x&#x27;)" in page
    assert "<script" not in (run_dir / "report.md").read_text(encoding="utf-8").replace("\\<script", "")


def test_two_reports_of_one_run_are_the_same_bytes(run_dir: Path) -> None:
    main([str(run_dir)])
    first = (run_dir / "report.html").read_bytes()
    main([str(run_dir)])
    assert (run_dir / "report.html").read_bytes() == first


def test_missing_parts_are_named_on_the_page(run_dir: Path) -> None:
    (run_dir / "examples.json").unlink()
    shutil.rmtree(run_dir / "data-bin")
    (run_dir / "models" / "tlm" / "train.log").unlink()
    assert main([str(run_dir)]) == 0
    page, _ = _check(run_dir)
    assert "examples.json is not there" in page
    assert "data-bin/manifest.json is not there" in page
    assert "No train.log is there for: tlm." in page


def test_a_run_with_scores_alone(run_dir: Path, change_json: Change) -> None:
    for part in ("models", "data-bin"):
        shutil.rmtree(run_dir / part)
    (run_dir / "examples.json").unlink()
    change_json(run_dir / "settings.json", dict.clear)
    assert main([str(run_dir)]) == 0
    page, _ = _check(run_dir)
    assert f"<h1>{run_dir.name}</h1>" in page
    assert "settings.json names none" in page


def test_a_loss_that_was_not_logged_or_not_finite(run_dir: Path) -> None:
    log = run_dir / "models" / "mlm" / "train.log"
    text = log.read_text(encoding="utf-8")
    text = re.sub(r'"(valid_)?en-de:cp_loss": "[^"]*"', r'"\1en-de:cp_loss": "nan"', text)
    log.write_text(re.sub(r'"(valid_)?en-zh:cp_loss": "[^"]*", ', "", text), encoding="utf-8")
    assert main([str(run_dir)]) == 0
    _check(run_dir)


@pytest.mark.parametrize("name", ["settings.json", "scores.jsonl"])
def test_missing_files_are_errors(run_dir: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (run_dir / name).unlink()
    _fails(capsys, run_dir, f"{name} is not there")


def test_missing_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _fails(capsys, tmp_path / "none", "none is not there")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("settings.json", "{", "settings.json must be JSON, but is not"),
        ("settings.json", "[]", "settings.json must be an object, but is a list"),
        ("settings.json", '{"models": "weam"}', "`models` must be a list of names"),
        ("scores.jsonl", "", "scores.jsonl is empty"),
        ("scores.jsonl", "{}\n", "scores.jsonl:1: the line is no score"),
        ("data-bin/manifest.json", "{}", "manifest.json has no `pairs`"),
        ("examples.json", '{"examples": [{"pair": "en-de"}]}', "examples.json: example 1 is not whole"),
    ],
)
def test_broken_files(run_dir: Path, name: str, content: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    (run_dir / name).write_text(content)
    _fails(capsys, run_dir, message)


def test_a_link_outside_its_sentence(run_dir: Path, change_json: Change, capsys: pytest.CaptureFixture[str]) -> None:
    change_json(run_dir / "examples.json", lambda value: value["examples"][1]["word_links"].append([0, 4]))
    _fails(capsys, run_dir, "examples.json: example 2 is not whole")


def test_links_are_drawn_between_their_words() -> None:
    #           ab   c        lines: ab-z, c-y; x has none
    svg = draw_links(["ab", "c"], ["x", "y", "z"], [[0, 2], [1, 1]], "a label with <")
    place = {word: float(x) for x, word in re.findall(r'x="([\d.]+)" y="\d+">([a-z]+)<', svg)}
    starts = re.findall(r'd="M([\d.]+) \d+C[^"]* ([\d.]+) \d+"', svg)
    assert [(float(a), float(b)) for a, b in starts] == [(place["ab"], place["z"]), (place["c"], place["y"])]
    assert re.findall(r'class="unlinked"[^>]*>(\w+)<', svg) == ["x"]
    assert 'aria-label="a label with &lt;"' in svg


def test_many_pairs_wrap_into_rows(run_dir: Path, change_json: Change) -> None:
    names = [f"en-{chr(97 + number)}x" for number in range(7)]

    def widen(manifest: Any) -> None:
        manifest["pairs"] = dict.fromkeys(names, manifest["pairs"]["en-de"])

    change_json(run_dir / "data-bin" / "manifest.json", widen)
    for log in run_dir.glob("models/*/train.log"):
        text = log.read_text(encoding="utf-8")
        log.write_text(text.replace("en-de:", f"{names[0]}:").replace("en-es:", f"{names[6]}:"), encoding="utf-8")
    assert main([str(run_dir)]) == 0
    _check(run_dir)


def test_help_is_light() -> None:
    code = (
        "import sys\n"
        "from weam_fairseq.report.report import main\n"
        "try:\n"
        "    main(['--help'])\n"
        "finally:\n"
        "    assert not {'torch', 'transformers', 'fairseq', 'matplotlib'} & set(sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "example:" in result.stdout


def test_without_matplotlib_the_error_says_what_to_install(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    _fails(capsys, run_dir, "pip install 'weam-fairseq[report]'")
