"""Reads text files, plain or compressed, with or without a byte order mark. A file's content determines its format, not
its name.

    check(path)         raises InputError unless the file can be opened and may be text
    open_text(path)     yields the lines: decompressed, checked for UTF-8, without byte order mark and line ends
    TextStream(path)    reads the decompressed bytes, for a reader that counts the lines that it drops and repairs
    sha256(path)        returns the digest of the bytes that TextStream(path) reads from disk
    find_format(data)   recognizes a format that is not text by the first bytes of a file
    zip_members(path)   returns the files in a zip archive, as paths

gzip, bzip2, xz and Zstandard data are decompressed. Every stream of a file is read to its end. A damaged or truncated
stream, or extra bytes after the last one, raise InputError. Archives, web pages, office documents, databases, UTF-16
and other formats raise an InputError that names the format. The path of a file in a zip archive is
`ARCHIVE.zip/MEMBER`.

Every function raises InputError with the path, also for operating-system errors. A file is read once from beginning to
end, so it may be a pipe.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

from weam_fairseq.common.errors import InputError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLOCK = 1 << 20
_HEAD = 1 << 16  # bytes that determine the format of a file


class Format(NamedTuple):
    """A format that is not line-based text: its name for an error message, and advice for the user."""

    name: str
    advice: str


_UNPACK = "Unpack it, and name the files in it."
_EXPORT = "Export the sentences as UTF-8 text, one per line, and name that file."
_DECOMPRESS = "Decompress it first."
_UTF8 = "Convert it: iconv -f {0} -t UTF-8."
_FETCH = "Download the file again."

# The first bytes of each format. If several match, the longest one counts.
_SIGNATURES: dict[bytes, Format] = {
    b"PK\x03\x04": Format("a zip archive", "Name a file in it as ARCHIVE.zip/FILE, or unpack it."),
    b"PK\x05\x06": Format("an empty zip archive", _FETCH),
    b"PK\x07\x08": Format("a zip archive of several parts", _UNPACK),
    b"7z\xbc\xaf\x27\x1c": Format("a 7z archive", _UNPACK),
    b"Rar!\x1a\x07": Format("a RAR archive", _UNPACK),
    b"!<arch>\n": Format("an ar archive", _UNPACK),
    b"\x1f\x9d": Format("data of compress (.Z)", _DECOMPRESS),
    b"LZIP\x01": Format("lzip data", _DECOMPRESS),
    b"\x04\x22\x4d\x18": Format("LZ4 data", _DECOMPRESS),
    b"\x5d\x00\x00": Format("LZMA data (.lzma)", _DECOMPRESS),
    b"\xff\x06\x00\x00sNaPpY": Format("Snappy data", _DECOMPRESS),
    b"\xff\xfe": Format("UTF-16 text", _UTF8.format("UTF-16")),
    b"\xfe\xff": Format("UTF-16 text", _UTF8.format("UTF-16")),
    b"\xff\xfe\x00\x00": Format("UTF-32 text", _UTF8.format("UTF-32")),
    b"\x00\x00\xfe\xff": Format("UTF-32 text", _UTF8.format("UTF-32")),
    b"%PDF-": Format("a PDF document", _EXPORT),
    b"{\\rtf": Format("a rich text document (RTF)", _EXPORT),
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": Format("a Microsoft Office document", _EXPORT),
    b"PAR1\x15": Format("a Parquet file", _EXPORT),
    b"ARROW1\x00": Format("an Arrow file", _EXPORT),
    b"Obj\x01": Format("an Avro file", _EXPORT),
    b"\x89HDF\r\n\x1a\n": Format("an HDF5 file", _EXPORT),
    b"SQLite format 3\x00": Format("an SQLite database", _EXPORT),
    b"\x93NUMPY": Format("a NumPy array", _EXPORT),
    b"MMIDIDX\x00": Format("a fairseq index", "Name the text file that it was made from."),
    b"\x89PNG\r\n": Format("a PNG image", _EXPORT),
    b"\xff\xd8\xff": Format("a JPEG image", _EXPORT),
    b"\x7fELF": Format("a program", "Name a text file."),
    b"version https://git-lfs": Format("a Git LFS pointer", "Fetch the file itself with git lfs pull."),
}
_ZIP_KINDS = {
    b"word/": Format("a Word document (.docx)", _EXPORT),
    b"xl/": Format("an Excel workbook (.xlsx)", _EXPORT),
    b"ppt/": Format("a PowerPoint presentation (.pptx)", _EXPORT),
    b"mimetypeapplication/vnd.oasis": Format("an OpenDocument file", _EXPORT),
    b"mimetypeapplication/epub": Format("an EPUB book", _EXPORT),
    b"data.pkl": Format("a PyTorch checkpoint", "Name a text file."),
}
_TAR = Format("a tar archive", _UNPACK)
_HTML = Format("an HTML page", "It may be a server's error message. " + _FETCH)
_XML = Format("XML", _EXPORT)
_JSON = Format("JSON", _EXPORT)
_UTF16_WITHOUT_MARK = Format("UTF-16 text without a byte order mark", _UTF8.format("UTF-16LE (or UTF-16BE)"))
_CR_ONLY = Format("lines that end with CR alone", "Convert it: tr '\\r' '\\n' < FILE > NEW_FILE.")


COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")


def is_json_lines(path: Path) -> bool:
    """Whether a file is JSON Lines, by its name without the ending of a compression."""
    name = path.with_suffix("") if path.suffix.lower() in COMPRESSED_SUFFIXES else path
    return name.suffix.lower() in (".jsonl", ".ndjson")


def find_format(data: bytes, *, allow_json: bool = False) -> Format | None:
    """Recognizes the format of a file by its first bytes. Returns None for text and for unknown formats.

    `data` should have at least 512 bytes if the file does, because a tar archive is recognized by its first 512.
    """
    matches = [signature for signature in _SIGNATURES if data.startswith(signature)]
    if matches:
        best_match = _SIGNATURES[max(matches, key=len)]
        if data.startswith(b"PK\x03\x04"):
            return next((kind for mark, kind in _ZIP_KINDS.items() if mark in data), best_match)
        return best_match
    if _is_tar(data):
        return _TAR
    if _is_utf16(data):
        return _UTF16_WITHOUT_MARK
    text = data.removeprefix(BYTE_ORDER_MARK).lstrip()
    start = text[:15].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return _HTML
    if start.startswith((b"<?xml", b"<tmx", b"<xliff", b"<!doctype")):
        return _XML
    if not allow_json and _is_json(text):
        return _JSON
    if b"\n" not in data and b"\r" in data.rstrip(b"\r"):
        return _CR_ONLY
    return None


def _is_tar(data: bytes) -> bool:
    """Whether the data are a tar archive. The oldest format has no signature, only the checksum of its first header."""
    if data[257:262] == b"ustar":
        return True
    try:
        recorded_sum = int(data[148:156].strip(b" \0"), 8)
    except ValueError:
        return False
    header = data[:512]
    return len(header) == 512 and recorded_sum == sum(header[:148]) + 8 * ord(" ") + sum(header[156:])


def _is_utf16(data: bytes) -> bool:
    """Whether enough of the even or of the odd bytes are zero, and few others, for UTF-16 with some Latin letters."""
    even, odd = data[::2].count(0), data[1::2].count(0)
    return max(even, odd) >= max(4, len(data) // 16) and min(even, odd) <= max(even, odd) // 20


def _is_json(text: bytes) -> bool:
    """Whether the first line is a JSON object, a list of objects or lists, or the beginning of one."""
    line, ended, _ = text.partition(b"\n")
    line = line.strip()
    if line in (b"{", b"[") and ended:
        return True
    looks_like_json = line.replace(b" ", b"")[:3].startswith((b'{"', b"[{", b'[["'))
    if not looks_like_json:
        return False
    if not ended and len(text) >= _HEAD - 64:  # the line continues after the bytes that are checked
        return True
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) or (isinstance(value, list) and isinstance(value[0], dict | list))


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class _Source:
    """Reads the bytes on disk and computes their SHA-256 on the way. `peek` reads ahead."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._ahead = b""
        self.sha256 = hashlib.sha256()

    def peek(self, size: int) -> bytes:
        # A pipe may return fewer bytes than requested although more follow.
        while len(self._ahead) < size and (data := self._from_disk(size - len(self._ahead))):
            self._ahead += data
        return self._ahead[:size]

    def read(self, size: int = -1, /) -> bytes:
        if self._ahead:
            end = len(self._ahead) if size < 0 else size
            data, self._ahead = self._ahead[:end], self._ahead[end:]
            return data
        return self._from_disk(size)

    def _from_disk(self, size: int) -> bytes:
        data: bytes = self._file.read(size) or b""
        self.sha256.update(data)
        return data


