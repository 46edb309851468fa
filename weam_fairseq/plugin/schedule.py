"""Counts the updates of a run with a given number of epochs. polynomial_decay needs it, and fairseq lacks it."""

import math
from argparse import Namespace
from collections.abc import Container
from typing import Any

from fairseq import tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.utils import resolve_max_positions, split_paths

from weam_fairseq.common.errors import InputError
from weam_fairseq.plugin.checkpoints import Glance
from weam_fairseq.plugin.model import longest_pair
from weam_fairseq.plugin.resume import BATCHES, ResumableEpoch

SCHEDULE = "polynomial_decay"
# Options besides those of the batches that affect the number of updates.
LENGTH = (
    "max_epoch",
    "max_update",
    "data",
    "positions",
    "encoder_config",
    "skip_remainder_batch",
    "update_ordered_indices_seed",
)


def lacks_total(args: Namespace) -> bool:
    """Whether the schedule needs the number of updates and the command line does not give it."""
    return getattr(args, "lr_scheduler", None) == SCHEDULE and getattr(args, "total_num_update", None) is None


def total_updates(
    args: Namespace, seen: Glance | None = None, changed: Container[str] = frozenset()
) -> tuple[int, str]:
    """Returns the number of updates in a complete run, and a message about it.

    Batches the data-bin as fairseq will (--batch-size or --max-tokens, number of processes, --update-freq) and counts
    up to --max-update. If a run resumes with other batches, its total is the updates it has made plus the updates that
    remain with the new batches.

    Args:
        args: parsed options, including those of distributed training.
        seen: the checkpoint from which the run resumes.
        changed: options that differ from those of the checkpoint.

    Raises:
        InputError: neither --max-epoch nor --max-update is given, or the task rejects the data-bin.
    """
    limit, epochs = int(args.max_update or 0), int(args.max_epoch or 0)
    if limit and not epochs:
        return limit, f"--lr-scheduler {SCHEDULE}: the learning rate falls until --max-update {limit:,}."
    if not epochs:
        raise InputError(
            f"--lr-scheduler {SCHEDULE} needs the length of the run, but none is given. Give --max-epoch, --max-update "
            "or --total-num-update."
        )
    made, place = 0, {"epoch": 1}
    if seen is not None:
        resets = args.reset_dataloader or args.reset_optimizer
        earlier_total = int(float(getattr(seen.model, "total_num_update", None) or 0))
        if earlier_total and not resets and not any(name in changed for name in (*LENGTH, *BATCHES)):
            return earlier_total, f"--lr-scheduler {SCHEDULE}: --total-num-update {earlier_total}, as before."
        made = 0 if args.reset_optimizer else seen.updates
        place = seen.place or place if not args.reset_dataloader else place
    left = sum(_updates_by_epoch(args, epochs, place))
    total = min(made + left, limit) if limit else made + left
    span = "1 epoch is" if epochs == 1 else f"{epochs:,} epochs are"
    if made:
        span = f"{made:,} updates are made and {left:,} remain, in total"
        return max(total, 1), f"--lr-scheduler {SCHEDULE}: {span} {total:,} (--total-num-update {total})."
    return total, f"--lr-scheduler {SCHEDULE}: {span} {total:,} updates (--total-num-update {total})."


def _updates_by_epoch(args: Namespace, epochs: int, place: dict[str, Any]) -> list[int]:
    """Returns the number of updates in each epoch, starting at the position in a checkpoint."""
    # fairseq's configuration requires a number here, so use a placeholder.
    cfg = convert_namespace_to_omegaconf(Namespace(**{**vars(args), "total_num_update": 1.0}))
    task = tasks.setup_task(cfg.task)
    frequencies = cfg.optimization.update_freq
    batches: dict[int, int] = {}
    updates = []
    first = int(place["epoch"])
    for epoch in range(first, epochs + 1):
        frequency = frequencies[min(epoch, len(frequencies)) - 1]
        skip_remainder = bool(cfg.optimization.skip_remainder_batch)
        if epoch == first and place.get("iterations_in_epoch"):
            left = _epoch(cfg, task, epoch).batches_left(place)
            updates.append(_updates(left, frequency, skip_remainder=skip_remainder))
            continue
        # Every epoch has the same number of batches per shard, unless sampling draws new pairs. Shards rotate.
        data_key = epoch if cfg.task.sampling_temperature != 1 else (epoch - 1) % len(split_paths(cfg.task.data))
        if data_key not in batches:
            batches[data_key] = len(_epoch(cfg, task, epoch))
        updates.append(_updates(batches[data_key], frequency, skip_remainder=skip_remainder))
    return updates


def _epoch(cfg: Any, task: Any, epoch: int) -> ResumableEpoch:
    """Makes the batches of one process, as Trainer.get_train_iterator does."""
    subset = cfg.dataset.train_subset
    task.load_dataset(subset, epoch=epoch)
    batches: ResumableEpoch = task.get_batch_iterator(
        dataset=task.dataset(subset),
        max_tokens=cfg.dataset.max_tokens,
        max_sentences=cfg.dataset.batch_size,
        max_positions=resolve_max_positions(
            task.max_positions(), longest_pair(cfg.model, task), cfg.dataset.max_tokens
        ),
        ignore_invalid_inputs=True,
        required_batch_size_multiple=cfg.dataset.required_batch_size_multiple,
        seed=cfg.common.seed + (epoch if cfg.dataset.update_ordered_indices_seed else 0),
        num_shards=cfg.distributed_training.distributed_world_size,
        epoch=epoch,
    )
    return batches


def _updates(batches: int, frequency: int, *, skip_remainder: bool) -> int:
    """Number of updates. --skip-remainder-batch leaves out the last batch and then the last incomplete update."""
    return (batches - 1) // frequency if skip_remainder else math.ceil(batches / frequency)
