"""Each item's part in a score, and the figures of resampled items.

weam-evaluate writes a file of items beside the predictions. A metric that is a mean over items has its value under its
own name in each line. A ratio of counts, such as F1 over entities, has the counts: they are summed over the drawn
items, and the ratio is taken of the sums.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from weam_fairseq.common.documents import parse_json, read_text
from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.bootstrap import Part, resampled_sums
from weam_fairseq.evaluation.scores import Entry

# Tasks that number each language's own items, so the same number in two languages means two items. In all other
# tasks the same id is the same item in another language.
_OWN_ITEMS = {"tydiqa", "udpos", "panx", "bucc", "mewslix", "word-alignment"}

# Two ways to sum the same counts: the figure from the items must be the score.
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
    """0 where the whole is 0, as in the scorers."""
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
# Metrics of errors. Reports show a decrease as a gain.
LOWER_IS_BETTER = {"aer"}


@dataclass(frozen=True)
class ItemCounts:
    """The items of one score.

    Attributes:
        ids: sorted.
        clusters: what each item counts with items of other languages, such as the question that was translated.
        values: *Shape:* (N, K), the columns of `statistic` for each item.
    """

    ids: tuple[str, ...]
    clusters: tuple[str, ...]
    values: np.ndarray
    statistic: Statistic


def read_item_counts(entry: Entry) -> ItemCounts | None:
    """The items' counts in a score; None without a file of items that holds the score's metric.

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
            f"{path}: every item must have a number for {' and '.join(statistic.columns)}, but one has none "
            f"({type(error).__name__}: {error}). Evaluate again."
        ) from None
    clusters = tuple(_cluster(entry, record) for _, record in records)
    counts = ItemCounts(tuple(name for name, _ in records), clusters, values, statistic)
    _check_value(entry, path, counts)
    return counts


def _cluster(entry: Entry, record: Mapping[str, Any]) -> str:
    """What the item counts with other languages: its `cluster` where the file names one, else its id."""
    name = str(record.get("cluster", record["id"]))
    return f"{entry.score.language}:{name}" if entry.score.task in _OWN_ITEMS else name


