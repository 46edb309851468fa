"""The files of a run: their digests, and copies of those that are not text files which can be read again.

A named pipe or `<(zcat FILE)` is copied into the run's folder at the start, because inputs are read several times: for
their digests, to train a tokenizer, and for the pairs. Parquet files and data sets of the Hub are copied as JSON Lines.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from weam_fairseq.common import text_files
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import file_sha256
from weam_fairseq.common.text_files import is_regular

from .corpus import PairFiles
from .records import copy_texts, is_on_hub, is_parquet
from .run_options import Options

log = logging.getLogger(__name__)

Digests = dict[str, str | None]  # SHA-256 of each input, by the names that `digests` gives them


# Large files that hold no part of a tokenizer.
_WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".h5", ".msgpack", ".onnx", ".ckpt", ".gguf"}


def digests(options: Options) -> Digests:
    """The SHA-256 of every input. A resumed run reads all inputs again before it uses its parts.

    Only the content counts, not names or times: a pipe has another name in each run.
    Raises InputError for a file that cannot be read.
    """
    found: dict[str, Path] = {}
    for pair in options.pairs:
        files = [path for part in pair.parts for path in part]
        found |= {input_name(pair.name, number): path for number, path in enumerate(files, start=1)}
    found |= {f"--exclude {number}": path for number, path in enumerate(options.exclude, start=1)}
    found |= {f"--links {name}": path for name, path in options.links.items()}
    found |= {f"--given-words {name}": path for name, path in options.given_words.items()}
    return {
        **{name: text_files.sha256(path) for name, path in found.items()},
        "--tokenizer": None if options.tokenizer is None else _digest_of_tokenizer(options.tokenizer),
    }


def input_name(pair: str, number: int) -> str:
    """The name that `digests` gives to a file of a pair; files are numbered from 1 through all parts."""
    return f"--pair {pair} file {number}"


def _digest_of_tokenizer(path: Path) -> str | None:
    """The SHA-256 of a file, or of all files in a folder except model weights. None if there is no such path."""
    if not path.is_dir():
        return file_sha256(path) if path.is_file() else None
    files = [file for file in sorted(path.iterdir()) if file.is_file() and file.suffix not in _WEIGHTS]
    listed = b"".join(os.fsencode(file.name) + f"\n{file_sha256(file)}\n".encode() for file in files)
    return hashlib.sha256(listed).hexdigest()


@contextmanager
def copied(options: Options, folder: Path) -> Iterator[Options]:
    """The options, with copies in `folder` for pipes, Parquet files and data sets of the Hub. Errors name the inputs.

    Raises InputError for an input that does not exist, for a pipe that is named twice, and like `copy_texts`.
    """
    copies: list[tuple[Path, Path]] = []
    pipes: dict[tuple[int, int], Path] = {}

    def new_copy(path: Path, name: str) -> Path:
        copy = folder / str(len(copies)) / name
        copy.parent.mkdir(parents=True)
        copies.append((copy, path))
        return copy

    def copy(path: Path) -> Path:
        if is_regular(path):
            return path
        found = path.stat()
        if path.is_fifo() and pipes.setdefault((found.st_dev, found.st_ino), path) is not path:
            raise InputError(f"{path} is a pipe and can be read only once, but is named twice. Name a file instead.")
        log.warning("%s can be read only once, so it is copied to %s first.", path, folder)
        with path.open("rb") as source, (copied := new_copy(path, path.name)).open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
        return copied

    def copy_part(pair: PairFiles, part: tuple[Path, ...]) -> tuple[Path, ...]:
        files = [path if is_on_hub(path) else copy(path) for path in part]
        for number, (path, file) in enumerate(zip(part, files, strict=True)):
            if not is_on_hub(file) and not is_parquet(file):
                continue
            if len(part) > 1:
                raise InputError(f"{path} must be the only input of its --pair, because its rows hold both sentences.")
            name = path.as_posix().replace("/", "--").replace(":", "--") if is_on_hub(path) else path.name
            files[number] = new_copy(path, f"{name}.jsonl")
            copy_texts(file, (pair.source_lang, pair.target_lang), options.rules.columns, files[number])
        return tuple(files)

    if folder.exists():  # left by a killed run
        shutil.rmtree(folder)
    try:
        yield replace(
            options,
            pairs=tuple(
                pair._replace(parts=tuple(copy_part(pair, part) for part in pair.parts)) for pair in options.pairs
            ),
            exclude=tuple(map(copy, options.exclude)),
            links={name: copy(path) for name, path in options.links.items()},
            given_words={name: copy(path) for name, path in options.given_words.items()},
        )
    except InputError as error:
        text = str(error)
        for copied, path in copies:
            text = text.replace(str(copied), str(path))
        raise type(error)(text) from error
