"""The fairseq task: options of the method, the data-bin behind them, and what a checkpoint carries of it."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from fairseq.data import Dictionary
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.tasks import FairseqTask, register_task
from omegaconf import II, MISSING

from .databin import Vocabulary, read_manifest, read_vocabulary
from .dataset import OBJECTIVES, Policy, WordExchangeDataset, open_split
from .errors import InputError
from .word_exchange import LinkPolicy

logger = logging.getLogger(__name__)

# Validation draws its masks as in this epoch, always: losses of different updates and objectives are comparable.
VALIDATION_EPOCH = 0


@dataclass
class WeamTaskConfig(FairseqDataclass):
    data: str = field(default=MISSING, metadata={"help": "data-bin folder made by weam-preprocess"})
    pairs: Optional[str] = field(  # noqa: UP045 -- fairseq reads typing.Optional, not "|"
        default=None, metadata={"help": "language pairs to train on, as en-de,en-es (default: all of the data-bin)"}
    )
    objective: ChoiceEnum(list(OBJECTIVES)) = field(  # type: ignore[valid-type]
        default="weam",
        metadata={
            "help": "weam: both losses over true links; tlm: the multilingual loss only; mlm: the same with each "
            "sentence on its own; controls identity (no row is exchanged) and shuffled (wrong links)"
        },
    )
    mask_prob: float = field(default=0.3, metadata={"help": "chance that a piece (or word) is masked"})
    mask_replace: ChoiceEnum(["bert", "all"]) = field(  # type: ignore[valid-type]
        default="bert", metadata={"help": "bert: 80%% [MASK], 10%% random, 10%% kept; all: always [MASK]"}
    )
    mask_unit: ChoiceEnum(["piece", "word"]) = field(  # type: ignore[valid-type]
        default="piece", metadata={"help": "what is masked at once; words are those of weam-preprocess"}
    )
    one_to_many: ChoiceEnum(["mean", "first", "one-to-one"]) = field(  # type: ignore[valid-type]
        default="mean", metadata={"help": "a word linked to several words takes their mean, the first, or none of them"}
    )
    piece_policy: ChoiceEnum(["all", "first", "monotone"]) = field(  # type: ignore[valid-type]
        default="all",
        metadata={"help": "pieces of a linked word: mean of all, the first, or the k-th to the proportional one"},
    )
    skip_identical: bool = field(default=False, metadata={"help": "a piece linked to the same piece keeps its own row"})
    segment_ids: ChoiceEnum(["pair", "zero"]) = field(  # type: ignore[valid-type]
        default="pair", metadata={"help": "pair: as the tokenizer writes pairs (BERT: 0 and 1); zero: 0 everywhere"}
    )
    reset_positions: bool = field(default=False, metadata={"help": "positions of the second sentence start at 0 again"})
    shuffle_order: bool = field(
        default=False, metadata={"help": "the target stands first in half of the pairs, drawn per pair and epoch"}
    )
    seed: int = II("common.seed")


def policy_of(cfg: WeamTaskConfig, objective: str) -> Policy:
    """Plain values from fairseq's configuration."""
    return Policy(
        objective=objective,
        mask_prob=cfg.mask_prob,
        mask_replace=str(cfg.mask_replace),
        mask_unit=str(cfg.mask_unit),
        links=LinkPolicy(str(cfg.one_to_many), str(cfg.piece_policy), cfg.skip_identical),
        one_segment=str(cfg.segment_ids) == "zero",
        reset_positions=cfg.reset_positions,
        shuffle_order=cfg.shuffle_order,
    )


