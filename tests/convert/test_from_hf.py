"""Hugging Face -> fairseq -> Hugging Face: every tensor, file and logit comes out as it went in."""

import json
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import published_folders as folders
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from weam_fairseq.convert.compare import TOLERANCE, largest_difference, load

from weam_fairseq import checkpoints
from weam_fairseq.common.errors import InputError
from weam_fairseq.convert import from_hf, keys, published, to_hf
from weam_fairseq.convert.published import Published, Slot
from weam_fairseq.convert.tokenizer import read_tokenizer
from weam_fairseq.convert.weights import read_weights


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return sorted(one) == sorted(other) and all(
        one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in one
    )


@pytest.mark.parametrize("family", folders.WITH_HEAD)
def test_every_tensor_and_file_comes_back_as_it_went_in(family: str, tmp_path: Path) -> None:
    there = folders.WITH_HEAD[family](tmp_path / "there")
    from_hf.convert(there, tmp_path / "published.pt")
    done = to_hf.convert(tmp_path / "published.pt", tmp_path / "back")
    assert done.notes == []
    assert same(read_weights(there).tensors, read_weights(tmp_path / "back").tensors)
    for name in from_hf.CARRIED_FILES:
        if (there / name).is_file():
            assert (tmp_path / "back" / name).read_bytes() == (there / name).read_bytes(), name


@pytest.mark.parametrize("family", folders.WITH_HEAD)
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_logits_are_those_of_transformers(family: str, attention: str, tmp_path: Path) -> None:
    there = folders.WITH_HEAD[family](tmp_path / "there")
    from_hf.convert(there, tmp_path / "published.pt")
    carried = to_hf.read(tmp_path / "published.pt")
    model = load(there, attention=attention).model
    assert model.config._attn_implementation == attention
    assert largest_difference(carried.encoder, carried.order, model) <= TOLERANCE


def test_logits_of_xlmr_on_the_longest_sequence_with_padding(tmp_path: Path) -> None:
    """40 of 42 position rows are for pieces: the last one must be reached, and none beyond it."""
    there = folders.xlmr(tmp_path / "there")
    from_hf.convert(there, tmp_path / "published.pt")
    carried = to_hf.read(tmp_path / "published.pt")
    longest = carried.encoder.config.longest
    assert longest == 40
    tokens = torch.full((2, longest), carried.encoder.config.pad)
    tokens[0] = torch.arange(longest) % 3 + 4
    tokens[1, :7] = 5
    positions, segments = torch.arange(longest).expand_as(tokens), torch.zeros_like(tokens)
    real = tokens != carried.encoder.config.pad
    with torch.no_grad():
        ours = carried.encoder.logits(carried.encoder(tokens, segments, positions)[real])
        theirs = load(there).model(input_ids=carried.order[tokens], attention_mask=real.long()).logits
    assert (ours - theirs[real][:, carried.order]).abs().max() <= 1e-5 * ours.abs().max()


def test_a_trained_checkpoint_keeps_the_pooler_the_config_and_the_tokenizer(tmp_path: Path) -> None:
    there = folders.mbert(tmp_path / "there")
    from_hf.convert(there, tmp_path / "published.pt")
    state = checkpoints.load(tmp_path / "published.pt")
    for name, value in state["model"].items():
        if name.startswith("encoder."):
            value += 0.25
    torch.save(state, tmp_path / "trained.pt")
    to_hf.convert(tmp_path / "trained.pt", tmp_path / "back")
    before, after = read_weights(there).tensors, read_weights(tmp_path / "back").tensors
    assert sorted(before) == sorted(after)
    for name in before:
        frozen = "pooler" in name or "seq_relationship" in name
        assert torch.equal(after[name], before[name] if frozen else before[name] + 0.25), name
    for name in ("config.json", "vocab.txt", "tokenizer_config.json"):
        assert (tmp_path / "back" / name).read_bytes() == (there / name).read_bytes()


def test_trained_weights_of_a_half_precision_folder_are_written_in_full(tmp_path: Path) -> None:
    from_hf.convert(folders.half(tmp_path / "there"), tmp_path / "published.pt")
    state = checkpoints.load(tmp_path / "published.pt")
    state["model"]["encoder.head.bias"] += 1e-6
    torch.save(state, tmp_path / "trained.pt")
    done = to_hf.convert(tmp_path / "trained.pt", tmp_path / "back")
    assert "float32 was written" in done.notes[0]
    assert load(tmp_path / "back").model.config.dtype == torch.float32
    assert {value.dtype for value in read_weights(tmp_path / "back").tensors.values()} == {torch.float32}


