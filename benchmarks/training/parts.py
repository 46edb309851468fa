"""What is measured: each part asks the contestants, and writes a row for each answer."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import training_runs
from results import Results
from shapes import WORKLOADS, Workload
from tqdm import tqdm
from worker import Worker

PARTS = ("full", "used", "memory", "length", "feed", "two")
TIMED = ("full", "used")
MAX_TOKENS = (2048, 4096, 8192)


class Runner(NamedTuple):
    """A contestant with one of its objectives; `row` is its name in the results."""

    row: str
    contestant: str
    objective: str


RUNNERS = (
    Runner("weam", "ours", "weam"),
    Runner("tlm", "ours", "tlm"),
    Runner("fairseq", "fairseq", "mlm"),
    Runner("hf", "hf", "mlm"),
)


class Bench:
    """Measures what the results lack.

    Args:
        options: the command line.
        folders: data-bins.
    """

    def __init__(self, options: argparse.Namespace, folders: list[Path], results: Results) -> None:
        self._options, self._folders, self._results = options, folders, results
        self._runners = [r for r in RUNNERS if r.contestant in options.contestants.split(",")]

    def timed(self, parts: list[str]) -> None:
        """The parts full and used, each workload by processes that are started once."""
        for workload in self._workloads(self._options.workloads):
            asked = [(part, p) for part in parts for p in self._precisions() if not self._is_there(part, workload, p)]
            if asked:
                with self._workers(workload) as workers:
                    for number, (part, precision) in enumerate(asked):
                        getattr(self, f"_{part}")(workload, workers, precision, is_first=number == 0)

    def _full(self, workload: Workload, workers: dict[str, Worker], precision: str, *, is_first: bool) -> None:
        """Untimed updates of each, two where their processes are new and take new memory from the system; then
        `--rounds` of each in turn, and the head alone after each of tlm's."""
        rounds = range(-2 if is_first else -1, self._options.rounds)
        for number in tqdm(rounds, desc=f"{workload.name} full {precision}", unit="round"):
            for row, contestant, objective in self._runners:
                worker = workers[contestant]
                asked = {"form": "full", "number": max(number, 0), "precision": precision}
                told = worker.ask("update", objective=objective, **asked)
                more = {}
                if row == "tlm":
                    for name, clock in (("head_seconds", "wall"), ("head_cpu_seconds", "cpu")):
                        more[name] = worker.ask("head", **asked, clock=clock)["seconds"]
                if number >= 0:
                    self._add("full", workload, precision, row, worker, round=number, **told, **more)

    def _used(self, workload: Workload, workers: dict[str, Worker], precision: str, *, is_first: bool) -> None:
        """Every one of the batches that stand for an epoch once, in turn, after an untimed update."""
        for number in tqdm(range(-1, self._options.used), desc=f"{workload.name} used {precision}"):
            for row, contestant, objective in (runner for runner in self._runners if runner.row != "tlm"):
                asked = {"form": "used", "number": max(number, 0), "precision": precision}
                told = workers[contestant].ask("update", objective=objective, **asked)
                if number >= 0:
                    self._add("used", workload, precision, row, workers[contestant], round=number, **told)

    def memory(self) -> None:
        """Peak of the second update of a process that does nothing else, in the first of the precisions."""
        for workload in self._workloads(self._options.memory_workloads):
            for precision in self._precisions()[:1]:
                for row, contestant, objective in self._runners:
                    key = {"part": "memory", "workload": workload.name, "precision": precision, "contestant": row}
                    if self._results.has(**key):
                        continue
                    worker = self._start(contestant, workload)
                    asked = {"objective": objective, "form": "full", "number": 0, "precision": precision}
                    worker.ask("update", **asked)
                    self._add("memory", workload, precision, row, worker, **worker.ask("memory", **asked))
                    worker.close()

    def length(self) -> None:
        from padding import padding_share

        for max_tokens in MAX_TOKENS:
            if not self._results.has(part="length", max_tokens=max_tokens):
                share, pairs, batches = padding_share(self._folders, max_tokens)
                self._results.add(part="length", max_tokens=max_tokens, share=share, pairs=pairs, batches=batches)

    def feed(self) -> None:
        if not self._results.has(part="waiting"):
            self._results.add(part="waiting", **training_runs.waiting(self._folders[0]))
        if not self._results.has(part="start"):
            self._results.add(part="start", **training_runs.start(self._folders[0], self._options.scratch))

    def two(self) -> None:
        for round_ in range(min(self._options.rounds, 2)):
            for processes in (1, 2):
                if not self._results.has(part="two", processes=processes, round=round_):
                    found = training_runs.together(self._folders[0], self._options.scratch, processes)
                    self._results.add(part="two", processes=processes, round=round_, **found)

    def _workloads(self, names: str) -> Iterator[Workload]:
        for name in filter(None, names.split(",")):
            if name not in WORKLOADS:
                raise SystemExit(f"A workload must be of {', '.join(WORKLOADS)}, but one is {name!r}.")
            yield WORKLOADS[name]

    def _precisions(self) -> list[str]:
        return self._options.precisions.split(",")

    def _is_there(self, part: str, workload: Workload, precision: str) -> bool:
        last = (self._options.used if part == "used" else self._options.rounds) - 1
        rows = [runner.row for runner in self._runners if part == "full" or runner.row != "tlm"]
        key = {"part": part, "workload": self._name(workload), "precision": precision, "round": last}
        return all(self._results.has(**key, contestant=row) for row in rows)

    def _name(self, workload: Workload) -> str:
        return f"{workload.name} × {self._options.rows}" if self._options.rows else workload.name

    @contextmanager
    def _workers(self, workload: Workload) -> Iterator[dict[str, Worker]]:
        names = dict.fromkeys(runner.contestant for runner in self._runners)
        workers = {name: self._start(name, workload) for name in names}
        for worker in workers.values():
            assert worker.about, "ready: nobody works while another one is timed"
        yield workers
        for worker in workers.values():
            worker.close()

    def _start(self, contestant: str, workload: Workload) -> Worker:
        options = self._options
        return Worker(
            contestant,
            workload=workload.name,
            shape={"rows": options.rows} if options.rows else {},
            data_bins=[str(folder) for folder in self._folders],
            device=options.device,
            used=options.used,
            threads=options.threads,
        )

    def _add(self, part: str, workload: Workload, precision: str, row: str, worker: Worker, **told: Any) -> None:
        key = {"part": part, "workload": self._name(workload), "precision": precision, "contestant": row}
        about = {name: worker.about[name] for name in ("parameters", "threads", "torch")}
        self._results.add(**key, device=self._options.device, **about, **told)
