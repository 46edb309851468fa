"""A published folder through weam-from-hf, weam-preprocess, weam-train and weam-to-hf, each as a user runs it."""

from collections.abc import Callable
from pathlib import Path

import published_folders as folders
import pytest
import torch
from transformers import AutoTokenizer
from warm_process import run

from weam_fairseq.convert import to_hf
from weam_fairseq.data.databin import read_manifest
from weam_fairseq.encoder.tokenizer import read_tokenizer
from weam_fairseq.encoder.weights import read_weights
from weam_fairseq.plugin import checkpoints

TRAINING = ("--optimizer", "adam_bert", "--lr", "1e-2", "--max-update", 2, "--batch-size", 8, "--disable-validation")


def data_bin(tokenizer: Path, folder: Path) -> Path:
    """Twenty pairs over the letters that the small vocabularies know; the "German" is the English backwards."""
    text = folder / "en-de.tsv"
    words = [[("abcdefgh"[(i * j + k) % 8]) for k in range(4)] for i in range(5) for j in range(4)]
    lines = {" ".join(w) + f"\t{' '.join(reversed(w))}\n" for w in words}
    text.write_text("".join(sorted(lines)), encoding="utf-8")
    made = run("weam-preprocess", "--pair", f"en-de={text}", "--tokenizer", tokenizer, "--destdir", folder / "bin")
    assert made.returncode == 0, made.stderr
    return folder / "bin"


@pytest.mark.parametrize("make", [folders.mbert, folders.minilm], ids=lambda make: make.__name__)
def test_a_published_encoder_is_trained_and_given_back(make: Callable[[Path], Path], tmp_path: Path) -> None:
    there = make(tmp_path / "there")
    assert run("weam-from-hf", there, tmp_path / "published.pt").returncode == 0
    binarized = data_bin(there, tmp_path)
    carried, manifest = to_hf.read(tmp_path / "published.pt"), read_manifest(binarized)["tokenizer"]
    facts = read_tokenizer(there)
    assert (manifest["pieces_sha256"], manifest["behaviour_sha256"]) == (facts.pieces_sha256, facts.behaviour_sha256)
    assert manifest["special_ids"] == carried.special_ids

    started = ("--finetune-from-model", tmp_path / "published.pt", "--save-dir", tmp_path / "run")
    trained = run("weam-train", binarized, *TRAINING, *started)
    assert trained.returncode == 0, trained.stderr
    assert run("weam-to-hf", tmp_path / "run" / "checkpoint_last.pt", tmp_path / "back").returncode == 0

    before, after = read_weights(there).tensors, read_weights(tmp_path / "back").tensors
    if make is folders.minilm:  # beside the fitted head the base model's names have their prefix
        assert "fitted head" in trained.stderr + trained.stdout
        before = {f"bert.{name}": value for name, value in before.items()}
        after = {name: value for name, value in after.items() if name.startswith("bert.")}
    assert sorted(before) == sorted(after)
    frozen = [name for name in before if "pooler" in name or "seq_relationship" in name]
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    queries = [name for name in before if "query.weight" in name]
    assert queries
    assert all(not torch.equal(before[name], after[name]) for name in queries)
    assert (tmp_path / "back" / "config.json").read_bytes() == (there / "config.json").read_bytes()
    assert (
        AutoTokenizer.from_pretrained(tmp_path / "back")("a b").input_ids
        == AutoTokenizer.from_pretrained(there)("a b").input_ids
    )
    about = checkpoints.load(tmp_path / "run" / "checkpoint_last.pt")["task_state"]["weam"]
    assert about["method"]["objective"] == "weam"
    assert about["pairs"] == ["en-de"]


def test_a_data_bin_of_another_tokenizer_is_refused(tmp_path: Path) -> None:
    """The same pieces, but one tokenizer lower-cases: only their output differs."""
    there = folders.mbert(tmp_path / "there")
    assert run("weam-from-hf", there, tmp_path / "published.pt").returncode == 0
    folders.write_wordpiece(there, lower=True)
    started = ("--finetune-from-model", tmp_path / "published.pt", "--save-dir", tmp_path / "run")
    refused = run("weam-train", data_bin(there, tmp_path), *TRAINING, *started)
    assert refused.returncode == 2
    last = refused.stderr.strip().splitlines()[-1]
    assert "must have the same tokenizer, but they split the same text differently" in last
