"""Several processes: the rank of this process, from the variables of torchrun or Slurm, and messages among the ranks.

fairseq notices processes that a launcher started too late (until then its world size is the number of GPUs), and on a
CPU not at all, where it divides by the number of GPUs. So its options are set here, before it starts. A plugin cannot
do that for `fairseq-train` itself: under torchrun on a CPU, use weam-train.

The first half is pure: environment -> place -> options. `Peers` sends messages through torch.distributed's store.
"""

import hashlib
import json
import re
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from weam_fairseq.common.arguments import value_of
from weam_fairseq.common.errors import InputError

TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
# With one of these options, fairseq starts the processes in its own way.
FAIRSEQ_WAY = ("--distributed-init-method", "--distributed-port")
# Ports for Slurm's ranks to meet at: below those that Linux gives to outgoing connections (from 32768).
FIRST_PORT, PORTS = 15_000, 15_000
# Seconds that a process waits for another one, which may still be preparing, and for others to read its message.
PATIENCE, FAREWELL = 1800, 10


class RankInfo(NamedTuple):
    """This process among those of the run.

    Attributes:
        rank, world_size: number of this process, from 0, and how many there are, on all machines.
        local_rank: number of this process on its machine.
        init_method: where they meet, in torch.distributed's notation.
        launcher: torchrun or Slurm.
    """

    rank: int
    world_size: int
    local_rank: int
    init_method: str
    launcher: str


def find_place(
    environment: Mapping[str, str], address: Callable[[str], str], given: list[str] | None = None
) -> RankInfo | None:
    """Finds the rank of this process in the environment.

    Args:
        environment: as os.environ.
        address: Slurm's list of nodes ("node[01-02]") -> address of the first one; called for Slurm's ranks only.
        given: the command line.

    Returns:
        None if no launcher has started the process, or if fairseq is asked to find the others itself.

    Raises:
        InputError: WORLD_SIZE is above 1, but a variable that says how the processes meet is missing.
    """
    if any(word.split("=")[0] in FAIRSEQ_WAY for word in given or []):
        return None
    if all(environment.get(name) for name in TORCHRUN):
        return _torchrun(environment)
    # A batch script has SLURM_NTASKS and SLURM_PROCID too, but is one process, however many tasks the job has. Only
    # srun sets the size of a step.
    if int(environment.get("SLURM_STEP_NUM_TASKS") or 1) > 1 and "SLURM_PROCID" in environment:
        return _slurm(environment, address)
    if int(environment.get("WORLD_SIZE") or 1) > 1:
        missing = ", ".join(name for name in TORCHRUN if not environment.get(name))
        raise InputError(
            f"WORLD_SIZE is {environment['WORLD_SIZE']}, so {', '.join(TORCHRUN)} must all be set, but "
            f"{missing} is not: start the processes with torchrun or srun, or unset WORLD_SIZE."
        )
    return None


def _torchrun(environment: Mapping[str, str]) -> RankInfo:
    rank = int(environment["RANK"])
    local_rank = int(environment.get("LOCAL_RANK", rank))
    return RankInfo(rank, int(environment["WORLD_SIZE"]), local_rank, "env://", "torchrun")


def _slurm(environment: Mapping[str, str], address: Callable[[str], str]) -> RankInfo:
    host = environment.get("MASTER_ADDR")
    if not host:
        host = address(environment.get("SLURM_STEP_NODELIST") or environment["SLURM_JOB_NODELIST"])
    job, step = int(environment.get("SLURM_JOB_ID") or 0), int(environment.get("SLURM_STEP_ID") or 0)
    port = environment.get("MASTER_PORT") or FIRST_PORT + (7 * job + step) % PORTS
    return RankInfo(
        rank=int(environment["SLURM_PROCID"]),
        world_size=int(environment["SLURM_STEP_NUM_TASKS"]),
        local_rank=int(environment.get("SLURM_LOCALID") or 0),
        init_method=f"tcp://{host}:{port}",
        launcher="Slurm",
    )


