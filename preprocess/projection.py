"""Word links to piece links, by character spans over the raw sentence. Pure: no tokenizer, no aligner, no files.

`word_idx` and `piece_idx` count from 0 within a sentence; special pieces have no `piece_idx`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import product

Span = tuple[int, int]
Link = tuple[int, int]


def touching_pieces(words: Sequence[Span], pieces: Sequence[Span]) -> list[list[int]]:
    """For every word the pieces whose span shares at least one character with it, in order.

    Words are in order and do not overlap. Pieces may share characters (the bytes of one emoji) or have none.
    """
    touched: list[list[int]] = [[] for _ in words]
    word_ends = [end for _, end in words]
    for piece_idx, (start, end) in enumerate(pieces):
        word_idx = bisect_right(word_ends, start)
        while word_idx < len(words) and max(start, words[word_idx][0]) < end:
            touched[word_idx].append(piece_idx)
            word_idx += 1
    return touched


def word_of_each_piece(words: Sequence[Span], pieces: Sequence[Span], touched: Sequence[Sequence[int]]) -> list[int]:
    """The word that each piece shares most characters with; of equals the first.

    A piece that touches no word is a unit of its own: it gets an index after the last word, no two the same.
    """
    best: list[tuple[int, int]] = [(0, -1)] * len(pieces)
    for word_idx, piece_idxs in enumerate(touched):
        for piece_idx in piece_idxs:
            overlap = min(words[word_idx][1], pieces[piece_idx][1]) - max(words[word_idx][0], pieces[piece_idx][0])
            if overlap > best[piece_idx][0]:
                best[piece_idx] = (overlap, word_idx)
    unclaimed = len(words)
    result = []
    for _, word_idx in best:
        result.append(unclaimed if word_idx < 0 else word_idx)
        unclaimed += word_idx < 0
    return result


def project(
    word_links: Iterable[Link], source_touched: Sequence[Sequence[int]], target_touched: Sequence[Sequence[int]]
) -> list[Link]:
    """Piece p links to piece q exactly when some word link (a, b) has p touching a and q touching b. Sorted, unique."""
    return sorted({(p, q) for a, b in word_links for p in source_touched[a] for q in target_touched[b]})


def project_probabilities(
    word_links: Iterable[Link],
    probabilities: Iterable[float],
    source_touched: Sequence[Sequence[int]],
    target_touched: Sequence[Sequence[int]],
) -> list[float]:
    """For each link of `project`, in its order, the largest probability of the word links that give it."""
    best: dict[Link, float] = {}
    for (a, b), probability in zip(word_links, probabilities, strict=True):
        for link in product(source_touched[a], target_touched[b]):
            best[link] = max(probability, best.get(link, 0.0))
    return [best[link] for link in sorted(best)]
