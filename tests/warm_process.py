"""Commands in processes of their own that need not import torch, transformers and fairseq again.

Importing them takes four seconds, most of a small training. A server process imports them once and forks itself for
each command: the command still has its own process id, standard streams, environment, signals and exit code.
"""

import atexit
import functools
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SERVER = """
import gc, importlib, json, os, runpy, sys
gc.disable()
answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what fairseq prints when it is imported
import torch, transformers, fairseq_cli.train
from transformers import BertForMaskedLM
gc.enable()
gc.freeze()  # or each command's garbage collector reads, and so copies, everything that was imported

def run(command, environment, folder, out, err):
    if os.getpid() != os.getsid(0):
        os.setsid()
    for path, number, mode in ((os.devnull, 0, os.O_RDONLY), (out, 1, os.O_WRONLY), (err, 2, os.O_WRONLY)):
        os.dup2(os.open(path, mode), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    if os.path.isfile(command[0]):
        sys.argv = command
        sys.path.insert(0, os.path.dirname(command[0]))
        runpy.run_path(command[0], run_name="__main__")
        return 0
    module, function = command[0].split(":")
    sys.argv = [module, *command[1:]]
    return getattr(importlib.import_module(module), function)(command[1:])

for line in sys.stdin:
    children = []
    for asked in json.loads(line):
        children.append(os.fork())
        if children[-1] == 0:
            sys.exit(run(*asked))
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]), file=answers)
"""
COMMANDS = {
    "weam-train": "weam_fairseq.training.train:main",
    "weam-from-hf": "weam_fairseq.convert.from_hf:main",
    "weam-to-hf": "weam_fairseq.convert.to_hf:main",
    "weam-preprocess": "weam_preprocess.cli:main",
    "weam-evaluate": "weam_fairseq.evaluation.cli:main",
    "weam-show": "weam_fairseq.show:main",
}
# One thread: sums of floating-point numbers are the same on any number of cores.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


@functools.cache
def _server() -> Any:
    """The server of this test process; it ends with it."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **ONE_THREAD},
        start_new_session=True,
    )
    atexit.register(server.kill)
    return server


def run(command: str, *words: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a command of `COMMANDS`, or a Python file or script, in a session of its own, and waits for its end."""
    (done,) = run_together([command, *words], [env or {**os.environ, **ONE_THREAD}])
    return done


def ranks(command: list[object], more: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The same command as two ranks of torchrun, without its agent: the largest exit code, and both outputs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    shared = {**os.environ, **ONE_THREAD, **shared, **(more or {})}
    return joined(run_together(command, [shared | {"RANK": rank, "LOCAL_RANK": rank} for rank in "01"]))


def joined(done: list[subprocess.CompletedProcess[str]]) -> subprocess.CompletedProcess[str]:
    """Several processes as one: the largest exit code, and all that they printed."""
    status = max(each.returncode for each in done)
    texts = ("".join(each.stdout for each in done), "".join(each.stderr for each in done))
    return subprocess.CompletedProcess(done[0].args, status, *texts)


def run_together(command: list[object], environments: list[dict[str, str]]) -> list[subprocess.CompletedProcess[str]]:
    """The same command once in each environment, at the same time."""
    words = [str(word) for word in command]
    words[0] = COMMANDS.get(words[0], words[0])
    server = _server()
    with tempfile.TemporaryDirectory() as folder:
        asked, outputs = [], []
        for number, environment in enumerate(environments):
            outputs.append([Path(folder, f"{number}.{name}") for name in ("out", "err")])
            for output in outputs[-1]:
                output.touch()
            asked.append([words, environment, str(Path.cwd()), *map(str, outputs[-1])])
        server.stdin.write(json.dumps(asked) + "\n")
        server.stdin.flush()
        statuses = json.loads(server.stdout.readline())
        return [
            subprocess.CompletedProcess(command, status, *(output.read_text() for output in both))
            for status, both in zip(statuses, outputs, strict=True)
        ]
