"""Turns the config into cells and steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import product
from typing import Any

from weam_fairseq.common.arguments import suggest
from weam_fairseq.common.errors import InputError
from weam_fairseq.method.objectives import OBJECTIVES
from weam_fairseq.method.options import LINK_OPTIONS
from weam_fairseq.study.config import BASE_OBJECTIVE, Block, Config, Options, as_list
from weam_fairseq.study.paths import Files, StudyPaths, canonical, is_given
from weam_fairseq.study.step import Step, StepFolder
from weam_fairseq.study.steps import BaseModel, Steps


@dataclass(frozen=True)
class Cell:
    """One model of the grid.

    Attributes:
        name: unique.
        model: name of the model, the same for all seeds.
        options: options of the method that vary in the study.
        group: the first block that contains the cell.
        folder: relative to the study's folder.
        base: folder of the base.
        trained: id of the training; None: the cell is a base.
        base_trained: id of the base's training; None: the base is a published model.
        exported, evaluated: ids of the other steps.
    """

    name: str
    model: str
    seed: int
    objective: str
    pairs: tuple[str, ...]
    arch: str
    aligner: str
    symmetrize: str
    options: dict[str, Any]
    group: str
    folder: str
    base: str
    trained: str | None
    base_trained: str | None
    exported: str
    evaluated: tuple[str, ...]

    @property
    def steps(self) -> tuple[str, ...]:
        """The cell's own steps, in order."""
        return (*([self.trained] if self.trained else []), self.exported, *self.evaluated)


@dataclass(frozen=True)
class Plan:
    """Cells and steps of a study. `steps`: by id, each after the steps that it needs."""

    config: Config
    paths: StudyPaths
    steps: dict[str, Step]
    cells: tuple[Cell, ...]

    def folder(self, step_id: str) -> StepFolder:
        return StepFolder(self.paths.study / step_id)

    def is_done(self, step: Step) -> bool:
        return self.folder(step.id).is_done(step.languages)

    def needed(self, cells: Iterable[Cell]) -> list[Step]:
        """All steps of some cells, and the steps that these need, in the plan's order."""
        wanted: set[str] = set()
        open_ids = [step for cell in cells for step in cell.steps]
        while open_ids:
            found = open_ids.pop()
            if found not in wanted:
                wanted.add(found)
                open_ids += self.steps[found].needs
        return [step for step in self.steps.values() if step.id in wanted]

    def only(self, patterns: Iterable[str]) -> list[Cell]:
        """Cells with a name, or that match a pattern as in a shell.

        Raises:
            InputError: no cell has that name or matches that pattern.
        """
        patterns = list(patterns)
        for pattern in patterns:
            if not any(fnmatchcase(cell.name, pattern) for cell in self.cells):
                hint = suggest(pattern, (cell.name for cell in self.cells)) or " See them with --list."
                raise InputError(f"--only must match a cell, but {pattern} matches none.{hint}")
        return [cell for cell in self.cells if any(fnmatchcase(cell.name, pattern) for pattern in patterns)]


def make_plan(config: Config, paths: StudyPaths, files: Files) -> Plan:
    """Expands the grid, one block after the other."""
    steps = Steps(config, paths, files)
    cells: dict[str, Cell] = {}
    varied = sorted({name for block in config.grid for name in block.options})
    for block in config.grid:
        for arch, seed, pairs, objective, links, options in _combinations(config, block):
            base = steps.base(arch, seed)
            if config.evaluate_bases:
                found = _base_cell(config, steps, base)
                cells.setdefault(found.folder, found)
            found = _cell(config, steps, base, block, (objective, pairs, links, options, seed), varied)
            cells.setdefault(found.folder, found)
    names = [cell.name for cell in cells.values()]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(
            f"Two cells that differ would both be named {twice}. Rename a pair set or a model of the config."
        )
    return Plan(config, paths, steps.by_id, tuple(cells.values()))


def _combinations(config: Config, block: Block) -> Iterator[tuple[str, int, str, str, tuple[str, str], Options]]:
    """Seeds change slowest, so that the first results cover every method once."""
    values = product(*map(as_list, block.options.values()))
    chosen = [dict(zip(block.options, each, strict=True)) for each in values]
    links = product(block.aligner or [config.data.aligner], block.symmetrize or [config.data.symmetrize])
    axes = product(block.seed, block.arch, block.pairs, block.objective, links, chosen)
    for seed, arch, pairs, objective, links, options in axes:
        yield arch, seed, pairs, objective, links, options


def _cell(
    config: Config,
    steps: Steps,
    base: BaseModel,
    block: Block,
    what: tuple[str, str, tuple[str, str], Options, int],
    varied: list[str],
) -> Cell:
    objective, pairs, links, options, seed = what
    usual = config.continued_options(base.arch)
    default_links = config.data.links
    if not OBJECTIVES[objective].has_second_loss:
        links = default_links
        usual, options = _without_links(usual), _without_links(options)
    merged = {**usual, **options}
    extras = [each for each, default in zip(links, default_links, strict=True) if each != default]
    extras += [_named(name, options[name]) for name in sorted(options) if _differs(options[name], usual.get(name))]
    parts = [objective, pair_set_label(pairs), base.arch, *extras]
    name = ".".join([*(_plain(part) for part in parts), f"s{seed}"])
    model = " · ".join(parts)
    done = steps.cell(base, (name, model), (objective, pairs, seed), links, merged)
    return Cell(
        name=name,
        model=model,
        seed=seed,
        objective=objective,
        pairs=config.pair_sets[pairs],
        arch=base.arch,
        aligner=links[0],
        symmetrize=links[1],
        options={each: merged[each] for each in varied if is_given(merged.get(each))},
        group=block.name,
        folder=done.folder,
        base=base.folder,
        trained=done.trained,
        base_trained=base.trained,
        exported=done.exported,
        evaluated=done.evaluated,
    )


def _base_cell(config: Config, steps: Steps, base: BaseModel) -> Cell:
    """The model that the other cells start from."""
    pairs = "published" if base.trained is None else pair_set_label(config.data.pool)
    parts = [BASE_OBJECTIVE, pairs, base.arch]
    model = " · ".join(parts)
    name = ".".join([*map(_plain, parts), f"s{base.seed}"])
    done = steps.base_cell(base, (name, model))
    return Cell(
        name=name,
        model=model,
        seed=base.seed,
        objective=BASE_OBJECTIVE,
        pairs=() if base.trained is None else config.pair_sets[config.data.pool],
        arch=base.arch,
        aligner=config.data.aligner,
        symmetrize=config.data.symmetrize,
        options={},
        group="bases",
        folder=base.folder,
        base=base.folder,
        trained=None,
        base_trained=base.trained,
        exported=done.exported,
        evaluated=done.evaluated,
    )


def pair_set_label(name: str) -> str:
    """`3 pairs` for a set named by its number."""
    return name if not name.isdecimal() else f"{name} pair{'' if int(name) == 1 else 's'}"


def _without_links(options: Options) -> Options:
    return {name: value for name, value in options.items() if name not in LINK_OPTIONS}


def _differs(value: Any, usual: Any) -> bool:
    return canonical({"is": value}) != canonical({"is": usual})


def _named(name: str, value: object) -> str:
    """An option in a cell's name: `cp-weight 0.5`, `skip-identical`."""
    if value is None or value is False:
        return f"no {name}"
    return name if value is True else f"{name} {','.join(map(str, value)) if isinstance(value, list) else value}"


def _plain(part: str) -> str:
    """For a folder's name."""
    return "".join(char if char.isalnum() or char in "._+-" else "-" for char in part)
