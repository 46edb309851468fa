"""weam-evaluate without a task: measures models on the user's own held-out pairs, and compares them with the first.

Each measure takes a model at its own best layer: the even pairs choose the layer, the odd pairs are reported.

- *own pooling*: sentence retrieval by the pooling of a sentence-transformers folder, at the last layer. No layer is
  chosen.
- *retrieval*: sentence retrieval as in benchmarks/sentence_retrieval.py, each direction by itself.
- *word links*: F1 of the model's links (mutual argmax, as in benchmarks/word_alignment.py) against the aligner's.
- *word alignment*: the alignment error rate against --gold.

The intervals are those of weam-report for the same scores (items.py, bootstrap.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from weam_fairseq.evaluation.benchmark import Measurement, Setting
from weam_fairseq.evaluation.benchmarks.word_alignment import (
    CHUNK,
    alignment_shares,
    links_by_layer,
    piece_states,
    score_alignments,
)
from weam_fairseq.evaluation.bootstrap import RESAMPLES, Interval, item_interval
from weam_fairseq.evaluation.encode import check_filled, depth_of, group_states, sentence_groups
from weam_fairseq.evaluation.held_out import HeldOut, PieceSide, TextSide
from weam_fairseq.evaluation.hf_folder import Folder
from weam_fairseq.evaluation.items import Resamples, by_language_and_model, resample_items
from weam_fairseq.evaluation.pooling import Pooling, read_pooling
from weam_fairseq.evaluation.prediction_files import write_items
from weam_fairseq.evaluation.readers import WordLink
from weam_fairseq.evaluation.retrieval import Found, choose_layer, dev_and_test, find_translations, percent
from weam_fairseq.evaluation.scores import Entry
from weam_fairseq.evaluation.terminal import aligned, bounds, progress, signed

POOLED, RETRIEVAL, LINKS, ALIGNMENT = "own-pooling", "sentence-retrieval", "word-links", "word-alignment"
# What each measure is called in the table, in the table's order.
LABELS = {
    POOLED: "retrieval, own pooling",
    RETRIEVAL: "retrieval, best layer",
    LINKS: "word links, agreement (F1) with the aligner",
    ALIGNMENT: "word links, AER by hand (lower is better)",
}
MEAN = "mean"
NEARLY_ALL = 97.0  # %
_LOWER = {ALIGNMENT}

States = tuple[np.ndarray, np.ndarray]


class HeldOutScores(NamedTuple):
    """`data` is the hash of the files that the measurement read."""

    task: str
    measurement: Measurement
    data: str


def measure(folder: Folder, held_out: HeldOut, setting: Setting) -> Iterator[HeldOutScores]:
    """All measures of one model on the pairs of one language pair. Writes their items."""
    pooling = read_pooling(folder.path)
    if pooling is not None and pooling.mode is not None:
        for each in _pooled(folder, held_out, setting, pooling):
            yield HeldOutScores(POOLED, each, held_out.data)
    states = _sentences(folder, held_out, setting)
    found = find_translations(*states, held_out.source.keys, held_out.target.keys)
    method = {"pool": "mean", "layer": "dev-best"}
    for each in _directions(held_out, setting, RETRIEVAL, found, method, by_layer=True):
        yield HeldOutScores(RETRIEVAL, each, held_out.data)
    if held_out.links is not None or held_out.gold is not None:
        links = _links(folder, held_out, setting)
        if held_out.links is not None:
            yield HeldOutScores(LINKS, _agreement(held_out, setting, links), held_out.data)
        if held_out.gold is not None:
            yield HeldOutScores(ALIGNMENT, _alignment(held_out, setting, links), held_out.gold_data)


def _sentences(folder: Folder, held_out: HeldOut, setting: Setting) -> States:
    """Mean states without special pieces, *Shape:* `(L + 1, N, D)` a side."""
    source, target = (_side(folder, side, setting, len(held_out)) for side in (held_out.source, held_out.target))
    return source, target


def _side(folder: Folder, side: TextSide | PieceSide, setting: Setting, count: int) -> np.ndarray:
    pieces = side.pieces(folder, 0, count)
    label = f"{setting_name(setting)}: sentences {side.language}"
    states = group_states(folder, pieces, sentence_groups(pieces), setting.batch_size, label)
    check_filled(states, side.named, f"the {side.language} sentence", folder)
    return states.values


def setting_name(setting: Setting) -> str:
    """The model's name, for a progress bar."""
    return "" if setting.predictions is None else setting.predictions.name


def _pooled(folder: Folder, held_out: HeldOut, setting: Setting, pooling: Pooling) -> Iterator[Measurement]:
    """As sentence-transformers encodes: long texts are cut, and special pieces count."""
    limited = folder if pooling.max_pieces is None else folder.limited(pooling.max_pieces)
    sides = []
    for side in (held_out.source, held_out.target):
        pieces = side.pieces(limited, 0, len(held_out), cut=True)
        label = f"{setting_name(setting)}: own pooling {side.language}"
        last = [depth_of(folder)]
        sides.append(group_states(limited, pieces, pooling.groups(pieces), setting.batch_size, label, last).values)
    found = find_translations(sides[0], sides[1], held_out.source.keys, held_out.target.keys)
    found = found._replace(choice=found.choice._replace(layer=depth_of(folder)))
    return _directions(
        held_out, setting, POOLED, found, {"pool": "own", "layer": "last"}, by_layer=False, pooling=pooling.mode
    )


