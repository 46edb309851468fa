"""Whether gains grow: a method's gain with the most pairs minus that with the fewest, and in the largest architecture
minus that in the smallest, each with the intervals of a difference.

Two gains that both leave 0 out say nothing about which is larger, and the intervals of two gains on the same items
may overlap though their difference leaves 0 out: so the difference of the gains is drawn itself, all four models on the
same items.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from statistics import fmean

from weam_fairseq.report.bootstrap import Interval, item_interval, seed_interval
from weam_fairseq.report.figures import AVERAGE
from weam_fairseq.report.gains import Gain, TaskGains
from weam_fairseq.report.groups import group_scores
from weam_fairseq.report.item_draws import draw_items
from weam_fairseq.report.score_files import Entry
from weam_fairseq.report.study_folder import Study
from weam_fairseq.report.study_settings import Place, Places, Setting, joined

# What stays the same, what the two ends are called, and what must differ: two sets of as many pairs are no growth.
_KINDS: list[tuple[Callable[[Setting], str], Callable[[Setting], str], Callable[[Setting], object]]] = [
    (lambda setting: joined(setting.arch, setting.options), lambda setting: setting.pairs_name, lambda s: len(s.pairs)),
    (lambda setting: joined(setting.pairs_name, setting.options), lambda setting: setting.arch, lambda s: s.arch),
]


@dataclass(frozen=True)
class Growth:
    """`gains`: by task, how much larger the gain of `more` is than that of `less`, averaged over all languages."""

    method: str
    what: str
    less: Place
    more: Place
    gains: dict[str, Gain]


def measure_growth(
    study: Study, places: Places, tasks: Sequence[TaskGains], resamples: int, draw_seed: int
) -> list[Growth]:
    """With the number of pairs for each architecture, then with the architecture for each set of pairs."""
    found = []
    for what, less, more in _ends(places):
        gains = {
            task.title: gain
            for task in tasks
            if (gain := _difference(study, places, task, less, more, resamples, draw_seed)) is not None
        }
        if gains:
            found.append(Growth(more.method, what, less, more, gains))
    return found


def _ends(places: Places) -> list[tuple[str, Place, Place]]:
    """Each with what it is: `weam_mini: 14 pairs − 1 pair`."""
    ends = []
    for same, other, size in _KINDS:
        lines: dict[tuple[str, str], list[Place]] = {}
        for place in places.compared:  # small architectures and few pairs come first
            if place.setting.pairs:
                lines.setdefault((same(place.setting), place.method), []).append(place)
        for (name, _), line in lines.items():
            less, more = line[0], line[-1]
            if size(less.setting) != size(more.setting):
                ends.append((f"{name}: {other(more.setting)} − {other(less.setting)}", less, more))
    return ends


def _difference(
    study: Study, places: Places, task: TaskGains, less: Place, more: Place, resamples: int, draw_seed: int
) -> Gain | None:
    one, other = task.gain(more.model, AVERAGE), task.gain(less.model, AVERAGE)
    if one is None or other is None:
        return None
    by_seed = {seed: one.by_seed[seed] - other.by_seed[seed] for seed in one.by_seed if seed in other.by_seed}
    value = fmean(by_seed.values()) if by_seed else one.value - other.value
    four = [place.model for place in (more, less)] + [places.baselines[place.setting] for place in (more, less)]
    items = _over_items(study, task, by_seed, four, resamples, draw_seed) if one.items and other.items else None
    seeds = seed_interval(list(by_seed.values()))
    intervals = [each for each in (items, seeds) if each is not None]
    return Gain(value, items, seeds, by_seed, bool(intervals) and all(each.excludes_zero for each in intervals))


def _over_items(
    study: Study,
    task: TaskGains,
    seeds: Collection[int],
    four: Sequence[str],
    resamples: int,
    draw_seed: int,
) -> Interval | None:
    """`seeds`: those that the difference is over. `four`: the model with more, that with less, and their baselines in
    the same order."""
    languages = task.cells[four[0], AVERAGE].over
    rows = group_scores(study.scores.entries)[task.group]
    columns: dict[str, dict[str, list[Entry]]] = {language: {model: [] for model in four} for language in languages}
    for entry in rows:
        if entry.score.language in columns and entry.score.model in columns[entry.score.language]:
            columns[entry.score.language][entry.score.model].append(entry)
    draws = draw_items(columns, resamples, draw_seed, None)
    draws = draws.averaged(AVERAGE, list(dict.fromkeys(four)), languages)
    more, less = (draws.difference(four[at], four[at + 2], AVERAGE, seeds or None) for at in (0, 1))
    if more is None or less is None:
        return None
    sign = -1.0 if task.lower_is_better else 1.0
    return item_interval(sign * (more - less))
