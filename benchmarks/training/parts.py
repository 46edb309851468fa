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

PARTS = ("full", "used", "links", "memory", "length", "feed", "two")
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
        """Untimed updates of each, two of ours where the process is new and takes new memory from the system; then
        `--rounds` of each in turn, and the head alone after each of tlm's."""
        for number in tqdm(self._rounds(-2 if is_first else -1, "full"), desc=f"{workload.name} full {precision}"):
            for row, contestant, objective in self._runners:
                if not self._has_turn("full", row, number):
                    continue
                worker = workers[contestant]
                asked = {"form": "full", "number": max(number, 0), "precision": precision}
                told = worker.ask("update", objective=objective, **asked)
                more = worker.ask("head", **asked) if row == "tlm" else {}
                if number >= 0:
                    self._add("full", workload, precision, row, worker, round=number, **told, **more)

    def _used(self, workload: Workload, workers: dict[str, Worker], precision: str, *, is_first: bool) -> None:
        """The batches that stand for an epoch once, in turn; after an untimed update where the processes are new."""
        for number in tqdm(self._rounds(-1 if is_first else 0, "used"), desc=f"{workload.name} used {precision}"):
            for row, contestant, objective in self._runners:
                if self._has_turn("used", row, number):
                    asked = {"form": "used", "number": max(number, 0), "precision": precision}
                    told = workers[contestant].ask("update", objective=objective, **asked)
                    if number >= 0:
                        self._add("used", workload, precision, row, workers[contestant], round=number, **told)

    def _rounds(self, first: int, part: str) -> range:
        return range(first, self._options.used if part == "used" else self._options.rounds)

    def _has_turn(self, part: str, row: str, number: int) -> bool:
        """Hugging Face, which takes as long as all others together, has one untimed turn, then one in every other
        round. Of its batches as used, which are all of random pairs, those of middle size stand for an epoch."""
        if row != "hf":
            return row != "tlm" or part == "full"
        if number < 0:
            return number == -1
        edge = self._options.used // 4
        return edge <= number < self._options.used - edge if part == "used" else number % 2 == 0

    def memory(self) -> None:
        """Peak of the second update of a process that does nothing else, in the first of the precisions."""
        for workload in self._workloads(self._options.memory_workloads):
            for precision in self._precisions()[:1]:
                for row, contestant, objective in self._runners:
                    key = {"part": "memory", "workload": self._name(workload), "precision": precision}
                    if self._results.has(**key, contestant=row):
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

    def links(self) -> None:
        """Each aligner once, the others after ours."""
        import links
        from data_bins import text_of

        words = self._options.scratch / "words.txt"
        if not words.is_file():
            links.write_words(text_of(self._options.scratch, "en-de"), ("en", "de"), words)
        for name in links.names():
            if not self._results.has(part="links", aligner=name):
                self._results.add(part="links", aligner=name, **links.measure(name, words))

    def _workloads(self, names: str) -> Iterator[Workload]:
        for name in filter(None, names.split(",")):
            if name not in WORKLOADS:
                raise SystemExit(f"A workload must be of {', '.join(WORKLOADS)}, but one is {name!r}.")
            yield WORKLOADS[name]

    def _precisions(self) -> list[str]:
        return self._options.precisions.split(",")

    def _is_there(self, part: str, workload: Workload, precision: str) -> bool:
        key = {"part": part, "workload": self._name(workload), "precision": precision}
        return all(
            self._results.has(**key, contestant=runner.row, round=number)
            for runner in self._runners
            for number in self._rounds(0, part)
            if self._has_turn(part, runner.row, number)
        )

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
        about = {name: worker.about[name] for name in ("parameters", "threads", "torch", "gpu") if name in worker.about}
        if self._options.device == "cuda" and self._options.peak:
            about["peak_tflops"] = self._options.peak
        self._results.add(**key, device=self._options.device, **about, **told)
