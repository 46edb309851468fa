"""Runs weam-train and sends it a signal during a given update, so that tests need no timing.

    python train_with_signal.py SIGNAL UPDATE RANK (all of weam-train's arguments)

The signal goes to the process group, data workers included, as Slurm sends it; with "only" before the update, to this
process alone.
"""

import os
import signal
import sys
from functools import wraps

import fairseq_cli.train  # noqa: F401 - first: it sets up logging
from fairseq.trainer import Trainer

from weam_fairseq.training import train

number, update, rank = signal.Signals[sys.argv[1]], int(sys.argv[2].removeprefix("only")), sys.argv[3]
step = Trainer.train_step


@wraps(step)
def told(self: Trainer, *args: object, **kwargs: object) -> object:
    if self.get_num_updates() + 1 == update and os.environ.get("RANK", "0") == rank:
        if sys.argv[2].startswith("only"):
            os.kill(os.getpid(), number)
        else:
            os.killpg(0, number)
    return step(self, *args, **kwargs)


if __name__ == "__main__":
    Trainer.train_step = told
    train.main(sys.argv[4:])
