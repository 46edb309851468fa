"""Word similarity: are linked words of two languages closer to each other than unlinked words, layer by layer?

This is the analysis of Yang et al. 2021 (WEAM): cosines of the states of translated words against those of random
pairs. A word is the mean of its pieces' states in its sentence, and the two sentences are encoded separately. Every
sure link is compared with two words of the target side that do not translate the source word here: one drawn from all
linked words of the set, and one drawn from the same target sentence, which shares the context.

Cosines of such states are high between any two words, and differ in level between models, so their means cannot be
compared. `value` is the chance, 0–100, that a linked pair has a higher cosine than a random pair (area under the ROC
curve; 50 is chance) at a fixed layer (encode.py). Links between equal strings and of words without a letter or digit
are left out, because shared piece embeddings find them without translation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.benchmark import Benchmark, Measurement, Setting
from weam_fairseq.evaluation.benchmarks.word_alignment import FILES, PUBLISHED, GoldSet, read_alignment
from weam_fairseq.evaluation.encode import depth_of, fixed_layer, layer_label, word_states
from weam_fairseq.evaluation.hf_folder import Folder
from weam_fairseq.evaluation.readers import GoldPair
from weam_fairseq.evaluation.retrieval import has_text, is_translation, unit_rows


class WordComparison(NamedTuple):
    """Words as occurrences, counted over all sentences of their side. *Shape:* `(N,)` each.

    `neighbour` is an unlinked word of the linked word's sentence, or -1 if there is none.
    """

    source: np.ndarray
    linked: np.ndarray
    drawn: np.ndarray
    neighbour: np.ndarray


class LayerSimilarity(NamedTuple):
    """Mean cosines × 100, and how often (0–100) a linked pair is nearer than a pair of the other kind.

    Figures of the same sentence are None if no word qualifies.
    """

    linked: float
    random: float
    same_sentence: float | None
    above_random: float
    above_same_sentence: float | None


def measure_word_similarity(folder: Folder, data: Mapping[str, GoldSet], setting: Setting) -> list[Measurement]:
    """One measurement a pair of languages.

    Raises:
        InputError: no sure link connects different words.
    """
    return [_measure_pairs(folder, gold_set.pairs, setting, language) for language, gold_set in data.items()]


def _measure_pairs(folder: Folder, pairs: Sequence[GoldPair], setting: Setting, language: str) -> Measurement:
    name = language if "-" in language else setting.pair(language)
    depth = depth_of(folder)
    layer = fixed_layer(depth)
    source, target = (
        word_states(folder, sentences, setting.batch_size, f"words {name}")
        for sentences in ([pair.source_words for pair in pairs], [pair.target_words for pair in pairs])
    )
    compared, left_out = draw(pairs, source.filled, target.filled, setting.seed, name)
    by_layer = [similarity(*states, compared) for states in zip(source.values, target.values, strict=True)]
    return Measurement(
        language=name,
        split=setting.split_of(language),
        metric="auc",
        value=by_layer[layer].above_random,
        n=len(compared.source),
        detail={
            "layer": layer,
            **{field: [each[column] for each in by_layer] for column, field in enumerate(LayerSimilarity._fields)},
            "links_without_pieces": left_out,
            "links_without_neighbour": int((compared.neighbour < 0).sum()),
            "sentences_split": source.pieces.long + target.pieces.long,
        },
        method={
            "pair": name,
            "split": setting.split_of(language),
            **({"gold-from": str(setting.gold_from)} if setting.gold_from else {}),
            "links": "sure-without-copies",
            "pool": "mean",
            "layer": layer_label(layer, depth),
        },
    )


def draw(
    pairs: Sequence[GoldPair], source_filled: np.ndarray, target_filled: np.ndarray, seed: int, name: str
) -> tuple[WordComparison, int]:
    """The links that are compared, and the words drawn for them; also how many links have a word without pieces.

    Raises:
        InputError: no sure link connects different words, or all linked words are the same.
    """
    first_source = np.cumsum([0] + [len(pair.source_words) for pair in pairs])
    first_target = np.cumsum([0] + [len(pair.target_words) for pair in pairs])
    types = [word.lower() for pair in pairs for word in pair.target_words]
    rows, without = [], 0
    for k, pair in enumerate(pairs):
        for i, j in sorted(pair.gold.sure):
            if not pair.holds((i, j)) or not is_translation(pair.source_words[i], pair.target_words[j]):
                continue
            if source_filled[first_source[k] + i] and target_filled[first_target[k] + j]:
                rows.append((k, i, j))
            else:
                without += 1
    linked = np.array([first_target[k] + j for k, _, j in rows], dtype=np.int64)
    if len({types[word] for word in linked}) < 2:
        raise InputError(f"{name}: the gold file contains fewer than two sure links between different words.")
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, 0], dtype=np.uint64)))
    drawn, neighbour = [], []
    for (k, i, _), own in zip(rows, linked, strict=True):
        drawn.append(_draw_other(rng, linked, types, types[own]))
        linked_here = {j for source, j in pairs[k].gold.possible if source == i}
        free = [
            first_target[k] + j
            for j, word in enumerate(pairs[k].target_words)
            if j not in linked_here and has_text(word) and target_filled[first_target[k] + j]
        ]
        neighbour.append(int(rng.choice(free)) if free else -1)
    source = np.array([first_source[k] + i for k, i, _ in rows], dtype=np.int64)
    return WordComparison(source, linked, np.array(drawn), np.array(neighbour)), without


def _draw_other(rng: np.random.Generator, words: np.ndarray, types: Sequence[str], own: str) -> int:
    """A linked word of a type other than `own`. The caller checks that there are two types."""
    while True:
        word = int(rng.choice(words))
        if types[word] != own:
            return word


def similarity(source: np.ndarray, target: np.ndarray, compared: WordComparison) -> LayerSimilarity:
    """*Shape:* the states of one layer, `(G, D)` each."""
    source, target = unit_rows(source), unit_rows(target)

    def cosines(rows: np.ndarray, words: np.ndarray) -> np.ndarray:
        return np.einsum("nd,nd->n", source[rows], target[words])

    linked, drawn = cosines(compared.source, compared.linked), cosines(compared.source, compared.drawn)
    has = compared.neighbour >= 0
    neighbour = cosines(compared.source[has], compared.neighbour[has])
    return LayerSimilarity(
        linked=100.0 * float(linked.mean()),
        random=100.0 * float(drawn.mean()),
        same_sentence=100.0 * float(neighbour.mean()) if has.any() else None,
        above_random=area_under_curve(linked, drawn),
        above_same_sentence=area_under_curve(linked[has], neighbour) if has.any() else None,
    )


def area_under_curve(higher: np.ndarray, lower: np.ndarray) -> float:
    """How often a value of `higher` is above one of `lower`, 0–100; equal ones count half."""
    ordered = np.sort(lower)
    below = np.searchsorted(ordered, higher, side="left")
    equal = np.searchsorted(ordered, higher, side="right") - below
    return 100.0 * float((below + equal / 2).mean()) / len(lower)


BENCHMARK = Benchmark(
    name="word-similarity",
    summary="how well the states of each layer tell linked words from random ones",
    languages=None,
    files=FILES,
    read=read_alignment,
    reads_links=True,
    measure=measure_word_similarity,
    metric="auc",
    citation="Yang et al. 2021 (WEAM)",
    published=PUBLISHED,
    draws=True,
)
