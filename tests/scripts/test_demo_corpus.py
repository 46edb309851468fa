"""What the demo takes for a sentence, and how it holds sentences out."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(scope="module")
def corpus() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo_corpus", SCRIPTS / "demo_corpus.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["demo_corpus"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("source", "target", "language", "reason"),
    [
        ("The door is open", "Die Tür ist offen", "de", None),
        ("The door is open", "门开着", "zh", None),
        ("The door is open", "The door is open", "de", "same text on both sides"),
        ("The door is open", "", "de", "empty side"),
        ("The door {name} is open", "Die Tür {name} ist offen", "de", "placeholder or markup"),
        ("See [the help](url) for it", "Siehe Hilfe", "de", "placeholder or markup"),
        ("Saved %s of %(total)d files", "gespeichert", "de", "placeholder or markup"),
        ("The door 1 2 3", "Die Tür 1 2 3", "de", "fewer than 4 words"),
        ("The door is open", "Hello", "zh", "no Chinese character"),
    ],
)
def test_why_a_pair_is_dropped(corpus: ModuleType, source: str, target: str, language: str, reason: str | None) -> None:
    assert corpus.why_not(source, target, language) == reason


def test_drops_are_counted_and_nothing_is_lost(corpus: ModuleType) -> None:
    joined = [("a b c d", "e f g h"), ("a b c d", "e f g h"), ("a", "e"), ("x y z w", "x y z w")]
    kept, counts = corpus.sentences(joined, "de")
    assert list(kept) == [("a b c d", "e f g h")]
    assert counts["joined by key"] == 4
    assert sum(counts[r] for r in ("kept", "seen before", "fewer than 4 words", "same text on both sides")) == 4


def test_held_out_sentences_are_the_same_in_all_languages_and_stand_nowhere_else(
    corpus: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "HELD_OUT", 2)
    kept = {
        language: dict.fromkeys(
            [(f"s{k}", f"{language}{k}") for k in range(4)] + [("s0", f"{language} again"), ("s9", f"{language}1")]
        )
        for language in ("de", "es", "zh")
    }
    chosen = corpus.choose_held_out(kept)
    assert chosen["de"].keys() == chosen["es"].keys() == chosen["zh"].keys()
    assert len(chosen["de"]) == 2
    assert set(chosen["de"]) <= {"s2", "s3"}, "s0 has two translations; s1's stands twice"


def test_a_file_that_is_not_the_pinned_one_is_refused(
    corpus: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(command: list[str], check: bool) -> None:
        Path(command[command.index("--dest") + 1], "some_package-1.0-py3-none-any.whl").write_bytes(b"other")

    monkeypatch.setattr(corpus.subprocess, "run", download)
    wheel = corpus.Wheel("some-package==1.0", "0" * 64, "MIT")
    with pytest.raises(RuntimeError, match=r"must have SHA-256 0000.* it is not the pinned file"):
        corpus.fetch(wheel, tmp_path)
