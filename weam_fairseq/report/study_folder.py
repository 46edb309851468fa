"""Reads and checks what weam-study writes into its folder.

STUDY_DIR/study.json     title, question, hypotheses, decision rule, baseline objective, config, names of all cells
STUDY_DIR/cells.jsonl    a line a finished cell: its model, seed, method, cost and log
STUDY_DIR/scores.jsonl   lines of weam-evaluate, of all cells
"""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from weam_fairseq.common.documents import parse_json, read_json, read_text
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.training_log import TrainingLog, read_log
from weam_fairseq.report.score_files import SCORES, ScoreSet, read_score_files

STUDY, CELLS = "study.json", "cells.jsonl"
_PREDICTIONS, _SOURCES = "examples.json", "corpus.json"
_PACKAGES = ("weam-fairseq", "ve-fairseq", "torch", "transformers", "tokenizers", "numpy")
AGAIN = "Run weam-study again to rewrite it."

# The types of JSON that a field may have; None among them is null.
_TEXT, _COUNT, _LIST, _OBJECT = (str,), (int,), (list,), (dict,)
_STUDY_FIELDS: dict[str, tuple[Any, ...]] = {
    "title": _TEXT,
    "question": _TEXT,
    "hypotheses": _LIST,
    "decision_rule": _TEXT,
    "baseline": _TEXT,
    "config": (dict, list, str, None),
    "config_sha256": _TEXT,
    "planned": _LIST,
}
_CELL_FIELDS: dict[str, tuple[Any, ...]] = {
    "cell": _TEXT,
    "model": _TEXT,
    "seed": _COUNT,
    "objective": _TEXT,
    "pairs": _LIST,
    "arch": _TEXT,
    "aligner": (str, None),
    "symmetrize": (str, None),
    "options": _OBJECT,
    "group": _TEXT,
    "cost": _OBJECT,
    "machine": (str, None),
    "train_log": (str, None),
}
_NAMES = {str: "a text", int: "a whole number", list: "a list", dict: "an object", None: "null"}


class FinishedStep(NamedTuple):
    """A step of the study, by its record `done.json`. `folder` is relative to the study."""

    folder: str
    command: list[str]
    seconds: float | None

    @property
    def program(self) -> str:
        return self.command[0].rpartition("/")[2]


class MaskedPiece(NamedTuple):
    """`partners`: the pieces that it is linked with. `own` and `exchanged`: the best predictions, best first."""

    piece: str
    language: str
    partners: list[str]
    own: list[str]
    exchanged: list[str]


class PredictedPair(NamedTuple):
    """A sentence pair with predictions of its masked pieces.

    Attributes:
        number: counts the pairs of the validation split.
        sides: the pieces of each side, with whether they are masked.
    """

    pair: str
    number: int
    sides: list[list[tuple[str, bool]]]
    masked: list[MaskedPiece]


class Cost(NamedTuple):
    """What one cell took; None where it was not measured. The base is the model that the cell continued from.

    Attributes:
        pieces: real pieces read in training.
        seconds: of training, by the clock on the wall.
    """

    parameters: float | None
    updates: float | None
    pieces: float | None
    seconds: float | None
    peak_memory_bytes: float | None
    base_updates: float | None
    base_pieces: float | None
    base_seconds: float | None


@dataclass(frozen=True)
class StudyCell:
    """One finished cell. `model` names it in scores, and is the same for all seeds."""

    name: str
    model: str
    seed: int
    objective: str
    pairs: tuple[str, ...]
    arch: str
    aligner: str | None
    symmetrize: str | None
    options: dict[str, Any]
    group: str
    cost: Cost
    machine: str | None
    train_log: str | None

    @property
    def method(self) -> tuple[object, ...]:
        """What all seeds of one model have in common."""
        options = tuple(sorted((name, str(value)) for name, value in self.options.items()))
        return (self.objective, frozenset(self.pairs), self.arch, self.aligner, self.symmetrize, options)


