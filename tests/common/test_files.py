"""Files and folders are written atomically, destinations are checked first, and locks allow one writer at a time."""

import errno
import os
from pathlib import Path

import pytest

from weam_fairseq.common import lock
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import (
    check_destination,
    check_file_destination,
    put_in_place,
    whole_file,
    whole_folder,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_only_at_the_end(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    write_text(file, "old\n")
    with whole_file(file) as partial:
        partial.write_text("new")
        assert file.read_text() == "old\n"
    assert file.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError("ours"), KeyboardInterrupt(), OSError(errno.ENOSPC, "full")])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    file = tmp_path / "a.txt"
    write_text(file, "old\n")

    def write() -> None:
        with whole_file(file) as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert file.read_text() == "old\n"
    assert names(tmp_path) == ["a.txt"]


def test_the_error_of_a_full_disk_names_the_destination(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    with pytest.raises(OSError, match="full") as raised, whole_file(file):
        raise OSError(errno.ENOSPC, "full")
    assert raised.value.filename == str(file)
    folder = tmp_path / "f"
    with pytest.raises(OSError, match="full") as raised, whole_folder(folder) as partial:
        raise OSError(errno.ENOSPC, "full", str(partial / "x"))
    assert raised.value.filename == str(folder / "x")


def test_a_link_is_followed_and_kept(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    assert check_destination(tmp_path / "link") == tmp_path / "disk"
    with whole_folder(tmp_path / "link") as partial:
        (partial / "x").write_text("x")
    assert (tmp_path / "link").is_symlink()
    assert names(tmp_path / "disk") == ["x"]
    (tmp_path / "file").symlink_to("target")
    write_text(tmp_path / "file", "x")
    assert (tmp_path / "file").is_symlink()
    assert (tmp_path / "target").read_text() == "x"


def test_links_at_old_or_guessed_names_of_partial_files_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    for name in ("out.incomplete", "out.replaced", "out.part", "out.partial"):
        (tmp_path / name).symlink_to("mine")
    with whole_folder(tmp_path / "out") as partial:
        (partial / "x").write_text("x")
    write_text(tmp_path / "out" / "y", "y")
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "precious"


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = tmp_path / "out", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    (old / "old").touch()
    rename = Path.rename

    def fails(self: Path, target: Path) -> Path:
        if self == new:
            raise OSError(errno.EIO, "disk")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(OSError, match="disk"):
        put_in_place(new, old)
    assert names(old) == ["old"]


def test_invalid_destinations_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "a" / "b"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    for path, message in (
        (Path(""), "is the current folder"),
        (Path(".."), "contains it"),
        (Path("/"), "contains it"),
        (tmp_path / "dangling", "link to nowhere, which does not exist"),
        (tmp_path / "file", "is a file"),
        (tmp_path / "file" / "x", "is not a folder"),
        (tmp_path / ("x" * 256), "at most 255 bytes"),
        (tmp_path / "full", "exists already"),
    ):
        with pytest.raises(InputError, match=message):
            check_destination(path)
    with pytest.raises(InputError, match=r"has no manifest\.json, so --overwrite"):
        check_destination(tmp_path / "full", overwrite=True, marker="manifest.json")
    (tmp_path / "full" / "run").mkdir()
    (tmp_path / "full" / "run" / "checkpoint_last.pt").touch()
    with pytest.raises(InputError, match=r"full contains run/checkpoint_last\.pt, which --overwrite would delete"):
        check_destination(tmp_path / "full", overwrite=True)
    monkeypatch.setattr(os.path, "ismount", lambda path: True)
    with pytest.raises(InputError, match="is a mount point"):
        check_destination(here.parent.parent / "full", overwrite=True)
    with pytest.raises(InputError, match="is a folder"):
        check_file_destination(tmp_path / "full")
    with pytest.raises(InputError, match="exists already"):
        check_file_destination(tmp_path / "file")
    assert check_file_destination(tmp_path / "file", overwrite=True) == tmp_path / "file"


def test_the_error_of_a_second_writer_names_the_first(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "out"):
        with (
            pytest.raises(InputError, match=rf"out is in use by .*process {os.getpid()} on"),
            whole_folder(tmp_path / "out"),
        ):
            pass
        assert lock.is_locked(lock.lock_file(tmp_path / "out"))
    assert names(tmp_path) == ["out"]
    assert not lock.is_locked(lock.lock_file(tmp_path / "out"))


def test_a_reused_process_id_is_another_process() -> None:
    mine = lock.this_process()
    assert mine.is_running() is True
    assert lock.Process(mine.pid, mine.started + "0", mine.host).is_running() is False
    assert lock.Process(2**22 + 1, mine.started, mine.host).is_running() is False
    assert lock.Process(mine.pid, mine.started, "elsewhere").is_running() is None


def test_without_flock_the_recorded_owner_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(lock.fcntl, "flock", no_locks)
    file, mine = tmp_path / "lock", lock.this_process()
    other = lock.Process(os.getppid(), lock.start_time(os.getppid()) or "", mine.host, "weam-x")
    with lock.locked(file, keep=True):
        pass
    for owner, free in ((other, False), (lock.Process(other.pid, "reused", mine.host, "weam-x"), True)):
        lock.write_owner(file, owner)
        if free:
            with lock.locked(file, keep=True):
                pass
        else:
            with pytest.raises(InputError, match="weam-x"), lock.locked(file):
                pass


def test_a_writer_that_makes_its_file_private_does_not_keep_it_so(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    with whole_file(tmp_path / "a") as partial:
        partial.chmod(0o600)  # as safetensors does
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "usual").stat().st_mode
