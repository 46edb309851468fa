"""The fairseq task: options of the method, the data-bin behind them, and what a checkpoint carries of it."""

import logging
from dataclasses import field, fields, make_dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from fairseq.data import Dictionary
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.tasks import FairseqTask, register_task
from fairseq.utils import split_paths
from omegaconf import II

from weam_fairseq.common.errors import InputError
from weam_fairseq.data.databin import (
    Vocabulary,
    choose_pairs,
    read_manifest,
    read_symbols,
    read_tokenizer_files,
    read_vocabulary,
)
from weam_fairseq.data.split import open_split
from weam_fairseq.method.limits import check_number
from weam_fairseq.method.options import TaskOptions
from weam_fairseq.method.policy import Policy, check_probabilities
from weam_fairseq.method.word_exchange import LinkPolicy
from weam_fairseq.plugin.fairseq_dataset import FairseqWordExchangeDataset
from weam_fairseq.plugin.resume import KEPT, Batching, ResumableEpoch

logger = logging.getLogger(__name__)

# What the manifest says of a tokenizer that two shards must have in common: pieces, their ids, how pairs are written.
TOKENIZER_IDENTITY = ("pieces_sha256", "behaviour_sha256", "special_ids", "all_special_ids", "template")


def fairseq_config(name: str, options: type, **from_fairseq: tuple[Any, str]) -> Any:
    """The same options as a dataclass of fairseq.

    Args:
        name: of the new class.
        from_fairseq: more fields, whose type and value fairseq fills in from its own options, as
            `seed=(int, "common.seed")`.
    """
    hints = get_type_hints(options)
    declared: list[Any] = []
    for each in fields(options):
        choices = each.metadata["choices"]
        kind = ChoiceEnum(list(choices)) if choices else hints[each.name]
        declared.append((each.name, kind, field(default=each.default, metadata={"help": each.metadata["help"]})))
    declared += [(key, kind, field(default=II(path))) for key, (kind, path) in from_fairseq.items()]
    config: Any = make_dataclass(name, declared, bases=(FairseqDataclass,))
    config.__module__ = __name__
    return config


WeamTaskConfig = fairseq_config(
    "WeamTaskConfig", TaskOptions, seed=(int, "common.seed"), update_freq=(list[int], "optimization.update_freq")
)


def policy_of(cfg: Any, objective: str) -> Policy:
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
        sampling_temperature=cfg.sampling_temperature,
        cp_head=str(cfg.cp_head),
    )


class DataBin(NamedTuple):
    """A folder, its manifest, and the dictionary that all of its languages share."""

    folder: Path
    manifest: dict[str, Any]
    dictionary: Dictionary