def _check_value(entry: Entry, path: Path, counts: ItemCounts) -> None:
    value = float(counts.statistic.of(counts.values.sum(axis=0), np.array(len(counts.ids))))
    if not math.isclose(value, entry.score.value, rel_tol=0, abs_tol=_TOLERANCE):
        raise InputError(
            f"{path} gives {entry.score.metric} {value:.4f}, but {entry.where} says {entry.score.value:.4f}: the items "
            "belong to another run. Evaluate again, with a --predictions folder for each model."
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
            raise InputError(
                f"{path}:{number}: every item must have an id ({type(error).__name__}: {error})."
            ) from None
        if name in records:
            raise InputError(f"{path}:{number}: item {name} is repeated. Evaluate again.")
        records[name] = record
    if not records:
        raise InputError(f"{path} must contain items, but is empty. Evaluate again.")
    return list(records.items())


ModelLanguage = tuple[str, str]  # model, language

# The scores of one language by model.
LanguageEntries = Mapping[str, Sequence[Entry]]


def by_language_and_model(entries: Iterable[Entry]) -> dict[str, dict[str, list[Entry]]]:
    columns: dict[str, dict[str, list[Entry]]] = {}
    for entry in entries:
        columns.setdefault(entry.score.language, {}).setdefault(entry.score.model, []).append(entry)
    return columns


@dataclass(frozen=True)
class Resamples:
    """Scores of resampled items.

    Attributes:
        by_seed: by model and language, each seed's score in each resample, *Shape:* (R,).
        missing_items: cells without per-item results, each with one score as an example for the message.
    """

    by_seed: dict[ModelLanguage, dict[int, np.ndarray]]
    missing_items: dict[ModelLanguage, Entry]

    def mean(self, model: str, language: str) -> np.ndarray | None:
        """The mean over seeds in each resample, *Shape:* (R,)."""
        rows = self.by_seed.get((model, language))
        return np.mean(list(rows.values()), axis=0) if rows else None

    def averaged(self, name: str, models: Sequence[str], languages: Sequence[str]) -> Resamples:
        """Adds the mean over `languages` as the language `name`, for models that have items in every language. If some
        seeds have all languages, only these seeds count."""
        means = {}
        for model in models:
            cells = [self.by_seed.get((model, language), {}) for language in languages]
            if not all(cells):
                continue
            seeds = sorted(set.intersection(*map(set, cells)))
            means[model, name] = {seed: np.mean([cell[seed] for cell in cells], axis=0) for seed in seeds}
        return Resamples({**self.by_seed, **means}, self.missing_items)

    def difference(
        self,
        model: str,
        other: str,
        language: str,
        seeds: Collection[int] | None = None,
        for_each_seed: bool = False,
    ) -> np.ndarray | None:
        """In each resample, the mean over the seeds that both have (or over `seeds`); where they share none, the
        difference of their means. None if items or seeds are missing.

        Args:
            for_each_seed: the mean of `other` stands for each of its seeds.
        """
        one, two = (self.by_seed.get((name, language)) for name in (model, other))
        if not one or not two:
            return None
        if for_each_seed:
            mean: np.ndarray = np.mean(list(two.values()), axis=0)
            two = dict.fromkeys(one, mean)
        shared = sorted(set(one) & set(two) if seeds is None else seeds)
        if not set(shared) <= set(one) & set(two):
            return None
        if not shared:
            return np.mean(list(one.values()), axis=0) - np.mean(list(two.values()), axis=0)
        return np.mean([one[seed] - two[seed] for seed in shared], axis=0)


def resample_items(
    columns: Mapping[str, LanguageEntries], resamples: int, seed: int, progress: Callable[[], object] | None
) -> Resamples:
    """Resamples the items of a table's languages for every model and seed alike.

    Items of several languages in one cluster are drawn together, so that the interval of an average over languages
    counts that they are hard or easy together: the query is drawn, not the query in one language. Languages that share
    no cluster are drawn apart. The draw depends on `seed` and the clusters' names alone.

    Args:
        columns: the scores by language and model.
        progress: called after each language is read.

    Raises:
        InputError: a file of items is malformed, or two models' items differ.
    """
    resampled = Resamples({}, {})
    found: dict[str, list[_ModelItems]] = {}
    for language, column in columns.items():
        rows, missing_items = _read_column(language, column)
        resampled.missing_items.update(missing_items)
        if rows:
            found[language] = rows
        if progress is not None:
            progress()
    for languages in _connected({language: set(rows[0].counts.clusters) for language, rows in found.items()}):
        resampled.by_seed.update(_draw({language: found[language] for language in languages}, resamples, seed))
    return resampled


class _ModelItems(NamedTuple):
    model: str
    seed: int
    counts: ItemCounts


def _read_column(language: str, column: LanguageEntries) -> tuple[list[_ModelItems], dict[ModelLanguage, Entry]]:
    """The items of each model and seed, all of them the same, and the cells without items."""
    rows: list[_ModelItems] = []
    missing_items: dict[ModelLanguage, Entry] = {}
    first: Entry | None = None
    for model, entries in column.items():
        found = [(entry, read_item_counts(entry)) for entry in entries]
        lacking = next((entry for entry, each in found if each is None), None)
        if lacking is not None:
            missing_items[model, language] = lacking
            continue
        for entry, each in found:
            assert each is not None
            first = first or entry
            if rows and each.ids != rows[0].counts.ids:
                raise InputError(_unlike(first, entry, rows[0].counts.ids, each.ids))
            rows.append(_ModelItems(model, entry.score.seed, each))
    return rows, missing_items


def _connected(clusters: Mapping[str, set[str]]) -> list[list[str]]:
    """The languages that share clusters, directly or by way of others, put together."""
    parts: list[tuple[list[str], set[str]]] = []
    for language, own in clusters.items():
        apart = [part for part in parts if part[1].isdisjoint(own)]
        together = [part for part in parts if not part[1].isdisjoint(own)]
        languages = [name for names, _ in together for name in names]
        parts = [*apart, ([*languages, language], own.union(*(each for _, each in together)))]
    return [languages for languages, _ in parts]


def _draw(
    found: Mapping[str, Sequence[_ModelItems]], resamples: int, seed: int
) -> dict[ModelLanguage, dict[int, np.ndarray]]:
    names = sorted({name for rows in found.values() for name in rows[0].counts.clusters})
    numbers = {name: number for number, name in enumerate(names)}
    parts = [
        Part(
            values=np.concatenate([row.counts.values for row in rows], axis=1),
            clusters=np.array([numbers[name] for name in rows[0].counts.clusters]),
        )
        for rows in found.values()
    ]
    rng = np.random.default_rng([seed, zlib.crc32("\n".join(names).encode())])
    by_seed: dict[ModelLanguage, dict[int, np.ndarray]] = {}
    for (language, rows), sums in zip(found.items(), resampled_sums(parts, resamples, rng), strict=True):
        start = 0
        for row in rows:
            width = row.counts.values.shape[1]
            figures = row.counts.statistic.of(sums[:, start : start + width], sums[:, -1])
            by_seed.setdefault((row.model, language), {})[row.seed] = figures
            start += width
    return by_seed


def _unlike(first: Entry, other: Entry, ids: Sequence[str], others: Sequence[str]) -> str:
    odd = next(iter(sorted(set(ids) ^ set(others))))
    return (
        f"{other.items} has {len(others):,} items and {first.items} {len(ids):,}, and {odd!r} is in one of them alone: "
        "only the same items can be compared. Evaluate both models on the same files."
    )
