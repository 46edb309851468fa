"""Raw pairs to a data-bin, stage by stage: read, tokenizer, pieces, words, links, piece links, files."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from . import aligners, databin, destination, manifest, tokenizer_folder
from .aligners.precomputed import PrecomputedLinks, agree_on_probabilities
from .corpus import Corpus, PairSpec, SentencePair, nothing_kept, read_corpus, read_excluded
from .errors import InputError
from .pieces import Pieces, PieceTokenizer
from .projection import project, project_probabilities, touching_pieces, word_of_each_piece
from .words import Span, segmenter

NO_PIECES = "no pieces"
SPECIAL = "special piece in the text"


@dataclass(frozen=True)
class Options:
    """What `weam-preprocess` was asked to do. Exactly one of `tokenizer` and `train_tokenizer` is given."""

    pairs: tuple[PairSpec, ...]
    destdir: Path
    tokenizer: Path | None = None
    train_tokenizer: str | None = None
    vocab_size: int = 0
    aligner: str = "fast_align"
    symmetrize: str = "intersect"
    links: dict[str, Path] = field(default_factory=dict)
    max_pieces: int = 128
    valid_size: int = 0
    exclude: tuple[Path, ...] = ()
    seed: int = 1
    overwrite: bool = False


class EncodedPair(NamedTuple):
    pair: SentencePair
    source: Pieces
    target: Pieces


class PairReport(NamedTuple):
    """Counts of one language pair, train and valid together; shares are of pieces, both as (source, target).

    `probabilities` says whether the links have them.
    """

    corpus: Corpus
    train: int
    valid: int
    word_links: int
    piece_links: int
    linked_pieces: tuple[float, float]
    pieces_per_word: tuple[float, float]
    probabilities: bool


class Report(NamedTuple):
    pairs: list[PairReport]
    aligner: str
    probabilities: bool
    vocab_size: int
    seconds: dict[str, float]


class _Stages:
    """Seconds per stage, added up over the pairs."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def run(options: Options) -> Report:
    """Makes `options.destdir`. Raises InputError for the user's data and flags; then nothing is left behind."""
    destination.check(options.destdir, options.overwrite)
    _check_links(options)
    databin.require_fairseq()
    stages = _Stages()
    with stages("read"):
        excluded = read_excluded(options.exclude)
        corpora = [read_corpus(spec, excluded) for spec in options.pairs]
    precomputed = {c.spec.name: PrecomputedLinks(options.links[c.spec.name], c.read) for c in corpora if options.links}
    agree_on_probabilities(precomputed.values())
    with destination.whole_or_nothing(options.destdir) as folder:
        with stages("tokenizer"):
            tokenizer = _make_tokenizer(options, corpora, folder / "tokenizer")
            space = databin.IdSpace(tokenizer.ids, tokenizer.special_ids)
        reports = []
        for corpus in corpora:
            aligner = precomputed.get(corpus.spec.name) or aligners.build(options.aligner, options.seed)
            reports.append(_run_pair(options, corpus, tokenizer, space, aligner, folder, stages))
        probabilities = any(report.probabilities for report in reports)
        assert probabilities == all(report.probabilities for report in reports)
        with stages("write"):
            dictionaries = [folder / f"dict.{lang}.txt" for lang in _languages(options.pairs)]
            for file in dictionaries:
                databin.write_dictionary(space, file)
        content = {
            "pairs": {report.corpus.spec.name: _describe_pair(report) for report in reports},
            "tokenizer": manifest.describe_tokenizer(folder / "tokenizer", tokenizer),
            "dictionary": {"size": space.size, "sha256": manifest.sha256(dictionaries[0])},
            "aligner": _describe_aligner(options, aligner, probabilities),
            "options": _describe_options(options),
            "versions": manifest.versions(),
            "seed": options.seed,
            "seconds": {name: round(seconds, 2) for name, seconds in stages.seconds.items()},
        }
        manifest.write(folder, content)
    return Report(reports, aligner.name, probabilities, space.size, stages.seconds)


def _check_links(options: Options) -> None:
    names = [spec.name for spec in options.pairs]
    if options.links and options.aligner != "precomputed":
        raise InputError(f"--links needs --aligner precomputed, but the aligner is {options.aligner}.")
    for name in options.links:
        if name not in names:
            raise InputError(f"--links {name}: there is no such --pair; the pairs are {', '.join(names)}.")
    if options.aligner == "precomputed":
        for name in names:
            if name not in options.links:
                raise InputError(f"--aligner precomputed needs the links of {name}: add --links {name}=FILE.")