def _directions(
    held_out: HeldOut,
    setting: Setting,
    task: str,
    found: Found,
    method: Mapping[str, str],
    by_layer: bool,
    **detail: Any,
) -> Iterator[Measurement]:
    """One measurement a direction. Both directions of a pair are drawn together: the pair is the cluster."""
    _, test = dev_and_test(len(held_out))
    languages = held_out.source.language, held_out.target.language
    figures = (found.forward, found.dev_forward), (found.backward, found.dev_backward)
    for (query, candidate), (hit, dev) in zip((languages, languages[::-1]), figures, strict=True):
        items = (
            {"id": int(line), "cluster": f"{held_out.pair}:{line}", "accuracy@1": 100.0 * float(right)}
            for line, right in zip(test.lines, hit, strict=True)
        )
        files = write_items(setting, task, candidate, items, pair=f"{query}-to-{candidate}")
        yield _measurement(
            held_out,
            f"{query}>{candidate}",
            "accuracy@1",
            percent(hit),
            len(test.lines),
            {
                "layer": found.choice.layer,
                **({"dev_by_layer": dev} if by_layer else {}),
                **detail,
                "candidates": len(test.lines),
                **files,
            },
            method,
        )


def _measurement(
    held_out: HeldOut,
    language: str,
    metric: str,
    value: float,
    n: int,
    detail: dict[str, Any],
    method: Mapping[str, str],
) -> Measurement:
    _, test = dev_and_test(len(held_out))
    split = f"{held_out.split}/{test.name}"
    part = {"pairs": f"{len(held_out)}of{held_out.of}"} if held_out.of else {}
    return Measurement(language, split, metric, value, n, detail, {"pair": language, "split": split, **part, **method})


# The links of each pair, layer by layer.
Links = list[list[frozenset[WordLink]]]


def _links(folder: Folder, held_out: HeldOut, setting: Setting) -> Links:
    found: Links = [[] for _ in range(depth_of(folder) + 1)]
    starts = range(0, len(held_out), CHUNK)
    for start in progress(starts, f"{setting_name(setting)}: word links {held_out.pair}", "chunks", len(starts)):
        end = min(start + CHUNK, len(held_out))
        source, target = (
            piece_states(folder, *side.words(folder, start, end), setting.batch_size)
            for side in (held_out.source, held_out.target)
        )
        for one, other in zip(source, target, strict=True):
            for layer, links in enumerate(links_by_layer(one, other)):
                found[layer].append(links)
    return found


def _agreement(held_out: HeldOut, setting: Setting, links: Links) -> Measurement:
    assert held_out.links is not None
    aligner = held_out.links
    dev, test = dev_and_test(len(held_out))
    by_layer = [_f1(_shares(held_out.pair, aligner, each, dev.lines)) for each in links]
    layer = choose_layer(by_layer).layer
    shares = _shares(held_out.pair, aligner, links[layer], test.lines)
    files = write_items(setting, LINKS, held_out.target.language, shares, pair=held_out.pair)
    gold = sum(row["gold"] for row in shares)
    detail = {"layer": layer, "dev_by_layer": by_layer, "pairs": len(test.lines), **files}
    method = {"links": "argmax-pieces", "layer": "dev-best"}
    return _measurement(held_out, held_out.pair, "f1", _f1(shares), gold, detail, method)


def _shares(
    pair: str,
    gold: Sequence[frozenset[WordLink]],
    links: Sequence[frozenset[WordLink]],
    lines: Iterable[int],
) -> list[dict[str, Any]]:
    return [
        {
            "id": int(line),
            "cluster": f"{pair}:{line}",
            "correct": len(gold[line] & links[line]),
            "predicted": len(links[line]),
            "gold": len(gold[line]),
        }
        for line in lines
    ]


def _f1(shares: Sequence[Mapping[str, Any]]) -> float:
    correct, predicted, gold = (sum(row[name] for row in shares) for name in ("correct", "predicted", "gold"))
    return 200.0 * correct / (predicted + gold) if predicted + gold else 0.0


def _alignment(held_out: HeldOut, setting: Setting, links: Links) -> Measurement:
    assert held_out.gold is not None
    dev, test = ([*half.lines.tolist()] for half in dev_and_test(len(held_out)))
    every = held_out.gold
    by_layer = [score_alignments([every[k] for k in dev], [each[k] for k in dev]).aer for each in links]
    layer = choose_layer([-aer for aer in by_layer]).layer
    gold, found = [every[k] for k in test], [links[layer][k] for k in test]
    score = score_alignments(gold, found)
    shares = alignment_shares(gold, found, test)
    files = write_items(setting, ALIGNMENT, held_out.target.language, shares, pair=held_out.pair)
    detail = {
        "precision": score.precision,
        "recall": score.recall,
        "layer": layer,
        "dev_by_layer": by_layer,
        "pairs": len(test),
        **files,
    }
    method = {"links": "argmax-pieces", "layer": "dev-best"}
    return _measurement(held_out, held_out.pair, "aer", score.aer, sum(len(each.sure) for each in gold), detail, method)


