"""Turns prepared pairs and their word links into the numbers of the data-bin, chunk by chunk, and merges the chunks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .aligners.base import Links
from .corpus import PairFiles
from .databin import CERTAIN, IdSpace, write_part
from .prepare import SIDES, read_prepared
from .projection import project_batch
from .run_options import Options
from .spans import select, select_spans
from .work import Work, load_arrays, save_arrays

SPLITS = ("train", "valid")
# The parts of each pair in a data-bin; probs only if the aligner has probabilities.
PARTS = ("source", "target", "align", "probs", "words.source", "words.target")
# Counts of a language pair, train and valid together. "lost": words of which the tokenizer dropped all characters.
COUNTS = (
    *("pairs", "word_links", "piece_links", "unlinked", "too_long"),
    *(f"{what}.{side}" for what in ("pieces", "words", "linked", "unknown", "lost") for side in SIDES),
)


@dataclass(frozen=True)
class Binarization:
    """What a worker needs to binarize a chunk. `max_words`: longer pairs get no links from the aligner."""

    work: Work
    pair: str
    space: IdSpace
    max_words: int | None = None


def save_links(work: Work, pair: str, number: int, found: Links) -> None:
    """Writes the word links of the kept pairs of a chunk."""
    arrays: dict[str, NDArray] = {"links": found.links, "sizes": found.sizes.astype(np.int64)}
    if found.probabilities is not None:
        arrays["probabilities"] = found.probabilities.astype(np.float64)
    save_arrays(work.part(pair, "links", number), arrays)


def binarize(job: tuple[Binarization, int]) -> int:
    """Writes the part `binarized` of a chunk: flat arrays and sizes of each part of each split, and counts."""
    how, number = job
    prepared = read_prepared(how.work, how.pair, number)
    kept = load_arrays(how.work.part(how.pair, "kept", number))
    found = load_arrays(how.work.part(how.pair, "links", number))
    first = kept["kept"]
    words = {side: select_spans(prepared.words[side], first) for side in SIDES}
    pieces = {side: select_spans(prepared.pieces[side], first) for side in SIDES}
    ids = {side: select(prepared.ids[side], prepared.pieces[side].sizes, first) for side in SIDES}
    linked = project_batch(
        words["source"],
        words["target"],
        pieces["source"],
        pieces["target"],
        found["links"].astype(np.int64),
        found["sizes"],
        found.get("probabilities"),
    )
    columns: dict[str, tuple[np.ndarray, np.ndarray]] = {
        "source": (how.space.fairseq_ids(ids["source"]), pieces["source"].sizes),
        "target": (how.space.fairseq_ids(ids["target"]), pieces["target"].sizes),
        "align": (linked.links.reshape(-1), 2 * linked.link_sizes),  # s0 t0 s1 t1 …, as in fairseq-preprocess
        "words.source": (linked.source_words, pieces["source"].sizes),
        "words.target": (linked.target_words, pieces["target"].sizes),
    }
    if linked.probabilities is not None:
        # At least 1, so that no link has probability 0.
        parts = np.rint(CERTAIN * linked.probabilities).clip(1, CERTAIN).astype(np.int64)
        columns["probs"] = (parts, linked.link_sizes)
    arrays: dict[str, np.ndarray] = {}
    for split, chosen in zip(SPLITS, (~kept["valid"], kept["valid"]), strict=True):
        for part, (flat, sizes) in columns.items():
            arrays[f"{split}.{part}"] = select(flat, sizes, chosen).astype(np.int32)
            arrays[f"{split}.{part}.sizes"] = sizes[chosen].astype(np.int32)
    owner = np.repeat(np.arange(len(linked.link_sizes)), linked.link_sizes)
    counts = {"pairs": int(first.sum()), "word_links": len(found["links"]), "piece_links": len(linked.links)}
    counts["unlinked"] = int((found["sizes"] == 0).sum())
    longest = np.maximum(words["source"].sizes, words["target"].sizes)
    counts["too_long"] = 0 if how.max_words is None else int((longest > how.max_words).sum())
    for column, side in enumerate(SIDES):
        counts[f"pieces.{side}"], counts[f"words.{side}"] = int(pieces[side].sizes.sum()), int(words[side].sizes.sum())
        counts[f"unknown.{side}"] = int((ids[side] == how.space.unknown).sum()) if how.space.unknown is not None else 0
        counts[f"lost.{side}"] = linked.words_without_pieces[column]
        counts[f"linked.{side}"] = len(np.unique(owner * (1 << 32) + linked.links[:, column]))
    arrays["counts"] = np.array([counts[name] for name in COUNTS], dtype=np.int64)
    save_arrays(how.work.part(how.pair, "binarized", number), arrays)
    return number


def read_counts(work: Work, pair: str, numbers: Iterable[int]) -> dict[str, int]:
    """The sums over chunks, by the names in COUNTS."""
    total = np.zeros(len(COUNTS), dtype=np.int64)
    for number in numbers:
        total += load_arrays(work.part(pair, "binarized", number))["counts"]
    return dict(zip(COUNTS, total.tolist(), strict=True))


def read_part(work: Work, pair: str, numbers: Iterable[int], name: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(flat, sizes) of one part of one split, chunk by chunk; nothing if the aligner has no probabilities."""
    for number in numbers:
        stored = load_arrays(work.part(pair, "binarized", number))
        if name in stored:
            yield stored[name], stored[f"{name}.sizes"]


def merge(options: Options, pair: PairFiles, chunks: range, space: IdSpace, folder: Path, work: Work) -> bool:
    """Writes the data-bin's files of one language pair. Returns whether its links have probabilities."""
    source, target = pair.source_lang, pair.target_lang
    names = {
        "source": f"{pair.name}.{source}",
        "target": f"{pair.name}.{target}",
        "align": f"align.{pair.name}",
        "probs": f"probs.{pair.name}",
        "words.source": f"words.{pair.name}.{source}",
        "words.target": f"words.{pair.name}.{target}",
    }
    has_probabilities = False
    for split in SPLITS if options.valid_size else SPLITS[:1]:
        for part in PARTS:
            name = f"{split}.{part}"

            def parts(name: str = name) -> Iterator[tuple[np.ndarray, np.ndarray]]:
                return read_part(work, pair.name, chunks, name)

            if part == "probs" and next(parts(), None) is None:
                continue
            has_probabilities |= part == "probs"
            values = {"source": space.size, "target": space.size, "probs": CERTAIN + 1}.get(part)
            if values is None:
                values = 1 + max(int(flat.max(initial=0)) for flat, _ in parts())
            write_part(folder, f"{split}.{names[part]}", parts(), values)
    return has_probabilities
