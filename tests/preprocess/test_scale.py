"""The same bytes for any number of workers, any size of chunk, and after a kill; --explain; several files of a pair."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Made
from small_runs import contents, options
from weam_preprocess import cli, pipeline
from weam_preprocess.corpus import parse_pair_files

pytest.importorskip("fairseq")


@pytest.mark.parametrize(("chunk", "workers"), [(7, 1), (64, 2)])
def test_chunks_and_workers_change_nothing(
    made: Callable[[str], Made], chunk: int, workers: int, tmp_path: Path
) -> None:
    run = made("fast_align")  # whose links have probabilities
    report = pipeline.run(options(run.tsv, tmp_path / "bin", aligner="fast_align", chunk=chunk, workers=workers))
    found = contents(tmp_path / "bin")
    assert sorted(found) == sorted(run.contents)
    assert [name for name in found if found[name] != run.contents[name]] == []
    account = report.pairs[0].account
    assert account.read == 302
    assert account.kept == report.pairs[0].train + report.pairs[0].valid
    assert account.dropped["duplicate pair"] == 20


def test_finished_parts_are_not_made_again(
    plain: tuple[Path, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = options(plain[0], tmp_path / "bin", chunk=50, resume=True)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "merge", killed)
        with pytest.raises(KeyboardInterrupt):
            pipeline.run(asked)
    monkeypatch.setattr(pipeline, "prepare", killed)
    monkeypatch.setattr("weam_preprocess.align._align_together", killed)
    monkeypatch.setattr("weam_preprocess.binarize.binarize", killed)
    pipeline.run(asked)
    assert contents(tmp_path / "bin") == plain[1]


def test_another_run_is_not_gone_on_with(
    plain: tuple[Path, dict[str, bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    words = ["--pair", f"en-de={plain[0]}", "--train-tokenizer", "wordpiece", "--destdir", str(tmp_path / "bin")]
    monkeypatch.setattr(pipeline, "merge", killed)
    assert cli.main([*words, "--vocab-size", "200"]) == 130
    assert cli.main([*words, "--vocab-size", "201", "--resume"]) == 2
    error = capsys.readouterr().err
    assert "but these differ: options (vocab_size). Run without --resume to start again." in error
    assert (tmp_path / "bin.incomplete").exists()


def test_several_files_of_a_pair_are_one_text(plain: tuple[Path, dict[str, bytes]], tmp_path: Path) -> None:
    lines = plain[0].read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "a.tsv").write_text("".join(lines[:100]), encoding="utf-8")
    sides = [line.rstrip("\n").split("\t") for line in lines[100:]]
    for at, language in enumerate(("en", "de")):
        (tmp_path / f"b.{language}").write_text("".join(side[at] + "\n" for side in sides), encoding="utf-8")
    files = parse_pair_files([f"en-de={tmp_path / 'a.tsv'}", f"en-de={tmp_path / 'b.en'},{tmp_path / 'b.de'}"])
    asked = options(plain[0], tmp_path / "bin")
    pipeline.run(pipeline.Options(**(vars(asked) | {"pairs": tuple(files)})))
    found = contents(tmp_path / "bin")
    assert [name for name in plain[1] if found[name] != plain[1][name] and name != "dropped.tsv"] == []


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (1, ["en-de line 1\n", "pieces  0:The", "1-1 house–Haus"]),
        (281, ["en-de line 281 was dropped: duplicate pair"]),
        (301, ["en-de line 301 was dropped: empty side"]),
        (302, ["en-de line 302 was dropped: special piece in the text"]),
        (303, ["en-de has no line 303"]),
    ],
)
def test_a_pair_is_explained(line: int, shown: list[str], plain: tuple[Path, dict[str, bytes]], tmp_path: Path) -> None:
    explained = pipeline.run(options(plain[0], tmp_path / "bin", explain=line, chunk=90)).explained
    assert len(explained) == 1
    for part in shown:
        assert part in explained[0], explained[0]
