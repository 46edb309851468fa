"""Inputs that can be read only once, such as a named pipe or `<(zcat FILE)`: copied into the run's folder at its start.

Inputs are read several times: for their digests, to train a tokenizer, for the pairs.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.text_files import is_regular

from .options import Options

log = logging.getLogger(__name__)


@contextmanager
def copied(options: Options, folder: Path) -> Iterator[Options]:
    """The same options with copies in `folder` in place of such inputs. Errors name the inputs, not the copies.

    Raises InputError for an input that does not exist, and for a pipe that is named twice.
    """
    copies: dict[Path, Path] = {}
    pipes: dict[tuple[int, int], Path] = {}

    def copy(path: Path) -> Path:
        if is_regular(path):
            return path
        found = path.stat()
        if path.is_fifo() and pipes.setdefault((found.st_dev, found.st_ino), path) is not path:
            raise InputError(f"{path} is a pipe and can be read only once, but is named twice. Name a file.")
        log.warning("%s can be read only once, so it is copied first, into %s.", path, folder)
        copies[path] = folder / str(len(copies)) / path.name
        copies[path].parent.mkdir(parents=True)
        with path.open("rb") as source, copies[path].open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
        return copies[path]

    if folder.exists():  # of a run that was killed
        shutil.rmtree(folder)
    pairs = [pair._replace(parts=tuple(tuple(map(copy, part)) for part in pair.parts)) for pair in options.pairs]
    copied = replace(
        options,
        pairs=tuple(pairs),
        exclude=tuple(map(copy, options.exclude)),
        links={name: copy(path) for name, path in options.links.items()},
        given_words={name: copy(path) for name, path in options.given_words.items()},
    )
    try:
        yield copied
    except InputError as error:
        text = str(error)
        for path, of_path in copies.items():
            text = text.replace(str(of_path), str(path))
        raise type(error)(text) from error
