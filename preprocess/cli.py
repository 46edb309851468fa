"""`weam-preprocess`: the command line. Exit code 0, or 2 and one line that says what is wrong and what to do."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from . import aligners, pipeline, table, tokenizer_folder
from .cleaning import Rules
from .errors import InputError
from .inputs import parse_pair_files
from .words import KINDS

_EXAMPLE = """\
example:
  weam-preprocess --pair en-de=bitext/en-de.tsv.xz --pair en-zh=bitext/train.en,bitext/train.zh \\
      --train-tokenizer wordpiece --vocab-size 16000 --valid-size 500 --exclude test.tsv --destdir data-bin

Reads sentence pairs, finds which words translate each other, and writes a data-bin for fairseq-train with the
links between subword pieces, its dictionaries, its Hugging Face tokenizer and a manifest.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        """One line and exit code 2, like every other mistake; argparse would print the whole usage first."""
        raise InputError(f"{message[:1].upper()}{message[1:]}. See weam-preprocess --help.")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    logging.basicConfig(format="weam-preprocess: %(message)s", level=logging.WARNING, stream=sys.stderr)
    try:
        print(table.render(pipeline.run(_options(_parser().parse_args(argv)))))
    except InputError as error:
        print(f"weam-preprocess: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("weam-preprocess: interrupted; no data-bin was written.", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="weam-preprocess",
        description="Raw sentence pairs to a fairseq data-bin with links between subword pieces.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    text = parser.add_argument_group("text")
    text.add_argument(
        "--pair",
        action="append",
        required=True,
        metavar="EN-DE=FILE",
        help="en-de=FILE.tsv (source, tab, target) or en-de=FILE.en,FILE.de; .gz, .xz and .zst are read; repeatable, "
        "for more pairs and for more files of one",
    )
    text.add_argument("--exclude", action="append", default=[], type=Path, metavar="FILE", help=_EXCLUDE_HELP)
    text.add_argument("--max-pieces", type=_positive, default=128, metavar="N", help=_MAX_PIECES_HELP)
    text.add_argument("--valid-size", type=_natural, default=0, metavar="N", help="pairs held out per pair (default 0)")
    rules = parser.add_argument_group(
        "cleaning: what is dropped and mended, counted by reason, examples in dropped.tsv"
    )
    rules.add_argument("--strict", action="store_true", help="a line that cannot be read is an error, not dropped")
    rules.add_argument("--max-chars", type=_natural, default=5_000, metavar="N", help=_MAX_CHARS_HELP)
    rules.add_argument("--max-ratio", type=_share, default=9.0, metavar="X", help=_MAX_RATIO_HELP)
    rules.add_argument("--drop-copies", action="store_true", help="drop pairs whose sides are the same text")
    rules.add_argument("--keep-controls", action="store_true", help="leave control characters in the text")
    rules.add_argument("--min-language-score", type=_share, metavar="P", help=_LANGUAGE_HELP)
    words = parser.add_argument_group("words")
    words.add_argument("--words", action="append", default=[], metavar="JA=KIND", help=_WORDS_HELP)
    pieces = parser.add_argument_group("pieces: one of").add_mutually_exclusive_group(required=True)
    pieces.add_argument("--tokenizer", type=Path, metavar="DIR_OR_FILE", help=_TOKENIZER_HELP)
    pieces.add_argument(
        "--train-tokenizer", choices=tokenizer_folder.TRAINED, help="train one on all pairs; needs --vocab-size"
    )
    parser.add_argument("--vocab-size", type=_positive, metavar="N", help="pieces of the vocabulary that is trained")
    links = parser.add_argument_group("links")
    links.add_argument("--aligner", choices=aligners.NAMES, default="fast_align", help=_ALIGNER_HELP)
    links.add_argument(
        "--symmetrize",
        choices=aligners.SYMMETRIZATIONS,
        default="intersect",
        help="how the links of the two directions are joined (default intersect: 1-1 links)",
    )
    links.add_argument("--aligner-model", type=Path, metavar="DIR", help=_MODEL_HELP)
    links.add_argument("--links", action="append", default=[], metavar="EN-DE=FILE", help=_LINKS_HELP)
    parser.add_argument("--destdir", type=Path, required=True, metavar="DATA_BIN", help="folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace a data-bin that is there")
    parser.add_argument("--workers", type=_positive, default=1, metavar="N", help="processes for words and pieces (1)")
    parser.add_argument("--resume", action="store_true", help="go on with what an interrupted run left behind")
    parser.add_argument("--explain", type=_positive, metavar="N", help="show what became of line N of each pair")
    parser.add_argument("--seed", type=_natural, default=1, help="for the held-out draw and eflomal (default 1)")
    return parser


_EXCLUDE_HELP = "drop pairs either side of which is a line, or a tab-separated column of a line, of FILE; repeatable"
_MAX_CHARS_HELP = "characters of a side; longer ones are dropped (default 5,000; 0: no limit)"
_MAX_RATIO_HELP = (
    "longer side over shorter side, in bytes; above it pairs are dropped (default 9, Moses's; 0: no limit)"
)
_LANGUAGE_HELP = (
    "drop pairs a side of which scores less for its language (probability over the likeliest language's, py3langid)"
)
_WORDS_HELP = f"segmenter of a language, one of {', '.join(KINDS)} (default: by language); repeatable"
_MODEL_HELP = (
    "apply a trained aligner (weam_preprocess.aligners.train), or the Hugging Face encoder of --aligner encoder"
)
_MAX_PIECES_HELP = "pieces of a pair, special ones included; a longer pair is dropped and counted (default 128)"
_TOKENIZER_HELP = "a Hugging Face tokenizer folder, a tokenizer.json, or a WordPiece vocab.txt (taken as cased)"
_ALIGNER_HELP = (
    "fast_align (default) is the program if it is on the PATH, else sil-thot's model; "
    "hmm gives its links probabilities, precomputed those of its file"
)
_LINKS_HELP = (
    "for --aligner precomputed: lines of i-j over our words, or of i-j:p with the link's probability p, "
    "one for each line of the input; repeatable"
)


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, but is {text!r}")
    return int(text)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number from 0 on, but is {text!r}")
    return value


def _natural(text: str) -> int:
    return 0 if text == "0" else _positive(text)


def _options(arguments: argparse.Namespace) -> pipeline.Options:
    """Plain values go on from here."""
    if arguments.train_tokenizer and not arguments.vocab_size:
        raise InputError("--train-tokenizer needs --vocab-size N, the number of pieces.")
    if arguments.tokenizer and arguments.vocab_size:
        raise InputError("--vocab-size belongs to --train-tokenizer; --tokenizer has the size that it has.")
    return pipeline.Options(
        pairs=tuple(parse_pair_files(arguments.pair)),
        destdir=arguments.destdir,
        tokenizer=arguments.tokenizer,
        train_tokenizer=arguments.train_tokenizer,
        vocab_size=arguments.vocab_size or 0,
        aligner=arguments.aligner,
        symmetrize=arguments.symmetrize,
        aligner_model=arguments.aligner_model,
        links={name: Path(file) for name, file in _named("--links", "en-de=FILE", arguments.links).items()},
        words=_named("--words", "ja=KIND", arguments.words),
        max_pieces=arguments.max_pieces,
        rules=Rules(
            strict=arguments.strict,
            remove_controls=not arguments.keep_controls,
            max_chars=arguments.max_chars or None,
            max_ratio=arguments.max_ratio or None,
            drop_copies=arguments.drop_copies,
            min_language_score=arguments.min_language_score,
        ),
        valid_size=arguments.valid_size,
        exclude=tuple(arguments.exclude),
        seed=arguments.seed,
        overwrite=arguments.overwrite,
        resume=arguments.resume,
        workers=arguments.workers,
        explain=arguments.explain,
    )


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
