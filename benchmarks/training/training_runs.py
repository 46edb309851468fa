"""Real runs of weam-train: whether it waits for data, how soon it starts, and how it scales to two processes."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

BIN = Path(sys.executable).parent
WEAM_TRAIN = str(BIN / "weam-train")
MANY = 3_000_000  # pairs
UPDATES = 4
_HEAD = struct.Struct("<9sQBQ")  # of an .idx file: weam_fairseq/data/indexed_file.py


def _words(data_bin: Path, *more: str) -> list[str]:
    words = f"{data_bin} --arch weam_small --optimizer adam_bert --lr 5e-5 --lr-scheduler fixed"
    words += " --seed 1 --no-save --disable-validation --log-format json --log-interval 1 --num-workers 1"
    return [*words.split(), *more]


def _run(command: list[str], threads: int | None = None) -> list[tuple[float, dict[str, Any]]]:
    """Seconds since the start and what was logged, for each update."""
    env = {**os.environ, **({} if threads is None else {"OMP_NUM_THREADS": str(threads)})}
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
    assert process.stdout is not None
    logged = []
    for line in process.stdout:
        if " | train_inner | " in line:
            logged.append((time.perf_counter() - start, json.loads(line.split(" | ")[-1])))
    if process.wait():
        raise SystemExit(f"{' '.join(command[:3])} … ended with exit code {process.returncode}.")
    return logged


def waiting(data_bin: Path, updates: int = 10) -> dict[str, Any]:
    """Share of the time that the loop of an epoch waits for its next batch, after the first one."""
    child = [sys.executable, str(Path(__file__)), "--waiting", str(data_bin), str(updates)]
    told = subprocess.run(child, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, Any] = json.loads(told.splitlines()[-1])
    return found


def _waiting(data_bin: Path, updates: int) -> None:
    """The loop of fairseq_cli.train.train, with a clock around the iterator."""
    answers, sys.stdout = sys.stdout, sys.stderr
    import weam_fairseq

    weam_fairseq.register()
    from fairseq import options, tasks
    from fairseq.data import iterators
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from fairseq.trainer import Trainer

    words = [*_words(data_bin, "--batch-size", "32", "--cpu", "--task", "weam", "--criterion", "weam")]
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), words))
    task = tasks.setup_task(cfg.task)
    trainer = Trainer(cfg, task, task.build_model(cfg.model), task.build_criterion(cfg.criterion))
    epoch = trainer.get_train_iterator(epoch=1)
    trainer.begin_epoch(1)
    batches = iter(iterators.GroupedIterator(epoch.next_epoch_itr(shuffle=True), 1))
    trainer.train_step(next(batches))
    waited, start = 0.0, time.perf_counter()
    for _ in range(updates):
        before = time.perf_counter()
        samples = next(batches)
        waited += time.perf_counter() - before
        trainer.train_step(samples)
    seconds = time.perf_counter() - start
    print(json.dumps({"waited": waited, "seconds": seconds, "updates": updates}), file=answers, flush=True)
    os._exit(0)  # otherwise the worker continues reading


def start(data_bin: Path, scratch: Path) -> dict[str, Any]:
    """Seconds from the command to the end of the first update, for a data-bin of MANY pairs."""
    folder = scratch / "data-bin.many"
    if not (folder / "manifest.json").is_file():
        repeat(data_bin, folder, MANY)
    first = _run([WEAM_TRAIN, *_words(folder, "--batch-size", "32", "--max-update", "1")])
    return {"seconds": first[0][0], "pairs": MANY}


def repeat(data_bin: Path, folder: Path, pairs: int) -> None:
    """A copy of a data-bin whose training pairs come again and again, until there are at least `pairs`."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(data_bin, folder, ignore=shutil.ignore_patterns("train.*"))
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").unlink()
    times = -(-pairs // sum(counts["train"] for counts in manifest["pairs"].values()))
    for index in data_bin.glob("train.*.idx"):
        _repeat_file(index, folder / index.name, times)
    for counts in manifest["pairs"].values():
        counts["train"] *= times
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _repeat_file(index: Path, destination: Path, times: int) -> None:
    stored = index.read_bytes()
    magic, version, code, count = _HEAD.unpack(stored[: _HEAD.size])
    sizes = np.frombuffer(stored, np.int32, count, _HEAD.size)
    begins = np.frombuffer(stored, np.int64, count, _HEAD.size + 4 * count)
    data = index.with_suffix(".bin").read_bytes()
    with destination.with_suffix(".bin").open("wb") as stream:
        for _ in range(times):
            stream.write(data)
    with destination.open("wb") as stream:
        stream.write(_HEAD.pack(magic, version, code, count * times))
        stream.write(np.tile(sizes, times).tobytes())
        stream.write((begins[None, :] + len(data) * np.arange(times)[:, None]).astype(np.int64).tobytes())


def together(data_bin: Path, scratch: Path, processes: int) -> dict[str, Any]:
    """Seconds of an update of 2,048 pieces for each process, one thread each, and pieces per second."""
    command = [WEAM_TRAIN]
    if processes > 1:
        command = [str(BIN / "torchrun"), "--standalone", "--nproc_per_node", str(processes), WEAM_TRAIN]
    more = ("--max-tokens", "2048", "--max-update", str(UPDATES), "--cpu")
    logged = _run([*command, *_words(data_bin, *more)], threads=1)
    ends = [seconds for seconds, _ in logged]
    each = [after - before for before, after in pairwise(ends[1:])]
    rates = [float(record["wps"]) for _, record in logged[2:]]
    return {"seconds": median(each), "wps": median(rates), "updates": len(each)}


if __name__ == "__main__" and sys.argv[1:2] == ["--waiting"]:
    _waiting(Path(sys.argv[2]), int(sys.argv[3]))
