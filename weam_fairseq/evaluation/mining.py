"""Bitext mining with a margin: which pairs of two collections are translations. Numpy only.

The cosine of a pair is divided by the mean cosine of both sentences' four nearest neighbours in the other collection
(Artetxe and Schwenk 2019, "ratio"). Each side's best partner by that score is a candidate; candidates are taken from
the best on while both sentences are free ("max" retrieval), so that every sentence is in one pair at most. As in
XTREME's code, a pair whose score is not above 0 takes its sentences and is left out.

Shapes: `X` and `Y` sentences, `D` width, `k` neighbours.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from weam_fairseq.evaluation.progress import progress

NEIGHBOURS = 4


class Mined(NamedTuple):
    """*Shape:* `(N,)` each, best first: the places of a pair's two sentences, and its score."""

    source: np.ndarray
    target: np.ndarray
    score: np.ndarray


class _Nearest(NamedTuple):
    """*Shape:* `(X, k)` each."""

    cosine: np.ndarray
    place: np.ndarray


def mine(source: np.ndarray, target: np.ndarray, label: str, block: int = 2048) -> Mined:
    """*Shape:* `(X, D)` and `(Y, D)`, with rows of length 1."""
    forward, backward = _neighbours(source, target, label, block)
    source_mean, target_mean = forward.cosine.mean(axis=1), backward.cosine.mean(axis=1)
    there = forward.cosine / ((source_mean[:, None] + target_mean[forward.place]) / 2)
    back = backward.cosine / ((target_mean[:, None] + source_mean[backward.place]) / 2)
    source_idx, target_idx = np.arange(len(source)), np.arange(len(target))
    best_target = forward.place[source_idx, there.argmax(axis=1)]
    best_source = backward.place[target_idx, back.argmax(axis=1)]
    return _take_best(
        np.concatenate([source_idx, best_source]),
        np.concatenate([best_target, target_idx]),
        np.concatenate([there.max(axis=1), back.max(axis=1)]),
    )


def _take_best(source: np.ndarray, target: np.ndarray, score: np.ndarray) -> Mined:
    order = np.argsort(-score, kind="stable")
    taken, seen_source, seen_target = [], set(), set()
    for place in order.tolist():
        one, other = int(source[place]), int(target[place])
        if one not in seen_source and other not in seen_target:
            seen_source.add(one)
            seen_target.add(other)
            if score[place] > 0:
                taken.append(place)
    return Mined(source[taken], target[taken], score[taken])


def _neighbours(source: np.ndarray, target: np.ndarray, label: str, block: int) -> tuple[_Nearest, _Nearest]:
    """The nearest of each side in the other, from one pass over the product of cosines in blocks of both sides."""
    k_source, k_target = min(NEIGHBOURS, len(target)), min(NEIGHBOURS, len(source))
    forward = _Nearest(
        np.full((len(source), k_source), -np.inf, dtype=np.float32), np.zeros((len(source), k_source), dtype=np.int64)
    )
    backward = _Nearest(
        np.full((len(target), k_target), -np.inf, dtype=np.float32), np.zeros((len(target), k_target), dtype=np.int64)
    )
    starts = range(0, len(source), block)
    for start in progress(starts, label, "blocks", len(starts)):
        rows = slice(start, start + block)
        for begin in range(0, len(target), block):
            columns = slice(begin, begin + block)
            cosines = source[rows] @ target[columns].T
            _keep(forward, rows, cosines, begin)
            _keep(backward, columns, cosines.T, start)
    return forward, backward


def _keep(nearest: _Nearest, rows: slice, cosines: np.ndarray, first: int) -> None:
    """Merges new columns, which begin at `first` of the other side, into the nearest so far."""
    k = nearest.place.shape[1]
    here = min(k, cosines.shape[1])
    best = np.argpartition(-cosines, here - 1, axis=1)[:, :here]
    cosine = np.concatenate([nearest.cosine[rows], np.take_along_axis(cosines, best, axis=1)], axis=1)
    index = np.concatenate([nearest.place[rows], best + first], axis=1)
    order = np.argsort(-cosine, axis=1, kind="stable")[:, :k]
    nearest.cosine[rows] = np.take_along_axis(cosine, order, axis=1)
    nearest.place[rows] = np.take_along_axis(index, order, axis=1)
