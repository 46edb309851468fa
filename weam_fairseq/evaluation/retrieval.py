"""Nearest-neighbor retrieval by cosine or by shared pieces, and the measurement of rankings.

Shared pieces show how much of a figure may owe nothing to translation. Names, numbers and loan words are the same in
both languages, so even a model with random weights finds many translations by them. Exact counts of shared pieces can
beat a small model, whose mean vectors blur them, so they are not a lower bound.

Shapes: `L` layers, `Q` queries, `C` candidates, `D` width.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.benchmark import Measurement, Setting
from weam_fairseq.evaluation.encode import (
    Group,
    Pieces,
    SentenceVectors,
    depth_of,
    fixed_layer,
    layer_label,
    layer_vectors,
)
from weam_fairseq.evaluation.hf_folder import Folder
from weam_fairseq.evaluation.metrics.ranking import CUT, mean_average_precision, shares
from weam_fairseq.evaluation.prediction_files import write_items, write_rankings


class Half(NamedTuple):
    """One half of an evaluation file, as the 0-based indices of its lines."""

    name: str
    lines: np.ndarray


class LayerChoice(NamedTuple):
    """The chosen layer, and every layer's dev figure (0–100) that it was chosen from."""

    layer: int
    dev: list[float]


class Found(NamedTuple):
    """*Shape:* `forward` and `backward` are `(test,)`: whether each source, and each target, finds its translation.

    `dev_forward` and `dev_backward` are the figures of every layer on the dev half; `choice` is by their mean.
    """

    choice: LayerChoice
    dev_forward: list[float]
    dev_backward: list[float]
    forward: np.ndarray
    backward: np.ndarray


def dev_and_test(lines: int) -> tuple[Half, Half]:
    """Even lines are dev and odd ones test, counted from 0: files are sorted by origin, so halves cut in the
    middle would differ in origin."""
    return Half("even", np.arange(0, lines, 2)), Half("odd", np.arange(1, lines, 2))


