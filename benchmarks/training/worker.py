"""One contestant in a process of its own, which does what it is told, line by line, so that contestants can alternate.

The parent writes a JSON object per line and reads one per line; the process sleeps between.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import subprocess
import sys
import time
import warnings
from functools import cached_property
from pathlib import Path
from typing import Any

MEBI = 1 << 20


class Worker:
    """The parent's end.

    Args:
        contestant: key of CONTESTANTS.
        more: keyword arguments of `_serve`, as JSON can write them.
    """

    def __init__(self, contestant: str, **more: Any) -> None:
        command = [sys.executable, str(Path(__file__).with_name("__main__.py")), "--serve", contestant]
        self._process = subprocess.Popen(
            [*command, json.dumps(more)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
        )

    @cached_property
    def about(self) -> dict[str, Any]:
        """Said once, when the contestant is ready; until then several can get ready at once."""
        return self._hear()

    def ask(self, what: str, **more: Any) -> dict[str, Any]:
        assert self.about
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"what": what, **more}) + "\n")
        self._process.stdin.flush()
        return self._hear()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"A contestant ended with exit code {self._process.wait()}; its reason stands above.")
        told: dict[str, Any] = json.loads(line)
        return told


def serve(contestant: str, told: str) -> int:
    """The child's end."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    options = json.loads(told)
    if contestant == "ours":  # as weam-train does
        from weam_fairseq.common.process_setup import bound_compiled_products, keep_memory

        keep_memory()
        bound_compiled_products()
    import torch

    if options["threads"]:
        torch.set_num_threads(options["threads"])
    logging.disable(logging.INFO)
    warnings.simplefilter("ignore")
    from contestants import CONTESTANTS
    from shapes import WORKLOADS

    workload = WORKLOADS[options["workload"]]._replace(**options.get("shape", {}))
    folders = [Path(folder) for folder in options["data_bins"]]
    running = CONTESTANTS[contestant](workload, folders, options["device"], options["used"])
    child = Child(running, torch)
    print(json.dumps(child.about()), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(getattr(child, asked.pop("what"))(**asked)), file=answers, flush=True)
    return 0


class Child:
    """What the parent can ask for."""

    def __init__(self, contestant: Any, torch: Any) -> None:
        self._contestant, self._torch = contestant, torch
        self._cuda = contestant.device.type == "cuda"

    def about(self) -> dict[str, Any]:
        parameters = {id(p): p.numel() for p in self._contestant.parameters()}
        return {
            "parameters": sum(parameters.values()),
            "threads": self._torch.get_num_threads(),
            "torch": self._torch.__version__,
            "pid": os.getpid(),
            **({"gpu": self._torch.cuda.get_device_name()} if self._cuda else {}),
        }

    def update(self, objective: str, form: str, number: int, precision: str) -> dict[str, Any]:
        start, busy = self._clock(), time.process_time()
        loss = self._contestant.update(objective, form, number, precision)
        seconds, busy = self._clock() - start, time.process_time() - busy
        return {"seconds": seconds, "cpu_seconds": busy, "loss": loss, **self._contestant.told(form, number)}

    def head(self, form: str, number: int, precision: str) -> dict[str, Any]:
        seconds, busy = self._contestant.head_seconds(
            form, number, precision, lambda: (self._clock(), time.process_time())
        )
        return {"head_seconds": seconds, "head_cpu_seconds": busy}

    def memory(self, objective: str, form: str, number: int, precision: str) -> dict[str, Any]:
        """Peak of one update over what stands before it: parameters, optimizer state, batches and libraries."""
        if self._cuda:
            cuda = self._torch.cuda
            self._drop_gradients()
            before = cuda.memory_allocated()
            cuda.reset_peak_memory_stats()
            self._contestant.update(objective, form, number, precision)
            cuda.synchronize()
            return {"peak_mib": (cuda.max_memory_allocated() - before) / MEBI, "before_mib": before / MEBI}
        self._drop_gradients()
        before = _held()
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
        self._contestant.update(objective, form, number, precision)
        return {"peak_mib": (_held("VmHWM") - before) / MEBI, "before_mib": before / MEBI}

    def _drop_gradients(self) -> None:
        for parameter in self._contestant.parameters():
            parameter.grad = None
        ctypes.CDLL(None).malloc_trim(0)  # hands freed pages back

    def _clock(self) -> float:
        if self._cuda:
            self._torch.cuda.synchronize()
        return time.perf_counter()


def _held(field: str = "VmRSS") -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) << 10
    raise AssertionError(field)
