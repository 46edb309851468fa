"""A study's tables as plain rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from weam_fairseq.evaluation.bootstrap import Difference
from weam_fairseq.evaluation.terminal import signed
from weam_fairseq.report.gains import AVERAGES, SEEN, UNSEEN, Growth, TaskGains
from weam_fairseq.report.groups import group_scores
from weam_fairseq.report.positions import BETWEEN, ModelPosition, Positions, joined
from weam_fairseq.report.study_folder import Cost, PredictedPair, Study, mean_cost
from weam_fairseq.report.tables import (
    BOTH_INTERVALS,
    MISSING,
    Table,
    TableCell,
    TableRow,
    both_intervals,
    clear_as,
    difference_cell,
    interval_text,
    mean_text,
    p_text,
    plain_table,
)
from weam_fairseq.report.task_table import AVERAGE

if TYPE_CHECKING:
    from weam_fairseq.report.content import TrainingData

_MEBIBYTE = 2**20

# The stages of a study by the programs that do them, in the order of the work.
_STAGES = {
    "weam-preprocess": "preprocess",
    "weam-from-hf": "import",
    "weam-train, bases": "train bases",
    "weam-train": "train cells",
    "weam-to-hf": "export",
    "weam-evaluate": "evaluate",
}
_PARTS = {"project": "links", "write": "binarize"}  # names in a data-bin's manifest that say too little
_SHORTEST = 0.1  # seconds of a part of preprocessing that is shown

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

_WHERE = ["pairs", "architecture"]
_BOTH = ["gain", *BOTH_INTERVALS]


def summary_table(tasks: Sequence[TaskGains], positions: Positions) -> Table:
    """Every compared model's gain in every task, over all languages."""
    rows = [
        TableRow(
            _named(position),
            [*_where(position), *(difference_cell(task.gain(position.model, AVERAGE)) for task in tasks)],
        )
        for position in positions.compared
    ]
    return Table(["gain", *_WHERE, *(task.title for task in tasks)], rows)


def on_chance(tasks: Sequence[TaskGains], positions: Positions) -> list[str]:
    """Names the average gains with an interval that includes 0, over items or over seeds."""
    several = len({position.setting for position in positions.compared}) > 1
    unclear, both = [], False
    for task in tasks:
        gains = {position: task.gain(position.model, AVERAGE) for position in positions.compared}
        known = {position: gain for position, gain in gains.items() if gain is not None and gain.interval is not None}
        both = both or any(gain.items is not None and gain.seeds is not None for gain in known.values())
        names = [
            f"{position.method} ({position.setting.name})" if several else position.method
            for position, gain in known.items()
            if not gain.clear
        ]
        if names:
            which = "all gains" if len(names) == len(known) > 1 else ", ".join(names)
            unclear.append(f"{which} in {task.title}")
    interval = "an interval (over items or over seeds)" if both else "the interval"
    return [f"May be chance, because {interval} includes 0: {'; '.join(unclear)}."] if unclear else []


def task_table(task: TaskGains, positions: Positions) -> Table:
    """Every model's score and gain over all languages, with both intervals."""
    rows = []
    for position in _measured(task, positions, AVERAGE):
        measured = task.cells[position.model, AVERAGE]
        gain = measured.gain
        cells = [
            *_where(position),
            TableCell(str(len(measured.score.values))),
            TableCell(mean_text(measured.score)),
            TableCell(MISSING if gain is None else signed(gain.value), clear_as(gain)),
            TableCell(interval_text(gain.items) if gain else MISSING),
            TableCell(p_text(gain.items if gain else None)),
            TableCell(interval_text(gain.seeds) if gain else MISSING),
        ]
        rows.append(TableRow(_named(position), cells))
    head = ["", *_WHERE, "seeds", "score", "gain", "95 % over items", "p", "95 % over seeds"]
    return Table(head, rows)


def seen_table(task: TaskGains, positions: Positions) -> Table:
    """Scores and gains over the languages of the training pairs and over the others, with the number of languages."""
    rows = []
    for position in positions.of.values():
        cells = []
        for name in (SEEN, UNSEEN):
            measured = task.cells.get((position.model, name))
            if measured is None:
                cells += [TableCell(MISSING), TableCell(MISSING)]
            else:
                score = f"{mean_text(measured.score)} ({len(measured.over)})"
                cells += [TableCell(score, note=", ".join(measured.over)), difference_cell(measured.gain)]
        if any(cell.text != MISSING for cell in cells):
            rows.append(TableRow(_named(position), [*_where(position), *cells]))
    head = [f"{name}: {part}" for name in (SEEN, UNSEEN) for part in ("score (languages)", "gain")]
    return Table(["", *_WHERE, *head], rows)


