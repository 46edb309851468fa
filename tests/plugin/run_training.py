"""Real trainings of seconds, in processes of their own, and what they log."""

import json
import os
import subprocess
from pathlib import Path

import warm_process

from weam_fairseq.plugin import checkpoints

# fairseq's values where weam-train has others: the golden curves are of these.
FAIRSEQS = (
    "--clip-norm 0 --adam-betas (0.9,0.999) --adam-eps 1e-8 --weight-decay 0 --precision fp32 --retrieval-pairs 0"
)
# One thread: sums of floating-point numbers are the same on any number of cores.
ENVIRONMENT = {**os.environ, **warm_process.ONE_THREAD}


def arguments(data_bin: Path, save_dir: Path, updates: int, *more: str) -> list[str]:
    words = f"{data_bin} --arch weam_tiny --optimizer adam --lr 1e-3 --lr-scheduler polynomial_decay --warmup-updates 4"
    words += f" --total-num-update 20 --max-update {updates} --batch-size 16 --seed 5 --save-dir {save_dir}"
    words += " --log-format json --log-interval 1 --save-interval-updates 5 --no-epoch-checkpoints --num-workers 1"
    return [*words.split(), *FAIRSEQS.split(), *more]


def train(words: list[str], program: tuple[str, ...] = ("weam-train",)) -> subprocess.CompletedProcess:
    """Runs weam-train, or a Python file before these words, in a session of its own."""
    return warm_process.run(*program, *words, env=ENVIRONMENT)


def updates_of(log: str) -> dict[int, dict[str, str]]:
    """Update -> what was logged."""
    records = [json.loads(line.split(" | ")[-1]) for line in log.splitlines() if " | train_inner | " in line]
    return {int(record["num_updates"]): record for record in records}


def curve(log: str) -> dict[int, str]:
    """Update -> loss, as logged."""
    return {update: record["loss"] for update, record in updates_of(log).items()}


def error_of(result: subprocess.CompletedProcess) -> str:
    """The one sentence that a failed weam-train ends with."""
    assert result.returncode == 2, result.stderr
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("weam-train: error: "), result.stderr
    return last.removeprefix("weam-train: error: ")


def said(result: subprocess.CompletedProcess) -> list[str]:
    """The sentences that weam-train itself prints."""
    assert result.returncode == 0, result.stderr
    return [line.removeprefix("weam-train: ") for line in result.stdout.splitlines() if line.startswith("weam-train: ")]


def weights(checkpoint: Path) -> dict:
    """The trained tensors of a checkpoint, by name."""
    return {name: value for name, value in checkpoints.load(checkpoint)["model"].items() if value.is_floating_point()}