@dataclass(frozen=True)
class Study:
    """A study folder's contents.

    Attributes:
        baseline: an objective.
        planned: names of all cells, the finished ones included.
        cells: the finished ones, in the plan's order.
        scores: those of finished cells.
        early: the number of scores of unfinished cells, by model and seed. They are left out.
        folders: where relative paths of the config start, relative to `path`: `data` for the bitext, else `root`.
    """

    path: Path
    title: str
    question: str
    hypotheses: list[str]
    decision_rule: str
    baseline: str
    config: Any
    config_sha256: str
    planned: list[str]
    cells: list[StudyCell]
    scores: ScoreSet
    early: dict[tuple[str, int], int]
    folders: dict[str, str]

    def of_model(self, model: str) -> list[StudyCell]:
        return [cell for cell in self.cells if cell.model == model]

    @property
    def machines(self) -> list[str]:
        """The machines that cells ran on, in the order of the cells."""
        return list(dict.fromkeys(cell.machine for cell in self.cells if cell.machine))

    @property
    def data_bins(self) -> list[Path]:
        """The existing data-bins: those that the study made, by name, and the one that its config names."""
        named = self._data_of_config.get("data_bin")
        folders = sorted(self.path.glob("data/*/data-bin"))
        folders += [self.path.resolve() / self.folders["root"] / named] if isinstance(named, str) else []
        return [folder for folder in folders if (folder / "manifest.json").is_file()]

    @property
    def environment(self) -> dict[str, str]:
        """The versions of Python, the code and the main packages, if weam-study recorded them."""
        path = self.path / "environment.json"
        record = read_json(path, dict, hint=f" {AGAIN}") if path.is_file() else {}
        versions = record.get("versions")
        found = {**record, **(versions if isinstance(versions, dict) else {})}
        return {name: str(found[name]) for name in ("python", "platform", "revision", *_PACKAGES) if found.get(name)}

    @cached_property
    def steps(self) -> list[FinishedStep]:
        """The recorded steps of data-bins, then of bases and of cells, whose folders still exist."""
        kinds = ("data/*", "bases/*/*", "cells/*/*")
        steps = []
        for file in (file for kind in kinds for file in sorted(self.path.glob(f"{kind}/done.json"))):
            record = read_json(file, dict, hint=f" {AGAIN}")
            command, seconds = record.get("command"), record.get("seconds")
            if isinstance(command, list) and command:
                folder = file.parent.relative_to(self.path).as_posix()
                measured = isinstance(seconds, int | float) and not isinstance(seconds, bool)
                steps.append(FinishedStep(folder, [str(part) for part in command], seconds if measured else None))
        return steps

    @property
    def commands(self) -> dict[str, str]:
        """The commands of data-bins, bases and trainings, by their folders. Evaluations are in the signatures."""
        return {step.folder: shlex.join(step.command) for step in self.steps if step.program != "weam-evaluate"}

    @cached_property
    def logs(self) -> dict[str, TrainingLog]:
        """The existing training logs, by the cell's name."""
        paths = {cell.name: self.path / cell.train_log for cell in self.cells if cell.train_log}
        return {name: read_log(path) for name, path in paths.items() if path.is_file()}

    @cached_property
    def sources(self) -> list[dict[str, str]]:
        """The text's sources with their licenses, if `corpus.json` beside the bitext names them under `sources`."""
        bitext = self._data_of_config.get("bitext")
        groups = bitext.values() if isinstance(bitext, dict) else [bitext]
        texts = [text for group in groups for names in _listed(group) for text in str(names).split(",")]
        files = dict.fromkeys((self.path.resolve() / self.folders["data"] / text).with_name(_SOURCES) for text in texts)
        found: list[dict[str, Any]] = []
        for file in files:
            if file.is_file():
                with suppress(InputError):  # another file of this name
                    found += [each for each in _listed(read_json(file, dict).get("sources")) if isinstance(each, dict)]
        return [{str(key): str(value) for key, value in each.items()} for each in found]

    @property
    def _data_of_config(self) -> dict[str, Any]:
        data = self.config.get("data") if isinstance(self.config, dict) else None
        return data if isinstance(data, dict) else {}

    @cached_property
    def predicted(self) -> list[PredictedPair]:
        """What `weam-show --json` wrote to the study's folder.

        Raises:
            InputError: the file is malformed.
        """
        file = self.path / _PREDICTIONS
        if not file.is_file():
            return []
        try:
            return [_predicted(each) for each in read_json(file, dict)["examples"]]
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{file} must hold examples of weam-show --json, but does not ({type(error).__name__}: {error}). "
                "Write it again, or remove it."
            ) from None


def mean_cost(cells: Sequence[StudyCell]) -> Cost:
    """The mean over the cells that measured each cost; None if none did."""
    costs = {name: [getattr(cell.cost, name) for cell in cells] for name in Cost._fields}
    measured = {name: [value for value in values if value is not None] for name, values in costs.items()}
    return Cost(*(fmean(values) if values else None for values in measured.values()))


def is_study_folder(path: Path) -> bool:
    return path.is_dir() and (path / STUDY).is_file()


def read_study(path: Path) -> Study:
    """Reads a study folder.

    Raises:
        InputError: a file is missing or malformed, or two cells contradict each other.
    """
    described = _read_description(path / STUDY)
    cells = _read_cells(path / CELLS)
    finished = {(cell.model, cell.seed) for cell in cells}
    scores = read_score_files([path / SCORES])
    early: dict[tuple[str, int], int] = {}
    for entry in scores.entries:
        key = (entry.score.model, entry.score.seed)
        if key not in finished:
            early[key] = early.get(key, 0) + 1
    kept = [entry for entry in scores.entries if (entry.score.model, entry.score.seed) in finished]
    if not kept:
        raise InputError(
            f"{path / SCORES} must contain scores of finished cells of {path / CELLS}, but has none. "
            "Evaluate the cells first."
        )
    return Study(
        path=path,
        title=described["title"],
        question=described["question"],
        hypotheses=[str(each) for each in described["hypotheses"]],
        decision_rule=described["decision_rule"],
        baseline=described["baseline"],
        config=described["config"],
        config_sha256=described["config_sha256"],
        planned=[str(each) for each in described["planned"]],
        cells=cells,
        scores=ScoreSet(kept, scores.files, scores.repeated),
        early=early,
        folders=_folders(described.get("folders")),
    )


