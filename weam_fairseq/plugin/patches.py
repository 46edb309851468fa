"""Patches of fairseq's trainer: the last update of an epoch, random numbers of several processes, a missing loss.

If the batches of an epoch do not divide evenly among the processes, some processes get an empty batch at the end.
fairseq then trains on a dummy batch and ignores its result. With --update-freq it ignores the sizes and losses of all
batches in the update, but keeps their gradients. So the update is too large, and losses are missing in the log.
"""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from weam_fairseq.plugin.checkpoints import fail_unless_saved


def without_dummy_batches(train_step: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps `Trainer.train_step`: uses a dummy batch only if the process has no other batch in the update."""

    @wraps(train_step)
    def patched(self: Any, samples: list[Any], *args: Any, **kwargs: Any) -> Any:
        return train_step(self, [sample for sample in samples if sample] or samples[-1:], *args, **kwargs)

    return patched


def seed_by_rank(set_seed: Callable[..., None]) -> Callable[..., None]:
    """Wraps `Trainer._set_seed`: gives each process its own seed for dropout. fairseq uses the same seed for all.

    Rank 0 keeps fairseq's seed, so a run with one process does not change.
    """

    @wraps(set_seed)
    def patched(self: Any) -> None:
        set_seed(self)
        if self.data_parallel_rank > 0:
            from fairseq.utils import set_torch_seed

            key = [self.cfg.common.seed, self.get_num_updates(), self.data_parallel_rank]
            # torch's CPU generator uses only 32 bits of a seed.
            set_torch_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))

    return patched


def with_fitted_head(build_optimizer: Callable[..., None]) -> Callable[..., None]:
    """Wraps `Trainer._build_optimizer`: first fits a new head, and gives the optimizer all parameters.

    At this point the weights are loaded, and the optimizer has not yet copied half-precision weights. fairseq's
    optimizer gets the parameters that have gradients now. It must also get those that --head-first still freezes.
    """

    @wraps(build_optimizer)
    def patched(self: Any) -> None:
        from weam_fairseq.plugin.new_head import fit_new_head

        fit_new_head(self)
        model = self.get_model()
        model.set_num_updates(getattr(model, "head_first", 0))
        build_optimizer(self)
        model.set_num_updates(self.get_num_updates())

    return patched


def without_loss(get_valid_stats: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps `fairseq_cli.train.get_valid_stats`: does not compare losses if the validation has no masked piece."""

    @wraps(get_valid_stats)
    def patched(cfg: Any, trainer: Any, stats: dict[str, Any], tracking_best: bool) -> Any:
        has_loss = stats.get(cfg.checkpoint.best_checkpoint_metric) is not None
        return get_valid_stats(cfg, trainer, stats, tracking_best and has_loss)

    return patched


def patch_trainer() -> None:
    """Installs the patches in fairseq, once."""
    from fairseq.trainer import Trainer

    if not hasattr(Trainer.train_step, "__weam__"):
        Trainer.train_step = without_dummy_batches(Trainer.train_step)
        Trainer.train_step.__weam__ = True
        Trainer._set_seed = seed_by_rank(Trainer._set_seed)
        Trainer._build_optimizer = with_fitted_head(Trainer._build_optimizer)
    command: Any = sys.modules.get("fairseq_cli.train")  # not imported here, because that would configure logging
    if command is not None and not hasattr(command.get_valid_stats, "__weam__"):
        command.main = fail_unless_saved(command.main)
        command.get_valid_stats = without_loss(command.get_valid_stats)
        command.get_valid_stats.__weam__ = True
