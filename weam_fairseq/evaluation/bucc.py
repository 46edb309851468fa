"""BUCC: find the translated sentences of two collections (F1). The threshold is chosen on dev, F1 is that of test.

Sentences are the mean of their pieces' states at a fixed layer (layers.py); pairs are mined with a margin (mining.py).
XTREME takes what BUCC calls sample data as dev and its training data as test, and so does this. Where no pair mined
from dev is right, every threshold is as good: then all pairs mined from test are taken, as XTREME does, and that is
counted.
"""

from __future__ import annotations

from collections.abc import Mapping

from weam_fairseq.evaluation.bucc_files import Bucc, BuccSplit, Collection
from weam_fairseq.evaluation.hf_folder import Folder
from weam_fairseq.evaluation.layers import depth_of, fixed_layer, layer_label
from weam_fairseq.evaluation.measurement import Measurement, Setting
from weam_fairseq.evaluation.metrics.mining import IdPair, best_threshold, mining_f1, mining_shares
from weam_fairseq.evaluation.mining import mine
from weam_fairseq.evaluation.predictions import write_items, write_lines
from weam_fairseq.evaluation.retrieval import unit_rows
from weam_fairseq.evaluation.sentence_vectors import SentenceVectors, sentence_vectors


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
    were left out because a sentence of theirs has no one id."""

    def encode(side: Collection) -> SentenceVectors:
        return sentence_vectors(folder, side.sentences, layer, setting.batch_size, label)

    source, english = encode(split.source), encode(split.english)
    mined = mine(unit_rows(source.values), unit_rows(english.values), label)
    pairs = {}
    for one, other, score in zip(mined.source, mined.target, mined.score, strict=True):
        source_id, english_id = split.source.ids[one], split.english.ids[other]
        if source_id is not None and english_id is not None:
            pairs[source_id, english_id] = float(score)
    return pairs, source.long + english.long, len(mined.score) - len(pairs)
