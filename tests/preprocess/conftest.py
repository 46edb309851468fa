"""Small corpora of real sentences, and the runs on them that many tests compare with: each is made once a session."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, cached_property
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


def _path_without_programs() -> str:
    folders = os.environ["PATH"].split(os.pathsep)
    programs = ("fast_align", "eflomal-align")
    return os.pathsep.join(f for f in folders if not any(Path(f, name).exists() for name in programs))


@pytest.fixture(autouse=True)
def _no_aligner_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests give the same result on a machine that has fast_align or eflomal: their folders leave the PATH."""
    monkeypatch.setenv("PATH", _path_without_programs())


class Made:
    """A corpus of 302 lines with one aligner: its data-bin `plain` without a model, and `saved` with --save-aligner."""

    def __init__(self, folder: Path, aligner: str) -> None:
        from small_runs import contents, corpus

        self._folder, self._aligner = folder, aligner
        self.tsv = corpus(folder)
        self.plain = self._run("plain")
        self.contents = contents(self.plain)

    def _run(self, name: str, **more: object) -> Path:
        from small_runs import options
        from weam_preprocess import pipeline

        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", _path_without_programs())
            pipeline.run(options(self.tsv, self._folder / name, aligner=self._aligner, **more))
        return self._folder / name

    @cached_property
    def saved(self) -> Path:
        return self._run("saved", save_aligner=self._folder / "models", chunk=160)

    @property
    def models(self) -> Path:
        assert self.saved.is_dir()
        return self._folder / "models"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    """The runs of an aligner."""
    return cache(lambda aligner: Made(tmp_path_factory.mktemp(aligner), aligner))


@pytest.fixture(scope="session")
def plain(made: Callable[[str], Made]) -> tuple[Path, dict[str, bytes]]:
    """The corpus, and the files of its data-bin with the aligner of `small_runs.options`."""
    return made("fast_align").tsv, made("fast_align").contents
