"""Runs a function on many items: in this process, in other processes, or on other machines (cluster.py)."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import forkserver
from typing import Any, Protocol, TypeVar

from .errors import Unfinished

# A variable of Python: if it is set, the current folder is not searched for modules.
_SAFE_PATH = "PYTHONSAFEPATH"
# The modules that every worker needs. They are imported once for all workers.
_IMPORTED = [f"weam_preprocess.{name}" for name in ("align", "binarize", "prepare")] + ["sacremoses", "tokenizers"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class Pool(Protocol):
    """Runs functions on items. `elsewhere`: on other machines, where a job may use all cores."""

    elsewhere: bool

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """The results in any order. Function, items and results are pickled. There may be many large items."""
        ...


class Workers:
    """A context manager. With a `count` of 1, everything runs in this process."""

    elsewhere = False

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Workers:
        if self.count > 1:
            # No fork: the threads of the tokenizers library do not survive one.
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload(_IMPORTED)
            with _safe_path():
                forkserver.ensure_running()  # it imports while this process opens the tokenizer
            self._pool = ProcessPoolExecutor(self.count, mp_context=context, initializer=_begin)
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if self._pool is not None:
            if kind is KeyboardInterrupt:  # workers ignore Ctrl-C, so that they print nothing
                for process in list(self._pool._processes.values()):
                    process.terminate()
            self._pool.shutdown(wait=True, cancel_futures=True)

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """The results in any order. Only a few items are taken ahead, so there may be many large ones.

        Raises Unfinished if a worker is killed.
        """
        if self._pool is None:
            yield from map(function, items)
            return
        try:
            yield from self._map(self._pool, function, items)
        except BrokenProcessPool as error:
            raise Unfinished(
                "A worker process was killed before it finished, perhaps because memory ran out. Finished parts are "
                "kept: continue with --resume, and with fewer --workers if memory is short."
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


@contextmanager
def _safe_path() -> Iterator[None]:
    """Processes that are started meanwhile import nothing from the current folder, such as a user's random.py."""
    before = os.environ.get(_SAFE_PATH)
    os.environ[_SAFE_PATH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SAFE_PATH]
        else:
            os.environ[_SAFE_PATH] = before


def _begin() -> None:
    # Ctrl-C reaches the main process too, which ends the workers (Workers.__exit__).
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # This code makes no reference cycles, and searching for them visits all sentences: a tenth of the time.
    gc.disable()
    logging.basicConfig(format="weam-preprocess: %(message)s", level=logging.WARNING)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this worker when its parent has been killed; otherwise it would wait for work forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
