"""Sentence retrieval: find a sentence's translation among the translations of one half, in both directions.

A sentence is the mean of the states of its pieces (without special pieces and padding), compared by cosine. The dev
half selects the best layer, 0 being the embeddings, by the mean of both directions. The other half is reported, and
its candidates are its own sentences. This is the procedure of Tatoeba retrieval in XTREME (Hu et al. 2020), with the
layer selected on text that is not reported.

If several candidates have the same text, a hit on any of them counts, because no model could tell them apart. Each
figure comes with that of shared pieces without a model (`shared_pieces`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from weam_fairseq.evaluation.benchmark import OWN_PAIRS, Benchmark, Measurement, Setting
from weam_fairseq.evaluation.encode import check_filled, group_states, quoted, sentence_groups, tokenize
from weam_fairseq.evaluation.hf_folder import Folder
from weam_fairseq.evaluation.prediction_files import write_items
from weam_fairseq.evaluation.readers import TextPair, read_pairs
from weam_fairseq.evaluation.retrieval import (
    Bag,
    Half,
    bags,
    dev_and_test,
    find_translations,
    hits,
    nearest_by_overlap,
    percent,
)


class SentenceStates(NamedTuple):
    """*Shape:* `values` `(L + 1, N, D)`; `bags[k]` holds the pieces of sentence k; `long` sentences are longer than the
    model takes and were read in windows."""

    values: np.ndarray
    bags: list[Bag]
    long: int


def measure_sentence_retrieval(
    folder: Folder, data: Mapping[str, Sequence[TextPair]], setting: Setting
) -> list[Measurement]:
    """One measurement a pair: accuracy@1, the mean of both directions.

    Raises:
        InputError: a sentence has no pieces.
    """
    return [_measure_pair(folder, pairs, setting, language) for language, pairs in data.items()]


def _measure_pair(folder: Folder, pairs: Sequence[TextPair], setting: Setting, language: str) -> Measurement:
    sources, targets = [pair.source for pair in pairs], [pair.target for pair in pairs]
    source = _sentence_states(folder, sources, setting, setting.source_language)
    target = _sentence_states(folder, targets, setting, language)

    _, test = dev_and_test(len(pairs))
    found = find_translations(source.values, target.values, sources, targets)
    choice, forward, backward = found.choice, percent(found.forward), percent(found.backward)
    name = setting.pair(language)
    items = (
        {"id": int(line), "cluster": f"{name}:{line}", "accuracy@1": 50.0 * (float(there) + float(back))}
        for line, there, back in zip(test.lines, found.forward, found.backward, strict=True)
    )
    return Measurement(
        language=setting.pair(language),
        split=f"{setting.split}/{test.name}",
        metric="accuracy@1",
        value=(forward + backward) / 2,
        n=len(test.lines),
        detail={
            "directions": {
                f"{setting.source_language}>{language}": forward,
                f"{language}>{setting.source_language}": backward,
            },
            "layer": choice.layer,
            "dev_by_layer": choice.dev,
            "shared_pieces": _floor(source, target, sources, targets, test),
            "candidates": len(test.lines),
            "duplicate_targets": _duplicates(targets, test),
            "duplicate_sources": _duplicates(sources, test),
            "sentences_split": source.long + target.long,
            **write_items(setting, BENCHMARK.name, language, items, pair=name),
        },
        method={
            "pair": setting.pair(language),
            "split": f"{setting.split}/{test.name}",
            "pool": "mean",
            "layer": "dev-best",
        },
    )


def _sentence_states(folder: Folder, texts: list[str], setting: Setting, language: str) -> SentenceStates:
    pieces = tokenize(folder, texts)
    groups = sentence_groups(pieces)
    states = group_states(folder, pieces, groups, setting.batch_size, f"sentences {language}")
    check_filled(states, partial(quoted, texts), f"the {language} sentence", folder)
    return SentenceStates(states.values, bags(pieces, groups), pieces.long)


def _floor(source: SentenceStates, target: SentenceStates, sources: list[str], targets: list[str], half: Half) -> float:
    """What the pieces that both sides share find without a model, both directions together."""
    found = []
    for query, candidate, texts in ((source, target, targets), (target, source, sources)):
        gold = [texts[line] for line in half.lines]
        nearest_line = nearest_by_overlap(
            [query.bags[line] for line in half.lines], [candidate.bags[line] for line in half.lines]
        )
        found.append(percent(hits(nearest_line, gold, gold)))
    return float(np.mean(found))


def _duplicates(texts: list[str], half: Half) -> int:
    """How many candidates have a text that an earlier one has too."""
    return len(half.lines) - len({texts[line] for line in half.lines})


BENCHMARK = Benchmark(
    name="sentence-retrieval",
    summary="find a sentence's translation in one half of the file, both directions; the other half selects the layer",
    languages=None,
    files=("{split}.{pair}.tsv",),
    read=read_pairs,
    measure=measure_sentence_retrieval,
    metric="accuracy@1",
    citation="Artetxe & Schwenk 2019 (Tatoeba); Hu et al. 2020 (XTREME)",
    published=OWN_PAIRS,
)