def options(place: RankInfo, given: list[str], gpus: int) -> list[str]:
    """fairseq's options for this process, to be put after the given ones.

    Args:
        place: of `find_place`.
        given: the command line; its --distributed-backend and --ddp-backend stay as they are.
        gpus: GPUs that this process sees; 0 with --cpu.

    Raises:
        InputError: more processes than GPUs on this machine; a --ddp-backend that needs GPUs, without a GPU.
    """
    if place.world_size == 1:
        return ["--distributed-world-size", "1"]  # fairseq's default is the number of GPUs
    if place.launcher == "torchrun" and 0 < gpus <= place.local_rank:
        raise InputError(
            f"Each process must have a GPU of its own, but process {place.local_rank} of this machine (from 0) finds "
            f"{gpus}: start at most {gpus} on a machine, or train with --cpu."
        )
    wanted = {
        "--distributed-init-method": place.init_method,
        "--distributed-world-size": str(place.world_size),
        "--distributed-rank": str(place.rank),
        # Slurm may have bound each process to its GPU. Each process then sees its GPU as number 0.
        "--device-id": str(place.local_rank % gpus if gpus else 0),
    }
    backend, ddp = (value_of(given, option) for option in ("--distributed-backend", "--ddp-backend"))
    if backend is None:
        wanted["--distributed-backend"] = "nccl" if gpus else "gloo"
    if not gpus and ddp is None:
        wanted["--ddp-backend"] = "legacy_ddp"  # fairseq's default passes the numbers of GPUs to torch
    if not gpus and ddp not in (None, "legacy_ddp", "no_c10d"):
        raise InputError(f"--ddp-backend must be legacy_ddp where there is no GPU, but is {ddp}: leave it out.")
    return [*(word for pair in wanted.items() for word in pair), "--distributed-no-spawn"]


def slurm_address(nodes: str) -> str:
    """Address of the first machine in Slurm's short list of machines: its name, or the address that Slurm itself uses.

    Raises:
        InputError: scontrol does not print it.
    """
    name = _scontrol(nodes, "show", "hostnames", nodes).split()[0]
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        # A node may have a name that only Slurm knows. Its NodeAddr is then an address, or a name of the network.
        found = re.search(r"\bNodeAddr=(\S+)", _scontrol(nodes, "--oneliner", "show", "node", name))
        return found[1] if found else name
    return name


def _scontrol(nodes: str, *words: str) -> str:
    try:
        return subprocess.run(["scontrol", *words], check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise InputError(
            f"scontrol must print the machines of this Slurm job ({nodes}), but does not ({error}). Set MASTER_ADDR to "
            "the first machine."
        ) from error


class Peers:
    """The processes of a run. They exchange how the run starts and which errors occurred."""

    def __init__(self, place: RankInfo) -> None:
        from torch.distributed import rendezvous

        self.place = place
        # fairseq's process group meets in the same store. torchrun hosts it; of Slurm's ranks, rank 0 does.
        self.keeps_store = place.launcher == "Slurm" and place.rank == 0
        meeting = rendezvous(place.init_method, place.rank, place.world_size, timeout=timedelta(seconds=PATIENCE))
        self.store = next(iter(meeting))[0]
        self.told = False

    def tell(self, start: Any) -> None:
        """Rank 0: sends plain values (JSON) to the others; None: there is nothing to start."""
        self.store.set("weam/start", json.dumps(start))
        self.told = True

    def hear(self) -> Any:
        """The others: wait for the values of rank 0."""
        return json.loads(self.store.get("weam/start"))

    def is_first_to_say(self, sentence: str) -> bool:
        """Whether no other process has failed with this sentence. Each sentence is printed once."""
        self.is_first_to_fail()
        return self._add(f"weam/said/{hashlib.sha256(sentence.encode()).hexdigest()}", 1) in (1, None)

    def is_first_to_fail(self) -> bool:
        """Whether no other process has failed before. Later errors may be consequences."""
        return self._add("weam/failed", 1) in (1, None)

    def leave(self) -> None:
        """Before a process ends: informs the others, and waits until they have read all messages."""
        if self.place.rank == 0 and not self.told:
            self.tell(None)
        self._add("weam/leaving", 1)
        deadline = time.monotonic() + FAREWELL
        while self.keeps_store and time.monotonic() < deadline:
            if (self._add("weam/leaving", 0) or 0) >= self.place.world_size:
                break
            time.sleep(0.05)

    def _add(self, counter: str, number: int) -> int | None:
        """The counter after adding; None if the store is gone."""
        try:
            return int(self.store.add(counter, number))
        except RuntimeError:
            return None
