"""Pure: opens and checks the files of one language pair, and reads its sentence pairs as arrays."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from weam_fairseq.common.errors import InputError
from weam_fairseq.data.indexed_file import IndexedFile
from weam_fairseq.data.layout import Ragged

MAX_WORDS = 1 << 20  # in a sentence
CERTAIN = 10_000  # a link probability of 1, as data-bins write it


class Split(NamedTuple):
    """The files of one language pair and split. All have the same number of items.

    Attributes:
        probabilities: probability of each piece link in parts per 10,000; None if not requested.
    """

    name: str
    source: IndexedFile
    target: IndexedFile
    links: IndexedFile
    source_words: IndexedFile
    target_words: IndexedFile
    probabilities: IndexedFile | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """One sentence pair from the data-bin. All arrays are int64 and 1-D, except links (L, 2).

    Attributes:
        index: virtual index (sampling.py).
        link_weights: (L,) probability of each link in parts per 10,000; all 1 if not requested.
    """

    index: int
    language_pair: int
    source: np.ndarray
    target: np.ndarray
    links: np.ndarray
    source_words: np.ndarray
    target_words: np.ndarray
    link_weights: np.ndarray


def open_split(data_bin: Path, split: str, pair: str, weighted: bool = False) -> Split:
    """Opens the files of one language pair.

    Args:
        data_bin: folder of the data-bin.
        split: train or valid.
        pair: name of the pair, for example en-de.
        weighted: also open the link probabilities.

    Raises:
        InputError: a file is missing or empty, or the files do not belong together.
    """
    source, target = pair.split("-")
    if split == "valid" and not _exists(data_bin / f"{split}.{pair}.{source}"):
        raise InputError(
            f"{data_bin} must hold a validation split of {pair}, but does not. Make it with weam-preprocess "
            "--valid-size N, or train with --disable-validation."
        )
    names = {
        "source": f"{split}.{pair}.{source}",
        "target": f"{split}.{pair}.{target}",
        "links": f"{split}.align.{pair}",
        "source_words": f"{split}.words.{pair}.{source}",
        "target_words": f"{split}.words.{pair}.{target}",
    }
    if weighted:
        names["probabilities"] = f"{split}.probs.{pair}"
    files = {role: _open(data_bin / name) for role, name in names.items()}
    counts = {names[role]: len(file) for role, file in files.items()}
    if len(set(counts.values())) != 1:
        counted = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise InputError(
            f"All files of {pair} in {data_bin} must have the same number of items, but have: {counted}. Run "
            "weam-preprocess again."
        )
    for pieces, words in (("source", "source_words"), ("target", "target_words")):
        if not np.array_equal(files[pieces].sizes, files[words].sizes):
            raise InputError(
                f"{names[words]} in {data_bin} must hold one word number for each piece of {names[pieces]}, but holds "
                "more or fewer for some pairs. Run weam-preprocess again."
            )
    if (files["links"].sizes % 2).any():
        raise InputError(
            f"{names['links']} in {data_bin} must hold two piece numbers for each link, but holds an odd number for "
            "some pairs. Run weam-preprocess again."
        )
    if weighted and not np.array_equal(2 * files["probabilities"].sizes, files["links"].sizes):
        raise InputError(
            f"{names['probabilities']} in {data_bin} must hold one probability for each link of {names['links']}, but "
            "holds more or fewer for some pairs. Run weam-preprocess again."
        )
    return Split(pair, **files)


def _exists(prefix: Path) -> bool:
    return all(Path(f"{prefix}.{suffix}").is_file() for suffix in ("bin", "idx"))


def _open(prefix: Path) -> IndexedFile:
    if not _exists(prefix):
        raise InputError(
            f"{prefix}.bin and {prefix}.idx must both exist, but at least one is missing. Run weam-preprocess again."
        )
    if not Path(f"{prefix}.bin").stat().st_size:  # an empty file cannot be mapped into memory
        raise InputError(
            f"{prefix}.bin must not be empty, but is. Leave its pair out with --pairs, or run weam-preprocess on more "
            "sentence pairs."
        )
    return IndexedFile(prefix)


def _items(ragged: Ragged) -> Iterator[np.ndarray]:
    """Yields the sequences as views."""
    ends = np.cumsum(ragged.sizes).tolist()
    return (ragged.flat[end - size : end] for end, size in zip(ends, ragged.sizes.tolist(), strict=True))


def _check_links(name: str, inside: np.ndarray, source: Ragged, target: Ragged, links: Ragged) -> None:
    owner = links.owner()
    beyond = (links.flat[:, 0] >= source.sizes[owner]) | (links.flat[:, 1] >= target.sizes[owner])
    outside = np.flatnonzero(beyond | (links.flat < 0).any(axis=1))
    if len(outside):
        pair = owner[outside[0]]
        raise InputError(
            f"Every link must lie inside its sentences, but a link of {name} pair {inside[pair]} points outside "
            f"({source.sizes[pair]} and {target.sizes[pair]} pieces). Run weam-preprocess again."
        )


def _check_numbers(noun: str, name: str, inside: np.ndarray, numbers: Ragged, size: int) -> None:
    invalid = np.flatnonzero((numbers.flat < 0) | (numbers.flat >= size))
    if len(invalid):
        raise InputError(
            f"Every {noun} must lie in 0..{size - 1:,}, but one of {name} pair "
            f"{inside[numbers.owner()[invalid[0]]]} is {numbers.flat[invalid[0]]:,}. Run weam-preprocess again."
        )


def _check_weights(name: str, inside: np.ndarray, weights: Ragged) -> None:
    invalid = np.flatnonzero((weights.flat < 1) | (weights.flat > CERTAIN))
    if len(invalid):
        raise InputError(
            f"Every link probability must lie in 1..{CERTAIN:,} (parts per {CERTAIN:,}), but one of {name} pair "
            f"{inside[weights.owner()[invalid[0]]]} is {weights.flat[invalid[0]]:,}. Run weam-preprocess again."
        )


def read_pairs(
    split: Split, number: int, inside: np.ndarray, virtual: np.ndarray, tokenizer_ids: np.ndarray
) -> Iterator[Pair]:
    """Reads sentence pairs of a split.

    Args:
        number: index of the language pair in the data set.
        inside: (n,) indices of the sentence pairs in the split.
        virtual: (n,) their virtual indices.
        tokenizer_ids: (V,) tokenizer id of each fairseq id. The pairs contain tokenizer ids.

    Raises:
        InputError: a piece is not in the dictionary, a link points outside its sentences, or a probability is out of
            range.
    """
    parts = (split.source, split.target, split.links, split.source_words, split.target_words)
    source, target, flat_links, source_words, target_words = (part.take(inside) for part in parts)
    links = Ragged(flat_links.flat.reshape(-1, 2), flat_links.sizes // 2)
    weights = Ragged(np.ones(len(links.flat), dtype=np.int64), links.sizes)
    if split.probabilities is not None:
        weights = split.probabilities.take(inside)
    for pieces, words in ((source, source_words), (target, target_words)):
        _check_numbers("piece", split.name, inside, pieces, len(tokenizer_ids))
        _check_numbers("word number", split.name, inside, words, MAX_WORDS)
    _check_links(split.name, inside, source, target, links)
    _check_weights(split.name, inside, weights)
    source, target = (side._replace(flat=tokenizer_ids[side.flat]) for side in (source, target))
    columns = (source, target, links, source_words, target_words, weights)
    for index, *arrays in zip(virtual.tolist(), *(_items(column) for column in columns), strict=True):
        yield Pair(index, number, *arrays)
