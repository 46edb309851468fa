"""Figures of all models on the same drawn items, language by language."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from weam_fairseq.common.errors import InputError
from weam_fairseq.report.bootstrap import Part, resampled_sums
from weam_fairseq.report.items import Shares, read_shares
from weam_fairseq.report.score_files import Entry

Cell = tuple[str, str]  # model, language

# The scores of one language by model.
Column = Mapping[str, Sequence[Entry]]


@dataclass(frozen=True)
class Draws:
    """`by_seed`: by model and language, each seed's figure in each resample, *Shape:* (R,). `without`: the cells whose
    items are not there, with the score that lacks them."""

    by_seed: dict[Cell, dict[int, np.ndarray]]
    without: dict[Cell, Entry]

    def figure(self, model: str, language: str) -> np.ndarray | None:
        """The mean over seeds in each resample, *Shape:* (R,)."""
        rows = self.by_seed.get((model, language))
        return np.mean(list(rows.values()), axis=0) if rows else None

    def averaged(self, name: str, models: Sequence[str], languages: Sequence[str]) -> Draws:
        """With the mean over languages under `name`, for models that have the items of all of them; of the seeds that
        all languages have, where there are such."""
        means = {}
        for model in models:
            cells = [self.by_seed.get((model, language), {}) for language in languages]
            if not all(cells):
                continue
            seeds = sorted(set.intersection(*map(set, cells)))
            means[model, name] = {seed: np.mean([cell[seed] for cell in cells], axis=0) for seed in seeds}
        return Draws({**self.by_seed, **means}, self.without)

    def difference(
        self, model: str, other: str, language: str, seeds: Collection[int] | None = None
    ) -> np.ndarray | None:
        """In each resample, the mean over the seeds that both have (or over `seeds`); where they share none, the
        difference of their means. None where items or seeds are not there."""
        one, two = (self.by_seed.get((name, language)) for name in (model, other))
        if not one or not two:
            return None
        shared = sorted(set(one) & set(two) if seeds is None else seeds)
        if not set(shared) <= set(one) & set(two):
            return None
        if not shared:
            return np.mean(list(one.values()), axis=0) - np.mean(list(two.values()), axis=0)
        return np.mean([one[seed] - two[seed] for seed in shared], axis=0)


def draw_items(
    columns: Mapping[str, Column], resamples: int, seed: int, progress: Callable[[], object] | None
) -> Draws:
    """Draws the items of a table's languages for every model and seed alike.

    Items of several languages in one cluster are drawn together, so that the interval of an average over languages
    counts that they are hard or easy together: the query is drawn, not the query in one language. Languages that share
    no cluster are drawn apart. The draw depends on `seed` and the clusters' names alone.

    Args:
        columns: the scores by language and model.
        progress: called after each language is read.

    Raises:
        InputError: a file of items is malformed, or two models' items differ.
    """
    draws = Draws({}, {})
    found: dict[str, list[_Row]] = {}
    for language, column in columns.items():
        rows, without = _read(language, column)
        draws.without.update(without)
        if rows:
            found[language] = rows
        if progress is not None:
            progress()
    for languages in _connected({language: set(rows[0].shares.clusters) for language, rows in found.items()}):
        draws.by_seed.update(_draw({language: found[language] for language in languages}, resamples, seed))
    return draws


class _Row(NamedTuple):
    model: str
    seed: int
    shares: Shares


def _read(language: str, column: Column) -> tuple[list[_Row], dict[Cell, Entry]]:
    """The items of each model and seed, all of them the same, and the cells without items."""
    rows: list[_Row] = []
    without: dict[Cell, Entry] = {}
    first: Entry | None = None
    for model, entries in column.items():
        found = [(entry, read_shares(entry)) for entry in entries]
        lacking = next((entry for entry, each in found if each is None), None)
        if lacking is not None:
            without[model, language] = lacking
            continue
        for entry, each in found:
            assert each is not None
            first = first or entry
            if rows and each.ids != rows[0].shares.ids:
                raise InputError(_unlike(first, entry, rows[0].shares.ids, each.ids))
            rows.append(_Row(model, entry.score.seed, each))
    return rows, without


def _connected(clusters: Mapping[str, set[str]]) -> list[list[str]]:
    """The languages that share clusters, directly or by way of others, put together."""
    parts: list[tuple[list[str], set[str]]] = []
    for language, own in clusters.items():
        apart = [part for part in parts if part[1].isdisjoint(own)]
        together = [part for part in parts if not part[1].isdisjoint(own)]
        languages = [name for names, _ in together for name in names]
        parts = [*apart, ([*languages, language], own.union(*(each for _, each in together)))]
    return [languages for languages, _ in parts]


def _draw(found: Mapping[str, Sequence[_Row]], resamples: int, seed: int) -> dict[Cell, dict[int, np.ndarray]]:
    names = sorted({name for rows in found.values() for name in rows[0].shares.clusters})
    numbers = {name: number for number, name in enumerate(names)}
    parts = [
        Part(
            values=np.concatenate([row.shares.values for row in rows], axis=1),
            clusters=np.array([numbers[name] for name in rows[0].shares.clusters]),
        )
        for rows in found.values()
    ]
    rng = np.random.default_rng([seed, zlib.crc32("\n".join(names).encode())])
    by_seed: dict[Cell, dict[int, np.ndarray]] = {}
    for (language, rows), sums in zip(found.items(), resampled_sums(parts, resamples, rng), strict=True):
        start = 0
        for row in rows:
            width = row.shares.values.shape[1]
            figures = row.shares.statistic.of(sums[:, start : start + width], sums[:, -1])
            by_seed.setdefault((row.model, language), {})[row.seed] = figures
            start += width
    return by_seed


def _unlike(first: Entry, other: Entry, ids: Sequence[str], others: Sequence[str]) -> str:
    odd = next(iter(sorted(set(ids) ^ set(others))))
    return (
        f"{other.items} has {len(others):,} items and {first.items} {len(ids):,}, and {odd!r} is in one of them alone: "
        "only the same items can be compared. Evaluate both models on the same files."
    )
