"""Runs a Python file as two ranks under torchrun's agent, which forks them: they need not import torch again.

python by_torchrun.py FILE.py (all of the file's arguments)
"""

import os
import runpy
import sys

from torch.distributed.launcher.api import LaunchConfig, elastic_launch


def rank(words: list[str]) -> None:
    os.setsid()  # as torchrun starts its programs
    sys.argv = words
    runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    # What torchrun --standalone --nproc_per_node 2 asks for.
    standalone = LaunchConfig(1, 1, 2, run_id="test", rdzv_backend="c10d", rdzv_endpoint="localhost:0")
    standalone.max_restarts, standalone.start_method = 0, "fork"
    elastic_launch(standalone, rank)(sys.argv[1:])
