"""Chunks remembered or not, the pieces are those that the tokenizer gives for whole sentences."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors
from weam_preprocess.piece_encoder import PieceEncoder
from weam_preprocess.spans import unpack

SPECIAL = ["[UNK]", "[MASK]"]
PIECES = [*"housemall.,'ÄäÅA今天▁[]", "house", "small", "##s", "##e", "##o", "##.", "▁house", "▁s", "▁s,", "▁a"]


def bert(lowercase: bool) -> Tokenizer:
    vocabulary = {piece: idx for idx, piece in enumerate([*SPECIAL, *dict.fromkeys(PIECES)])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=8))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def metaspace(normalizer: normalizers.Normalizer | None, cutter: pre_tokenizers.PreTokenizer) -> Tokenizer:
    pieces = [*SPECIAL, *dict.fromkeys(PIECES)]
    tokenizer = Tokenizer(models.Unigram([(piece, -1.0 - idx / 10) for idx, piece in enumerate(pieces)], unk_id=0))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = cutter
    return tokenizer


def spaces_merged() -> normalizers.Normalizer:
    from tokenizers import Regex

    return normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])


def with_special(tokenizer: Tokenizer, **more: bool) -> Tokenizer:
    tokenizer.add_special_tokens([AddedToken(piece, special=True, normalized=False, **more) for piece in SPECIAL])
    return tokenizer


METASPACE = pre_tokenizers.Metaspace()
BY_CHUNKS = {
    "bert": with_special(bert(lowercase=False)),
    "bert, lower case": with_special(bert(lowercase=True)),
    "metaspace": with_special(metaspace(normalizers.NFKC(), METASPACE)),
    "metaspace, nothing normalised": with_special(metaspace(None, METASPACE)),
    "metaspace, spaces merged": with_special(metaspace(spaces_merged(), METASPACE)),
    "white space, then metaspace": with_special(
        metaspace(normalizers.NFKC(), pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), METASPACE]))
    ),
}
WHOLE = {
    "added pieces take spaces": with_special(bert(lowercase=False), lstrip=True),
    "pieces over spaces": with_special(metaspace(None, pre_tokenizers.Metaspace(split=False))),
    "no space put before": with_special(metaspace(None, pre_tokenizers.Metaspace(prepend_scheme="never"))),
    "another normaliser": with_special(metaspace(normalizers.Replace("s", " "), METASPACE)),
}
TOKENIZERS = BY_CHUNKS | WHOLE
WITHOUT_MARK = {"bert", "bert, lower case", "added pieces take spaces"}
ENCODERS = {name: PieceEncoder(tokenizer.to_str()) for name, tokenizer in TOKENIZERS.items()}

CHUNKS = ["house", "houses", "small.", "s", "a", "Ä", "A\u030a", "今天", "[MASK]", "x[MASK]s", "▁", "▁s", "¨s", "ﬁ"]
CHUNKS += ["", "\u0301", "s\u3000s", "\xa0", "\x85", "\x1c", "\x00", "s\ts", "\u200d", "\u0600", "👍🏽", "houseshouses"]
sentences = st.lists(st.lists(st.sampled_from(CHUNKS), max_size=6).map(" ".join), max_size=5)
anything = st.lists(st.text(st.sampled_from([*"hous. eÄ今▁ \u3000\u200d\x01\u0301"]), max_size=16), max_size=4)


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=150, deadline=None)
@given(texts=sentences | anything)
def test_pieces_are_those_of_whole_sentences(name: str, texts: list[str]) -> None:
    whole = [TOKENIZERS[name].encode(text, add_special_tokens=False) for text in texts]
    for _ in range(2):  # chunks seen before (by this example or another), and certainly seen
        found = ENCODERS[name].encode_arrays(texts)
        assert found.ids.tolist() == [piece for encoding in whole for piece in encoding.ids]
        assert unpack(found.spans) == [
            [
                (start, start) if stands_for_nothing(name, piece, text[start:end]) else (start, end)
                for piece, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True)
            ]
            for text, encoding in zip(texts, whole, strict=True)
        ]


def stands_for_nothing(name: str, piece: str, covered: str) -> bool:
    """A piece of white space alone, or the mark that Metaspace writes for it; to BERT ▁ is a character."""
    return not covered.strip() or (piece == "▁" and name not in WITHOUT_MARK)


def drawn(tokenizer: Tokenizer, text: str) -> list[tuple[str, str]]:
    """Each piece, and what its span covers."""
    found = PieceEncoder(tokenizer.to_str()).encode_arrays([text])
    names = [tokenizer.id_to_token(piece_id) for piece_id in found.ids.tolist()]
    return [(piece, text[start:end]) for piece, (start, end) in zip(names, unpack(found.spans)[0], strict=True)]


def byte_fallback(model: str) -> Tokenizer:
    pieces = ["<unk>", "▁", "a", "▁a", "今", *(f"<0x{byte:02X}>" for byte in range(256))]
    if model == "unigram":
        scored = [(piece, -float(idx)) for idx, piece in enumerate(pieces)]
        tokenizer = Tokenizer(models.Unigram(scored, unk_id=0, byte_fallback=True))
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    else:  # as Llama's: the normaliser writes the marks
        ids = {piece: idx for idx, piece in enumerate(pieces)}
        tokenizer = Tokenizer(models.BPE(ids, [("▁", "a")], unk_token="<unk>", byte_fallback=True))
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return tokenizer


@pytest.mark.parametrize("model", ["unigram", "bpe"])
def test_bytes_are_of_their_own_character_and_a_lone_mark_of_none(model: str) -> None:
    heaven = [(f"<0x{byte:02X}>", "天") for byte in "天".encode()]
    air = [(f"<0x{byte:02X}>", "气") for byte in "气".encode()]
    tokenizer = byte_fallback(model)
    assert drawn(tokenizer, "天气a") == [("▁", ""), *heaven, *air, ("a", "a")]
    assert drawn(tokenizer, "今 天") == [("▁", ""), ("今", "今"), ("▁", ""), *heaven]
    assert drawn(tokenizer, "a  今") == [("▁a", "a"), ("▁", ""), ("▁", ""), ("今", "今")]


@pytest.mark.parametrize("prefix", [True, False])
@pytest.mark.parametrize("trimmed", [True, False])
def test_byte_level_space_alone_is_of_no_character(prefix: bool, trimmed: bool) -> None:
    ids = {piece: idx for idx, piece in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(ids, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=trimmed)
    first = [("Ġ", "")] if prefix else []
    assert drawn(tokenizer, "é a") == [*first, ("Ã", "é"), ("©", "é"), ("Ġ", ""), ("a", "a")]


def test_chunks_are_remembered_only_where_pieces_stay_within_them() -> None:
    assert {name for name in TOKENIZERS if ENCODERS[name]._chunks is not None} == set(BY_CHUNKS)


def test_forgetting_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weam_preprocess.piece_encoder._REMEMBERED", 3)
    encoder = PieceEncoder(TOKENIZERS["bert"].to_str())
    for text in ("houses small", "small a s", "houses a", "s"):
        assert encoder.encode_arrays([text]).ids.tolist() == TOKENIZERS["bert"].encode(text).ids


def test_sentences_are_never_cut_nor_padded() -> None:
    tokenizer = Tokenizer.from_str(TOKENIZERS["metaspace"].to_str())
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=7)
    assert json.loads(tokenizer.to_str())["truncation"] is not None
    found = PieceEncoder(tokenizer.to_str()).encode_arrays(["a a a a a"])
    assert len(found.ids) == 5
