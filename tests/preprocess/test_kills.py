"""What is killed, or has no room, leaves what it has done; --resume goes on with it and does nothing twice."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cluster_jobs
import pytest
from small_runs import contents, options
from weam_preprocess import binarize, cli, manifest, pipeline, work
from weam_preprocess.errors import InputError, Unfinished
from weam_preprocess.work import Work
from weam_preprocess.workers import Workers

# Small chunks, so that some are done and some are not when the kill comes; the command itself has no option for it.
RUN = """
import sys, time
from pathlib import Path
from small_runs import options
from weam_preprocess import pipeline

class Slow(pipeline.RawReader):
    def __iter__(self):
        for chunk in super().__iter__():
            time.sleep(0.05 if chunk.number < 10 else 600)  # the kill comes before the last chunks, however late it is
            yield chunk

if __name__ == "__main__":
    pipeline.RawReader = Slow
    pipeline.run(options(Path(sys.argv[1]), Path(sys.argv[2]), chunk=20, workers=2))
"""


def finished(destdir: Path) -> dict[Path, int]:
    """The chunks whose first stage is done, and when it was."""
    work = destdir.with_name(f"{destdir.name}.incomplete") / "work" / "en-de"
    return {path: path.stat().st_mtime_ns for path in work.glob("account.*.json")}


def gone_on_with(asked: pipeline.Options, patch: pytest.MonkeyPatch) -> list[Path]:
    """Finished chunks that --resume has done again."""
    before, again = finished(asked.destdir), []
    merge = pipeline.merge

    def seen(*arguments: object) -> bool:
        again.extend(path for path, time in finished(asked.destdir).items() if before.get(path, time) != time)
        return merge(*arguments)  # type: ignore[arg-type]

    patch.setattr(pipeline, "merge", seen)
    pipeline.run(replace(asked, resume=True))
    return again


def descendants(pid: int) -> Iterator[int]:
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield int(child)
        yield from descendants(int(child))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_killed_run_goes_on(
    plain: tuple[Path, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "run_in_small_chunks.py"
    script.write_text(RUN)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, str(script), str(plain[0]), str(tmp_path / "bin")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
    deadline = time.monotonic() + 60
    while len(finished(tmp_path / "bin")) < 3 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.002)
    workers = list(descendants(process.pid))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert workers
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [pid for pid in workers if alive(pid)] == []
    assert 3 <= len(finished(tmp_path / "bin")) < 16
    assert not (tmp_path / "bin").exists()
    assert gone_on_with(options(plain[0], tmp_path / "bin", chunk=20, workers=2), monkeypatch) == []
    assert contents(tmp_path / "bin") == plain[1]
    assert not (tmp_path / "bin.incomplete").exists()


def test_a_killed_worker_is_told(tmp_path: Path) -> None:
    with Workers(2) as pool, pytest.raises(Unfinished, match=r"worker process was killed .* continue with --resume"):
        list(pool.map(cluster_jobs.killed_once, [(tmp_path, number) for number in range(20)]))


def test_what_a_killed_worker_leaves_is_gone_on_with(
    plain: tuple[Path, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = options(plain[0], tmp_path / "bin", chunk=20, workers=2)
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "prepare", cluster_jobs.prepare_but_one_is_killed)
        with pytest.raises(Unfinished, match="worker process was killed"):
            pipeline.run(asked)
    assert finished(tmp_path / "bin")
    assert gone_on_with(asked, monkeypatch) == []
    assert contents(tmp_path / "bin") == plain[1]


@pytest.mark.parametrize(
    ("death", "said"),
    [("kill -9 $$", "was killed by signal 9: it printed no message."), ("echo No space >&2; exit 1", "No")],
)
def test_what_a_killed_aligner_leaves_is_gone_on_with(
    death: str,
    said: str,
    plain: tuple[Path, dict[str, bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    program, once = tmp_path / "fast_align", tmp_path / "once"
    program.write_text(f'#!/bin/sh\nif [ ! -e {once} ]; then touch {once}; {death}; fi\nsed "s/.*/0-0/" "$2"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    words = ["--pair", f"en-de={plain[0]}", "--train-tokenizer", "wordpiece", "--vocab-size", "200"]
    words += ["--aligner", "fast_align", "--aligner-implementation", "program", "--destdir", str(tmp_path / "bin")]
    assert cli.main(words) == 2
    error = capsys.readouterr().err
    assert f"fast_align (program) {said}" in error or f"failed with exit code 1: {said}" in error
    assert "continue with --resume." in error
    done = finished(tmp_path / "bin")
    assert done
    assert not (tmp_path / "bin").exists()
    assert cli.main([*words, "--resume"]) == 0
    assert (tmp_path / "bin" / "manifest.json").is_file()


@pytest.mark.parametrize("bug", [OSError(errno.ENOSPC, "No space left on device", "x.bin"), RuntimeError("a bug")])
def test_only_a_mistake_of_the_user_leaves_nothing(
    bug: Exception,
    plain: tuple[Path, dict[str, bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--pair", f"en-de={plain[0]}", "--train-tokenizer", "wordpiece", "--vocab-size", "200"]
    words += ["--valid-size", "20", "--aligner", "fast_align", "--destdir", str(tmp_path / "bin")]

    def fails(*_: object) -> None:
        raise bug

    with monkeypatch.context() as patch:
        patch.setattr(binarize, "write_part", fails)
        if isinstance(bug, OSError):
            assert cli.main(words) == 2
            said = capsys.readouterr().err
            assert "x.bin: No space left on device." in said
            assert "Finished parts are kept: run the command again with --resume." in said
        else:
            with pytest.raises(RuntimeError, match="a bug"):
                cli.main(words)
    assert finished(tmp_path / "bin")
    assert cli.main([*words, "--resume"]) == 0
    assert contents(tmp_path / "bin") == plain[1]

    with pytest.raises(InputError, match="plainly"), work.resumable(tmp_path / "other", resume=False):
        raise InputError("plainly")
    assert not (tmp_path / "other.incomplete").exists()


def test_a_second_run_at_the_same_place_is_refused(
    plain: tuple[Path, dict[str, bytes]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--pair", f"en-de={plain[0]}", "--train-tokenizer", "wordpiece", "--vocab-size", "200"]
    words += ["--destdir", str(tmp_path / "bin")]
    with work.resumable(tmp_path / "bin", resume=False) as folder:
        (folder / "done").touch()
        for more in ([], ["--resume"]):
            assert cli.main([*words, *more]) == 2
            assert f"bin is in use by {Path(sys.argv[0]).name} (process {os.getpid()} on" in capsys.readouterr().err
        assert (folder / "done").exists()
    assert [path.name for path in (tmp_path / "bin").iterdir()] == ["done"]
    assert not (tmp_path / "bin.incomplete").exists()


def test_files_that_appear_during_the_run_are_not_replaced(tmp_path: Path) -> None:
    destdir = tmp_path / "bin"

    def run() -> None:
        with work.resumable(destdir, resume=False) as folder:
            (folder / "done").touch()
            destdir.mkdir()
            (destdir / "thesis.tex").write_text("precious")

    with pytest.raises(InputError, match=r"bin was empty when the run began.*bin\.incomplete"):
        run()
    assert [path.name for path in destdir.iterdir()] == ["thesis.tex"]
    assert (tmp_path / "bin.incomplete" / "done").exists()


def test_a_data_bin_that_another_run_has_just_finished_is_not_replaced(tmp_path: Path) -> None:
    with work.resumable(tmp_path / "bin", resume=False) as folder:
        (folder / "done").touch()
    with pytest.raises(InputError, match="exists already"), work.resumable(tmp_path / "bin", resume=False):
        raise AssertionError


@pytest.mark.parametrize("kind", ["link", "file", "folder"])
def test_a_work_folder_of_somebody_else_is_not_touched(
    kind: str, plain: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("precious")
    incomplete = tmp_path / "bin.incomplete"
    if kind == "link":
        incomplete.symlink_to("mine")
    elif kind == "file":
        incomplete.write_text("precious")
    else:
        mine.rename(incomplete)
        mine = incomplete
    with pytest.raises(InputError, match=r"bin\.incomplete must not exist"):
        pipeline.run(options(plain[0], tmp_path / "bin"))
    assert (tmp_path / "mine" / "thesis.tex").is_file() or (incomplete / "thesis.tex").is_file()
    assert kind != "file" or incomplete.read_text() == "precious"


def test_a_link_to_a_folder_is_followed(plain: tuple[Path, dict[str, bytes]], tmp_path: Path) -> None:
    """As people link a scratch disk."""
    (tmp_path / "scratch").mkdir()
    (tmp_path / "bin").symlink_to("scratch")
    pipeline.run(options(plain[0], tmp_path / "bin"))
    assert (tmp_path / "bin").is_symlink()
    assert contents(tmp_path / "scratch") == plain[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "scratch"]


def test_half_a_tokenizer_does_not_stay(plain: tuple[Path, dict[str, bytes]], tmp_path: Path) -> None:
    """As a kill leaves it, of another process or machine, or of one with the same number."""
    for name in ("tokenizer.other.1.unfinished", f"tokenizer.{socket.gethostname()}.{os.getpid()}.unfinished"):
        half = tmp_path / "bin.incomplete" / name
        half.mkdir(parents=True)
        (half.parent / work.MARKER).touch()
        (half / "tokenizer.json").write_text("{")
    pipeline.run(options(plain[0], tmp_path / "bin", resume=True))
    assert contents(tmp_path / "bin") == plain[1]
    assert list((tmp_path / "bin").glob("*.unfinished")) == []


@pytest.mark.parametrize("removed", [2, 1000])
def test_a_kill_in_the_clean_up_lets_no_part_into_another_run(
    removed: int, plain: tuple[Path, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After so many files, or after run.json. What is left is of the old input, and is refused or removed."""
    asked = options(plain[0], tmp_path / "bin", chunk=100)
    unlink, write, left = os.unlink, manifest.write, removed

    def killed_at(path: str | Path, *more: Any, **named: Any) -> None:
        nonlocal left
        left -= 1
        if left == -1:
            raise KeyboardInterrupt
        unlink(path, *more, **named)
        if Path(path).name == "run.json":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:

        def write_and_clean_up(*arguments: Any) -> None:
            write(*arguments)
            patch.setattr(os, "unlink", killed_at)

        patch.setattr(manifest, "write", write_and_clean_up)
        with pytest.raises(KeyboardInterrupt):
            pipeline.run(asked)
    other = tmp_path / "other.tsv"
    other.write_text("".join(reversed(plain[0].read_text(encoding="utf-8").splitlines(keepends=True))))
    of_other = options(other, tmp_path / "bin", chunk=100, resume=True)
    if removed < 1000:
        with pytest.raises(InputError, match=r"but these differ: inputs \(--pair en-de file 1\)"):
            pipeline.run(of_other)
        pipeline.run(replace(asked, resume=True))
        assert contents(tmp_path / "bin") == plain[1]
    else:
        pipeline.run(of_other)
        pipeline.run(options(other, tmp_path / "fresh", chunk=100))
        assert contents(tmp_path / "bin") == contents(tmp_path / "fresh")


