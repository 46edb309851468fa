"""Encodes raw sentences into arrays of pieces with a Rust tokenizer; equal runs of characters are encoded once.

The pieces and their spans are always those that the tokenizer gives for the complete sentence, with two corrections
(`_Corrections`). BERT's and XLM-R's tokenizers look at one run of characters between spaces (a *chunk*) at a time, so a
chunk that was seen before is not encoded again. This file does not import transformers, so workers start quickly.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .spans import SpanArrays, pack

_BATCH = 2_000  # sentences in one call of the Rust tokenizer
_REMEMBERED = 1 << 20  # pieces; about 100 MB with their chunks
_TOGETHER = 64  # new chunks that are encoded as one sentence
_BEFORE = "a"  # the beginning of that sentence, so that each chunk follows a space
_NORMALIZERS_OF_ONE_CHARACTER = {"Precompiled", "NFC", "NFKC", "Strip"}


class PieceArrays(NamedTuple):
    """Many sentences, laid end to end: `ids` (N,), and the spans of the N pieces."""

    ids: NDArray[np.int64]
    spans: SpanArrays


class PieceEncoder:
    """`text` is a tokenizer.json. Special pieces are never added; sentences are never cut or padded."""

    def __init__(self, text: str) -> None:
        from tokenizers import Tokenizer

        self._rust: Any = Tokenizer.from_str(text)
        self._rust.no_truncation()
        self._rust.no_padding()
        content = json.loads(self._rust.to_str())
        self._corrections = _Corrections(self._rust, content)
        self._chunks: _Chunks | None = None
        if _keeps_added_pieces_apart(content):
            if _is_bert(content):
                self._chunks = _Chunks(self._rust)
            elif _is_metaspace(content):
                self._chunks = _ChunksBehindSpaces(self._rust)

    def encode_arrays(self, sentences: Sequence[str]) -> PieceArrays:
        """All sentences are held in memory: pass some thousands at a time."""
        found = None if self._chunks is None else self._chunks.encode(sentences)
        if self._chunks is None:
            found = _encode(self._rust, sentences)
        elif found is None:
            found = self._sentence_by_sentence(self._chunks, sentences)
        return self._corrections.apply(sentences, found)

    def _sentence_by_sentence(self, chunks: _Chunks, sentences: Sequence[str]) -> PieceArrays:
        """Encodes the sentences that cannot be split at spaces as a whole, and inserts them among the others."""
        whole = np.array([not chunks.can_cut(sentence) for sentence in sentences])
        cut = chunks.encode([s for s, is_whole in zip(sentences, whole, strict=True) if not is_whole])
        assert cut is not None
        uncut = _encode(self._rust, [s for s, is_whole in zip(sentences, whole, strict=True) if is_whole])
        sizes = np.zeros(len(sentences), dtype=np.int64)
        sizes[whole], sizes[~whole] = uncut.spans.sizes, cut.spans.sizes
        owner = np.repeat(whole, sizes)
        merged = np.zeros((3, len(owner)), dtype=np.int64)
        for is_whole, part in ((True, uncut), (False, cut)):
            merged[:, owner == is_whole] = part.ids, part.spans.starts, part.spans.ends
        return PieceArrays(merged[0], SpanArrays(merged[1], merged[2], sizes))


def _encode(rust: Any, sentences: Sequence[str]) -> PieceArrays:
    batches = (sentences[start : start + _BATCH] for start in range(0, len(sentences), _BATCH))
    found = [
        (encoding.ids, encoding.offsets)
        for batch in batches
        for encoding in rust.encode_batch(batch, add_special_tokens=False, is_pretokenized=False)
    ]
    spans = pack(spans for _, spans in found)
    return PieceArrays(np.fromiter(chain.from_iterable(ids for ids, _ in found), np.int64, len(spans.starts)), spans)


class _Corrections:
    """Corrects spans of the Rust tokenizer that do not cover the characters of the piece.

    1. A piece of only white space (`▁`, byte-level `Ġ`) belongs to no word, so its span is made empty. The tokenizer
       gives the mark that it adds before a sentence the span of the first character.
    2. Unigram writes a run of unknown characters as bytes (`<0xE4>`), and gives each byte the span of the run. Here
       each byte gets the span of its character.
    """

    def __init__(self, rust: Any, content: Mapping[str, Any]) -> None:
        vocabulary: dict[str, int] = rust.get_vocab(with_added_tokens=False)
        self._is_blank = np.zeros(1 + max(rust.get_vocab(with_added_tokens=True).values()), dtype=bool)
        self._is_blank[white_space_ids(content, vocabulary)] = True
        self._byte = np.full(len(self._is_blank), -1, dtype=np.int16)
        model = content["model"]
        if model.get("type") == "Unigram" and model.get("byte_fallback"):
            for byte in range(256):
                if (piece_id := vocabulary.get(f"<0x{byte:02X}>")) is not None:
                    self._byte[piece_id] = byte

    def apply(self, sentences: Sequence[str], found: PieceArrays) -> PieceArrays:
        ids, (starts, ends, sizes) = found
        if (self._byte >= 0).any():
            starts, ends = self._place_bytes(ids, starts.copy(), ends.copy(), sizes)
        text = np.frombuffer("".join(sentences).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        written = np.append(0, np.cumsum(~_IS_WHITE_SPACE[np.minimum(text, len(_IS_WHITE_SPACE) - 1)]))
        lengths = np.fromiter(map(len, sentences), np.int64, len(sentences))
        shift = np.repeat(np.cumsum(lengths) - lengths, sizes)
        blank = self._is_blank[ids] | (written[ends + shift] == written[starts + shift])
        return PieceArrays(ids, SpanArrays(starts, np.where(blank, starts, ends), sizes))

    def _place_bytes(
        self, ids: NDArray, starts: NDArray, ends: NDArray, sizes: NDArray
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        of_run = np.flatnonzero((self._byte[ids] >= 0) & (ends - starts > 1))
        sentence = np.repeat(np.arange(len(sizes)), sizes)[of_run]
        keys = np.stack([sentence, starts[of_run], ends[of_run], of_run - np.arange(len(of_run))])
        cuts = np.flatnonzero((np.diff(keys, axis=1) != 0).any(axis=0)) + 1
        for run in np.split(of_run, cuts) if len(of_run) else []:
            first, last = int(starts[run[0]]), int(ends[run[0]])
            text = self._byte[ids[run]].astype(np.uint8).tobytes().decode("utf-8", "replace")
            if (
                len(text) == last - first
            ):  # otherwise the normalizer changed the number of characters, and the spans stay
                starts[run] = first + np.repeat(np.arange(len(text)), [len(char.encode()) for char in text])
                ends[run] = starts[run] + 1
        return starts, ends


# str.isspace for each code point; the last entry (False) is for all later code points.
_IS_WHITE_SPACE = np.array([chr(code).isspace() for code in range(0x3002)])


def white_space_ids(content: Mapping[str, Any], vocabulary: Mapping[str, int]) -> list[int]:
    """The ids of pieces that are only white space. `content` is that of the tokenizer.json."""
    steps = [
        step
        for part, members in (("normalizer", "normalizers"), ("pre_tokenizer", "pretokenizers"))
        for step in _sequence(content.get(part), members)
    ]
    if any(step.get("type") == "ByteLevel" for step in steps):
        # GPT-2's bytes_to_unicode: bytes that are not printable in Latin-1 are written from U+0100 on.
        return [number for piece, number in vocabulary.items() if piece and not piece.strip("ĠĉĊċČč")]
    marks = {step.get("replacement", "") for step in steps if step.get("type") == "Metaspace"}
    marks |= {step.get("prepend", "") for step in steps if step.get("type") == "Prepend"}
    marks |= {step["content"] for step in steps if step.get("type") == "Replace" and _of_spaces(step)}
    characters = "".join(marks)
    if not characters:
        return []
    return [number for piece, number in vocabulary.items() if piece and not piece.strip(characters).strip()]


def _of_spaces(step: Mapping[str, Any]) -> bool:
    pattern = step.get("pattern") or {}
    return pattern.get("String") == " " or pattern.get("Regex") in (" ", " {2,}", r"\s", r"\s+")


class _Chunks:
    """The chunks seen so far: their pieces end to end, with spans relative to the beginning of the chunk."""

    def __init__(self, rust: Any) -> None:
        self._rust = rust
        self._forget()

    def _forget(self) -> None:
        self._number: dict[str, int] = {}
        self._pieces = np.zeros((3, 0), dtype=np.int32)  # ids, starts, ends
        self._stops = np.zeros(1, dtype=np.int64)  # where the pieces of chunk k end, after a first 0

    def can_cut(self, sentence: str) -> bool:
        return True

    def encode(self, sentences: Sequence[str]) -> PieceArrays | None:
        """None if a sentence must be encoded as a whole."""
        if self._pieces.shape[1] > _REMEMBERED:
            self._forget()
        split = [sentence.split(" ") for sentence in sentences]
        chunks = list(chain.from_iterable(split))
        new = set(chunks).difference(self._number)
        if new and not self._learn(sorted(new)):
            return None
        counts = np.fromiter(map(len, split), np.int64, len(split))
        number = np.fromiter(map(self._number.__getitem__, chunks), np.int64, len(chunks))
        lengths = np.fromiter(map(len, chunks), np.int64, len(chunks))
        # Where each chunk begins in its sentence: there is one space between chunks.
        before = np.cumsum(lengths + 1) - lengths - 1
        first = np.cumsum(counts) - counts
        begins = before - np.repeat(before[first], counts)
        stops = self._stops[number + 1]
        sizes = stops - self._stops[number]
        ends_at = np.cumsum(sizes)
        places = np.arange(int(sizes.sum())) + np.repeat(stops - ends_at, sizes)
        ids, starts, ends = self._pieces[:, places].astype(np.int64)
        shift = np.repeat(begins, sizes)
        total = np.append(0, ends_at)
        spans = self._spans(starts, ends, shift, total[np.append(first, len(chunks))])
        return PieceArrays(ids, spans)

    def _spans(self, starts: NDArray, ends: NDArray, shift: NDArray, firsts: NDArray) -> SpanArrays:
        return SpanArrays(starts + shift, ends + shift, np.diff(firsts))

    def _learn(self, new: list[str]) -> bool:
        """Encodes new chunks. Returns whether all of them can be encoded apart from their sentences."""
        self._remember(new)
        return True

    def _remember(self, new: Sequence[str]) -> None:
        """Encodes the chunks, many in one sentence, because a sentence costs as much as several pieces."""
        groups = [new[start : start + _TOGETHER] for start in range(0, len(new), _TOGETHER)]
        found = _encode(self._rust, [" ".join([_BEFORE, *group]) for group in groups])
        lengths = np.fromiter(map(len, new), np.int64, len(new))
        # Where each chunk and each piece begins, with the sentences end to end and a space after each.
        group_of = np.arange(len(new)) // _TOGETHER
        begins = np.cumsum(lengths + 1) - lengths - 1 + (len(_BEFORE) + 1) * (group_of + 1)
        sentence = np.repeat(np.arange(len(groups)), found.spans.sizes)
        origins = begins[::_TOGETHER] - len(_BEFORE) - 1
        starts = found.spans.starts + origins[sentence]
        # A piece may begin with the space before its chunk.
        chunk = np.searchsorted(begins - 1, starts, side="right") - 1
        own = found.spans.starts >= len(_BEFORE)
        chunk = chunk[own]
        shift = (begins - origins[group_of])[chunk]
        pieces = np.stack([found.ids[own], found.spans.starts[own] - shift, found.spans.ends[own] - shift])
        self._number.update(zip(new, range(len(self._number), len(self._number) + len(new)), strict=True))
        self._pieces = np.concatenate([self._pieces, pieces.astype(np.int32)], axis=1)
        sizes = np.bincount(chunk, minlength=len(new))
        self._stops = np.append(self._stops, self._stops[-1] + np.cumsum(sizes))


class _ChunksBehindSpaces(_Chunks):
    """For Metaspace, which treats the space before a chunk as part of it, and adds one before the first chunk."""

    def __init__(self, rust: Any) -> None:
        super().__init__(rust)
        self._added = [piece.content for piece in rust.get_added_tokens_decoder().values()]

    def _forget(self) -> None:
        super()._forget()
        self._refused: set[str] = set()

    def can_cut(self, sentence: str) -> bool:
        return self._refused.isdisjoint(sentence.split(" "))

    def _learn(self, new: list[str]) -> bool:
        self._refused.update(chunk for chunk in new if chunk not in self._refused and not self._is_plain(chunk))
        plain = [chunk for chunk in new if chunk not in self._refused]
        self._remember(plain)
        return len(plain) == len(new)

    def _is_plain(self, chunk: str) -> bool:
        """Whether neither the normalizer nor the neighbors can change the chunk.

        Marks and format characters may join their neighbors, a second space is not a chunk, and an added piece turns
        the space before it into a piece.
        """
        if any(piece in chunk for piece in self._added):
            return False
        if not chunk or "▁" in chunk or any(unicodedata.category(char)[0] in "MCZ" for char in chunk):
            return False
        normalizer = self._rust.normalizer
        return normalizer is None or bool(normalizer.normalize_str(chunk) == chunk)

    def _spans(self, starts: NDArray, ends: NDArray, shift: NDArray, firsts: NDArray) -> SpanArrays:
        # The space before the first chunk is not in the sentence, so it counts as the chunk's first character.
        is_first = shift == 0
        starts, ends = starts + shift, ends + shift
        starts[is_first] = np.maximum(starts[is_first], 0)
        ends[is_first] = np.maximum(ends[is_first], 1)
        return SpanArrays(starts, ends, np.diff(firsts))


def _keeps_added_pieces_apart(content: Mapping[str, Any]) -> bool:
    """Whether added pieces, including special ones, match only their own characters."""
    return not any(
        item["lstrip"] or item["rstrip"] or item["single_word"] or " " in item["content"]
        for item in content.get("added_tokens") or ()
    )


def _is_bert(content: Mapping[str, Any]) -> bool:
    """BERT's normalizer changes characters one by one, and its pre-tokenizer splits at every space."""
    return _type(content, "normalizer") == "BertNormalizer" and _type(content, "pre_tokenizer") == "BertPreTokenizer"


def _is_metaspace(content: Mapping[str, Any]) -> bool:
    """Metaspace splits at every space, and the normalizer does not change single spaces."""
    cutters = _sequence(content.get("pre_tokenizer"), "pretokenizers")
    if [cutter.get("type") for cutter in cutters] not in (["Metaspace"], ["WhitespaceSplit", "Metaspace"]):
        return False
    if cutters[-1].get("prepend_scheme") != "always" or not cutters[-1].get("split"):
        return False
    return all(
        step.get("type") in _NORMALIZERS_OF_ONE_CHARACTER or _merges_spaces(step)
        for step in _sequence(content.get("normalizer"), "normalizers")
    )


def _merges_spaces(step: Mapping[str, Any]) -> bool:
    return step.get("type") == "Replace" and step.get("pattern") == {"Regex": " {2,}"} and step.get("content") == " "


def _type(content: Mapping[str, Any], name: str) -> Any:
    return (content.get(name) or {}).get("type")


def _sequence(step: Mapping[str, Any] | None, members: str) -> list[Mapping[str, Any]]:
    if step is None:
        return []
    found: list[Mapping[str, Any]] = step[members] if step.get("type") == "Sequence" else [step]
    return found
