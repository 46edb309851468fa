"""BUCC 2018 (Zweigenbaum et al. 2018): find the translated sentences of two collections.

A text file holds `id<TAB>sentence` lines, a gold file `id<TAB>id` lines, the other language first. A sentence is the
mean of its pieces' states at a fixed layer (encode.py). The threshold is selected on dev, and F1 is reported on test.
XTREME uses BUCC's sample data as dev and its training data as test, and so does this. If no pair mined from dev is
correct, all thresholds are equally good: then all pairs mined from test are taken, as in XTREME, and this is counted.

Pairs are mined with a margin: the cosine of a pair is divided by the mean cosine of both sentences' four nearest
neighbors in the other collection (Artetxe and Schwenk 2019, "ratio"). Each side's best partner by that score is a
candidate. Candidates are taken from the best down while both sentences are unused ("max" retrieval), so each sentence
is in one pair at most. As in XTREME's code, a pair with a score of 0 or less uses up its sentences and is left out.

Shapes: `X` and `Y` sentences, `D` width, `k` neighbors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.benchmark import (
    Alternatives,
    Benchmark,
    Measurement,
    Request,
    Scoring,
    ScoringResult,
    Setting,
    language_codes,
)
from weam_fairseq.evaluation.encode import SentenceVectors, depth_of, fixed_layer, layer_label, sentence_vectors
from weam_fairseq.evaluation.hf_folder import Folder
from weam_fairseq.evaluation.prediction_files import write_items, write_lines
from weam_fairseq.evaluation.readers import read_lines
from weam_fairseq.evaluation.retrieval import unit_rows
from weam_fairseq.evaluation.terminal import progress

# The ids of two sentences.
IdPair = tuple[str, str]

# Limits item files, which would otherwise hold half a million sentences that are mostly in no pair.
MOST_ITEMS = 10_000
NEIGHBOURS = 4


class BuccSentences(NamedTuple):
    """The different sentences of a file.

    A sentence on several lines has no unique id. As in LASER's and XTREME's code, it takes part in mining once, and its
    pair is left out afterwards.

    Attributes:
        ids: each sentence's id; None for a sentence on several lines.
        repeated: the number of lines with such a sentence.
    """

    ids: list[str | None]
    sentences: list[str]
    repeated: int


class BuccSplit(NamedTuple):
    source: BuccSentences
    english: BuccSentences
    gold: set[IdPair]


class Bucc(NamedTuple):
    dev: BuccSplit
    test: BuccSplit


def read_bucc(*paths: Path) -> Bucc:
    """Reads the source, English and gold files of dev, then those of test.

    Raises:
        InputError: a line is malformed, an id occurs twice, or a gold pair names an unknown id.
    """
    return Bucc(_read_split(*paths[:3]), _read_split(*paths[3:]))


def _read_split(source: Path, english: Path, gold: Path) -> BuccSplit:
    ids, english_ids = _read_rows(source), _read_rows(english)
    pairs = read_id_pairs(gold)
    if not pairs:
        raise InputError(f"{gold} contains no pair. Use the published file.")
    for one, other in sorted(pairs):
        if one not in ids or other not in english_ids:
            raise InputError(f"{gold}: the pair {one} {other} must name ids of {source} and {english}, in this order.")
    return BuccSplit(_collection(ids), _collection(english_ids), pairs)


def _read_rows(path: Path) -> dict[str, str]:
    rows: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), start=1):
        name, tab, sentence = line.partition("\t")
        if not tab or not name or not sentence.strip():
            raise InputError(f"{path}:{number}: the line must hold an id, one tab and a sentence, but holds {line!r}.")
        if name in rows:
            raise InputError(f"{path}:{number}: the id {name} is listed twice.")
        rows[name] = sentence.strip()
    if not rows:
        raise InputError(f"{path} is empty.")
    return rows


def _collection(rows: dict[str, str]) -> BuccSentences:
    count = Counter(rows.values())
    by_sentence: dict[str, str | None] = {}
    for name, sentence in rows.items():
        by_sentence[sentence] = name if count[sentence] == 1 else None
    repeated = sum(lines for lines in count.values() if lines > 1)
    return BuccSentences(list(by_sentence.values()), list(by_sentence), repeated)


def read_id_pairs(path: Path) -> set[IdPair]:
    """`id<TAB>id` lines (BUCC)."""
    pairs = set()
    for number, line in enumerate(read_lines(path), start=1):
        parts = line.strip().split("\t")
        if len(parts) != 2 or not all(parts):
            raise InputError(
                f"{path}:{number}: the line must hold two ids and one tab between them, but holds {line!r}."
            )
        pairs.add((parts[0], parts[1]))
    return pairs


def measure_bucc(folder: Folder, data: Mapping[str, Bucc], setting: Setting) -> list[Measurement]:
    """One measurement a language."""
    return [_measure_language(folder, each, setting, language) for language, each in data.items()]


def _measure_language(folder: Folder, data: Bucc, setting: Setting, language: str) -> Measurement:
    depth = depth_of(folder)
    layer = fixed_layer(depth)
    dev, _, _ = _scored_pairs(folder, data.dev, layer, setting, f"bucc {language} dev")
    threshold = best_threshold(dev, data.dev.gold)
    scored, split, dropped = _scored_pairs(folder, data.test, layer, setting, f"bucc {language} test")
    taken = _above(scored, threshold)
    result = mining_f1(data.test.gold, taken)
    write_lines(setting, "bucc", language, ("\t".join(pair) for pair in taken), "tsv")
    once = [name for name in data.test.source.ids if name is not None]
    items = write_items(setting, "bucc", language, mining_shares(once, data.test.gold, taken))
    return Measurement(
        language=language,
        split=setting.split,
        metric="f1",
        value=result.f1,
        n=len(data.test.gold),
        detail={
            "precision": result.precision,
            "recall": result.recall,
            "threshold": threshold,
            "dev_f1": mining_f1(data.dev.gold, _above(dev, threshold)).f1,
            "dev_pairs_wrong": len(dev) if threshold is None else 0,
            "layer": layer,
            "sentences": [len(data.test.source.sentences), len(data.test.english.sentences)],
            "repeated_lines": data.test.source.repeated + data.test.english.repeated,
            "pairs_repeated": dropped,
            "sentences_split": split,
            **items,
        },
        method={
            "lang": language,
            "split": setting.split,
            "pool": "mean",
            "layer": layer_label(layer, depth),
            "margin": "ratio",
            "threshold": "dev",
            "repeated": "mined",
        },
    )


def _above(scored: Mapping[IdPair, float], threshold: float | None) -> list[IdPair]:
    return [pair for pair, score in scored.items() if threshold is None or score >= threshold]


def _scored_pairs(
    folder: Folder, split: BuccSplit, layer: int, setting: Setting, label: str
) -> tuple[dict[IdPair, float], int, int]:
    """Every mined pair with its score, best first; how many sentences were read in windows; and how many mined pairs
    were left out because one of their sentences has no unique id."""

    def encode(side: BuccSentences) -> SentenceVectors:
        return sentence_vectors(folder, side.sentences, layer, setting.batch_size, label)

    source, english = encode(split.source), encode(split.english)
    mined = mine(unit_rows(source.values), unit_rows(english.values), label)
    pairs = {}
    for one, other, score in zip(mined.source, mined.target, mined.score, strict=True):
        source_id, english_id = split.source.ids[one], split.english.ids[other]
        if source_id is not None and english_id is not None:
            pairs[source_id, english_id] = float(score)
    return pairs, source.long + english.long, len(mined.score) - len(pairs)


class Mined(NamedTuple):
    """*Shape:* `(N,)` each, best first: the places of a pair's two sentences, and its score."""

    source: np.ndarray
    target: np.ndarray
    score: np.ndarray


