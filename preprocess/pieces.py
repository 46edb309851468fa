"""Pieces of a raw sentence: ids exactly as `AutoTokenizer` of the data-bin's folder gives them, and character spans.

The Rust tokenizer that AutoTokenizer itself holds does the work, so ids cannot differ; special pieces are not added.
Spans are its own too, but for those that piece_encoder.py corrects.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.tokenizers import id_range, named_special_ids

from .piece_encoder import PieceArrays, PieceEncoder
from .spans import Span, unpack

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
        vocabulary: dict[str, int] = self._rust.get_vocab(with_added_tokens=True)
        self.ids = list(id_range(vocabulary, folder))
        self._encoder = PieceEncoder(self.to_json())
        self.special_ids = named_special_ids(self._auto, folder)
        holes = set(self.ids).difference(vocabulary.values())  # no masked piece may become one of them
        self.all_special_ids = sorted({*self._auto.all_special_ids, *holes})
        # A sentence may hold unknown characters, but no piece that has a meaning to the model's input.
        self.reserved_ids = frozenset(self.all_special_ids) - {self.special_ids.get("unk")}
        self.single, self.pair = self._template(1), self._template(2)
        if "B" not in self.pair.ids or self.pair.special_pieces == 0:
            raise InputError(
                f"{folder} must hold a tokenizer that adds special pieces to a pair of sentences, but this one adds "
                "none. Name another --tokenizer, or train one with --train-tokenizer."
            )

    @property
    def lower_cases(self) -> bool:
        """Whether capital letters become small ones before the text is cut."""
        return "A" not in self._normalized("A")

    @property
    def strips_accents(self) -> bool:
        """Whether accents are removed before the text is cut."""
        return any(char in self._normalized("É") for char in "Ee") and "\u0301" not in self._normalized("É")

    def _normalized(self, text: str) -> str:
        """NFD of what the tokenizer's normaliser makes of a text."""
        normalizer = self._rust.normalizer
        return unicodedata.normalize("NFD", text if normalizer is None else normalizer.normalize_str(text))

    def pieces_sha256(self) -> str:
        """Hexadecimal digest of the pieces in the order of their ids."""
        vocabulary: dict[str, int] = self._rust.get_vocab(with_added_tokens=True)
        lines = sorted((number, piece) for piece, number in vocabulary.items())
        return hashlib.sha256("".join(f"{number}\t{piece}\n" for number, piece in lines).encode()).hexdigest()

    def behaviour_sha256(self) -> str:
        """Hexadecimal digest of how `PROBES` are written: their ids with spaces between, one line a probe."""
        ids = [self._rust.encode(probe, add_special_tokens=False).ids for probe in PROBES]
        return hashlib.sha256("".join(" ".join(map(str, line)) + "\n" for line in ids).encode()).hexdigest()

    def _template(self, sentences: int) -> Template:
        encoding = self._auto(*[self._text] * sentences, return_token_type_ids=True)
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

    @cached_property
    def _text(self) -> str:
        """A text of at least one piece: a tokenizer without unk may have none for a letter."""
        pieces = chain("a1。", self._rust.get_vocab(with_added_tokens=False))
        return next((text for text in pieces if self._rust.encode(text, add_special_tokens=False).ids), "a")

    def encode(self, sentences: Sequence[str]) -> Iterator[Pieces]:
        """The pieces of each sentence; `encode_arrays` is the same for many."""
        found = self.encode_arrays(sentences)
        stops = np.cumsum(found.spans.sizes).tolist()
        ids = found.ids.tolist()
        for stop, spans in zip(stops, unpack(found.spans), strict=True):
            yield Pieces(ids[stop - len(spans) : stop], spans)

    def names(self, ids: Sequence[int]) -> list[str]:
        """The pieces' own text."""
        found: list[str] = self._auto.convert_ids_to_tokens(list(ids))
        return found

    def encode_arrays(self, sentences: Sequence[str]) -> PieceArrays:
        """Many sentences at once, as arrays. All sentences are held at once: hand over some thousands at a time."""
        return self._encoder.encode_arrays(sentences)

    def to_json(self) -> str:
        """What a `PieceEncoder` is made of."""
        text: str = self._rust.to_str()
        return text


def open_auto_tokenizer(folder: Path) -> Any:
    """AutoTokenizer of a folder, without the network. Raises InputError."""
    from transformers import AutoTokenizer

    try:
        opened = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    # transformers raises whatever its parsers raise; the user's question is the same: which folder, and why not.
    except Exception as error:
        if "trust_remote_code" in str(error):  # whose advice is to run that code
            raise InputError(
                f"{folder} asks for code of its own, which is never run here: transformers has no class for this "
                "tokenizer. Choose a tokenizer that transformers itself knows, or give its tokenizer.json alone."
            ) from None
        _check_json(folder / "tokenizer.json")
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{folder} is not a tokenizer that AutoTokenizer can load: {reason}") from error
    id_range(opened.get_vocab(), folder)  # before any use: Rust's writer visits each id up to the largest
    return opened


def _check_json(file: Path) -> None:
    """Raises InputError with the versions to look at where the tokenizers library itself cannot read the file."""
    from tokenizers import Tokenizer, __version__

    if not file.is_file():
        return
    try:
        Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises nothing narrower
        raise InputError(
            f"{file} must be a tokenizer.json that tokenizers {__version__} reads, but it does not: {error}. The file "
            "may be of a newer version (pip install -U tokenizers transformers), or damaged."
        ) from error
