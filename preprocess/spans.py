"""Character spans of many sentences as flat arrays, which words, pieces and projection pass to each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# Half-open (start, end), in characters of the raw sentence.
Span = tuple[int, int]


class SpanArrays(NamedTuple):
    """The N spans of S sentences, laid end to end.

    `starts` and `ends` are (N,) in characters of the sentence that the span belongs to, `sizes` is (S,) in spans.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    sizes: NDArray[np.int64]


def pack(sentences: Iterable[Sequence[Span]]) -> SpanArrays:
    """One list of spans per sentence, as arrays."""
    lists = list(sentences)
    sizes = np.fromiter(map(len, lists), dtype=np.int64, count=len(lists))
    both = chain.from_iterable(chain.from_iterable(lists))
    flat = np.fromiter(both, dtype=np.int64, count=2 * int(sizes.sum())).reshape(-1, 2)
    return SpanArrays(np.ascontiguousarray(flat[:, 0]), np.ascontiguousarray(flat[:, 1]), sizes)


def unpack(spans: SpanArrays) -> list[list[Span]]:
    """The lists of spans that `pack` was given."""
    pairs = list(zip(spans.starts.tolist(), spans.ends.tolist(), strict=True))
    stops = np.cumsum(spans.sizes).tolist()
    return [pairs[stop - size : stop] for stop, size in zip(stops, spans.sizes.tolist(), strict=True)]


def select(flat: NDArray[Any], sizes: NDArray[np.integer[Any]], chosen: NDArray[np.bool_]) -> NDArray[Any]:
    """The elements of the chosen sequences, from sequences that are laid end to end."""
    return flat[np.repeat(chosen, sizes)]


def select_spans(spans: SpanArrays, chosen: NDArray[np.bool_]) -> SpanArrays:
    starts, ends = (select(flat, spans.sizes, chosen) for flat in (spans.starts, spans.ends))
    return SpanArrays(starts, ends, spans.sizes[chosen])