def language_table(task: TaskGains, positions: Positions) -> Table:
    """Every model's score in every language, and bounds without a model. A dot marks a language of its pairs."""
    rows = []
    for position in positions.of.values():
        cells = []
        for language in task.languages:
            measured = task.cells.get((position.model, language))
            dot = " •" if position.setting.has_seen(language) else ""
            cells.append(TableCell(mean_text(measured.score) + dot if measured else MISSING))
        if any(cell.text != MISSING for cell in cells):
            rows.append(TableRow(_named(position), [*_where(position), *cells]))
    for name, values in task.bounds.items():
        bounds = [f"{values[language]:.1f}" if language in values else MISSING for language in task.languages]
        rows.append(TableRow(name, [TableCell(each) for each in (MISSING, MISSING, *bounds)]))
    return Table(["", *_WHERE, *task.languages], rows)


def interval_table(task: TaskGains, positions: Positions, languages: bool) -> Table:
    """Every gain with both intervals; of the averages only, or of each language too."""
    rows = []
    for position in positions.compared:
        for name in [*AVERAGES, *(task.languages if languages else [])]:
            gain = task.gain(position.model, name)
            if gain is None:
                continue
            what = "all" if name == AVERAGE else name
            rows.append(TableRow(f"{position.method}, {position.setting.name}: {what}", _both(gain)))
    return Table(["", *_BOTH], rows)


def layer_table(task: TaskGains, study: Study, positions: Positions) -> Table | None:
    """The mean figure of every layer on the items that chose the layers, over languages and seeds; the best starred.

    None if no layer was chosen.
    """
    found: dict[str, list[list[float]]] = {}
    for entry in group_scores(study.scores.entries)[task.group]:
        figures = entry.score.detail.get("dev_by_layer")
        if figures and entry.score.language in task.common:
            found.setdefault(entry.score.model, []).append(figures)
    if not found:
        return None
    best = min if task.lower_is_better else max
    layers = max(len(rows[0]) for rows in found.values())
    body = []
    for position in positions.of.values():
        if position.model in found:
            means = [fmean(column) for column in zip(*found[position.model], strict=True)]
            cells = [f"{mean:.1f}{'*' * (mean == best(means))}" for mean in means]
            where = [cell.text for cell in _where(position)]
            body.append([_named(position), *where, *cells, *[""] * (layers - len(cells))])
    return plain_table(["layer", *_WHERE, *map(str, range(layers))], body)


def growth_table(growths: Sequence[Growth], tasks: Sequence[TaskGains]) -> Table:
    """How much larger gains are with more pairs, or in a larger architecture."""
    rows = [
        TableRow(f"{growth.method}, {growth.what}", [difference_cell(growth.gains.get(task.title)) for task in tasks])
        for growth in growths
    ]
    return Table(["gain minus gain", *(task.title for task in tasks)], rows)


def growth_intervals(growths: Sequence[Growth]) -> Table:
    """The same with both intervals, one row for each task."""
    rows = [
        TableRow(f"{growth.method}, {growth.what}: {title}", _both(gain))
        for growth in growths
        for title, gain in growth.gains.items()
    ]
    return Table(["", *_BOTH], rows)


def cell_table(study: Study, positions: Positions) -> Table:
    """What is finished: one row for each model, with its seeds and the number of its scores."""
    rows = []
    for position in positions.of.values():
        cells = study.of_model(position.model)
        scores = sum(entry.score.model == position.model for entry in study.scores.entries)
        seeds = ", ".join(str(cell.seed) for cell in cells)
        facts = [position.method, position.setting.name, cells[0].group, seeds, str(scores)]
        rows.append(TableRow(position.model, [TableCell(each) for each in facts]))
    return Table(["model", "method", "setting", "group", "seeds", "scores"], rows)


def pairs_table(positions: Positions) -> Table:
    """The pairs behind each name of a set of pairs."""
    sets = {setting.pairs_name: ", ".join(setting.pairs) for setting in positions.settings if setting.pairs}
    return plain_table(["pairs", ""], sets.items())


def cost_table(study: Study, positions: Positions) -> Table:
    """One row for each model; in brackets the ratio to the baseline, if it is not 1."""
    rows = []
    for position in positions.of.values():
        cost = mean_cost(study.of_model(position.model))
        against = _baseline_cost(study, positions, position)
        cells = [TableCell(_written(cost, against, name, write)) for _, name, write in _OWN]
        rows.append(TableRow(f"{position.method}, {position.setting.name}", cells))
    return Table(["", *(head for head, _, _ in _OWN)], rows)


def base_table(study: Study, positions: Positions) -> Table:
    """The cost of the base models, one row for each architecture; means over the cells."""
    rows = []
    for arch in dict.fromkeys(setting.arch for setting in positions.settings):
        cost = mean_cost([cell for cell in study.cells if cell.arch == arch])
        rows.append(TableRow(arch, [TableCell(_written(cost, None, name, write)) for _, name, write in _BASE]))
    return Table(["base", *(head for head, _, _ in _BASE)], rows)


