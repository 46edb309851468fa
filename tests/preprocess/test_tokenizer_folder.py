"""The four ways to a tokenizer folder, and that its pieces are AutoTokenizer's."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from weam_preprocess import tokenizer_folder
from weam_preprocess.errors import InputError
from weam_preprocess.pieces import PROBES, PieceTokenizer
from weam_preprocess.spans import unpack

SENTENCES = ["The house is small.", "Das Haus ist klein.", "今天下雨吗？", "Häuser", "houses, houses"] * 3


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "tokenizer"
    tokenizer_folder.train_wordpiece(SENTENCES, 90, folder)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_training_twice_gives_the_same_bytes(trained: Path, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        tokenizer_folder.train_wordpiece(SENTENCES, 90, tmp_path / name)
        assert files(tmp_path / name) == files(trained)


def test_trained_is_a_cased_bert_tokenizer(trained: Path) -> None:
    from transformers import AutoTokenizer

    auto = AutoTokenizer.from_pretrained(str(trained))
    assert [auto.pad_token_id, auto.unk_token_id, auto.cls_token_id, auto.sep_token_id, auto.mask_token_id] == [
        *range(5)
    ]
    assert auto.model_max_length == 512
    assert "token_type_ids" in auto.model_input_names
    assert (trained / "vocab.txt").read_text(encoding="utf-8").split("\n")[:5] == auto.convert_ids_to_tokens(
        [*range(5)]
    )
    assert auto.tokenize("今天 Häuser")[:2] == ["今", "天"]
    # Loading must not rebuild another tokenizer than the one that was saved.
    assert auto.backend_tokenizer.to_str() == Tokenizer.from_file(str(trained / "tokenizer.json")).to_str()


def test_a_folder_is_copied_byte_for_byte(trained: Path, tmp_path: Path) -> None:
    tokenizer_folder.make(trained, tmp_path / "copy")
    assert files(tmp_path / "copy") == files(trained)


@pytest.mark.parametrize("bare", ["tokenizer.json", "vocab.txt"])
def test_a_bare_file_gives_the_same_pieces(trained: Path, tmp_path: Path, bare: str) -> None:
    tokenizer_folder.make(trained / bare, tmp_path / "folder")
    one, other = PieceTokenizer(trained), PieceTokenizer(tmp_path / "folder")
    assert list(one.encode(SENTENCES)) == list(other.encode(SENTENCES))
    assert (one.pair, one.special_ids) == (other.pair, other.special_ids)


def test_the_same_pieces_written_otherwise_are_told_apart(trained: Path, tmp_path: Path) -> None:
    cased, uncased = tmp_path / "cased", tmp_path / "uncased"
    for folder, lowercase in ((cased, False), (uncased, True)):
        tokenizer_folder.make(trained, folder)
        content = json.loads((trained / "tokenizer.json").read_text(encoding="utf-8"))
        content["normalizer"]["lowercase"] = lowercase
        (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
        config = json.loads((trained / "tokenizer_config.json").read_text(encoding="utf-8"))
        (folder / "tokenizer_config.json").write_text(json.dumps({**config, "do_lower_case": lowercase}))
    one, other = PieceTokenizer(cased), PieceTokenizer(uncased)
    assert one.pieces_sha256() == other.pieces_sha256()
    assert one.behaviour_sha256() == PieceTokenizer(trained).behaviour_sha256()
    assert one.behaviour_sha256() != other.behaviour_sha256()


def test_behaviour_is_the_ids_of_the_probes(trained: Path) -> None:
    rust = Tokenizer.from_file(str(trained / "tokenizer.json"))
    lines = [" ".join(str(i) for i in rust.encode(probe, add_special_tokens=False).ids) + "\n" for probe in PROBES]
    assert PieceTokenizer(trained).behaviour_sha256() == hashlib.sha256("".join(lines).encode("utf-8")).hexdigest()
    # Checkpoints carry the digest, and others compute it too: the probes stay what they are.
    probes = hashlib.sha256("\n".join(PROBES).encode("utf-8")).hexdigest()
    assert probes == "0bd30e3d75f3d55d7178d67eae8d0eef6682fce126023ed5ca8f306e2aa08475"
    readme = Path(__file__).parents[2].joinpath("preprocess", "README.md").read_text(encoding="utf-8")
    assert tuple(json.JSONDecoder().raw_decode(readme, readme.index('["Hello, WORLD!'))[0]) == PROBES


def test_pieces_that_hold_white_space_keep_their_ids(tmp_path: Path) -> None:
    """A line ends at "\\n" only: U+0085 is a piece of XLM-R, and other readers take it for the end of a line."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "\x85", "a\u2028b", "\u3000", "x", "##\x1c"]
    (tmp_path / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8", newline="")
    tokenizer_folder.make(tmp_path / "vocab.txt", tmp_path / "folder")
    auto, ours = opened(tmp_path / "folder")
    assert auto.convert_tokens_to_ids(pieces) == ours.ids == list(range(len(pieces)))


def test_arrays_hold_the_same_pieces(trained: Path) -> None:
    tokenizer = PieceTokenizer(trained)
    texts = ["", *SENTENCES[:5], "", "no such 猫"]
    pieces, arrays = list(tokenizer.encode(texts)), tokenizer.encode_arrays(texts)
    assert arrays.ids.tolist() == [idx for sentence in pieces for idx in sentence.ids]
    assert unpack(arrays.spans) == [sentence.spans for sentence in pieces]
    assert tokenizer.encode_arrays([]).ids.tolist() == []


def test_vocab_without_special_pieces(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\na\n")
    with pytest.raises(
        InputError, match=r"must hold one WordPiece piece a line, \[CLS\], \[SEP\], \[MASK\] among them"
    ):
        tokenizer_folder.make(tmp_path / "vocab.txt", tmp_path / "folder")


def test_broken_json(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"version": ')
    with pytest.raises(InputError, match=r"tokenizer\.json must be JSON, but is not"):
        tokenizer_folder.make(tmp_path / "tokenizer.json", tmp_path / "folder")


@pytest.fixture(scope="module")
def sentencepiece_like(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny tokenizer of XLM-R's kind: unigram, ▁, `<s> A </s> </s> B </s>`."""
    folder = tmp_path_factory.mktemp("unigram")
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁house", "▁small", "s", "今", "天", "<mask>"]
    tokenizer = Tokenizer(models.Unigram([(piece, -float(i)) for i, piece in enumerate(pieces)], unk_id=3))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    tokenizer_folder.make(folder / "tokenizer.json", folder / "tokenizer")
    return folder / "tokenizer"


def test_sentencepiece_like_template(sentencepiece_like: Path) -> None:
    tokenizer = PieceTokenizer(sentencepiece_like)
    assert tokenizer.special_ids == {"cls": 0, "pad": 1, "sep": 2, "unk": 3, "mask": 10}
    assert tokenizer.pair.ids == [0, "A", 2, 2, "B", 2]
    assert tokenizer.pair.special_pieces == 4
    assert tokenizer.single.ids == [0, "A", 2]


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.sampled_from([*"house s.ÄＡ今天\u3000\u200d\x01\u0301"]), max_size=20))
@pytest.mark.parametrize("kind", ["trained", "sentencepiece_like"])
def test_ids_equal_autotokenizer_and_spans_are_inside(
    text: str, kind: str, trained: Path, sentencepiece_like: Path
) -> None:
    auto, ours = opened({"trained": trained, "sentencepiece_like": sentencepiece_like}[kind])
    (pieces,) = ours.encode([text])
    assert pieces.ids == auto(text, add_special_tokens=False)["input_ids"]
    assert len(pieces.spans) == len(pieces.ids)
    assert all(0 <= start <= end <= len(text) for start, end in pieces.spans)


def opened(folder: Path, cache: dict = {}) -> tuple:  # noqa: B006 - one opening per folder and test run
    from transformers import AutoTokenizer

    if folder not in cache:
        cache[folder] = (AutoTokenizer.from_pretrained(str(folder)), PieceTokenizer(folder))
    return cache[folder]


def test_a_tokenizer_without_mask_is_refused(trained: Path, tmp_path: Path) -> None:
    tokenizer_folder.make(trained, tmp_path / "copy")
    config = json.loads((trained / "tokenizer_config.json").read_text())
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    del config["mask_token"]
    (tmp_path / "copy" / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="without the special pieces mask"):
        PieceTokenizer(tmp_path / "copy")


def test_an_id_that_asks_for_gigabytes_is_refused(trained: Path, tmp_path: Path) -> None:
    tokenizer_folder.make(trained, tmp_path / "folder")
    file = tmp_path / "folder" / "tokenizer.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["model"]["vocab"]["far"] = 2**31
    file.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match="pieces and ids up to 2,147,483,648"):
        PieceTokenizer(tmp_path / "folder")


def test_code_that_a_tokenizer_asks_for_is_named_and_never_run(
    trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    tokenizer_folder.make(trained, source)
    config = json.loads((source / "tokenizer_config.json").read_text(encoding="utf-8"))
    monkeypatch.chdir(tmp_path)
    (source / "mine.py").write_text("from pathlib import Path\nPath('ran').touch()\nclass Mine: pass\n")
    for tokenizer_class in ("BertTokenizer", "Mine"):
        changed = config | {
            "tokenizer_class": tokenizer_class,
            "auto_map": {"AutoTokenizer": ["mine.Mine", "mine.Mine"]},
        }
        (source / "tokenizer_config.json").write_text(json.dumps(changed), encoding="utf-8")
        tokenizer_folder.make(source, tmp_path / tokenizer_class)
        assert "asks for code of its own (auto_map), which is never run" in caplog.text
        if tokenizer_class == "BertTokenizer":
            PieceTokenizer(tmp_path / tokenizer_class)
        else:
            with pytest.raises(InputError, match="is not a tokenizer that AutoTokenizer can load"):
                PieceTokenizer(tmp_path / tokenizer_class)
    assert not (tmp_path / "ran").exists()
