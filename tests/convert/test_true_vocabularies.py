"""weam-from-hf and weam-preprocess on the true vocabulary of mBERT, where it is at hand.

The vocabulary is not part of the repository: WEAM_TEST_DATA names a folder that holds vocab/mbert/vocab.txt. What is
tested here holds for the small vocabularies of the other tests too.
"""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForPreTraining
from warm_process import run

from weam_fairseq.common.weights import read_weights
from weam_fairseq.convert import from_hf, to_hf
from weam_fairseq.data.databin import read_manifest

ROOT = Path(__file__).resolve().parents[2]
VOCABULARY = Path(os.environ.get("WEAM_TEST_DATA", ROOT.parent / "shared" / "data"), "vocab", "mbert", "vocab.txt")

pytestmark = pytest.mark.skipif(not VOCABULARY.is_file(), reason=f"no {VOCABULARY}: set WEAM_TEST_DATA")


@pytest.fixture(scope="module")
def mbert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mbert") / "there"
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    BertForPreTraining(BertConfig(vocab_size=119_547, **shape)).save_pretrained(folder)
    shutil.copyfile(VOCABULARY, folder / "vocab.txt")
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def test_all_119547_rows_come_back(mbert: Path, tmp_path: Path) -> None:
    from_hf.convert(mbert, tmp_path / "mbert.pt")
    to_hf.convert(tmp_path / "mbert.pt", tmp_path / "back")
    before, after = read_weights(mbert).tensors, read_weights(tmp_path / "back").tensors
    assert sorted(before) == sorted(after)
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_both_commands_use_the_same_ids(mbert: Path, tmp_path: Path) -> None:
    """Different packages make the data-bin and the checkpoint from one folder, and a training accepts both."""
    text = tmp_path / "en-zh.tsv"
    text.write_text("".join(f"It is raining {i} days.\t下雨{i}天。\n" for i in range(40)), encoding="utf-8")
    from_hf.convert(mbert, tmp_path / "mbert.pt")

    made = run("weam-preprocess", "--pair", f"en-zh={text}", "--tokenizer", mbert, "--destdir", tmp_path / "bin")
    assert made.returncode == 0, made.stderr
    manifest = read_manifest(tmp_path / "bin")["tokenizer"]
    carried = to_hf.read(tmp_path / "mbert.pt")
    assert manifest["vocab_size"] == 119_547
    assert manifest["pieces_sha256"] == carried.pieces_sha256
    assert manifest["special_ids"] == carried.special_ids == {"cls": 101, "pad": 0, "sep": 102, "unk": 100, "mask": 103}
    words = ("--optimizer", "adam", "--lr", "1e-4", "--max-update", 2, "--batch-size", 4, "--disable-validation")
    more = ("--finetune-from-model", tmp_path / "mbert.pt", "--save-dir", tmp_path / "run")
    trained = run("weam-train", tmp_path / "bin", *words, *more)
    assert trained.returncode == 0, trained.stderr
    to_hf.convert(tmp_path / "run" / "checkpoint_last.pt", tmp_path / "trained")
    assert (tmp_path / "trained" / "vocab.txt").read_bytes() == VOCABULARY.read_bytes()
    pooler = "bert.pooler.dense.weight"
    assert torch.equal(read_weights(tmp_path / "trained").tensors[pooler], read_weights(mbert).tensors[pooler])
