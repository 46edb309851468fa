"""Readers of Tatoeba, BUCC, LAReQA and Mewsli-X on small files in the published formats."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.benchmarks.bucc import BuccSentences, read_bucc
from weam_fairseq.evaluation.benchmarks.lareqa import LANGUAGES, read_pool, read_right_candidates
from weam_fairseq.evaluation.benchmarks.mewslix import read_entity_labels, read_mewslix
from weam_fairseq.evaluation.benchmarks.tatoeba import read_tatoeba
from weam_fairseq.evaluation.readers import TextPair


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_tatoeba(tmp_path: Path) -> None:
    files = write(tmp_path / "de", "Ein Hund.\nDas Ende.\n"), write(tmp_path / "en", "A dog.\nThe end.\n")
    assert read_tatoeba(*files) == [TextPair("Ein Hund.", "A dog."), TextPair("Das Ende.", "The end.")]
    with pytest.raises(InputError, match=r"de has 2 lines but .*short has 1"):
        read_tatoeba(files[0], write(tmp_path / "short", "A dog.\n"))
    with pytest.raises(InputError, match=r"empty:2: the line is empty"):
        read_tatoeba(files[0], write(tmp_path / "empty", "A dog.\n\n"))


def test_tatoeba_as_xtreme_downloads_it_has_no_gold(tmp_path: Path) -> None:
    german = write(tmp_path / "de-en.de", "".join(f"Satz {number}.\n" for number in (*range(9), 20, 11, 10)))
    english = write(tmp_path / "de-en.en", "".join(sorted(f"Sentence {number}.\n" for number in range(12))))
    with pytest.raises(InputError, match=r"de-en.en is sorted: XTREME's download script"):
        read_tatoeba(german, english)


def bucc(folder: Path, **changes: str) -> list[Path]:
    files = {
        "dev.de": "de-1\tEin Hund.\nde-2\tDas Ende.\n",
        "dev.en": "en-1\tThe end.\nen-2\tA dog.\n",
        "dev.gold": "de-1\ten-2\n",
        "test.de": "de-1\tRegen\nde-2\tRegen\nde-3\tSonne\n",
        "test.en": "en-1\tsun\n",
        "test.gold": "de-3\ten-1\n",
    } | changes
    return [write(folder / name, text) for name, text in files.items()]


def test_bucc(tmp_path: Path) -> None:
    data = read_bucc(*bucc(tmp_path))
    assert data.dev.source.sentences == ["Ein Hund.", "Das Ende."]
    assert data.dev.gold == {("de-1", "en-2")}
    # a sentence that is listed twice has no one id, and is mined with all the same
    assert data.test.source == BuccSentences([None, "de-3"], ["Regen", "Sonne"], 2)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dev.de": "de-1 Ein Hund.\n"}, r"dev.de:1: the line must hold an id, one tab and a sentence"),
        ({"dev.en": "en-1\ta\nen-1\tb\n"}, r"dev.en:2: the id en-1 is listed twice"),
        ({"dev.gold": "en-2\tde-1\n"}, r"dev.gold: the pair en-2 de-1 must name ids of .*, in this order"),
        ({"test.gold": ""}, r"test.gold contains no pair"),
        ({"test.en": ""}, r"test.en is empty"),
    ],
)
def test_bucc_that_cannot_be_read(tmp_path: Path, changes: dict[str, str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read_bucc(*bucc(tmp_path, **changes))


def xquad_r(language: str, **changes: Any) -> str:
    """One paragraph of two sentences; question q1 is answered in the first, q2 in the second."""
    one, two = f"{language} one is first.", f"{language} two comes next."
    paragraph = {
        "context": f"{one} {two}",
        "sentence_breaks": [[0, len(one)], [len(one) + 1, len(one) + 1 + len(two)]],
        "sentences": [one, two],
        "qas": [
            {"id": "q1", "question": "What is first?", "answers": [{"text": "one", "answer_start": 3}]},
            {"id": "q2", "question": "What is next?", "answers": [{"text": "two", "answer_start": len(one) + 4}]},
        ],
    } | changes
    return json.dumps({"data": [{"title": "", "paragraphs": [paragraph]}]})


def write_xquad_r(folder: Path, changed: Mapping[str, str] = {}) -> list[Path]:
    return [write(folder / f"{each}.json", changed.get(each, xquad_r(each))) for each in LANGUAGES]


def test_lareqa_has_eleven_right_answers_in_one_pool(tmp_path: Path) -> None:
    pool = read_pool(*write_xquad_r(tmp_path))
    assert len(pool.candidates) == 22
    assert pool.candidates[2:4] == [
        ("de_1_0", "de", "de one is first."),
        ("de_1_1", "de", "de two comes next."),
    ]
    assert pool.questions["de"] == [("q1_de", "q1", "What is first?"), ("q2_de", "q2", "What is next?")]
    assert pool.right["q2"] == [f"{language}_1_1" for language in LANGUAGES]
    assert read_right_candidates(tmp_path, "de")["q1_de"] == [f"{language}_1_0" for language in LANGUAGES]


def test_compressed_lareqa_is_the_same(tmp_path: Path) -> None:
    plain = read_pool(*write_xquad_r(tmp_path))
    for path in [*tmp_path.iterdir()]:
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert read_pool(*(tmp_path / f"{each}.json.gz" for each in LANGUAGES)) == plain
    assert read_right_candidates(tmp_path, "de")["q1_de"] == [f"{language}_1_0" for language in LANGUAGES]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (xquad_r("de", qas=[]), r"de.json has 0 questions, but it must contain every question .* 2 are missing"),
        (xquad_r("de", sentence_breaks=[[0, 3]]), r"de.json: the answer of question 'q1' begins at character 3"),
        ("{}", r"de.json is not in XQuAD-R's format \(KeyError"),
        ('{"data": [', r"de.json must be JSON, but is not"),
        (
            xquad_r("de", qas=[{"id": "q1", "question": "?", "answers": []}]),
            r"de.json: question 'q1' must have one answer, but has 0",
        ),
    ],
)
def test_lareqa_that_cannot_be_read(tmp_path: Path, change: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read_pool(*write_xquad_r(tmp_path, {"de": change}))


def test_lareqa_needs_all_languages(tmp_path: Path) -> None:
    write_xquad_r(tmp_path)[3].unlink()
    with pytest.raises(InputError, match=r"en.json does not exist, but LAReQA's candidates come from all"):
        read_right_candidates(tmp_path, "de")
    with pytest.raises(InputError, match="LAReQA has no language 'fr'"):
        read_right_candidates(tmp_path, "fr")


def entity(name: str, description: str) -> str:
    spans = [{"start": 0, "end": description.index(".") + 1}]
    record = {"entity_id": name, "title": name, "description": description, "description_language": "de"}
    return json.dumps(record | {"description_url": "", "sentence_spans": spans}) + "\n"


def mention(name: str, text: str, word: str, entity_id: str, language: str = "de") -> str:
    """The mention is `word`, the sentence the second one of `text`."""
    first = text.index(".") + 1
    context = {"document_title": "", "document_url": "", "document_id": "d", "language": language, "text": text}
    context["sentence_spans"] = [{"start": 0, "end": first}, {"start": first + 1, "end": len(text)}]
    start = text.index(word)
    span = {"start": start, "end": start + len(word), "text": word}
    return (
        json.dumps(
            {"context": context, "mentions": [{"example_id": name, "mention_span": span, "entity_id": entity_id}]}
        )
        + "\n"
    )


ENTITIES = entity("Q1", "Linz ist eine  Stadt. Mehr") + entity("Q2", "Bonn liegt am Rhein.")
MENTIONS = mention("m1", "Erster Satz. Er {kam} nach\nLinz im Mai.", "Linz", "Q1") + mention(
    "m2", "A. In Bonn.", "Bonn", "Q2", "en"
)


def test_mewslix(tmp_path: Path) -> None:
    data = read_mewslix(write(tmp_path / "e.jsonl", ENTITIES), write(tmp_path / "m.jsonl", MENTIONS))
    assert data.entities == [("Q1", "Linz ist eine Stadt."), ("Q2", "Bonn liegt am Rhein.")]
    assert data.mentions[0] == ("m1", "de", "Linz: Er (kam) nach { Linz } im Mai.", "Q1")
    assert read_entity_labels(tmp_path / "m.jsonl", "en") == {"m2": ["Q2"]}
    with pytest.raises(InputError, match="no mention in language 'fr'"):
        read_entity_labels(tmp_path / "m.jsonl", "fr")


@pytest.mark.parametrize(
    ("entities", "mentions", "sentence"),
    [
        (ENTITIES, mention("m1", "A. Linz", "Linz", ""), r"m.jsonl:1: mention 'm1' has no entity: XTREME-R's download"),
        (ENTITIES, mention("m1", "A. Linz", "A. L", "Q1"), r"m.jsonl:1: mention 'm1' is not inside a sentence"),
        (
            ENTITIES,
            mention("m1", "A. Linz", "Linz", "Q9"),
            r"the entities of 1 mentions are not in .*'Q9' of mention 'm1'",
        ),
        (ENTITIES, MENTIONS + "{}\n", r"m.jsonl:3: the line is not in Mewsli-X's format \(KeyError"),
        (ENTITIES + "x\n", MENTIONS, r"e.jsonl:3 must be JSON, but is not"),
        (ENTITIES * 2, MENTIONS, r"e.jsonl: an entity is listed twice"),
        (ENTITIES, "", r"m.jsonl is empty"),
    ],
)
def test_mewslix_that_cannot_be_read(tmp_path: Path, entities: str, mentions: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read_mewslix(write(tmp_path / "e.jsonl", entities), write(tmp_path / "m.jsonl", mentions))