class _Nearest(NamedTuple):
    """*Shape:* `(X, k)` each."""

    cosine: np.ndarray
    place: np.ndarray


def mine(source: np.ndarray, target: np.ndarray, label: str, block: int = 2048) -> Mined:
    """*Shape:* `(X, D)` and `(Y, D)`, with rows of length 1."""
    forward, backward = _neighbours(source, target, label, block)
    source_mean, target_mean = forward.cosine.mean(axis=1), backward.cosine.mean(axis=1)
    onward = forward.cosine / ((source_mean[:, None] + target_mean[forward.place]) / 2)
    back = backward.cosine / ((target_mean[:, None] + source_mean[backward.place]) / 2)
    source_idx, target_idx = np.arange(len(source)), np.arange(len(target))
    best_target = forward.place[source_idx, onward.argmax(axis=1)]
    best_source = backward.place[target_idx, back.argmax(axis=1)]
    return _take_best(
        np.concatenate([source_idx, best_source]),
        np.concatenate([best_target, target_idx]),
        np.concatenate([onward.max(axis=1), back.max(axis=1)]),
    )


def _take_best(source: np.ndarray, target: np.ndarray, score: np.ndarray) -> Mined:
    order = np.argsort(-score, kind="stable")
    taken, seen_source, seen_target = [], set(), set()
    for place in order.tolist():
        one, other = int(source[place]), int(target[place])
        if one not in seen_source and other not in seen_target:
            seen_source.add(one)
            seen_target.add(other)
            if score[place] > 0:
                taken.append(place)
    return Mined(source[taken], target[taken], score[taken])


def _neighbours(source: np.ndarray, target: np.ndarray, label: str, block: int) -> tuple[_Nearest, _Nearest]:
    """The nearest of each side in the other, from one pass over the product of cosines in blocks of both sides."""
    k_source, k_target = min(NEIGHBOURS, len(target)), min(NEIGHBOURS, len(source))
    forward = _Nearest(
        np.full((len(source), k_source), -np.inf, dtype=np.float32), np.zeros((len(source), k_source), dtype=np.int64)
    )
    backward = _Nearest(
        np.full((len(target), k_target), -np.inf, dtype=np.float32), np.zeros((len(target), k_target), dtype=np.int64)
    )
    starts = range(0, len(source), block)
    for start in progress(starts, label, "blocks", len(starts)):
        rows = slice(start, start + block)
        for begin in range(0, len(target), block):
            columns = slice(begin, begin + block)
            cosines = source[rows] @ target[columns].T
            _keep(forward, rows, cosines, begin)
            _keep(backward, columns, cosines.T, start)
    return forward, backward


