"""Pieces of a raw sentence: ids exactly as `AutoTokenizer` of the data-bin's folder gives them, and character spans.

AutoTokenizer's own Rust tokenizer does the work, so ids cannot differ. Special pieces are not added. Spans are its
own too, except those that piece_encoder.py corrects.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.tokenizers import (
    behaviour_sha256,
    id_range,
    named_special_ids,
    open_tokenizer,
    pieces_sha256,
)

from .piece_encoder import PieceArrays, PieceEncoder


class PairTemplate(NamedTuple):
    """How the tokenizer joins sentences: ids, with "A" and "B" in place of the sentences, and segment ids."""

    ids: list[int | str]
    segments: list[int]

    @property
    def special_pieces(self) -> int:
        return sum(isinstance(item, int) for item in self.ids)


class PieceTokenizer:
    """An open Hugging Face tokenizer folder. Raises InputError if it does not fit a masked language model.

    Args:
        opened: what AutoTokenizer has opened from the folder already; None: it is opened here.
    """

    def __init__(self, folder: Path, opened: Any = None) -> None:
        self._auto = open_tokenizer(folder) if opened is None else opened
        self._rust: Any = self._auto.backend_tokenizer
        self._rust.no_truncation()
        self._rust.no_padding()
        vocabulary = self._vocabulary
        self.ids = list(id_range(vocabulary, folder))
        self.special_ids = named_special_ids(self._auto, folder)
        holes = set(self.ids).difference(vocabulary.values())  # so that no masked piece is replaced by one of them
        self.all_special_ids = sorted({*self._auto.all_special_ids, *holes})
        # A sentence may contain unknown characters, but no piece with a special meaning in the model's input.
        self.reserved_ids = frozenset(self.all_special_ids) - {self.special_ids.get("unk")}
        self.single, self.pair = self._template(1), self._template(2)
        if "B" not in self.pair.ids or self.pair.special_pieces == 0:
            raise InputError(
                f"{folder} must add special pieces to a pair of sentences, but its tokenizer adds none. "
                "Name another --tokenizer, or train one with --train-tokenizer."
            )

    @cached_property
    def _vocabulary(self) -> dict[str, int]:
        vocabulary: dict[str, int] = self._rust.get_vocab(with_added_tokens=True)
        return vocabulary

    @cached_property
    def _encoder(self) -> PieceEncoder:
        return PieceEncoder(self.to_json())

    @property
    def lower_cases(self) -> bool:
        """Whether the tokenizer lower-cases text."""
        return "A" not in self._normalized("A")

    @property
    def strips_accents(self) -> bool:
        """Whether the tokenizer removes accents."""
        return any(char in self._normalized("É") for char in "Ee") and "\u0301" not in self._normalized("É")

    def _normalized(self, text: str) -> str:
        """The output of the tokenizer's normalizer, in NFD."""
        normalizer = self._rust.normalizer
        return unicodedata.normalize("NFD", text if normalizer is None else normalizer.normalize_str(text))

    def pieces_sha256(self) -> str:
        """Hexadecimal digest of the pieces in the order of their ids."""
        return pieces_sha256(self._vocabulary)

    def behaviour_sha256(self) -> str:
        """Hexadecimal digest of what the tokenizer does to a few texts."""
        return behaviour_sha256(self._rust)

    def _template(self, sentences: int) -> PairTemplate:
        encoding = self._auto(*[self._text] * sentences, return_token_type_ids=True)
        ids: list[int | str] = []
        segments: list[int] = []
        for piece, side, segment in zip(
            encoding["input_ids"], encoding.sequence_ids(), encoding["token_type_ids"], strict=True
        ):
            item = int(piece) if side is None else "AB"[side]
            if side is not None and ids and ids[-1] == item:
                continue  # a sentence of several pieces is in the template once
            ids.append(item)
            segments.append(int(segment))
        return PairTemplate(ids, segments)

    @cached_property
    def _text(self) -> str:
        """A text of at least one piece: without unk, a letter may have none."""

        def candidates() -> Iterator[str]:
            yield from "a1。"
            yield from self._rust.get_vocab(with_added_tokens=False)

        return next((text for text in candidates() if self._rust.encode(text, add_special_tokens=False).ids), "a")

    def names(self, ids: Sequence[int]) -> list[str]:
        """The pieces' own text."""
        found: list[str] = self._auto.convert_ids_to_tokens(list(ids))
        return found

    def encode_arrays(self, sentences: Sequence[str]) -> PieceArrays:
        """The pieces of many sentences, as arrays. All sentences are held in memory: pass some thousands at a time."""
        return self._encoder.encode_arrays(sentences)

    def to_json(self) -> str:
        """The tokenizer.json for a `PieceEncoder`."""
        text: str = self._rust.to_str()
        return text
