"""What a run of weam-preprocess is asked to do, as plain values. Each aligner declares its own options in aligners/."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weam_fairseq.common.errors import InputError

from . import aligners
from .cleaning import Rules

if TYPE_CHECKING:
    from .cluster import ClusterOptions
    from .corpus import PairFiles

# Lines of a chunk: enough that starting one costs nothing, few enough that a kill loses little.
CHUNK = 20_000

# The values of --train-tokenizer; those whose trainer holds all sentences in memory; and how many it gets at most.
TRAINED = ("wordpiece", "bpe", "unigram")
SAMPLED = ("bpe", "unigram")
TOKENIZER_SAMPLE = 5_000_000


@dataclass(frozen=True)
class Options:
    """What `weam-preprocess` is asked to do. Exactly one of `tokenizer` and `train_tokenizer` is set.

    aligner_options: an instance of the `options` class of the aligner; None means the defaults.
    aligner_models: the folder of each pair's model, by the pair's name; all pairs of an encoder have the same one.
    links: the file of links of each pair, for an aligner that reads links.
    cluster: where chunks are processed; None means here, in `workers` processes.
    """

    pairs: tuple[PairFiles, ...]
    destdir: Path
    tokenizer: Path | None = None
    train_tokenizer: str | None = None
    vocab_size: int = 0
    tokenizer_sample: int = TOKENIZER_SAMPLE
    aligner: str = aligners.DEFAULT
    aligner_options: Any = None
    aligner_models: dict[str, Path] = field(default_factory=dict)
    save_aligner: Path | None = None
    symmetrize: str = "intersect"
    links: dict[str, Path] = field(default_factory=dict)
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
    """Raises InputError for links or words of an unknown pair, for missing links, and for links that nothing reads."""
    names = [pair.name for pair in options.pairs]
    reads_links = aligners.kind_of(options.aligner).reads_links
    if options.links and not reads_links:
        readers = ", ".join(kind.name for kind in aligners.kinds() if kind.reads_links)
        raise InputError(f"--links needs --aligner {readers}, but the aligner is {options.aligner}.")
    for option, given in (("--links", options.links), ("--given-words", options.given_words)):
        for name in given:
            if name not in names:
                raise InputError(f"{option} {name}: there is no such --pair; the pairs are {', '.join(names)}.")
    for name in names if reads_links else ():
        if name not in options.links:
            raise InputError(f"--aligner {options.aligner} needs the links of {name}. Add --links {name}=FILE.")


def languages_of(pairs: Iterable[PairFiles]) -> list[str]:
    return sorted({lang for pair in pairs for lang in (pair.source_lang, pair.target_lang)})