class _Streams:
    """Decompresses a file of one or more compressed streams. Reads each stream to its end.

    The standard library's readers of bz2 and xz files stop silently at the first stream with a damaged beginning.
    """

    def __init__(self, source: _Readable, new: Callable[[], Any], padding: bytes = b"") -> None:
        self._source, self._new, self._padding = source, new, padding
        self._stream = new()
        self._begun = False

    def read(self, size: int = -1, /) -> bytes:
        while True:
            data = b""
            if self._stream.eof:
                data = self._stream.unused_data.lstrip(self._padding) or self._source.read(_BLOCK)
                self._stream = self._new()
                self._begun = False
            elif self._stream.needs_input:
                data = self._source.read(_BLOCK)
            if not self._begun:
                while data and not (data := data.lstrip(self._padding)):
                    data = self._source.read(_BLOCK)
                if not data:
                    return b""
                self._begun = True
            elif not data and self._stream.needs_input:
                raise EOFError("it ends before its last stream does")
            if text := self._stream.decompress(data, size):
                return bytes(text)


def _read_gzip(source: Any) -> _Readable:
    return gzip.GzipFile(fileobj=source)


def _read_bzip2(source: Any) -> _Readable:
    return _Streams(source, bz2.BZ2Decompressor)


def _read_xz(source: Any) -> _Readable:
    # The format allows zero bytes between streams and after the last one.
    return _Streams(source, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ), padding=b"\0")


