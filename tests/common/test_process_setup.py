"""Settings that commands make before they compute."""

import subprocess
import sys

import pytest

from weam_fairseq.common.process_setup import bound_compiled_products

# Products of many shapes, as the batches of a training have; prints MiB of memory that stay in use.
MANY_SHAPES = """
import torch
from weam_fairseq.common.process_setup import bound_compiled_products

def used():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 >> 20

if {bounded}:
    bound_compiled_products()
matrix = torch.ones(384, 4096).bfloat16()
before = used()
for rows in range(100, 500):
    torch.ones(rows, 384).bfloat16() @ matrix
print(used() - before)
"""


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "7")
    bound_compiled_products()
    assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "7"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_products_of_many_shapes_do_not_fill_the_memory() -> None:
    grown = {}
    for bounded in (False, True):
        # glibc returns what is freed, so that only what oneDNN keeps is left.
        environment = {"OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "PATH": ""}
        words = [sys.executable, "-c", MANY_SHAPES.format(bounded=bounded)]
        run = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
        grown[bounded] = int(run.stdout)
    assert grown[True] <= max(0.7 * grown[False], 100)
