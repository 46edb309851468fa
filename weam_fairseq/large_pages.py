"""How torch asks for memory. Call before torch is imported."""

import os


def take_large_pages() -> None:
    """Lets Linux give torch's tensors pages of 2 MiB instead of 4 KiB, unless the environment says otherwise.

    Activations and gradients are handed back and asked for anew at every update. New memory costs a page fault per
    page: 240 MB took 0.16 s to fill, and 0.04 s with large pages. It changes no result, and nothing where the system
    does not offer them.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