def _folders(record: Any) -> dict[str, str]:
    """Those of study.json; older ones have none."""
    if not isinstance(record, dict):
        return {"root": os.getcwd(), "data": "."}
    return {name: str(record.get(name, ".")) for name in ("root", "data")}


def _listed(value: Any) -> list[Any]:
    """A list as it is, None as an empty one, and any other value as a list of it."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _read_description(path: Path) -> dict[str, Any]:
    return _checked(read_json(path, hint=f" {AGAIN}"), _STUDY_FIELDS, str(path))


def _read_cells(path: Path) -> list[StudyCell]:
    if not path.is_file():
        raise InputError(f"{path} does not exist, so no cell is finished. Run weam-study until one is.")
    cells = [_cell(record, where) for where, record in _lines(path)]
    if not cells:
        raise InputError(f"{path} is empty, so no cell is finished. Run weam-study until one is.")
    _check_cells(cells, path)
    return cells


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    text = read_text(path, hint=f" {AGAIN}")
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            where = f"{path}:{number}"
            yield where, parse_json(line, where, hint=f" {AGAIN}")


def _cell(value: Any, where: str) -> StudyCell:
    record = _checked(value, _CELL_FIELDS, where)
    return StudyCell(
        name=record["cell"],
        model=record["model"],
        seed=record["seed"],
        objective=record["objective"],
        pairs=tuple(str(pair) for pair in record["pairs"]),
        arch=record["arch"],
        aligner=record["aligner"],
        symmetrize=record["symmetrize"],
        options={name.replace("_", "-"): value for name, value in record["options"].items()},
        group=record["group"],
        cost=_cost(record["cost"], where),
        machine=_machine(record),
        train_log=record["train_log"],
    )


def _machine(record: Mapping[str, Any]) -> str | None:
    """With the number of threads if it is known, because times depend on it."""
    machine, threads = record["machine"], record.get("threads")
    return machine if machine is None or threads is None else f"{machine}, threads: {threads}"


def _cost(record: Mapping[str, Any], where: str) -> Cost:
    for name in Cost._fields:
        value = record.get(name)
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
        if name not in record or not (number or value is None):
            raise InputError(
                f"{where}: `cost` must have `{name}` as null or a number of at least 0, but it is {value!r}. {AGAIN}"
            )
    return Cost(*(record[name] for name in Cost._fields))


def _predicted(example: Mapping[str, Any]) -> PredictedPair:
    masked = {(each["side"], each["piece_idx"]) for each in example["masked"]}
    return PredictedPair(
        pair=str(example["pair"]),
        number=example["index"] + 1,
        sides=[
            [(str(piece), (side, number) in masked) for number, piece in enumerate(example[side]["pieces"])]
            for side in ("source", "target")
        ],
        masked=[
            MaskedPiece(
                str(each["piece"]),
                str(example[each["side"]]["language"]),
                [str(partner["piece"]) for partner in each["exchanged_with"]],
                *([str(piece) for piece in each[key]] for key in ("own_top", "exchanged_top")),
            )
            for each in example["masked"]
        ],
    )


def _checked(value: Any, fields: Mapping[str, tuple[Any, ...]], where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{where} must contain a JSON object, but contains a {type(value).__name__}. {AGAIN}")
    for name, types in fields.items():
        if name not in value:
            raise InputError(f"{where}: `{name}` is missing. {AGAIN}")
        found = value[name]
        if not (found is None and None in types) and type(found) not in types:
            what = " or ".join(_NAMES[each] for each in types)
            raise InputError(f"{where}: `{name}` must be {what}, but is {found!r}. {AGAIN}")
    return value


def _check_cells(cells: list[StudyCell], path: Path) -> None:
    """No name and no seed of a model occurs twice, and the cells of a model differ only in the seed."""
    names: set[str] = set()
    seeds: set[tuple[str, int]] = set()
    models: dict[str, StudyCell] = {}
    for cell in cells:
        if cell.name in names:
            raise InputError(f"{path}: cell {cell.name!r} is repeated. {AGAIN}")
        if (cell.model, cell.seed) in seeds:
            raise InputError(f"{path}: two cells are {cell.model!r} with seed {cell.seed}. {AGAIN}")
        first = models.setdefault(cell.model, cell)
        if first.method != cell.method:
            raise InputError(
                f"{path}: {first.name!r} and {cell.name!r} are both named {cell.model!r} but differ in more than the "
                "seed. Give each method a name of its own."
            )
        names.add(cell.name)
        seeds.add((cell.model, cell.seed))
