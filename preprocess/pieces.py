"""Pieces of a raw sentence: ids and character spans, exactly as `AutoTokenizer` of the data-bin's folder gives them.

The Rust tokenizer that AutoTokenizer itself holds does the work, so ids cannot differ; special pieces are not added.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from weam_fairseq.common.errors import InputError

from .piece_encoder import PieceArrays, PieceEncoder
from .spans import Span

_BATCH = 2_000  # sentences handed to Rust at once; keeps the bar moving


# What normalisers and pre-tokenisers treat differently: case, accents, compatibility forms, scripts, white space.
# Never to be changed: checkpoints carry the digest that is made from them.
PROBES = (
    "Hello, WORLD! don't e-mail",
    "Crème Brûlée ÀÉÎÕÜ naïve",
    "Straße ẞ İstanbul ı",
    "今天下雨吗？",
    "東京タワー ｶﾀｶﾅ",
    "Привет, Мир! ё",
    "مرحبا بالعالم",
    "नमस्ते दुनिया",
    "สวัสดีชาวโลก",
    "  two  spaces\tand a tab",
    "x² ½ ﬁne",
    "😀👍🏽 a\u200bb",
)


class Pieces(NamedTuple):
    """One sentence: tokenizer ids, and half-open character spans in the raw sentence."""

    ids: list[int]
    spans: list[Span]


class Template(NamedTuple):
    """How the tokenizer joins sentences: ids with "A" and "B" where the sentences stand, and segment ids."""

    ids: list[int | str]
    segments: list[int]

    @property
    def special_pieces(self) -> int:
        return sum(isinstance(item, int) for item in self.ids)


class PieceTokenizer:
    """A Hugging Face tokenizer folder, opened. Raises InputError when it cannot serve a masked language model."""

    def __init__(self, folder: Path) -> None:
        self._auto = open_auto_tokenizer(folder)
        self._rust: Any = getattr(self._auto, "backend_tokenizer", None)
        if self._rust is None:
            raise InputError(f"{folder} holds a tokenizer without a fast (Rust) form. Convert it to a tokenizer.json.")
        self._rust.no_truncation()
        self._rust.no_padding()
        self.ids = sorted(set(self._rust.get_vocab(with_added_tokens=True).values()))
        if (
            self.ids[-1] != len(self.ids) - 1
        ):  # a model has a row for each id up to the largest, and Rust's writer visits all of them
            raise InputError(
                f"{folder} must hold a tokenizer whose {len(self.ids):,} pieces have the ids from 0 to "
                f"{len(self.ids) - 1:,}, but the largest is {self.ids[-1]:,}. Number its pieces without gaps."
            )
        self._encoder = PieceEncoder(self.to_json())
        self.special_ids = self._named_special_ids(folder)
        self.all_special_ids = sorted(self._auto.all_special_ids)
        # A sentence may hold unknown characters, but no piece that has a meaning to the model's input.
        self.reserved_ids = frozenset(self.all_special_ids) - {self.special_ids["unk"]}
        self.single, self.pair = self._template("a"), self._template("a", "a")
        if "B" not in self.pair.ids or self.pair.special_pieces == 0:
            raise InputError(
                f"{folder} must hold a tokenizer that adds special pieces to a pair of sentences, but this one adds "
                "none. Name another --tokenizer, or train one with --train-tokenizer."
            )

    def pieces_sha256(self) -> str:
        """Hexadecimal digest of the pieces in the order of their ids."""
        vocabulary: dict[str, int] = self._rust.get_vocab(with_added_tokens=True)
        lines = sorted((number, piece) for piece, number in vocabulary.items())
        return hashlib.sha256("".join(f"{number}\t{piece}\n" for number, piece in lines).encode()).hexdigest()

    def behaviour_sha256(self) -> str:
        """Hexadecimal digest of how `PROBES` are written: their ids with spaces between, one line a probe."""
        ids = [self._rust.encode(probe, add_special_tokens=False).ids for probe in PROBES]
        return hashlib.sha256("".join(" ".join(map(str, line)) + "\n" for line in ids).encode()).hexdigest()

    def _named_special_ids(self, folder: Path) -> dict[str, int]:
        auto = self._auto
        found = {
            "cls": _first(auto.cls_token_id, auto.bos_token_id),
            "pad": auto.pad_token_id,
            "sep": _first(auto.sep_token_id, auto.eos_token_id),
            "unk": auto.unk_token_id,
            "mask": auto.mask_token_id,
        }
        missing = [name for name, value in found.items() if value is None]
        if missing:
            raise InputError(
                f"{folder} holds a tokenizer without the special pieces {', '.join(missing)}; a masked language model "
                "needs cls, pad, sep, unk and mask. Add them to the tokenizer, or train one with --train-tokenizer."
            )
        if len(set(found.values())) < len(found):
            raise InputError(
                f"{folder} must hold a tokenizer whose special pieces have an id each, but they share ids: {found}. "
                "Give each its own, or train a tokenizer with --train-tokenizer."
            )
        return {name: int(value) for name, value in found.items() if value is not None}

    def _template(self, *sentences: str) -> Template:
        encoding = self._auto(*sentences, return_token_type_ids=True)
        ids: list[int | str] = []
        segments: list[int] = []
        for piece, side, segment in zip(
            encoding["input_ids"], encoding.sequence_ids(), encoding["token_type_ids"], strict=True
        ):
            item = int(piece) if side is None else "AB"[side]
            if side is not None and ids and ids[-1] == item:
                continue  # a sentence of several pieces stands in the template once
            ids.append(item)
            segments.append(int(segment))
        return Template(ids, segments)

    def encode(self, sentences: Sequence[str]) -> Iterator[Pieces]:
        for start in range(0, len(sentences), _BATCH):
            for encoding in self._rust.encode_batch(
                sentences[start : start + _BATCH], add_special_tokens=False, is_pretokenized=False
            ):
                yield Pieces(encoding.ids, encoding.offsets)

    def names(self, ids: Sequence[int]) -> list[str]:
        """The pieces' own text."""
        found: list[str] = self._auto.convert_ids_to_tokens(list(ids))
        return found

    def encode_arrays(self, sentences: Sequence[str]) -> PieceArrays:
        """The same pieces, as arrays. All sentences are held at once: hand over some thousands at a time."""
        return self._encoder.encode_arrays(sentences)

    def to_json(self) -> str:
        """What a `PieceEncoder` is made of."""
        text: str = self._rust.to_str()
        return text


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


def open_auto_tokenizer(folder: Path) -> Any:
    """AutoTokenizer of a folder, without the network. Raises InputError."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    # transformers raises whatever its parsers raise; the user's question is the same: which folder, and why not.
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{folder} is not a tokenizer that AutoTokenizer can load: {reason}") from error
