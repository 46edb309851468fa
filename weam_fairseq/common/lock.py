"""One writer at a time: a lock file that records its owner.

The lock is flock's, so it ends with its process, however that ends. The record in the file (process id, start time,
host, command) is for the message to the second process, and for file systems without flock.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from weam_fairseq.common.errors import InputError

# flock on a file system that has no locks.
_MOMENT, _ORPHANS_END = 0.25, 30.0  # seconds
_WITHOUT_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


@dataclass(frozen=True)
class Process:
    """A process, so that another one with the same number is not taken for it.

    Attributes:
        pid: its number.
        started: boot id of the machine and clock ticks since boot; empty where the system does not tell them.
        host: the machine.
        command: name of the program.
    """

    pid: int
    started: str
    host: str
    command: str = ""

    def is_running(self) -> bool | None:
        """Whether the process runs; None if it belongs to another machine, or if this machine cannot tell."""
        if self.host != platform.node():
            return None
        if not self.started:
            return None
        return start_time(self.pid) == self.started


def this_process() -> Process:
    pid = os.getpid()
    return Process(pid, start_time(pid) or "", platform.node(), Path(sys.argv[0]).name if sys.argv else "")


def start_time(pid: int) -> str | None:
    """Boot id and start in clock ticks of a running process; None if there is no such process, or no /proc."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        # The program's name, in parentheses, may hold spaces and parentheses. Field 3 is the state, field 22 the start.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else f"{boot}:{fields[19].decode()}"


@contextmanager
def locked(file: Path, *, wait: bool = False, keep: bool = False) -> Iterator[int]:
    """Holds the lock file `file` while the block runs, and gives its descriptor, which a command may inherit.

    Args:
        file: the lock file; its folder must exist.
        wait: wait for the other process instead of raising.
        keep: leave the file in place at the end. Else it is removed.

    Raises:
        InputError: another process holds the lock, and `wait` is not set.
    """
    descriptor = _acquire(file, wait)
    try:
        _record(descriptor, this_process())
        yield descriptor
    finally:
        try:
            if not keep and _is_at(file, descriptor):
                file.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def lock_file(destination: Path) -> Path:
    """The lock file of a file or folder to write: beside it, hidden."""
    # Names have at most 255 bytes; two long names with the same beginning share a lock, which does no harm.
    name = os.fsencode(destination.name)[:240]
    return destination.with_name(f".{os.fsdecode(name)}.lock")


def is_locked(file: Path) -> bool:
    """Whether a process holds the lock file; on a file system without locks, whether its recorded owner runs."""
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return not _try_lock(descriptor, wait=False)
    finally:
        os.close(descriptor)


def write_owner(file: Path, owner: Process) -> None:
    """Records an owner in a lock file, for one that hands the lock on."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        _record(descriptor, owner)
    finally:
        os.close(descriptor)


def _record(descriptor: int, owner: Process) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(asdict(owner)).encode(), 0)


def _acquire(file: Path, wait: bool) -> int:
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            if not _try_lock(descriptor, wait) and not _try_again(descriptor):
                raise InputError(_busy(file, _owner(descriptor)))
            if _is_at(file, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the process before has removed its file: take a new one


def _try_lock(descriptor: int, wait: bool) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise
        owner = _owner(descriptor)
        return owner is None or owner == this_process() or owner.is_running() is not True
    return True


def _try_again(descriptor: int) -> bool:
    """A process that only asks whether the lock is held holds it for a moment, and worker processes of an owner that
    was killed hold it until they have seen that."""
    began = time.monotonic()
    while True:
        time.sleep(0.05)
        if _try_lock(descriptor, wait=False):
            return True
        owner = _owner(descriptor)
        killed = owner is not None and owner.is_running() is False
        if time.monotonic() - began > (_ORPHANS_END if killed else _MOMENT):
            return False


def _owner(descriptor: int) -> Process | None:
    try:
        found = json.loads(os.pread(descriptor, 4096, 0))
        return Process(int(found["pid"]), str(found["started"]), str(found["host"]), str(found["command"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _busy(file: Path, owner: Process | None) -> str:
    by = "another process" if owner is None else f"{owner.command} (process {owner.pid} on {owner.host})"
    folder = file.parent if file.name == "lock" else file.with_name(file.name[1:].removesuffix(".lock"))
    return f"{folder} is in use by {by}. Wait until it ends, stop it, or choose another place."


def _is_at(file: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(file.stat(follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False
