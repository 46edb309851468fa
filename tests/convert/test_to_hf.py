"""Export: our arithmetic equals transformers', the folder is complete, and a wrong table cannot pass."""

from argparse import Namespace
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from transformers import AutoModelForMaskedLM, AutoTokenizer
from weam_fairseq.architectures import Size
from weam_fairseq.convert.compare import TOLERANCE
from weam_fairseq.convert.families import BERT, Family

from weam_fairseq.common.errors import InputError
from weam_fairseq.convert import keys, to_hf
from weam_fairseq.convert.published import Published
from weam_fairseq.encoder import Encoder, EncoderConfig

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh", "##a", "##b"]
SPECIAL = {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}
TOKENIZER_IDS = torch.tensor([2, 0, 3, 1, *range(4, len(PIECES))])


SIZE = Size(layers=2, width=16, heads=2, feed_forward=32, positions=40)
SIZES = {
    "bert": SIZE,
    # [PAD] is 0 in this tokenizer: RoBERTa's rows begin at 1.
    "xlm-roberta": SIZE._replace(positions=41, position_offset=1, segments=1, norm_eps=1e-5),
    "bert, in the shape of XLM-R": SIZE._replace(positions=42, position_offset=2, segments=1, norm_eps=1e-5),
    "distilbert": SIZE._replace(segments=0),
    "bert, untied": SIZE._replace(untied_head=True),
    "xlm-roberta, untied": SIZE._replace(positions=41, position_offset=1, segments=1, norm_eps=1e-5, untied_head=True),
}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path, SIZE)


def write_checkpoint(tmp_path: Path, size: Size, *, cp_head: bool = False) -> Path:
    """What fairseq saves of a small model whose every parameter is random, biases and norms too."""
    torch.manual_seed(0)
    options = Namespace(**size._asdict(), dropout=0.1, attention_dropout=0.1)
    encoder = Encoder(EncoderConfig.of(options, len(PIECES), 1), cp_head=cp_head)
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    files = {
        "vocab.txt": "\n".join(PIECES).encode() + b"\n",
        "tokenizer_config.json": b'{"tokenizer_class": "BertTokenizer", "do_lower_case": false}',
    }
    buffers = {"tokenizer_ids": TOKENIZER_IDS, "pieces_sha256": torch.zeros(32, dtype=torch.uint8)}
    buffers |= {"behaviour_sha256": torch.zeros(32, dtype=torch.uint8), "published": torch.empty(0, dtype=torch.uint8)}
    state = {
        "cfg": {"model": options},
        "model": {f"encoder.{n}": p for n, p in encoder.state_dict().items()} | buffers,
        "optimizer_history": [{"num_updates": 7}],
        "task_state": {
            "weam": {
                "special_ids": SPECIAL,
                "tokenizer_files": files,
                "pairs": ["en-de"],
                "method": {"objective": "weam", "links": {}},
                "aligner": {"name": "by hand"},
            }
        },
    }
    path = tmp_path / "checkpoint_last.pt"
    torch.save(state, path)
    return path


@pytest.mark.parametrize("family", SIZES)
def test_logits_equal_those_of_transformers_on_every_piece_and_with_padding(family: str, tmp_path: Path) -> None:
    """Trained from scratch: the class that can hold the shape is found, and its arithmetic is ours."""
    checkpoint = write_checkpoint(tmp_path, SIZES[family])
    assert to_hf.convert(checkpoint, tmp_path / "hf").difference <= TOLERANCE
    encoder = to_hf.read(checkpoint).encoder
    theirs = AutoModelForMaskedLM.from_pretrained(tmp_path / "hf").eval()
    assert theirs.config.model_type == family.split(",")[0]
    generator = np.random.default_rng(1)
    for size in (1, 2, 39):
        fairseq_ids = torch.from_numpy(generator.permutation(np.resize(np.arange(2, len(PIECES)), size + 1)))[None, :-1]
        padded = torch.cat([fairseq_ids, torch.full((1, 1), 1)], dim=1)
        segments = torch.from_numpy(generator.integers(0, max(1, SIZES[family].segments), padded.shape))
        inputs = {"token_type_ids": segments} if SIZES[family].segments else {}
        with torch.no_grad():
            ours = encoder.logits(encoder(padded, segments, torch.arange(size + 1)[None]))[0, :size]
            mask = (padded != 1).long()
            logits = theirs(TOKENIZER_IDS[padded], attention_mask=mask, **inputs).logits[0, :size]
        assert (ours - logits[:, TOKENIZER_IDS]).abs().max() <= 1e-5 * ours.abs().max()


