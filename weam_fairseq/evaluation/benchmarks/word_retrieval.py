"""Word retrieval in context: find a word's translation among the linked words of one half, in both directions.

A word is the mean of the states of its pieces, in its sentence (words joined with single spaces). Queries are the
words of sure links. Candidates are all linked word occurrences on the other side of the same half. The dev half
selects the layer by the mean of both directions, and the other half is reported.

A hit is an occurrence with the same lower-cased string (the same *type*) as the word that the query is linked to.
Bilingual lexicon induction scores types, and "die" in one sentence is as good an answer for "the" as "die" in
another. `detail` holds the stricter figure for that exact occurrence (Cao et al. 2020, contextual word retrieval),
and the mean over query types instead of occurrences (so that "the" counts once).

Links between equal strings (names, numbers, punctuation) and links of words without a letter or digit are not
queries, because shared piece embeddings find them without translation. They remain candidates. `detail` also holds
the figure with them, and the figure of shared pieces without a model (`shared_pieces`).

The links must be hand-made, or come from an aligner other than the one that made the training links. Otherwise the
figure would reward a model for that aligner's habits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.benchmark import OWN_PAIRS, Benchmark, Measurement, Setting
from weam_fairseq.evaluation.encode import word_states
from weam_fairseq.evaluation.hf_folder import Folder
from weam_fairseq.evaluation.prediction_files import write_items
from weam_fairseq.evaluation.readers import GoldPair, read_linked_pairs
from weam_fairseq.evaluation.retrieval import (
    Bag,
    Half,
    bags,
    choose_layer,
    dev_and_test,
    hits,
    is_translation,
    nearest,
    nearest_by_overlap,
    percent,
)


class WordSide(NamedTuple):
    """*Shape:* `values` `(L + 1, G, D)`, `filled` `(G,)`; `first[k]` is where sentence k's words begin in G;
    `types` are the lower-cased words and `bags` their pieces."""

    values: np.ndarray
    filled: np.ndarray
    first: np.ndarray
    types: list[str]
    bags: list[Bag]
    long: int


# (query side, candidate side, queries, candidates) to the place of each query's nearest candidate.
Search = Callable[[WordSide, WordSide, np.ndarray, np.ndarray], np.ndarray]


class HalfLinks(NamedTuple):
    """The sure links of one half as word occurrences, `(N,)` each, which of them are asked, and their lines."""

    source_word_idx: np.ndarray
    target_word_idx: np.ndarray
    asked: np.ndarray
    line: np.ndarray
    without_pieces: int


class Precision(NamedTuple):
    """Precision@1 of one direction, 0–100, in its variants. `hit`: which of the asked links are found, by type."""

    hit: np.ndarray
    by_type: float
    by_occurrence: float
    mean_over_types: float
    with_copies: float


def measure_word_retrieval(
    folder: Folder, data: Mapping[str, Sequence[GoldPair]], setting: Setting
) -> list[Measurement]:
    """One measurement a pair: type precision@1, the mean of both directions.

    Raises:
        InputError: a half has no link that can be a query.
    """
    return [_measure_pair(folder, pairs, setting, language) for language, pairs in data.items()]


def _measure_pair(folder: Folder, pairs: Sequence[GoldPair], setting: Setting, language: str) -> Measurement:
    source = _side(folder, [pair.source_words for pair in pairs], setting, setting.source_language)
    target = _side(folder, [pair.target_words for pair in pairs], setting, language)
    dev, test = dev_and_test(len(pairs))
    dev_links = _half_links(pairs, source, target, dev, setting.pair(language))
    test_links = _half_links(pairs, source, target, test, setting.pair(language))

    dev_figures = [_both_directions(source, target, dev_links, by_state(layer)) for layer in range(len(source.values))]
    choice = choose_layer([(forward.by_type + backward.by_type) / 2 for forward, backward in dev_figures])
    forward, backward = _both_directions(source, target, test_links, by_state(choice.layer))
    floor = _both_directions(source, target, test_links, by_overlap)
    name = setting.pair(language)
    lines = test_links.line[test_links.asked]
    items = (
        # The links of a sentence are drawn together.
        {"id": number, "cluster": f"{name}:{line}", "precision@1": 50.0 * (float(there) + float(back))}
        for number, (line, there, back) in enumerate(zip(lines, forward.hit, backward.hit, strict=True))
    )
    return Measurement(
        language=setting.pair(language),
        split=f"{setting.split}/{test.name}",
        metric="precision@1",
        value=(forward.by_type + backward.by_type) / 2,
        n=int(test_links.asked.sum()),
        detail={
            "directions": {
                f"{setting.source_language}>{language}": forward.by_type,
                f"{language}>{setting.source_language}": backward.by_type,
            },
            "by_occurrence": (forward.by_occurrence + backward.by_occurrence) / 2,
            "mean_over_types": (forward.mean_over_types + backward.mean_over_types) / 2,
            "with_copies": (forward.with_copies + backward.with_copies) / 2,
            "shared_pieces": (floor[0].by_type + floor[1].by_type) / 2,
            "layer": choice.layer,
            "dev_by_layer": choice.dev,
            "links": len(test_links.asked),
            "links_without_pieces": test_links.without_pieces,
            "candidates": [len(set(test_links.source_word_idx)), len(set(test_links.target_word_idx))],
            "sentences_split": source.long + target.long,
            **write_items(setting, BENCHMARK.name, language, items, pair=name),
        },
        method={
            "pair": setting.pair(language),
            "split": f"{setting.split}/{test.name}",
            **({"gold-from": str(setting.gold_from)} if setting.gold_from else {}),
            "match": "type",
            "links": "sure-without-copies",
            "pool": "mean",
            "layer": "dev-best",
        },
    )


def by_state(layer: int) -> Search:
    """Searches by the cosine of a layer's states."""

    def search(query: WordSide, candidate: WordSide, queries: np.ndarray, pool: np.ndarray) -> np.ndarray:
        return nearest(query.values[layer][queries], candidate.values[layer][pool])

    return search


