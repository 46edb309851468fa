"""Writes files and folders atomically, and checks a destination before the work starts.

A partial file lies next to its destination under an unpredictable name, `NAME.XXXXXXXX.partial`. So nobody can place a
link there in advance, and two writers never share a partial file.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.lock import lock_file, locked

_LONGEST_NAME = 255  # bytes, on all common file systems
PARTIAL = ".partial"


def check_destination(path: Path, *, overwrite: bool = False, marker: str | None = None, option: str = "") -> Path:
    """Checks, before any work, that a new folder can be created at `path`. Follows a link to a folder.

    Args:
        path: the folder to write.
        overwrite: an existing folder may be replaced.
        marker: a file that identifies the right kind of folder. Only a folder with this file is replaced.
        option: the option that sets the destination, for the messages (`--destdir`).

    Returns:
        The path of the folder itself, absolute, with links resolved.

    Raises:
        InputError: the path is empty, the current folder or a parent of it, a mount point, a broken link, a file, or
            inside a file; the folder exists and `overwrite` is not set; it is of another kind; its parent is not
            writable.
    """
    advice = f"Choose another {option}." if option else "Choose another folder."
    _check_names(path)
    if path.is_symlink() and not path.exists():
        raise InputError(f"{path} is a link to {os.readlink(path)}, which does not exist. Create that folder first.")
    folder = Path(os.path.realpath(path))
    if folder in (working_directory := Path.cwd().resolve(), *working_directory.parents):
        raise InputError(f"{path} must be a new folder, but is the current folder or contains it. {advice}")
    if folder.is_file() or (folder.exists() and not folder.is_dir()):
        raise InputError(f"{path} must be a folder, but is a file. {advice}")
    if folder.is_dir():
        if os.path.ismount(folder):
            raise InputError(f"{path} is a mount point, which cannot be replaced. Name a folder inside it.")
        if is_filled(folder):
            if not overwrite:
                raise InputError(f"{path} exists already. {advice[:-1]}, or add --overwrite to replace it.")
            if marker is not None and not (folder / marker).is_file():
                raise InputError(
                    f"{path} has no {marker}, so --overwrite does not replace it. Remove it yourself, or "
                    f"{advice[0].lower()}{advice[1:]}"
                )
            if checkpoint := next(folder.rglob("*.pt"), None):
                raise InputError(
                    f"{path} contains {checkpoint.relative_to(folder)}, which --overwrite would delete. Move it, or "
                    f"{advice[0].lower()}{advice[1:]}"
                )
    check_parent(folder)
    return folder


def check_file_destination(path: Path, *, overwrite: bool = False) -> Path:
    """Checks, before any work, that a new file can be created at `path`. Follows a link.

    Raises:
        InputError: the path is a folder or inside a file; the file exists and `overwrite` is not set; its folder is not
            writable.
    """
    _check_names(path)
    file = Path(os.path.realpath(path))
    if file.is_dir():
        raise InputError(f"{path} must be a file, but is a folder. Name a file in it.")
    if file.exists() and not overwrite:
        raise InputError(f"{path} exists already. Choose another name, or add --overwrite to replace it.")
    check_parent(file)
    return file


def check_parent(path: Path) -> None:
    """Raises InputError unless `path` can be created: its nearest existing parent must be a writable folder."""
    parent = next((ancestor for ancestor in path.absolute().parents if os.path.lexists(ancestor)), Path("/"))
    if not parent.is_dir():
        raise InputError(f"{path} cannot be created, because {parent} is not a folder. Choose another place.")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"{path} cannot be created: you may not write in {parent}. Choose another place.")


def _check_names(path: Path) -> None:
    for name in path.parts:
        if len(os.fsencode(name)) > _LONGEST_NAME:
            raise InputError(f"A file name must have at most {_LONGEST_NAME} bytes, but {name[:40]}… has more.")


def partial_path(path: Path) -> Path:
    """Returns an unpredictable name next to `path`, for a file or folder that is not complete yet."""
    ending = f".{secrets.token_hex(4)}{PARTIAL}"
    name = os.fsdecode(os.fsencode(path.name)[: _LONGEST_NAME - len(ending)])
    return path.with_name(name + ending)


@contextmanager
def whole_file(path: Path, *, follow: bool = True) -> Iterator[Path]:
    """Yields a new, empty file next to `path`. It replaces `path` if the block ends without an error.

    Otherwise it is removed. A link at `path` is followed, or replaced if `follow` is not set.

    Raises:
        OSError: with `path` as its file name.
    """
    path = Path(os.path.realpath(path)) if follow else path
    partial = partial_path(path)
    try:
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        mode = partial.stat().st_mode
        try:
            yield partial
            if partial.stat().st_mode != mode:
                os.chmod(partial, mode)  # safetensors writes files that only their owner may read
            _to_disk(partial)
            os.replace(partial, path)
        except BaseException:
            with suppress(OSError):
                partial.unlink()
            raise
    except OSError as error:
        raise _named(error, partial, path) from error.__cause__


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 file atomically. Line ends stay as they are in `text`."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any, indent: int | None = 1) -> None:
    write_text(path, json.dumps(value, indent=indent, ensure_ascii=False) + "\n")


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yields a new folder next to `path`. It replaces `path` if the block ends without an error.

    Otherwise it is removed. A lock keeps other processes from writing the same folder at the same time. Call
    `check_destination` first, because this function replaces an existing folder.

    Raises:
        InputError: another process is writing the same folder.
        OSError: with `path` as its file name, if it had none.
    """
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    with locked(lock_file(path)):
        was_there = is_filled(path)
        try:
            partial.mkdir()
            try:
                yield partial
                if is_filled(path) and not was_there:
                    raise InputError(f"{path} was empty at the start, but holds files now. Choose another folder.")
                put_in_place(partial, path)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
        except OSError as error:
            raise _named(error, partial, path) from error.__cause__


def file_sha256(file: Path) -> str:
    """Of the bytes on disk, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def is_filled(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def put_in_place(partial: Path, path: Path) -> None:
    """Renames a complete folder to `path`. An older folder there is removed, or restored if the renaming fails."""
    if not path.exists():
        partial.rename(path)
        return
    replaced = partial_path(path)
    path.rename(replaced)
    try:
        partial.rename(path)
    except OSError:
        replaced.rename(path)
        raise
    shutil.rmtree(replaced)


def _to_disk(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _named(error: OSError, partial: Path, path: Path) -> OSError:
    """Puts the destination's name into the error: it may have no name, or that of the partial file."""
    name = error.filename
    if name is None or isinstance(name, int):
        error.filename = str(path)
    elif os.fsdecode(name).startswith(str(partial)):
        error.filename = str(path) + os.fsdecode(name)[len(str(partial)) :]
        error.filename2 = None
    return error
