"""One file a benchmark. A new file is found automatically; it must define a record called BENCHMARK."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from importlib import import_module
from pkgutil import iter_modules

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.benchmark import Benchmark

BENCHMARKS: tuple[Benchmark, ...] = tuple(
    import_module(f"{__name__}.{module.name}").BENCHMARK for module in iter_modules(__path__)
)


def find_benchmark(name: str, among: Sequence[Benchmark] = BENCHMARKS) -> Benchmark:
    """The benchmark called `name`.

    Raises:
        InputError: no benchmark has this name. The sentence suggests the closest name, or lists all.
    """
    by_name = {benchmark.name: benchmark for benchmark in among}
    if name in by_name:
        return by_name[name]
    close = difflib.get_close_matches(name, by_name, n=1, cutoff=0.5)
    hint = f"Did you mean {close[0]!r}?" if close else f"The tasks are {', '.join(by_name)}."
    raise InputError(f"there is no task {name!r}. {hint}")