def _read_zstandard(source: Any) -> _Readable:
    import backports.zstd as zstd

    # zstd --long needs a larger window than the decompressor allows by default.
    window = {int(zstd.DecompressionParameter.window_log_max): 31}
    return _Streams(source, lambda: zstd.ZstdDecompressor(options=window))


_COMPRESSED: dict[str, tuple[Callable[[bytes], bool], Callable[[Any], _Readable]]] = {
    "gzip": (lambda head: head.startswith(b"\x1f\x8b"), _read_gzip),
    "bzip2": (lambda head: head[:3] == b"BZh" and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90"), _read_bzip2),
    "xz": (lambda head: head.startswith(b"\xfd7zXZ\x00"), _read_xz),
    # The second one is a frame without text, which pzstd writes before the others.
    "Zstandard": (
        lambda head: head.startswith(b"\x28\xb5\x2f\xfd") or (head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5),
        _read_zstandard,
    ),
}


def find_compression(head: bytes) -> str | None:
    """Returns `gzip`, `bzip2`, `xz` or `Zstandard`, by the first bytes of a file. None if it is not compressed."""
    return next((name for name, (fits, _) in _COMPRESSED.items() if fits(head)), None)


class TextStream:
    """Reads the decompressed bytes of a text file once, from beginning to end. A context manager.

    Attributes:
        path: the file.
        compression: `gzip`, `bzip2`, `xz`, `Zstandard` or None.
    """

    def __init__(self, path: Path, *, allow_json: bool = False) -> None:
        """Raises InputError if the file cannot be opened or is not text."""
        self.path = path
        self._allow_json = allow_json or is_json_lines(path)
        self.compression: str | None = None
        self._close: list[Callable[[], None]] = []
        self._head: bytes | None = None  # the first bytes of the text, until `read` returns them
        self._begun = False
        try:
            self._source = _Source(self._open(path))
            head = self._source.peek(_HEAD)
            self.compression = find_compression(head)
            if self.compression is None:
                self._text: _Readable = self._source
                self._check(head)
            else:
                self._text = _COMPRESSED[self.compression][1](self._source)
        except ImportError:
            self.close()
            raise InputError(
                f"{path} is Zstandard data, which needs the package backports.zstd. Install it: "
                "pip install backports.zstd"
            ) from None
        except (EOFError, zlib.error, zipfile.BadZipFile) as error:  # from a file in a zip archive
            self.close()
            raise self._damaged(error) from error
        except OSError as error:
            self.close()
            raise _cannot_read(path, error) from error
        except InputError:
            self.close()
            raise

    def _open(self, path: Path) -> Any:
        try:
            if path.is_dir():
                raise InputError(f"{path} is a folder. Name the files in it.")
            file: Any = io.FileIO(path)
        except NotADirectoryError:
            zip_path = _in_zip(path)
            if zip_path is None:
                raise
            archive, name = zip_path
            zip_file = _open_zip(archive)
            self._close.append(zip_file.close)
            member = _members(zip_file).get(name)
            if member is None:
                raise InputError(f"{archive} holds no file {name}. It holds {_listed(_members(zip_file))}.") from None
            try:
                file = zip_file.open(member)
            except (NotImplementedError, RuntimeError) as error:  # a password or an unknown compression
                raise InputError(f"{path} cannot be read: {error}. Unpack {archive}.") from None
        self._close.append(file.close)
        return file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        for close in reversed(self._close):
            close()

    def read(self, size: int) -> bytes:
        """Returns at most `size` bytes (1 or more) of text; none at the end.

        Raises InputError if the file is damaged, or if its decompressed content is not text.
        """
        assert size > 0
        if not self._begun:
            self._begun = True
            head = b""
            while len(head) < _HEAD and (data := self._decompressed(_HEAD - len(head))):
                head += data
            if self.compression:
                self._check(head)
            self._head = head
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        return self._decompressed(size)

    def _decompressed(self, size: int) -> bytes:
        try:
            return self._text.read(size)
        except (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
            raise self._damaged(error) from error
        except OSError as error:
            # bz2 and gzip raise their own OSErrors, without a number.
            raise (self._damaged(error) if error.errno is None else _cannot_read(self.path, error)) from error
        except Exception as error:
            if type(error).__name__ != "ZstdError":
                raise
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> InputError:
        kind = f"{self.compression} data" if self.compression else "data"
        reason = str(error).rstrip(".")
        return InputError(
            f"{self.path} holds {kind} that are damaged, truncated, or followed by other bytes ({reason}). Download or "
            "compress the file again."
        )

    def _check(self, head: bytes) -> None:
        kind = find_format(head, allow_json=self._allow_json)
        if kind is None and self.compression and (inner := find_compression(head)):
            kind = Format(f"{inner} data", "Decompress it twice.")
        if kind is not None:
            inside = f"{self.compression} data with " if self.compression else ""
            raise InputError(f"{self.path} must hold UTF-8 text, but holds {inside}{kind.name}. {kind.advice}")

    def sha256(self) -> str:
        """Digest of the bytes on disk, before decompression; for a file in a zip archive, of its unpacked bytes."""
        try:
            while self._source.read(_BLOCK):
                pass
        except OSError as error:
            raise _cannot_read(self.path, error) from error
        return self._source.sha256.hexdigest()


def _cannot_read(path: Path, error: OSError) -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError(f"{path} does not exist. Check the path.")
    return InputError(f"{path} cannot be read: {error.strerror or error}.")


def check(path: Path) -> None:
    """Opens a file and checks its format, unless it can be read only once.

    Raises InputError if the file cannot be opened or is not text.
    """
    if is_regular(path):
        TextStream(path).close()


def is_regular(path: Path) -> bool:
    """Whether a file can be read more than once. False for pipes and devices.

    Raises InputError if the file does not exist, is a folder, or is a terminal or another device that may never end.
    """
    try:
        mode = path.stat().st_mode
    except NotADirectoryError as error:
        if _in_zip(path) is None:
            raise _cannot_read(path, error) from error
        return True
    except OSError as error:
        raise _cannot_read(path, error) from error
    if stat.S_ISDIR(mode):
        raise InputError(f"{path} is a folder. Name the files in it.")
    if stat.S_ISSOCK(mode) or stat.S_ISBLK(mode) or (stat.S_ISCHR(mode) and not path.samefile(os.devnull)):
        raise InputError(f"{path} is a device or a terminal. Name a file or a pipe.")
    return stat.S_ISREG(mode)


def open_text(path: Path, *, allow_json: bool = False, max_line_bytes: int = 1 << 26) -> Iterator[str]:
    """Yields the lines of a text file without line ends ("\\n" or "\\r\\n") and byte order mark.

    Only "\\n" ends a line, so U+2028 and similar characters are text. Line n of the file is item n - 1. An empty file
    has no lines and is not an error.

    Raises InputError with the file's name and, if known, the line number: for the errors of `TextStream`, for
    invalid UTF-8, and for a line of more than `max_line_bytes` bytes.
    """
    with TextStream(path, allow_json=allow_json) as stream:
        rest, number = b"", 0
        while block := stream.read(_BLOCK):
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                number += 1
                yield _decode(path, number, line)
            if len(rest) > max_line_bytes:
                raise InputError(f"{path} line {number + 1:,} has over {max_line_bytes:,} bytes. Give a text file.")
        if rest:
            yield _decode(path, number + 1, rest)


def _decode(path: Path, number: int, line: bytes) -> str:
    if number == 1:
        line = line.removeprefix(BYTE_ORDER_MARK)
    try:
        return line.removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} line {number:,}: byte {error.start + 1} (0x{line[error.start]:02x}) is not valid UTF-8. Convert "
            "the file to UTF-8."
        ) from None


