"""What every console command shares: an error is one sentence, and the exit code tells what happened."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable

from weam_fairseq.common.errors import InputError

# As a shell reports a command that SIGINT or SIGPIPE has ended.
INTERRUPTED, CLOSED_PIPE = 130, 141

_ADVICE = {
    errno.ENOSPC: "Free some space there, then run the command again.",
    errno.EDQUOT: "Free some space there, then run the command again.",
    errno.EACCES: "Change its permissions, or name another place.",
    errno.EPERM: "Change its permissions, or name another place.",
    errno.EROFS: "Name another place.",
    errno.EISDIR: "Name a file.",
    errno.ENOTDIR: "Name another place.",
    errno.EEXIST: "Name another place.",
    errno.ENAMETOOLONG: "Give it a shorter name.",
    errno.ENOENT: "Check the name.",
    errno.EMFILE: "Raise the limit of open files (ulimit -n), then run the command again.",
}


def run_command(prog: str, run: Callable[[], int | None], advice: str = "") -> int:
    """Runs a command and turns what can go wrong outside it into one sentence on stderr.

    Args:
        prog: the command's name.
        run: does the work and returns the exit code (None: 0).
        advice: a sentence that follows the error where the work can be resumed (`Run it again with --resume …`).

    Returns:
        the exit code of `run`; 2 after a user's mistake or an error of the operating system, 130 after Ctrl-C, 141
        where the reader of the output has closed the pipe. Errors of our own code are raised, with their traceback.
    """
    _prepare_streams()
    try:
        try:
            code = run() or 0
        except SystemExit as end:  # argparse
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
            _flush()
            raise
        _flush()
        return code
    except InputError as error:
        return _fail(prog, str(error))
    except KeyboardInterrupt:
        return _fail(prog, f"interrupted.{_after(advice)}", code=INTERRUPTED, kind="")
    except Exception as error:
        if _is_closed_pipe(error):
            _discard_output()
            return CLOSED_PIPE
        sentence = machine_error(error)
        if sentence is None:
            raise
        return _fail(prog, f"{sentence}{_after(advice)}")


def machine_error(error: BaseException) -> str | None:
    """One sentence for an error of the operating system, also where a library has wrapped it; None for other errors."""
    if isinstance(error, OSError) and error.errno is not None:
        names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
        reason = os.strerror(error.errno)
        where = " and ".join(dict.fromkeys(names))
        return f"{where}: {reason}.{_after(_ADVICE.get(error.errno, ''))}" if where else f"{reason}."
    if isinstance(error, OSError):
        return f"{str(error).rstrip('.')}."
    text = next(iter(str(error).splitlines()), "")
    if isinstance(error, MemoryError) or "can't allocate memory" in text or "out of memory" in text:
        return "There is not enough memory. Use a machine with more, or smaller batches."
    if found := re.search(r"\(os error (\d+)\)", text):  # safetensors
        return machine_error(OSError(int(found[1]), ""))
    if "PytorchStreamWriter" in text or "unexpected pos" in text:  # torch.save, whose cause is the system's error
        cause = error.__cause__ or error.__context__
        return machine_error(cause) if isinstance(cause, OSError) else f"A file cannot be written: {text.rstrip('.')}."
    return None


def _after(sentence: str) -> str:
    return f" {sentence}" if sentence else ""


def _fail(prog: str, sentence: str, code: int = 2, kind: str = "error: ") -> int:
    try:
        print(f"{prog}: {kind}{' '.join(sentence.split())}", file=sys.stderr, flush=True)
        _flush()
    except OSError:
        _discard_output()
    return code


def _prepare_streams() -> None:
    """A closed standard stream would give its number to the next file that is opened, and a terminal that is not UTF-8
    would end the command at the first letter that it does not have."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _flush() -> None:
    if sys.stdout is not None:
        try:
            sys.stdout.flush()
        except OSError as error:
            if error.errno != errno.EPIPE:
                _discard_output()
            error.filename = "standard output"
            raise


def _is_closed_pipe(error: Exception) -> bool:
    return isinstance(error, BrokenPipeError) and error.filename in (None, "standard output")


def _discard_output() -> None:
    """Python flushes the standard streams once more at its end, and would report the same error again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
        except AttributeError:
            pass
    os.close(nowhere)
