"""A study as its config describes it; plain values, checked by config.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from weam_fairseq.study.yaml_file import Options


class Tokenizer(NamedTuple):
    """Trained on the data (`trained`: its kind, `size`: pieces), or a Hugging Face folder or file."""

    trained: str | None
    size: int
    folder: str | None


@dataclass(frozen=True)
class Data:
    """Where sentence pairs come from.

    Attributes:
        folder: of bitext and evaluation files.
        bitext: files of a pair, in `folder`, with {pair} in their names, unless `files` names them.
        files: files of single pairs.
        exclude: files of sentences that no training pair may hold.
        tokenizer: of models that are trained from nothing.
        pool: the pair set that the tokenizer and the bases are trained on.
        aligner, symmetrize: of cells that name none.
        options: further ones of weam-preprocess.
        data_bin: one that is there, instead of all this.
    """

    folder: str
    bitext: tuple[str, ...]
    files: dict[str, tuple[str, ...]]
    exclude: tuple[str, ...]
    tokenizer: Tokenizer | None
    pool: str
    aligner: str
    symmetrize: str
    options: Options
    data_bin: str | None

    def of_pair(self, pair: str) -> tuple[str, ...]:
        return self.files.get(pair) or tuple(name.format(pair=pair) for name in self.bitext)


@dataclass(frozen=True)
class Model:
    """An architecture: trained from nothing, or a published folder.

    Attributes:
        published: Hugging Face folder, or name on the Hub, to start from; None: a base is trained.
        tokenizer: folder or name of an equal tokenizer, so that models share a data-bin (default: the published one).
        vocabulary: rows of the embeddings, for estimates; None: what the tokenizer has.
        base, continued: options of its own, which win over the study's.
    """

    arch: str
    published: str | None = None
    tokenizer: str | None = None
    vocabulary: int | None = None
    base: Options | None = None
    continued: Options | None = None


@dataclass(frozen=True)
class Block:
    """A part of the grid: a cell for each combination."""

    name: str
    pairs: tuple[str, ...]
    archs: tuple[str, ...]
    objectives: tuple[str, ...]
    aligners: tuple[str, ...]
    symmetrizations: tuple[str, ...]
    options: dict[str, tuple[Any, ...]]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Evaluation:
    """`data` is a folder in the data folder, or hub:NAME."""

    name: str
    tasks: tuple[str, ...]
    data: str
    languages: tuple[str, ...]
    options: Options


@dataclass(frozen=True)
class Estimate:
    """What computing time is estimated from.

    Attributes:
        flops: operations a second of one GPU, at its best; None: no GPU hours are estimated.
        utilisation: the share of them that a training reaches.
        pieces_per_update, base_pieces_per_update: on all GPUs together.
        length: pieces of a row, for attention.
        linked_share: of the masked pieces.
    """

    flops: float | None = None
    utilisation: float = 0.4
    pieces_per_update: int | None = None
    base_pieces_per_update: int | None = None
    length: int = 128
    linked_share: float = 0.7


@dataclass(frozen=True)
class Machine:
    """Options that change no result, by kind of step, and what Slurm is asked for, by kind; neither is part of what a
    step is, but for the number of a training's processes."""

    preprocess: Options
    train: Options
    evaluate: Options
    slurm: dict[str, Options]


@dataclass(frozen=True)
class Config:
    """A study.

    Attributes:
        text: the file's.
        plain: the file's as YAML has it.
        baseline: objective that others are compared with.
        pair_sets: pairs by the set's name.
        base_seed: of all bases; None: each seed of a cell has a base of its own.
        base_options, continued_options: of weam-train.
        keep_checkpoints: of cells, once they are exported.
    """

    path: Path
    text: str
    plain: dict[str, Any]
    title: str
    question: str
    hypotheses: tuple[str, ...]
    decision_rule: str
    baseline: str
    data: Data
    pair_sets: dict[str, tuple[str, ...]]
    models: dict[str, Model]
    base_seed: int | None
    base_options: Options
    continued_options: Options
    blocks: tuple[Block, ...]
    evaluate_bases: bool
    evaluations: tuple[Evaluation, ...]
    keep_checkpoints: bool
    estimate: Estimate
    machine: Machine