def test_parts_without_a_record_are_not_used(plain: tuple[Path, dict[str, bytes]], tmp_path: Path) -> None:
    """As a clean-up that removes run.json first leaves them: other pieces and another vocabulary."""
    folder = tmp_path / "bin.incomplete"
    with killed_before_the_clean_up(), pytest.raises(KeyboardInterrupt):
        pipeline.run(options(plain[0], tmp_path / "bin", vocab_size=150))
    (folder / "work" / "run.json").unlink()
    assert (folder / "tokenizer").exists()
    pipeline.run(options(plain[0], tmp_path / "bin", resume=True))
    assert contents(tmp_path / "bin") == plain[1]


@contextmanager
def killed_before_the_clean_up() -> Iterator[None]:
    """A run ends before its clean-up."""

    def killed(_: Work) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Work, "remove", killed)
        yield


@pytest.mark.parametrize("which", ["text", "tokenizer"])
def test_other_content_of_the_same_size_and_time_is_refused(
    which: str, plain: tuple[Path, dict[str, bytes]], tmp_path: Path
) -> None:
    tsv, folder = shutil.copy(plain[0], tmp_path / "en-de.tsv"), tmp_path / "tokenizer"
    shutil.copytree(plain[0].parent / "plain" / "tokenizer", folder)
    asked = options(tsv, tmp_path / "bin", train_tokenizer=None, vocab_size=0, tokenizer=folder)
    with killed_before_the_clean_up(), pytest.raises(KeyboardInterrupt):
        pipeline.run(asked)
    changed = {"text": tsv, "tokenizer": folder / "tokenizer.json"}[which]
    stat = changed.stat()
    text = changed.read_bytes()
    changed.write_bytes(text.replace(b"house", b"hovel"))
    os.utime(changed, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    named = {"text": "--pair en-de file 1", "tokenizer": "--tokenizer"}[which]
    with pytest.raises(InputError, match=rf"but these differ: inputs \({named}\)\. Run without --resume"):
        pipeline.run(replace(asked, resume=True))
    changed.write_bytes(text)
    pipeline.run(replace(asked, resume=True))


def test_a_file_that_changes_while_it_is_read_leaves_no_parts(
    plain: tuple[Path, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tsv = Path(shutil.copy(plain[0], tmp_path / "en-de.tsv"))
    make, text = pipeline._make_tokenizer, tsv.read_bytes()

    def changing(*arguments: Any) -> Any:
        made = make(*arguments)
        tsv.write_bytes(text.replace(b"house", b"hovel"))
        return made

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "_make_tokenizer", changing)
        with pytest.raises(InputError, match=r"--pair en-de file 1: the file changed while it was read"):
            pipeline.run(options(tsv, tmp_path / "bin", resume=True))
    tsv.write_bytes(text)
    pipeline.run(options(tsv, tmp_path / "bin", resume=True))
    assert contents(tmp_path / "bin") == plain[1]
