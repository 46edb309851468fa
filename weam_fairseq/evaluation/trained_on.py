"""Counts the measured pairs whose sentences also occur in the training pairs of data-bins.

Sentences are compared as pieces of the data-bin's tokenizer, so differences that the tokenizer removes do not count.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.tokenizers import open_tokenizer
from weam_fairseq.data.databin import read_manifest, read_symbols, read_vocabulary
from weam_fairseq.data.indexed_file import IndexedFile
from weam_fairseq.data.split import open_split
from weam_fairseq.evaluation.held_out import HeldOut, PieceSide, TextSide, pieces_digest
from weam_fairseq.evaluation.retrieval import dev_and_test

_ROWS = 1 << 16  # training pairs that are held in memory


class TrainedOn(NamedTuple):
    """Of `measured` pairs: those with a sentence that is in training pairs, and those with both, in one pair."""

    measured: int
    sentences: int
    pairs: int


def count_trained_on(held_out: HeldOut, data_bins: Sequence[Path], data: Path | None) -> TrainedOn:
    """Looks for the measured half of the pairs, in all languages of the data-bins.

    Args:
        data: the data-bin of `held_out`, if it is from one.

    Raises:
        InputError: a data-bin is damaged, or has another tokenizer than `data`.
    """
    lines = dev_and_test(len(held_out))[1].lines
    either, both = np.zeros(len(lines), dtype=bool), np.zeros(len(lines), dtype=bool)
    for data_bin in data_bins:
        if not (data_bin / "manifest.json").is_file():
            raise InputError(f"--training-data {data_bin} must be a data-bin of weam-preprocess, but is not.")
        if data is not None and pieces_digest(data) != pieces_digest(data_bin):
            raise InputError(
                f"--training-data {data_bin} stores the pieces of another tokenizer than {data}. Give the held-out "
                "pairs as text, with --bitext FILE.tsv."
            )
        manifest = read_manifest(data_bin)
        tokenizer_ids = read_vocabulary(manifest, read_symbols(data_bin, manifest)).tokenizer_ids
        sides = [
            _keys(_tokenizer_ids(side, lines, data_bin), tokenizer_ids) for side in (held_out.source, held_out.target)
        ]
        measured = list(zip(*sides, strict=True))
        wanted = {key for side in sides for key in side} - {b""}
        found: set[bytes] = set()
        found_pairs: set[tuple[bytes, bytes]] = set()
        for pair in manifest["pairs"]:
            if data_bin == data and not any(data_bin.glob(f"train.{pair}.*.idx")):
                continue  # a copy with the validation pairs alone
            split = open_split(data_bin, "train", pair)
            matches = [dict(_matches(file, wanted)) for file in (split.source, split.target)]
            found |= {key for side in matches for key in side.values()}
            found_pairs |= {(matches[0][row], matches[1][row]) for row in matches[0].keys() & matches[1].keys()}
        either |= [source in found or target in found for source, target in measured]
        both |= [(source, target) in found_pairs or (target, source) in found_pairs for source, target in measured]
    return TrainedOn(len(lines), int(either.sum()), int(both.sum()))


def _tokenizer_ids(side: TextSide | PieceSide, lines: np.ndarray, data_bin: Path) -> list[np.ndarray]:
    """The pieces of the measured sentences, as ids of the tokenizer."""
    if isinstance(side, PieceSide):
        return [side.sentences[line] for line in lines]
    tokenizer = open_tokenizer(data_bin / str(read_manifest(data_bin)["tokenizer"]["folder"])).backend_tokenizer
    tokenizer.no_truncation()
    tokenizer.no_padding()
    texts = [" ".join(side.texts[line].split()) for line in lines]
    return [np.asarray(each.ids) for each in tokenizer.encode_batch(texts, add_special_tokens=False)]


def _keys(sentences: Sequence[np.ndarray], tokenizer_ids: np.ndarray) -> list[bytes]:
    """The bytes of each sentence's fairseq ids; none for a sentence without pieces."""
    fairseq_ids = np.argsort(tokenizer_ids)
    return [fairseq_ids[sentence].astype(np.int64).tobytes() if len(sentence) else b"" for sentence in sentences]


def _matches(file: IndexedFile, wanted: Collection[bytes]) -> Iterator[tuple[int, bytes]]:
    """The rows of a file that are among the wanted sentences."""
    ids = [np.frombuffer(key, dtype=np.int64) for key in wanted]
    marks = np.asarray([_mark(len(each), each.sum()) for each in ids], dtype=np.int64)
    for start in range(0, len(file), _ROWS):
        ragged = file.take(np.arange(start, min(start + _ROWS, len(file))))
        ends = np.cumsum(ragged.sizes)
        sums = np.concatenate([[0], np.cumsum(ragged.flat)])
        # Few sentences have the length and the sum of a wanted one; these are compared exactly.
        for row in np.flatnonzero(np.isin(_mark(ragged.sizes, sums[ends] - sums[ends - ragged.sizes]), marks)).tolist():
            key = ragged.flat[ends[row] - ragged.sizes[row] : ends[row]].tobytes()
            if key in wanted:
                yield start + row, key


def _mark(sizes: np.ndarray | int, sums: np.ndarray) -> np.ndarray:
    return np.asarray(sizes * (1 << 40) + sums)


def describe_trained_on(found: Sequence[tuple[str, TrainedOn]], data_bins: Sequence[Path]) -> str:
    """What the table's reader must know, one line a language pair."""
    named = ", ".join(map(str, data_bins))
    lines = []
    for pair, counts in found:
        if counts.sentences:
            lines.append(
                f"Warning: {_share(counts.sentences, counts.measured)} measured pairs of {pair} have a sentence that "
                f"also occurs in the training pairs of {named}; {_share(counts.pairs, counts.measured)} occur there as "
                "a pair. A model that was trained on them may know the answer."
            )
        else:
            lines.append(f"No sentence of the measured pairs of {pair} occurs in the training pairs of {named}.")
    return "\n".join(lines)


def _share(count: int, of: int) -> str:
    return f"{count:,} of {of:,} ({100 * count / of:.1f} %)"
