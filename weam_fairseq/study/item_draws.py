"""Figures of all models on the same drawn items, language by language."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from weam_fairseq.common.errors import InputError
from weam_fairseq.study.bootstrap import resampled_sums
from weam_fairseq.study.items import Shares, read_shares
from weam_fairseq.study.score_files import Entry

Cell = tuple[str, str]  # model, language


@dataclass(frozen=True)
class Draws:
    """`by_seed`: by model and language, each seed's figure in each resample, *Shape:* (R,). `without`: the cells whose
    items are not there, with the score that lacks them."""

    by_seed: dict[Cell, dict[int, np.ndarray]]
    without: dict[Cell, Entry]

    def joined(self, other: Draws) -> Draws:
        return Draws({**self.by_seed, **other.by_seed}, {**self.without, **other.without})

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


def draw_items(language: str, column: Mapping[str, Sequence[Entry]], resamples: int, seed: int) -> Draws:
    """Draws the items of one language for every model and seed alike.

    The draw depends on `seed` and the items' ids alone. Languages with the same ids, as in a test set that was
    translated, are so drawn together, and the interval of their average counts that their items go up and down
    together; those with other ids are drawn apart. Unlike items that share their numbers lose nothing by it.

    Raises:
        InputError: a file of items is malformed, or two models' items differ.
    """
    shares: dict[str, list[Shares]] = {}
    without: dict[Cell, Entry] = {}
    for model, entries in column.items():
        found = [(entry, read_shares(entry)) for entry in entries]
        lacking = next((entry for entry, each in found if each is None), None)
        if lacking is None:
            shares[model] = [each for _, each in found if each is not None]
        else:
            without[model, language] = lacking
    if not shares:
        return Draws({}, without)
    together = [(model, number, each) for model, rows in shares.items() for number, each in enumerate(rows)]
    ids = together[0][2].ids
    for model, number, each in together:
        if each.ids != ids:
            raise InputError(_unlike(column[together[0][0]][0], column[model][number], ids, each.ids))
    rng = np.random.default_rng([seed, zlib.crc32("\n".join(ids).encode())])
    sums = resampled_sums(np.concatenate([each.values for _, _, each in together], axis=1), resamples, rng)
    by_seed: dict[Cell, dict[int, np.ndarray]] = {}
    start = 0
    for model, number, each in together:
        width = each.values.shape[1]
        drawn = each.statistic.of(sums[:, start : start + width], len(ids))
        by_seed.setdefault((model, language), {})[column[model][number].score.seed] = drawn
        start += width
    return Draws(by_seed, without)


def _unlike(first: Entry, other: Entry, ids: Sequence[str], others: Sequence[str]) -> str:
    odd = next(iter(sorted(set(ids) ^ set(others))))
    return (
        f"{other.items} has {len(others):,} items and {first.items} {len(ids):,}, and {odd!r} is in one of them alone: "
        "only the same items can be compared. Evaluate both models on the same files."
    )
