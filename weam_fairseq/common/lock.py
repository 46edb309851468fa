"""Lock files that allow one writer at a time and record their owner.

The lock uses flock, so the operating system releases it whenever the process ends. The owner recorded in the file
(process id, start time, host, command) serves the error message and file systems without flock.
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
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from weam_fairseq.common.errors import InputError

# Seconds to wait for a lock that is only being tested, and for the worker processes of a killed owner to end.
_TEST_SECONDS, _ORPHAN_SECONDS = 0.25, 30.0
# Errors of flock on a file system without locks.
# EBADF: NFS, for a file that is open for reading only.
_WITHOUT_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF}


@dataclass(frozen=True)
class Process:
    """Identifies a process, even if another one later gets the same process id.

    Attributes:
        pid: the process id.
        started: boot id of the machine and clock ticks since boot; empty if the system does not provide them.
        host: the machine.
        command: the program's name.
    """

    pid: int
    started: str
    host: str
    command: str = ""

    def is_running(self) -> bool | None:
        """Whether the process is running. None if it is on another machine or its start time is unknown."""
        if self.host != platform.node():
            return None
        if not self.started:
            return None
        return start_time(self.pid) == self.started


def this_process() -> Process:
    pid = os.getpid()
    return Process(pid, start_time(pid) or "", platform.node(), Path(sys.argv[0]).name if sys.argv else "")


def start_time(pid: int) -> str | None:
    """Returns boot id and start time in clock ticks of a running process. None without such a process or /proc."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        # The program's name is in parentheses and may contain more of them. Field 3 is the state, field 22 the start.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else f"{boot}:{fields[19].decode()}"


@contextmanager
def locked(file: Path, *, wait: bool = False, keep: bool = False) -> Iterator[int]:
    """Locks `file` while the block runs. Yields its descriptor, which a command may inherit.

    Args:
        file: the lock file; its folder must exist.
        wait: wait for the other process instead of raising.
        keep: keep the lock file at the end instead of removing it.

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
    """Returns the path of the lock file for a file or folder: a hidden file next to it."""
    # Names have at most 255 bytes. Two long names with the same beginning share a lock, which is harmless.
    name = os.fsencode(destination.name)[:240]
    return destination.with_name(f".{os.fsdecode(name)}.lock")


def is_locked(file: Path) -> bool:
    """Whether a process holds the lock. Without flock: whether the recorded owner is running."""
    descriptor = None
    for mode in (os.O_RDWR, os.O_RDONLY):  # another user's lock can only be read
        with suppress(OSError):
            descriptor = os.open(file, mode | os.O_CLOEXEC | os.O_NOFOLLOW)
            break
    if descriptor is None:
        return False
    try:
        return not _try_lock(descriptor, wait=False)
    finally:
        os.close(descriptor)


def write_owner(file: Path, owner: Process) -> None:
    """Records another owner in a lock file, for a process that passes its lock on."""
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
        os.close(descriptor)  # the previous owner removed this file: create a new one


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
    """Retries for a while. Returns whether the lock was acquired.

    A process that only tests the lock holds it for a moment, and the worker processes of a killed owner hold it until
    they notice that their parent is gone.
    """
    began = time.monotonic()
    while True:
        time.sleep(0.05)
        if _try_lock(descriptor, wait=False):
            return True
        owner = _owner(descriptor)
        killed = owner is not None and owner.is_running() is False
        if time.monotonic() - began > (_ORPHAN_SECONDS if killed else _TEST_SECONDS):
            return False


def _owner(descriptor: int) -> Process | None:
    try:
        record = json.loads(os.pread(descriptor, 4096, 0))
        return Process(int(record["pid"]), str(record["started"]), str(record["host"]), str(record["command"]))
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
