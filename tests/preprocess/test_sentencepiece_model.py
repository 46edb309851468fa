"""SentencePiece models become Hugging Face folders whose ids are the sentencepiece library's."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from real_text import LANGUAGES, WHY_SKIPPED, sentences
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from small_runs import all_pieces, pieces_of
from weam_preprocess import sentencepiece_model, tokenizer_folder
from weam_preprocess.errors import InputError
from weam_preprocess.pieces import PieceTokenizer

from weam_fairseq.common.tokenizers import PROBES

TEXT = [
    "All human beings are born free and equal in dignity and rights.",
    "Alle Menschen sind frei und gleich an Würde und Rechten geboren.",
    "Todos los seres humanos nacen libres e iguales en dignidad y derechos.",
    "Tous les êtres humains naissent libres et égaux en dignité et en droits.",
    "Все люди рождаются свободными и равными в своем достоинстве и правах.",
    "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền lợi.",
    "人人生而自由，在尊严和权利上一律平等。",
    "すべての人間は、生れながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "يولد جميع الناس أحراراً متساوين في الكرامة والحقوق.",
    "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।",
    "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
    "We don't see 3,500 houses; the house is small, the houses are big.",
    "Wir sehen keine 3.500 Häuser: das Haus ist klein, die Häuser sind groß.",
]


def train(**options: object) -> bytes:
    model = io.BytesIO()
    usual = {"model_type": "unigram", "vocab_size": 800, "hard_vocab_limit": False, "num_threads": 1, "minloglevel": 2}
    SentencePieceTrainer.train(sentence_iterator=iter(TEXT * 3), model_writer=model, **{**usual, **options})
    return model.getvalue()


# XLM-R's numbering, SentencePiece's own (which has no pad), other names, bytes for what is unknown, white space kept.
OPTIONS: dict[str, dict[str, object]] = {
    "unigram": {"bos_id": 0, "pad_id": 1, "eos_id": 2, "unk_id": 3},
    "bpe": {"model_type": "bpe"},
    "bpe with bytes": {"model_type": "bpe", "byte_fallback": True},
    "unigram with bytes": {"byte_fallback": True},
    "names": {
        "bos_piece": "[CLS]",
        "eos_piece": "[SEP]",
        "pad_piece": "[PAD]",
        "pad_id": 3,
        "control_symbols": "[MASK]",
    },
    "no prefix": {"add_dummy_prefix": False, "normalization_rule_name": "identity"},
    "white space": {"remove_extra_whitespaces": False, "split_by_whitespace": False},
    "no bos": {"bos_id": -1, "model_type": "bpe", "normalization_rule_name": "nfkc_cf"},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[SentencePieceProcessor, Path]]:
    """The library's processor, and the folder that is made of its file."""
    folder = tmp_path_factory.mktemp("models")
    found = {}
    for name, options in OPTIONS.items():
        file = folder / f"{name}.model"
        file.write_bytes(train(**options))
        tokenizer_folder.make(file, folder / name)
        found[name] = SentencePieceProcessor(model_file=str(file)), folder / name
    return found


@pytest.mark.parametrize("name", OPTIONS)
def test_ids_are_the_librarys(made: dict[str, tuple[SentencePieceProcessor, Path]], name: str) -> None:
    from transformers import AutoTokenizer

    library, folder = made[name]
    auto, ours = AutoTokenizer.from_pretrained(str(folder)), PieceTokenizer(folder)
    texts = [*TEXT, *PROBES, "", "   ", "  a  b ", "☃☃ ☃", "\u2581a", "cafe\u0301", "①", "\x00 x\u2028y"]
    for text, pieces in zip(texts, all_pieces(ours, texts), strict=True):
        assert pieces.ids == auto(text, add_special_tokens=False)["input_ids"] == library.encode(text)
        assert all(0 <= start <= end <= len(text) for start, end in pieces.spans)
    for idx in range(library.get_piece_size()):
        assert auto.convert_ids_to_tokens(idx) == library.id_to_piece(idx)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(
    text=st.lists(st.sampled_from([*"aehn s.,ÄﬁＡ今天 人3", " ", "\u3000", "Haus", "e\u0301", "☃"]), max_size=12).map(
        "".join
    )
)
def test_ids_of_any_text(made: dict[str, tuple[SentencePieceProcessor, Path]], text: str) -> None:
    for name in ("unigram", "bpe", "white space"):
        library, folder = made[name]
        pieces = pieces_of(opened(folder), text)
        assert pieces.ids == library.encode(text), name


def opened(folder: Path, cache: dict[Path, PieceTokenizer] = {}) -> PieceTokenizer:  # noqa: B006 - once per test run
    return cache.setdefault(folder, cache.get(folder) or PieceTokenizer(folder))


