"""What the demo takes for a sentence, and how it holds sentences out."""

import demo_corpus as corpus
import pytest


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
def test_why_a_pair_is_dropped(source: str, target: str, language: str, reason: str | None) -> None:
    assert corpus.why_not(source, target, language) == reason


def test_drops_are_counted_and_nothing_is_lost() -> None:
    joined = [("a b c d", "e f g h"), ("a b c d", "e f g h"), ("a", "e"), ("x y z w", "x y z w")]
    kept, counts = corpus.sentences(joined, "de")
    assert list(kept) == [("a b c d", "e f g h")]
    assert counts["joined by key"] == 4
    assert sum(counts[r] for r in ("kept", "seen before", "fewer than 4 words", "same text on both sides")) == 4


def test_held_out_sentences_are_the_same_in_all_languages_and_stand_nowhere_else(
    monkeypatch: pytest.MonkeyPatch,
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