class ComparedModel(NamedTuple):
    """One row of the table. `interval` is that of the difference to the first model; None for the first model."""

    task: str
    language: str
    model: str
    value: float
    layer: int | None
    difference: float | None = None
    interval: Interval | None = None

    @property
    def verdict(self) -> str:
        """`better` or `worse` if the interval excludes 0, else empty."""
        if self.interval is None or not self.interval.excludes_zero:
            return ""
        return "better" if (self.interval.low > 0) != (self.task in _LOWER) else "worse"


def compare_with_first(entries: Sequence[Entry], models: Sequence[str]) -> list[ComparedModel]:
    """Rows by measure, language and model. A measure of several languages also has their mean."""
    rows: list[ComparedModel] = []
    for task in LABELS:
        if columns := by_language_and_model(entry for entry in entries if entry.score.task == task):
            rows += _rows(task, columns, models)
    return rows


def _rows(
    task: str, columns: Mapping[str, Mapping[str, list[Entry]]], models: Sequence[str]
) -> Iterator[ComparedModel]:
    resampled = resample_items(columns, RESAMPLES, seed=1, progress=None)
    for language, column in columns.items():
        scores = {model: column[model][0].score for model in models if model in column}
        values = {model: score.value for model, score in scores.items()}
        for model, score in scores.items():
            yield _row(task, language, model, values, models[0], resampled)._replace(layer=score.detail.get("layer"))
    if len(columns) > 1:
        complete = [model for model in models if all(model in column for column in columns.values())]
        means = resampled.averaged(MEAN, complete, list(columns))
        values = {
            model: float(np.mean([column[model][0].score.value for column in columns.values()])) for model in complete
        }
        for model in complete:
            yield _row(task, MEAN, model, values, models[0], means)


def _row(
    task: str, language: str, model: str, values: Mapping[str, float], first: str, resampled: Resamples
) -> ComparedModel:
    row = ComparedModel(task, language, model, values[model], None)
    drawn = None if model == first else resampled.difference(model, first, language)
    if drawn is None or first not in values:
        return row
    return row._replace(difference=values[model] - values[first], interval=item_interval(drawn))


def format_comparison(rows: Sequence[ComparedModel], models: Sequence[str]) -> str:
    """The table, and what it means."""
    head = ("measure", "pair", "model", "score", "layer", f"minus {models[0]}", "95 % interval", "")
    body = []
    previous: tuple[str, str] | None = None
    for row in rows:
        same = previous == (row.task, row.language)
        previous = row.task, row.language
        body.append(
            (
                "" if same else LABELS[row.task],
                "" if same else row.language,
                row.model,
                f"{row.value:.1f}",
                "" if row.layer is None else str(row.layer),
                "" if row.difference is None else signed(row.difference),
                "" if row.interval is None else bounds(row.interval),
                row.verdict,
            )
        )
    parts = [aligned([head, *body])]
    if len(models) > 1:
        parts.append("\n".join(_summary(rows, model, models[0]) for model in models[1:]))
        parts += [*_ceiling(rows, models[0]), MEANING]
    return "\n\n".join(parts)


MEANING = (
    "If an interval contains 0, these pairs do not show which model is better: other pairs of the same kind could turn "
    "the difference around.\nIf it excludes 0, the difference is more than the choice of pairs explains; of many "
    "figures, one in twenty does so by chance.\nThe intervals say nothing about another training run."
)


def _summary(rows: Sequence[ComparedModel], model: str, first: str) -> str:
    """One sentence that answers the question, over the rows that no other row sums up."""
    own = [row for row in rows if row.model == model and row.interval is not None and row.language != MEAN]
    parts: list[str] = []
    verdicts: list[tuple[str, Callable[[ComparedModel], bool]]] = [
        ("better in", lambda row: row.verdict == "better"),
        ("worse in", lambda row: row.verdict == "worse"),
        ("no clear difference in", lambda row: not row.verdict),
    ]
    for text, fits in verdicts:
        count = sum(map(fits, own))
        parts += [f"{text} {count}"] if count else []
    return (
        f"{model} compared with {first}, of {len(own)} figures (without means): "
        f"{', '.join(parts) or 'none can be compared'}."
    )


def _ceiling(rows: Sequence[ComparedModel], first: str) -> list[str]:
    """A sentence if the first model finds nearly all translations."""
    found = [row.value for row in rows if row.model == first and row.task in (POOLED, RETRIEVAL)]
    if not found or min(found) < NEARLY_ALL:
        return []
    return [
        f"{first} already finds {min(found):.1f} % or more of the translations, so retrieval can hardly show a gain "
        "here. More held-out pairs give it harder candidates (weam-preprocess --valid-size)."
    ]


def report_command(out: Path, first: str) -> str:
    """The command that draws the report of these scores."""
    import shlex

    return shlex.join(["weam-report", str(out), "--baseline", first])
