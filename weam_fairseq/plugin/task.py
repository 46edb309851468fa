"""The fairseq task: the method's options, the data-bin, and the facts about them in a checkpoint."""

import logging
from collections.abc import Iterable
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

# Facts about the tokenizer in the manifest that all shards must share: pieces, their ids, templates of pairs.
TOKENIZER_IDENTITY = ("pieces_sha256", "behaviour_sha256", "special_ids", "all_special_ids", "template")


def fairseq_config(name: str, options: type, **from_fairseq: tuple[Any, str]) -> Any:
    """Turns our options into a dataclass for fairseq.

    Args:
        name: name of the new class.
        from_fairseq: type and source of further fields whose values come from fairseq's own options, for example
            `seed=(int, "common.seed")`.
    """
    hints = get_type_hints(options)
    declared: list[Any] = []
    for option in fields(options):
        choices = option.metadata["choices"]
        kind = ChoiceEnum(list(choices)) if choices else hints[option.name]
        declared.append((option.name, kind, field(default=option.default, metadata={"help": option.metadata["help"]})))
    declared += [(key, kind, field(default=II(path))) for key, (kind, path) in from_fairseq.items()]
    config: Any = make_dataclass(name, declared, bases=(FairseqDataclass,))
    config.__module__ = __name__
    return config


WeamTaskConfig = fairseq_config(
    "WeamTaskConfig", TaskOptions, seed=(int, "common.seed"), update_freq=(list[int], "optimization.update_freq")
)


def policy_of(cfg: Any, objective: str) -> Policy:
    """Builds a policy from fairseq's configuration."""
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
    """A data-bin: folder, manifest, and the dictionary that all of its languages share."""

    folder: Path
    manifest: dict[str, Any]
    dictionary: Dictionary


@register_task("weam", dataclass=WeamTaskConfig)
class WeamTask(FairseqTask):
    """Trains on the pairs of one data-bin, or of several data-bins that are shards of one corpus.

    Args:
        cfg: the options.
        shards: one or more data-bins. Facts about the data come from the first one.
    """

    def __init__(self, cfg: Any, shards: list[DataBin]) -> None:
        super().__init__(cfg)
        self.shards = shards
        self.data_bin, self.manifest, self.dictionary = shards[0]
        symbols = self.dictionary.symbols[self.dictionary.nspecial :]
        self.vocabulary: Vocabulary = read_vocabulary(self.manifest, symbols)
        self.tokenizer_files = read_tokenizer_files(self.data_bin, self.manifest)
        requested = cfg.pairs.split(",") if cfg.pairs else None
        self.pairs = choose_pairs(requested, self.manifest, self.data_bin, "--pairs")
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
            raise InputError(f"Shards must be data-bin folders joined by colons, but one is empty: {cfg.data}")
        task = cls(cfg, [_open_data_bin(Path(folder)) for folder in folders])
        logger.info("method: %s", task.policy.plain())
        return task

    def has_sharded_data(self, split: str) -> bool:
        """Whether fairseq must load the data set again for each epoch."""
        return len(self.shards) > 1

    def load_dataset(self, split: str, combine: bool = False, epoch: int = 1, **kwargs: Any) -> None:
        del combine  # fairseq's option for several files per split, which our data-bins do not have
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
        """Opens the training data of the first shard, with the masks of a fixed epoch and the training's layout."""
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
        """Makes the batches of one epoch. The arguments are fairseq's.

        Data workers do not persist. Each epoch has a new loader (fairseq_dataset.py), and cleaning up the old one would
        take five seconds for each persistent worker.

        Raises:
            InputError: --max-tokens is smaller than the longest pair, a validation pair is too long for the model,
                or --grouped-shuffling is given.
        """
        if grouped_shuffling:
            raise InputError(
                "--grouped-shuffling must not be given, because it makes fairseq leave out the last batches of an "
                "epoch if they do not divide evenly among the processes."
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
        texts: Iterable[tuple[Path, FairseqWordExchangeDataset]] = [(self.data_bin, dataset)]
        if training and len(self.shards) > 1 and not self._checked_shards:
            # Check all shards before the first update, not at the start of their epochs.
            # One after the other, because open shards take file descriptors.
            texts = ((shard.folder, self._open("train", number)) for number, shard in enumerate(self.shards))
            self._checked_shards = True
        split = "training" if training else "validation"
        for folder, text in texts:
            places, pieces = text.longest()
            if max_tokens is not None and max_tokens < places:
                name = "--max-tokens" if training else "--max-tokens-valid (or --max-tokens, if not given)"
                raise InputError(
                    f"{name} must be large enough for every pair, but is {max_tokens}, and the longest {split} pair of "
                    f"{folder} takes {places}. Give at least {places}, or preprocess with a smaller --max-pieces."
                )
            if positions is not None and positions < pieces:
                raise InputError(
                    f"A {split} pair must not be longer than the model's {positions} positions, but one of {folder} "
                    f"has {pieces} pieces. Preprocess with --max-pieces {positions}, or add "
                    "--skip-invalid-size-inputs-valid-test to leave such pairs out."
                )

    def max_positions(self) -> None:
        """None: only the model has a limit. Preprocessing applied --max-pieces."""
        return None

    @property
    def source_dictionary(self) -> Dictionary:
        return self.dictionary

    @property
    def target_dictionary(self) -> Dictionary:
        return self.dictionary

    def state_dict(self) -> dict[str, Any]:
        """Returns what conversion needs besides the weights: tokenizer files, method, pairs, aligner, seed."""
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
    """Raises InputError if two data-bins cannot be shards of one training.

    Args:
        first: the first shard.
        other: the shard to check.
        pairs: the language pairs to train on. The first shard has all of them.
        all_pairs: whether these are all pairs of the first shard. Then the other shard must not have more.
    """
    _check_tokenizers(first, other)
    missing = [pair for pair in pairs if pair not in other.manifest["pairs"]]
    if missing or (all_pairs and len(pairs) != len(other.manifest["pairs"])):
        raise InputError(
            f"All shards must hold the same pairs, but {first.folder} holds {', '.join(first.manifest['pairs'])}, and "
            f"{other.folder} holds {', '.join(other.manifest['pairs'])}. Select common pairs with --pairs."
        )
    aligner, other_aligner = first.manifest["aligner"], other.manifest["aligner"]
    has, other_has = (bool(a.get("probabilities", False)) for a in (aligner, other_aligner))
    if has != other_has:
        raise InputError(
            f"All shards must have link probabilities or none, but {first.folder} has {'them' if has else 'none'}, and "
            f"{other.folder} has {'them' if other_has else 'none'}. Make both with the same --aligner."
        )
    if aligner != other_aligner:
        logger.warning(
            "%s and %s were aligned differently. Checkpoints record the aligner of the first one.",
            first.folder,
            other.folder,
        )


def _check_tokenizers(first: DataBin, other: DataBin) -> None:
    for name in TOKENIZER_IDENTITY:
        if first.manifest["tokenizer"].get(name) != other.manifest["tokenizer"].get(name):
            raise InputError(
                f"All shards must have the same tokenizer, but {name} in the manifest of {other.folder} differs from "
                f"{first.folder}. Make both with weam-preprocess --tokenizer and the same tokenizer."
            )
    if first.dictionary != other.dictionary:
        raise InputError(
            f"All shards must have the same dictionary, but the dictionaries of {other.folder} differ from those of "
            f"{first.folder}. Make both with the same version of weam-preprocess."
        )


def _dictionary(symbols: list[str]) -> Dictionary:
    dictionary = Dictionary()
    for symbol in symbols:
        dictionary.add_symbol(symbol)
    return dictionary
