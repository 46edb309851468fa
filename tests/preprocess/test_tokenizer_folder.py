"""The four ways to a tokenizer folder, and that its pieces are AutoTokenizer's."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import all_pieces, pieces_of
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from weam_preprocess import pipeline, tokenizer_folder
from weam_preprocess.corpus import parse_pair_files
from weam_preprocess.databin import IdSpace
from weam_preprocess.errors import InputError
from weam_preprocess.pieces import PieceTokenizer
from weam_preprocess.report import render
from weam_preprocess.run_options import Options
from weam_preprocess.spans import unpack

from weam_fairseq.common.tokenizers import PROBES

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
    assert all_pieces(one, SENTENCES) == all_pieces(other, SENTENCES)
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
    pieces, arrays = all_pieces(tokenizer, texts), tokenizer.encode_arrays(texts)
    rust = Tokenizer.from_file(str(trained / "tokenizer.json"))
    assert [sentence.spans for sentence in pieces] == [rust.encode(x, add_special_tokens=False).offsets for x in texts]
    assert arrays.ids.tolist() == [idx for sentence in pieces for idx in sentence.ids]
    assert unpack(arrays.spans) == [sentence.spans for sentence in pieces]
    assert tokenizer.encode_arrays([]).ids.tolist() == []


def test_vocab_without_special_pieces(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\na\n")
    with pytest.raises(InputError, match=r"must hold one WordPiece piece a line, including \[CLS\], \[SEP\], \[MASK\]"):
        tokenizer_folder.make(tmp_path / "vocab.txt", tmp_path / "folder")


def test_broken_json(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"version": ')
    with pytest.raises(InputError, match=r"tokenizer\.json must be JSON, but is not"):
        tokenizer_folder.make(tmp_path / "tokenizer.json", tmp_path / "folder")


def test_a_json_of_another_version_of_the_library(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    content = json.loads((trained / "tokenizer.json").read_text(encoding="utf-8"))
    content["normalizer"] = {"type": "NotYetInvented"}
    (tmp_path / "there" / "tokenizer.json").write_text(json.dumps(content))
    (tmp_path / "there" / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    with pytest.raises(InputError, match=r"tokenizer\.json must be a tokenizer\.json that tokenizers .* newer version"):
        tokenizer_folder.make(tmp_path / "there", tmp_path / "made")


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
    pieces = pieces_of(ours, text)
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
    with pytest.raises(InputError, match="without the special pieces mask;"):
        PieceTokenizer(tmp_path / "copy")


BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "das", "haus", "h", "##aus", "##\u00e4", "schon"]


@pytest.mark.parametrize(
    ("pieces", "casing"),
    [
        (["[UNK]", "Haus", "haus"], (False, False)),
        (["[UNK]", "[Doc]", "<S>", "haus", "schon"], (True, True)),  # special pieces do not count
        (["[UNK]", "haus", "sch\u00f6n"], (True, False)),
        (["[UNK]", "今", "##天", "1"], (False, False)),  # no letter has a case
        (["\U0001d53b", "haus"], (True, True)),  # 𝔻 is a capital letter, and lower-casing leaves it
    ],
)
def test_what_a_vocabulary_was_made_for(pieces: list[str], casing: tuple[bool, bool]) -> None:
    assert tokenizer_folder.casing_of(pieces) == casing


CONFIGURED = {
    "the file": {},
    "nothing else": {},
    "model type": {"config.json": {"model_type": "bert"}},
    "silent configuration": {"config.json": {"model_type": "bert"}, "tokenizer_config.json": {"model_max_length": 99}},
    "another class": {"config.json": {"model_type": "electra"}},
}


@pytest.mark.parametrize("cased", [True, False])
@pytest.mark.parametrize("how", CONFIGURED)
def test_a_vocabulary_means_the_same_as_a_file_and_in_a_folder(
    how: str, cased: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pieces = [*BERT[:5], *(["Das", "Haus", "##\u00e4", "aus"] if cased else ["das", "haus", "h"])]
    there = tmp_path / "there"
    there.mkdir()
    (there / "vocab.txt").write_text("".join(piece + "\n" for piece in pieces), encoding="utf-8")
    for name, content in CONFIGURED[how].items():
        (there / name).write_text(json.dumps(content))
    tokenizer_folder.make(there / "vocab.txt" if how == "the file" else there, tmp_path / "made")
    (line,) = caplog.messages
    assert cased != PieceTokenizer(tmp_path / "made").lower_cases
    assert cased != PieceTokenizer(tmp_path / "made").strips_accents
    assert ("keeps capital letters and keeps accents" if cased else "lower-cases text and strips accents") in line
    auto, ours = opened(tmp_path / "made")
    found = pieces_of(ours, "Das Haus")
    assert found.ids == auto("Das Haus", add_special_tokens=False)["input_ids"] == [5, 6]
    assert ours.pair.ids == [2, "A", 3, "B", 3]


@pytest.mark.parametrize("how", ["nothing else", "model type", "silent configuration"])
def test_a_tokenizer_json_says_what_it_does_to_capital_letters(how: str, trained: Path, tmp_path: Path) -> None:
    """BERT's class lower-cases where tokenizer_config.json does not say otherwise, whatever tokenizer.json says."""
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "tokenizer.json").write_bytes((trained / "tokenizer.json").read_bytes())
    for name, content in CONFIGURED[how].items():
        (tmp_path / "there" / name).write_text(json.dumps(content))
    tokenizer_folder.make(tmp_path / "there", tmp_path / "made")
    assert all_pieces(PieceTokenizer(tmp_path / "made"), SENTENCES) == all_pieces(PieceTokenizer(trained), SENTENCES)


