"""Import: allowed folders, carried files and refused folders."""

import json
import pickle
import re
import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import published_folders as folders
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.tokenizers import read_tokenizer
from weam_fairseq.common.weights import read_weights
from weam_fairseq.convert import from_hf, to_hf
from weam_fairseq.encoder import published
from weam_fairseq.encoder.names import Slot, TensorPlace
from weam_fairseq.encoder.published import Published
from weam_fairseq.plugin import checkpoints

WORDS = "bert.embeddings.word_embeddings.weight"
DECODER = "cls.predictions.decoder.weight"
BIAS = "cls.predictions.decoder.bias"


def there_and_back(there: Path, *, training: bool) -> dict[str, Tensor]:
    """The tensors of a folder after import and export."""
    from_hf.convert(there, there.parent / "x.pt", overwrite=True)
    if training:
        folders.train(there.parent / "x.pt")
    to_hf.convert(there.parent / "x.pt", there.parent / "back", overwrite=True)
    return read_weights(there.parent / "back").tensors


FORMS: dict[str, Callable[[Path], Any]] = {
    "with pooler and next-sentence head": folders.mbert,
    "untied head": lambda f: folders.mbert(f, tie_word_embeddings=False),
    "tied decoder written out": lambda f: folders.change_tensors(folders.mbert(f), lambda t: t | {DECODER: t[WORDS]}),
    "decoder that differs from the embeddings": lambda f: folders.change_tensors(
        folders.mbert(f), lambda t: t | {DECODER: t[WORDS] + 1}
    ),
    "biases that differ": lambda f: folders.change_tensors(
        folders.mbert(f), lambda t: t | {BIAS: t["cls.predictions.bias"] + 1}
    ),
    "another activation": lambda f: folders.mbert(f, hidden_act="gelu_new"),
    "parts with an index": folders.xlmr_in_parts,
    "bfloat16 in parts": lambda f: folders.xlmr(f, dtype=torch.bfloat16, max_shard_size="20KB"),
    "float16 .bin": lambda f: folders.as_bin(folders.xlmr(f, dtype=torch.float16)),
    "a tensor that no class knows": lambda f: folders.change_tensors(
        folders.mbert(f), lambda t: t | {"projection.weight": torch.ones(4, 32), "n": torch.tensor(3)}
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_tensor_comes_back_and_every_weight_of_the_masked_lm_trains(form: str, tmp_path: Path) -> None:
    FORMS[form](tmp_path / "there")
    before = read_weights(tmp_path / "there").tensors
    assert folders.same(there_and_back(tmp_path / "there", training=False), before)
    after = there_and_back(tmp_path / "there", training=True)
    assert sorted(after) == sorted(before)
    for name, value in before.items():
        carried = "pooler" in name or "seq_relationship" in name or name in ("projection.weight", "n")
        assert torch.equal(after[name], value) == carried, name


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_trained_weights_keep_their_type_unless_another_is_requested(kind: str, tmp_path: Path) -> None:
    from_hf.convert(folders.xlmr(tmp_path / "there", dtype=getattr(torch, kind)), tmp_path / "published.pt")
    state = checkpoints.load(tmp_path / "published.pt")
    state["model"]["masked_lm.lm_head.dense.bias"] += 1e-6
    torch.save(state, tmp_path / "trained.pt")
    done = to_hf.convert(tmp_path / "trained.pt", tmp_path / "back")
    assert done.notes == [f"rounded to {kind}: 1 tensors (--dtype float32 keeps them exact)"]
    assert {value.dtype for value in read_weights(tmp_path / "back").tensors.values()} == {getattr(torch, kind)}
    assert to_hf.convert(tmp_path / "trained.pt", tmp_path / "exact", dtype="float32").notes == []
    exact = read_weights(tmp_path / "exact").tensors
    assert torch.equal(exact["lm_head.dense.bias"], state["model"]["masked_lm.lm_head.dense.bias"])
    config = json.loads((tmp_path / "exact" / "config.json").read_text())
    assert config.get("dtype", config.get("torch_dtype")) == "float32"


def test_a_folder_without_a_head_gets_a_new_one_and_keeps_its_pooler(tmp_path: Path) -> None:
    there = folders.minilm(tmp_path / "there")
    done = from_hf.convert(there, tmp_path / "published.pt")
    assert done.new_head
    assert bool(checkpoints.load(tmp_path / "published.pt")["model"]["head_is_new"])
    assert done.carried == ["pooler.dense.bias", "pooler.dense.weight"]
    to_hf.convert(tmp_path / "published.pt", tmp_path / "back")
    before, after = read_weights(there).tensors, read_weights(tmp_path / "back").tensors
    assert all(torch.equal(after[f"bert.{name}"], value) for name, value in before.items())
    transform = ("dense.weight", "dense.bias", "LayerNorm.weight", "LayerNorm.bias")
    head = {"cls.predictions.bias", *(f"cls.predictions.transform.{name}" for name in transform)}
    assert {name for name in after if not name.startswith("bert.")} == head == {*done.missing}
    assert (tmp_path / "back" / "config.json").read_bytes() == (there / "config.json").read_bytes()


def test_a_head_that_lacks_a_bias_is_not_new(tmp_path: Path) -> None:
    there = folders.mbert(tmp_path / "there")
    folders.change_tensors(there, lambda t: {n: v for n, v in t.items() if n != "cls.predictions.bias"})
    done = from_hf.convert(there, tmp_path / "published.pt")
    assert (done.missing, done.new_head) == (["cls.predictions.bias"], False)
    assert not bool(checkpoints.load(tmp_path / "published.pt")["model"]["head_is_new"])


def test_a_fine_tuned_encoder_keeps_its_classifier(tmp_path: Path) -> None:
    there = tmp_path / "there"
    folders.write_model(there, folders.tiny_config("bert"), transformers.BertForSequenceClassification)
    folders.write_sentencepiece(there)
    after = there_and_back(there, training=False)
    before = read_weights(there).tensors
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_modules_of_sentence_transformers_are_carried(tmp_path: Path) -> None:
    """A pickle becomes safetensors, which sentence-transformers prefers, so no pickle is passed on."""
    there = folders.minilm(tmp_path / "there")
    modules = [{"path": ""}, {"path": "1_Pooling"}, {"path": "2_Dense"}, {"path": "../secret"}]
    (there / "modules.json").write_text(json.dumps(modules))
    for name in ("1_Pooling", "2_Dense", "onnx"):
        (there / name).mkdir()
        (there / name / "config.json").write_text("{}")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "config.json").write_text("{}")
    dense = {"linear.weight": torch.rand(3, 32)}
    torch.save(dense, there / "2_Dense" / "pytorch_model.bin")
    done = from_hf.convert(there, tmp_path / "x.pt")
    assert done.left_out == ["onnx/"]
    to_hf.convert(tmp_path / "x.pt", tmp_path / "back")
    assert torch.equal(
        load_file(tmp_path / "back" / "2_Dense" / "model.safetensors")["linear.weight"], dense["linear.weight"]
    )
    written = {path.relative_to(tmp_path / "back").as_posix() for path in (tmp_path / "back").glob("*/*")}
    assert written == {"1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors"}
    save_file(dense, there / "2_Dense" / "model.safetensors")
    from_hf.convert(there, tmp_path / "y.pt")
    to_hf.convert(tmp_path / "y.pt", tmp_path / "back", overwrite=True)
    one, other = (folder / "2_Dense" / "model.safetensors" for folder in (there, tmp_path / "back"))
    assert one.read_bytes() == other.read_bytes()


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("file", ["pytorch_model.bin", "1_Dense/pytorch_model.bin"])
def test_a_malicious_weight_file_runs_nothing(file: str, tmp_path: Path) -> None:
    there = folders.mbert(tmp_path / "there")
    (there / "modules.json").write_text('[{"path": "1_Dense"}]')
    (there / "1_Dense").mkdir()
    if "/" not in file:
        (there / "model.safetensors").unlink()
    for protocol, save in ((2, torch.save), (4, lambda state, file: file.write_bytes(pickle.dumps(state)))):
        save({"bert.x": torch.zeros(1), "payload": Malicious(tmp_path / "proof")}, there / file)
        with pytest.raises(InputError, match=r"pytorch_model\.bin must"):
            from_hf.convert(there, tmp_path / "published.pt")
        assert not (tmp_path / "proof").exists(), protocol
    assert not (tmp_path / "published.pt").exists()


def test_code_in_a_folder_is_neither_run_nor_carried(tmp_path: Path) -> None:
    there = folders.mbert(tmp_path / "there")
    _config(there, auto_map={"AutoConfig": "mine.Config", "AutoModelForMaskedLM": "mine.Model"})
    (there / "mine.py").write_text(f"open({str(tmp_path / 'proof')!r}, 'w')")
    done = from_hf.convert(there, tmp_path / "x.pt")
    to_hf.convert(tmp_path / "x.pt", tmp_path / "back")
    assert done.left_out == ["mine.py"]
    assert not (tmp_path / "proof").exists()
    assert not (tmp_path / "back" / "mine.py").exists()
    _config(there, model_type="mine")
    with pytest.raises(
        InputError, match="must have a model_type that the installed transformers knows, but has 'mine'"
    ):
        from_hf.convert(there, tmp_path / "y.pt")
    assert not (tmp_path / "proof").exists()


def test_only_what_belongs_to_a_model_is_carried(tmp_path: Path) -> None:
    there = folders.mbert(tmp_path / "there")
    (tmp_path / "private.txt").write_text("PRIVATE")
    (there / "NOTICE").symlink_to(tmp_path / "private.txt")
    for name in ("id_rsa", "flax_model.msgpack", "trainer_state.json", ".gitattributes", "README.md", "LICENSE"):
        (there / name).write_text("{}")
    with (there / "large.json").open("wb") as file:
        file.truncate(published.MAX_BYTES + 1)
    files, left_out = published.read_files(there)
    assert {*files} == {"config.json", "vocab.txt", "tokenizer_config.json", "LICENSE"}
    assert left_out == ["NOTICE", "flax_model.msgpack", "id_rsa", "large.json", "trainer_state.json"]
    (there / "merges.txt").symlink_to(tmp_path / "private.txt")
    with pytest.raises(InputError, match=r"merges\.txt must be a file of the model's folder, but is a link"):
        published.read_files(there)


def test_a_snapshot_of_the_hubs_cache_is_carried_through_its_links(tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "models--a--b" / "snapshots" / "c0ffee", tmp_path / "models--a--b" / "blobs"
    folders.mbert(snapshot)
    blobs.mkdir()
    for file in list(snapshot.iterdir()):
        file.rename(blobs / file.name)
        file.symlink_to(blobs / file.name)
    done = from_hf.convert(snapshot, tmp_path / "x.pt")
    assert done.left_out == []
    to_hf.convert(tmp_path / "x.pt", tmp_path / "back")
    assert (tmp_path / "back" / "vocab.txt").read_bytes() == (snapshot / "vocab.txt").read_bytes()


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


def _without(folder: Path, name: str) -> None:
    folders.change_tensors(folder, lambda tensors: {n: v for n, v in tensors.items() if name not in n})


def _bin(folder: Path) -> Path:
    folders.as_bin(folders.mbert(folder))
    return folder


def _cut_vocabulary(folder: Path) -> None:
    with (folder / "vocab.txt").open("a") as file:
        file.writelines(f"piece{n}\n" for n in range(100))


@pytest.mark.parametrize(
    ("make", "spoil", "sentence"),
    [
        (folders.mbert, lambda f: (f / "config.json").unlink(), "has no config.json"),
        (folders.mbert, lambda f: (f / "config.json").write_text("{"), "must be JSON"),
        (folders.mbert, lambda f: (f / "config.json").write_text("[" * 10_000), "at most 100 levels deep"),
        (folders.mbert, lambda f: (f / "config.json").write_text("[]"), "config.json must be an object, but is a list"),
        (folders.mbert, lambda f: (f / "model.safetensors").unlink(), "as parts with an index, but does not"),
        (folders.mbert, lambda f: _cut(f / "model.safetensors"), "must be a complete safetensors file"),
        (folders.mbert, lambda f: _header(f / "model.safetensors", 1 << 62), "must be a complete safetensors file"),
        (_bin, lambda f: _cut(f / "pytorch_model.bin"), "must be complete, but cannot be read"),
        (
            folders.xlmr_in_parts,
            lambda f: next(f.glob("model-00002*")).unlink(),
            "but these are missing",
        ),
        (folders.xlmr_in_parts, lambda f: _index(f, "../model.safetensors"), "must name files by plain names"),
        (folders.xlmr_in_parts, lambda f: _index(f, "/model.safetensors"), "must name files by plain names"),
        (folders.xlmr_in_parts, lambda f: _index(f, "model.bin"), "must name parts that end in .safetensors"),
        (folders.xlmr_in_parts, lambda f: _index(f, 3), "must name files by plain names"),
        (folders.mbert, lambda f: _config(f, model_type="gpt2"), "'gpt2' has no masked-LM class"),
        (folders.mbert, lambda f: _config(f, model_type="bart"), "must be an encoder, but bart is an encoder-decoder"),
        (folders.mbert, lambda f: _config(f, is_decoder=True), "is_decoder: it is a causal model"),
        (
            folders.mbert,
            lambda f: _config(f, hidden_act="mine"),
            "must fit its config.json, but do not: KeyError 'mine'",
        ),
        (
            folders.mbert,
            lambda f: _config(f, num_hidden_layers=3),
            "lacks 16 of them. The first is bert.encoder.layer.2",
        ),
        (
            folders.mbert,
            lambda f: _config(f, intermediate_size=48),
            "must have the shapes that its .* but 6 have others",
        ),
        (folders.mbert, lambda f: _config(f, vocab_size=10**6), r"but 2 have others\. .*: \(100, 32\) instead of"),
        (folders.mbert, lambda f: _config(f, vocab_size=10**12), "must have a vocab_size of 0 to"),
        (folders.mbert, lambda f: _config(f, num_hidden_layers=10**9), "must have a num_hidden_layers of 0 to 1,000"),
        (folders.mbert, lambda f: _config(f, hidden_size="x"), "must hold valid values for bert, but does not"),
        (
            folders.mbert,
            lambda f: _without(f, "word_embeddings"),
            "lacks 1 of them. The first is bert.embeddings.word_embeddings",
        ),
        (
            folders.xlmr,
            lambda f: _without(f, "word_embeddings"),
            "lacks 1 of them. The first is roberta.embeddings.word_embeddings",
        ),
        (folders.mbert, lambda f: (f / "vocab.txt").unlink(), "must hold a tokenizer, but has none of"),
        (folders.mbert, _cut_vocabulary, "has 117 pieces, but its model has only 100 rows"),
        (
            folders.mbert,
            lambda f: (f / "tokenizer_config.json").write_text(
                '{"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["mine.Mine", "mine.Mine"]}}'
            ),
            "must hold a tokenizer of one of transformers' classes, but needs code from its folder",
        ),
        (
            folders.xlmr,
            lambda f: (f / "tokenizer.json").write_text("{}"),
            r"must be a tokenizer\.json that tokenizers \S+ can read, but is not: .*damaged",
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


def test_the_command_reports_carried_and_skipped_parts_and_the_next_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = folders.minilm(tmp_path / "there")
    (there / "flax_model.msgpack").write_bytes(b"x")
    from_hf.main([str(there), str(tmp_path / "published.pt")])
    output = capsys.readouterr().out
    assert "2 carried unchanged" in output
    assert "weam-train fits the head to the data" in output
    assert "left out: flax_model.msgpack" in output
    assert f"weam-preprocess --tokenizer {there}" in output
    assert from_hf.main([str(there), str(tmp_path / "published.pt")]) == 2
    assert "exists already" in capsys.readouterr().err
    shutil.rmtree(there)
    assert from_hf.main([str(there), str(tmp_path / "other.pt")]) == 2
    assert "must be a Hugging Face folder on this machine or a name on the Hub" in capsys.readouterr().err


def test_tokenizers_that_differ_only_in_casing_are_distinguished(tmp_path: Path) -> None:
    cased, uncased = tmp_path / "cased", tmp_path / "uncased"
    for folder in (cased, uncased):
        folder.mkdir()
        folders.write_wordpiece(folder, lower=folder is uncased)
    one, other = read_tokenizer(cased), read_tokenizer(uncased)
    assert one.pieces_sha256 == other.pieces_sha256
    assert one.behaviour_sha256 != other.behaviour_sha256


def test_pack_and_unpack_are_inverse() -> None:
    found = Published(
        {"folder": "x", "weights": {"a": "b"}, "missing": []},
        [
            Slot("a.b", "float16", [TensorPlace("head.bias", 0), TensorPlace("head.c", 3)]),
            Slot("pooler", "float32", []),
        ],
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


def test_both_scripts_are_the_commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    scripts = Path(__file__).resolve().parents[2] / "scripts"
    monkeypatch.setattr(sys, "argv", ["script", "--help"])
    for script, command in (("convert_from_hf.py", "weam-from-hf"), ("convert_to_hf.py", "weam-to-hf")):
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(scripts / script), run_name="__main__")
        assert not end.value.code
        assert capsys.readouterr().out.startswith(f"usage: {command} ")


def written(folder: Path, family: str) -> Path:
    folders.write_model(folder, folders.tiny_config(family, num_hidden_layers=4))
    folders.write_sentencepiece(folder)
    return folder


@pytest.mark.parametrize("family", ["bert", "distilbert", "xlm-roberta", "deberta-v2", "modernbert"])
def test_a_cut_encoder_has_the_first_layers_and_a_new_head(family: str, tmp_path: Path) -> None:
    there = written(tmp_path / "there", family)
    done = from_hf.convert(there, tmp_path / "cut.pt", layers=2)
    assert done.new_head
    to_hf.convert(tmp_path / "cut.pt", tmp_path / "cut")
    whole, cut = (
        transformers.AutoModelForMaskedLM.from_pretrained(each, output_hidden_states=True).eval()
        for each in (there, tmp_path / "cut")
    )
    assert (whole.config.num_hidden_layers, cut.config.num_hidden_layers) == (4, 2)
    tokens = torch.arange(8)[None] + 5
    with torch.no_grad():
        expected, found = (model(tokens).hidden_states for model in (whole, cut))
    assert len(found) == 3
    for layer in (0, 1) if family == "modernbert" else (0, 1, 2):  # its last states are normalized once more
        assert torch.equal(found[layer], expected[layer])
    embeddings = whole.get_input_embeddings().weight
    assert torch.equal(cut.get_output_embeddings().weight, embeddings)
    assert "cut to its first 2 of 4 layers" in (tmp_path / "cut" / "README.md").read_text()


def test_all_layers_are_no_cut(tmp_path: Path) -> None:
    there = written(tmp_path / "there", "bert")
    assert not from_hf.convert(there, tmp_path / "all.pt", layers=4).new_head
    assert there_and_back(there, training=False).keys() == read_weights(there).tensors.keys()


@pytest.mark.parametrize("layers", [0, 5])
def test_a_number_of_layers_that_the_encoder_has_not_is_refused(layers: int, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=rf"--layers must be a number of layers to keep, 1 to 4 for .*, but is {layers}\."
    ):
        from_hf.convert(written(tmp_path / "there", "bert"), tmp_path / "x.pt", layers=layers)
