"""Runs the console commands: reports an error in one sentence and returns the right exit code."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable

from weam_fairseq.common.errors import InputError

# The exit codes that a shell reports for a command ended by SIGINT or SIGPIPE.
INTERRUPTED, CLOSED_PIPE = 130, 141

# Begins a command that runs a module of ours. -P: nothing is imported from the current folder, such as a random.py of
# the user.
PYTHON_MODULE = (sys.executable, "-u", "-P", "-m")

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
    """Runs a command, or prints its version for the only argument --version.

    Reports user errors and operating-system errors in one sentence on stderr.

    Args:
        prog: the command's name.
        run: the function to run. It returns the exit code (None: 0).
        advice: a sentence to print after the error if the work can be resumed (`Run it again with --resume …`).

    Returns:
        The exit code of `run`; 2 after a user error or an operating-system error; 130 after Ctrl-C; 141 if the reader
        of the output closed the pipe. Errors in our own code are raised with their traceback.
    """
    _prepare_streams()
    if sys.argv[1:] == ["--version"]:
        from weam_fairseq import __version__

        print(f"{prog} {__version__}")
        return 0
    try:
        try:
            code = run() or 0
        except SystemExit as exit_request:  # argparse
            code = exit_request.code if isinstance(exit_request.code, int) else 0 if exit_request.code is None else 1
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
    """Describes an operating-system error in one sentence, even if a library wrapped it. None for other errors."""
    if isinstance(error, OSError) and error.errno is not None:
        names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
        reason = os.strerror(error.errno)
        where = " and ".join(dict.fromkeys(names))
        return f"{where}: {reason}.{_after(_ADVICE.get(error.errno, ''))}" if where else f"{reason}."
    if isinstance(error, OSError):
        return f"{str(error).rstrip('.')}."
    text = next(iter(str(error).splitlines()), "")
    if is_out_of_memory(error):
        return "There is not enough memory. Use a machine with more memory, or smaller batches."
    if match := re.search(r"\(os error (\d+)\)", text):  # safetensors
        return machine_error(OSError(int(match[1]), ""))
    if "PytorchStreamWriter" in text or "unexpected pos" in text:  # from torch.save; its cause is an OSError
        cause = error.__cause__ or error.__context__
        return machine_error(cause) if isinstance(cause, OSError) else f"A file cannot be written: {text.rstrip('.')}."
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory is lacking, of the machine or of a GPU."""
    text = next(iter(str(error).splitlines()), "")
    return isinstance(error, MemoryError) or "can't allocate memory" in text or "out of memory" in text


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
    """Opens closed standard streams, and replaces characters that the terminal cannot show.

    Otherwise the next file to be opened would get the number of a closed standard stream, and the first character that
    a terminal without UTF-8 lacks would end the command.
    """
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
    """Redirects broken streams to /dev/null. Python flushes them again at exit and would repeat the error."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(devnull, stream.fileno())
        except AttributeError:
            pass
    os.close(devnull)
