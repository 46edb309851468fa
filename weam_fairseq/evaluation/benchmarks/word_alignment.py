"""Word alignment by the model itself: links from the states of two sentences, encoded separately, against gold links.

Pieces are linked by their states at a fixed layer (encode.py), and words through their pieces. The figure is the
alignment error rate of mutual argmax. `detail` holds those of simalign's itermax, of awesome-align's softmax, and of
every layer. No layer or threshold is selected on the gold links that are reported: with --layer best, the even pairs
select the layer and the odd pairs are measured.

Error rate, precision and recall are those of Och and Ney 2003. A gold line holds sure and possible links
(readers.read_gold), a line of predictions links `i-j`, and line k of one file belongs to line k of the other. An
empty line has no links. With A the predicted links, S the sure ones and P the sure and possible ones, over all lines
together:

    precision = |A ∩ P| / |A|     recall = |A ∩ S| / |S|     AER = 1 − (|A ∩ S| + |A ∩ P|) / (|A| + |S|)

Shapes: `I` source pieces, `J` target pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import NamedTuple

import numpy as np

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.state_links import itermax, mutual_argmax, softmax_both_ways
from weam_fairseq.evaluation.benchmark import Benchmark, Measurement, Request, Scoring, ScoringResult, Setting
from weam_fairseq.evaluation.encode import (
    Pieces,
    depth_of,
    fixed_layer,
    group_states,
    layer_label,
    tokenize,
    word_groups,
)
from weam_fairseq.evaluation.hf_folder import Folder
from weam_fairseq.evaluation.prediction_files import write_items, write_lines
from weam_fairseq.evaluation.readers import (
    GoldLinks,
    GoldPair,
    WordLink,
    counted_from_1,
    from_0,
    read_gold,
    read_predicted_links,
    read_words_and_gold,
)
from weam_fairseq.evaluation.retrieval import Half, choose_layer, dev_and_test
from weam_fairseq.evaluation.terminal import progress

# Pairs whose states are held at once, at every layer.
CHUNK = 64

# How links were extracted, and from which layer, to the links of each pair.
Links = dict[tuple[str, int], list[frozenset[WordLink]]]


# The words that each piece of a sentence belongs to, by the piece's position. Other positions have no words.
WordsOfPositions = dict[int, list[int]]


class GoldSet(NamedTuple):
    """`outside`: the number of links that point outside their sentences, which no model can find."""

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
        raise InputError(f"{gold} contains no sure links (written i-j). Recall and AER are undefined without them.")
    pairs = [GoldPair(*sides, each) for sides, each in zip(sentences, links, strict=True)]
    return GoldSet(pairs, sum(not pair.holds(link) for pair in pairs for link in pair.gold.possible))


def measure_word_alignment(folder: Folder, data: Mapping[str, GoldSet], setting: Setting) -> list[Measurement]:
    """One measurement a pair of languages: the alignment error rate, 0–100, the lower the better."""
    return [_measure_set(folder, gold_set, setting, language) for language, gold_set in data.items()]


def _measure_set(folder: Folder, gold_set: GoldSet, setting: Setting, language: str) -> Measurement:
    pairs = gold_set.pairs
    depth = depth_of(folder)
    layer = None if setting.best_layer else fixed_layer(depth)
    links, split = extract_links(folder, pairs, layer, setting.batch_size, f"word alignment {language}")
    gold = [pair.gold for pair in pairs]
    method = next(iter(EXTRACTIONS))
    part, chosen, numbers = setting.split_of(language), {}, range(len(pairs))
    by_layer = [score_alignments(gold, links[method, each]).aer for each in range(depth + 1)]
    if layer is None:
        dev, test = dev_and_test(len(pairs))
        if not all(any(gold[line].sure for line in half.lines) for half in (dev, test)):
            raise InputError(
                f"{language}: --layer best needs sure links (written i-j) on even and on odd lines, but one half has "
                f"none ({len(pairs)} pairs). Leave --layer out."
            )
        dev_by_layer = [score_alignments(*_at(dev, gold, links[method, each])).aer for each in range(depth + 1)]
        layer = choose_layer([-aer for aer in dev_by_layer]).layer
        part, chosen, numbers = f"{part}/{test.name}", {"dev_by_layer": dev_by_layer}, test.lines.tolist()
    lines = (" ".join(f"{i}-{j}" for i, j in sorted(found)) for found in links[method, layer])
    name = language if "-" in language else setting.pair(language)
    write_lines(setting, "word-alignment", language, lines, pair=name)
    gold, found = [gold[line] for line in numbers], [links[method, layer][line] for line in numbers]
    score = score_alignments(gold, found)
    shares = alignment_shares(gold, found, numbers)
    items = write_items(setting, "word-alignment", language, shares, pair=name)
    return Measurement(
        language=name,
        split=part,
        metric="aer",
        value=score.aer,
        n=sum(len(each.sure) for each in gold),
        detail={
            "precision": score.precision,
            "recall": score.recall,
            **{
                name: score_alignments(gold, links[name, layer])._asdict()
                for name in list(EXTRACTIONS)[1:]
                if (name, layer) in links
            },
            "layer": layer,
            "aer_by_layer": by_layer,
            **chosen,
            "pairs": len(gold),
            "links_outside": gold_set.outside,
            "sentences_split": split,
            **items,
        },
        method={
            "pair": name,
            "split": part,
            **({"gold-from": str(setting.gold_from)} if setting.gold_from else {}),
            "links": f"{method}-pieces",
            "layer": "dev-best" if setting.best_layer else layer_label(layer, depth),
        },
    )


def _at(
    half: Half, gold: Sequence[GoldLinks], links: Sequence[frozenset[WordLink]]
) -> tuple[list[GoldLinks], list[frozenset[WordLink]]]:
    return [gold[line] for line in half.lines], [links[line] for line in half.lines]


def extract_links(
    folder: Folder, pairs: Sequence[GoldPair], layer: int | None, batch_size: int, label: str
) -> tuple[Links, int]:
    """Links of each pair: by the first extraction at every layer, by the others at `layer`, if one is given.

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
                at_layer = [] if layer is None else [layer]
                for each in range(len(source.states)) if name == next(iter(EXTRACTIONS)) else at_layer:
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
    return piece_states(folder, pieces, words_of_positions(pieces, sentences), batch_size), pieces.long


