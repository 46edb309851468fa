"""weam-evaluate as a person calls it: figures with exit code 0, or one sentence with exit code 2."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.benchmarks import BENCHMARKS
from weam_fairseq.evaluation.cli import main
from weam_fairseq.evaluation.hf_folder import open_folder
from weam_fairseq.evaluation.scores import read_scores

# The tasks whose data are pairs under any name; the benchmarks have tests of their own.
PAIR_TASKS = ("sentence-retrieval", "word-retrieval", "masked-pieces")


def _call(task: str, folder: Path, data: Path, *more: str) -> int:
    return main([task, "--model", str(folder), "--data", str(data), "--languages", "de", *more])


@pytest.mark.parametrize("task", PAIR_TASKS)
def test_every_task_writes_its_scores_and_a_table(
    task: str, folder_path: Path, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "scores.jsonl"
    assert _call(task, folder_path, data_dir, "--name", "weam", "--out", str(out)) == 0
    first = read_scores(out)
    assert _call(task, folder_path, data_dir, "--name", "weam", "--out", str(out), "--batch-size", "2") == 0
    assert read_scores(out) == first  # replaced, not added, and the same whatever the batch
    assert {(score.model, score.checkpoint) for score in first} == {("weam", open_folder(folder_path).checkpoint)}
    assert all(0 <= score.value <= 100 and score.signature.startswith(task + "|") for score in first)
    assert task in capsys.readouterr().out


@pytest.mark.parametrize(("task", "metric"), [("sentence-retrieval", "accuracy@1"), ("word-retrieval", "precision@1")])
def test_the_mean_over_the_items_is_the_score(
    task: str, metric: str, folder_path: Path, data_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "scores.jsonl"
    assert _call(task, folder_path, data_dir, "--out", str(out), "--predictions", str(tmp_path / "predictions")) == 0
    (score,) = read_scores(out)
    lines = (tmp_path / str(score.detail["items"])).read_text(encoding="utf-8").splitlines()
    items = [json.loads(line) for line in lines]
    assert len(items) == score.n
    assert len({item["id"] for item in items}) == score.n
    assert all(item["cluster"].startswith("en-de:") for item in items)
    assert sum(item[metric] for item in items) / len(items) == pytest.approx(score.value)


def test_default_name_is_the_folder_and_no_file_is_written_unasked(
    folder_path: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(data_dir.iterdir())
    assert _call("sentence-retrieval", folder_path, data_dir) == 0
    assert folder_path.name in capsys.readouterr().out
    assert sorted(data_dir.iterdir()) == before


@pytest.mark.parametrize("task", PAIR_TASKS)
def test_bf16_is_in_the_signature_and_near(task: str, folder_path: Path, data_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.jsonl"
    assert _call(task, folder_path, data_dir, "--out", str(out)) == 0
    exact = read_scores(out)
    assert _call(task, folder_path, data_dir, "--out", str(out), "--precision", "bf16") == 0
    rounded = read_scores(out)
    assert not any("|precision:" in score.signature for score in exact)
    assert all("|precision:bf16|" in score.signature for score in rounded)
    assert [score.n for score in rounded] == [score.n for score in exact]


def _fails(capsys: pytest.CaptureFixture[str], message: str, code: int) -> None:
    error = capsys.readouterr().err
    assert code == 2
    assert error.startswith("weam-evaluate: error: ")
    assert error.count("\n") == 1
    assert message in error


def test_unknown_task(folder_path: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = _call("sentence-retreival", folder_path, data_dir)
    _fails(capsys, "Did you mean 'sentence-retrieval'?", code)


def test_missing_model_folder(data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = _call("masked-pieces", tmp_path / "none", data_dir)
    _fails(capsys, "none does not exist. Give --model a Hugging Face folder", code)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("config.json", "has no config.json"),
        ("model.safetensors", "has no model.safetensors or pytorch_model.bin"),
        ("tokenizer.json", "has no tokenizer"),
    ],
)
def test_incomplete_model_folder(
    name: str, message: str, folder_path: Path, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(folder_path, tmp_path / "copy")
    (copy / name).unlink()
    _fails(capsys, message, _call("masked-pieces", copy, data_dir))


def test_damaged_weights(folder_path: Path, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = shutil.copytree(folder_path, tmp_path / "copy")
    (copy / "model.safetensors").write_bytes((copy / "model.safetensors").read_bytes()[:1000])
    _fails(capsys, "does not load as a masked language model", _call("masked-pieces", copy, data_dir))


def test_a_head_made_up_at_random_gives_no_score(
    make_folder: Callable[..., Path], data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    headless = make_folder(head=False)
    _fails(capsys, "weights that this task uses, such as cls.", _call("masked-pieces", headless, data_dir))
    assert _call("sentence-retrieval", headless, data_dir) == 0  # which uses the encoder only


def test_missing_data(folder_path: Path, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = _call("masked-pieces", folder_path, tmp_path / "none")
    _fails(capsys, "the data folder", code)
    (data_dir / "heldout.en-de.gold").unlink()
    code = _call("word-retrieval", folder_path, data_dir)
    _fails(capsys, "needs heldout.en-de.gold for language 'de'", code)


def test_language_without_data(folder_path: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--model", str(folder_path), "--data", str(data_dir), "--languages", "de,fr"]
    code = main(["sentence-retrieval", *arguments])
    _fails(capsys, "needs heldout.en-fr.tsv for language 'fr'", code)
    code = main(["sentence-retrieval", *arguments])
    _fails(capsys, "It has data for de (split 'heldout', source language 'en')", code)


def test_line_without_a_tab(folder_path: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data_dir / "heldout.en-de.tsv").write_text("a\tb\nno tab\n")
    _fails(capsys, "heldout.en-de.tsv:2: ", _call("sentence-retrieval", folder_path, data_dir))


def test_gold_of_another_length(folder_path: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data_dir / "heldout.en-de.gold").write_text("0-0\n")
    _fails(capsys, "heldout.en-de.gold has 1: line k", _call("word-retrieval", folder_path, data_dir))


def test_gold_link_outside_its_sentence(folder_path: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (data_dir / "heldout.en-de.gold").read_text().splitlines()
    (data_dir / "heldout.en-de.gold").write_text("\n".join([lines[0], "99-0", *lines[2:]]) + "\n")
    _fails(capsys, "heldout.en-de.gold:2: link 99-0", _call("word-retrieval", folder_path, data_dir))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--languages", ","], "--languages must name at least one language"),
        (["--languages", "de,en"], "which is the source language"),
        (["--batch-size", "0"], "--batch-size: must be a whole number from 1"),
        (["--seed", "-1"], "--seeds must be numbers from 0 to"),
        (
            ["--epochs", "3", "--oracle"],
            "--oracle, --epochs have no effect, because masked-pieces measures the",
        ),
        (["--train-file", "x.tsv"], "--train-file has no effect"),
        (["--train-on", "translate-train"], "--train-on has no effect"),
        (["--answer-decoding", "official"], "--answer-decoding has no effect"),
    ],
)
def test_bad_options(
    arguments: list[str], message: str, folder_path: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _fails(capsys, message, _call("masked-pieces", folder_path, data_dir, *arguments))


def test_cut_sentences_are_said(
    make_folder: Callable[..., Path], data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _call("sentence-retrieval", make_folder(max_positions=6), data_dir) == 0
    assert "en-de: 16 sentences exceeded the model's length limit and were read in windows" in capsys.readouterr().err


def test_every_task_says_whom_to_cite_and_where_its_data_is_published() -> None:
    assert [task.name for task in BENCHMARKS if not task.published or not task.citation] == []


def test_help_needs_neither_torch_nor_transformers_nor_fairseq() -> None:
    code = (
        "import sys\n"
        "from weam_fairseq.evaluation.cli import main\n"
        "try:\n"
        "    main(['--help'])\n"
        "finally:\n"
        "    assert not {'torch', 'transformers', 'fairseq'} & set(sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "example:" in result.stdout


@pytest.mark.parametrize("shard", ["../model.safetensors", "/model.safetensors", "a/b.safetensors", 3, ""])
def test_shards_lie_in_the_folder(folder_path: Path, tmp_path: Path, shard: object) -> None:
    copy = Path(shutil.copytree(folder_path, tmp_path / "copy"))
    (copy / "model.safetensors").unlink()
    (copy / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": shard}}))
    with pytest.raises(InputError, match=r"index\.json must name files by plain names"):
        open_folder(copy)
