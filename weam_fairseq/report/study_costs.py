"""What the cells of a study took: means over seeds, and beside the baseline of the same setting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

from weam_fairseq.report.score_table import CellRow, CellTable
from weam_fairseq.report.study_folder import Cost, Study, StudyCell
from weam_fairseq.report.study_settings import Place, Places
from weam_fairseq.report.table import MISSING, Cell

_MEBIBYTE = 2**20

# Heading, field, and how a number is written.
_OWN: list[tuple[str, str, Callable[[float], str]]] = [
    ("parameters", "parameters", "{:,.0f}".format),
    ("updates", "updates", "{:,.0f}".format),
    ("pieces", "pieces", "{:,.0f}".format),
    ("seconds", "seconds", "{:,.1f}".format),
    ("peak memory, MiB", "peak_memory_bytes", lambda value: f"{value / _MEBIBYTE:,.0f}"),
]
_BASE: list[tuple[str, str, Callable[[float], str]]] = [
    ("updates", "base_updates", "{:,.0f}".format),
    ("pieces", "base_pieces", "{:,.0f}".format),
    ("seconds", "base_seconds", "{:,.1f}".format),
]


def mean_cost(cells: Sequence[StudyCell]) -> Cost:
    """Over the cells that measured it; None where none did."""
    return Cost(*(_mean([getattr(cell.cost, name) for cell in cells]) for name in Cost._fields))


def cost_table(study: Study, places: Places) -> CellTable:
    """A row a model; in brackets, how many times the baseline's, where that is another number."""
    rows = []
    for place in places.of.values():
        cost = mean_cost(study.of_model(place.model))
        against = _baseline_cost(study, places, place)
        cells = [Cell(_written(cost, against, name, write)) for _, name, write in _OWN]
        rows.append(CellRow(f"{place.method}, {place.setting.name}", cells))
    return CellTable(["", *(head for head, _, _ in _OWN)], rows)


def base_table(study: Study, places: Places) -> CellTable:
    """What the models took that the cells went on from, a row an architecture; means over the cells."""
    rows = []
    for arch in dict.fromkeys(setting.arch for setting in places.settings):
        cost = mean_cost([cell for cell in study.cells if cell.arch == arch])
        rows.append(CellRow(arch, [Cell(_written(cost, None, name, write)) for _, name, write in _BASE]))
    return CellTable(["base", *(head for head, _, _ in _BASE)], rows)


def machines(study: Study) -> list[str]:
    """In order of first cell; the unnamed are left out."""
    return list(dict.fromkeys(cell.machine for cell in study.cells if cell.machine))


def _baseline_cost(study: Study, places: Places, place: Place) -> Cost | None:
    baseline = places.baselines.get(place.setting)
    return None if baseline in (None, place.model) else mean_cost(study.of_model(str(baseline)))


def _written(cost: Cost, against: Cost | None, name: str, write: Callable[[float], str]) -> str:
    value = getattr(cost, name)
    if value is None:
        return MISSING
    other = getattr(against, name) if against else None
    return f"{write(value)} (×{value / other:.2f})" if other and other != value else write(value)


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return fmean(there) if there else None