def words_of_positions(pieces: Pieces, sentences: Sequence[Sequence[str]]) -> list[WordsOfPositions]:
    """For texts that are `sentences` joined with single spaces."""
    return [_words_of_piece(groups) for groups in word_groups(pieces, sentences)]


def piece_states(
    folder: Folder, pieces: Pieces, words_of_piece: Sequence[WordsOfPositions], batch_size: int
) -> list[SentencePieces]:
    groups = [[[position] for position in sorted(owners)] for owners in words_of_piece]
    states = group_states(folder, pieces, groups, batch_size, None).values
    first = np.cumsum([0] + [len(row) for row in groups])
    return [
        SentencePieces(states[:, first[k] : first[k + 1]], [owners[position] for position in sorted(owners)])
        for k, owners in enumerate(words_of_piece)
    ]


def links_by_layer(source: SentencePieces, target: SentencePieces) -> list[frozenset[WordLink]]:
    """Mutual argmax at every layer."""
    return [_links(mutual_argmax, source, target, layer) for layer in range(len(source.states))]


def _words_of_piece(groups: Sequence[Sequence[int]]) -> WordsOfPositions:
    owners: WordsOfPositions = {}
    for word, positions in enumerate(groups):
        for position in positions:
            owners.setdefault(position, []).append(word)
    return owners


# The states of both sides' pieces to (I, J) booleans.
Extraction = Callable[[np.ndarray, np.ndarray], np.ndarray]

# Ways to extract links; the first one is reported.
EXTRACTIONS: Mapping[str, Extraction] = {
    "argmax": mutual_argmax,
    "itermax": itermax,
    "softmax": softmax_both_ways,
}


def word_links(
    links: np.ndarray, source_words: Sequence[Sequence[int]], target_words: Sequence[Sequence[int]]
) -> frozenset[WordLink]:
    """Two words are linked if a piece of one is linked to a piece of the other.

    Args:
        source_words: for each source piece, the words that it belongs to.
    """
    return frozenset(
        (source, target)
        for i, j in zip(*np.nonzero(links), strict=True)
        for source in source_words[i]
        for target in target_words[j]
    )


class AlignmentScore(NamedTuple):
    """All 0–100; the lower `aer`, the better."""

    aer: float
    precision: float
    recall: float


