"""Chunks remembered or not, the pieces are those that the tokenizer gives for whole sentences."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers
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
        assert unpack(found.spans) == [encoding.offsets for encoding in whole]


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