def _keep(nearest: _Nearest, rows: slice, cosines: np.ndarray, first: int) -> None:
    """Merges new columns, which begin at `first` of the other side, into the nearest so far."""
    k = nearest.place.shape[1]
    here = min(k, cosines.shape[1])
    best = np.argpartition(-cosines, here - 1, axis=1)[:, :here]
    cosine = np.concatenate([nearest.cosine[rows], np.take_along_axis(cosines, best, axis=1)], axis=1)
    index = np.concatenate([nearest.place[rows], best + first], axis=1)
    order = np.argsort(-cosine, axis=1, kind="stable")[:, :k]
    nearest.cosine[rows] = np.take_along_axis(cosine, order, axis=1)
    nearest.place[rows] = np.take_along_axis(index, order, axis=1)


class MiningScore(NamedTuple):
    """All 0–100."""

    f1: float
    precision: float
    recall: float


def mining_f1(gold: Collection[IdPair], predictions: Collection[IdPair]) -> MiningScore:
    """Scores sets of pairs: a pair that is given twice counts once.

    Raises:
        InputError: the gold is empty.
    """
    expected, found = set(gold), set(predictions)
    if not expected:
        raise InputError("the gold contains no pair.")
    right = len(expected & found)
    if not right:
        return MiningScore(0.0, 0.0, 0.0)
    precision, recall = 100.0 * right / len(found), 100.0 * right / len(expected)
    return MiningScore(2 * precision * recall / (precision + recall), precision, recall)


def mining_shares(
    ids: Sequence[str], gold: Collection[IdPair], predictions: Collection[IdPair]
) -> Iterator[dict[str, int]]:
    """The counts of each source sentence, whose sums give F1. Very many sentences are counted in groups.

    The items follow from the data and are the same for every model. `ids` are the mined sentences; gold pairs of other
    (repeated) sentences come last.
    """
    expected, found = set(gold), set(predictions)
    places = {name: place for place, name in enumerate([*ids, *sorted({one for one, _ in expected} - set(ids))])}
    size = -(-len(places) // MOST_ITEMS)
    counts = [[0, 0, 0] for _ in range(-(-len(places) // size))]
    for column, pairs in enumerate((expected & found, found, expected)):
        for one, _ in pairs:
            counts[places[one] // size][column] += 1
    for number, (correct, predicted, wanted) in enumerate(counts):
        yield {"id": number, "correct": correct, "predicted": predicted, "gold": wanted}


def best_threshold(scored: Mapping[IdPair, float], gold: Collection[IdPair]) -> float | None:
    """The score from which on pairs are taken so that F1 on `gold` is best, halfway to the next lower score.

    Pairs of equal scores are taken together. The highest threshold is given if several are as good; None where no
    scored pair is right, so that every threshold gives 0.
    """
    expected = set(gold)
    ranked = sorted(scored.items(), key=lambda item: -item[1])
    right = 0
    best_f1, threshold = 0.0, None
    for taken, (pair, score) in enumerate(ranked, start=1):
        right += pair in expected
        following = ranked[taken][1] if taken < len(ranked) else score
        if taken < len(ranked) and following == score:
            continue
        f1 = 2 * right / (taken + len(expected))
        if f1 > best_f1:
            best_f1, threshold = f1, (score + following) / 2
    return threshold


def _files(split: str, published: str) -> tuple[Alternatives, ...]:
    """Source, English and gold: XTREME's names (in `bucc2018`) or BUCC's own, with or without a folder a language."""
    return tuple(
        (
            f"{{language}}-en.{split}.{side}",
            f"bucc2018/{{language}}-en.{split}.{side}",
            f"{{language}}-en.{published}.{side}",
            f"{{language}}-en/{{language}}-en.{published}.{side}",
            f"bucc2018/{{language}}-en/{{language}}-en.{published}.{side}",
        )
        for side in ("{language}", "en", "gold")
    )


def _score_files(request: Request) -> ScoringResult:
    return ScoringResult(mining_f1(read_id_pairs(request.gold), read_id_pairs(request.predictions))._asdict())


BENCHMARK = Benchmark(
    name="bucc",
    summary="find the translations between two collections of sentences; the threshold is chosen on dev",
    languages=language_codes("de fr ru zh"),
    splits=("test",),
    files=(*_files("dev", "sample"), *_files("test", "training")),
    read=read_bucc,
    measure=measure_bucc,
    metric="f1",
    citation="Zweigenbaum, Sharoff & Rapp 2018; Hu et al. 2020 (XTREME)",
    published="comparable.limsi.fr/bucc2018",
    scoring=Scoring(
        gold="lines of id<TAB>id",
        predictions="lines of id<TAB>id, those above the threshold",
        metrics=("f1", "precision", "recall"),
        score=_score_files,
        citation="Zweigenbaum et al. 2018",
    ),
)
