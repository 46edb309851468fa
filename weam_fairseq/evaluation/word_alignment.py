"""Word alignment against hand-made links: alignment error rate, precision and recall (Och and Ney 2003).

A gold line holds sure links `i-j` and possible ones `ipj`; a line of predictions holds `i-j`. Both count words from 0,
and line k of one belongs to line k of the other. An empty line has no links.

With A the predicted links, S the sure ones and P the sure and possible ones, over all lines together:

    precision = |A ∩ P| / |A|     recall = |A ∩ S| / |S|     AER = 1 − (|A ∩ S| + |A ∩ P|) / (|A| + |S|)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import NamedTuple

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.readers import read_lines

WordLink = tuple[int, int]

# Share of a published gold file's items that may be no links.
MOST_LEFT_OUT = 0.01

_ITEM = re.compile(r"([0-9]+)([-p])([0-9]+)")


class GoldLinks(NamedTuple):
    """One pair. A link that is given as both sure and possible is sure; `possible` holds the sure ones too."""

    sure: frozenset[WordLink]
    possible: frozenset[WordLink]


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


def score_files(gold: Path, predictions: Path) -> tuple[AlignmentScore, list[str]]:
    """The score, and what of the gold file is no link and was left out.

    Raises:
        InputError: a line is malformed, the files differ in length, or no gold link is sure.
    """
    gold_links, left_out = read_published_gold(gold)
    predicted = read_predictions(predictions)
    if len(gold_links) != len(predicted):
        raise InputError(
            f"{gold} has {len(gold_links):,} lines but {predictions} has {len(predicted):,}: line k of one must belong "
            "to line k of the other. Give one line of links for each pair, empty where there is none."
        )
    try:
        return score_alignments(gold_links, predicted), left_out
    except InputError as error:
        raise InputError(f"{gold}: {error}") from None


def read_gold(path: Path) -> list[GoldLinks]:
    """Raises InputError with the file and the line of what is no link."""
    pairs = []
    for number, line in enumerate(read_lines(path), start=1):
        items = [_parsed(item, f"{path}:{number}", "i-j (sure) or ipj (possible)", "-p") for item in line.split()]
        sure = frozenset(link for link, kind in items if kind == "-")
        pairs.append(GoldLinks(sure, sure.union(link for link, _ in items)))
    return pairs


def read_published_gold(path: Path) -> tuple[list[GoldLinks], list[str]]:
    """As `read_gold`, but single items that are no link are left out and returned with their lines.

    Published files hold a few, such as `21--100`; more than 1 in 100 make another format of it.

    Raises:
        InputError: too many items are no links, with the first of them.
    """
    pairs, left_out, items = [], [], 0
    first_error: InputError | None = None
    for number, line in enumerate(read_lines(path), start=1):
        sure: set[WordLink] = set()
        possible: set[WordLink] = set()
        for item in line.split():
            items += 1
            try:
                link, kind = _parsed(item, f"{path}:{number}", "i-j (sure) or ipj (possible)", "-p")
            except InputError as error:
                first_error = first_error or error
                left_out.append(f"{path.name}:{number}: {item}")
            else:
                (sure if kind == "-" else possible).add(link)
        pairs.append(GoldLinks(frozenset(sure), frozenset(sure | possible)))
    if first_error is not None and len(left_out) > items * MOST_LEFT_OUT:
        raise first_error
    return pairs, left_out


def read_predictions(path: Path) -> list[frozenset[WordLink]]:
    """Raises InputError with the file and the line of what is no link."""
    return [
        frozenset(_parsed(item, f"{path}:{number}", "i-j", "-")[0] for item in line.split())
        for number, line in enumerate(read_lines(path), start=1)
    ]


def _parsed(item: str, where: str, form: str, kinds: str) -> tuple[WordLink, str]:
    match = _ITEM.fullmatch(item)
    if match is None or match[2] not in kinds:
        raise InputError(f"{where}: {item!r} is no link. Write links as {form}, words counted from 0.")
    return (int(match[1]), int(match[3])), match[2]
