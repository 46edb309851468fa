"""--min-language-score through the whole command: also where a tokenizer is trained, and where a line is explained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import GERMAN, write_tsv
from weam_preprocess import cleaning, cli, tokenizer_folder

WRONG = ("The дом is small.", "Das Haus ist klein, sagt er.")
TRAIN = ["--train-tokenizer", "wordpiece", "--vocab-size", "200"]


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    tsv = write_tsv(tmp_path / "en-de.tsv", [*GERMAN, WRONG])
    return ["--pair", f"en-de={tsv}", "--min-language-score", "0.5", "--destdir", str(tmp_path / "bin")]


@pytest.fixture
def tokenizer(tmp_path: Path) -> list[str]:
    tokenizer_folder.train_wordpiece([side for pair in GERMAN for side in pair], 200, tmp_path / "tokenizer")
    return ["--tokenizer", str(tmp_path / "tokenizer")]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that are scored, by an identifier for which Cyrillic letters are no English."""
    found: list[str] = []

    def scorer(lang: str) -> Callable[[str], float]:
        return lambda text: found.append(text) or float(lang != "en" or "д" not in text)  # type: ignore[func-returns-value]

    monkeypatch.setattr(cleaning, "scorer", scorer)
    return found


def dropped(destdir: Path) -> dict[str, int]:
    manifest = json.loads((destdir / "manifest.json").read_text(encoding="utf-8"))
    assert "py3langid" in manifest["versions"]
    found: dict[str, int] = manifest["pairs"]["en-de"]["dropped"]
    return found


def test_with_a_tokenizer(words: list[str], tokenizer: list[str], asked: list[str], tmp_path: Path) -> None:
    assert cli.main([*words, *tokenizer]) == 0
    assert dropped(tmp_path / "bin") == {"wrong language": 1}


@pytest.mark.parametrize("kind", ["wordpiece", "bpe"])
def test_with_a_tokenizer_that_is_trained(kind: str, words: list[str], asked: list[str], tmp_path: Path) -> None:
    """It never sees what is dropped; to train it, languages are told once, however often the text is read."""
    assert cli.main([*words, "--train-tokenizer", kind, "--vocab-size", "90"]) == 0
    assert dropped(tmp_path / "bin") == {"wrong language": 1}
    assert "д" not in (tmp_path / "bin" / "tokenizer" / "tokenizer.json").read_text(encoding="utf-8")
    assert asked.count(WRONG[0]) == 2


def test_a_line_is_explained(words: list[str], asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*words, *TRAIN, "--explain", str(len(GERMAN) + 1)]) == 0
    assert "en-de line 9 was dropped: wrong language\n" in capsys.readouterr().out


def test_by_py3langid(words: list[str], tokenizer: list[str], tmp_path: Path) -> None:
    pytest.importorskip("py3langid")
    text = [("The cat sleeps in the garden.", "Die Katze schläft im Garten."), ("Die Katze schläft im Garten.",) * 2]
    write_tsv(tmp_path / "en-de.tsv", [*GERMAN, *text])
    assert cli.main([*words[:2], "--min-language-score", "0.05", *words[4:], *tokenizer]) == 0
    assert dropped(tmp_path / "bin") == {"wrong language": 1}


def test_a_language_that_is_not_known_is_said_first(
    tmp_path: Path, tokenizer: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("py3langid")
    tsv = write_tsv(tmp_path / "en-tlh.tsv", GERMAN)
    words = ["--pair", f"en-tlh={tsv}", "--min-language-score", "0.05", "--destdir", str(tmp_path / "bin")]
    assert cli.main([*words, *tokenizer]) == 2
    assert "py3langid does not know the language 'tlh'" in capsys.readouterr().err
    assert not (tmp_path / "bin.incomplete").exists()
