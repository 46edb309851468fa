"""Bitext mining (BUCC): F1 of the pairs that were found, and the threshold that serves it best on a dev set."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from weam_fairseq.common.errors import InputError

# The ids of two sentences.
IdPair = tuple[str, str]

# Half a million sentences, hardly any of which is in a pair, would be files of tens of megabytes.
MOST_ITEMS = 10_000


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


def mining_shares(
    ids: Sequence[str], gold: Collection[IdPair], predictions: Collection[IdPair]
) -> Iterator[dict[str, int]]:
    """The counts of each source sentence, whose sums give F1; of several sentences in a row where there are very many.

    The items are those of the data and the same for every model. `ids` are the sentences that were mined; gold pairs of
    others (that stand twice) come last.
    """
    expected, found = set(gold), set(predictions)
    places = {name: place for place, name in enumerate([*ids, *sorted({one for one, _ in expected} - set(ids))])}
    size = -(-len(places) // MOST_ITEMS)
    counts = [[0, 0, 0] for _ in range(-(-len(places) // size))]
    for column, pairs in enumerate((expected & found, found, expected)):
        for one, _ in pairs:
            counts[places[one] // size][column] += 1
    for number, (correct, predicted, wanted) in enumerate(counts):
        yield {"id": number, "correct": correct, "predicted": predicted, "gold": wanted}


def best_threshold(scored: Mapping[IdPair, float], gold: Collection[IdPair]) -> float | None:
    """The score from which on pairs are taken so that F1 on `gold` is best, halfway to the next lower score.

    Pairs of equal scores are taken together. The highest threshold is given if several are as good; None where no
    scored pair is right, so that every threshold gives 0.
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
    return threshold
