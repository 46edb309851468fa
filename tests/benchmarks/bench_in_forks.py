"""Runs benchmarks/training with contestants that are forks: they need not import torch and fairseq again.

python bench_in_forks.py (all of the benchmark's arguments)
"""

import os
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

BENCH = Path(__file__).resolve().parents[2] / "benchmarks" / "training"


class Fork:
    """A Python program like subprocess.Popen's, with pipes to its standard input and output."""

    _pipes: ClassVar[list[int]] = []  # of this process; a fork must not keep those of another fork open

    def __init__(self, command: list[str], **_: Any) -> None:
        (stdin, ask), (hear, stdout) = os.pipe(), os.pipe()
        self._pipes += [ask, hear]
        self._pid = os.fork()
        if self._pid == 0:
            os.dup2(stdin, 0)
            os.dup2(stdout, 1)
            for number in (*self._pipes, stdin, stdout):
                os.close(number)
            sys.stdin, sys.stdout, sys.argv = os.fdopen(0), os.fdopen(1, "w"), command[1:]
            runpy.run_path(sys.argv[0], run_name="__main__")
        os.close(stdin)
        os.close(stdout)
        self.stdin, self.stdout = os.fdopen(ask, "w"), os.fdopen(hear)

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


if __name__ == "__main__":
    sys.path.insert(0, str(BENCH))
    import worker

    worker.subprocess = SimpleNamespace(Popen=Fork, PIPE=None)  # type: ignore[assignment]
    runpy.run_path(str(BENCH / "__main__.py"), run_name="__main__")
