"""Sorts a study's models into settings, so that each is compared with the baseline of its setting.

A setting is what two methods must share to be compared: the pairs, the architecture and the options that change every
objective. How links are found or used (aligner, λ, policies) belongs to the method, because TLM reads no links and one
TLM is the baseline of all these methods.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from string import ascii_lowercase
from typing import NamedTuple

from weam_fairseq.method.objectives import OBJECTIVES
from weam_fairseq.method.options import LINK_OPTIONS
from weam_fairseq.report.study_folder import StudyCell

# The other models continue from it. It has read single sentences only, so it has no pairs.
BASE = "base"
# Objectives that read no links.
WITHOUT_LINKS = {BASE, *(name for name, each in OBJECTIVES.items() if not each.has_second_loss)}
# Settings that change nothing if no links are read.
LINK_SETTINGS = {"aligner", "symmetrize", *LINK_OPTIONS}

BETWEEN = " · "


def joined(*parts: str) -> str:
    """Joins the parts that are not empty with middle dots."""
    return BETWEEN.join(part for part in parts if part)


class StudySetting(NamedTuple):
    """`options`: the unusual options, as text; empty if all are usual."""

    pairs: tuple[str, ...]
    pairs_name: str
    arch: str
    options: str

    @property
    def name(self) -> str:
        return joined(self.pairs_name, self.arch, self.options)

    @property
    def languages(self) -> frozenset[str]:
        """The languages of the training pairs."""
        return frozenset(language for pair in self.pairs for language in pair.split("-"))

    def has_seen(self, language: str) -> bool:
        """Whether training pairs contain a language, or both of a pair of languages."""
        return set(language.split("-")) <= self.languages


class ModelPosition(NamedTuple):
    model: str
    method: str
    setting: StudySetting


@dataclass(frozen=True)
class Positions:
    """All models of a study.

    Attributes:
        of: by the model's name; in order of setting, the baseline first in each.
        baselines: the baseline's model by setting; a setting without one is not in it.
        usual: the commonest value of everything that varies: names of settings and methods leave it out.
    """

    of: dict[str, ModelPosition]
    baselines: dict[StudySetting, str]
    usual: dict[str, str]

    @property
    def settings(self) -> list[StudySetting]:
        return list(dict.fromkeys(position.setting for position in self.of.values()))

    @property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(position.method for position in self.of.values()))

    @property
    def compared(self) -> list[ModelPosition]:
        """The models that have a baseline and are not one themselves."""
        of_others = (position for position in self.of.values() if position.setting in self.baselines)
        return [position for position in of_others if self.baselines[position.setting] != position.model]

    def within(self, setting: StudySetting) -> list[ModelPosition]:
        return [position for position in self.of.values() if position.setting == setting]

    def by_method(self, settings: Iterable[StudySetting]) -> dict[str, list[ModelPosition]]:
        """The models of some settings, in the order of methods, then of settings."""
        found = [position for setting in settings for position in self.within(setting)]
        by_method = {method: [each for each in found if each.method == method] for method in self.methods}
        return {method: models for method, models in by_method.items() if models}


def find_positions(cells: Sequence[StudyCell], baseline: str) -> Positions:
    """Finds the position of every model.

    Args:
        baseline: an objective, or `base`: each model is compared with the one that it continued from.
    """
    models: dict[str, StudyCell] = {}
    for cell in cells:
        models.setdefault(cell.model, cell)
    varied = _varied(list(models.values()))
    usual = {name: _commonest([_choice(cell, name) for cell in cells if _concerns(cell, name)]) for name in varied}
    pair_sets = _name_pair_sets(list(models.values()))
    # A baseline that reads links (shuffled) must read the same ones, so they are a part of the setting.
    links_are_shared = baseline not in WITHOUT_LINKS
    settings, methods = {}, {}
    for model, cell in models.items():
        about_links = _words(cell, usual, about_links=True) if _reads_links(cell) else []
        shared = [*_words(cell, usual, about_links=False), *(about_links if links_are_shared else [])]
        pairs = _pairs(cell)
        settings[model] = StudySetting(tuple(sorted(pairs)), pair_sets[pairs], cell.arch, BETWEEN.join(shared))
        methods[model] = BETWEEN.join([cell.objective, *([] if links_are_shared else about_links)])
    methods = _told_apart(methods, models, settings, usual)
    baselines: dict[StudySetting, str] = {}
    for model, cell in models.items():
        if cell.objective == baseline:
            for setting in settings.values():
                if setting == settings[model] or (baseline == BASE and setting.arch == cell.arch):
                    baselines.setdefault(setting, model)
    order = _order(models, settings, baselines, cells)
    return Positions(
        {model: ModelPosition(model, methods[model], settings[model]) for model in order}, baselines, usual
    )


def _told_apart(
    methods: Mapping[str, str],
    models: Mapping[str, StudyCell],
    settings: Mapping[str, StudySetting],
    usual: Mapping[str, str],
) -> dict[str, str]:
    """The first model of a setting keeps its method's name; others with that name get a longer one."""
    taken: set[tuple[StudySetting, str]] = set()
    apart = {}
    for model, method in methods.items():
        cell = models[model]
        links = BETWEEN.join([method, *_words(cell, usual, about_links=True)])
        candidates = [method, links, f"{method}{BETWEEN}{cell.group}"]
        apart[model] = next((name for name in candidates if (settings[model], name) not in taken), model)
        taken.add((settings[model], apart[model]))
    return apart


