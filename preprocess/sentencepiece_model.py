"""Turns a SentencePiece model file (Unigram or BPE) into a Hugging Face tokenizer with the same pieces and ids.

The file is a protocol buffer. The few fields that matter are read here, because the reader in the sentencepiece
package works only with some releases of protobuf.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from weam_fairseq.common.errors import InputError

SPECIAL_PIECES = {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"}

_SPACE = "\u2581"  # how SentencePiece writes a space
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6
_UNIGRAM, _BPE = 1, 2

# Field numbers of sentencepiece_model.proto, with the default values.
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_TRAINER_FIELDS: dict[str, tuple[int, Any]] = {
    "model_type": (3, _UNIGRAM),
    "treat_whitespace_as_suffix": (24, 0),
    "byte_fallback": (35, 0),
    "unk_piece": (45, b"<unk>"),
    "bos_piece": (46, b"<s>"),
    "eos_piece": (47, b"</s>"),
    "pad_piece": (48, b"<pad>"),
}
_NORMALIZER_FIELDS: dict[str, tuple[int, Any]] = {
    "precompiled_charsmap": (2, b""),
    "add_dummy_prefix": (3, 1),
    "remove_extra_whitespaces": (4, 1),
    "escape_whitespaces": (5, 1),
}


class Piece(NamedTuple):
    text: str
    score: float
    type: int


class SentencePieceModel(NamedTuple):
    """`pieces` in the order of their ids; `trainer` and `normalizer` hold the fields above."""

    pieces: list[Piece]
    trainer: dict[str, Any]
    normalizer: dict[str, Any]


def read(data: bytes, name: object) -> SentencePieceModel:
    """Reads the content of a .model file. Raises InputError if it cannot become a Hugging Face tokenizer."""
    try:
        fields = list(_fields(data))
        pieces = [_piece(value) for number, value in fields if number == _PIECES]
        trainer, normalizer = (
            _settings(b"".join(value for number, value in fields if number == part), wanted)
            for part, wanted in ((_TRAINER, _TRAINER_FIELDS), (_NORMALIZER, _NORMALIZER_FIELDS))
        )
    except (IndexError, TypeError, ValueError, struct.error) as error:
        raise InputError(f"{name} is not a SentencePiece model.") from error
    if not any(piece.type == _UNKNOWN for piece in pieces):
        raise InputError(f"{name} is not a SentencePiece model: it has no piece for unknown characters.")
    refused = {
        "a model of words or characters (must be Unigram or BPE)": trainer["model_type"] not in (_UNIGRAM, _BPE),
        "white space at the end of pieces": trainer["treat_whitespace_as_suffix"],
        "white space that is not escaped": not normalizer["escape_whitespaces"],
        "unused pieces": any(piece.type == _UNUSED for piece in pieces),
    }
    for what, found in refused.items():
        if found:
            raise InputError(f"{name} has {what}, which Hugging Face tokenizers do not support. Choose another model.")
    return SentencePieceModel(pieces, trainer, normalizer)


def special_pieces(model: SentencePieceModel) -> dict[str, str]:
    """The model's names of cls (beginning of a sentence), pad, sep (end of a sentence), unk and mask.

    Missing ones have the names in SPECIAL_PIECES.
    """
    trainer = model.trainer
    control = {piece.text for piece in model.pieces if piece.type in (_CONTROL, _USER_DEFINED)}
    own = {"cls": trainer["bos_piece"], "pad": trainer["pad_piece"], "sep": trainer["eos_piece"]}
    names = {name: text if text in control else SPECIAL_PIECES[name] for name, text in own.items()}
    unknown = next(piece.text for piece in model.pieces if piece.type == _UNKNOWN)
    mask = next((text for text in ("<mask>", "[MASK]") if text in control), SPECIAL_PIECES["mask"])
    return {**names, "unk": unknown, "mask": mask}


def is_unigram(model: SentencePieceModel) -> bool:
    """Otherwise it is BPE."""
    return bool(model.trainer["model_type"] == _UNIGRAM)


def added_pieces(model: SentencePieceModel) -> list[tuple[str, bool]]:
    """Pieces that are matched before a text is split, in the order of their ids, and whether each is special."""
    kinds = (_CONTROL, _USER_DEFINED)
    return [(piece.text, piece.type == _CONTROL) for piece in model.pieces if piece.type in kinds]


def to_hugging_face(model: SentencePieceModel) -> Any:
    """A `tokenizers.Tokenizer`. A piece's id is its position in the model; missing special pieces come after all
    others: cls, pad, sep, mask.

    On running text, its ids are those of the sentencepiece library. They may differ if two segmentations are equally
    likely, and if the text contains a special or user-defined piece.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, processors

    names = special_pieces(model)
    tokenizer = Tokenizer(_unigram(model) if model.trainer["model_type"] == _UNIGRAM else _bpe(model))
    tokenizer.normalizer, tokenizer.pre_tokenizer = _normalizer(model), _pre_tokenizer(model)
    tokenizer.decoder = decoders.Metaspace(replacement=_SPACE)
    # In the order of their ids, so that none is renumbered.
    special = {names["unk"], *(piece.text for piece in model.pieces if piece.type == _CONTROL)}
    for piece in model.pieces:
        if piece.text in special or piece.type == _USER_DEFINED:
            is_special = piece.text in special or piece.text in names.values()
            tokenizer.add_tokens([AddedToken(piece.text, special=is_special, normalized=False)])
    for name in ("cls", "pad", "sep"):
        tokenizer.add_special_tokens([AddedToken(names[name], special=True, normalized=False)])
    # The mask replaces a word, and includes the space before it.
    tokenizer.add_special_tokens([AddedToken(names["mask"], special=True, normalized=False, lstrip=True)])
    cls, sep = names["cls"], names["sep"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls}:0 $A:0 {sep}:0",
        pair=f"{cls}:0 $A:0 {sep}:0 {sep}:0 $B:0 {sep}:0",
        special_tokens=[(text, tokenizer.token_to_id(text)) for text in (cls, sep)],
    )
    return tokenizer


