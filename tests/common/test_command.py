"""Console commands report user and system errors in one sentence, with the path and without a traceback."""

import errno
import os
import subprocess
import sys
from argparse import ArgumentTypeError

import pytest

from weam_fairseq.common.arguments import CommandParser, natural, positive
from weam_fairseq.common.command import machine_error, run_command
from weam_fairseq.common.errors import InputError


def ended(run: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = run_command("weam-x", run, advice="Run it again.")  # type: ignore[arg-type]
    return code, capsys.readouterr().err


def fails(error: BaseException) -> object:
    def run() -> int:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (InputError("A must be b,\nbut is c."), 2, "weam-x: error: A must be b, but is c."),
        (OSError(errno.ENOSPC, "", "out/x"), 2, "out/x: No space left on device. Free some space there, then"),
        (PermissionError(errno.EACCES, "", "out"), 2, "out: Permission denied. Change its permissions, or"),
        (OSError(errno.ENAMETOOLONG, "", "x"), 2, "x: File name too long."),
        (OSError("cannot fork"), 2, "weam-x: error: cannot fork."),
        (KeyboardInterrupt(), 130, "weam-x: interrupted. Run it again."),
        (MemoryError(), 2, "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), 2, "not enough memory"),
        (RuntimeError('Error { code: 28, message: "No space" } (os error 28)'), 2, "No space left on device."),
    ],
)
def test_one_sentence_and_an_exit_code(
    error: BaseException, code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found, err = ended(fails(error), capsys)
    assert found == code
    assert sentence in err
    assert err.startswith("weam-x: ")
    assert err.count("\n") == 1


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(KeyError):
        run_command("weam-x", fails(KeyError("bug")))  # type: ignore[arg-type]


def test_the_system_error_under_torch_save_is_found() -> None:
    error = RuntimeError("[enforce fail] . unexpected pos 64 vs 0")
    error.__context__ = OSError(errno.ENOSPC, "full", "x.pt")
    assert "x.pt: No space left on device." in str(machine_error(error))


PRINTS = """
import sys
from argparse import ArgumentTypeError
from weam_fairseq.common.command import run_command
def run():
    print({text})
sys.exit(run_command("weam-x", run))
"""


def run_python(text: str, **how: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", PRINTS.format(text=text)], stderr=subprocess.PIPE, **how)  # type: ignore[call-overload, no-any-return]


def test_streams_that_cannot_take_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that is not UTF-8, a pipe that its reader has closed, a full disk."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
    result = run_python(r"'\u4eca'", stdout=subprocess.PIPE, env=ascii_only)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"\\u4eca\n", b"")
    reader, writer = os.pipe()
    os.close(reader)
    result = run_python("'x' * 10", stdout=writer)
    os.close(writer)
    assert (result.returncode, result.stderr) == (141, b"")
    with open("/dev/full", "wb") as full:
        result = run_python("'x'", stdout=full)
    assert result.returncode == 2
    assert result.stderr.startswith(b"weam-x: error: standard output: No space left on device.")
    assert result.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--lenght", "3"], "Unrecognized arguments: --lenght 3. Did you mean --length?"),
        (["--len", "3"], "Unrecognized arguments: --len 3. Did you mean --length?"),
        (["--length", "x"], "Argument --length: invalid int value: 'x'. See weam-x --help."),
        (["--zzz"], "Unrecognized arguments: --zzz. See weam-x --help."),
    ],
)
def test_a_wrong_option_gets_one_sentence_and_none_is_abbreviated(words: list[str], sentence: str) -> None:
    parser = CommandParser(prog="weam-x")
    parser.add_argument("--length", type=int)
    with pytest.raises(InputError) as error:
        parser.parse_args(words)
    assert str(error.value) == sentence


def test_long_prose_of_a_help_text_is_wrapped_and_examples_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    example = f"  weam-x {'--option ' * 12}".rstrip()
    lines = (
        CommandParser(prog="weam-x", description="word " * 30, epilog=f"example:\n{example}").format_help().split("\n")
    )
    assert example in lines
    assert max(len(line) for line in lines if line != example) <= 60


@pytest.mark.parametrize("text", ["", "-1", "1.5", "٣", "2147483648", "0" * 20 + "9" * 20])
def test_whole_numbers_are_bounded(text: str) -> None:
    for read in (positive, natural):
        with pytest.raises(ArgumentTypeError, match="must be a whole number from"):
            read(text)
    assert (natural("0"), positive("2147483647")) == (0, 2147483647)
