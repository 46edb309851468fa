"""Word alignment by the model itself: links from the states of two sentences that are read apart, against gold links.

Pieces are linked by their states at a fixed layer (layers.py), words through their pieces (link_extraction.py). The
figure is the alignment error rate of mutual argmax; those of simalign's itermax and awesome-align's softmax, and of
every layer, stand beside it in `detail`. No layer or threshold is chosen on the gold links.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.encode import group_states, tokenize, word_groups
from weam_fairseq.evaluation.hf_folder import Folder
from weam_fairseq.evaluation.layers import depth_of, fixed_layer, layer_label
from weam_fairseq.evaluation.link_extraction import EXTRACTIONS, Extraction, word_links
from weam_fairseq.evaluation.measurement import Measurement, Setting
from weam_fairseq.evaluation.predictions import write_items, write_lines
from weam_fairseq.evaluation.progress import progress
from weam_fairseq.evaluation.readers import GoldLinks, WordLink, read_words_and_gold
from weam_fairseq.evaluation.word_alignment import alignment_shares, score_alignments

# Pairs whose states are held at once, at every layer.
CHUNK = 64

# How links were extracted, and from which layer, to the links of each pair.
Links = dict[tuple[str, int], list[frozenset[WordLink]]]


class GoldPair(NamedTuple):
    """A pair in words and its links."""

    source_words: list[str]
    target_words: list[str]
    gold: GoldLinks


class GoldSet(NamedTuple):
    """`outside`: how many links point beyond their sentences, so that no model can hit them."""

    pairs: list[GoldPair]
    outside: int


class SentencePieces(NamedTuple):
    """*Shape:* `states` `(L + 1, pieces, D)`; for each piece, the words that it belongs to."""

    states: np.ndarray
    words: list[list[int]]


def read_alignment(words: Path, gold: Path, first_word: int | None = None) -> GoldSet:
    """Reads `source words ||| target words` lines and their lines of links (readers.read_gold).

    Raises:
        InputError: the files differ in length, a line is malformed, or no link is sure.
    """
    sentences, links = read_words_and_gold(words, gold, first_word)
    if not any(each.sure for each in links):
        raise InputError(f"{gold} holds no sure link (i-j), so recall and AER stand for nothing.")
    pairs = [GoldPair(*sides, each) for sides, each in zip(sentences, links, strict=True)]
    return GoldSet(pairs, sum(not _inside(pair, link) for pair in pairs for link in pair.gold.possible))


def _inside(pair: GoldPair, link: WordLink) -> bool:
    return link[0] < len(pair.source_words) and link[1] < len(pair.target_words)


def measure_word_alignment(folder: Folder, data: Mapping[str, GoldSet], setting: Setting) -> list[Measurement]:
    """One measurement a pair of languages: the alignment error rate, 0–100, the lower the better."""
    return [_measure_set(folder, gold_set, setting, language) for language, gold_set in data.items()]


def _measure_set(folder: Folder, gold_set: GoldSet, setting: Setting, language: str) -> Measurement:
    pairs = gold_set.pairs
    depth = depth_of(folder)
    layer = fixed_layer(depth)
    links, split = extract_links(folder, pairs, layer, setting.batch_size, f"word alignment {language}")
    gold = [pair.gold for pair in pairs]
    method = next(iter(EXTRACTIONS))
    score = score_alignments(gold, links[method, layer])
    lines = (" ".join(f"{i}-{j}" for i, j in sorted(found)) for found in links[method, layer])
    name = language if "-" in language else setting.pair(language)
    write_lines(setting, "word-alignment", language, lines, pair=name)
    items = write_items(setting, "word-alignment", language, alignment_shares(gold, links[method, layer]), pair=name)
    return Measurement(
        language=name,
        split=setting.split_of(language),
        metric="aer",
        value=score.aer,
        n=sum(len(each.sure) for each in gold),
        detail={
            "precision": score.precision,
            "recall": score.recall,
            **{name: score_alignments(gold, links[name, layer])._asdict() for name in list(EXTRACTIONS)[1:]},
            "layer": layer,
            "aer_by_layer": [score_alignments(gold, links[method, each]).aer for each in range(depth + 1)],
            "pairs": len(pairs),
            "links_outside": gold_set.outside,
            "sentences_split": split,
            **items,
        },
        method={
            "pair": name,
            "split": setting.split_of(language),
            **({"gold-from": str(setting.gold_from)} if setting.gold_from else {}),
            "links": f"{method}-pieces",
            "layer": layer_label(layer, depth),
        },
    )


def extract_links(
    folder: Folder, pairs: Sequence[GoldPair], layer: int, batch_size: int, label: str
) -> tuple[Links, int]:
    """Links of each pair: by the first extraction at every layer, by the others at `layer`.

    Returns the number of sentences that were read in windows as well.
    """
    order = sorted(range(len(pairs)), key=lambda k: -len(pairs[k].source_words) - len(pairs[k].target_words))
    found: dict[tuple[str, int], dict[int, frozenset[WordLink]]] = {}
    split = 0
    starts = range(0, len(order), CHUNK)
    for start in progress(starts, label, "chunks", len(starts)):
        chunk = order[start : start + CHUNK]
        sources, source_split = _pieces(folder, [pairs[k].source_words for k in chunk], batch_size)
        targets, target_split = _pieces(folder, [pairs[k].target_words for k in chunk], batch_size)
        split += source_split + target_split
        for k, source, target in zip(chunk, sources, targets, strict=True):
            for name, extract in EXTRACTIONS.items():
                for each in range(len(source.states)) if name == next(iter(EXTRACTIONS)) else [layer]:
                    links = _links(extract, source, target, each)
                    found.setdefault((name, each), {})[k] = links
    return {key: [by_pair[k] for k in range(len(pairs))] for key, by_pair in found.items()}, split


def _links(extract: Extraction, source: SentencePieces, target: SentencePieces, layer: int) -> frozenset[WordLink]:
    if not source.words or not target.words:
        return frozenset()
    return word_links(extract(source.states[layer], target.states[layer]), source.words, target.words)


def _pieces(folder: Folder, sentences: Sequence[list[str]], batch_size: int) -> tuple[list[SentencePieces], int]:
    """The states of every piece that belongs to a word, sentence by sentence."""
    pieces = tokenize(folder, [" ".join(words) for words in sentences])
    words_of_piece = [_words_of_piece(groups) for groups in word_groups(pieces, sentences)]
    groups = [[[position] for position in sorted(owners)] for owners in words_of_piece]
    states = group_states(folder, pieces, groups, batch_size, None).values
    first = np.cumsum([0] + [len(row) for row in groups])
    return [
        SentencePieces(states[:, first[k] : first[k + 1]], [owners[position] for position in sorted(owners)])
        for k, owners in enumerate(words_of_piece)
    ], pieces.long


def _words_of_piece(groups: Sequence[Sequence[int]]) -> dict[int, list[int]]:
    owners: dict[int, list[int]] = {}
    for word, positions in enumerate(groups):
        for position in positions:
            owners.setdefault(position, []).append(word)
    return owners
