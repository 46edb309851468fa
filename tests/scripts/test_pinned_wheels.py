"""A wheel is the pinned one or an error, and is fetched once."""

import hashlib
import subprocess
from pathlib import Path

import pinned_wheels
import pytest

from weam_fairseq.common.errors import InputError


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Takes pip's place; the commands that it was given."""
    commands = []

    def download(command: list[str], check: bool) -> None:
        commands.append(command)
        Path(command[command.index("--dest") + 1], "some_package-1.0-py3-none-any.whl").write_bytes(b"content")

    monkeypatch.setattr(subprocess, "run", download)
    return commands


def wheel(content: bytes) -> pinned_wheels.Wheel:
    return pinned_wheels.Wheel("some-package==1.0", hashlib.sha256(content).hexdigest(), "MIT")


def test_the_pinned_file_is_fetched_once(tmp_path: Path, downloads: list[list[str]]) -> None:
    path = pinned_wheels.fetch(wheel(b"content"), tmp_path / "wheels")
    assert path.read_bytes() == b"content"
    assert pinned_wheels.fetch(wheel(b"content"), tmp_path / "wheels") == path
    assert len(downloads) == 1
    assert downloads[0][-1] == "some-package==1.0"


def test_a_file_that_is_not_the_pinned_one_is_refused(tmp_path: Path, downloads: list[list[str]]) -> None:
    with pytest.raises(InputError, match=r"must have SHA-256 .* it is not the pinned file"):
        pinned_wheels.fetch(wheel(b"other"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_that_was_cut_short_is_fetched_again(tmp_path: Path, downloads: list[list[str]]) -> None:
    cut = tmp_path / "some_package-1.0-py3-none-any.whl"
    cut.write_bytes(b"cont")
    assert pinned_wheels.fetch(wheel(b"content"), tmp_path) == cut
    assert cut.read_bytes() == b"content"


def test_pip_that_fails_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(command: list[str], check: bool) -> None:
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(InputError, match=r"pip could not download some-package==1\.0\. Check the connection"):
        pinned_wheels.fetch(wheel(b"content"), tmp_path)
