"""weam-study on a real Slurm: a job for each step; weam-study is killed, and the next one waits for what runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import two_nodes

from tests.study.small_study import small_config, write_config, write_data

pytestmark = pytest.mark.slurm

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
# weam-study itself, that looks at its jobs more often.
STUDY = [
    sys.executable,
    "-c",
    "import sys; from weam_fairseq.study import cli, run; run.POLL_SLURM = 1.0; sys.exit(cli.main())",
]


def test_a_study_goes_on_with_the_jobs_that_are_there(tmp_path: Path, slurm: two_nodes.Slurm) -> None:
    write_data(tmp_path)
    config = small_config()
    config["grid"][0].update(objective=["tlm", "weam"], seed=1)
    config["slurm"] = {"default": {"partition": two_nodes.PARTITION, "time": 10}}
    # Longer than it takes to kill weam-study.
    config["base"]["train"]["max-update"] = 400
    study = tmp_path / "study"
    words = [str(write_config(tmp_path, config)), "--root", str(tmp_path), "--study-dir", str(study)]
    command = [*STUDY, *words, "--cluster", "slurm", "--jobs", "2"]
    environment = {**slurm.environment, **ONE_THREAD}
    log = tmp_path / "first.log"
    with log.open("wb") as said:
        first = subprocess.Popen(command, env=environment, stdout=said, stderr=said, start_new_session=True)
    deadline = time.monotonic() + 300
    while not (saved := list(study.glob("bases/*/train/checkpoints/checkpoint_last.pt"))):
        assert first.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    base = saved[0].parent.parent
    assert not (base / "done.json").is_file()
    second = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert second.returncode == 0, second.stdout + second.stderr
    jobs = {path.parent.parent: json.loads(path.read_text())["jobs"] for path in study.rglob("launch.json")}
    assert len(jobs) == 8
    assert all(len(of_step) == 1 for of_step in jobs.values())
    assert (base / "train.log").read_text().count("$ ") == 1
    cells = [json.loads(line) for line in (study / "cells.jsonl").read_text().splitlines()]
    assert [cell["objective"] for cell in cells] == ["tlm", "weam"]
    assert all(cell["cost"]["base_updates"] == 400 for cell in cells)
