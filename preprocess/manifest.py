"""manifest.json: records what made a data-bin, so that it can be made again and cannot be mistaken for another one.

The fingerprint of a run is here too. --resume compares it, because it must continue the same run.
"""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from weam_fairseq.common import hub
from weam_fairseq.common.files import file_sha256

from . import align, aligners
from .cleaning import LANGUAGE_PACKAGE
from .corpus import PairFiles
from .databin import MANIFEST
from .inputs import Digests
from .pieces import PairTemplate, PieceTokenizer
from .report import PairReport
from .run_options import SAMPLED, Options, languages_of
from .words import segmenter

FORMAT = "weam-data-bin/1"


# Name in the manifest -> distributions that may provide it; the first one that is installed counts.
_PACKAGES = {
    "numpy": ("numpy",),
    "tokenizers": ("tokenizers",),
    "transformers": ("transformers",),
    "fairseq": ("ve-fairseq", "fairseq"),
    "weam": ("weam-fairseq",),
}


def _rules(rules: Any) -> dict[str, Any]:
    """The rules as plain values; columns only if the user chose them."""
    return {name: value for name, value in asdict(rules).items() if name != "columns" or value is not None}


def write(folder: Path, content: dict[str, Any]) -> None:
    text = json.dumps({"format": FORMAT, **content}, indent=2, ensure_ascii=False) + "\n"
    # A file name that is not UTF-8 contains lone surrogates, which JSON cannot hold.
    readable = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    (folder / MANIFEST).write_text(readable, encoding="utf-8", newline="\n")


def fingerprint(options: Options, recipes: dict[str, aligners.AlignerRecipe], inputs: Digests) -> dict[str, Any]:
    """Everything that the parts of a run depend on. `inputs` are the `digests` of its inputs."""
    plain = {name: value for name, value in vars(options).items() if isinstance(value, str | int | None)}
    free = {"overwrite", "resume", "workers", "explain", "cluster", "save_aligner", "aligner_options"}
    # Files of links are among the inputs.
    reads_links = aligners.kind_of(options.aligner).reads_links
    built = {name: align.built(recipe) for name, recipe in recipes.items() if not reads_links}
    return {
        "options": {name: value for name, value in plain.items() if name not in free},
        "rules": _rules(options.rules),
        "words": options.words,
        # A segmenter's name contains its version; the installed packages decide which one a language gets.
        "segmenters": {lang: segmenter(lang, options.words.get(lang)).name for lang in _cut_here(options)},
        # A version identifies the exact model or program.
        "aligners": {name: [aligner.name, aligner.version] for name, aligner in built.items()},
        "save_aligner": options.save_aligner is not None,
        "aligner_options": asdict(options.aligner_options) if options.aligner_options else None,
        "pairs": [[pair.name, [len(part) for part in pair.parts]] for pair in options.pairs],
        "inputs": inputs,
        "versions": versions(options),
    }


def _cut_here(options: Options) -> list[str]:
    """The languages that need a segmenter."""
    return languages_of(pair for pair in options.pairs if pair.name not in options.given_words)


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
    given = aligners.kind_of(options.aligner).reads_links
    made_by = {report.pair.name: report.made_by for report in reports}
    cards = {name: by.card for name, by in made_by.items() if by.card is not None}
    # Each pair has its own model, and so its own version; the hashes of links files are under "options".
    versions = [by.card["version"] if by.card else by.version for by in made_by.values()]
    return {
        "name": reports[-1].made_by.name,
        "version": ", ".join(dict.fromkeys(versions)),
        **({"models": cards} if cards else {}),
        "symmetrize": "as given" if given else options.symmetrize,
        "probabilities": probabilities,
    }


def describe_options(options: Options, inputs: Digests) -> dict[str, Any]:
    """The options, with names of files but not their folders: the same run elsewhere gives the same manifest."""

    def described(option: str, files: dict[str, Path]) -> dict[str, dict[str, str | None]]:
        return {name: {"file": file.name, "sha256": inputs[f"{option} {name}"]} for name, file in files.items()}

    exclude = {str(number): file for number, file in enumerate(options.exclude, start=1)}
    return {
        "pairs": [f"{p.name}={','.join(file.name for file in part)}" for p in options.pairs for part in p.parts],
        "tokenizer": hub.label(options.tokenizer) if options.tokenizer else None,
        "train_tokenizer": options.train_tokenizer,
        "vocab_size": options.vocab_size or None,
        "tokenizer_sample": options.tokenizer_sample if options.train_tokenizer in SAMPLED else None,
        "aligner": options.aligner,
        "aligner_models": {name: hub.label(folder) for name, folder in sorted(options.aligner_models.items())},
        "save_aligner": options.save_aligner is not None,
        **_describe_aligner_options(options),
        "symmetrize": options.symmetrize,
        "links": described("--links", dict(sorted(options.links.items()))),
        "given_words": described("--given-words", dict(sorted(options.given_words.items()))),
        "words": options.words,
        "max_pieces": options.max_pieces,
        "rules": _rules(options.rules),
        "valid_size": options.valid_size,
        "exclude": list(described("--exclude", exclude).values()),
        "seed": options.seed,
    }


def _describe_aligner_options(options: Options) -> dict[str, Any]:
    """The options of the aligner, and the values that the manifest has for those of other aligners."""
    chosen = aligners.kind_of(options.aligner).options
    used = options.aligner_options or (chosen() if chosen else None)
    found: dict[str, Any] = {}
    for kind in aligners.kinds():
        found |= kind.describe_options(used if kind.options is chosen else None)
    return found


def describe_tokenizer(folder: Path, tokenizer: PieceTokenizer) -> dict[str, Any]:
    """All ids are the tokenizer's own."""
    return {
        "folder": folder.name,
        "vocab_size": len(tokenizer.ids),
        # Two vocabularies are the same if this is equal, whatever files they came in.
        "pieces_sha256": tokenizer.pieces_sha256(),
        # Two tokenizers with the same pieces may still differ, such as a cased and an uncased one.
        "behaviour_sha256": tokenizer.behaviour_sha256(),
        "sha256": {file.name: file_sha256(file) for file in sorted(folder.iterdir())},
        "lower_cases": tokenizer.lower_cases,
        "strips_accents": tokenizer.strips_accents,
        "special_ids": tokenizer.special_ids,
        "all_special_ids": tokenizer.all_special_ids,
        "template": {"pair": _describe_template(tokenizer.pair), "single": _describe_template(tokenizer.single)},
    }


def _describe_template(template: PairTemplate) -> dict[str, Any]:
    return {"ids": template.ids, "segments": template.segments}


def versions(options: Options) -> dict[str, str]:
    """The versions of what a run uses. Segmenters and aligners give their own."""
    more = [LANGUAGE_PACKAGE] if options.rules.min_language_score is not None else []
    if options.train_tokenizer in SAMPLED:
        more.append("sentencepiece")
    packages = {**_PACKAGES, **{name: (name,) for name in more}}
    return {"python": platform.python_version(), **{name: _version(*dists) for name, dists in packages.items()}}


def _version(*distributions: str) -> str:
    for distribution in distributions:
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return "unknown"
