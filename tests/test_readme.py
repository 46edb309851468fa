"""README and CONTRIBUTING name what is there."""

import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def help_of(command: str) -> str:
    program = Path(sys.executable).with_name(command)
    return subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout


def test_every_option_of_training_that_readme_names_exists() -> None:
    known = help_of("weam-train")
    section = README.split("## Options of the method")[1].split("## More")[0]
    options = set(re.findall(r"`(--[a-z-]+)`", section))
    assert len(options) > 10
    assert [option for option in sorted(options) if option not in known] == []


@pytest.mark.parametrize("command", ["weam-preprocess", "weam-train", "weam-evaluate"])
def test_every_option_of_the_example_commands_exists(command: str) -> None:
    known = help_of(command)
    block = next(block for block in README.split("```")[1::2] if "weam-train data-bin" in block)
    lines = [line for line in block.splitlines() if line.startswith(command)]
    options = {option for line in lines for option in re.findall(r"(--[a-z-]+)", line)}
    assert options
    assert [option for option in sorted(options) if option not in known] == []


def test_readme_is_short_and_fits_a_screen() -> None:
    lines = README.splitlines()
    assert len(lines) <= 130
    assert [line for line in lines if len(line) > 120] == []


def test_every_file_that_readme_names_exists() -> None:
    named = set(re.findall(r"`((?:weam_fairseq|preprocess|scripts|tests)/[\w/.]+)`", README))
    named |= set(re.findall(r"\]\(([\w/.]+)\)", README))
    assert len(named) > 10
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_every_target_that_the_documents_name_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for document in ("README.md", "CONTRIBUTING.md", ".ci/run"):
        lines = (ROOT / document).read_text(encoding="utf-8").splitlines()
        # Commands: at the start of a line, or between backticks.
        found = {t for line in lines for t in re.findall(r"(?:^|`)make ([a-z-]+)", line)}
        assert found, document
        assert [target for target in sorted(found) if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


RELATIVE_LINK = re.compile(r"\]\((?!https?://|#)")


@pytest.mark.parametrize("repository", ["", "https://example.org/weam"])
def test_the_description_of_the_package_has_no_relative_link(repository: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index of packages shows README elsewhere, where such a link leads nowhere."""
    monkeypatch.setattr("setuptools.setup", lambda **_: None)
    monkeypatch.chdir(ROOT)
    describe = runpy.run_path("setup.py")["describe"]
    describe.__globals__["REPOSITORY"] = repository
    text = describe()
    assert RELATIVE_LINK.search(README)
    assert not RELATIVE_LINK.search(text)
    assert "](https://arxiv.org/abs/2106.01732)" in text
    assert ("[studies](https://example.org/weam/blob/main/docs/study.md)" in text) == bool(repository)


def test_every_extra_that_the_documents_name_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, Any] = {}
    monkeypatch.setattr("setuptools.setup", lambda **arguments: found.update(arguments))
    monkeypatch.chdir(ROOT)
    runpy.run_path("setup.py")
    table = (ROOT / "docs" / "install.md").read_text(encoding="utf-8").split("| extra | for |")[1].split("\n\n")[0]
    named = {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w[\w-]*)`", row.split("|")[1])}
    assert named == set(found["extras_require"])