def _varied(cells: Sequence[StudyCell]) -> list[str]:
    """The names of aligner, symmetrize and options that have several values among the models that they concern."""
    names = ["aligner", "symmetrize", *dict.fromkeys(name for cell in cells for name in cell.options)]
    return [name for name in names if len({_choice(cell, name) for cell in cells if _concerns(cell, name)}) > 1]


def _choice(cell: StudyCell, name: str) -> str | None:
    if name in ("aligner", "symmetrize"):
        return cell.aligner if name == "aligner" else cell.symmetrize
    return str(cell.options[name]) if name in cell.options else None


def _reads_links(cell: StudyCell) -> bool:
    return cell.objective not in WITHOUT_LINKS


def _concerns(cell: StudyCell, name: str) -> bool:
    return cell.objective != BASE and (_reads_links(cell) or name not in LINK_SETTINGS)


def _pairs(cell: StudyCell) -> frozenset[str]:
    return frozenset() if cell.objective == BASE else frozenset(cell.pairs)


def _commonest(values: Sequence[str | None]) -> str:
    return Counter("default" if value is None else value for value in values).most_common(1)[0][0]


def _words(cell: StudyCell, usual: Mapping[str, str], about_links: bool) -> list[str]:
    """What is unusual in a cell: `eflomal`, `cp-weight 0.5`, `skip-identical`."""
    found = []
    for name, commonest in usual.items():
        value = _choice(cell, name) or "default"
        if (name in LINK_SETTINGS) != about_links or value == commonest or cell.objective == BASE:
            continue
        if name in ("aligner", "symmetrize"):
            found.append(value)
        else:
            found.append(name if value == "True" else f"{name} {value}")
    return found


def _name_pair_sets(cells: Sequence[StudyCell]) -> dict[frozenset[str], str]:
    """`3 pairs`; with a letter where a study has several sets of as many."""
    sets = list(dict.fromkeys(map(_pairs, cells)))
    sizes = Counter(len(each) for each in sets)
    seen: Counter[int] = Counter()
    names = {}
    for each in sets:
        size = len(each)
        letter = f" {ascii_lowercase[seen[size] % 26] * (1 + seen[size] // 26)}" if sizes[size] > 1 else ""
        names[each] = ("no pairs" if size == 0 else "1 pair" if size == 1 else f"{size} pairs") + letter
        seen[size] += 1
    return names


def _order(
    models: Mapping[str, StudyCell],
    settings: Mapping[str, StudySetting],
    baselines: Mapping[StudySetting, str],
    cells: Sequence[StudyCell],
) -> list[str]:
    """Usual settings, small architectures, few pairs first; in a setting the baseline first, the others as planned."""
    sizes: dict[str, list[float]] = {}
    for cell in cells:
        sizes.setdefault(cell.arch, []).append(cell.cost.parameters or 0.0)
    place = {model: number for number, model in enumerate(models)}

    def key(model: str) -> tuple[object, ...]:
        setting = settings[model]
        mean = fmean(sizes[setting.arch])
        first = baselines.get(setting) != model
        return (setting.options, mean, setting.arch, len(setting.pairs), setting.pairs_name, first, place[model])

    return sorted(models, key=key)