def by_overlap(query: WordSide, candidate: WordSide, queries: np.ndarray, pool: np.ndarray) -> np.ndarray:
    """Searches by shared pieces, without a model."""
    return nearest_by_overlap([query.bags[i] for i in queries], [candidate.bags[j] for j in pool])


def _side(folder: Folder, sentences: list[list[str]], setting: Setting, language: str) -> WordSide:
    states = word_states(folder, sentences, setting.batch_size, f"words {language}")
    first = np.cumsum([0] + [len(words) for words in sentences])
    types = [word.lower() for words in sentences for word in words]
    return WordSide(states.values, states.filled, first, types, bags(states.pieces, states.groups), states.pieces.long)


def _half_links(pairs: Sequence[GoldPair], source: WordSide, target: WordSide, half: Half, name: str) -> HalfLinks:
    occurrences = [
        (source.first[line] + i, target.first[line] + j, line)
        for line in half.lines
        for i, j in sorted(pairs[line].gold.sure)
    ]
    kept = [(i, j, line) for i, j, line in occurrences if source.filled[i] and target.filled[j]]
    asked = np.array([is_translation(source.types[i], target.types[j]) for i, j, _ in kept], dtype=bool)
    if not asked.any():
        raise InputError(
            f"{name}: the {half.name} lines contain no sure link between different words, so there are no queries. "
            "Check the gold file."
        )
    links = np.array(kept, dtype=np.int64)
    return HalfLinks(links[:, 0], links[:, 1], asked, links[:, 2], len(occurrences) - len(kept))


def _both_directions(
    source: WordSide, target: WordSide, links: HalfLinks, search: Search
) -> tuple[Precision, Precision]:
    i, j = links.source_word_idx, links.target_word_idx
    return (
        _precision(source, target, i, j, links.asked, search),
        _precision(target, source, j, i, links.asked, search),
    )


def _precision(
    query: WordSide,
    candidate: WordSide,
    query_idx: np.ndarray,
    gold_idx: np.ndarray,
    asked: np.ndarray,
    search: Search,
) -> Precision:
    """Every link is searched once; the variants differ in what is counted."""
    pool = np.unique(gold_idx)
    queries, position = np.unique(query_idx, return_inverse=True)
    found = pool[search(query, candidate, queries, pool)][position]
    type_hit = hits(found, candidate.types, [candidate.types[j] for j in gold_idx])
    return Precision(
        hit=type_hit[asked],
        by_type=percent(type_hit[asked]),
        by_occurrence=percent((found == gold_idx)[asked]),
        mean_over_types=_mean_over_types(type_hit[asked], [query.types[i] for i in query_idx[asked]]),
        with_copies=percent(type_hit),
    )


def _mean_over_types(hit: np.ndarray, query_types: list[str]) -> float:
    by_type: dict[str, list[bool]] = {}
    for is_hit, query_type in zip(hit, query_types, strict=True):
        by_type.setdefault(query_type, []).append(bool(is_hit))
    return 100.0 * float(np.mean([np.mean(each) for each in by_type.values()]))


BENCHMARK = Benchmark(
    name="word-retrieval",
    summary="a word's translation among the linked words, both directions",
    languages=None,
    files=("{split}.{pair}.src-tgt", "{split}.{pair}.gold"),
    read=read_linked_pairs,
    reads_links=True,
    measure=measure_word_retrieval,
    metric="precision@1",
    citation="Cao, Kitaev & Klein 2020 (contextual word retrieval)",
    published=OWN_PAIRS,
)
