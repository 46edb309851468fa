"""A mend of fairseq's trainer: the last update of an epoch in several processes with --update-freq.

Where the batches of an epoch do not divide evenly, some processes get an empty one at the end, for which fairseq trains
on a stand-in and counts nothing. With --update-freq it then counts nothing of the whole group: of the batches before it
the gradient is kept and the size is lost, so that the update is too large, and their losses are not logged.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any


def without_stand_ins(train_step: Callable[..., Any]) -> Callable[..., Any]:
    """`Trainer.train_step` that sees a stand-in only where the process has no batch at all for an update."""

    @wraps(train_step)
    def mended(self: Any, samples: list[Any], *args: Any, **kwargs: Any) -> Any:
        return train_step(self, [sample for sample in samples if sample] or samples[-1:], *args, **kwargs)

    return mended


def mend_last_update() -> None:
    """Puts it into fairseq, once."""
    from fairseq.trainer import Trainer

    if not hasattr(Trainer.train_step, "__weam__"):
        Trainer.train_step = without_stand_ins(Trainer.train_step)
        Trainer.train_step.__weam__ = True
