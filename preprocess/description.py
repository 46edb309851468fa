"""A run as plain values: for the manifest, and for --resume, which must continue the same run."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from weam_fairseq.common import hub, text_files

from . import align, aligners, language_id, manifest
from .inputs import PairFiles
from .options import SAMPLED, Options, languages_of
from .report import PairReport
from .words import segmenter

# No tokenizer is in them, and they are large.
_WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".h5", ".msgpack", ".onnx", ".ckpt", ".gguf"}


def digests(options: Options) -> dict[str, str | None]:
    """The SHA-256 of every input: a resumed run reads them all again before it uses a part that was made from them.

    Content decides, and neither names nor times: a pipe has another name in each run.
    Raises InputError for a file that cannot be read.
    """
    found: dict[str, Path] = {}
    for pair in options.pairs:
        files = [path for part in pair.parts for path in part]
        found |= {input_name(pair.name, number): path for number, path in enumerate(files, start=1)}
    found |= {f"--exclude {number}": path for number, path in enumerate(options.exclude, start=1)}
    found |= {f"--links {name}": path for name, path in options.links.items()}
    found |= {f"--given-words {name}": path for name, path in options.given_words.items()}
    return {
        **{name: text_files.sha256(path) for name, path in found.items()},
        "--tokenizer": None if options.tokenizer is None else _digest_of_tokenizer(options.tokenizer),
    }


def input_name(pair: str, number: int) -> str:
    """What `digests` calls a file of a pair, numbered from 1 through all its parts."""
    return f"--pair {pair} file {number}"


def _digest_of_tokenizer(path: Path) -> str | None:
    """Of a file, or of all files in a folder but model weights. None where there is none, which is an error later."""
    if not path.is_dir():
        return _sha256(path) if path.is_file() else None
    files = [file for file in sorted(path.iterdir()) if file.is_file() and file.suffix not in _WEIGHTS]
    listed = b"".join(os.fsencode(file.name) + f"\n{_sha256(file)}\n".encode() for file in files)
    return hashlib.sha256(listed).hexdigest()


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fingerprint(options: Options, recipes: dict[str, aligners.Recipe], inputs: dict[str, str | None]) -> dict[str, Any]:
    """What the parts of a run depend on. `inputs` are the `digests` of its inputs."""
    plain = {name: value for name, value in vars(options).items() if isinstance(value, str | int | None)}
    free = {"overwrite", "resume", "workers", "explain", "cluster", "save_aligner", "aligner_options"}
    # Files of links are among the inputs.
    reads_links = aligners.kind_of(options.aligner).reads_links
    built = {name: align.built(recipe) for name, recipe in recipes.items() if not reads_links}
    return {
        "options": {name: value for name, value in plain.items() if name not in free},
        "rules": asdict(options.rules),
        "words": options.words,
        # A segmenter's name has its version; which one a language gets depends on what is installed.
        "segmenters": {lang: segmenter(lang, options.words.get(lang)).name for lang in _cut_here(options)},
        # A version names the very model or program.
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


def versions(options: Options) -> dict[str, str]:
    """Of what the run uses. Segmenters and aligners tell theirs elsewhere."""
    more = [language_id.PACKAGE] if options.rules.min_language_score is not None else []
    if options.train_tokenizer in SAMPLED:
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
    given = aligners.kind_of(options.aligner).reads_links
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


def describe_options(options: Options, inputs: dict[str, str | None]) -> dict[str, Any]:
    """Names of files, never their folders: the same run elsewhere gives the same manifest."""

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
        "rules": asdict(options.rules),
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
