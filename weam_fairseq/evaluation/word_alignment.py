"""Word alignment against hand-made links: alignment error rate, precision and recall (Och and Ney 2003).

A gold line holds sure links and possible ones (readers.read_gold), a line of predictions links `i-j`, and line k of one
belongs to line k of the other. An empty line has no links.

With A the predicted links, S the sure ones and P the sure and possible ones, over all lines together:

    precision = |A ∩ P| / |A|     recall = |A ∩ S| / |S|     AER = 1 − (|A ∩ S| + |A ∩ P|) / (|A| + |S|)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import NamedTuple

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.readers import GoldLinks, WordLink, counted_from_1, from_0, read_gold, read_predicted_links


class AlignmentScore(NamedTuple):
    """All 0–100; the lower `aer`, the better."""

    aer: float
    precision: float
    recall: float


def score_alignments(gold: Sequence[GoldLinks], predictions: Iterable[AbstractSet[WordLink]]) -> AlignmentScore:
    """Links are counted over all pairs together. Without any predicted link, precision is 0.

    Raises:
        InputError: no gold link is sure, so that recall and AER stand for nothing.
    """
    predicted = in_sure = in_possible = sure = 0
    for pair, links in zip(gold, predictions, strict=True):
        predicted += len(links)
        sure += len(pair.sure)
        in_sure += len(links & pair.sure)
        in_possible += len(links & pair.possible)
    if sure == 0:
        raise InputError("the gold links hold no sure link (i-j), so recall and AER stand for nothing.")
    return AlignmentScore(
        aer=100.0 * (1.0 - (in_sure + in_possible) / (predicted + sure)),
        precision=100.0 * in_possible / predicted if predicted else 0.0,
        recall=100.0 * in_sure / sure,
    )


def alignment_shares(
    gold: Sequence[GoldLinks], predictions: Iterable[AbstractSet[WordLink]]
) -> Iterator[dict[str, int]]:
    """The counts of each pair, whose sums over pairs give the figures."""
    for number, (pair, links) in enumerate(zip(gold, predictions, strict=True)):
        yield {
            "id": number,
            "in_sure": len(links & pair.sure),
            "in_possible": len(links & pair.possible),
            "predicted": len(links),
            "sure": len(pair.sure),
        }


def score_files(
    gold: Path, predictions: Path, gold_from: int | None = None, predictions_from: int | None = None
) -> AlignmentScore:
    """Args: `gold_from` and `predictions_from`: the number of a sentence's first word in each file; None expects 0.

    Raises:
        InputError: a line is malformed, a file counts words from 1 although 0 is expected, the files differ in length,
            or no gold link is sure.
    """
    gold_links = read_gold(gold, gold_from)
    predicted = read_predicted_links(predictions)
    if len(gold_links) != len(predicted):
        raise InputError(
            f"{gold} has {len(gold_links):,} lines but {predictions} has {len(predicted):,}: line k of one must belong "
            "to line k of the other. Give one line of links for each pair, empty where there is none."
        )
    if predictions_from is None and _predicted_from_1(gold_links, predicted):
        raise InputError(
            f"{predictions} counts words from 1: no link of the file has a 0, and with 1 subtracted from both numbers "
            "more links are gold. Give --predictions-from 1, which does that, or --predictions-from 0 if the file does "
            "count from 0."
        )
    predicted = from_0(predicted, predictions_from or 0, predictions, "--predictions-from")
    try:
        return score_alignments(gold_links, predicted)
    except InputError as error:
        raise InputError(f"{gold}: {error}") from None


def _predicted_from_1(gold: Sequence[GoldLinks], predicted: Sequence[frozenset[WordLink]]) -> bool:
    """A poor aligner may leave all first words without links, so a missing 0 alone is no sign here."""
    if counted_from_1(predicted) is None:
        return False
    hits = [0, 0]
    for pair, links in zip(gold, predicted, strict=True):
        for first in (0, 1):
            hits[first] += len(pair.possible & {(i - first, j - first) for i, j in links})
    return hits[1] > hits[0]
