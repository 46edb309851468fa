"""weam-train that waits before an update until it is told what to do: a test can stop a training that surely runs.

    python gated_training.py (all of weam-train's arguments)

WEAM_TEST_GATE names a file with the number of an update. Before that update each process writes GATE.NUMBER.NODE.PID,
with the name of its Slurm node, and waits until the file holds another number or a signal came. Without the variable
it is weam-train.
"""

import os
import sys
import time
from functools import wraps
from pathlib import Path

import fairseq_cli.train  # noqa: F401 - first: it sets up logging
from fairseq.trainer import Trainer

from weam_fairseq.training import preemption, train

step = Trainer.train_step


@wraps(step)
def gated(self: Trainer, *args: object, **kwargs: object) -> object:
    gate, number = Path(os.environ["WEAM_TEST_GATE"]), str(self.get_num_updates() + 1)
    if gate.read_text() == number:
        Path(f"{gate}.{number}.{os.environ['SLURMD_NODENAME']}.{os.getpid()}").touch()
    while gate.read_text() == number and preemption.WATCH.told is None:
        time.sleep(0.05)
    return step(self, *args, **kwargs)


if __name__ == "__main__":
    if "WEAM_TEST_GATE" in os.environ:
        Trainer.train_step = gated
    train.main(sys.argv[1:])
