"""`weam-preprocess`: the command line. Exit code 0, or 2 and one line that says what is wrong and what to do."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from weam_fairseq.common.command import run_command
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.hub import is_name, resolve
from weam_fairseq.common.slurm import OPTION_HELP, sbatch_options

from . import aligners, pipeline, table, tokenizer_folder
from .aligner_models import check_trained, parse_models
from .cleaning import Rules
from .cluster import ClusterOptions
from .corpus import parse_path
from .inputs import parse_pair_files
from .options import TOKENIZER_SAMPLE, Options
from .words import KINDS

_EXAMPLE = """\
example:
  weam-preprocess --pair en-de=bitext/en-de.tsv.xz --pair en-zh=bitext/train.en,bitext/train.zh \\
      --train-tokenizer wordpiece --vocab-size 16000 --valid-size 500 --exclude test.tsv --destdir data-bin

Reads sentence pairs, finds which words translate each other, and writes a data-bin for fairseq-train with the
links between subword pieces, its dictionaries, its Hugging Face tokenizer and a manifest.
"""


_RESUME = "Finished parts are kept: run the command again with --resume."


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        """One line and exit code 2, like every other mistake; argparse would print the whole usage first."""
        raise InputError(f"{message[:1].upper()}{message[1:]}. See weam-preprocess --help.")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    logging.basicConfig(format="weam-preprocess: %(message)s", level=logging.WARNING, stream=sys.stderr)
    return run_command("weam-preprocess", lambda: _run(argv), _RESUME)


def _run(argv: Sequence[str] | None) -> None:
    print(table.render(pipeline.run(_options(_parser().parse_args(argv)))))


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
        help="en-de=FILE.tsv (source, tab, target), en-de=FILE.en,FILE.de, or en-de=FILE.zip with two such files; "
        "plain, gzip, bzip2, xz or Zstandard, by content; pipes are copied; repeatable, for more pairs and for more "
        "files of one; en-zh_CN for codes with a hyphen",
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
    words.add_argument("--given-words", action="append", default=[], metavar="EN-DE=FILE", help=_GIVEN_WORDS_HELP)
    pieces = parser.add_argument_group("pieces: one of").add_mutually_exclusive_group(required=True)
    pieces.add_argument("--tokenizer", type=Path, metavar="DIR_FILE_OR_NAME", help=_TOKENIZER_HELP)
    pieces.add_argument(
        "--train-tokenizer", choices=tokenizer_folder.TRAINED, help="train one on all pairs; needs --vocab-size"
    )
    parser.add_argument("--vocab-size", type=_positive, metavar="N", help="pieces of the vocabulary that is trained")
    parser.add_argument("--tokenizer-sample", type=_positive, metavar="N", help=_SAMPLE_HELP)
    links = parser.add_argument_group("links")
    links.add_argument("--aligner", choices=aligners.NAMES, default="eflomal", help=_ALIGNER_HELP)
    links.add_argument(
        "--symmetrize",
        choices=aligners.SYMMETRIZATIONS,
        default="intersect",
        help="how the links of the two directions are joined (default intersect: 1-1 links)",
    )
    links.add_argument("--aligner-model", action="append", default=[], metavar="[EN-DE=]DIR", help=_MODEL_HELP)
    links.add_argument("--save-aligner", type=Path, metavar="DIR", help=_SAVE_HELP)
    links.add_argument(
        "--aligner-implementation", choices=aligners.IMPLEMENTATIONS, default="auto", help=_IMPLEMENTATION_HELP
    )
    links.add_argument("--links", action="append", default=[], metavar="EN-DE=FILE", help=_LINKS_HELP)
    links.add_argument("--links-from", type=int, choices=(0, 1), help=_LINKS_FROM_HELP)
    encoder = parser.add_argument_group("links by --aligner encoder --aligner-model HF_DIR_OR_NAME")
    encoder.add_argument("--encoder-layer", type=_natural, metavar="N", help=_LAYER_HELP)
    encoder.add_argument("--encoder-method", choices=aligners.ENCODER_METHODS, help=_METHOD_HELP)
    encoder.add_argument("--encoder-threshold", type=_share, metavar="P", help=_THRESHOLD_HELP)
    encoder.add_argument("--encoder-batch", type=_positive, metavar="N", help="sentences encoded at once (default 64)")
    encoder.add_argument("--encoder-device", metavar="DEVICE", help="such as cpu or cuda:1 (default: the GPU, if any)")
    encoder.add_argument("--encoder-bf16", action="store_true", help="compute in bfloat16")
    parser.add_argument("--destdir", type=Path, required=True, metavar="DATA_BIN", help="folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace a data-bin that is there")
    parser.add_argument("--workers", type=_positive, metavar="N", help=_WORKERS_HELP)
    cluster = parser.add_argument_group("chunks on other machines")
    cluster.add_argument("--cluster", choices=("local", "slurm"), default="local", help=_CLUSTER_HELP)
    cluster.add_argument("--cluster-option", action="append", default=[], metavar="NAME=VALUE", help=OPTION_HELP)
    cluster.add_argument("--cluster-chunks", type=_positive, metavar="N", help=_CHUNKS_HELP)
    cluster.add_argument("--cluster-retries", type=_natural, metavar="N", help=_RETRIES_HELP)
    parser.add_argument("--resume", action="store_true", help="go on with what an interrupted run left behind")
    parser.add_argument("--explain", type=_positive, metavar="N", help="show what became of line N of each pair")
    parser.add_argument("--seed", type=_natural, default=1, help=_SEED_HELP)
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
_GIVEN_WORDS_HELP = (
    "lines of `source words ||| target words`, one for each line of the input, instead of a segmenter; repeatable"
)
_MODEL_HELP = (
    "apply trained aligners, DIR/en-de for each pair (what --save-aligner wrote), or one a pair with en-de=DIR, "
    "repeatable; with --aligner encoder, the Hugging Face folder of all pairs, or its name on the Hugging Face Hub"
)
_SAVE_HELP = "train the aligner on the kept pairs, keep the model of each pair as DIR/en-de, and take the links from it"
_IMPLEMENTATION_HELP = (
    "what runs an aligner that is trained: auto (default) is the program fast_align if it is on the PATH, else "
    "sil-thot's model; program (eflomal-align cannot be seeded: no two runs are the same); sil-thot"
)
_LAYER_HELP = "layer whose states are compared, 0 for the embeddings (default: two thirds of them, 8 of 12)"
_METHOD_HELP = "softmax (default; awesome-align; gives probabilities) or argmax (SimAlign)"
_THRESHOLD_HELP = "share of the softmax above which pieces are linked (default 0.001)"
_WORKERS_HELP = "chunks of 20,000 lines at once: processes (default 1), with --cluster slurm tasks (default 100)"
_CLUSTER_HELP = (
    "local (default): processes of this machine; slurm: arrays of Slurm tasks, by submitit; the folder of --destdir "
    "must be one that all machines share"
)
_CHUNKS_HELP = "chunks of a Slurm task (default 25: a minute or more)"
_RETRIES_HELP = "how often a Slurm task that failed or was killed is tried again (default 2)"
_MAX_PIECES_HELP = "pieces of a pair, special ones included; a longer pair is dropped and counted (default 128)"
_TOKENIZER_HELP = (
    "a Hugging Face tokenizer folder, a name on the Hugging Face Hub, a tokenizer.json, a WordPiece vocab.txt (taken "
    "as cased) or a SentencePiece .model"
)
_SAMPLE_HELP = (
    "sentences that bpe and unigram are trained on, drawn by --seed where there are more (default "
    f"{TOKENIZER_SAMPLE:,}; all of them are held in memory); wordpiece reads all"
)
_SEED_HELP = "for the held-out draw, eflomal and --tokenizer-sample (default 1)"
_ALIGNER_HELP = (
    "default eflomal, which has the fewest errors (docs/aligners.md); fast_align takes about a third of its time or "
    "less, the program a sixth or less; hmm and encoder give their links probabilities, precomputed those of its file"
)
_LINKS_HELP = (
    "for --aligner precomputed: lines of i-j over our words (or --given-words), or of i-j:p with the "
    "link's probability p, one for each line of the input; repeatable"
)
_LINKS_FROM_HELP = (
    "number of a sentence's first word in --links (default 0; a file that seems to count from 1 is an error)"
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


def _options(arguments: argparse.Namespace) -> Options:
    """Plain values go on from here."""
    if arguments.train_tokenizer and not arguments.vocab_size:
        raise InputError("--train-tokenizer needs --vocab-size N, the number of pieces.")
    if arguments.tokenizer and arguments.vocab_size:
        raise InputError("--vocab-size belongs to --train-tokenizer; --tokenizer has the size that it has.")
    if arguments.tokenizer_sample and arguments.train_tokenizer not in tokenizer_folder.SAMPLED:
        raise InputError(
            f"--tokenizer-sample is for --train-tokenizer {' and '.join(tokenizer_folder.SAMPLED)}. Leave it out: no "
            "other tokenizer needs all sentences in memory."
        )
    if arguments.save_aligner is not None:
        check_trained(arguments.aligner)
    pairs = tuple(parse_pair_files(arguments.pair))
    return Options(
        pairs=pairs,
        destdir=arguments.destdir,
        tokenizer=_tokenizer(arguments.tokenizer),
        train_tokenizer=arguments.train_tokenizer,
        vocab_size=arguments.vocab_size or 0,
        tokenizer_sample=arguments.tokenizer_sample or TOKENIZER_SAMPLE,
        aligner=arguments.aligner,
        symmetrize=arguments.symmetrize,
        aligner_models=parse_models(arguments.aligner_model, arguments.aligner, [pair.name for pair in pairs]),
        save_aligner=arguments.save_aligner,
        aligner_implementation=arguments.aligner_implementation,
        encoder=_encoder(arguments),
        links={name: parse_path(file) for name, file in _named("--links", "en-de=FILE", arguments.links).items()},
        links_from=arguments.links_from,
        given_words={
            name: parse_path(file)
            for name, file in _named("--given-words", "en-de=FILE", arguments.given_words).items()
        },
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
        workers=arguments.workers or 1,
        cluster=_cluster(arguments),
        explain=arguments.explain,
    )


def _tokenizer(given: Path | None) -> Path | None:
    """The file or folder; a name on the Hugging Face Hub becomes the folder of its download."""
    if given is None or given.suffix in (".json", ".txt", ".model") or not is_name(given):
        return given
    return resolve(given, weights=False).folder


def _encoder(arguments: argparse.Namespace) -> aligners.EncoderOptions | None:
    """None unless some option of it is given: then it must be the aligner."""
    given = {
        "layer": arguments.encoder_layer,
        "method": arguments.encoder_method,
        "threshold": arguments.encoder_threshold,
        "batch_size": arguments.encoder_batch,
        "device": arguments.encoder_device,
        "bf16": arguments.encoder_bf16 or None,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if arguments.aligner == "encoder":
        return aligners.EncoderOptions(**given)
    return aligners.EncoderOptions(**given) if given else None


def _cluster(arguments: argparse.Namespace) -> ClusterOptions | None:
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


def _files(option: str, texts: Sequence[str]) -> dict[str, Path]:
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
