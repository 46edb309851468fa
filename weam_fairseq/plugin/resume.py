"""Resumes an epoch exactly after the pairs that were used, even with batches of another size.

fairseq counts batches. With other batches the same count is another position in the data, so pairs would be skipped or
used twice. Our checkpoints record how the batches were made and how many were used. This determines the used pairs,
because batches depend only on the options, the seed and the epoch. The other pairs of the epoch are then put into
batches of the new size.
"""

import hashlib
import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from fairseq.data.iterators import EpochBatchIterator

from weam_fairseq.common.errors import InputError
from weam_fairseq.method.limits import option
from weam_fairseq.plugin.fairseq_dataset import FairseqWordExchangeDataset

logger = logging.getLogger(__name__)

# Options that must not change during a run.
KEPT = ("objective", "pairs", "sampling_temperature", "cp_head")
KEPT_BY_MODEL = ("freeze", "head_first")

# Parts with a state in the checkpoint -> the option that discards the state.
RESET = {"optimizer": "reset_optimizer", "lr_scheduler": "reset_lr_scheduler"}
# Options that determine the pairs of a batch, by fairseq's names.
BATCHES = ("max_tokens", "batch_size", "update_freq", "distributed_world_size", "seed")


class Batching(NamedTuple):
    """The settings that, with the data, determine the pairs of each batch and the batches of each process.

    Attributes:
        max_tokens, batch_size: limits of a batch; None: no limit.
        processes: number of processes that share the batches of an epoch.
        update_freq: number of batches of a process in one update of this epoch.
        seed: seed of the order.
    """

    max_tokens: int | None
    batch_size: int | None
    processes: int
    update_freq: int
    seed: int

    def changes_from(self, before: "Batching") -> str:
        """Describes the differences for a message: `--batch-size 8 (was 16)`."""
        return ", ".join(
            f"{'number of processes' if name == 'processes' else option(name)} {now} (was {old})"
            for name, now, old in zip(self._fields, self, before, strict=True)
            if now != old
        )


def refuse_changes(before: Mapping[str, Any], now: Mapping[str, Any], checkpoint: str) -> None:
    """Checks that a resumed run keeps its method.

    Args:
        before, now: values by option. Only options in both are compared.
        checkpoint: name of the checkpoint for the message.

    Raises:
        InputError: an option that must not change has changed, or one of RESET has changed without its reset option.
    """
    for name in (*KEPT, *KEPT_BY_MODEL, *RESET):
        if name not in before or name not in now or before[name] == now[name] or now.get(RESET.get(name, "")):
            continue
        old, new = (",".join(value) if isinstance(value, list) else value for value in (before[name], now[name]))
        reset = f", or add {option(RESET[name])} to resume without the old state" if name in RESET else ""
        raise InputError(
            f"A run must keep its {option(name)}, but {checkpoint} was trained with {old}, and now it is {new}. To "
            "train these weights in another way, start a new run with --finetune-from-model and another "
            f"--save-dir{reset}."
        )