def _languages(specs: Iterable[PairSpec]) -> list[str]:
    return sorted({lang for spec in specs for lang in (spec.source_lang, spec.target_lang)})


def _make_tokenizer(options: Options, corpora: Sequence[Corpus], folder: Path) -> PieceTokenizer:
    if options.tokenizer is not None:
        tokenizer_folder.make(options.tokenizer, folder)
    else:
        sentences = [text for corpus in corpora for pair in corpus.pairs for text in (pair.source, pair.target)]
        tokenizer_folder.train_wordpiece(sentences, options.vocab_size, folder)
    return PieceTokenizer(folder)


def _run_pair(
    options: Options,
    corpus: Corpus,
    tokenizer: PieceTokenizer,
    space: databin.IdSpace,
    aligner: aligners.Aligner,
    folder: Path,
    stages: _Stages,
) -> PairReport:
    spec = corpus.spec
    with stages("pieces"):
        kept = _encode(corpus, tokenizer, options.max_pieces)
    with stages("words"):
        source_words = _word_spans(corpus, spec.source_lang, [item.pair.source for item in kept])
        target_words = _word_spans(corpus, spec.target_lang, [item.pair.target for item in kept])
    with stages("align"):
        alignments = _align(aligner, kept, source_words, target_words, options.symmetrize)
    with stages("project"):
        probabilities = repeat(None, len(kept)) if alignments.probabilities is None else alignments.probabilities
        items = zip(kept, source_words, target_words, alignments.links, probabilities, strict=True)
        binarized = [_binarize(*item) for item in _bar(items, len(kept), spec, "project")]
    with stages("write"):
        valid, train = _split(binarized, options.valid_size, options.seed, spec.name)
        languages = (spec.source_lang, spec.target_lang)
        databin.write_split(folder, "train", languages, train, space)
        if valid:
            databin.write_split(folder, "valid", languages, valid, space)
    return PairReport(
        corpus,
        len(train),
        len(valid),
        sum(map(len, alignments.links)),
        sum(len(pair.piece_links) for pair in binarized),
        _linked_shares(binarized),
        (_per_word((i.source for i in kept), source_words), _per_word((i.target for i in kept), target_words)),
        alignments.probabilities is not None,
    )


def _encode(corpus: Corpus, tokenizer: PieceTokenizer, max_pieces: int) -> list[EncodedPair]:
    """Pieces of both sides; pairs that cannot be used as they are go to `corpus.dropped`. Nothing is ever cut."""
    sources = tokenizer.encode([pair.source for pair in corpus.pairs])
    targets = tokenizer.encode([pair.target for pair in corpus.pairs])
    too_long = f"over {max_pieces} pieces"
    kept = []
    for item in _bar(zip(corpus.pairs, sources, targets, strict=True), len(corpus.pairs), corpus.spec, "pieces"):
        encoded = EncodedPair(*item)
        ids, more = encoded.source.ids, encoded.target.ids
        if not ids or not more:
            corpus.dropped[NO_PIECES] += 1
        elif not tokenizer.reserved_ids.isdisjoint(ids) or not tokenizer.reserved_ids.isdisjoint(more):
            corpus.dropped[SPECIAL] += 1
        elif len(ids) + len(more) + tokenizer.pair.special_pieces > max_pieces:
            corpus.dropped[too_long] += 1
        else:
            kept.append(encoded)
    if not kept:
        raise nothing_kept(corpus)
    return kept


def _word_spans(corpus: Corpus, lang: str, sentences: Sequence[str]) -> list[list[Span]]:
    segment = segmenter(lang)
    before = segment.by_white_space
    bar = tqdm(sentences, desc=f"words ({lang})", unit=" sentences", leave=False, disable=None)
    spans = [segment.spans(sentence) for sentence in bar]
    if rewritten := segment.by_white_space - before:
        corpus.repaired[f"{lang} words by white space"] += rewritten
    return spans


def _align(
    aligner: aligners.Aligner,
    kept: Sequence[EncodedPair],
    source_words: Sequence[Sequence[Span]],
    target_words: Sequence[Sequence[Span]],
    symmetrize: str,
) -> aligners.Alignments:
    if isinstance(aligner, PrecomputedLinks):
        aligner.line_idxs = [item.pair.line_idx for item in kept]
    pairs = [
        ([item.pair.source[a:b] for a, b in source], [item.pair.target[a:b] for a, b in target])
        for item, source, target in zip(kept, source_words, target_words, strict=True)
    ]
    alignments = aligner.align(pairs, symmetrize)
    assert len(alignments.links) == len(pairs)
    return alignments


