"""A Slurm for the tests of this folder, which are marked `slurm`. If it does not start, pytest stops and fails."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import two_nodes


@pytest.fixture(scope="session")
def one_slurm() -> Iterator[two_nodes.Slurm]:
    """A Slurm of two nodes with two CPUs each, for all tests of the session."""
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(two_nodes.started())
        except two_nodes.NoSlurm as reason:
            pytest.exit(f"no Slurm: {reason}", returncode=1)
        yield found


@pytest.fixture
def slurm(one_slurm: two_nodes.Slurm) -> Iterator[two_nodes.Slurm]:
    """The Slurm, with no job when a test begins."""
    yield one_slurm
    one_slurm.cancel_all()
