"""`weam-preprocess`: the command line. Exit code 0, or 2 and one line that tells what is wrong and what to do."""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from collections.abc import Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weam_fairseq.common.arguments import CommandParser, natural, positive
from weam_fairseq.common.command import run_command
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.slurm import OPTION_HELP, sbatch_options

# Only what --help needs is imported here; the rest is imported when a run starts.
from . import aligners, words
from .run_options import SAMPLED, TOKENIZER_SAMPLE, TRAINED, Options, languages_of

if TYPE_CHECKING:
    from .cluster import ClusterOptions

_EXAMPLE = """\
example:
  weam-preprocess --pair en-de=bitext/en-de.tsv.xz --pair en-zh=bitext/train.en,bitext/train.zh \\
      --train-tokenizer wordpiece --vocab-size 16000 --valid-size 500 --exclude test.tsv --destdir data-bin

Reads sentence pairs, finds the words that translate each other, and writes a data-bin for weam-train: the links
between subword pieces, the dictionaries, the Hugging Face tokenizer and a manifest.
"""


_RESUME = "Finished parts are kept: run the command again with --resume."


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    logging.basicConfig(format="weam-preprocess: %(message)s", level=logging.WARNING, stream=sys.stderr)
    return run_command("weam-preprocess", lambda: _run(argv), _RESUME)


def _run(argv: Sequence[str] | None) -> None:
    arguments = _parser().parse_args(argv)
    from . import pipeline
    from .report import render

    print(render(pipeline.run(_options(arguments))))
    print(f"next: {_next_command(arguments)}")


def _next_command(arguments: argparse.Namespace) -> str:
    start = ["--arch", "weam_small"]
    if (given := arguments.tokenizer) is not None:
        # A vocabulary or a folder with only a tokenizer is no model.
        is_model = not given.exists() or (given / "config.json").is_file()
        start = ["--from", str(given) if is_model else "ENCODER"]
    valid = [] if arguments.valid_size else ["--disable-validation"]
    return shlex.join(["weam-train", str(arguments.destdir), *start, "--save-dir", "RUN", *valid])


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="weam-preprocess",
        description="Turns raw sentence pairs into a fairseq data-bin with links between subword pieces.",
        epilog=_EXAMPLE,
    )
    text = parser.add_argument_group("text")
    text.add_argument("--pair", action="append", required=True, metavar="EN-DE=FILE", help=_PAIR_HELP)
    text.add_argument("--columns", type=_columns, metavar="SOURCE,TARGET", help=_COLUMNS_HELP)
    text.add_argument("--exclude", action="append", default=[], type=Path, metavar="FILE", help=_EXCLUDE_HELP)
    text.add_argument("--max-pieces", type=positive, default=128, metavar="N", help=_MAX_PIECES_HELP)
    text.add_argument("--valid-size", type=natural, default=0, metavar="N", help=_VALID_HELP)
    rules = parser.add_argument_group("cleaning (counted by reason; examples of dropped pairs are in dropped.tsv)")
    rules.add_argument(
        "--strict", action="store_true", help="stop at a line that cannot be read instead of dropping it"
    )
    rules.add_argument("--max-chars", type=natural, default=5_000, metavar="N", help=_MAX_CHARS_HELP)
    rules.add_argument("--max-ratio", type=_share, default=9.0, metavar="X", help=_MAX_RATIO_HELP)
    rules.add_argument("--drop-copies", action="store_true", help="drop pairs whose two sides are the same text")
    rules.add_argument("--min-language-score", type=_share, metavar="P", help=_LANGUAGE_HELP)
    segmentation = parser.add_argument_group("words")
    segmentation.add_argument("--words", action="append", default=[], metavar="JA=KIND", help=_WORDS_HELP)
    segmentation.add_argument("--given-words", action="append", default=[], metavar="EN-DE=FILE", help=_GIVEN_HELP)
    pieces = parser.add_argument_group("pieces (one of the first two is required)")
    source = pieces.add_mutually_exclusive_group(required=True)
    source.add_argument("--tokenizer", type=Path, metavar="DIR_FILE_OR_NAME", help=_TOKENIZER_HELP)
    source.add_argument("--train-tokenizer", choices=TRAINED, help="train a tokenizer on all pairs; needs --vocab-size")
    pieces.add_argument("--vocab-size", type=positive, metavar="N", help="pieces of the vocabulary to train")
    pieces.add_argument("--tokenizer-sample", type=positive, metavar="N", help=_SAMPLE_HELP)
    links = parser.add_argument_group("links")
    links.add_argument("--aligner", choices=aligners.NAMES, default=aligners.DEFAULT, help=_aligner_help())
    links.add_argument("--symmetrize", choices=aligners.SYMMETRIZATIONS, default="intersect", help=_SYMMETRIZE_HELP)
    links.add_argument("--aligner-model", action="append", default=[], metavar="[EN-DE=]DIR", help=_MODEL_HELP)
    links.add_argument("--save-aligner", type=Path, metavar="DIR", help=_SAVE_HELP)
    links.add_argument("--links", action="append", default=[], metavar="EN-DE=FILE", help=_LINKS_HELP)
    groups: dict[str, Any] = {}
    for field, names in _aligner_options().values():
        title = f"options of --aligner {', '.join(names)}"
        group = groups.setdefault(title, None) or parser.add_argument_group(title)
        groups[title] = group
        settings = dict(field.metadata)
        group.add_argument(settings.pop("flag"), dest=_dest(field), default=None, **settings)
    run = parser.add_argument_group("the run")
    run.add_argument("--destdir", type=Path, required=True, metavar="DATA_BIN", help="folder of the data-bin to write")
    run.add_argument("--overwrite", action="store_true", help="replace an existing data-bin")
    run.add_argument("--resume", action="store_true", help="continue an interrupted run with its finished parts")
    run.add_argument("--workers", type=positive, metavar="N", help=_WORKERS_HELP)
    run.add_argument("--explain", type=positive, metavar="N", help=_EXPLAIN_HELP)
    run.add_argument("--seed", type=natural, default=1, metavar="N", help=_SEED_HELP)
    cluster = parser.add_argument_group("chunks on other machines")
    cluster.add_argument("--cluster", choices=("local", "slurm"), default="local", help=_CLUSTER_HELP)
    cluster.add_argument("--cluster-option", action="append", default=[], metavar="NAME=VALUE", help=OPTION_HELP)
    cluster.add_argument("--cluster-chunks", type=positive, metavar="N", help=_CHUNKS_HELP)
    cluster.add_argument("--cluster-retries", type=natural, metavar="N", help=_RETRIES_HELP)
    return parser


