"""A Slurm for the tests of this folder, which are marked `slurm`; they are skipped where it does not start."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import one_node
import pytest


@pytest.fixture(scope="session")
def one_slurm() -> Iterator[one_node.Node]:
    """A Slurm of one node with two CPUs, for all tests of the session."""
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(one_node.started())
        except one_node.NoSlurm as reason:
            pytest.skip(f"no Slurm: {reason}")
        yield found


@pytest.fixture
def node(one_slurm: one_node.Node) -> Iterator[one_node.Node]:
    """The node, with no job when a test begins."""
    yield one_slurm
    one_node.cancel_all(one_slurm)
