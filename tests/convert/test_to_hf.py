"""Export: the folder is complete, transformers computes the same logits, and errors are detected."""

import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import published_folders as folders
import pytest
import torch
import yaml
from published_folders import WORDPIECES, randomize, same
from torch import Tensor
from transformers import AutoModelForMaskedLM, AutoTokenizer

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.weights import read_weights
from weam_fairseq.convert import from_hf, to_hf
from weam_fairseq.convert.card import write_card
from weam_fairseq.encoder import published
from weam_fairseq.encoder.configs import plain_config
from weam_fairseq.encoder.huggingface import build
from weam_fairseq.encoder.published import Published
from weam_fairseq.encoder.sizes import Size, config_of
from weam_fairseq.plugin import checkpoints

SPECIAL = {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}
SIZE = Size(layers=2, width=32, heads=2, feed_forward=64, positions=40)
SIZES = {name: SIZE._replace(model_type=name) for name in ("bert", "distilbert", "xlm-roberta")}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path, SIZE)


def write_checkpoint(tmp_path: Path, size: Size, own_head: bool = False) -> Path:
    """What fairseq saves of a small new model whose every parameter is random."""
    config = config_of(size, len(WORDPIECES), SPECIAL)
    model = randomize(build(config))
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    folders.write_wordpiece(folder)
    weights = {f"masked_lm.{name}": value for name, value in model.state_dict().items()}
    if own_head:
        weights |= {f"own_head.{name}": v for name, v in model.state_dict().items() if name.startswith("cls.")}
    buffers = {name: torch.zeros(32, dtype=torch.uint8) for name in ("pieces_sha256", "behaviour_sha256")}
    buffers |= {"published": torch.empty(0, dtype=torch.uint8), "head_is_new": torch.zeros(1, dtype=torch.uint8)}
    state = {
        "cfg": {"model": Namespace(arch="weam_tiny", encoder_config=json.dumps(plain_config(config)))},
        "model": weights | buffers,
        "optimizer_history": [{"num_updates": 7}],
        "task_state": {
            "weam": {
                "special_ids": SPECIAL,
                "tokenizer_files": {path.name: path.read_bytes() for path in folder.iterdir()},
                "pairs": ["en-de"],
                "method": {"objective": "weam", "links": {}},
                "aligner": {"name": "by hand"},
                "seed": 3,
            }
        },
    }
    path = tmp_path / "checkpoint_last.pt"
    torch.save(state, path)
    return path


def masked_lm(checkpoint: Path) -> dict[str, Tensor]:
    return {n: v for n, v in checkpoints.load(checkpoint)["model"].items() if n.startswith("masked_lm.")}


@pytest.mark.parametrize("family", SIZES)
def test_a_new_model_goes_out_and_comes_in_again(family: str, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path, SIZES[family])
    done = to_hf.convert(checkpoint, tmp_path / "hf")
    assert (done.difference, done.notes) == (0, [])
    theirs = AutoModelForMaskedLM.from_pretrained(tmp_path / "hf").eval()
    assert theirs.config.model_type == family
    assert theirs.config.architectures == [type(theirs).__name__]
    ours = to_hf.read(checkpoint).model
    tokens = torch.arange(5, 13)[None]
    with torch.no_grad():
        assert torch.equal(theirs(tokens).logits, ours(tokens).logits)
    from_hf.convert(tmp_path / "hf", tmp_path / "again.pt")
    assert same(masked_lm(tmp_path / "again.pt"), masked_lm(checkpoint))


@pytest.mark.parametrize("kind", to_hf.DTYPES)
def test_the_type_of_the_weights_can_be_chosen(kind: str, checkpoint: Path, tmp_path: Path) -> None:
    to_hf.convert(checkpoint, tmp_path / "hf", dtype=kind)
    assert {value.dtype for value in read_weights(tmp_path / "hf").tensors.values()} == {getattr(torch, kind)}
    assert AutoModelForMaskedLM.from_pretrained(tmp_path / "hf").dtype == getattr(torch, kind)


def test_a_head_of_l_cp_is_left_out_and_reported(tmp_path: Path) -> None:
    done = to_hf.convert(write_checkpoint(tmp_path, SIZE, own_head=True), tmp_path / "hf")
    assert done.notes == ["left out: the head of L_cp (7 tensors)"]


