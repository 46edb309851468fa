"""weam-preprocess with chunks of 300 lines, and little patience: a test has no million lines and no slow network.

    python in_small_chunks.py --pair … (all of weam-preprocess's options)

Where WEAM_TEST_GATE names a file, each task of the first stage writes FILE.NODE.PID, with the name of its Slurm node,
and waits until the file exists: so a test can stop a task that surely runs.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from weam_preprocess import cli, pipeline
from weam_preprocess.prepare import Preparation, prepare
from weam_preprocess.raw import RawChunk

run = pipeline.run


def in_small_chunks(options: pipeline.Options) -> pipeline.Report:
    cluster = options.cluster and replace(options.cluster, poll=0.2, patience=1.0)
    return run(replace(options, chunk=300, cluster=cluster))


def gated_prepare(job: tuple[Preparation, RawChunk]) -> int:
    gate = os.environ.get("WEAM_TEST_GATE")
    if gate:
        Path(f"{gate}.{os.environ['SLURMD_NODENAME']}.{os.getpid()}").touch()
        while not Path(gate).exists():
            time.sleep(0.05)
    return prepare(job)


if __name__ == "__main__":
    import in_small_chunks as importable  # by tasks, where this file is not __main__

    pipeline.run = importable.in_small_chunks
    pipeline.prepare = importable.gated_prepare
    sys.exit(cli.main(sys.argv[1:]))