@register_task("weam", dataclass=WeamTaskConfig)
class WeamTask(FairseqTask):
    """Trains on the pairs of one data-bin."""

    def __init__(self, cfg: WeamTaskConfig, manifest: dict[str, Any], dictionary: Dictionary) -> None:
        super().__init__(cfg)
        self.data_bin = Path(cfg.data)
        self.manifest = manifest
        self.dictionary = dictionary
        self.vocabulary: Vocabulary = read_vocabulary(manifest, dictionary.symbols[dictionary.nspecial :])
        self.pairs = _pairs(cfg.pairs, manifest, self.data_bin)
        self.policy = policy_of(cfg, str(cfg.objective))

    @classmethod
    def setup_task(cls, cfg: WeamTaskConfig, **kwargs: Any) -> "WeamTask":
        if not 0 < cfg.mask_prob < 1:
            raise InputError(f"--mask-prob must lie between 0 and 1, but is {cfg.mask_prob}.")
        data_bin = Path(cfg.data)
        manifest = read_manifest(data_bin)
        languages = sorted({language for pair in manifest["pairs"] for language in pair.split("-")})
        dictionaries = {language: _load_dictionary(data_bin / f"dict.{language}.txt") for language in languages}
        first = dictionaries[languages[0]]
        for language, dictionary in dictionaries.items():
            if dictionary != first:
                raise InputError(
                    f"All dictionaries of {data_bin} must be the same, but dict.{language}.txt differs from "
                    f"dict.{languages[0]}.txt. Run weam-preprocess again."
                )
        return cls(cfg, manifest, first)

    def load_dataset(self, split: str, combine: bool = False, **kwargs: Any) -> None:
        del combine  # fairseq's name for further files of a split, which a data-bin of ours does not have
        training = split == "train"
        # Validation measures both losses with the true links whatever the objective: its figures are comparable.
        policy = self.policy if training else policy_of(self.cfg, "weam")
        self.datasets[split] = WordExchangeDataset(
            [open_split(self.data_bin, split, pair) for pair in self.pairs],
            self.vocabulary,
            policy,
            self.cfg.seed,
            fixed_epoch=None if training else VALIDATION_EPOCH,
        )
        sizes = {pair: len(s.source) for pair, s in zip(self.pairs, self.datasets[split].splits, strict=True)}
        logger.info("%s: %s", split, ", ".join(f"{pair} {size:,} pairs" for pair, size in sizes.items()))

    def get_batch_iterator(self, *args: Any, **kwargs: Any) -> Any:
        """fairseq's, with data workers that end with their epoch.

        fairseq keeps workers alive for the next epoch, but loaders are made anew for each (see dataset.py), and the old
        ones are then cleaned up by the garbage collector, which waits five seconds for each worker.
        """
        iterator = super().get_batch_iterator(*args, **kwargs)
        iterator.persistent_workers = False
        return iterator

    def begin_epoch(self, epoch: int, model: Any) -> None:
        if epoch == 1:
            logger.info("method: %s", self.policy.plain())

    def max_positions(self) -> None:
        """None: the model's limit counts. Pairs were held to --max-pieces in preprocessing."""
        return None

    @property
    def source_dictionary(self) -> Dictionary:
        return self.dictionary

    @property
    def target_dictionary(self) -> Dictionary:
        return self.dictionary

    def state_dict(self) -> dict[str, Any]:
        """What conversion needs besides the weights, carried by every checkpoint: tokenizer files, method."""
        folder = self.data_bin / self.manifest["tokenizer"]["folder"]
        return {
            "weam": {
                "special_ids": dict(self.manifest["tokenizer"]["special_ids"]),
                "tokenizer_files": {path.name: path.read_bytes() for path in sorted(folder.iterdir())},
                "pairs": self.pairs,
                "method": self.policy.plain(),
                "aligner": dict(self.manifest["aligner"]),
            }
        }


def _pairs(wanted: str | None, manifest: dict[str, Any], data_bin: Path) -> list[str]:
    there = list(manifest["pairs"])
    pairs = wanted.split(",") if wanted else there
    for pair in pairs:
        if pair not in there:
            raise InputError(f"--pairs names {pair}, but {data_bin} holds {', '.join(there)}.")
    if len(set(pairs)) != len(pairs):
        raise InputError(f"--pairs must name each pair once, but is {wanted}.")
    return pairs


def _load_dictionary(path: Path) -> Dictionary:
    if not path.is_file():
        raise InputError(f"{path} must be there, but is not. Run weam-preprocess again.")
    return Dictionary.load(str(path))
