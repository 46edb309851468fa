"""Bitext mining (BUCC): F1 of the pairs that were found, and the threshold that serves it best on a dev set."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from weam_fairseq.errors import InputError

# The ids of two sentences.
IdPair = tuple[str, str]


class MiningScore(NamedTuple):
    """All 0–100."""

    f1: float
    precision: float
    recall: float


def mining_f1(gold: Collection[IdPair], predictions: Collection[IdPair]) -> MiningScore:
    """Scores sets of pairs: a pair that is given twice counts once.

    Raises:
        InputError: there is no gold pair.
    """
    expected, found = set(gold), set(predictions)
    if not expected:
        raise InputError("there is no gold pair to score against.")
    right = len(expected & found)
    if not right:
        return MiningScore(0.0, 0.0, 0.0)
    precision, recall = 100.0 * right / len(found), 100.0 * right / len(expected)
    return MiningScore(2 * precision * recall / (precision + recall), precision, recall)


def best_threshold(scored: Mapping[IdPair, float], gold: Collection[IdPair]) -> float:
    """The score from which on pairs are taken so that F1 on `gold` is best, halfway to the next lower score.

    Pairs of equal scores are taken together. The highest threshold is given if several are as good.

    Raises:
        InputError: no scored pair is right, so that every threshold gives 0.
    """
    expected = set(gold)
    ranked = sorted(scored.items(), key=lambda item: -item[1])
    right = 0
    best_f1, threshold = 0.0, None
    for taken, (pair, score) in enumerate(ranked, start=1):
        right += pair in expected
        following = ranked[taken][1] if taken < len(ranked) else score
        if taken < len(ranked) and following == score:
            continue
        f1 = 2 * right / (taken + len(expected))
        if f1 > best_f1:
            best_f1, threshold = f1, (score + following) / 2
    if threshold is None:
        raise InputError("none of the scored pairs is a gold pair, so no threshold can be chosen.")
    return threshold
