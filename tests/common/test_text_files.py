"""Which files are text: their content decides, not their name."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import socket
import sqlite3
import tarfile
import zipfile
from pathlib import Path

import pytest

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.text_files import TextStream, check, find_format, open_text, sha256, zip_members

LINES = "The house.\tDas Haus.\nThe garden.\tDer Garten.\n"


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def tar(kind: str = "w:", layout: int = tarfile.PAX_FORMAT) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=kind, format=layout) as archive:  # type: ignore[call-overload]
        member = tarfile.TarInfo("en-de.tsv")
        member.size = len(LINES)
        archive.addfile(member, io.BytesIO(LINES.encode()))
    return data.getvalue()


def old_tar() -> bytes:
    """The format before POSIX: a header without the signature `ustar`, so with another checksum."""
    data = bytearray(tar(layout=tarfile.USTAR_FORMAT))
    data[257:265] = bytes(8)
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


def zipped(*names: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name in names:
            archive.writestr(name, LINES)
    return data.getvalue()


def sqlite(folder: Path) -> bytes:
    connection = sqlite3.connect(folder / "sqlite")
    connection.execute("create table t (a)")
    connection.commit()
    connection.close()
    return (folder / "sqlite").read_bytes()


FORMATS = {
    "zip": (zipped("en-de.tsv"), "a zip archive. Name a file in it as ARCHIVE.zip/FILE"),
    "empty zip": (zipped(), "an empty zip archive"),
    "Word": (zipped("[Content_Types].xml", "word/document.xml"), "a Word document"),
    "Excel": (zipped("xl/workbook.xml"), "an Excel workbook"),
    "checkpoint": (zipped("archive/data.pkl"), "a PyTorch checkpoint"),
    "tar": (tar(), "a tar archive. Unpack it"),
    "GNU tar": (tar(layout=tarfile.GNU_FORMAT), "a tar archive"),
    "old tar": (old_tar(), "a tar archive"),
    "tar.gz": (tar("w:gz"), "gzip data with a tar archive"),
    "tar.bz2": (tar("w:bz2"), "bzip2 data with a tar archive"),
    "tar.xz": (tar("w:xz"), "xz data with a tar archive"),
    "gzip twice": (gzip.compress(gzip.compress(LINES.encode())), "gzip data with gzip data. Decompress it twice"),
    "7z": (b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(99), "a 7z archive"),
    "RAR": (b"Rar!\x1a\x07\x01\x00" + bytes(99), "a RAR archive"),
    "lzma": (lzma.compress(LINES.encode(), lzma.FORMAT_ALONE), "LZMA data"),
    "PDF": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF document. Export the sentences as UTF-8 text"),
    "Parquet": (b"PAR1\x15\x04\x15\x10", "a Parquet file"),
    "HDF5": (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    "NumPy": (b"\x93NUMPY\x01\x00", "a NumPy array"),
    "Word 97": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "a Microsoft Office document"),
    "UTF-16": (LINES.encode("utf-16"), "UTF-16 text. Convert it: iconv -f UTF-16 -t UTF-8"),
    "UTF-16 BE": (b"\xfe\xff" + LINES.encode("utf-16-be"), "UTF-16 text. Convert it"),
    "UTF-16 without mark": (LINES.encode("utf-16-le"), "UTF-16 text without a byte order mark"),
    "UTF-32": (LINES.encode("utf-32"), "UTF-32 text. Convert it: iconv -f UTF-32 -t UTF-8"),
    "UTF-32 BE": (b"\x00\x00\xfe\xff" + LINES.encode("utf-32-be"), "UTF-32 text"),
    "HTML": (b"\n<!DOCTYPE HTML PUBLIC>\n<title>404</title>\n", "an HTML page. It may be a server's error message"),
    "HTML after a mark": (b"\xef\xbb\xbf<html><body>404", "an HTML page"),
    "HTML in gzip": (gzip.compress(b"<!doctype html>\n"), "gzip data with an HTML page"),
    "XML": (b'<?xml version="1.0"?>\n<tmx version="1.4">\n', "XML. Export the sentences"),
    "JSON": (json.dumps({"translation": {"en": "a", "de": "b"}}).encode() + b"\n", "JSON. Export"),
    "JSON list": (json.dumps([{"en": "a"}, {"en": "b"}]).encode(), "JSON"),
    "indented JSON": (json.dumps({"en": "a"}, indent=1).encode(), "JSON"),
    "LFS": (b"version https://git-lfs.example/spec/v1\noid sha256:00\n", "a Git LFS pointer"),
    "CR alone": (b"The house.\tDas Haus.\rThe garden.\tDer Garten.\r", "lines that end with CR alone. Convert it: tr"),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("ending", ["tsv", "txt.gz"])
def test_other_formats_are_refused_by_name(tmp_path: Path, name: str, ending: str) -> None:
    data, sentence = FORMATS[name]
    path = write(tmp_path / f"x.{ending}", data)
    with pytest.raises(InputError) as error:
        list(open_text(path))
    assert f"{path} must hold UTF-8 text, but holds {sentence}" in str(error.value)


def test_a_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds an SQLite database"):
        check(write(tmp_path / "x.tsv", sqlite(tmp_path)))


@pytest.mark.parametrize(
    "text",
    [
        *(
            "[1] A note.\tEine Anmerkung.",
            '["Quoted", he said.',
            "{curly} braces",
            "<b>bold</b>",
            "PK is a name.",
            "7z",
        ),
        *("BZh is no word.", "%PDF", "<h1>", "PAR1 and more", "GIF", "{", "[", "[]", "ustar", "A\rB\nC", "\x00\x01"),
        *("07070", "]]", '"a", "b"', "𐍈", "\u200f", "\ufeff"),
    ],
)
def test_text_that_resembles_another_format_is_text(text: str) -> None:
    assert find_format(text.encode()) is None
    assert find_format(b"The first line.\n" + text.encode()) is None


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_lines(tmp_path: Path, pack: object) -> None:
    """Without marks and line ends; only "\\n" ends a line; the last one needs no line end."""
    text = "\ufeffa\r\n\nb\u2028c\x0bd\ufeff\n" + "e" * 3_000_000 + "\nf"
    path = write(tmp_path / "x", pack(text.encode()))  # type: ignore[operator]
    assert list(open_text(path)) == ["a", "", "b\u2028c\x0bd\ufeff", "e" * 3_000_000, "f"]
    assert list(open_text(write(tmp_path / "empty", pack(b"")))) == []  # type: ignore[operator]


def test_the_error_names_a_line_that_is_not_utf8(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x line 2: byte 4 \(0xe4\) is not valid UTF-8\. Convert"):
        list(open_text(write(tmp_path / "x", "ok\nzun\xe4chst\n".encode("latin-1"))))
    with pytest.raises(InputError, match=r"x line 2 has over 9 bytes"):
        list(open_text(write(tmp_path / "x", b"ok\n" + b"a" * 99), max_line_bytes=9))


def test_json_may_be_allowed(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", b'{"a": 1}\n{"a": 2}\n')
    assert list(open_text(path, allow_json=True)) == ['{"a": 1}', '{"a": 2}']


def test_a_file_in_a_zip_archive(tmp_path: Path) -> None:
    path = write(tmp_path / "x.zip", zipped("./b", "sub//a", "sub/"))
    assert zip_members(path) == [path / "b", path / "sub/a"]
    check(path / "sub/a")
    assert "\n".join(open_text(path / "sub/a")) + "\n" == LINES
    assert sha256(path / "sub/a") == sha256(write(tmp_path / "a", LINES.encode()))
    with pytest.raises(InputError, match=r"x\.zip holds no file none\. It holds b, sub/a"):
        check(path / "none")
    with pytest.raises(InputError, match=r"a/b cannot be read: Not a directory"):
        check(tmp_path / "a" / "b")
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(b"The house")] ^= 1
    with pytest.raises(InputError, match=r"x\.zip/b holds data that are damaged.*CRC"):
        list(open_text(write(path, damaged) / "b"))
    write(path, zipped("a")[:-9])
    with pytest.raises(InputError, match=r"x\.zip is a damaged zip archive"):
        zip_members(path)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("none", "none does not exist. Check the path."),
        ("folder", "folder is a folder. Name the files in it."),
        ("loop", "loop cannot be read: Too many levels of symbolic links."),
        ("broken", "broken does not exist"),
        ("n" * 300, "cannot be read: File name too long."),
        ("socket", "is a device or a terminal. Name a file or a pipe."),
    ],
)
def test_paths_that_cannot_be_read(name: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    Path("folder").mkdir()
    Path("loop").symlink_to("loop")
    Path("broken").symlink_to("nowhere")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind("socket")
        with pytest.raises(InputError) as error:
            check(Path(name))
    assert sentence in str(error.value)


def test_endless_devices_are_refused() -> None:
    for device in ("/dev/zero", "/dev/urandom"):
        with pytest.raises(InputError, match="is a device or a terminal"):
            check(Path(device))
    check(Path(os.devnull))


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    """And gives a little at a time."""
    end, start = os.pipe()
    os.write(start, gzip.compress(b"a\n")[:7])
    os.write(start, gzip.compress(b"a\n")[7:])
    os.close(start)
    path = Path(f"/dev/fd/{end}")
    check(path)
    assert list(open_text(path)) == ["a"]
    os.close(end)


def test_the_hash_is_that_of_the_bytes_on_disk(tmp_path: Path) -> None:
    import hashlib

    packed = gzip.compress(b"a\n" * 99_999)
    path = write(tmp_path / "x", packed)
    with TextStream(path) as stream:
        assert stream.compression == "gzip"
        stream.read(1)
        assert stream.sha256() == hashlib.sha256(packed).hexdigest() == sha256(path)
