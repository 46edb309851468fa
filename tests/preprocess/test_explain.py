"""--explain says why a line was dropped in the words of the stage that dropped it, and never costs the data-bin."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import GERMAN, write_tsv
from weam_preprocess import cli, explain

DROPPED = {
    ("", "leer"): "empty side",
    ("A [SEP] B", "A B"): "special piece in the text",
    ("small " * 80, "klein " * 80): "over 128 pieces",
    ("secret", "geheim"): "in an excluded file",
    ("one two", "eins zwei"): "given words are not the sentence's",
}


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """The dropped pairs stand in lines 9 to 13; the given words of the last are not its own."""
    tsv = write_tsv(tmp_path / "en-de.tsv", [*GERMAN, *DROPPED])
    own = [(" ".join(a.split()) or "x", b) for a, b in [*GERMAN, *DROPPED]]
    given = [*own[:-1], ("one two", "eins drei")]
    (tmp_path / "words").write_text("".join(f"{a} ||| {b}\n" for a, b in given), encoding="utf-8")
    (tmp_path / "test").write_text("secret\n")
    return [
        *("--pair", f"en-de={tsv}", "--given-words", f"en-de={tmp_path / 'words'}"),
        *("--exclude", str(tmp_path / "test")),
        *("--train-tokenizer", "wordpiece", "--vocab-size", "100"),
        *("--aligner", "fast_align", "--destdir", str(tmp_path / "bin")),
    ]


@pytest.mark.parametrize(("line", "reason"), enumerate(DROPPED.values(), start=len(GERMAN) + 1))
def test_the_reason_is_that_of_the_stage(
    line: int, reason: str, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*words, "--explain", str(line)]) == 0
    assert f"en-de line {line} was dropped: {reason}\n" in capsys.readouterr().out
    rows = [row.split("\t") for row in (tmp_path / "bin" / "dropped.tsv").read_text(encoding="utf-8").splitlines()]
    assert [row[3] for row in rows if row[2] == str(line)] == [reason]
    assert not (tmp_path / "bin" / "work").exists()


def test_an_explanation_that_fails_leaves_the_data_bin(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> str:
        raise RuntimeError("a bug")

    monkeypatch.setattr(explain, "render", fails)
    with pytest.raises(RuntimeError, match="a bug"):
        cli.main([*words, "--explain", "1"])
    assert (tmp_path / "bin" / "manifest.json").is_file()
    assert not (tmp_path / "bin" / "work").exists()
    assert not (tmp_path / "bin.incomplete").exists()
