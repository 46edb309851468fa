"""Commands accept a name on the Hugging Face Hub instead of a published folder."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import published_folders as folders
import pytest
import yaml
from hub_server import COMMIT, Hub, hub

import preprocess.cli
from weam_fairseq.convert import from_hf, to_hf
from weam_fairseq.encoder import published
from weam_fairseq.evaluation import cli as evaluation
from weam_fairseq.plugin import checkpoints

NAME = "owner/mbert"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Hub]:
    there = folders.mbert(tmp_path / "there")
    (there / "README.md").write_text("---\nlicense: mit\n---\n")
    (there / "modeling_x.py").write_text("raise SystemExit")
    with hub({NAME: there}, tmp_path / "cache") as found:
        yield found


def text_of(tmp_path: Path) -> Path:
    letters = "abcdefgh"
    pairs = [(" ".join(letters[i : i + 4]), " ".join(letters[i + 1 : i + 5])) for i in range(4)] * 3
    file = tmp_path / "heldout.en-de.tsv"
    file.write_text("".join(f"{source} {i}\t{target} {i}\n" for i, (source, target) in enumerate(pairs)))
    return file


@pytest.mark.parametrize("revision", [None, "main", COMMIT])
def test_the_checkpoint_and_the_model_card_have_the_name_and_the_commit(
    served: Hub, revision: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del served
    words = [NAME, str(tmp_path / "x.pt"), *(() if revision is None else ("--revision", revision))]
    assert from_hf.main(words) == 0
    output = capsys.readouterr().out
    assert (f"--tokenizer {NAME} " in output) == (revision is None)
    found = published.unpack(checkpoints.load(tmp_path / "x.pt")["model"]["published"])
    assert found is not None
    assert (found.about["folder"], found.about["revision"]) == (NAME, COMMIT)
    to_hf.convert(tmp_path / "x.pt", tmp_path / "hf")
    _, header, text = (tmp_path / "hf" / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(header)["base_model"] == NAME
    assert yaml.safe_load(header)["license"] == "mit"
    assert f"Started from `{NAME}` (commit `{COMMIT}`)" in text


def test_a_data_bin_and_its_links_are_made_with_a_name(served: Hub, tmp_path: Path) -> None:
    del served
    words: list[Any] = ["--pair", f"en-de={text_of(tmp_path)}", "--tokenizer", NAME, "--destdir", tmp_path / "bin"]
    words += ["--aligner", "encoder", "--aligner-model", NAME, "--encoder-layer", "1", "--encoder-device", "cpu"]
    assert preprocess.cli.main([str(word) for word in words]) == 0
    manifest = json.loads((tmp_path / "bin" / "manifest.json").read_text())
    assert manifest["options"]["tokenizer"] == f"{NAME}@{COMMIT}"
    assert manifest["options"]["aligner_models"] == {"en-de": f"{NAME}@{COMMIT}"}


def test_scores_of_a_name_have_the_name(served: Hub, tmp_path: Path) -> None:
    del served
    text_of(tmp_path)
    words = ["sentence-retrieval", "--model", NAME, "--data", str(tmp_path), "--languages", "de"]
    assert evaluation.main([*words, "--out", str(tmp_path / "scores.jsonl")]) == 0
    scores = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    assert {score["model"] for score in scores} == {NAME}