def _unigram(model: SentencePieceModel) -> Any:
    from tokenizers import models

    unk_id = next(idx for idx, piece in enumerate(model.pieces) if piece.type == _UNKNOWN)
    vocab = [(piece.text, piece.score) for piece in model.pieces]
    return models.Unigram(vocab, unk_id=unk_id, byte_fallback=bool(model.trainer["byte_fallback"]))


def _bpe(model: SentencePieceModel) -> Any:
    """SentencePiece merges the pair that gives the best-scored piece; Hugging Face needs the pairs in order."""
    from tokenizers import models

    scores = {piece.text: piece.score for piece in model.pieces if piece.type == _NORMAL}
    merges = [
        (text[:middle], text[middle:])
        for text in sorted(scores, key=lambda text: -scores[text])
        for middle in range(1, len(text))
        if text[:middle] in scores and text[middle:] in scores
    ]
    return models.BPE(
        {piece.text: idx for idx, piece in enumerate(model.pieces)},
        merges,
        unk_token=special_pieces(model)["unk"],
        fuse_unk=True,
        byte_fallback=bool(model.trainer["byte_fallback"]),
    )


def _cuts_at_user_defined(model: SentencePieceModel) -> bool:
    special = special_pieces(model).values()
    return any(piece.type == _USER_DEFINED and piece.text not in special for piece in model.pieces)


def _normalizer(model: SentencePieceModel) -> Any:
    from tokenizers import Regex, normalizers

    steps: list[Any] = []
    if model.normalizer["precompiled_charsmap"]:
        steps.append(normalizers.Precompiled(model.normalizer["precompiled_charsmap"]))
    if model.normalizer["remove_extra_whitespaces"]:
        steps.append(normalizers.Replace(Regex(" {2,}"), " "))
    # The text between two user-defined pieces is normalized separately, so its ends are not those of the sentence.
    if not _cuts_at_user_defined(model):
        if model.normalizer["remove_extra_whitespaces"]:
            steps.append(normalizers.Replace(Regex("^ | $"), ""))
        if model.normalizer["add_dummy_prefix"]:
            steps.append(normalizers.Prepend(" "))
    return normalizers.Sequence(steps)


def _pre_tokenizer(model: SentencePieceModel) -> Any:
    from tokenizers import pre_tokenizers

    prefix = model.normalizer["add_dummy_prefix"] and _cuts_at_user_defined(model)
    # Splitting the text before each space saves time, and changes nothing unless a piece contains a space.
    split = not any(_SPACE in piece.text[1:] for piece in model.pieces)
    return pre_tokenizers.Metaspace(_SPACE, prepend_scheme="first" if prefix else "never", split=split)


def _piece(data: bytes) -> Piece:
    """Fields 1 to 3 of a piece: text, score, type."""
    found = dict(_fields(data))
    return Piece(found[1].decode("utf-8"), struct.unpack("<f", found.get(2, bytes(4)))[0], found.get(3, _NORMAL))


def _settings(data: bytes, wanted: dict[str, tuple[int, Any]]) -> dict[str, Any]:
    found = dict(_fields(data))
    values = {name: found.get(number, default) for name, (number, default) in wanted.items()}
    return {name: value.decode("utf-8") if name.endswith("_piece") else value for name, value in values.items()}


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of every field of a protocol buffer message: an int, or bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        size, at = {1: (8, at), 5: (4, at)}.get(kind) or (_varint(data, at) if kind == 2 else (len(data), at))
        if at + size > len(data):
            raise ValueError("the message ends within a field")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number whose bytes begin at `at` (seven bits each, lowest first), and the position after it."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