def test_special_pieces_keep_their_ids_or_come_last(made: dict[str, tuple[SentencePieceProcessor, Path]]) -> None:
    def special(name: str) -> dict[str, int]:
        return PieceTokenizer(made[name][1]).special_ids

    size = {name: library.get_piece_size() for name, (library, _) in made.items()}
    assert special("unigram") == {"cls": 0, "pad": 1, "sep": 2, "unk": 3, "mask": size["unigram"]}
    # SentencePiece's own numbering: unknown, beginning, end; no pad.
    assert special("bpe") == {"cls": 1, "pad": size["bpe"], "sep": 2, "unk": 0, "mask": size["bpe"] + 1}
    assert special("names") == {"cls": 1, "pad": 3, "sep": 2, "unk": 0, "mask": 4}
    last = size["no bos"]
    assert special("no bos") == {"cls": last, "pad": last + 1, "sep": 2, "unk": 0, "mask": last + 2}
    pair = PieceTokenizer(made["unigram"][1]).pair
    assert (pair.ids, set(pair.segments)) == ([0, "A", 2, 2, "B", 2], {0})


def test_pieces_between_user_defined_ones(tmp_path: Path) -> None:
    data = train(user_defined_symbols="<sep>")
    (tmp_path / "m.model").write_bytes(data)
    tokenizer_folder.make(tmp_path / "m.model", tmp_path / "folder")
    library = SentencePieceProcessor(model_proto=data)
    text = "Das Haus <sep> ist klein.<sep>Ja"
    pieces = pieces_of(PieceTokenizer(tmp_path / "folder"), text)
    assert pieces.ids == library.encode(text)


def test_what_is_no_model_of_ours(tmp_path: Path) -> None:
    cases = [
        (b"", "is not a SentencePiece model"),
        (b"\xff" * 20, "is not a SentencePiece model"),
        (b"plain text, and some more of it", "is not a SentencePiece model"),
        (train()[:-7], "is not a SentencePiece model"),
        (train(model_type="char"), r"has a model of words or characters \(must be Unigram or BPE\)"),
        (train(treat_whitespace_as_suffix=True), "has white space at the end of pieces"),
    ]
    for data, sentence in cases:
        (tmp_path / "m.model").write_bytes(data)
        with pytest.raises(InputError, match=rf"m\.model {sentence}"):
            tokenizer_folder.make(tmp_path / "m.model", tmp_path / "folder")
        assert not (tmp_path / "folder").exists()


@pytest.fixture(scope="module")
def slow_xlmr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """XLM-R's slow form: its numbering has <s> <pad> </s> <unk> first, the model's pieces one later, <mask> last."""
    folder = tmp_path_factory.mktemp("slow")
    (folder / "sentencepiece.bpe.model").write_bytes(train())
    return folder


@pytest.mark.parametrize(
    ("file", "config"),
    [
        (None, None),
        ("tokenizer_config.json", {"tokenizer_class": "XLMRobertaTokenizer"}),
        ("config.json", {"model_type": "xlm-roberta"}),
    ],
)
def test_a_folder_with_xlmrs_slow_form_only(
    slow_xlmr: Path, tmp_path: Path, file: str | None, config: dict[str, str] | None
) -> None:
    (tmp_path / "there").mkdir()
    model = (slow_xlmr / "sentencepiece.bpe.model").read_bytes()
    (tmp_path / "there" / "sentencepiece.bpe.model").write_bytes(model)
    if file:
        (tmp_path / "there" / file).write_text(json.dumps(config))
    tokenizer_folder.make(tmp_path / "there", tmp_path / "copy")
    assert (tmp_path / "copy" / "sentencepiece.bpe.model").read_bytes() == model
    tokenizer, library = PieceTokenizer(tmp_path / "copy"), SentencePieceProcessor(model_proto=model)
    assert tokenizer.special_ids == {"cls": 0, "pad": 1, "sep": 2, "unk": 3, "mask": library.get_piece_size() + 1}
    for text, pieces in zip(TEXT, all_pieces(tokenizer, TEXT), strict=True):
        assert pieces.ids == [idx + 1 if idx else 3 for idx in library.encode(text)]
    # What is loaded later is the tokenizer.json.
    (tmp_path / "copy" / "sentencepiece.bpe.model").unlink()
    assert [pieces_of(PieceTokenizer(tmp_path / "copy"), text) for text in TEXT] == [
        pieces_of(tokenizer, text) for text in TEXT
    ]


