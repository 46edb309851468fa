"""Data-bins for the tests of the plugin."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hand_made_data_bin import random_examples, write_data_bin


@pytest.fixture(scope="session")
def small_data_bin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pairs, 60 + 10 examples each. Tests must not write into it."""
    pairs = {
        pair: {"train": random_examples(60, seed), "valid": random_examples(10, seed + 10)}
        for seed, pair in enumerate(["en-de", "en-es", "en-zh"])
    }
    return write_data_bin(tmp_path_factory.mktemp("data") / "bin", pairs)


@pytest.fixture
def make_data_bin(tmp_path: Path) -> Callable[..., Path]:
    return lambda pairs, **more: write_data_bin(tmp_path / "data-bin", pairs, **more)