def data_table(manifest: dict[str, Any]) -> Table:
    """What preprocessing kept, dropped and linked, one row for each pair."""
    pairs: dict[str, dict[str, Any]] = manifest["pairs"]
    reasons = list(dict.fromkeys(reason for pair in pairs.values() for reason in pair.get("dropped", {})))
    rows = []
    for name, pair in pairs.items():
        dropped = pair.get("dropped", {})
        linked = ", ".join(f"{side} {share:.1%}" for side, share in pair.get("linked_pieces", {}).items())
        counts = [pair.get(key) for key in ("read", "train", "valid")]
        counts += [dropped.get(reason, 0) for reason in reasons]
        counts += [pair.get(key) for key in ("word_links", "piece_links")]
        rows.append(
            [name, *(f"{count:,}" if isinstance(count, int) else MISSING for count in counts), linked or MISSING]
        )
    head = ["pair", "read", "train", "valid", *(f"dropped: {reason}" for reason in reasons)]
    return plain_table([*head, "word links", "piece links", "pieces with a link"], rows)


def made_by_table(manifest: dict[str, Any]) -> Table:
    """The aligner and the tokenizer of a data-bin; of their digests only that of the pieces."""
    rows = []
    for part in ("aligner", "tokenizer"):
        for key, value in manifest[part].items():
            if not isinstance(value, dict | list) and (key == "pieces_sha256" or not key.endswith("sha256")):
                rows.append([f"{part}: {key.replace('_', ' ')}", MISSING if value is None else str(value)])
    return plain_table(["", ""], rows)


def steps_table(study: Study, data: Sequence[TrainingData]) -> Table:
    """The seconds of each kind of step, in the order of the work, and of the longer parts of preprocessing."""
    found: dict[str, list[float | None]] = {name: [] for name in _STAGES.values()}
    for step in study.steps:
        of_base = ", bases" if step.program == "weam-train" and step.folder.startswith("bases/") else ""
        found.setdefault(_STAGES.get(step.program + of_base, step.program), []).append(step.seconds)
    parts: dict[str, list[float | None]] = {}
    for each in data:
        for part, seconds in each.manifest.get("seconds", {}).items():
            known = seconds if isinstance(seconds, int | float) else None
            parts.setdefault(f"{_STAGES['weam-preprocess']}: {_PARTS.get(part, part)}", []).append(known)
    rows = []
    for name, runs in [*parts.items(), *found.items()]:
        measured = [value for value in runs if value is not None]
        if runs and (name not in parts or sum(measured) >= _SHORTEST):
            times = [f"{fmean(measured):,.1f}", f"{sum(measured):,.1f}"] if measured else [MISSING, MISSING]
            rows.append([name, str(len(runs)), *times])
    return plain_table(["stage", "runs", "seconds, mean", "seconds, all runs"], rows)


def sources_table(sources: Sequence[Mapping[str, str]]) -> Table:
    """One row for each source of the text."""
    head = list(dict.fromkeys(key for source in sources for key in source if not key.endswith("sha256")))
    return plain_table(head, [[source.get(key, MISSING) for key in head] for source in sources])


def predictions_table(predicted: PredictedPair) -> Table:
    """The masked pieces of a pair; predictions whose best piece is right are marked as gains."""
    rows = []
    for each in predicted.masked:
        own, exchanged = (
            TableCell(BETWEEN.join(best), "gain" if each.piece in best[:1] else "")
            for best in (each.own, each.exchanged)
        )
        partners = BETWEEN.join(each.partners) or MISSING
        rows.append(TableRow(each.piece, [TableCell(each.language), TableCell(partners), own, exchanged]))
    return Table(["masked piece", "in", "linked with", "from its own state", "after the exchange"], rows)


def _measured(task: TaskGains, positions: Positions, language: str) -> list[ModelPosition]:
    return [position for position in positions.of.values() if (position.model, language) in task.cells]


def _named(position: ModelPosition) -> str:
    """The method, and the unusual options of its setting."""
    return joined(position.method, position.setting.options)


def _where(position: ModelPosition) -> list[TableCell]:
    """`3 b` for the second set of 3 pairs."""
    setting = position.setting
    letter = setting.pairs_name.rpartition(" ")[2]
    return [
        TableCell(f"{len(setting.pairs)} {letter}".removesuffix(" pairs").removesuffix(" pair")),
        TableCell(setting.arch),
    ]


def _both(gain: Difference) -> list[TableCell]:
    cells = [TableCell(text) for text in both_intervals(gain)]
    return [TableCell(signed(gain.value, 2), clear_as(gain)), *cells]


def _baseline_cost(study: Study, positions: Positions, position: ModelPosition) -> Cost | None:
    baseline = positions.baselines.get(position.setting)
    return None if baseline in (None, position.model) else mean_cost(study.of_model(str(baseline)))


def _written(cost: Cost, against: Cost | None, name: str, write: Callable[[float], str]) -> str:
    value = getattr(cost, name)
    if value is None:
        return MISSING
    other = getattr(against, name) if against else None
    return f"{write(value)} (×{value / other:.2f})" if other and other != value else write(value)
