"""Which pairs of a whole corpus were there before, by 16 bytes a pair: the sentences themselves need not be at hand."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .corpus import SentencePair

Keys = NDArray[np.uint64]
_TOP_BITS = 4


def key(source: str, target: str) -> bytes:
    """16 bytes that stand for a pair, white space around its sides left out.

    That two different pairs of a corpus of a billion share a key has a probability of about 10^-21.
    """
    # No line holds "\\n", so no two pairs are joined to the same bytes.
    return hashlib.blake2b(f"{source.strip()}\n{target.strip()}".encode(), digest_size=16).digest()


def keys(pairs: Iterable[SentencePair]) -> Keys:
    """The keys of pairs. Shape (pairs, 2)."""
    joined = b"".join(key(pair.source, pair.target) for pair in pairs)
    return np.frombuffer(joined, dtype="<u8").reshape(-1, 2)


def first_occurrences(chunks: Sequence[Keys]) -> list[NDArray[np.bool_]]:
    """For each chunk of keys, shape (pairs, 2), which of its pairs no earlier pair equals. Shape (pairs,).

    Takes about 10 bytes a pair beyond the keys.
    """
    starts = np.cumsum([0, *map(len, chunks)])
    first = np.ones(starts[-1], dtype=bool)
    # Keys are evenly spread, so each value of their top bits is a part of the corpus, sorted with its share of memory.
    for top in range(2**_TOP_BITS) if chunks else ():
        rows = [np.flatnonzero(chunk[:, 0] >> np.uint64(64 - _TOP_BITS) == top) for chunk in chunks]
        found = np.concatenate([chunk[row] for chunk, row in zip(chunks, rows, strict=True)])
        pair_idx = np.concatenate([row + start for row, start in zip(rows, starts[:-1], strict=True)])
        # lexsort is stable: of equal keys, the first in the input comes first.
        order = np.lexsort((found[:, 1], found[:, 0]))
        found = found[order]
        repeated = (found[1:] == found[:-1]).all(axis=1)
        first[pair_idx[order[1:][repeated]]] = False
    return [first[start:end] for start, end in pairwise(starts)]
