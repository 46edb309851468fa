"""An input file as a stream of text bytes: unpacked on the way, its SHA-256 taken on the way, never whole in memory."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from weam_fairseq.common.errors import InputError

# What a file may begin with that is no UTF-8 text, and what to do about it. Without this a wrong file would be
# read to its end, only to drop every line of it.
NOT_TEXT = {
    b"\x1f\x8b": ("gzip data", "Give it a name that ends in .gz."),
    b"\xfd7zXZ\x00": ("xz data", "Give it a name that ends in .xz."),
    b"\x28\xb5\x2f\xfd": ("Zstandard data", "Give it a name that ends in .zst."),
    b"PK\x03\x04": ("a zip archive", "Unpack it and name the files in it."),
    b"\xff\xfe": ("UTF-16 text", "Convert it: iconv -f UTF-16 -t UTF-8."),
    b"\xfe\xff": ("UTF-16 text", "Convert it: iconv -f UTF-16 -t UTF-8."),
}


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class _Hashed:
    """The bytes on disk. Takes their SHA-256 as they are read."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size) or b""
        self.sha256.update(data)
        return data


# A reader of the text, and the errors by which it says that the file is broken.
_Unpacked = tuple[_Readable, tuple[type[Exception], ...]]


def _gzip(packed: Any) -> _Unpacked:
    return gzip.GzipFile(fileobj=packed), (EOFError, zlib.error, gzip.BadGzipFile)


def _xz(packed: Any) -> _Unpacked:
    return lzma.LZMAFile(packed), (EOFError, lzma.LZMAError)


def _zstd(packed: Any) -> _Unpacked:
    # Not the package `zstandard`: its reader takes a truncated file for a whole one.
    from backports import zstd

    return zstd.ZstdFile(packed), (EOFError, zstd.ZstdError)


_UNPACK: dict[str, Callable[[Any], _Unpacked]] = {".gz": _gzip, ".xz": _xz, ".zst": _zstd}


def check(path: Path) -> None:
    """Raises InputError unless `path` can be opened: what a later file lacks is said before the first is read."""
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder. Name the files in it.")
        path.stat()
    except FileNotFoundError:
        raise InputError(f"{path} is not there. Check the path.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    if path.suffix == ".zst":
        try:
            import backports.zstd  # noqa: F401
        except ImportError:
            raise InputError(
                f"{path} needs the package backports.zstd. Install it: pip install backports.zstd"
            ) from None


class TextStream:
    """A plain, `.gz`, `.xz` or `.zst` file, to be read once from its beginning to its end; a context manager."""

    def __init__(self, path: Path) -> None:
        """Raises InputError when the file cannot be opened."""
        check(path)
        self.path = path
        try:
            self._file = io.FileIO(path)
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}.") from error
        self._hashed = _Hashed(self._file)
        unpack = _UNPACK.get(path.suffix)
        self._text, self._broken = unpack(self._hashed) if unpack else (self._hashed, ())
        self._begun = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._file.close()

    def read(self, size: int) -> bytes:
        """At most `size` bytes of text; none at the end. Raises InputError for a file that is broken or no text."""
        try:
            data = self._text.read(size)
        except self._broken as error:
            raise InputError(
                f"{self.path} is not a whole {self.path.suffix} file ({error}). Fetch or compress it again."
            ) from error
        except OSError as error:
            raise InputError(f"{self.path} cannot be read: {error.strerror}.") from error
        if not self._begun:
            self._begun = True
            self._check_text(data)
        return data

    def sha256(self) -> str:
        """Of the bytes on disk, so of the packed ones; to be asked for at the end."""
        while self._hashed.read(1 << 20):
            pass
        return self._hashed.sha256.hexdigest()

    def _check_text(self, data: bytes) -> None:
        for start, (what, advice) in NOT_TEXT.items():
            if data.startswith(start):
                raise InputError(f"{self.path} must hold UTF-8 text, but holds {what}. {advice}")
