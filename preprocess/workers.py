"""Runs the same function on many items: in this process, in processes of this machine, or (cluster.py) on others."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver
from typing import Any, Protocol, TypeVar

from .errors import Unfinished

# What every worker needs, imported once for all of them.
_IMPORTED = [f"weam_preprocess.{name}" for name in ("align", "binarize", "prepare")] + ["sacremoses", "tokenizers"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class Pool(Protocol):
    """Who runs functions on items. `elsewhere`: on other machines, where what fills a machine may run at once."""

    elsewhere: bool

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Results in any order. Function, items and results are pickled; items may be large and many."""
        ...


class Workers:
    """A context manager. `count` 1 runs everything in this process."""

    elsewhere = False

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Workers:
        if self.count > 1:
            # Not forked: the tokenizers' threads do not survive a fork.
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload(_IMPORTED)
            forkserver.ensure_running()  # so that it imports while this process opens the tokenizer
            self._pool = ProcessPoolExecutor(self.count, mp_context=context, initializer=_begin)
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Results in any order. Only a few items are taken ahead, so they may be large and many.

        Raises Unfinished when a worker is killed.
        """
        if self._pool is None:
            yield from map(function, items)
            return
        try:
            yield from self._map(self._pool, function, items)
        except BrokenProcessPool as error:
            raise Unfinished(
                "A worker process was killed before its work was done, as happens when memory runs out. What is done "
                "is kept: go on with --resume, and with fewer --workers if memory is short."
            ) from error

    def _map(
        self, pool: ProcessPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[Result]:
        waiting: set[Future[Any]] = set()
        for item in items:
            waiting.add(pool.submit(function, item))
            if len(waiting) > 2 * self.count:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)


def _begin() -> None:
    # Nothing here leaves cycles behind, and looking for them goes through all sentences: a tenth of the time.
    gc.disable()
    logging.basicConfig(format="weam-preprocess: %(message)s", level=logging.WARNING)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed ends no workers, and they would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
