"""Opening a tokenizer or a model of a folder; the ids of special pieces and of fairseq's first four symbols."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from transformers import BertTokenizerFast

from weam_fairseq.common import tokenizers
from weam_fairseq.common.errors import InputError, reason_of
from weam_fairseq.common.tokenizers import first_ids, id_range, open_tokenizer
from weam_fairseq.common.weights import load_model

NAMES = ("cls", "pad", "sep", "unk", "mask")


def test_first_ids_are_the_special_pieces() -> None:
    assert first_ids({"cls": 2, "pad": 0, "sep": 3, "unk": 1, "mask": 4}, range(9)) == [2, 0, 3, 1]


def test_an_ordinary_piece_replaces_a_missing_or_shared_one() -> None:
    assert first_ids({"cls": 0, "pad": 2, "sep": 1, "mask": 3}, range(9)) == [0, 2, 1, 4]
    assert first_ids({"cls": 8, "pad": 0, "sep": 8, "mask": 1}, range(9)) == [8, 0, 2, 3]


@given(st.dictionaries(st.sampled_from(NAMES), st.integers(0, 19)))
def test_first_ids_are_four_different_ones(special: dict[str, int]) -> None:
    found = first_ids(special, range(20))
    assert len(set(found)) == 4
    assert found[1] == special.get("pad", found[1]) or special["pad"] in found[:1]


def test_ids_without_a_piece_count_unless_they_are_most() -> None:
    assert id_range({"a": 0, "b": 3}, "folder") == range(4)
    with pytest.raises(InputError, match=r"folder .* it has 2 pieces and ids up to 999,999,999"):
        id_range({"a": 0, "b": 999_999_999}, "folder")
    with pytest.raises(InputError, match="its vocabulary is empty"):
        id_range({}, "folder")


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A folder with a small BERT tokenizer, whose settings name code of the folder too, as published ones do."""
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"]
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    _set(folder, auto_map={"AutoTokenizer": ["mine.Mine", "mine.Mine"]})
    (folder / "mine.py").write_text("from pathlib import Path\nPath('ran').touch()\nclass Mine: pass\n")
    return folder


def _set(folder: Path, **settings: Any) -> None:
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))


def _damage(folder: Path) -> None:
    file = folder / "tokenizer.json"
    file.write_text(file.read_text()[:300])


def _only_sentencepiece(folder: Path) -> None:
    """An ALBERT folder has such a model, here beside another vocabulary."""
    (folder / "tokenizer.json").unlink()
    (folder / "spiece.model").write_bytes(b"no model")
    _set(folder, tokenizer_class="AlbertTokenizer")


def test_a_class_of_transformers_is_used_although_the_folder_offers_its_own(trained: Path) -> None:
    assert open_tokenizer(trained)("a b")["input_ids"] == [2, 5, 6, 3]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_damage, r"tokenizer\.json must be a tokenizer\.json that tokenizers \S+ can read, but is not: .*damaged"),
        (lambda folder: _set(folder, tokenizer_class="Mine"), "needs code from its folder, which is never run here"),
        (_only_sentencepiece, r"has only spiece\.model, which transformers reads with protobuf\."),
        (lambda folder: [(folder / name).unlink() for name in ("tokenizer.json", "vocab.txt")], "but has none of"),
    ],
)
def test_a_tokenizer_that_does_not_open_gets_its_own_sentence(
    spoil: Callable[[Path], object], sentence: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tokenizers, "find_spec", lambda name: None)  # no protobuf
    spoil(trained)
    with pytest.raises(InputError, match=sentence):
        open_tokenizer(trained)
    assert not (tmp_path / "ran").exists()


def test_a_model_with_code_of_its_own_is_refused(tmp_path: Path) -> None:
    config = {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "mine.py").write_text("raise SystemExit('ran')\n")
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="needs code from its folder, which is never run here"):
        load_model(tmp_path, "AutoModel", "as an encoder")


def test_a_reason_has_whole_sentences() -> None:
    assert reason_of(ValueError("One is short. " + "Two is long " * 40)) == "One is short"
    assert reason_of(ValueError("word " * 100)) == ("word " * 100)[:299] + "…"
    assert reason_of(KeyError("name")) == "KeyError 'name'"