_PAIR_HELP = (
    "a language pair and its text; repeatable, for more pairs and for more files of a pair. Text, plain or compressed "
    "(gzip, bzip2, xz, Zstandard): en-de=FILE.tsv (source, tab, target), en-de=FILE.en,FILE.de, or en-de=FILE.zip with "
    "two such files. Records: FILE.jsonl, a Parquet file (needs pyarrow), or hub:NAME[:CONFIGURATION[:SPLIT]], a "
    "dataset of the Hugging Face Hub or a local folder (needs datasets; default split: train), such as "
    "hub:Helsinki-NLP/opus_books:en-fr. Write a hyphen in a code as an underscore: en-zh_CN"
)
_COLUMNS_HELP = (
    "where the sentences of a one-file pair are: column numbers of tab-separated text, such as 3,4, or names in JSON "
    "Lines, Parquet or a data set, such as src,tgt or translation.en,translation.de (default: one tab between the "
    "sentences; in records, the codes of the pair, alone or inside `translation`)"
)
_EXCLUDE_HELP = (
    "drop pairs in which either sentence also occurs in FILE, as a line or as a tab-separated column (for example, "
    "your test set); repeatable"
)
_MAX_PIECES_HELP = "drop pairs of more than N pieces, including special pieces (default 128)"
_VALID_HELP = "hold out N pairs of each language pair for validation (default 0)"
_MAX_CHARS_HELP = "drop pairs with a side of more than N characters (default 5,000; 0: no limit)"
_MAX_RATIO_HELP = (
    "drop pairs whose longer side has more than X times the bytes of the shorter one (default 9, as in Moses; 0: no "
    "limit)"
)
_LANGUAGE_HELP = (
    "drop a pair if either sentence seems to be in the wrong language: the probability of the expected language "
    "divided by that of the likeliest one is below P (py3langid; default: no check)"
)
_WORDS_HELP = f"segmenter of a language: {', '.join(words.KINDS)} (default: by language); repeatable"
_GIVEN_HELP = (
    "take the words of a pair from FILE instead of a segmenter: a line `source words ||| target words` for each line "
    "of the input; repeatable"
)
_TOKENIZER_HELP = (
    "a Hugging Face tokenizer folder, a name on the Hugging Face Hub, a tokenizer.json, a WordPiece vocab.txt or a "
    "SentencePiece .model"
)
_SAMPLE_HELP = (
    f"train {' or '.join(SAMPLED)} on at most N sentences, drawn by --seed (default {TOKENIZER_SAMPLE:,}; all are "
    "held in memory); wordpiece always reads all sentences"
)
_SYMMETRIZE_HELP = "how the links of the two directions are joined (default intersect, which gives 1-1 links)"
_MODEL_HELP = (
    "apply trained aligners: the folder that --save-aligner wrote, or en-de=DIR for each pair (repeatable); with "
    "--aligner encoder, one Hugging Face folder for all pairs, or its name on the Hugging Face Hub"
)
_SAVE_HELP = "train the aligner on the kept pairs, take the links from it, and save the model of each pair as DIR/en-de"
_LINKS_HELP = (
    "for --aligner precomputed: file with one line of links for each line of the input; a link is i-j, "
    "where i and j number the words of --words (or of --given-words), or i-j:p with its probability p; repeatable"
)
_WORKERS_HELP = (
    "number of parallel processes (default 1), or of parallel Slurm tasks with --cluster slurm (default 100); the text "
    "is processed in chunks of 20,000 lines"
)
_EXPLAIN_HELP = "show what became of line N of each pair: its words, links and pieces, or why it was dropped"
_SEED_HELP = "seed of the validation draw, eflomal and --tokenizer-sample (default 1)"
_CLUSTER_HELP = (
    "local (default): processes of this machine; slurm: arrays of Slurm tasks, by submitit; the folder of --destdir "
    "must be one that all machines share"
)
_CHUNKS_HELP = "number of chunks for each Slurm task (default 25, which take a minute or more)"
_RETRIES_HELP = "how often to retry a Slurm task that failed or was killed (default 2)"


