"""Each item's share in a score, from the file that weam-evaluate writes beside the predictions.

A metric that is a mean over items has its value under its own name in each line. A ratio of counts, such as F1 over
entities, has the counts: they are summed over the drawn items, and the ratio is taken of the sums.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from weam_fairseq.common.documents import parse_json, read_text
from weam_fairseq.common.errors import InputError
from weam_fairseq.report.score_files import Entry

# Tasks that number each language's own items, so that the same number in two languages is no shared item. In all other
# tasks the same id is the same item in another language.
_OWN_ITEMS = {"tydiqa", "udpos", "panx", "bucc", "mewslix", "word-alignment"}

# Two ways to sum the same shares: the figure from the items must be the score.
_TOLERANCE = 1e-6


class Statistic(NamedTuple):
    """How sums over items make a figure, 0–100.

    Attributes:
        columns: what is summed.
        of: sums of *Shape:* (..., len(columns)) and numbers of items of *Shape:* (...), to figures of *Shape:* (...).
    """

    columns: tuple[str, ...]
    of: Callable[[np.ndarray, np.ndarray], np.ndarray]


def _percent(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """0 where there is no whole, as the scorers have it."""
    return 100.0 * part / np.where(whole == 0, 1.0, whole)


def _mean(sums: np.ndarray, count: np.ndarray) -> np.ndarray:
    return np.asarray(sums[..., 0] / count)


# Sought in this order, after the metric's own name. 2PR/(P + R) is 2 correct / (predicted + gold).
RATIOS = {
    "f1": [Statistic(("correct", "predicted", "gold"), lambda s, n: _percent(2 * s[..., 0], s[..., 1] + s[..., 2]))],
    "precision": [Statistic(("correct", "predicted"), lambda s, n: _percent(s[..., 0], s[..., 1]))],
    "recall": [Statistic(("correct", "gold"), lambda s, n: _percent(s[..., 0], s[..., 1]))],
    "accuracy": [Statistic(("words_correct", "words"), lambda s, n: _percent(s[..., 0], s[..., 1]))],
    # Och and Ney 2003: 1 − (|A∩S| + |A∩P|) / (|A| + |S|).
    "aer": [
        Statistic(
            ("in_sure", "in_possible", "predicted", "sure"),
            lambda s, n: 100.0 - _percent(s[..., 0] + s[..., 1], s[..., 2] + s[..., 3]),
        )
    ],
}


@dataclass(frozen=True)
class Shares:
    """The items of one score.

    Attributes:
        ids: sorted.
        clusters: what each item shares with items of other languages, such as the question that was translated.
        values: *Shape:* (N, K), the columns of `statistic` for each item.
    """

    ids: tuple[str, ...]
    clusters: tuple[str, ...]
    values: np.ndarray
    statistic: Statistic


def read_shares(entry: Entry) -> Shares | None:
    """The items' shares in a score; None where no file of them is there, or none that holds its metric.

    Raises:
        InputError: the file is malformed, or is not the score's.
    """
    path = entry.items
    if path is None or not path.is_file():
        return None
    records = _read(path)
    metric = entry.score.metric
    candidates = [Statistic((metric,), _mean), *RATIOS.get(metric, [])]
    statistic = next((each for each in candidates if set(each.columns) <= set(records[0][1])), None)
    if statistic is None:
        return None
    records.sort(key=lambda record: record[0])
    try:
        values = np.array([[float(record[name]) for name in statistic.columns] for _, record in records])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: an item has no number for {' and '.join(statistic.columns)} ({type(error).__name__}: {error}). "
            "Evaluate again."
        ) from None
    clusters = tuple(_cluster(entry, record) for _, record in records)
    shares = Shares(tuple(name for name, _ in records), clusters, values, statistic)
    _check_value(entry, path, shares)
    return shares


def _cluster(entry: Entry, record: Mapping[str, Any]) -> str:
    """What the item shares with other languages: its `cluster` where the file names one, else its id."""
    name, language = str(record.get("cluster", record["id"])), entry.score.language
    if entry.score.task in _OWN_ITEMS:
        return f"{language}:{name}"
    # Older item files of LAReQA name no cluster: `572a…_de` is question 572a… in German.
    return name.removesuffix(f"_{language}") if entry.score.task == "lareqa" else name


def _check_value(entry: Entry, path: Path, shares: Shares) -> None:
    value = float(shares.statistic.of(shares.values.sum(axis=0), np.array(len(shares.ids))))
    if not math.isclose(value, entry.score.value, rel_tol=0, abs_tol=_TOLERANCE):
        raise InputError(
            f"{path} gives {entry.score.metric} {value:.4f}, but {entry.where} says {entry.score.value:.4f}: the items "
            "are another run's. Evaluate again, with a --predictions folder for each model."
        )


def _read(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Items by id, as text."""
    records: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(read_text(path, 1 << 30).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = parse_json(line, f"{path}:{number}", dict)
            name = str(record["id"])
        except KeyError as error:
            raise InputError(f"{path}:{number}: no item with an id ({type(error).__name__}: {error}).") from None
        if name in records:
            raise InputError(f"{path}:{number}: item {name} stands twice. Evaluate again.")
        records[name] = record
    if not records:
        raise InputError(f"{path} holds no item. Evaluate again.")
    return list(records.items())
