"""A run as plain values: for the manifest, and for --resume, which must go on with the same run."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import align, aligners, language_id, manifest, tokenizer_folder
from .inputs import PairFiles
from .options import Options, languages_of
from .report import PairReport
from .words import segmenter


def fingerprint(options: Options, recipes: dict[str, aligners.Recipe]) -> dict[str, Any]:
    """What the parts of a run depend on. Files by size and time, which a resumed run can tell without reading them."""

    def seen(path: Path) -> list[Any]:
        if not path.exists():
            return [str(path), None]
        stat = path.stat()
        return [str(path), stat.st_size, stat.st_mtime_ns]

    files = [path for pair in options.pairs for part in pair.parts for path in part]
    files += [*options.exclude, *options.links.values(), *options.given_words.values()]
    files += [path for path in (options.tokenizer,) if path is not None]
    plain = {name: value for name, value in vars(options).items() if isinstance(value, str | int | None)}
    free = {"overwrite", "resume", "workers", "explain", "cluster", "save_aligner", "encoder"}
    built = {name: align.built(recipe) for name, recipe in recipes.items()}
    return {
        "options": {name: value for name, value in plain.items() if name not in free},
        "rules": asdict(options.rules),
        "words": options.words,
        # A segmenter's name has its version; which one a language gets depends on what is installed.
        "segmenters": {lang: segmenter(lang, options.words.get(lang)).name for lang in _cut_here(options)},
        "given_words": {name: str(file) for name, file in options.given_words.items()},
        "links": {name: str(file) for name, file in options.links.items()},
        # A version names the very model or program.
        "aligners": {name: [aligner.name, aligner.version] for name, aligner in built.items()},
        "save_aligner": options.save_aligner is not None,
        "encoder": asdict(options.encoder) if options.encoder else None,
        "pairs": [[pair.name, [[str(path) for path in part] for part in pair.parts]] for pair in options.pairs],
        "files": [seen(path) for path in files],
        "versions": versions(options),
    }


def _cut_here(options: Options) -> list[str]:
    """The languages that need a segmenter."""
    return languages_of(pair for pair in options.pairs if pair.name not in options.given_words)


def versions(options: Options) -> dict[str, str]:
    """Of what the run uses. Segmenters and aligners tell theirs elsewhere."""
    more = [language_id.PACKAGE] if options.rules.min_language_score is not None else []
    if options.train_tokenizer in tokenizer_folder.SAMPLED:
        more.append("sentencepiece")
    return manifest.versions(*more)


def describe_pair(report: PairReport, options: Options) -> dict[str, Any]:
    pair, account = report.pair, report.account
    languages = (pair.source_lang, pair.target_lang)
    return {
        "inputs": [[file._asdict() for file in part] for part in report.files],
        "read": account.read,
        "dropped": dict(sorted(account.dropped.items())),
        "repaired": dict(sorted(account.repaired.items())),
        "noted": dict(sorted(account.noted.items())),
        "train": report.train,
        "valid": report.valid,
        "word_links": report.word_links,
        "piece_links": report.piece_links,
        "linked_pieces": {lang: round(x, 4) for lang, x in zip(languages, report.linked_pieces, strict=True)},
        "pieces_per_word": {lang: round(x, 4) for lang, x in zip(languages, report.pieces_per_word, strict=True)},
        "unknown_pieces": {lang: round(x, 6) for lang, x in zip(languages, report.unknown_pieces, strict=True)},
        "words": {lang: _name_of_words(options, pair, lang) for lang in languages},
    }


def _name_of_words(options: Options, pair: PairFiles, lang: str) -> str:
    return "given" if pair.name in options.given_words else segmenter(lang, options.words.get(lang)).name


def describe_aligner(options: Options, reports: list[PairReport], probabilities: bool) -> dict[str, Any]:
    given = options.aligner == "precomputed"
    made_by = {report.pair.name: report.made_by for report in reports}
    cards = {name: by.card for name, by in made_by.items() if by.card is not None}
    # Each pair has a model of its own, and so has a version of its own; links files have their hashes under "options".
    versions = [by.card["version"] if by.card else by.version for by in made_by.values()]
    return {
        "name": reports[-1].made_by.name,
        "version": ", ".join(dict.fromkeys(versions)),
        **({"models": cards} if cards else {}),
        "symmetrize": "as given" if given else options.symmetrize,
        "probabilities": probabilities,
    }


def _describe_files(files: dict[str, Path]) -> dict[str, dict[str, str]]:
    return {name: {"file": file.name, "sha256": manifest.sha256(file)} for name, file in sorted(files.items())}


def describe_options(options: Options) -> dict[str, Any]:
    """Names of files, never their folders: the same run elsewhere gives the same manifest."""
    return {
        "pairs": [f"{p.name}={','.join(file.name for file in part)}" for p in options.pairs for part in p.parts],
        "tokenizer": options.tokenizer.name if options.tokenizer else None,
        "train_tokenizer": options.train_tokenizer,
        "vocab_size": options.vocab_size or None,
        "tokenizer_sample": options.tokenizer_sample if options.train_tokenizer in tokenizer_folder.SAMPLED else None,
        "aligner": options.aligner,
        "aligner_models": {name: folder.name for name, folder in sorted(options.aligner_models.items())},
        "save_aligner": options.save_aligner is not None,
        "aligner_implementation": options.aligner_implementation,
        "encoder": asdict(options.encoder) if options.encoder else None,
        "symmetrize": options.symmetrize,
        "links": _describe_files(options.links),
        "given_words": _describe_files(options.given_words),
        "words": options.words,
        "max_pieces": options.max_pieces,
        "rules": asdict(options.rules),
        "valid_size": options.valid_size,
        "exclude": [{"file": file.name, "sha256": manifest.sha256(file)} for file in options.exclude],
        "seed": options.seed,
    }
