"""Pieces of a raw sentence: ids exactly as `AutoTokenizer` of the data-bin's folder gives them, and character spans.

AutoTokenizer's own Rust tokenizer does the work, so ids cannot differ. Special pieces are not added. Spans are its
own too, except those that piece_encoder.py corrects.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.tokenizers import PROBES, id_range, named_special_ids

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
        self._auto = open_auto_tokenizer(folder) if opened is None else opened
        self._rust: Any = getattr(self._auto, "backend_tokenizer", None)
        if self._rust is None:
            raise InputError(f"{folder} has no fast (Rust) tokenizer. Convert it to a tokenizer.json.")
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
        lines = sorted((number, piece) for piece, number in self._vocabulary.items())
        return hashlib.sha256("".join(f"{number}\t{piece}\n" for number, piece in lines).encode()).hexdigest()

    def behaviour_sha256(self) -> str:
        """Hexadecimal digest of the ids of `PROBES`: one line for each probe, ids separated by spaces."""
        ids = [self._rust.encode(probe, add_special_tokens=False).ids for probe in PROBES]
        return hashlib.sha256("".join(" ".join(map(str, line)) + "\n" for line in ids).encode()).hexdigest()

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


def open_auto_tokenizer(folder: Path) -> Any:
    """Opens a folder with AutoTokenizer, without the network. Raises InputError."""
    from transformers import AutoTokenizer

    try:
        opened = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    # transformers raises many types; the user always needs to know which folder, and why it failed.
    except Exception as error:
        if "trust_remote_code" in str(error):  # transformers would advise the user to run that code
            raise InputError(
                f"{folder} needs code from its folder, which is never run here: transformers has no class for this "
                "tokenizer. Choose a tokenizer that transformers knows, or give only its tokenizer.json."
            ) from None
        _check_json(folder / "tokenizer.json")
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{folder} is not a tokenizer that AutoTokenizer can load: {reason}") from error
    id_range(opened.get_vocab(), folder)  # before any use, because Rust's writer visits every id up to the largest one
    return opened


def _check_json(file: Path) -> None:
    """Raises InputError with the library's version if the tokenizers library cannot read the file."""
    from tokenizers import Tokenizer, __version__

    if not file.is_file():
        return
    try:
        Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises nothing narrower
        raise InputError(
            f"{file} must be a tokenizer.json that tokenizers {__version__} can read, but is not: {error}. The file "
            "may be from a newer version (pip install -U tokenizers transformers), or damaged."
        ) from error
