"""No data worker outlives its trainer, even with unread messages."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hand_made_data_bin import random_examples, write_data_bin

TRAINER = """
import sys
from torch.multiprocessing import active_children
from torch.utils.data import DataLoader
from weam_fairseq.plugin.task import WeamTask, WeamTaskConfig

task = WeamTask.setup_task(WeamTaskConfig(data=sys.argv[1], seed=1))
task.load_dataset("train")
data = task.dataset("train")
batches = [list(range(len(data)))] * 50  # each larger than a pipe holds
loader = iter(DataLoader(data, batch_sampler=batches, collate_fn=data.collater, num_workers=1, prefetch_factor=8))
next(loader)
(worker,) = active_children()
print(worker.pid, flush=True)
sys.stdin.readline()
"""


def test_a_worker_ends_with_its_trainer(tmp_path: Path) -> None:
    data_bin = write_data_bin(tmp_path / "bin", {"en-de": {"train": random_examples(2000, 1)}})
    command = [sys.executable, "-c", TRAINER, str(data_bin)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as trainer:
        assert trainer.stdout is not None
        worker = Path("/proc", trainer.stdout.readline().strip())
        time.sleep(2)  # until the pipe is full
        assert worker.name.isdigit()
        assert worker.exists()
        trainer.kill()
        trainer.wait(60)  # communicate() would wait for the worker too, which holds the pipe
    deadline = time.monotonic() + 60
    while worker.exists() and worker.joinpath("stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
        if time.monotonic() > deadline:
            os.kill(int(worker.name), signal.SIGKILL)
            pytest.fail("the worker has outlived its trainer by a minute")
        time.sleep(0.2)