class ResumableEpoch(EpochBatchIterator):  # type: ignore[misc]
    """fairseq's iterator over the batches of an epoch, which resumes after the pairs that were used.

    Args:
        dataset: the data set, set to the epoch.
        epoch: the epoch, from 1.
        batching: settings of the batches from here on.
        kept: values of the options in KEPT.
        longest: limit on the pieces of a pair. Longer pairs are left out. None: no limit.
        options: options of EpochBatchIterator.
    """

    def __init__(
        self,
        dataset: FairseqWordExchangeDataset,
        epoch: int,
        batching: Batching,
        kept: dict[str, Any],
        longest: int | None,
        **options: Any,
    ) -> None:
        self.batching, self.kept, self.longest = batching, kept, longest
        # Earlier batches of this epoch with other settings: see `state_dict`.
        self._before: list[dict[str, Any]] = []
        self._shuffled = True
        self._options = options
        super().__init__(
            dataset,
            batch_sampler=_make_batches(dataset, self._ordered(dataset, epoch, batching), batching),
            seed=batching.seed,
            num_shards=batching.processes,
            epoch=epoch,
            **options,
        )

    def state_dict(self) -> dict[str, Any]:
        """Returns fairseq's position in the epoch, the options that must not change, and the used batches.

        For each `Batching` that this epoch has had, `used` contains its settings, whether the batches were shuffled,
        and how many of them each process has used. The last number is fairseq's own count.
        """
        state: dict[str, Any] = super().state_dict()
        count = state["iterations_in_epoch"]
        used = [*self._before, self._used(count)] if count else []
        text = _digest(self.dataset) if count else None
        return {**state, "shuffle": self._shuffled, "weam": {"kept": self.kept, "text": text, "used": used}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Moves to the position in a checkpoint.

        Raises:
            InputError: the checkpoint was trained with other options, or with other data in this epoch.
        """
        count = self.go_to(state_dict)
        super().load_state_dict({**state_dict, "iterations_in_epoch": count})

    def go_to(self, state: dict[str, Any]) -> int:
        """Puts the remaining pairs into batches. Returns how many of these batches have been used.

        Raises:
            InputError: see `load_state_dict`.
        """
        known = state.get("weam")
        count = int(state.get("iterations_in_epoch", 0))
        if known is None:  # from an older version, with the same batches (command_line.py rejects others)
            return count
        refuse_changes(known["kept"], self.kept, "the checkpoint")
        if not count:
            return 0
        if known["text"] != _digest(self.dataset):
            raise InputError(
                f"Within an epoch a run must keep its data, but the checkpoint is from the middle of epoch "
                f"{state['epoch']} with other data. Use the same data-bin, or add --reset-dataloader to start epoch 1 "
                "with this one."
            )
        *before, last = known["used"]
        if (now := {**last, **self.batching._asdict()}) != last:
            before = [*before, last]
        if not before:
            return count
        self._before = before
        left, everything = self._left(state["epoch"])
        self._frozen_batches = _make_batches(self.dataset, left, self.batching)
        if now == last:
            return count
        logger.info(
            "epoch %d continues with other batches: %s; %s of its %s pairs have been used, and the other %s follow in "
            "%s batches",
            state["epoch"],
            self.batching.changes_from(Batching(**{name: last[name] for name in Batching._fields})),
            *(f"{n:,}" for n in (everything - len(left), everything, len(left), len(self._frozen_batches))),
        )
        return 0

    def batches_left(self, state: dict[str, Any]) -> int:
        """Returns how many batches this process has from the position in a checkpoint to the end of the epoch."""
        count = self.go_to(state)
        return len(self) - count

    def _left(self, epoch: int) -> tuple[np.ndarray, int]:
        """Returns the (M,) virtual indices of unused pairs, in the order for new batches, and the number of pairs."""
        left = total = self._ordered(self.dataset, epoch, self.batching)
        for used in self._before:
            batching = Batching(**{name: used[name] for name in Batching._fields})
            if batching.seed != self.batching.seed and self.kept["sampling_temperature"] != 1:
                raise InputError(
                    "With --sampling-temperature, a run must keep its --seed within an epoch, but it was "
                    f"{batching.seed} and is {self.batching.seed}. Change it at the end of an epoch, or add "
                    "--reset-dataloader to start epoch 1 again."
                )
            ordered = self._ordered(self.dataset, epoch, batching)
            batches = _make_batches(self.dataset, ordered[np.isin(ordered, left)], batching)
            used_indices = [
                index
                for shard in range(batching.processes)
                for batch in _of_process(self, batches, batching, shard).ordered_batches(epoch, False, used["shuffle"])[
                    : used["batches"]
                ]
                for index in batch
            ]
            left = left[~np.isin(left, used_indices)]
        return left, len(total)

    def _ordered(self, dataset: FairseqWordExchangeDataset, epoch: int, batching: Batching) -> np.ndarray:
        indices = dataset.ordered_indices(np.random.RandomState(batching.seed + epoch))
        if self.longest is None:
            return indices
        fits, too_long = dataset.filter_indices_by_size(indices, self.longest)
        if too_long:
            logger.warning(
                "%s of %s pairs are left out, because they have more than %d pieces",
                len(too_long),
                len(indices),
                self.longest,
            )
        return fits

    def _used(self, count: int) -> dict[str, Any]:
        return {**self.batching._asdict(), "shuffle": self._shuffled, "batches": count}

    def _get_iterator_for_epoch(self, epoch: int, shuffle: bool, **more: Any) -> Any:
        self._shuffled = shuffle
        return super()._get_iterator_for_epoch(epoch, shuffle, **more)


def _make_batches(
    dataset: FairseqWordExchangeDataset, indices: np.ndarray, batching: Batching
) -> tuple[np.ndarray, ...]:
    return tuple(dataset.batch_by_size(indices, batching.max_tokens, batching.batch_size))


def _of_process(
    epoch: ResumableEpoch, batches: tuple[np.ndarray, ...], batching: Batching, process: int
) -> EpochBatchIterator:
    """Returns fairseq's iterator over these batches. It gives the order of the batches of a process."""
    return EpochBatchIterator(
        epoch.dataset,
        epoch.collate_fn,
        batches,
        seed=batching.seed,
        num_shards=batching.processes,
        shard_id=process,
    )


def _digest(dataset: FairseqWordExchangeDataset) -> str:
    """Computes a digest of the data: the number of sentence pairs of each language pair, and their lengths."""
    digest = hashlib.blake2b(dataset.pair_sizes.tobytes(), digest_size=8)
    digest.update(np.ascontiguousarray(dataset.sizes).data)
    return digest.hexdigest()
