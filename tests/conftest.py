"""What holds for every test: nothing is timed, and no test leaves a signal otherwise than it found it, since workers
that the next ones fork could then not be ended."""

import gc
import os
import signal
from collections.abc import Iterator

import hypothesis
import pytest

# No test asks the Hugging Face Hub.
os.environ["HF_HUB_OFFLINE"] = "1"
# Tiny models run fastest on one thread, and pytest's workers share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The garbage collector never reads the imported libraries, which would take a large part of the tests' time.
gc.disable()

hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


@pytest.fixture(autouse=True)
def signals_stay() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in WATCHED}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    changed = [number for number in WATCHED if signal.getsignal(number) != before[number]]
    for number in changed:
        signal.signal(number, before[number])
    assert [number.name for number in changed] == []
    assert signal.pthread_sigmask(signal.SIG_SETMASK, blocked) == blocked


# Files that take longest, first: pytest-xdist hands out whole files, and a long one at the end keeps one core idle.
LONGEST = (
    "test_study.py",
    "test_training.py",
    "test_cluster.py",
    "test_stop_and_resume.py",
    "test_distributed.py",
    "test_kills.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()
