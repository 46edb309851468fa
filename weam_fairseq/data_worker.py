"""Pure: a data worker that ends when its trainer is gone.

torch's workers look for their parent too, but then wait until all they have sent was read. A batch that does not fit
into the pipe, which is what `one_buffer.py` sends, is read by nobody any more: the worker would stay for ever, after
every training that ends within an epoch and after every kill.
"""

import os
import threading
import time

from torch.utils.data import get_worker_info

_INTERVAL = 1.0  # seconds between two looks
_watched: int | None = None  # the process that has a watch; a fork has none


def end_with_trainer() -> None:
    """In a data worker, starts a thread that ends the process when its parent is gone. Elsewhere, nothing."""
    global _watched
    if get_worker_info() is None or _watched == os.getpid():
        return
    _watched = os.getpid()
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_INTERVAL)
    os._exit(1)  # nothing of a worker's is worth saving, and an orderly end would wait for the reader
