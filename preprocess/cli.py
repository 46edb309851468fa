"""`weam-preprocess`: the command line. Exit code 0, or 2 and one line that says what is wrong and what to do."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from . import aligners, pipeline, table
from .corpus import parse_pairs
from .errors import InputError

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
        help="en-de=FILE.tsv (source, tab, target) or en-de=FILE.en,FILE.de; .gz and .xz are read; repeatable",
    )
    text.add_argument("--exclude", action="append", default=[], type=Path, metavar="FILE", help=_EXCLUDE_HELP)
    text.add_argument("--max-pieces", type=_positive, default=128, metavar="N", help=_MAX_PIECES_HELP)
    text.add_argument("--valid-size", type=_natural, default=0, metavar="N", help="pairs held out per pair (default 0)")
    pieces = parser.add_argument_group("pieces: one of").add_mutually_exclusive_group(required=True)
    pieces.add_argument("--tokenizer", type=Path, metavar="DIR_OR_FILE", help=_TOKENIZER_HELP)
    pieces.add_argument("--train-tokenizer", choices=["wordpiece"], help="train one on all pairs; needs --vocab-size")
    parser.add_argument("--vocab-size", type=_positive, metavar="N", help="pieces of the vocabulary that is trained")
    links = parser.add_argument_group("links")
    links.add_argument("--aligner", choices=aligners.NAMES, default="fast_align", help=_ALIGNER_HELP)
    links.add_argument(
        "--symmetrize",
        choices=aligners.SYMMETRIZATIONS,
        default="intersect",
        help="how the links of the two directions are joined (default intersect: 1-1 links)",
    )
    links.add_argument("--links", action="append", default=[], metavar="EN-DE=FILE", help=_LINKS_HELP)
    parser.add_argument("--destdir", type=Path, required=True, metavar="DATA_BIN", help="folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace a data-bin that is there")
    parser.add_argument("--seed", type=_natural, default=1, help="for the held-out draw and eflomal (default 1)")
    return parser


_EXCLUDE_HELP = "drop pairs either side of which is a line, or a tab-separated column of a line, of FILE; repeatable"
_MAX_PIECES_HELP = "pieces of a pair, special ones included; a longer pair is dropped and counted (default 128)"
_TOKENIZER_HELP = "a Hugging Face tokenizer folder, a tokenizer.json, or a WordPiece vocab.txt (taken as cased)"
_ALIGNER_HELP = (
    "fast_align (default) is the program if fast_align and atools are on the PATH, else sil-thot's model; "
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


def _natural(text: str) -> int:
    return 0 if text == "0" else _positive(text)


def _options(arguments: argparse.Namespace) -> pipeline.Options:
    """Plain values go on from here."""
    if arguments.train_tokenizer and not arguments.vocab_size:
        raise InputError("--train-tokenizer needs --vocab-size N, the number of pieces.")
    if arguments.tokenizer and arguments.vocab_size:
        raise InputError("--vocab-size belongs to --train-tokenizer; --tokenizer has the size that it has.")
    return pipeline.Options(
        pairs=tuple(parse_pairs(arguments.pair)),
        destdir=arguments.destdir,
        tokenizer=arguments.tokenizer,
        train_tokenizer=arguments.train_tokenizer,
        vocab_size=arguments.vocab_size or 0,
        aligner=arguments.aligner,
        symmetrize=arguments.symmetrize,
        links=_links(arguments.links),
        max_pieces=arguments.max_pieces,
        valid_size=arguments.valid_size,
        exclude=tuple(arguments.exclude),
        seed=arguments.seed,
        overwrite=arguments.overwrite,
    )


def _links(texts: Sequence[str]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for text in texts:
        name, equals, file = text.partition("=")
        if not equals or not file:
            raise InputError(f"--links must be like en-de=FILE, but is {text!r}.")
        if name in files:
            raise InputError(f"--links {name} is given twice.")
        files[name] = Path(file)
    return files


if __name__ == "__main__":
    sys.exit(main())
