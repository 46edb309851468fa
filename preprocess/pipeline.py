"""The order of the stages: prepare each chunk, mark duplicates, align, binarize each chunk, merge.

Memory holds one chunk for each worker, 16 bytes for each pair, and the tables of the aligner. Every chunk's part of
every stage is a file (work.py). So an interrupted run can be resumed, and the number of workers does not change the
result.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import file_sha256

from . import align, aligners, binarize, databin, explain, manifest, tokenizer_folder
from .aligners import models
from .binarize import Binarization, merge
from .cleaning import NOT_ONE_TAB, read_excluded, scorers
from .cluster import Cluster
from .corpus import InputFile, PairFiles
from .given_words import GivenWords
from .inputs import Digests, copied, digests, input_name
from .kept_pairs import mark_kept
from .pieces import PieceTokenizer
from .prepare import SIDES, Preparation, is_prepared, prepare, read_account, write_excluded
from .raw import RawReader
from .report import DROPPED_FILE, Account, MadeBy, PairReport, Report, add_up, unknown_warnings, write_dropped
from .run_options import SAMPLED, Options, check_links, languages_of
from .tokenizer_text import TokenizerText
from .words import check_segmenters
from .work import FOLDER, MARKER, Work, check_destdir, remove_unknown, resumable, written
from .workers import Pool, Workers

log = logging.getLogger(__name__)


class _Prepared(NamedTuple):
    """One language pair after the first stage: its settings, its chunks, its files, and what became of its lines."""

    how: Preparation
    chunks: range
    files: list[tuple[InputFile, ...]]
    account: Account


@dataclass
class _Run:
    """What all stages of a run use. `seconds`: of each stage, for all language pairs together."""

    options: Options
    inputs: Digests
    folder: Path
    work: Work
    pool: Pool
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def run(options: Options) -> Report:
    """Writes `options.destdir`.

    Raises:
        InputError: the user's data or options are wrong. Partial output is deleted unless `options.resume` is set.
        Unfinished: the machine failed. Finished parts are kept, and `resume` continues with them, as after an OSError.
    """
    check_destdir(options.destdir, options.overwrite)
    check_links(options)
    recipes = _recipes(options)
    _check_packages(options)
    with ExitStack() as stack:
        folder = stack.enter_context(resumable(options.destdir, resume=options.resume, overwrite=options.overwrite))
        remove_unknown(folder, keep=MARKER)
        options = stack.enter_context(copied(options, folder / "inputs"))
        start = time.perf_counter()
        inputs = digests(options)
        seconds = {"digests": time.perf_counter() - start}
        work = Work(folder / FOLDER, manifest.fingerprint(options, recipes, inputs))
        pool = Workers(options.workers) if options.cluster is None else Cluster(options.cluster, folder / "cluster")
        stack.enter_context(pool)
        run = _Run(options, inputs, folder, work, pool, seconds)
        report, failed = _run_stages(run, recipes)
        for copies in ("cluster", "inputs"):
            shutil.rmtree(folder / copies, ignore_errors=True)
        work.remove()
    if failed is not None:  # the data-bin is complete nevertheless
        raise failed
    return report


def _run_stages(run: _Run, recipes: dict[str, aligners.AlignerRecipe]) -> tuple[Report, Exception | None]:
    """Writes all files of the data-bin. Returns the report, and the error that --explain met, if any."""
    options, folder = run.options, run.folder
    with run.stage("read"):
        excluded = read_excluded(options.exclude)
    with run.stage("tokenizer"):
        tokenizer = _make_tokenizer(options, excluded, folder / "tokenizer")
        space = databin.IdSpace(tokenizer.ids, tokenizer.special_ids)
    prepared = {}
    for pair in options.pairs:
        with run.stage("words and pieces"):
            prepared[pair.name] = _prepare(run, pair, _preparation(run, pair, excluded, tokenizer))
    with run.stage("duplicates"):
        chunks = {name: found.chunks for name, found in prepared.items()}
        mark_kept(options, chunks, {name: found.account for name, found in prepared.items()}, run.work)
    recipes = _with_links(run, recipes, prepared)
    reports = [_finish_pair(run, pair, prepared[pair.name], space, recipes[pair.name]) for pair in options.pairs]
    probabilities = any(report.probabilities for report in reports)
    with run.stage("write"):
        dictionaries = [folder / f"dict.{lang}.txt" for lang in languages_of(options.pairs)]
        for file in dictionaries:
            databin.write_dictionary(space, file)
        write_dropped(folder / DROPPED_FILE, ((r.pair.name, r.files, r.account) for r in reports))
    content = {
        "pairs": {report.pair.name: manifest.describe_pair(report, options) for report in reports},
        "tokenizer": manifest.describe_tokenizer(folder / "tokenizer", tokenizer),
        "dictionary": {"size": space.size, "sha256": file_sha256(dictionaries[0])},
        "aligner": manifest.describe_aligner(options, reports, probabilities),
        "options": manifest.describe_options(options, run.inputs),
        "versions": manifest.versions(options),
        "seed": options.seed,
        "seconds": {name: round(seconds, 2) for name, seconds in run.seconds.items()},
    }
    if options.save_aligner is not None:
        for report in reports:
            assert report.made_by.model is not None
            models.save(report.made_by.model, options.save_aligner / report.pair.name)
    manifest.write(folder, content)
    explained, failed = _explain(options, prepared, tokenizer)
    return Report(reports, reports[-1].made_by.name, probabilities, space.size, run.seconds, explained), failed


def _check_packages(options: Options) -> None:
    """Raises InputError, before any work, for missing packages and for languages that a package does not know."""
    for pair in options.pairs:
        scorers(options.rules, (pair.source_lang, pair.target_lang))
    to_cut = [pair for pair in options.pairs if pair.name not in options.given_words]
    check_segmenters({language: options.words.get(language) for language in languages_of(to_cut)})


def _make_tokenizer(options: Options, excluded: Collection[str], folder: Path) -> PieceTokenizer:
    opened, copies = None, [folder]
    try:
        if not folder.exists():
            with written(folder) as partial:
                copies.insert(0, partial)
                if options.tokenizer is not None:
                    opened = tokenizer_folder.make(options.tokenizer, partial)
                else:
                    _train_tokenizer(options, excluded, partial)
        return PieceTokenizer(folder, opened)
    except InputError as error:
        if options.tokenizer is None:
            raise
        message = str(error)
        for copy in copies:  # the user knows the original only
            message = message.replace(str(copy), str(options.tokenizer))
        raise InputError(message) from error


def _train_tokenizer(options: Options, excluded: Collection[str], folder: Path) -> None:
    kind = options.train_tokenizer
    assert kind is not None
    most = options.tokenizer_sample if kind in SAMPLED else None
    sentences = TokenizerText(options.pairs, options.chunk, options.rules, excluded, most, options.seed)
    if len(sentences) < sentences.total:
        log.warning(
            "The tokenizer is trained on %s of %s sentences (--tokenizer-sample).",
            f"{len(sentences):,}",
            f"{sentences.total:,}",
        )
    tokenizer_folder.train_tokenizer(kind, sentences, options.vocab_size, folder)


def _preparation(run: _Run, pair: PairFiles, excluded: frozenset[str], tokenizer: PieceTokenizer) -> Preparation:
    """What workers need to know of a language pair. Large data is written to files for them."""
    how = Preparation(
        run.work,
        pair.name,
        (pair.source_lang, pair.target_lang),
        tokenizer.reserved_ids,
        tokenizer.pair.special_pieces,
        run.options.max_pieces,
        run.options.rules,
        run.options.words,
    )
    if not how.tokenizer.is_file():
        with written(how.tokenizer) as partial:
            partial.write_text(tokenizer.to_json(), encoding="utf-8")
    if not how.excluded.is_file():
        write_excluded(excluded, how.excluded)
    return how


def _prepare(run: _Run, pair: PairFiles, how: Preparation) -> _Prepared:
    options, work = run.options, run.work
    reader = RawReader(pair.parts, options.chunk)
    words = GivenWords(options.given_words[pair.name]) if pair.name in options.given_words else None
    count = 0

    def missing() -> Iterator[Any]:
        nonlocal count
        for chunk in reader:
            count = chunk.number + 1
            given = words.take(chunk.size) if words is not None else None
            if not is_prepared(work, pair.name, chunk.number):
                yield how, chunk._replace(given_words=given)

    with tqdm(desc=f"words and pieces ({pair.name})", unit=" chunks", leave=False, disable=None) as bar:
        for _ in run.pool.map(prepare, missing()):
            bar.update(1)
    read = {input_name(pair.name, n): file.sha256 for n, file in enumerate(chain(*reader.parts), start=1)}
    if words is not None:
        read[f"--given-words {pair.name}"] = words.finish()
    _check_unchanged(run, read)
    chunks = range(count)
    account = add_up(read_account(work, pair.name, number) for number in chunks)
    if not account.kept:
        raise _nothing_kept(pair, account)
    return _Prepared(how, chunks, reader.parts, account)


def _check_unchanged(run: _Run, read: dict[str, str]) -> None:
    """Raises InputError if a file has changed since its digest was taken, and removes the parts of the run."""
    changed = [name for name, digest in read.items() if run.inputs[name] != digest]
    if changed:
        run.work.remove()
        raise InputError(
            f"{changed[0]}: the file changed while it was read. When it is complete, run again without --resume."
        )


def _nothing_kept(pair: PairFiles, account: Account) -> InputError:
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in account.dropped.items())
    if account.dropped.keys() == {NOT_ONE_TAB}:
        return InputError(
            f"{pair.name}: none of {account.read:,} lines has exactly one tab. Give lines of {pair.source_lang}, tab, "
            f"{pair.target_lang}; or two files (--pair {pair.name}=FILE,FILE), or --columns for other columns."
        )
    return InputError(
        f"{pair.name}: none of {account.read:,} pairs is left (dropped: {reasons}). Check the files and languages "
        "of --pair, or relax the rules (weam-preprocess --help: cleaning, --max-pieces)."
    )


def _recipes(options: Options) -> dict[str, aligners.AlignerRecipe]:
    """How to build the aligner of each pair. Each is built here once, to find missing parts before any work."""
    kind, names = aligners.kind_of(options.aligner), [pair.name for pair in options.pairs]
    found = models.recipes(kind, names, options.aligner_models, options.seed, options.aligner_options)
    models.check_save(options.save_aligner, kind, names, options.aligner_models, options.destdir, options.resume)
    align.built.cache_clear()  # a folder may hold another model than in an earlier run of this process
    for recipe in () if kind.reads_links else found.values():
        align.built(recipe).check_symmetrize(options.symmetrize)
    if options.cluster is None:
        kind.check_machine(options.aligner_options)
    return found


def _with_links(
    run: _Run, recipes: dict[str, aligners.AlignerRecipe], prepared: dict[str, _Prepared]
) -> dict[str, aligners.AlignerRecipe]:
    """Opens the files of links, if the aligner reads any. Each must have one line for each line of the input."""
    kind, links = aligners.kind_of(run.options.aligner), run.options.links
    if not kind.reads_links:
        return recipes
    found = {
        name: replace(recipe, links=links[name], lines=sum(part[0].lines for part in prepared[name].files))
        for name, recipe in recipes.items()
    }
    opened: dict[str, Any] = {name: align.built(recipe) for name, recipe in found.items()}
    _check_unchanged(run, {f"--links {name}": aligner.sha256 for name, aligner in opened.items()})
    kind.check_together(list(opened.values()))
    return found


def _finish_pair(
    run: _Run, pair: PairFiles, prepared: _Prepared, space: databin.IdSpace, recipe: aligners.AlignerRecipe
) -> PairReport:
    """Aligns, projects and merges all chunks of a language pair."""
    options, work = run.options, run.work
    made_by = _align(run, pair, prepared, recipe)
    with run.stage("project"):
        how = Binarization(work, pair.name, space, made_by.max_words)
        todo = [n for n in prepared.chunks if not work.part(pair.name, "binarized", n).is_file()]
        with tqdm(total=len(todo), desc=f"project ({pair.name})", unit=" chunks", leave=False, disable=None) as bar:
            for _ in run.pool.map(binarize.binarize, ((how, number) for number in todo)):
                bar.update(1)
    with run.stage("write"):
        probabilities = merge(options, pair, prepared.chunks, space, run.folder, work)
    counts = binarize.read_counts(work, pair.name, prepared.chunks)
    prepared.account.noted.update(_noted(counts, pair, made_by))
    report = PairReport(
        pair,
        prepared.files,
        prepared.account,
        counts["pairs"] - options.valid_size,
        options.valid_size,
        counts["word_links"],
        counts["piece_links"],
        (counts["linked.source"] / counts["pieces.source"], counts["linked.target"] / counts["pieces.target"]),
        (counts["pieces.source"] / counts["words.source"], counts["pieces.target"] / counts["words.target"]),
        (counts["unknown.source"] / counts["pieces.source"], counts["unknown.target"] / counts["pieces.target"]),
        probabilities,
        made_by,
    )
    for warning in unknown_warnings(report):
        log.warning(warning)
    return report


def _noted(counts: dict[str, int], pair: PairFiles, made_by: MadeBy) -> Counter[str]:
    """Kept pairs without links, kept pairs that are too long for the aligner, and words that the tokenizer drops."""
    noted = Counter({"no word link": counts["unlinked"]})
    for side, language in zip(SIDES, (pair.source_lang, pair.target_lang), strict=True):
        noted[f"{language} words without pieces"] += counts[f"lost.{side}"]
    if made_by.max_words is not None:
        noted[f"over {made_by.max_words:,} words, which the aligner leaves without links"] = counts["too_long"]
    return +noted  # without zeros


def _align(run: _Run, pair: PairFiles, prepared: _Prepared, recipe: aligners.AlignerRecipe) -> MadeBy:
    """Makes the word links of all kept pairs. With --save-aligner, trains a model first."""
    how = align.Alignment(run.work, pair.name, recipe, run.options.symmetrize)
    if run.options.save_aligner is not None:
        with run.stage("train the aligner"):
            model = align.train(how, prepared.chunks, run.pool)
            # The model names its implementation, so the option must be left out.
            how = replace(how, recipe=replace(recipe, model=model, options=None))
    with run.stage("align"):
        aligner = align.built(how.recipe)
        align.align(how, prepared.chunks, aligner, run.pool)
        prepared.account.noted.update(align.read_noted(run.work, pair.name, prepared.chunks))
    return MadeBy(aligner.name, aligner.version, how.recipe.model, models.describe(how.recipe), aligner.max_words)


def _explain(
    options: Options, prepared: dict[str, _Prepared], tokenizer: PieceTokenizer
) -> tuple[list[str], Exception | None]:
    """The text for --explain, and the error that came instead: the data-bin must be kept nevertheless."""
    if options.explain is None:
        return [], None
    try:
        return [
            explain.render(
                prepared[pair.name].how,
                pair,
                prepared[pair.name].chunks,
                options.explain,
                tokenizer,
                options.given_words.get(pair.name),
            )
            for pair in options.pairs
        ], None
    except Exception as error:
        return [], error