@register_task("weam", dataclass=WeamTaskConfig)
class WeamTask(FairseqTask):
    """Trains on the pairs of one data-bin, or of several that are shards of one text.

    Args:
        cfg: the options.
        shards: at least one; the first stands for all of them wherever one is asked for.
    """

    def __init__(self, cfg: Any, shards: list[DataBin]) -> None:
        super().__init__(cfg)
        self.shards = shards
        self.data_bin, self.manifest, self.dictionary = shards[0]
        symbols = self.dictionary.symbols[self.dictionary.nspecial :]
        self.vocabulary: Vocabulary = read_vocabulary(self.manifest, symbols)
        self.tokenizer_files = read_tokenizer_files(self.data_bin, self.manifest)
        wanted = cfg.pairs.split(",") if cfg.pairs else None
        self.pairs = choose_pairs(wanted, self.manifest, self.data_bin, "--pairs")
        self.policy = policy_of(cfg, str(cfg.objective))
        check_probabilities(self.manifest, self.data_bin, self.policy.links)
        self._checked_shards = False
        for shard in shards[1:]:
            _check_shard(shards[0], shard, self.pairs, all_pairs=cfg.pairs is None)

    @classmethod
    def setup_task(cls, cfg: Any, **kwargs: Any) -> "WeamTask":
        check_number("mask_prob", cfg.mask_prob)
        check_number("sampling_temperature", cfg.sampling_temperature)
        folders = split_paths(cfg.data)
        if not all(folders):
            raise InputError(f"Shards must be data-bin folders joined by colons, but one has no name: {cfg.data}")
        task = cls(cfg, [_open_data_bin(Path(folder)) for folder in folders])
        logger.info("method: %s", task.policy.plain())
        return task

    def has_sharded_data(self, split: str) -> bool:
        """Whether fairseq must load the data set anew for each epoch."""
        return len(self.shards) > 1

    def load_dataset(self, split: str, combine: bool = False, epoch: int = 1, **kwargs: Any) -> None:
        del combine  # fairseq's name for further files of a split, which a data-bin of ours does not have
        training = split == "train"
        shard = (epoch - 1) % len(self.shards) if training else 0
        self.datasets[split] = self._open(split, shard)
        where = f"{split}, shard {shard + 1} of {len(self.shards)}" if training and len(self.shards) > 1 else split
        sizes, drawn = self.datasets[split].pair_sizes, self.datasets[split].drawn
        pairs = (
            f"{pair} {size:,} pairs" + (f", {count:,} drawn per epoch (× {count / size:.3g})" if training else "")
            for pair, size, count in zip(self.pairs, sizes, drawn, strict=True)
        )
        logger.info("%s: %s", where, "; ".join(pairs))

    def _open(self, split: str, shard: int) -> FairseqWordExchangeDataset:
        return FairseqWordExchangeDataset.open(
            self.shards[shard].folder, split, self.pairs, self.vocabulary, self.policy, self.cfg.seed
        )

    def open_for_fitting(self, policy: Policy, epoch: int) -> FairseqWordExchangeDataset:
        """The training text of the first shard, masked as in a fixed epoch, in the layout of the training."""
        policy = replace(policy, one_segment=self.policy.one_segment, reset_positions=self.policy.reset_positions)
        splits = [open_split(self.data_bin, "train", pair) for pair in self.pairs]
        return FairseqWordExchangeDataset(splits, self.vocabulary, policy, self.cfg.seed, fixed_epoch=epoch)

    def get_batch_iterator(
        self,
        dataset: FairseqWordExchangeDataset,
        max_tokens: int | None = None,
        max_sentences: int | None = None,
        max_positions: int | None = None,
        ignore_invalid_inputs: bool = False,
        seed: int = 1,
        num_shards: int = 1,
        shard_id: int = 0,
        num_workers: int = 0,
        epoch: int = 1,
        data_buffer_size: int = 0,
        skip_remainder_batch: bool = False,
        grouped_shuffling: bool = False,
        **kwargs: Any,
    ) -> ResumableEpoch:
        """The batches of one epoch, made anew for each; fairseq's arguments.

        fairseq keeps data workers alive for the next epoch, but loaders are made anew for each (see dataset.py), and
        the old ones are then cleaned up by the garbage collector, which waits five seconds for each worker.

        Raises:
            InputError: --max-tokens is smaller than the longest pair, or in validation a pair is longer than the model;
                --grouped-shuffling.
        """
        if grouped_shuffling:
            raise InputError(
                "--grouped-shuffling must not be given: with it fairseq leaves out the last batches of an epoch, where "
                "they do not divide evenly among the processes."
            )
        self._check_lengths(dataset, max_tokens, None if ignore_invalid_inputs else max_positions)
        dataset.set_epoch(epoch)
        frequencies = list(self.cfg.update_freq)
        frequency = frequencies[min(epoch, len(frequencies)) - 1]
        return ResumableEpoch(
            dataset,
            epoch,
            Batching(max_tokens, max_sentences, num_shards, frequency, seed),
            {"pairs": self.pairs, **{name: getattr(self.policy, name) for name in KEPT if name != "pairs"}},
            max_positions,
            collate_fn=dataset.collater,
            shard_id=shard_id,
            num_workers=num_workers,
            buffer_size=data_buffer_size,
            skip_remainder_batch=skip_remainder_batch,
            persistent_workers=False,
        )

    def _check_lengths(
        self, dataset: FairseqWordExchangeDataset, max_tokens: int | None, positions: int | None
    ) -> None:
        training = dataset.fixed_epoch is None
        texts = [(self.data_bin, dataset)]
        if training and len(self.shards) > 1 and not self._checked_shards:
            # Before the first update, and not when an epoch comes to the shard.
            texts = [(shard.folder, self._open("train", number)) for number, shard in enumerate(self.shards)]
            self._checked_shards = True
        split = "training" if training else "validation"
        for folder, text in texts:
            places, pieces = text.longest()
            if max_tokens is not None and max_tokens < places:
                name = "--max-tokens" if training else "--max-tokens-valid (--max-tokens, where it is not given)"
                raise InputError(
                    f"{name} must have room for every pair, but is {max_tokens}, and the longest {split} pair of "
                    f"{folder} takes {places}: give at least {places}, or preprocess with a smaller --max-pieces."
                )
            if positions is not None and positions < pieces:
                raise InputError(
                    f"A {split} pair must not be longer than the model's {positions} positions, but one of {folder} "
                    f"has {pieces} pieces: preprocess with --max-pieces {positions}, or add "
                    "--skip-invalid-size-inputs-valid-test to leave such pairs out."
                )

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
        return {
            "weam": {
                "special_ids": dict(self.manifest["tokenizer"]["special_ids"]),
                "tokenizer_files": self.tokenizer_files,
                "pairs": self.pairs,
                "method": self.policy.plain(),
                "aligner": dict(self.manifest["aligner"]),
                "seed": self.cfg.seed,
            }
        }


