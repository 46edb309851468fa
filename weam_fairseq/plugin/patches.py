"""Mends of fairseq's trainer: the last update of an epoch, the random numbers of several processes, a missing loss.

Where the batches of an epoch do not divide evenly, some processes get an empty one at the end, for which fairseq trains
on a stand-in and counts nothing. With --update-freq it then counts nothing of the whole group: of the batches before it
the gradient is kept and the size is lost, so that the update is too large, and their losses are not logged.
"""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from weam_fairseq.plugin.checkpoints import fail_unless_saved


def without_stand_ins(train_step: Callable[..., Any]) -> Callable[..., Any]:
    """`Trainer.train_step` that sees a stand-in only where the process has no batch at all for an update."""

    @wraps(train_step)
    def mended(self: Any, samples: list[Any], *args: Any, **kwargs: Any) -> Any:
        return train_step(self, [sample for sample in samples if sample] or samples[-1:], *args, **kwargs)

    return mended


def seed_by_rank(set_seed: Callable[..., None]) -> Callable[..., None]:
    """`Trainer._set_seed`, but each process draws dropout of its own: fairseq gives the same seed to all of them.

    Rank 0 keeps fairseq's seed, so that a run of one process is what it was.
    """

    @wraps(set_seed)
    def mended(self: Any) -> None:
        set_seed(self)
        if self.data_parallel_rank > 0:
            from fairseq.utils import set_torch_seed

            key = [self.cfg.common.seed, self.get_num_updates(), self.data_parallel_rank]
            # torch's generator on a CPU looks at 32 bits of a seed.
            set_torch_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))

    return mended


def with_fitted_head(build_optimizer: Callable[..., None]) -> Callable[..., None]:
    """`Trainer._build_optimizer`, before which a new head is fitted: the weights are loaded, and the optimizer makes
    copies of them where they are in half precision."""

    @wraps(build_optimizer)
    def mended(self: Any) -> None:
        from weam_fairseq.plugin.new_head import fit_new_head

        fit_new_head(self)
        build_optimizer(self)

    return mended


def without_loss(get_valid_stats: Callable[..., Any]) -> Callable[..., Any]:
    """`fairseq_cli.train.get_valid_stats` for a validation without a masked piece: it has no loss to compare."""

    @wraps(get_valid_stats)
    def mended(cfg: Any, trainer: Any, stats: dict[str, Any], tracking_best: bool) -> Any:
        has_loss = stats.get(cfg.checkpoint.best_checkpoint_metric) is not None
        return get_valid_stats(cfg, trainer, stats, tracking_best and has_loss)

    return mended


def mend_trainer() -> None:
    """Puts the mends into fairseq, once."""
    from fairseq.trainer import Trainer

    if not hasattr(Trainer.train_step, "__weam__"):
        Trainer.train_step = without_stand_ins(Trainer.train_step)
        Trainer.train_step.__weam__ = True
        Trainer._set_seed = seed_by_rank(Trainer._set_seed)
        Trainer._build_optimizer = with_fitted_head(Trainer._build_optimizer)
    command: Any = sys.modules.get("fairseq_cli.train")  # importing it would set up logging
    if command is not None and not hasattr(command.get_valid_stats, "__weam__"):
        command.main = fail_unless_saved(command.main)
        command.get_valid_stats = without_loss(command.get_valid_stats)
        command.get_valid_stats.__weam__ = True
