"""A corpus small enough to preprocess in a second, with real sentences of four languages."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

GERMAN = [
    ("The house is small.", "Das Haus ist klein."),
    ("The garden is big.", "Der Garten ist groß."),
    ("A dog sleeps in the house.", "Ein Hund schläft im Haus."),
    ("A cat sleeps in the garden.", "Eine Katze schläft im Garten."),
    ("It is raining today.", "Es regnet heute."),
    ("Is it raining today?", "Regnet es heute?"),
    ("The dog is big, the cat is small.", "Der Hund ist groß, die Katze ist klein."),
    ("We don't see the house.", "Wir sehen das Haus nicht."),
]
CHINESE = [
    ("Is it raining today?", "今天下雨吗？"),
    ("It is raining today.", "今天下雨。"),
    ("The house is small.", "房子很小。"),
    ("The garden is big.", "花园很大。"),
    ("The dog sleeps today.", "狗今天睡觉。"),
]


def write_tsv(file: Path, pairs: list[tuple[str, str]]) -> Path:
    file.write_text("".join(f"{a}\t{b}\n" for a, b in pairs), encoding="utf-8", newline="")
    return file


@pytest.fixture
def de_tsv(tmp_path: Path) -> Path:
    return write_tsv(tmp_path / "en-de.tsv", GERMAN)


@pytest.fixture
def zh_tsv(tmp_path: Path) -> Path:
    return write_tsv(tmp_path / "en-zh.tsv", CHINESE)


@pytest.fixture(autouse=True)
def _no_aligner_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests give the same result on a machine that has fast_align or eflomal: their folders leave the PATH."""
    folders = os.environ["PATH"].split(os.pathsep)
    programs = ("fast_align", "eflomal-align")
    kept = [folder for folder in folders if not any(Path(folder, name).exists() for name in programs)]
    monkeypatch.setenv("PATH", os.pathsep.join(kept))
