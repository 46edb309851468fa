"""Where an epoch goes on after a stop: exactly after the pairs that it has seen, also with batches of another size.

fairseq counts batches. With other batches the same count is another place in the text, so that pairs are skipped or
trained on twice. Here a checkpoint records how the batches were made and how many of them were used. That tells which
pairs were used, because batches follow from the options, the seed and the epoch alone. The other pairs of the epoch are
then put into batches of the new size.
"""

import hashlib
import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from fairseq.data.iterators import EpochBatchIterator

from weam_fairseq.common.errors import InputError
from weam_fairseq.plugin.fairseq_dataset import FairseqWordExchangeDataset

logger = logging.getLogger(__name__)

# What a run keeps to its end, by the names of the options.
KEPT = ("objective", "pairs", "sampling_temperature", "cp_head")
KEPT_BY_MODEL = ("freeze", "head_first")

# What has a state in the checkpoint, and the option that drops it.
RESET = {"optimizer": "reset_optimizer", "lr_scheduler": "reset_lr_scheduler"}
# Options that decide which pairs a batch holds, as fairseq names them.
BATCHES = ("max_tokens", "batch_size", "update_freq", "distributed_world_size", "seed")


class Batching(NamedTuple):
    """Everything that decides which pairs a batch holds and which batches a process gets, besides the text.

    Attributes:
        max_tokens, batch_size: limits of a batch; None: no limit.
        processes: how many share the batches of an epoch.
        update_freq: batches of a process in one update, in this epoch.
        seed: of the order.
    """

    max_tokens: int | None
    batch_size: int | None
    processes: int
    update_freq: int
    seed: int

    def changes_from(self, before: "Batching") -> str:
        """What is different, for a sentence: `--batch-size 8 (was 16)`."""
        return ", ".join(
            f"{'number of processes' if name == 'processes' else option(name)} {now} (was {old})"
            for name, now, old in zip(self._fields, self, before, strict=True)
            if now != old
        )


def option(name: str) -> str:
    """A name in fairseq's configuration as the option of the command line."""
    return f"--{name.replace('_', '-')}"


def refuse_changes(before: Mapping[str, Any], now: Mapping[str, Any], checkpoint: str) -> None:
    """Refuses to go on with another method.

    Args:
        before, now: values by option; only names that both have are compared.
        checkpoint: how to call the checkpoint in the message.

    Raises:
        InputError: an option that a run keeps is another one, or one of RESET, without the option that allows it.
    """
    for name in (*KEPT, *KEPT_BY_MODEL, *RESET):
        if name not in before or name not in now or before[name] == now[name] or now.get(RESET.get(name, "")):
            continue
        old, new = (",".join(value) if isinstance(value, list) else value for value in (before[name], now[name]))
        reset = f", or add {option(RESET[name])} to go on without the old one's state" if name in RESET else ""
        raise InputError(
            f"A run must keep its {option(name)}, but {checkpoint} was trained with {old}, and now it is {new}. To "
            "train these weights in another way, start a new run from them: --finetune-from-model and another "
            f"--save-dir{reset}."
        )


class ResumableEpoch(EpochBatchIterator):  # type: ignore[misc]
    """fairseq's iterator over the batches of an epoch, which goes on by the pairs that were seen.

    Args:
        dataset: set to the epoch.
        epoch: from 1.
        batching: how batches are made from here on.
        kept: values of the options in KEPT.
        longest: the most pieces of a pair; longer ones are left out. None: no limit.
        options: of EpochBatchIterator.
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
        # Batches of other sizes that this epoch has used before, and in which order: see `state_dict`.
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
        """fairseq's place in the epoch, what the run keeps, and how many batches of which kind were used.

        `used` lists, for each kind of batches that this epoch has had, its `Batching`, whether they were shuffled, and
        how many of them each process has used; the last one is fairseq's own count.
        """
        state: dict[str, Any] = super().state_dict()
        count = state["iterations_in_epoch"]
        used = [*self._before, self._used(count)] if count else []
        text = _digest(self.dataset) if count else None
        return {**state, "shuffle": self._shuffled, "weam": {"kept": self.kept, "text": text, "used": used}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes to the place that a checkpoint holds.

        Raises:
            InputError: the checkpoint was trained in another way, or the epoch's text is another one.
        """
        count = self.go_to(state_dict)
        super().load_state_dict({**state_dict, "iterations_in_epoch": count})

    def go_to(self, state: dict[str, Any]) -> int:
        """Puts the pairs that are left into batches, and says how many of these have been used.

        Raises:
            InputError: as `load_state_dict`.
        """
        known = state.get("weam")
        count = int(state.get("iterations_in_epoch", 0))
        if known is None:  # of an older version, with the same batches (command_line.py refuses others)
            return count
        refuse_changes(known["kept"], self.kept, "the checkpoint")
        if not count:
            return 0
        if known["text"] != _digest(self.dataset):
            raise InputError(
                f"Within an epoch a run must keep its text, but the checkpoint is from within epoch {state['epoch']} "
                "of another one. Train with the same data-bin, or add --reset-dataloader to begin epoch 1 with this "
                "one."
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
        """How many batches this process has after the place that a checkpoint holds, to the end of the epoch."""
        count = self.go_to(state)
        return len(self) - count

    def _left(self, epoch: int) -> tuple[np.ndarray, int]:
        """(M,) virtual indices that no batch has held, in the order for new batches; how many there were at first."""
        left = everything = self._ordered(self.dataset, epoch, self.batching)
        for used in self._before:
            batching = Batching(**{name: used[name] for name in Batching._fields})
            if batching.seed != self.batching.seed and self.kept["sampling_temperature"] != 1:
                raise InputError(
                    "Within an epoch whose pairs are drawn (--sampling-temperature) a run must keep its --seed, but it "
                    f"was {batching.seed} and is {self.batching.seed}. Change it at the end of an epoch, or add "
                    "--reset-dataloader to begin epoch 1 again."
                )
            then = self._ordered(self.dataset, epoch, batching)
            batches = _make_batches(self.dataset, then[np.isin(then, left)], batching)
            seen = [
                index
                for shard in range(batching.processes)
                for batch in _of_process(self, batches, batching, shard).ordered_batches(epoch, False, used["shuffle"])[
                    : used["batches"]
                ]
                for index in batch
            ]
            left = left[~np.isin(left, seen)]
        return left, len(everything)

    def _ordered(self, dataset: FairseqWordExchangeDataset, epoch: int, batching: Batching) -> np.ndarray:
        indices = dataset.ordered_indices(np.random.RandomState(batching.seed + epoch))
        if self.longest is None:
            return indices
        fits, too_long = dataset.filter_indices_by_size(indices, self.longest)
        if too_long:
            logger.warning(
                "%s of %s pairs are left out: they have more than %d pieces", len(too_long), len(indices), self.longest
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
    """fairseq's iterator over these batches, for the order in which a process gets them."""
    return EpochBatchIterator(
        epoch.dataset,
        epoch.collate_fn,
        batches,
        seed=batching.seed,
        num_shards=batching.processes,
        shard_id=process,
    )


def _digest(dataset: FairseqWordExchangeDataset) -> str:
    """Of what tells the pairs of a text apart here: how many each language pair has, and their lengths."""
    found = hashlib.blake2b(dataset.pair_sizes.tobytes(), digest_size=8)
    found.update(np.ascontiguousarray(dataset.sizes).data)
    return found.hexdigest()