def test_a_folder_without_a_head_needs_a_new_one(tmp_path: Path) -> None:
    there = folders.minilm(tmp_path / "there")
    with pytest.raises(InputError, match=r"must have a masked-LM head, but lacks .*Pass --new-head"):
        from_hf.convert(there, tmp_path / "published.pt")
    assert not (tmp_path / "published.pt").exists()
    done = from_hf.convert(there, tmp_path / "published.pt", new_head=True)
    assert done.options["vocabulary_rows"] == len(folders.SENTENCEPIECES) + 5
    assert done.carried == ["pooler.dense.bias", "pooler.dense.weight"]
    to_hf.convert(tmp_path / "published.pt", tmp_path / "back")
    before, after = read_weights(there).tensors, read_weights(tmp_path / "back").tensors
    assert all(torch.equal(after[f"bert.{name}"], value) for name, value in before.items())
    transform = ("dense.weight", "dense.bias", "LayerNorm.weight", "LayerNorm.bias")
    head = {"cls.predictions.bias", *(f"cls.predictions.transform.{name}" for name in transform)}
    assert {name for name in after if not name.startswith("bert.")} == head
    assert json.loads((tmp_path / "back" / "config.json").read_text())["architectures"] == ["BertForMaskedLM"]
    with pytest.raises(InputError, match="which --new-head would throw away"):
        from_hf.convert(folders.mbert(tmp_path / "whole"), tmp_path / "other.pt", new_head=True)


def test_a_head_that_differs_from_the_embeddings_is_kept_and_told(tmp_path: Path) -> None:
    def own_decoder(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        embeddings = tensors["bert.embeddings.word_embeddings.weight"]
        return tensors | {"cls.predictions.decoder.weight": embeddings + 1}

    there = folders.mbert(tmp_path / "there")
    folders.as_bin(there, own_decoder)
    done = from_hf.convert(there, tmp_path / "published.pt")
    assert "the head keeps its own" in done.notes[0]
    to_hf.convert(tmp_path / "published.pt", tmp_path / "back")
    assert same(read_weights(there).tensors, read_weights(tmp_path / "back").tensors)


def test_what_the_import_accepts_the_export_accepts(tmp_path: Path) -> None:
    """An encoder that was fine-tuned, and one with a tensor that no class of transformers knows."""
    fine_tuned = folders.mbert(tmp_path / "fine-tuned", "BertForSequenceClassification")
    more = folders.mbert(tmp_path / "more")
    folders.as_bin(more, lambda tensors: tensors | {"projection.weight": torch.ones(4, 16)})
    for there, name, new_head in ((fine_tuned, "classifier.weight", True), (more, "projection.weight", False)):
        from_hf.convert(there, tmp_path / f"{name}.pt", new_head=new_head)
        to_hf.convert(tmp_path / f"{name}.pt", tmp_path / name)
        kept = read_weights(tmp_path / name).tensors[name]
        assert torch.equal(kept, read_weights(there).tensors[name])


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (str(self.path), "w")


def test_a_malicious_weight_file_runs_nothing(tmp_path: Path) -> None:
    there = folders.mbert_uncased_bin(tmp_path / "there")
    for protocol, save in ((2, torch.save), (4, lambda state, file: file.write_bytes(pickle.dumps(state)))):
        save({"bert.x": torch.zeros(1), "payload": Malicious(tmp_path / "proof")}, there / "pytorch_model.bin")
        with pytest.raises(InputError, match=r"pytorch_model\.bin must"):
            from_hf.convert(there, tmp_path / "published.pt")
        assert not (tmp_path / "proof").exists(), protocol


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def _config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))


def _index(folder: Path, part: object) -> None:
    index = folder / "model.safetensors.index.json"
    written = json.loads(index.read_text())
    written["weight_map"][next(iter(written["weight_map"]))] = part
    index.write_text(json.dumps(written))


def _header(file: Path, size: int) -> None:
    file.write_bytes(size.to_bytes(8, "little") + file.read_bytes()[8:])