def test_a_stated_casing_is_kept_and_doubted(trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "vocab.txt").write_bytes((trained / "vocab.txt").read_bytes())
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    (tmp_path / "there" / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer_folder.make(tmp_path / "there", tmp_path / "made")
    assert files(tmp_path / "made") == files(tmp_path / "there")
    assert "pieces have capital letters and will never be used" in caplog.text


def byte_level(folder: Path, config: dict[str, str], template: bool = True) -> Path:
    """EuroBERT's form: a piece for every byte, none for what is unknown."""
    special = ["<s>", "</s>", "<pad>", "<mask>"]
    ids = {piece: idx for idx, piece in enumerate([*special, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    tokenizer = Tokenizer(models.BPE(ids, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(special)
    if template:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
        )
    tokenizer.enable_truncation(3)
    if "pad_token" in config:  # else transformers takes the piece that is named here
        tokenizer.enable_padding(length=7, pad_id=2, pad_token="<pad>")
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **config}))
    return folder


NAMED = {"pad_token": "<pad>", "mask_token": "<mask>"}
ENDS = {"bos_token": "<s>", "eos_token": "</s>"}


# GPT-2's unk is also its end; where nothing names cls and sep, the template does.
@pytest.mark.parametrize("more", [ENDS, {}, {**ENDS, "unk_token": "</s>"}, {**ENDS, "unk_token": "<pad>"}])
def test_a_tokenizer_needs_no_unknown_piece(more: dict[str, str], tmp_path: Path) -> None:
    tokenizer_folder.make(byte_level(tmp_path / "there", {**NAMED, **more}), tmp_path / "made")
    tokenizer = PieceTokenizer(tmp_path / "made")
    assert tokenizer.special_ids == {"cls": 0, "pad": 2, "sep": 1, "mask": 3}
    assert tokenizer.pair.ids == [0, "A", 1, "B", 1]
    assert tokenizer.reserved_ids == {0, 1, 2, 3} or not more
    pieces = pieces_of(tokenizer, "ab cd")
    assert len(pieces.ids) == 5  # neither cut nor padded
    space = IdSpace(tokenizer.ids, tokenizer.special_ids)
    assert space.size == len(tokenizer.ids)
    assert space.fairseq_ids([0, 2, 1, 4]).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("config", "template", "sentence"),
    [
        ({"mask_token": "<mask>"}, True, "without the special pieces pad;"),
        ({}, True, "without the special pieces pad, mask;"),
        (NAMED, False, "without the special pieces cls, sep;"),
        ({**NAMED, **ENDS}, False, "must add special pieces to a pair of sentences"),
        ({**NAMED, **ENDS, "pad_token": "</s>"}, True, "whose pad has its own id"),
    ],
)
def test_what_a_tokenizer_lacks_is_named(config: dict[str, str], template: bool, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=sentence):
        PieceTokenizer(byte_level(tmp_path / "there", config, template))


def test_ids_without_a_piece_are_never_drawn(trained: Path, tmp_path: Path) -> None:
    content = json.loads((trained / "tokenizer.json").read_text(encoding="utf-8"))
    size = len(content["model"]["vocab"])
    content["added_tokens"].append({**content["added_tokens"][0], "id": size + 2, "content": "[NEW]"})
    content["model"]["vocab"]["[NEW]"] = size + 2
    tokenizer_folder.make(trained, tmp_path / "made")
    (tmp_path / "made" / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    config = json.loads((trained / "tokenizer_config.json").read_text())
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    (tmp_path / "made" / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = PieceTokenizer(tmp_path / "made")
    assert tokenizer.ids == list(range(size + 3))
    assert {size, size + 1} <= set(tokenizer.all_special_ids)


def test_unknown_pieces_are_counted_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """German with a vocabulary that has two of its four words; a full stop that no vocabulary lacks."""
    pairs = [("the house .", "das Haus .")] * 2 + [("the dog .", "der Hund .")]
    (tmp_path / "p.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in pairs), encoding="utf-8")
    pieces = [*BERT[:5], "the", "house", "dog", "das", "Haus", "."]
    (tmp_path / "vocab.txt").write_text("".join(piece + "\n" for piece in pieces), encoding="utf-8")
    options = Options(
        pairs=parse_pair_files([f"en-de={tmp_path / 'p.tsv'}"]),
        destdir=tmp_path / "data-bin",
        tokenizer=tmp_path / "vocab.txt",
        aligner="fast_align",
    )
    report = pipeline.run(options)
    # Two different pairs: of six German pieces "der" and "Hund" are unknown.
    assert report.pairs[0].unknown_pieces == (0.0, 2 / 6)
    manifest = json.loads((tmp_path / "data-bin" / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["tokenizer"]["lower_cases"], manifest["tokenizer"]["strips_accents"]) == (False, False)
    assert manifest["pairs"]["en-de"]["unknown_pieces"] == {"en": 0.0, "de": 0.333333}
    assert render(report).splitlines()[1].endswith("en 0.00%, de 33.33%")
    (told,) = [message for message in caplog.messages if "pieces are unknown" in message]
    assert told.startswith("en-de: 33.3% of the de pieces are unknown")


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
        if tokenizer_class == "BertTokenizer":
            tokenizer_folder.make(source, tmp_path / tokenizer_class)
            PieceTokenizer(tmp_path / tokenizer_class)
        else:
            with pytest.raises(InputError, match="needs code from its folder, which is never run here"):
                tokenizer_folder.make(source, tmp_path / tokenizer_class)
        assert "needs code from its folder (auto_map), which is never run" in caplog.text
    assert not (tmp_path / "ran").exists()