def _aligner_help() -> str:
    return "; ".join(
        [f"what finds the links (default {aligners.DEFAULT})", *(kind.summary for kind in aligners.kinds())]
    )


def _aligner_options() -> dict[str, tuple[Field[Any], list[str]]]:
    """For each option of an aligner, its field and the names of its aligners."""
    found: dict[str, tuple[Field[Any], list[str]]] = {}
    for kind in aligners.kinds():
        for field in fields(kind.options) if kind.options is not None else ():
            found.setdefault(field.metadata["flag"], (field, []))[1].append(kind.name)
    return found


def _dest(field: Field[Any]) -> str:
    return str(field.metadata["flag"]).lstrip("-").replace("-", "_")


def _columns(text: str) -> tuple[str, str]:
    parts = text.split(",")
    numbers = [part.isascii() and part.isdigit() and int(part) > 0 for part in parts]
    if len(parts) != 2 or not all(parts) or numbers[0] != numbers[-1] or parts[0] == parts[1]:
        raise argparse.ArgumentTypeError(f"must be two column numbers from 1, or two keys, like 3,4, but is {text!r}")
    return parts[0], parts[1]


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number of at least 0, but is {text!r}")
    return value


def _options(arguments: argparse.Namespace) -> Options:
    """The arguments as plain values, for the rest of the code."""
    from .aligners import models
    from .cleaning import Rules
    from .corpus import parse_pair_files

    _check_tokenizer(arguments)
    kind = aligners.kind_of(arguments.aligner)
    if arguments.save_aligner is not None:
        models.check_trained(kind)
    pairs = tuple(parse_pair_files(arguments.pair))
    if arguments.columns is not None and all(len(files) == 2 for pair in pairs for files in pair.parts):
        raise InputError("--columns is for pairs in one file, but every --pair has two files. Leave it out.")
    return Options(
        pairs=pairs,
        destdir=arguments.destdir,
        tokenizer=_tokenizer(arguments.tokenizer),
        train_tokenizer=arguments.train_tokenizer,
        vocab_size=arguments.vocab_size or 0,
        tokenizer_sample=arguments.tokenizer_sample or TOKENIZER_SAMPLE,
        aligner=arguments.aligner,
        aligner_options=_options_of_aligner(arguments),
        symmetrize=arguments.symmetrize,
        aligner_models=models.parse_models(arguments.aligner_model, kind, [pair.name for pair in pairs]),
        save_aligner=arguments.save_aligner,
        links=_files("--links", arguments.links),
        given_words=_files("--given-words", arguments.given_words),
        words=_words(arguments.words, languages_of(pairs)),
        max_pieces=arguments.max_pieces,
        rules=Rules(
            strict=arguments.strict,
            max_chars=arguments.max_chars or None,
            max_ratio=arguments.max_ratio or None,
            drop_copies=arguments.drop_copies,
            min_language_score=arguments.min_language_score,
            columns=arguments.columns,
        ),
        valid_size=arguments.valid_size,
        exclude=tuple(arguments.exclude),
        seed=arguments.seed,
        overwrite=arguments.overwrite,
        resume=arguments.resume,
        workers=arguments.workers or 1,
        cluster=_cluster(arguments),
        explain=arguments.explain,
    )


