"""Gold alignments as they are published, under names with and without a split: found, and recorded as what they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from weam_fairseq.evaluation.cli import main
from weam_fairseq.evaluation.scores import read_scores

TASKS = ("word-alignment", "word-similarity")


@pytest.fixture
def gold(data_dir: Path, tmp_path: Path) -> Path:
    """`en-fr` and `ro-en` whole, and `de-en.dev`."""
    folder = tmp_path / "gold"
    folder.mkdir()
    for name in ("en-fr", "ro-en", "de-en.dev"):
        for suffix in ("src-tgt", "gold"):
            shutil.copy(data_dir / f"heldout.en-de.{suffix}", folder / f"{name}.{suffix}")
    return folder


def _measured(task: str, model: Path, data: Path, *more: str) -> list[tuple[str, str]]:
    out = data / "scores.jsonl"
    out.unlink(missing_ok=True)
    assert main([task, "--model", str(model), "--data", str(data), "--out", str(out), *more]) == 0
    return [(score.language, score.split) for score in read_scores(out)]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("languages", ["all", "present"])
def test_every_name_is_found(task: str, languages: str, folder_path: Path, gold: Path) -> None:
    # Asked without a split, the sets that are published whole are there, and no split is made up for them.
    assert _measured(task, folder_path, gold, "--languages", languages) == [("en-fr", "-"), ("ro-en", "-")]
    found = _measured(task, folder_path, gold, "--languages", languages, "--split", "dev")
    assert found == [("de-en", "dev"), ("en-fr", "dev"), ("ro-en", "dev")]


def test_a_set_without_its_links_is_not_passed_over(
    folder_path: Path, gold: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (gold / "ro-en.gold").unlink()
    assert main(["word-alignment", "--model", str(folder_path), "--data", str(gold), "--languages", "all"]) == 2
    assert "no data (split 'heldout') for ro-en. Give fr" in capsys.readouterr().err
    assert _measured("word-alignment", folder_path, gold, "--languages", "present") == [("en-fr", "-")]
    assert "note: word-alignment: no data (split 'heldout') for ro-en." in capsys.readouterr().err


def test_a_split_that_was_given_is_a_label_too(folder_path: Path, gold: Path) -> None:
    found = _measured("word-alignment", folder_path, gold, "--languages", "fr", "--split", "gold")
    assert found == [("en-fr", "gold")]


def test_a_split_in_the_name_is_recorded(folder_path: Path, data_dir: Path) -> None:
    assert _measured("word-alignment", folder_path, data_dir, "--languages", "all") == [("en-de", "heldout")]


def test_predictions_of_a_whole_set_have_no_split_in_their_name(folder_path: Path, gold: Path, tmp_path: Path) -> None:
    more = ("--languages", "fr", "--predictions", str(tmp_path / "p"))
    _measured("word-alignment", folder_path, gold, *more)
    names = sorted(path.name for path in (tmp_path / "p" / folder_path.name).iterdir())
    assert names == ["word-alignment.en-fr.seed1.items.jsonl", "word-alignment.en-fr.seed1.txt"]


@pytest.mark.parametrize("task", [*TASKS, "word-retrieval"])
def test_gold_that_counts_from_1_is_shifted_when_asked(
    task: str, folder_path: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _measured(task, folder_path, data_dir, "--languages", "de") != []
    (expected, *_) = read_scores(data_dir / "scores.jsonl")
    gold = data_dir / "heldout.en-de.gold"
    links = [[tuple(map(int, link.split("-"))) for link in line.split()] for line in gold.read_text().splitlines()]
    gold.write_text("".join(" ".join(f"{i + 1}-{j + 1}" for i, j in line) + "\n" for line in links))
    words = [task, "--model", str(folder_path), "--data", str(data_dir), "--languages", "de"]
    assert main(words) == 2
    assert "heldout.en-de.gold counts words from 1: no link in it has a 0, and line" in capsys.readouterr().err
    _measured(task, folder_path, data_dir, "--languages", "de", "--gold-from", "1")
    (shifted, *_) = read_scores(data_dir / "scores.jsonl")
    assert shifted.value == expected.value
    assert "|gold-from:1|" in shifted.signature
    assert main(["masked-pieces", *words[1:], "--gold-from", "1"]) == 2
    assert "--gold-from has no effect, because masked-pieces reads no gold links" in capsys.readouterr().err


def test_a_missing_language_is_said_with_those_that_are_there(
    folder_path: Path, gold: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["word-alignment", "--model", str(folder_path), "--data", str(gold), "--languages", "ja", "--split", "dev"]
    assert main(words) == 2
    assert "It has data for de-en, fr, ro-en (split 'dev'" in capsys.readouterr().err