def nearest(queries: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """The index of the candidate with the highest cosine for each query; the first one if several tie.

    *Shape:* `(Q, D)`, `(C, D)` to `(Q,)`.
    """
    queries, candidates = unit_rows(queries), unit_rows(candidates)
    found = np.empty(len(queries), dtype=np.int64)
    for start in range(0, len(queries), 1024):  # bounds the (Q, C) product of cosines
        found[start : start + 1024] = (queries[start : start + 1024] @ candidates.T).argmax(axis=1)
    return found


def ranked(queries: np.ndarray, candidates: np.ndarray, k: int) -> np.ndarray:
    """The indices of the `k` candidates with the highest cosines (or all, if there are fewer), best first.

    *Shape:* `(Q, D)`, `(C, D)` to `(Q, k)`.
    """
    queries, candidates = unit_rows(queries), unit_rows(candidates)
    k = min(k, len(candidates))
    found = np.empty((len(queries), k), dtype=np.int64)
    block = max(1, (1 << 26) // len(candidates))  # bounds the product of cosines to 256 MiB
    for start in range(0, len(queries), block):
        cosines = queries[start : start + block] @ candidates.T
        best = np.sort(np.argpartition(-cosines, k - 1, axis=1)[:, :k], axis=1)
        order = np.argsort(-np.take_along_axis(cosines, best, axis=1), axis=1, kind="stable")
        found[start : start + block] = np.take_along_axis(best, order, axis=1)
    return found


def hits(found: np.ndarray, candidate_keys: Sequence[Hashable], gold_keys: Sequence[Hashable]) -> np.ndarray:
    """Whether each query's candidate carries the gold key: candidates with equal keys are equally right.

    *Shape:* `(Q,)` indices to `(Q,)` booleans.
    """
    return np.array([candidate_keys[idx] == gold for idx, gold in zip(found, gold_keys, strict=True)], dtype=bool)


def percent(hit: np.ndarray) -> float:
    """The share of hits, 0–100."""
    return 100.0 * float(hit.mean())


def choose_layer(dev: Sequence[float]) -> LayerChoice:
    """The layer with the best dev figure; the lowest one if several tie."""
    return LayerChoice(int(np.argmax(dev)), [float(value) for value in dev])


def find_translations(
    source: np.ndarray, target: np.ndarray, source_keys: Sequence[Hashable], target_keys: Sequence[Hashable]
) -> Found:
    """Selects the layer on the dev half and measures the test half.

    *Shape:* `(L + 1, N, D)` each; sentences with equal keys are equally right.
    """
    dev, test = dev_and_test(len(source_keys))
    both = [
        [percent(hit) for hit in _both_directions(above, below, source_keys, target_keys, dev)]
        for above, below in zip(source, target, strict=True)
    ]
    choice = choose_layer([float(np.mean(directions)) for directions in both])
    layer = choice.layer
    dev_forward, dev_backward = (list(figures) for figures in zip(*both, strict=True))
    forward, backward = _both_directions(source[layer], target[layer], source_keys, target_keys, test)
    return Found(choice, dev_forward, dev_backward, forward, backward)


def _both_directions(
    source: np.ndarray,
    target: np.ndarray,
    source_keys: Sequence[Hashable],
    target_keys: Sequence[Hashable],
    half: Half,
) -> tuple[np.ndarray, np.ndarray]:
    sources, targets = ([keys[line] for line in half.lines] for keys in (source_keys, target_keys))
    source, target = source[half.lines], target[half.lines]
    return hits(nearest(source, target), targets, targets), hits(nearest(target, source), sources, sources)


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Each row divided by its length; a row of zeros stays one."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(norms, np.finfo(np.float32).tiny)


# The ids of a group's pieces.
Bag = tuple[int, ...]


def bags(pieces: Pieces, groups: Sequence[Sequence[Group]]) -> list[Bag]:
    """One bag a group, in the order of `group_states`."""
    return [
        tuple(ids[position] for position in group)
        for ids, row in zip(pieces.inputs["input_ids"], groups, strict=True)
        for group in row
    ]


def nearest_by_overlap(queries: Sequence[Bag], candidates: Sequence[Bag]) -> np.ndarray:
    """The candidate whose piece counts have the highest cosine with the query's; the first one if none is shared.

    *Shape:* `Q` bags, `C` bags to `(Q,)`.
    """
    columns = {piece: column for column, piece in enumerate(sorted({piece for bag in candidates for piece in bag}))}
    return nearest(_counts(queries, columns), _counts(candidates, columns))


def _counts(bags: Sequence[Bag], columns: dict[int, int]) -> np.ndarray:
    """*Shape:* `(bags, columns)`. Pieces that no candidate has change no query's order of candidates."""
    counts = np.zeros((len(bags), len(columns)), dtype=np.float32)
    for row, bag in enumerate(bags):
        for piece in bag:
            if piece in columns:
                counts[row, columns[piece]] += 1
    return counts


def is_translation(source_type: str, target_type: str) -> bool:
    return source_type != target_type and has_text(source_type) and has_text(target_type)


def has_text(word: str) -> bool:
    return any(character.isalnum() for character in word)


class Queries(NamedTuple):
    """The queries of one language, by id.

    Attributes:
        texts: what is encoded.
        right: the correct candidates.
        clusters: what a query shares with queries of other languages; empty if nothing.
    """

    texts: Mapping[str, str]
    right: Mapping[str, Sequence[str]]
    clusters: Mapping[str, str] = MappingProxyType({})

    def at(self, half: Half) -> Queries:
        """One half of the queries, with everything about them."""
        names = list(self.texts)
        chosen = [names[line] for line in half.lines]
        return Queries(
            {name: self.texts[name] for name in chosen},
            {name: self.right[name] for name in chosen},
            {name: self.clusters[name] for name in chosen if name in self.clusters},
        )


def measure_rankings(
    folder: Folder,
    setting: Setting,
    name: str,
    candidates: Mapping[str, str],
    queries: Mapping[str, Queries],
    *,
    more_detail: Callable[[str, Queries, np.ndarray], dict[str, Any]] = lambda language, asked, found: {},
    more_method: Mapping[str, str] = MappingProxyType({}),
) -> list[Measurement]:
    """mAP@20 of all candidates (texts by id) ranked for each query: one measurement a language.

    All queries are measured at the fixed layer. Or, if the setting asks for the best layer, the even queries choose it
    and the odd ones are measured. Writes rankings and items.

    Args:
        queries: by language. The candidates are the same for all languages.
        more_detail: (language, its measured queries, indices of the ranked candidates `(Q, k)`) to further entries of
            `detail`.

    Raises:
        InputError: the best layer is asked for, and there are fewer than two queries.
    """
    depth = depth_of(folder)
    fixed = fixed_layer(depth)

    def encoded(texts: Mapping[str, str], what: str) -> SentenceVectors:
        """All layers, or only the fixed one, along the first axis of `values`."""
        arguments = (folder, list(texts.values()), setting.batch_size, f"{name} {what}")
        return layer_vectors(*arguments, None if setting.best_layer else [fixed])

    pool, ids = encoded(candidates, "candidates"), list(candidates)

    def rank(asked: Queries, vectors: np.ndarray, place: int) -> tuple[np.ndarray, dict[str, list[str]]]:
        found = ranked(vectors[place], pool.values[place], CUT)
        return found, {query: [ids[which] for which in row] for query, row in zip(asked.texts, found, strict=True)}

    measurements = []
    for language, asked in queries.items():
        encoding = encoded(asked.texts, language)
        vectors, place, layer, part, chosen = encoding.values, 0, fixed, setting.split, {}
        if setting.best_layer:
            if len(asked.texts) < 2:
                raise InputError(f"{language}: --layer best needs at least 2 queries, one to choose the layer on.")
            dev, test = dev_and_test(len(asked.texts))
            of_dev = asked.at(dev)
            maps = [
                mean_average_precision(of_dev.right, rank(of_dev, vectors[:, dev.lines], each)[1])
                for each in range(depth + 1)
            ]
            place = layer = choose_layer(maps).layer
            asked, vectors, part = asked.at(test), vectors[:, test.lines], f"{part}/{test.name}"
            chosen = {"dev_by_layer": maps}
        found, rankings = rank(asked, vectors, place)
        write_rankings(setting, name, language, rankings)
        items = (
            {**item, **({"cluster": asked.clusters[str(item["id"])]} if asked.clusters else {})}
            for item in shares(asked.right, rankings)
        )
        detail = {
            "layer": layer,
            **chosen,
            "candidates": len(ids),
            **more_detail(language, asked, found),
            "sentences_split": pool.long + encoding.long,
            **write_items(setting, name, language, items),
        }
        method = {
            "lang": language,
            "split": part,
            "pool": "mean",
            "layer": "dev-best" if setting.best_layer else layer_label(layer, depth),
            **more_method,
            # XTREME-R fine-tunes the encoder first; the overall score mentions this difference.
            "encoder": "as-given",
        }
        value = mean_average_precision(asked.right, rankings)
        measurements.append(Measurement(language, part, f"map@{CUT}", value, len(asked.texts), detail, method))
    return measurements