def test_a_head_of_l_cp_is_left_out_and_told(tmp_path: Path) -> None:
    done = to_hf.convert(write_checkpoint(tmp_path, SIZE, cp_head=True), tmp_path / "hf")
    assert done.notes == ["the head of L_cp (5 tensors) is left out"]


def test_the_folder_is_complete(checkpoint: Path, tmp_path: Path) -> None:
    to_hf.convert(checkpoint, tmp_path / "hf")
    names = {path.name for path in (tmp_path / "hf").iterdir()}
    assert names >= {"config.json", "model.safetensors", "tokenizer_config.json", "vocab.txt", "README.md"}
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "hf")
    assert tokenizer("a", "b").input_ids == [2, 5, 3, 6, 3]
    assert tokenizer.mask_token_id == SPECIAL["mask"]
    assert not (tmp_path / "hf.incomplete").exists()


def test_a_wrong_table_is_found_and_nothing_is_left(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = keys.their_names

    def query_for_key(family: Family, ours: Iterable[str]) -> dict[str, str]:
        names = right(family, ours)
        one, other = (f"layers.1.attention.{which}.weight" for which in ("query", "key"))
        return names | {one: names[other], other: names[one]}

    monkeypatch.setattr(to_hf.keys, "their_names", query_for_key)
    with pytest.raises(InputError, match="must give the same logits"):
        to_hf.convert(checkpoint, tmp_path / "hf")
    assert not list(tmp_path.glob("hf*"))


def test_names_without_a_counterpart_are_all_named() -> None:
    with pytest.raises(KeyError, match=r"layers\.0\.gate\.weight, pooler\.bias"):
        keys.their_names(BERT, ["head.bias", "layers.0.gate.weight", "pooler.bias"])


def test_bad_input_gets_one_sentence(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").touch()
    torch.save({"model": {}, "cfg": {}}, tmp_path / "other.pt")
    for words, sentence in (
        ([str(checkpoint), str(tmp_path / "there")], "exists already"),
        ([str(tmp_path / "nowhere.pt"), str(tmp_path / "hf")], "there is no such file"),
        ([str(tmp_path / "other.pt"), str(tmp_path / "hf")], "must be a checkpoint of the task 'weam'"),
    ):
        assert to_hf.main(words) == 2
        error = capsys.readouterr().err.strip()
        assert error.startswith("weam-to-hf: error: ")
        assert sentence in error
        assert "\n" not in error


def test_overwrite_replaces_hugging_face_folders_only(checkpoint: Path, tmp_path: Path) -> None:
    to_hf.convert(checkpoint, tmp_path / "hf")
    (tmp_path / "hf" / "old").write_text("")
    to_hf.convert(checkpoint, tmp_path / "hf", overwrite=True)
    assert not (tmp_path / "hf" / "old").exists()
    other = tmp_path / "other"
    other.mkdir()
    (other / "precious").write_text("")
    (tmp_path / "config.json").write_text("{}")
    for folder, why in ((other, r"has no config\.json"), (tmp_path, "contains the checkpoint")):
        with pytest.raises(InputError, match=why):
            to_hf.convert(checkpoint, folder, overwrite=True)
    assert checkpoint.is_file()
    assert (other / "precious").is_file()


def test_a_config_that_came_with_the_tokenizer_does_not_replace_the_models(checkpoint: Path, tmp_path: Path) -> None:
    state = torch.load(checkpoint)
    state["task_state"]["weam"]["tokenizer_files"]["config.json"] = b'{"model_type": "bert", "hidden_size": 768}'
    torch.save(state, checkpoint)
    to_hf.convert(checkpoint, tmp_path / "hf")
    assert AutoModelForMaskedLM.from_pretrained(tmp_path / "hf").config.hidden_size == 16


@pytest.mark.parametrize(
    "name", ["../../escaped", "/escaped", "a/b", "..", "", ".bashrc", "x\0y", "x" * 300, "a\nb", "a\\b", 3]
)
@pytest.mark.parametrize("place", ["task", "published"])
def test_a_carried_file_cannot_leave_the_folder(
    name: object, place: str, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = torch.load(checkpoint)
    if place == "task":
        state["task_state"]["weam"]["tokenizer_files"][name] = b"x"
    else:
        about = {"folder": "x", "weights": {}, "new_head": False}
        found = Published(about, [], {name: b"x"}, {})  # type: ignore[dict-item]
        monkeypatch.setattr(to_hf.published, "unpack", lambda packed: found)
    torch.save(state, checkpoint)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=r"checkpoint_last\.pt must name files"):
        to_hf.convert(checkpoint, tmp_path / "a" / "hf")
    assert sorted(tmp_path.rglob("*")) == before


def test_carried_files_that_are_no_tokenizers_are_left_out_and_named(checkpoint: Path, tmp_path: Path) -> None:
    state = torch.load(checkpoint)
    state["task_state"]["weam"]["tokenizer_files"] |= {"id_rsa": b"x", "modeling_x.py": b"x"}
    torch.save(state, checkpoint)
    done = to_hf.convert(checkpoint, tmp_path / "hf")
    assert done.notes == ["files that are no tokenizer's are left out: id_rsa, modeling_x.py"]
    assert not {"id_rsa", "modeling_x.py"} & {path.name for path in (tmp_path / "hf").iterdir()}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: s["task_state"]["weam"].update(pairs=["en-de\nlicense: mit"]), "must name language pairs as en-de"),
        (lambda s: s["task_state"]["weam"].update(pairs=["en:-de"]), "must name language pairs as en-de"),
        (lambda s: s["task_state"]["weam"].update(pairs=[3]), "must name language pairs as en-de"),
        (lambda s: s["task_state"]["weam"].pop("special_ids"), "must hold what weam-train writes"),
        (lambda s: s["task_state"]["weam"].update(tokenizer_files=[]), "must hold what weam-train writes"),
        (lambda s: s["task_state"]["weam"].update(tokenizer_files={"vocab.txt": "x"}), "must carry files as bytes"),
        (lambda s: s["model"].pop("encoder.head.bias"), "must hold the weights that its options describe"),
        (lambda s: setattr(s["cfg"]["model"], "layers", 10**9), "must describe a model with 1 to 1,000 layers"),
        (lambda s: setattr(s["cfg"]["model"], "width", 10**12), "must describe a model with 1 to .* width"),
        (lambda s: setattr(s["cfg"]["model"], "positions", 10**6), "must hold the weights that its options describe"),
        (lambda s: setattr(s["cfg"]["model"], "layers", "2"), "must describe a model with 1 to 1,000 layers"),
    ],
)
def test_a_checkpoint_from_elsewhere_is_checked(
    change: Callable[[dict[str, Any]], object], sentence: str, checkpoint: Path, tmp_path: Path
) -> None:
    state = torch.load(checkpoint)
    change(state)
    torch.save(state, checkpoint)
    with pytest.raises(InputError, match=sentence):
        to_hf.convert(checkpoint, tmp_path / "hf")
    assert not list(tmp_path.glob("hf*"))


def test_nothing_of_a_checkpoint_writes_into_the_model_card(checkpoint: Path, tmp_path: Path) -> None:
    state = torch.load(checkpoint)
    state["task_state"]["weam"] |= {"pairs": ["en-no"], "aligner": {"name": "x`\n# Heading"}, "method": "a`b\nc"}
    torch.save(state, checkpoint)
    to_hf.convert(checkpoint, tmp_path / "hf")
    _, header, text = (tmp_path / "hf" / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    assert yaml.safe_load(header)["language"] == ["en", "no"]
    assert "# Heading" not in text.splitlines()
    assert "Method: `a'b c`" in text