@pytest.mark.parametrize(
    ("make", "spoil", "sentence"),
    [
        (folders.mbert, lambda f: (f / "config.json").unlink(), "has no config.json"),
        (folders.mbert, lambda f: (f / "config.json").write_text("{"), "must be JSON"),
        (folders.mbert, lambda f: (f / "model.safetensors").unlink(), "holds neither"),
        (folders.mbert, lambda f: _cut(f / "model.safetensors"), "must be a whole safetensors file"),
        (folders.mbert_uncased_bin, lambda f: _cut(f / "pytorch_model.bin"), "must be whole, but cannot be read"),
        (folders.xlmr_in_parts, lambda f: next(f.glob("model-00002*")).unlink(), "names .* parts, but .* not there"),
        (folders.mbert, lambda f: _config(f, model_type="gpt2"), "must be of model_type bert, .* but is 'gpt2'"),
        (folders.mbert, lambda f: _config(f, position_embedding_type="relative_key"), "position_embedding_type"),
        (folders.mbert, lambda f: _config(f, hidden_act="mish"), "must have an activation of gelu, .* 'mish'"),
        (folders.mbert, lambda f: _config(f, num_hidden_layers=3), "lacks bert.encoder.layer.2"),
        (folders.mbert, lambda f: _config(f, intermediate_size=64), "must have the shape .* config.json asks for"),
        (folders.mbert, lambda f: (f / "vocab.txt").unlink(), "must hold a tokenizer, but has none of"),
        (folders.mbert, shutil.rmtree, "If it is a name on the hub, download it first"),
        (folders.mbert, lambda f: (f / "config.json").write_text("[" * 10_000), "at most 100 levels deep"),
        (folders.mbert, lambda f: (f / "config.json").write_text("[]"), "config.json must be an object, but is a list"),
        (folders.mbert, lambda f: _config(f, vocab_size=10**12), "must describe a model with 1 to .* vocabulary"),
        (folders.mbert, lambda f: _config(f, vocab_size=10**7), "must have the shape .* config.json asks for"),
        (folders.mbert, lambda f: _config(f, num_hidden_layers=10**9), "must describe a model with 1 to 1,000 layers"),
        (folders.mbert, lambda f: _config(f, hidden_size="x"), "Field 'hidden_size' expected int, got str"),
        (folders.xlmr_in_parts, lambda f: _index(f, "../model.safetensors"), "must name files by plain names"),
        (folders.xlmr_in_parts, lambda f: _index(f, "/model.safetensors"), "must name files by plain names"),
        (folders.xlmr_in_parts, lambda f: _index(f, "model.bin"), "must name parts that end in .safetensors"),
        (folders.xlmr_in_parts, lambda f: _index(f, 3), "must name files by plain names"),
        (folders.mbert, lambda f: _header(f / "model.safetensors", 1 << 62), "must be a whole safetensors file"),
        (
            folders.mbert,
            lambda f: (f / "tokenizer_config.json").write_text(
                '{"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["mine.Mine", "mine.Mine"]}}'
            ),
            "must hold a tokenizer that AutoTokenizer loads, but does not",
        ),
    ],
)
def test_bad_folders_get_one_sentence(
    make: Any, spoil: Any, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = make(tmp_path / "there")
    spoil(there)
    assert from_hf.main([str(there), str(tmp_path / "published.pt")]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("weam-from-hf: error: ")
    assert re.search(sentence, error), error
    assert not (tmp_path / "published.pt").exists()


def test_the_command_says_what_was_carried_left_out_and_what_comes_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = folders.mbert(tmp_path / "there")
    (there / "flax_model.msgpack").write_bytes(b"x")
    from_hf.main([str(there), str(tmp_path / "published.pt")])
    output = capsys.readouterr().out
    assert "4 carried as they are" in output
    assert "left out: flax_model.msgpack" in output
    assert "--arch weam_tiny --width 16 --feed-forward 32 --positions 42" in output
    assert from_hf.main([str(there), str(tmp_path / "published.pt")]) == 2
    assert "exists already" in capsys.readouterr().err


def test_tokenizers_that_differ_in_casing_alone_are_told_apart(tmp_path: Path) -> None:
    cased, uncased = tmp_path / "cased", tmp_path / "uncased"
    for folder in (cased, uncased):
        folder.mkdir()
        folders.write_wordpiece(folder, lower=folder is uncased)
    one, other = read_tokenizer(cased), read_tokenizer(uncased)
    assert one.pieces_sha256 == other.pieces_sha256
    assert one.behaviour_sha256 != other.behaviour_sha256


@given(st.permutations(range(12)), st.integers(0, 4))
def test_rows_go_there_and_back(permutation: list[int], more: int) -> None:
    order = keys.row_order(torch.tensor(permutation), len(permutation) + more)
    rows = torch.rand(len(order), 3)
    name = "embeddings.word.weight"
    assert torch.equal(keys.to_ours(name, keys.to_theirs(name, rows, order), order), rows)
    assert torch.equal(keys.to_theirs(name, rows, order)[permutation[0]], rows[0])


def test_what_is_carried_packs_into_bytes_and_back() -> None:
    found = Published(
        {"folder": "x", "weights": {"a": "b"}, "new_head": False},
        [Slot("a.b", "head.bias", "float16"), Slot("pooler", None, "float32")],
        {"config.json": b"{}\r\n", "empty": b""},
        {"pooler": torch.rand(2, 3), "position_ids": torch.arange(4)},
    )
    packed = published.pack(found)
    assert packed.dtype == torch.uint8
    again = published.unpack(packed)
    assert again is not None
    assert again[:3] == found[:3]
    assert all(torch.equal(again.tensors[name], value) for name, value in found.tensors.items())
    assert published.unpack(torch.empty(0, dtype=torch.uint8)) is None


def test_both_scripts_are_the_commands(tmp_path: Path) -> None:
    scripts = Path(__file__).resolve().parents[2] / "scripts"
    there = folders.mbert(tmp_path / "there")
    for script, words in (
        ("convert_from_hf.py", [there, tmp_path / "x.pt"]),
        ("convert_to_hf.py", [tmp_path / "x.pt", tmp_path / "back"]),
    ):
        result = subprocess.run([sys.executable, scripts / script, *words], capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
    assert (tmp_path / "back" / "model.safetensors").is_file()
