"""Memory and thread settings that make training faster, to be called before importing torch; the number of cores."""

import ctypes
import os
from contextlib import suppress

_MOST_FILES = 65_536
# Constants from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_memory() -> None:
    """Makes glibc keep freed memory, and makes torch allocate pages of 2 MiB instead of 4 KiB.

    Every update frees and allocates activations and gradients. By default glibc returns large blocks to the system each
    time, and new memory costs one page fault per page: an update of `weam_mbert_base` in bf16 took 2.5 s with the
    defaults and 2.0 s with these settings. Results do not change. Environment variables take precedence
    (THP_MEM_ALLOC_ENABLE of torch, MALLOC_… of glibc). Does nothing if the C library or the system lacks the setting.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is None or any(name.startswith("MALLOC_") for name in os.environ):
        return
    set_option(_M_MMAP_MAX, 0)
    set_option(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def release_free_memory() -> None:
    """Gives freed memory back to the system, for a process that has just been forked.

    It shares its parent's memory until the parent changes it. The parent soon reuses all that was free at the fork, and
    the child would hold the old content (docs/performance.md). Does nothing if the C library lacks the call.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def bound_compiled_products() -> None:
    """Makes oneDNN keep the matrix products of 128 shapes instead of 1,024. To be called before the first product.

    oneDNN keeps working memory of up to several MiB with each compiled product, and batches have many shapes: without
    this, a training of multilingual-e5-small in bf16 grew by 120 MiB an update (docs/performance.md). Results do not
    change. ONEDNN_PRIMITIVE_CACHE_CAPACITY takes precedence.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")


def wait_without_spinning() -> None:
    """Makes idle OpenMP threads sleep instead of spin, unless OMP_WAIT_POLICY is set.

    Spinning threads slow down other work on the same cores, such as a data worker: an update of weam_mini took ten
    times as long on two shared cores. On idle cores the difference is a few percent.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def open_more_files() -> None:
    """Raises the limit of open files to what the system allows: each language pair of a data-bin takes about ten.

    Does nothing on Windows.
    """
    try:
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(ValueError, OSError):  # macOS may allow less than it names; then the old limit stays
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def usable_cores() -> int:
    """The cores that this process may use. macOS does not tell which, so there it is all cores."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