def _binarize(
    item: EncodedPair,
    source_words: list[Span],
    target_words: list[Span],
    word_links: list[aligners.Link],
    probabilities: list[float] | None,
) -> databin.BinarizedPair:
    source_touched = touching_pieces(source_words, item.source.spans)
    target_touched = touching_pieces(target_words, item.target.spans)
    return databin.BinarizedPair(
        item.source.ids,
        item.target.ids,
        word_of_each_piece(source_words, item.source.spans, source_touched),
        word_of_each_piece(target_words, item.target.spans, target_touched),
        project(word_links, source_touched, target_touched),
        None
        if probabilities is None
        else project_probabilities(word_links, probabilities, source_touched, target_touched),
    )


def _split(
    pairs: Sequence[databin.BinarizedPair], valid_size: int, seed: int, name: str
) -> tuple[list[databin.BinarizedPair], list[databin.BinarizedPair]]:
    """Draws `valid_size` pairs by (seed, pair name); both parts keep the order of the input."""
    if valid_size >= len(pairs):
        raise InputError(
            f"{name}: --valid-size {valid_size:,} leaves nothing to train on, since {len(pairs):,} pairs are kept. "
            "Choose a smaller one."
        )
    drawn = set(random.Random(f"{seed}:{name}").sample(range(len(pairs)), valid_size))
    valid = [pair for index, pair in enumerate(pairs) if index in drawn]
    return valid, [pair for index, pair in enumerate(pairs) if index not in drawn]


def _linked_shares(pairs: Sequence[databin.BinarizedPair]) -> tuple[float, float]:
    linked: Counter[str] = Counter()
    for pair in pairs:
        linked["source"] += len({p for p, _ in pair.piece_links})
        linked["target"] += len({q for _, q in pair.piece_links})
    source_pieces = sum(len(pair.source_ids) for pair in pairs)
    target_pieces = sum(len(pair.target_ids) for pair in pairs)
    return linked["source"] / source_pieces, linked["target"] / target_pieces


def _per_word(pieces: Iterable[Pieces], words: Sequence[Sequence[Span]]) -> float:
    return sum(len(sentence.ids) for sentence in pieces) / sum(map(len, words))


def _bar(items: Iterable[Any], total: int, spec: PairSpec, stage: str) -> Iterable[Any]:
    return tqdm(items, total=total, desc=f"{stage} ({spec.name})", unit=" pairs", leave=False, disable=None)


def _describe_pair(report: PairReport) -> dict[str, Any]:
    spec = report.corpus.spec
    languages = (spec.source_lang, spec.target_lang)
    return {
        "inputs": [file._asdict() for file in report.corpus.inputs],
        "read": report.corpus.read,
        "dropped": dict(sorted(report.corpus.dropped.items())),
        "repaired": dict(sorted(report.corpus.repaired.items())),
        "train": report.train,
        "valid": report.valid,
        "word_links": report.word_links,
        "piece_links": report.piece_links,
        "linked_pieces": {lang: round(x, 4) for lang, x in zip(languages, report.linked_pieces, strict=True)},
        "pieces_per_word": {lang: round(x, 4) for lang, x in zip(languages, report.pieces_per_word, strict=True)},
        "words": {lang: segmenter(lang).name for lang in languages},
    }


def _describe_aligner(options: Options, aligner: aligners.Aligner, probabilities: bool) -> dict[str, Any]:
    given = options.aligner == "precomputed"
    return {
        "name": aligner.name,
        # Each pair has a links file of its own: their hashes stand under "options".
        "version": "as given" if given else aligner.version,
        "symmetrize": "as given" if given else options.symmetrize,
        "probabilities": probabilities,
    }


def _describe_options(options: Options) -> dict[str, Any]:
    """Names of files, never their folders: the same run elsewhere gives the same manifest."""
    return {
        "pairs": [f"{spec.name}={','.join(file.name for file in spec.files)}" for spec in options.pairs],
        "tokenizer": options.tokenizer.name if options.tokenizer else None,
        "train_tokenizer": options.train_tokenizer,
        "vocab_size": options.vocab_size or None,
        "aligner": options.aligner,
        "symmetrize": options.symmetrize,
        "links": {name: {"file": f.name, "sha256": manifest.sha256(f)} for name, f in sorted(options.links.items())},
        "max_pieces": options.max_pieces,
        "valid_size": options.valid_size,
        "exclude": [{"file": file.name, "sha256": manifest.sha256(file)} for file in options.exclude],
        "seed": options.seed,
    }