def test_the_folder_is_complete(checkpoint: Path, tmp_path: Path) -> None:
    to_hf.convert(checkpoint, tmp_path / "hf")
    names = {path.name for path in (tmp_path / "hf").iterdir()}
    assert names == {"config.json", "model.safetensors", "tokenizer_config.json", "vocab.txt", "README.md"}
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "hf")
    assert tokenizer("a", "b").input_ids == [2, 5, 3, 6, 3]
    assert tokenizer.mask_token_id == SPECIAL["mask"]


@pytest.mark.parametrize("name", ["bert.encoder.layer.1.attention.self.query.weight", "cls.predictions.bias"])
def test_wrong_weights_are_found_and_nothing_is_left(
    name: str, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = to_hf.write_weights
    monkeypatch.setattr(
        to_hf, "write_weights", lambda tensors, folder: write(tensors | {name: tensors[name] * 2}, folder)
    )
    with pytest.raises(InputError, match=f"{name} must be written unchanged, but transformers loads other values"):
        to_hf.convert(checkpoint, tmp_path / "hf")
    assert not list(tmp_path.glob("hf*"))


def test_missing_weights_are_found_and_nothing_is_left(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, write = "bert.embeddings.LayerNorm.bias", to_hf.write_weights
    monkeypatch.setattr(
        to_hf, "write_weights", lambda tensors, folder: write({n: v for n, v in tensors.items() if n != name}, folder)
    )
    with pytest.raises(InputError, match=f"must find every tensor of its model .* but misses .*{name}"):
        to_hf.convert(checkpoint, tmp_path / "hf")
    assert not list(tmp_path.glob("hf*"))


def test_bad_input_gets_one_sentence(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").touch()
    torch.save({"model": {}, "cfg": {}}, tmp_path / "other.pt")
    old = {"model": {"encoder.layers.0.x": torch.zeros(1)}, "cfg": {"model": Namespace(arch="weam_tiny", layers=2)}}
    torch.save(old | {"task_state": {"weam": {}}}, tmp_path / "old.pt")
    for words, sentence in (
        ([str(checkpoint), str(tmp_path / "there")], "exists already"),
        ([str(tmp_path / "nowhere.pt"), str(tmp_path / "hf")], "there is no such file"),
        ([str(tmp_path / "other.pt"), str(tmp_path / "hf")], "must be a checkpoint of the task 'weam'"),
        ([str(tmp_path / "old.pt"), str(tmp_path / "hf")], "was written by an older version of weam_fairseq"),
    ):
        assert to_hf.main(words) == 2
        error = capsys.readouterr().err.strip()
        assert error.startswith("weam-to-hf: error: ")
        assert sentence in error
        assert "\n" not in error
        assert not (tmp_path / "hf").exists()


def test_overwrite_replaces_hugging_face_folders_only(checkpoint: Path, tmp_path: Path) -> None:
    to_hf.convert(checkpoint, tmp_path / "hf")
    (tmp_path / "hf" / "old").write_text("")
    to_hf.convert(checkpoint, tmp_path / "hf", overwrite=True)
    assert not (tmp_path / "hf" / "old").exists()
    other = tmp_path / "other"
    other.mkdir()
    (other / "precious").write_text("")
    (tmp_path / "config.json").write_text("{}")
    for folder, why in ((other, r"has no config\.json"), (tmp_path, "contains checkpoint_last.pt, which")):
        with pytest.raises(InputError, match=why):
            to_hf.convert(checkpoint, folder, overwrite=True)
    assert checkpoint.is_file()
    assert (other / "precious").is_file()
    named_otherwise = checkpoint.rename(other / "model.ckpt")
    (other / "config.json").write_text("{}")
    with pytest.raises(InputError, match="contains the checkpoint"):
        to_hf.convert(named_otherwise, other, overwrite=True)


def test_a_config_that_came_with_the_tokenizer_does_not_replace_the_models(checkpoint: Path, tmp_path: Path) -> None:
    state = checkpoints.load(checkpoint)
    state["task_state"]["weam"]["tokenizer_files"]["config.json"] = b'{"model_type": "bert", "hidden_size": 768}'
    torch.save(state, checkpoint)
    to_hf.convert(checkpoint, tmp_path / "hf")
    assert AutoModelForMaskedLM.from_pretrained(tmp_path / "hf").config.hidden_size == 32


@pytest.mark.parametrize(
    "name",
    [
        *("../../escaped", "/escaped", "a/b/c.json", "..", "", ".bashrc", ".json", "x\0.json", "x" * 300 + ".json"),
        *("a\nb.json", "a\\b.json", "../x.json", "a/../../x.json", "id_rsa", "modeling_x.py", "pytorch_model.bin"),
        *("a/pytorch_model.bin", "model.safetensors", "README.md", 3),
    ],
)
@pytest.mark.parametrize("place", ["task", "published"])
def test_a_carried_file_is_one_of_a_model_and_cannot_leave_the_folder(
    name: object, place: str, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = checkpoints.load(checkpoint)
    if place == "task":
        state["task_state"]["weam"]["tokenizer_files"][name] = b"x"
    else:
        found = Published({"folder": "x", "weights": {}, "missing": []}, [], {name: b"x"}, {})  # type: ignore[dict-item]
        monkeypatch.setattr(published, "unpack", lambda packed: found)
    torch.save(state, checkpoint)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=r"checkpoint_last\.pt must (carry|name files)"):
        to_hf.convert(checkpoint, tmp_path / "a" / "hf")
    assert sorted(tmp_path.rglob("*")) == before


def _config(state: dict[str, Any], **values: Any) -> None:
    options = state["cfg"]["model"]
    options.encoder_config = json.dumps(json.loads(options.encoder_config) | values)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda s: s["task_state"]["weam"].update(pairs=["en-de\nlicense: mit"]),
            "name language pairs like en-de",
        ),
        (lambda s: s["task_state"]["weam"].update(pairs=["en:-de"]), "name language pairs like en-de"),
        (lambda s: s["task_state"]["weam"].update(pairs=[3]), "name language pairs like en-de"),
        (lambda s: s["task_state"]["weam"].pop("special_ids"), "must hold what weam-train writes"),
        (lambda s: s["task_state"]["weam"].update(tokenizer_files=[]), "must hold what weam-train writes"),
        (lambda s: s["task_state"]["weam"].update(tokenizer_files={"vocab.txt": "x"}), "must carry files as bytes"),
        (lambda s: s["model"].pop("masked_lm.cls.predictions.bias"), "must hold the weights that its config describes"),
        (lambda s: s["model"]["masked_lm.cls.predictions.bias"].fill_(float("nan")), "must hold finite weights"),
        (lambda s: s["model"].update(published=torch.ones(9, dtype=torch.uint8)), "must hold what weam-train writes"),
        (lambda s: _config(s, model_type="mine"), "must have a model_type that the installed transformers knows"),
        (
            lambda s: _config(s, model_type="bart", is_encoder_decoder=True),
            "must be an encoder, but bart is an encoder-decoder",
        ),
        (lambda s: _config(s, num_hidden_layers=10**9), "must have a num_hidden_layers of 0 to 1,000"),
        (lambda s: _config(s, hidden_size=10**12), "must have a hidden_size of 0 to"),
        (lambda s: _config(s, max_position_embeddings=10**6), "must hold the weights that its config describes"),
        (lambda s: _config(s, num_hidden_layers="2"), "must hold valid values for bert"),
        (lambda s: setattr(s["cfg"]["model"], "encoder_config", "{"), "must be JSON"),
    ],
)
def test_an_untrusted_checkpoint_is_checked(
    change: Callable[[dict[str, Any]], object], sentence: str, checkpoint: Path, tmp_path: Path
) -> None:
    state = checkpoints.load(checkpoint)
    change(state)
    torch.save(state, checkpoint)
    with pytest.raises(InputError, match=sentence):
        to_hf.convert(checkpoint, tmp_path / "hf")
    assert not list(tmp_path.glob("hf*"))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda found: found.files.pop("config.json"),
        lambda found: found.about.pop("folder"),
        lambda found: found.tensors.pop("bert.pooler.dense.bias"),
        lambda found: found.about.update(missing=["nothing"]),
    ],
)
def test_an_untrusted_published_part_is_checked(
    spoil: Callable[[Published], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from_hf.convert(folders.mbert(tmp_path / "there"), tmp_path / "x.pt")
    found = published.unpack(checkpoints.load(tmp_path / "x.pt")["model"]["published"])
    assert found is not None
    spoil(found)
    monkeypatch.setattr(published, "unpack", lambda packed: found)
    with pytest.raises(InputError, match=r"x\.pt must hold what weam-train writes, but some of it is missing"):
        to_hf.convert(tmp_path / "x.pt", tmp_path / "hf")
    assert not list(tmp_path.glob("hf*"))


def card_of(folder: Path) -> tuple[dict[str, Any], str]:
    _, header, text = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(header), text


def test_the_model_card_says_what_the_model_came_from_and_how_it_was_trained(tmp_path: Path) -> None:
    there = folders.mbert(tmp_path / "there")
    (there / "README.md").write_text("---\nlicense: apache-2.0\nlanguage:\n- fr\n- en\nwidget: x\n---\n\n# mBERT\n")
    from_hf.convert(there, tmp_path / "x.pt")
    state = checkpoints.load(tmp_path / "x.pt")
    state["task_state"]["weam"] |= {"pairs": ["en-de"], "method": {"objective": "weam"}, "seed": 3}
    state["task_state"]["weam"] |= {"aligner": {"name": "eflomal"}}
    state["optimizer_history"][-1]["num_updates"] = 1234
    torch.save(state, tmp_path / "trained.pt")
    to_hf.convert(tmp_path / "trained.pt", tmp_path / "hf")
    header, text = card_of(tmp_path / "hf")
    assert header["base_model"] == "there"
    assert header["license"] == "apache-2.0"
    assert header["language"] == ["de", "en", "fr"]
    assert header["pipeline_tag"] == "fill-mask"
    for words in ("1,234 updates", "en-de", "seed 3", "eflomal", "--from there --", "--max-update 1234 --seed 3"):
        assert words in text, words


@pytest.mark.parametrize(
    ("published", "commands"),
    [
        ({"folder": "x", "layers": [4, 12]}, ["weam-train data-bin --from x --layers 4 --objective"]),
        (
            {"folder": "a/x", "revision": "c0ffee", "layers": [4, 12]},
            ["weam-from-hf a/x start.pt --revision c0ffee --layers 4\n", "weam-train data-bin --from start.pt --obj"],
        ),
        (None, ["--train-tokenizer wordpiece", "weam-train data-bin --arch ARCH --objective"]),
    ],
)
def test_the_card_has_the_commands_of_the_start(published: dict[str, Any] | None, commands: list[str]) -> None:
    facts = {"class": "X", "layers": 1, "width": 2, "rows": 3, "languages": ["en"], "pairs": ["en-de"], "updates": 5}
    text = write_card({**facts, "published": published, "aligner": {}, "method": {"objective": "tlm"}, "seed": None})
    for command in commands:
        assert command in text


def test_values_of_a_checkpoint_cannot_break_the_model_card(checkpoint: Path, tmp_path: Path) -> None:
    state = checkpoints.load(checkpoint)
    state["task_state"]["weam"] |= {
        "pairs": ["en-no"],
        "aligner": {"name": "x`\n# Heading"},
        "method": {"objective": "a`b\nc"},
    }
    torch.save(state, checkpoint)
    to_hf.convert(checkpoint, tmp_path / "hf")
    header, text = card_of(tmp_path / "hf")
    assert header["language"] == ["en", "no"]
    assert "base_model" not in header
    assert "# Heading" not in text.splitlines()
    assert "c" not in text.splitlines()


def test_the_command_says_what_it_wrote(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert to_hf.main([str(checkpoint), str(tmp_path / "hf"), "--dtype", "bfloat16"]) == 0
    output = capsys.readouterr().out
    assert f"{tmp_path / 'hf'}: written; its logits differ from the checkpoint's by 0.0e+00 of the largest" in output
    assert "rounded to bfloat16" in output
