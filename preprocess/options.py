"""What `weam-preprocess` was asked to do, as plain values, and what in it cannot be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from weam_fairseq.common.errors import InputError

from . import aligners
from .cleaning import Rules
from .cluster import ClusterOptions
from .inputs import PairFiles

# Lines of a chunk: large enough that starting one costs nothing, small enough that a kill loses little.
CHUNK = 20_000

# Sentences that a tokenizer is trained on which must hold them all.
TOKENIZER_SAMPLE = 5_000_000


@dataclass(frozen=True)
class Options:
    """What `weam-preprocess` was asked to do. Exactly one of `tokenizer` and `train_tokenizer` is given.

    aligner_models: the folder of every pair's model, by its name, or none; of the encoder, the same for all.
    links_from: the number of a sentence's first word in precomputed links; None expects 0.
    cluster: where chunks are made; None is here, in `workers` processes.
    """

    pairs: tuple[PairFiles, ...]
    destdir: Path
    tokenizer: Path | None = None
    train_tokenizer: str | None = None
    vocab_size: int = 0
    tokenizer_sample: int = TOKENIZER_SAMPLE
    aligner: str = "eflomal"
    aligner_models: dict[str, Path] = field(default_factory=dict)
    save_aligner: Path | None = None
    aligner_implementation: str = "auto"
    encoder: aligners.EncoderOptions | None = None
    symmetrize: str = "intersect"
    links: dict[str, Path] = field(default_factory=dict)
    links_from: int | None = None
    words: dict[str, str] = field(default_factory=dict)
    given_words: dict[str, Path] = field(default_factory=dict)
    max_pieces: int = 128
    rules: Rules = field(default_factory=Rules)
    valid_size: int = 0
    exclude: tuple[Path, ...] = ()
    seed: int = 1
    overwrite: bool = False
    resume: bool = False
    workers: int = 1
    cluster: ClusterOptions | None = None
    explain: int | None = None
    chunk: int = CHUNK


def check_links(options: Options) -> None:
    """Raises InputError for links or words of a pair that is not there, or that the aligner does not take."""
    names = [pair.name for pair in options.pairs]
    if options.links and options.aligner != "precomputed":
        raise InputError(f"--links needs --aligner precomputed, but the aligner is {options.aligner}.")
    if options.links_from is not None and options.aligner != "precomputed":
        raise InputError(f"--links-from needs --aligner precomputed, but the aligner is {options.aligner}.")
    for option, given in (("--links", options.links), ("--given-words", options.given_words)):
        for name in given:
            if name not in names:
                raise InputError(f"{option} {name}: there is no such --pair; the pairs are {', '.join(names)}.")
    if options.aligner == "precomputed":
        for name in names:
            if name not in options.links:
                raise InputError(f"--aligner precomputed needs the links of {name}: add --links {name}=FILE.")


def languages_of(pairs: Iterable[PairFiles]) -> list[str]:
    return sorted({lang for pair in pairs for lang in (pair.source_lang, pair.target_lang)})