def test_camemberts_slow_form(slow_xlmr: Path, tmp_path: Path) -> None:
    """Its numbering has five pieces first, and the model's own <s> and </s> after them (ids 5 and 6)."""
    (tmp_path / "there").mkdir()
    model = (slow_xlmr / "sentencepiece.bpe.model").read_bytes()
    (tmp_path / "there" / "sentencepiece.bpe.model").write_bytes(model)
    (tmp_path / "there" / "config.json").write_text('{"model_type": "camembert"}')
    tokenizer_folder.make(tmp_path / "there", tmp_path / "copy")
    tokenizer, library = PieceTokenizer(tmp_path / "copy"), SentencePieceProcessor(model_proto=model)
    assert tokenizer.special_ids == {"cls": 5, "pad": 1, "sep": 6, "unk": 3, "mask": library.get_piece_size() + 4}
    for text, pieces in zip(TEXT, all_pieces(tokenizer, TEXT), strict=True):
        assert pieces.ids == [idx + 4 if idx else 3 for idx in library.encode(text)]


@pytest.mark.parametrize("name", ["spiece.model", "tokenizer.model"])
def test_a_folder_with_a_model_alone_is_as_the_file(
    made: dict[str, tuple[SentencePieceProcessor, Path]], tmp_path: Path, name: str
) -> None:
    (tmp_path / "there").mkdir()
    shutil.copyfile(made["unigram"][1].with_name("unigram.model"), tmp_path / "there" / name)
    tokenizer_folder.make(tmp_path / "there", tmp_path / "copy")
    assert all_pieces(PieceTokenizer(tmp_path / "copy"), TEXT) == all_pieces(PieceTokenizer(made["unigram"][1]), TEXT)


def test_a_class_whose_numbering_is_not_known_here(slow_xlmr: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    shutil.copyfile(slow_xlmr / "sentencepiece.bpe.model", tmp_path / "there" / "spiece.model")
    (tmp_path / "there" / "config.json").write_text('{"model_type": "xlnet"}')
    with pytest.raises(InputError, match=r"only spiece\.model, which .* not for XLNet.*save_pretrained"):
        tokenizer_folder.make(tmp_path / "there", tmp_path / "copy")


@pytest.mark.parametrize("kind", tokenizer_folder.TRAINED)
def test_training_twice_gives_the_same_bytes(kind: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        tokenizer_folder.train_tokenizer(kind, iter(TEXT * 3), 600, tmp_path / name)
    first = {file.name: file.read_bytes() for file in (tmp_path / "a").iterdir()}
    assert first == {file.name: file.read_bytes() for file in (tmp_path / "b").iterdir()}
    tokenizer = PieceTokenizer(tmp_path / "a")
    assert 200 < len(tokenizer.ids) <= 600
    unknown = tokenizer.special_ids["unk"]
    assert all(unknown not in pieces.ids for pieces in all_pieces(tokenizer, TEXT[:6]))


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_trained_pieces_are_numbered_as_fairseq_numbers_them(kind: str, tmp_path: Path) -> None:
    tokenizer_folder.train_tokenizer(kind, TEXT * 3, 10_000, tmp_path / "folder", character_coverage=1.0)
    tokenizer = PieceTokenizer(tmp_path / "folder")
    last = len(tokenizer.ids) - 1  # fewer than were asked for: the text has no more
    assert last < 5_000
    assert tokenizer.special_ids == {"cls": 0, "pad": 1, "sep": 2, "unk": 3, "mask": last}
    assert all(3 not in pieces.ids for pieces in all_pieces(tokenizer, TEXT))


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_too_few_pieces_for_the_characters(kind: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"--vocab-size 50 does not fit {kind} pieces of this text: Vocabulary size"):
        tokenizer_folder.train_tokenizer(kind, TEXT, 50, tmp_path / "folder")


def test_an_unknown_kind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must be one of wordpiece, bpe, unigram, but is 'words'"):
        tokenizer_folder.train_tokenizer("words", TEXT, 50, tmp_path / "folder")


@pytest.mark.skipif(not LANGUAGES, reason=WHY_SKIPPED)
@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_ids_of_real_text(kind: str) -> None:
    texts = [text for lang in LANGUAGES for text in sentences(lang, 30)]
    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        model_type=kind,
        vocab_size=2_500,
        num_threads=1,
        minloglevel=2,
    )
    library = SentencePieceProcessor(model_proto=model.getvalue())
    ours = sentencepiece_model.to_hugging_face(sentencepiece_model.read(model.getvalue(), "trained"))
    held_out = [text for lang in LANGUAGES for text in sentences(lang, 300)]
    encodings = ours.encode_batch(held_out, add_special_tokens=False)
    assert [encoding.ids for encoding in encodings] == library.encode(held_out)
