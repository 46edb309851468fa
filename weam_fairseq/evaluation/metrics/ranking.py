"""Mean average precision of ranked lists, cut at 20: LAReQA (11 correct answers a question) and Mewsli-X (one).

    AP@k = Σ over ranks i ≤ k with a correct answer of (correct answers up to i) / i, over min(correct answers, k)

With one correct answer this is the reciprocal rank, so it equals Mewsli-X's MRR@20 (Ruder et al. 2021).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from weam_fairseq.common.errors import InputError

CUT = 20


def mean_average_precision(
    gold: Mapping[str, Collection[str]],
    rankings: Mapping[str, Sequence[str]],
    k: int = CUT,
    missing_as_zero: bool = False,
) -> float:
    """The mean of AP@k over the queries of `gold`, 0–100. Rankings are best first; those of other ids are ignored.

    Args:
        gold: a query's id to the candidates that are right.
        missing_as_zero: a query without a ranking counts 0 instead of being an error.

    Raises:
        InputError: there is no query, one has no right candidate, or one has no ranking.
    """
    if not gold:
        raise InputError("the gold file holds no query.")
    for query, right in gold.items():
        if not right or "" in right:
            raise InputError(f"query {query!r} has no right candidate: published test files often come without them.")
    missing = [query for query in gold if query not in rankings]
    if missing and not missing_as_zero:
        raise InputError(
            f"{len(missing):,} of {len(gold):,} queries have no ranking, the first is {missing[0]!r}. Rank every query."
        )
    return (
        100.0 * sum(average_precision(right, rankings.get(query, ()), k) for query, right in gold.items()) / len(gold)
    )


def shares(
    gold: Mapping[str, Collection[str]], rankings: Mapping[str, Sequence[str]], k: int = CUT
) -> Iterator[dict[str, str | float]]:
    """Each query's own AP@k, 0–100: the figure is their mean."""
    for query, right in gold.items():
        yield {"id": query, f"map@{k}": 100.0 * average_precision(right, rankings[query], k)}


def average_precision(right: Collection[str], ranking: Sequence[str], k: int = CUT) -> float:
    """AP@k of one query, 0–1. A candidate that is ranked again further down keeps its place and is right only once."""
    wanted = set(right)
    hits, total = 0, 0.0
    for rank, candidate in enumerate(ranking[:k], start=1):
        if candidate in wanted:
            wanted.remove(candidate)
            hits += 1
            total += hits / rank
    return total / min(len(set(right)), k)
