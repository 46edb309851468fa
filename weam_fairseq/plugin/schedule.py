"""How many updates a run of so many epochs makes: what "linear over E epochs" needs and fairseq does not work out."""

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
# Besides the batches, what decides how many updates a run has.
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
    """Whether the schedule must know the number of updates, and the command line does not say it."""
    return getattr(args, "lr_scheduler", None) == SCHEDULE and getattr(args, "total_num_update", None) is None


def total_updates(
    args: Namespace, seen: Glance | None = None, changed: Container[str] = frozenset()
) -> tuple[int, str]:
    """The updates of a whole run, as fairseq will make them, and a sentence that says so.

    Counted on the data-bin itself, batched as fairseq will batch it (--batch-size and --max-tokens alike), for the
    number of processes and --update-freq; up to --max-update, if that comes first. A run that goes on with other
    batches than before has the updates that it has made, and those that are left with the new batches.

    Args:
        args: parsed options, those of distributed training included.
        seen: the checkpoint that the run goes on from.
        changed: options that are different from that checkpoint's.

    Raises:
        InputError: neither --max-epoch nor --max-update is given; or as the task says of the data-bin.
    """
    limit, epochs = int(args.max_update or 0), int(args.max_epoch or 0)
    if limit and not epochs:
        return limit, f"--lr-scheduler {SCHEDULE}: the learning rate falls until --max-update {limit:,}."
    if not epochs:
        raise InputError(
            f"--lr-scheduler {SCHEDULE} must know how long the run is, but nothing says it: give --max-epoch, "
            "--max-update or --total-num-update."
        )
    made, place = 0, {"epoch": 1}
    if seen is not None:
        resets = args.reset_dataloader or args.reset_optimizer
        known = int(float(getattr(seen.model, "total_num_update", None) or 0))
        if known and not resets and not any(name in changed for name in (*LENGTH, *BATCHES)):
            return known, f"--lr-scheduler {SCHEDULE}: --total-num-update {known}, as before."
        made = 0 if args.reset_optimizer else seen.updates
        place = seen.place or place if not args.reset_dataloader else place
    left = sum(_updates_by_epoch(args, epochs, place))
    total = min(made + left, limit) if limit else made + left
    span = "1 epoch is" if epochs == 1 else f"{epochs:,} epochs are"
    if made:
        span = f"{made:,} updates are made, and with the {left:,} that are left it"
        return max(total, 1), f"--lr-scheduler {SCHEDULE}: {span} is {total:,} (--total-num-update {total})."
    return total, f"--lr-scheduler {SCHEDULE}: {span} {total:,} updates (--total-num-update {total})."


def _updates_by_epoch(args: Namespace, epochs: int, place: dict[str, Any]) -> list[int]:
    """Updates from a place, as a checkpoint holds it, to the end of each epoch."""
    # fairseq's configuration cannot be made without the number that is looked for.
    cfg = convert_namespace_to_omegaconf(Namespace(**{**vars(args), "total_num_update": 1.0}))
    task = tasks.setup_task(cfg.task)
    frequencies = cfg.optimization.update_freq
    batches: dict[int, int] = {}
    updates = []
    first = int(place["epoch"])
    for epoch in range(first, epochs + 1):
        each = frequencies[min(epoch, len(frequencies)) - 1]
        skip_remainder = bool(cfg.optimization.skip_remainder_batch)
        if epoch == first and place.get("iterations_in_epoch"):
            left = _epoch(cfg, task, epoch).batches_left(place)
            updates.append(_updates(left, each, skip_remainder=skip_remainder))
            continue
        # The same text makes as many batches in every epoch, unless it is drawn anew; shards follow in a circle.
        alike = epoch if cfg.task.sampling_temperature != 1 else (epoch - 1) % len(split_paths(cfg.task.data))
        if alike not in batches:
            batches[alike] = len(_epoch(cfg, task, epoch))
        updates.append(_updates(batches[alike], each, skip_remainder=skip_remainder))
    return updates


def _epoch(cfg: Any, task: Any, epoch: int) -> ResumableEpoch:
    """The batches of one process, as Trainer.get_train_iterator makes them."""
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


def _updates(batches: int, each: int, *, skip_remainder: bool) -> int:
    """Updates of so many batches; with --skip-remainder-batch without the last batch and the last incomplete group."""
    return (batches - 1) // each if skip_remainder else math.ceil(batches / each)