def score_alignments(gold: Sequence[GoldLinks], predictions: Iterable[AbstractSet[WordLink]]) -> AlignmentScore:
    """Links are counted over all pairs together. Without any predicted link, precision is 0.

    Raises:
        InputError: no gold link is sure, so recall and AER are undefined.
    """
    predicted = in_sure = in_possible = sure = 0
    for pair, links in zip(gold, predictions, strict=True):
        predicted += len(links)
        sure += len(pair.sure)
        in_sure += len(links & pair.sure)
        in_possible += len(links & pair.possible)
    if sure == 0:
        raise InputError("the gold contains no sure links (written i-j). Recall and AER are undefined without them.")
    return AlignmentScore(
        aer=100.0 * (1.0 - (in_sure + in_possible) / (predicted + sure)),
        precision=100.0 * in_possible / predicted if predicted else 0.0,
        recall=100.0 * in_sure / sure,
    )


def alignment_shares(
    gold: Sequence[GoldLinks], predictions: Iterable[AbstractSet[WordLink]], numbers: Iterable[int]
) -> Iterator[dict[str, int]]:
    """The counts of each pair, by its number; the figures follow from their sums."""
    for number, pair, links in zip(numbers, gold, predictions, strict=True):
        yield {
            "id": number,
            "in_sure": len(links & pair.sure),
            "in_possible": len(links & pair.possible),
            "predicted": len(links),
            "sure": len(pair.sure),
        }


def score_files(
    gold: Path, predictions: Path, gold_from: int | None = None, predictions_from: int | None = None
) -> AlignmentScore:
    """Args: `gold_from` and `predictions_from`: the number of a sentence's first word in each file; None expects 0.

    Raises:
        InputError: a line is malformed, a file counts words from 1 although 0 is expected, the files differ in length,
            or no gold link is sure.
    """
    gold_links = read_gold(gold, gold_from)
    predicted = read_predicted_links(predictions)
    if len(gold_links) != len(predicted):
        raise InputError(
            f"{gold} has {len(gold_links):,} lines but {predictions} has {len(predicted):,}: line k of one must belong "
            "to line k of the other. Give one line of links for each pair, empty for a pair without links."
        )
    if predictions_from is None and _predicted_from_1(gold_links, predicted):
        raise InputError(
            f"{predictions} seems to count words from 1: no link contains a 0, and more links are gold after "
            "subtracting 1 from both numbers. Give --predictions-from 1 if it does, else --predictions-from 0."
        )
    predicted = from_0(predicted, predictions_from or 0, predictions, "--predictions-from")
    try:
        return score_alignments(gold_links, predicted)
    except InputError as error:
        raise InputError(f"{gold}: {error}") from None


def _predicted_from_1(gold: Sequence[GoldLinks], predicted: Sequence[frozenset[WordLink]]) -> bool:
    """A poor aligner may leave all first words unlinked, so a missing 0 alone is not enough evidence here."""
    if counted_from_1(predicted) is None:
        return False
    hits = [0, 0]
    for pair, links in zip(gold, predicted, strict=True):
        for first in (0, 1):
            hits[first] += len(pair.possible & {(i - first, j - first) for i, j in links})
    return hits[1] > hits[0]


def _score_files(request: Request) -> ScoringResult:
    files = request.gold, request.predictions
    return ScoringResult(score_files(*files, request.gold_from, request.predictions_from)._asdict())


# A gold set goes by its pair or, given as a language, by the file's own name: `--languages en-fr,ro-en`.
_NAMES = ("{split}.{pair}", "{pair}.{split}", "{pair}", "{language}.{split}", "{language}")
FILES = tuple(tuple(f"{name}.{suffix}" for name in _NAMES) for suffix in ("src-tgt", "gold"))
PUBLISHED = (
    "github.com/neulab/awesome-align, README (de-en, en-fr, ro-en, ja-en, zh-en); github.com/SapienzaNLP/XL-WA (en-es, "
    "en-ru and others); web.eecs.umich.edu/~mihalcea/wpt05 (en-hi)"
)

BENCHMARK = Benchmark(
    name="word-alignment",
    summary="links from the model's states against hand-made ones",
    languages=None,
    files=FILES,
    read=read_alignment,
    reads_links=True,
    chooses_layer=True,
    measure=measure_word_alignment,
    metric="aer",
    citation="Och & Ney 2003 (AER); Jalili Sabet et al. 2020 (argmax)",
    published=PUBLISHED,
    scoring=Scoring(
        gold="one line a pair: sure links i-j and possible links ipj, words counted from 0 (or --gold-from 1)",
        predictions="one line a pair: links i-j, words counted from 0 (or --predictions-from 1)",
        metrics=("aer", "precision", "recall"),
        score=_score_files,
        citation="Och & Ney 2003",
    ),
)
