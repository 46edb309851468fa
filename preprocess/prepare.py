"""The first stage: turns a chunk of raw lines into clean pairs, pieces and words, without the other chunks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from weam_fairseq.common.documents import read_json, value_at

from .cleaning import Rules, clean, scorers
from .corpus import SentencePair, keys
from .given_words import NOT_THERE, WordSpans, find_words
from .piece_encoder import PieceArrays, PieceEncoder
from .raw import RawChunk
from .report import Account, Example
from .spans import SpanArrays, pack, select, select_spans
from .words import segmenter
from .work import Work, load_arrays, save_arrays, written

AGAIN = " Run again without --resume."  # the hint for a damaged part
_MOST_EXCLUDED_BYTES = 1 << 34

NO_PIECES = "no pieces"
SPECIAL = "special piece in the text"
SIDES = ("source", "target")


@dataclass(frozen=True)
class Preparation:
    """What a worker needs to prepare a chunk.

    reserved_ids: pieces that no sentence may contain.
    special_pieces: how many special pieces are added to a pair.
    words: language -> kind of segmenter, if the user chose one.

    Large data is in two files of `work`: the tokenizer's tokenizer.json, and the excluded sentences.
    """

    work: Work
    pair: str
    languages: tuple[str, str]
    reserved_ids: frozenset[int]
    special_pieces: int
    max_pieces: int
    rules: Rules
    words: dict[str, str]

    @property
    def tokenizer(self) -> Path:
        return self.work.folder / "tokenizer.json"

    @property
    def excluded(self) -> Path:
        return self.work.folder / "excluded.json"


class _Chosen(NamedTuple):
    """The pairs that cleaning keeps, the pieces of each side, which pairs are usable, and the given words of these."""

    pairs: list[SentencePair]
    pieces: list[PieceArrays]
    usable: NDArray[np.bool_]
    given: list[WordSpans] | None
    account: Account


class Prepared(NamedTuple):
    """The n kept pairs of one chunk.

    line_idx (n,): input lines. keys (n, 2): for finding duplicates. ids: flat tokenizer ids of each side.
    pieces, words: spans of each side.
    """

    line_idx: np.ndarray
    keys: np.ndarray
    ids: dict[str, np.ndarray]
    pieces: dict[str, SpanArrays]
    words: dict[str, SpanArrays]


def prepare(job: tuple[Preparation, RawChunk]) -> int:
    """Writes the parts of a chunk: arrays, sentences, and the account, which is written last.

    Returns:
        the chunk's number.
    """
    how, chunk = job
    pairs, encoded, usable, given, account = _choose(how, chunk)
    kept = [pair for pair, is_usable in zip(pairs, usable, strict=True) if is_usable]
    arrays = {"line_idx": np.array([pair.line_idx for pair in kept], dtype=np.int64), "keys": keys(kept)}
    texts = ([pair.source for pair in kept], [pair.target for pair in kept])
    for name, language, sentences, pieces in zip(SIDES, how.languages, texts, encoded, strict=True):
        arrays[f"{name}.ids"] = select(pieces.ids, pieces.spans.sizes, usable).astype(np.int32)
        if given is None:
            words = _words(how, language, sentences, account)
        else:
            words = pack(getattr(of_pair, name) for of_pair in given)
        for what, found in (("pieces", select_spans(pieces.spans, usable)), ("words", words)):
            arrays |= {f"{name}.{what}.{field}": value.astype(np.int32) for field, value in found._asdict().items()}
    save_arrays(how.work.part(how.pair, "prepared", chunk.number), arrays)
    with written(how.work.part(how.pair, "sentences", chunk.number, ".json")) as partial:
        partial.write_text(json.dumps(list(zip(*texts, strict=True)), ensure_ascii=False), encoding="utf-8")
    with written(how.work.part(how.pair, "account", chunk.number, ".json")) as partial:
        partial.write_text(json.dumps(vars(account), ensure_ascii=False), encoding="utf-8")
    return chunk.number


def why_dropped(how: Preparation, chunk: RawChunk) -> str:
    """The reason why `prepare` drops the only line of a chunk."""
    [reason] = _choose(how, chunk).account.dropped
    return reason


def _choose(how: Preparation, chunk: RawChunk) -> _Chosen:
    excluded = _excluded(how.excluded, how.excluded.stat().st_mtime_ns)
    pairs, account = clean(chunk, how.rules, excluded, scorers(how.rules, how.languages), how.languages)
    tokenizer = _encoder(how.tokenizer, how.tokenizer.stat().st_mtime_ns)
    sides = ([pair.source for pair in pairs], [pair.target for pair in pairs])
    pieces = [tokenizer.encode_arrays(side) for side in sides]
    usable = np.ones(len(pairs), dtype=bool)
    for reason, is_so in _reasons_to_drop(how, pieces):
        for place in np.flatnonzero(is_so & usable):
            pair = pairs[place]
            account.drop(reason, pair.line_idx, pair.source, pair.target)
        usable &= ~is_so
    return _Chosen(pairs, pieces, usable, _given_words(chunk, pairs, usable, account), account)


def _words(how: Preparation, language: str, sentences: Sequence[str], account: Account) -> SpanArrays:
    cut = segmenter(language, how.words.get(language))
    before = cut.by_white_space
    words = cut.span_arrays(sentences)
    if rewritten := cut.by_white_space - before:
        account.repaired[f"{language} words by white space"] += rewritten
    return words


def _given_words(
    chunk: RawChunk, pairs: Sequence[SentencePair], usable: NDArray[np.bool_], account: Account
) -> list[WordSpans] | None:
    """The given words of the usable pairs, or None without any. Pairs whose words do not fit become unusable."""
    if chunk.given_words is None:
        return None
    found: list[WordSpans] = []
    for place in np.flatnonzero(usable).tolist():
        pair = pairs[place]
        words = find_words(chunk.given_words[pair.line_idx - chunk.first_line_idx], pair.source, pair.target)
        if words is None:
            account.drop(NOT_THERE, pair.line_idx, pair.source, pair.target)
            usable[place] = False
        else:
            found.append(words)
    return found


def is_prepared(work: Work, pair: str, number: int) -> bool:
    return work.part(pair, "account", number, ".json").is_file()


def read_account(work: Work, pair: str, number: int) -> Account:
    file = work.part(pair, "account", number, ".json")
    stored = read_json(file, dict, hint=AGAIN)
    examples = {
        reason: [Example(*example) for example in found]
        for reason, found in value_at(stored, "examples", dict, file, AGAIN).items()
    }
    counts = {name: Counter(value_at(stored, name, dict, file, AGAIN)) for name in ("dropped", "repaired", "noted")}
    return Account(value_at(stored, "read", int, file, AGAIN), **counts, examples=examples)


def read_prepared(work: Work, pair: str, number: int) -> Prepared:
    arrays = load_arrays(work.part(pair, "prepared", number))

    def spans(side: str, what: str) -> SpanArrays:
        fields = (arrays[f"{side}.{what}.{field}"].astype(np.int64) for field in SpanArrays._fields)
        return SpanArrays(*fields)

    return Prepared(
        arrays["line_idx"],
        arrays["keys"],
        {side: arrays[f"{side}.ids"] for side in SIDES},
        {side: spans(side, "pieces") for side in SIDES},
        {side: spans(side, "words") for side in SIDES},
    )


def read_sentences(work: Work, pair: str, number: int) -> list[tuple[str, str]]:
    """The kept pairs of a chunk, repaired, in order."""
    file = work.part(pair, "sentences", number, ".json")
    return [(source, target) for source, target in read_json(file, list, hint=AGAIN)]


def _reasons_to_drop(how: Preparation, sides: Sequence[PieceArrays]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Each reason to drop pairs, with a mask of these pairs; the first reason counts. Sentences are never cut."""
    sizes = [side.spans.sizes for side in sides]
    yield NO_PIECES, (sizes[0] == 0) | (sizes[1] == 0)
    reserved = np.array(sorted(how.reserved_ids))
    special = np.zeros(len(sizes[0]), dtype=bool)
    for side in sides:
        owner = np.repeat(np.arange(len(side.spans.sizes)), side.spans.sizes)
        special[owner[np.isin(side.ids, reserved)]] = True
    yield SPECIAL, special
    yield f"over {how.max_pieces} pieces", sizes[0] + sizes[1] + how.special_pieces > how.max_pieces


@cache
def _encoder(file: Path, changed: int) -> PieceEncoder:
    """Opened once in each worker. `changed` tells apart the files of two runs of one process."""
    return PieceEncoder(file.read_text(encoding="utf-8"))


@lru_cache(1)
def _excluded(file: Path, changed: int) -> frozenset[str]:
    """Read once in each worker; `changed` as in `_encoder`."""
    return frozenset(read_json(file, list, max_bytes=_MOST_EXCLUDED_BYTES, hint=AGAIN))


def write_excluded(excluded: Iterable[str], file: Path) -> None:
    """For the workers, which read it once each."""
    with written(file) as partial:
        partial.write_text(json.dumps(sorted(excluded), ensure_ascii=False), encoding="utf-8")
