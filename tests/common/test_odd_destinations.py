"""Every command refuses destinations that cannot be written, with exit code 2 and one sentence."""

import json
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from weam_preprocess import cli as preprocess

from weam_fairseq import show
from weam_fairseq.convert import from_hf, to_hf
from weam_fairseq.evaluation import cli as evaluate
from weam_fairseq.launch import cli as launch
from weam_fairseq.report import report
from weam_fairseq.study import cli as study

SCORE = {
    **{"task": "xnli", "language": "de", "split": "test", "metric": "accuracy", "value": 50.0, "n": 2, "model": "m"},
    **{"checkpoint": "0", "seed": 1, "signature": "xnli|x", "detail": {}},
}


def commands(folder: Path) -> dict[str, tuple[Callable[[list[str]], int], list[str], str]]:
    """Program -> main, arguments without the destination, and the option of the destination ("": the last one)."""
    (folder / "pairs.tsv").write_text("".join(f"a b {i}\tb a {i}\n" for i in range(30)))
    (folder / "scores.jsonl").write_text(json.dumps(SCORE) + "\n")
    (folder / "links").write_text("0-1 1-0\n" * 30)
    config = {"title": "T", "data": {"bitext": "{pair}.tsv"}}
    (folder / "study.yaml").write_text(yaml.safe_dump(config))
    preprocessing = f"--pair en-de={folder}/pairs.tsv --train-tokenizer wordpiece --vocab-size 40"
    preprocessing += f" --aligner precomputed --links en-de={folder}/links"
    return {
        "weam-preprocess": (preprocess.main, preprocessing.split(), "--destdir"),
        "weam-to-hf": (to_hf.main, [str(folder / "model.pt")], ""),
        "weam-from-hf": (from_hf.main, [str(folder / "model")], ""),
        "weam-show": (show.main, [str(folder / "m.pt"), str(folder / "bin"), "--pair", "en-de"], "--json"),
        "weam-evaluate": (evaluate.main, f"tatoeba --model {folder} --data {folder} --languages de".split(), "--out"),
        "weam-report": (report.main, [str(folder / "scores.jsonl")], "--out"),
        "weam-launch": (launch.main, ["--", "true"], "--run-dir"),
        "weam-study": (study.main, [str(folder / "study.yaml")], "--study-dir"),
    }


NAMES = sorted(["weam-preprocess", "weam-to-hf", "weam-from-hf", "weam-show", "weam-evaluate", "weam-report"])


@pytest.fixture
def odd(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x").write_text("x")
    (tmp_path / "dangling").symlink_to("nowhere/x")
    (tmp_path / "circle").symlink_to("circle")
    return {
        "inside a file": tmp_path / "file" / "x",
        "a link to nothing": tmp_path / "dangling",
        "a link to itself": tmp_path / "circle",
        "a name that is too long": tmp_path / ("x" * 300),
        "a path that is too long": tmp_path.joinpath(*["x" * 200] * 30),
        "a system folder": Path("/proc/weam/x"),
    }


@pytest.mark.parametrize("name", [*NAMES, "weam-launch", "weam-study"])
def test_one_sentence_for_each(
    name: str, odd: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main, words, option = commands(tmp_path)[name]
    before = sorted(path for path in tmp_path.rglob("*") if "launch" not in path.parts)
    for kind, path in odd.items():
        destination = [option, str(path)] if option else [str(path)]
        code = main([*destination, *words] if name == "weam-launch" else [*words, *destination])
        error = capsys.readouterr().err
        assert code == 2, kind
        assert error.splitlines()[-1].startswith(f"{name}: error: "), (kind, error)
        assert "Traceback" not in error, kind
        assert (tmp_path / "file").read_text() == "x"
        assert (tmp_path / "dangling").is_symlink()
    assert sorted(path for path in tmp_path.rglob("*") if "launch" not in path.parts) == before


@pytest.mark.parametrize("name", ["weam-preprocess", "weam-report", "weam-launch"])
def test_a_file_that_cannot_grow(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Simulates a full disk by a limit on file sizes, which needs no root rights."""
    main, words, option = commands(tmp_path)[name]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    try:
        code = main([option, str(tmp_path / "out"), *words])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    error = capsys.readouterr().err
    assert code == 2
    assert error.splitlines()[-1].startswith(f"{name}: error: ")
    assert "File too large" in error
    assert str(tmp_path / "out") in error
    assert not list(tmp_path.rglob("*.partial"))
