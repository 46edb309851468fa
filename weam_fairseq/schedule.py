"""How many updates a run of so many epochs makes: what "linear over E epochs" needs and fairseq does not work out."""

import math
from argparse import Namespace
from typing import Any

from fairseq import tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.utils import resolve_max_positions, split_paths

from .common.errors import InputError
from .encoder import EncoderConfig

SCHEDULE = "polynomial_decay"


def lacks_total(args: Namespace) -> bool:
    """Whether the schedule must know the number of updates, and the command line does not say it."""
    return getattr(args, "lr_scheduler", None) == SCHEDULE and getattr(args, "total_num_update", None) is None


def total_updates(args: Namespace) -> tuple[int, str]:
    """The updates of a whole run, as fairseq will make them, and a sentence that says so.

    Counted on the data-bin itself, batched as fairseq will batch it (--batch-size and --max-tokens alike), for the
    number of processes and --update-freq; up to --max-update, if that comes first.

    Args:
        args: parsed options, those of distributed training included.

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
    total = sum(_updates_by_epoch(args, epochs))
    total = min(total, limit) if limit else total
    span = "1 epoch is" if epochs == 1 else f"{epochs:,} epochs are"
    return total, f"--lr-scheduler {SCHEDULE}: {span} {total:,} updates (--total-num-update {total})."


def _updates_by_epoch(args: Namespace, epochs: int) -> list[int]:
    # fairseq's configuration cannot be made without the number that is looked for.
    cfg = convert_namespace_to_omegaconf(Namespace(**{**vars(args), "total_num_update": 1.0}))
    task = tasks.setup_task(cfg.task)
    frequencies = cfg.optimization.update_freq
    batches: dict[int, int] = {}
    updates = []
    for epoch in range(1, epochs + 1):
        # The same text makes as many batches in every epoch, unless it is drawn anew; shards follow in a circle.
        alike = epoch if cfg.task.sampling_temperature != 1 else (epoch - 1) % len(split_paths(cfg.task.data))
        if alike not in batches:
            batches[alike] = _batches_of_one_process(cfg, task, epoch)
        each = frequencies[min(epoch, len(frequencies)) - 1]
        updates.append(_updates(batches[alike], each, skip_remainder=bool(cfg.optimization.skip_remainder_batch)))
    return updates


def _batches_of_one_process(cfg: Any, task: Any, epoch: int) -> int:
    """As Trainer.get_train_iterator makes them."""
    subset = cfg.dataset.train_subset
    task.load_dataset(subset, epoch=epoch)
    iterator = task.get_batch_iterator(
        dataset=task.dataset(subset),
        max_tokens=cfg.dataset.max_tokens,
        max_sentences=cfg.dataset.batch_size,
        max_positions=resolve_max_positions(
            task.max_positions(), EncoderConfig.of(cfg.model, 0, 0).longest, cfg.dataset.max_tokens
        ),
        ignore_invalid_inputs=True,
        required_batch_size_multiple=cfg.dataset.required_batch_size_multiple,
        seed=cfg.common.seed + (epoch if cfg.dataset.update_ordered_indices_seed else 0),
        num_shards=cfg.distributed_training.distributed_world_size,
        epoch=epoch,
    )
    return len(iterator)


def _updates(batches: int, each: int, *, skip_remainder: bool) -> int:
    """Updates of so many batches; with --skip-remainder-batch without the last batch and the last incomplete group."""
    return (batches - 1) // each if skip_remainder else math.ceil(batches / each)