def _open_data_bin(folder: Path) -> DataBin:
    manifest = read_manifest(folder)
    return DataBin(folder, manifest, _dictionary(read_symbols(folder, manifest)))


def _check_shard(first: DataBin, other: DataBin, pairs: list[str], all_pairs: bool) -> None:
    """Raises InputError when two data-bins cannot be shards of one training.

    Args:
        first: the shard that stands for all.
        other: the shard to check.
        pairs: what is trained on, all of it in the first shard.
        all_pairs: these are all pairs of the first shard, and must be all of the other.
    """
    _check_tokenizers(first, other)
    missing = [pair for pair in pairs if pair not in other.manifest["pairs"]]
    if missing or (all_pairs and len(pairs) != len(other.manifest["pairs"])):
        raise InputError(
            f"All shards must hold the same pairs, but {first.folder} holds {', '.join(first.manifest['pairs'])}, and "
            f"{other.folder} {', '.join(other.manifest['pairs'])}. Name pairs that all of them hold with --pairs."
        )
    aligner, other_aligner = first.manifest["aligner"], other.manifest["aligner"]
    has, other_has = (bool(a.get("probabilities", False)) for a in (aligner, other_aligner))
    if has != other_has:
        raise InputError(
            f"All shards must have link probabilities or none, but {first.folder} has {'them' if has else 'none'}, and "
            f"{other.folder} has {'them' if other_has else 'none'}. Make both with the same --aligner."
        )
    if aligner != other_aligner:
        logger.warning("%s and %s were aligned differently; checkpoints name the first", first.folder, other.folder)


def _check_tokenizers(first: DataBin, other: DataBin) -> None:
    for name in TOKENIZER_IDENTITY:
        if first.manifest["tokenizer"].get(name) != other.manifest["tokenizer"].get(name):
            raise InputError(
                f"All shards must share one tokenizer, but {name} in the manifest of {other.folder} is not that of "
                f"{first.folder}. Make both with weam-preprocess --tokenizer and the same tokenizer."
            )
    if first.dictionary != other.dictionary:
        raise InputError(
            f"All shards must number their pieces alike, but the dictionaries of {other.folder} differ from those of "
            f"{first.folder}. Make both with the same version of weam-preprocess."
        )


def _dictionary(symbols: list[str]) -> Dictionary:
    dictionary = Dictionary()
    for symbol in symbols:
        dictionary.add_symbol(symbol)
    return dictionary