def sha256(path: Path) -> str:
    """Hexadecimal digest of a file as `TextStream.sha256` computes it. Raises InputError."""
    with TextStream(path) as stream:
        return stream.sha256()


def zip_members(path: Path) -> list[Path] | None:
    """Returns the files in a zip archive as sorted paths like `ARCHIVE.zip/NAME`. None if it is not a zip archive.

    Raises InputError for a damaged archive.
    """
    try:
        with path.open("rb") as file:
            if file.read(4) != b"PK\x03\x04":
                return None
    except OSError as error:
        raise _cannot_read(path, error) from error
    with _open_zip(path) as archive:
        return [path / name for name in sorted(_members(archive))]


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise InputError(f"{path} is a damaged zip archive ({error}). Download it again.") from error
    except OSError as error:
        raise _cannot_read(path, error) from error


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The files in the archive by normalized name: `./a//b` becomes `a/b`."""
    return {Path(info.filename).as_posix(): info for info in archive.infolist() if not info.is_dir()}


def _listed(names: dict[str, Any]) -> str:
    shown = sorted(names)[:10]
    return (", ".join(shown) or "no file") + (", …" if len(names) > len(shown) else "")


def _in_zip(path: Path) -> tuple[Path, str] | None:
    """Splits a path into a zip archive and the file's name inside it. None if the path leads into no zip archive."""
    for parent in path.parents:
        if parent.is_file():
            return (parent, path.relative_to(parent).as_posix()) if zipfile.is_zipfile(parent) else None
    return None