def _check_tokenizer(arguments: argparse.Namespace) -> None:
    if arguments.train_tokenizer and not arguments.vocab_size:
        raise InputError("--train-tokenizer needs --vocab-size N, the number of pieces.")
    if arguments.tokenizer and arguments.vocab_size:
        raise InputError("--vocab-size is for --train-tokenizer: a --tokenizer has its own size. Leave it out.")
    if arguments.tokenizer_sample and arguments.train_tokenizer not in SAMPLED:
        raise InputError(
            f"--tokenizer-sample is for --train-tokenizer {' and '.join(SAMPLED)}, which hold all sentences in memory. "
            "Leave it out."
        )


def _tokenizer(given: Path | None) -> Path | None:
    """The file or folder. A name on the Hugging Face Hub becomes the folder of its download."""
    from weam_fairseq.common.hub import is_name, resolve

    if given is None or given.suffix in (".json", ".txt", ".model") or not is_name(given):
        return given
    return resolve(given, weights=False).folder


def _options_of_aligner(arguments: argparse.Namespace) -> Any:
    """An instance of the aligner's option class. Raises InputError for an option of another aligner."""
    chosen = aligners.kind_of(arguments.aligner).options
    given: dict[str, Any] = {}
    for flag, (field, names) in _aligner_options().items():
        value = getattr(arguments, _dest(field))
        if value is None or value == field.default:
            continue
        if arguments.aligner not in names:
            raise InputError(
                f"{flag} is for --aligner {', '.join(names)}, but the aligner is {arguments.aligner}. Leave it out."
            )
        given[field.name] = value
    return chosen(**given) if chosen is not None else None


def _cluster(arguments: argparse.Namespace) -> ClusterOptions | None:
    from .cluster import ClusterOptions

    parameters = sbatch_options(arguments.cluster_option)
    given = {
        "parameters": parameters or None,
        "chunks": arguments.cluster_chunks,
        "retries": arguments.cluster_retries,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if arguments.cluster == "local":
        if given:
            raise InputError("The options --cluster-… need --cluster slurm.")
        return None
    if arguments.workers is not None:
        given["tasks"] = arguments.workers
    return ClusterOptions(**given)


def _words(texts: Sequence[str], languages: Sequence[str]) -> dict[str, str]:
    found = _named("--words", "ja=KIND", texts)
    for language, kind in found.items():
        if language not in languages:
            raise InputError(f"--words {language}: no --pair has that language; they are {', '.join(languages)}.")
        if kind not in words.KINDS:
            raise InputError(f"--words {language} must be one of {', '.join(words.KINDS)}, but is {kind}.")
    return found


def _files(option: str, texts: Sequence[str]) -> dict[str, Path]:
    from .corpus import parse_path

    return {name: parse_path(file) for name, file in _named(option, "en-de=FILE", texts).items()}


def _named(option: str, form: str, texts: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE` options, each name once."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not value:
            raise InputError(f"{option} must be like {form}, but is {text!r}.")
        if name in found:
            raise InputError(f"{option} {name} is given twice.")
        found[name] = value
    return found


if __name__ == "__main__":
    sys.exit(main())
