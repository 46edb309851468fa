"""The benchmarks' own file formats: as published, as XTREME's download makes them, and without their gold."""

import gzip
import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.benchmark import Setting
from weam_fairseq.evaluation.benchmarks import find_benchmark
from weam_fairseq.evaluation.benchmarks.bucc import read_id_pairs
from weam_fairseq.evaluation.benchmarks.panx import PANX_TAGS, read_panx
from weam_fairseq.evaluation.benchmarks.pawsx import read_paws
from weam_fairseq.evaluation.benchmarks.tatoeba import read_gold_indices
from weam_fairseq.evaluation.benchmarks.udpos import read_udpos
from weam_fairseq.evaluation.benchmarks.xcopa import read_choices
from weam_fairseq.evaluation.benchmarks.xnli import NLI, read_nli
from weam_fairseq.evaluation.data_files import find_files
from weam_fairseq.evaluation.fine_tuning.classification import Choice, LabelledPair
from weam_fairseq.evaluation.fine_tuning.questions import Answer, read_questions
from weam_fairseq.evaluation.fine_tuning.tagging import TaggedSentence
from weam_fairseq.evaluation.prediction_files import (
    read_answer_predictions,
    read_answers,
    read_labels,
    read_rankings,
    read_tagged,
)
from weam_fairseq.evaluation.readers import read_gold, read_pairs, read_predicted_links, with_labels

XNLI_HEADER = "language\tgold_label\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1\tsentence2\tpairID\n"


def _file(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("dev-de.tsv", "Es regnet.\tDas Wetter ist nass.\tentailment\n"),
        (
            "xnli.dev.tsv",
            XNLI_HEADER
            + "en\tneutral\t\t\tIt rains.\tIt is late.\t1\n"
            + "de\tentailment\t\t\tEs regnet.\tDas Wetter ist nass.\t1\n",
        ),
        ("multinli.train.de.tsv", "premise\thypo\tlabel\nEs regnet.\tDas Wetter ist nass.\tentailment\n"),
        (
            "SICK.txt",
            "pair_ID\tsentence_A\tsentence_B\trelatedness_score\tentailment_judgment\n"
            "1\tEs regnet.\tDas Wetter ist nass.\t4.5\tENTAILMENT\n",
        ),
        (
            "snli_1.0_train.txt",
            "gold_label\tsentence1_binary_parse\tsentence1\tsentence2\n"
            "entailment\t( x )\tEs regnet.\tDas Wetter ist nass.\n",
        ),
        (
            "multinli.jsonl",
            '{"gold_label": "entailment", "sentence1": "Es regnet.", "sentence2": "Das Wetter ist nass."}\n',
        ),
        (
            "rte1_dev.xml",
            '<entailment-corpus><pair id="1" value="TRUE" task="IR"><t>Es regnet.</t>'
            "<h>Das Wetter ist nass.</h></pair></entailment-corpus>",
        ),
        (
            "rte3_dev.xml",
            '<entailment-corpus><pair id="1" entailment="YES" task="IE"><t>Es regnet.</t>'
            "<h>Das Wetter ist nass.</h></pair></entailment-corpus>",
        ),
    ],
)
def test_nli_in_every_layout(tmp_path: Path, name: str, text: str) -> None:
    pairs = read_nli(_file(tmp_path, name, text), language="de")
    assert pairs == [LabelledPair("Es regnet.", "Das Wetter ist nass.", "entailment")]


def test_nli_labels_go_by_name(tmp_path: Path) -> None:
    mnli = _file(tmp_path, "multinli.train.en.tsv", "premise\thypo\tlabel\na\tb\tcontradictory\nc\td\tneutral\n")
    rte = _file(tmp_path, "rte.xml", '<c><pair id="1" entailment="NO"><t>e</t><h>f</h></pair></c>')
    snli = _file(tmp_path, "snli.txt", "gold_label\tsentence1\tsentence2\n-\tg\th\n")
    assert [pair.label for pair in read_nli(mnli, rte, snli)] == ["contradiction", "neutral", "not_entailment", "-"]


CHOICE = '{"premise": "a", "choice1": "b", "choice2": "c", "question": "cause", "label": LABEL}' + "\n"


@pytest.mark.parametrize(
    ("read", "labels", "expected"),
    [
        (read_nli, ("0", "LABEL_1", "2", "-1"), ("entailment", "neutral", "contradiction", "-")),
        (read_nli, ("Contradictory", "NEUTRAL", "e"), ("contradiction", "neutral", "entailment")),
        (read_paws, ("paraphrase", "LABEL_0", "Not_paraphrase"), ("1", "0", "0")),
    ],
)
def test_labels_under_other_names(
    tmp_path: Path, read: Callable[..., Any], labels: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    (tmp_path / "f.tsv").write_text("".join(f"a\tb\t{label}\n" for label in labels))
    assert tuple(pair.label for pair in read(tmp_path / "f.tsv")) == expected


def test_nli_rows_with_the_names_of_the_hub(tmp_path: Path) -> None:
    (tmp_path / "f.jsonl").write_text('{"premise": "a", "hypothesis": "b", "label": 2}\n')
    (tmp_path / "f.tsv").write_text("premise\thypothesis\tlabel\na\tb\t2\n")
    assert read_nli(tmp_path / "f.jsonl") == read_nli(tmp_path / "f.tsv") == [("a", "b", "contradiction")]


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (
            read_nli,
            "a\tb\tneutral\nc\td\n",
            r"f\.tsv:2: the line has two sentences and no label, so the file",
        ),
        (read_nli, "a\tb\tperhaps\n", r"f\.tsv:1: the label must be entailment, .* but is 'perhaps'"),
        (read_nli, "a\n", r"f\.tsv:1: the line must hold two sentences and a label, but has 1 columns"),
        (read_nli, XNLI_HEADER + "fr\tneutral\t\t\ta\tb\t1\n", r"f\.tsv: no pair is in language 'en'"),
        (read_nli, XNLI_HEADER + "en\tneutral\n", r"f\.tsv:2: the line has 2 columns, but its header names 7"),
        (read_paws, "a\tb\n", r"f\.tsv:1: the line has two sentences and no label"),
        (read_paws, "a\tb\t2\n", r"f\.tsv:1: the label must be 1 \(paraphrase\) or 0 .*, but is '2'"),
        (read_panx, "Anton\tB-PER\nBerta\n", r"f\.tsv:2: the word has no tag, so the file has no gold tags"),
        (read_panx, "Anton\tNOUN\n", r"f\.tsv:1: the tag must be one of B-LOC, .*, but is 'NOUN'"),
        (read_udpos, "Anton\n", r"f\.tsv:1: the word has no tag"),
        (read_udpos, "\n\n", r"f\.tsv contains no sentence"),
        (read_choices, CHOICE.replace("LABEL", "2"), r"f\.tsv:1: the label must be 0 \(choice1\) .* but is '2'"),
        (read_choices, CHOICE.replace("LABEL", "-1"), "has no gold label"),
        (
            read_choices,
            '{"premise": "a", "choice1": "b", "choice2": "c", "question": "cause"}\n',
            "has no gold label",
        ),
        (read_choices, '{"premise": "a", "choice1": "b"}\n', r"f\.tsv:1: the question is malformed \(KeyError"),
        (read_choices, "no json\n", r"f\.tsv:1 must be JSON, but is not"),
    ],
)
def test_what_cannot_be_scored_is_refused(tmp_path: Path, read: Callable[..., Any], text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(_file(tmp_path, "f.tsv", text), language="en")


def test_paws_with_and_without_its_header(tmp_path: Path) -> None:
    published = _file(tmp_path, "dev_2k.tsv", 'id\tsentence1\tsentence2\tlabel\n1\ta "" b\tc\t1\n')
    xtreme = _file(tmp_path, "dev-de.tsv", 'a "" b\tc\t1\n')
    assert read_paws(published, language="de") == read_paws(xtreme, language="de") == [LabelledPair('a "" b', "c", "1")]


def _squad(*questions: tuple[str, str, list[dict[str, Any]]]) -> str:
    rows = [{"id": name, "question": text, "answers": answers} for name, text, answers in questions]
    return json.dumps({"version": "1.1", "data": [{"paragraphs": [{"context": "It is red.", "qas": rows}]}]})


def test_questions(tmp_path: Path) -> None:
    answer = {"text": "red", "answer_start": 6}
    path = _file(tmp_path, "xquad.en.json", _squad(("a", "What?", [answer, {"text": "It", "answer_start": 0}])))
    (question,) = read_questions(path, language="de")
    assert (question.id, question.text, question.context) == ("a", "What?", "It is red.")
    assert question.answers == (Answer("red", 6), Answer("It", 0))


@pytest.mark.parametrize("answers", [[], [{"text": "", "answer_start": 0}]])
def test_questions_without_gold(tmp_path: Path, answers: list[dict[str, Any]]) -> None:
    path = _file(tmp_path, "f.json", _squad(("a", "What?", answers)))
    with pytest.raises(InputError, match=r"f\.json: question 'a' has no gold answer"):
        read_questions(path)


def test_tydiqa_in_one_file_is_parted_by_the_names_in_its_ids(tmp_path: Path) -> None:
    answer = [{"text": "red", "answer_start": 6}]
    path = _file(
        tmp_path,
        "tydiqa-goldp-v1.1-train.json",
        _squad(("english-7-0", "What?", answer), ("swahili-7-0", "Nini?", answer)),
    )
    assert [question.text for question in read_questions(path, language="sw")] == ["Nini?"]
    with pytest.raises(InputError, match="contains no question in language 'ko'"):
        read_questions(path, language="ko")


def test_ids_that_xtreme_repeats_are_told_apart(tmp_path: Path) -> None:
    answer = [{"text": "red", "answer_start": 6}]
    path = _file(tmp_path, "f.json", _squad(("0", "A?", answer), ("0", "B?", answer), ("1", "C?", answer)))
    assert [question.id for question in read_questions(path)] == ["0", "0#2", "1"]


def test_panx_as_published_and_as_xtreme_makes_it(tmp_path: Path) -> None:
    published = _file(tmp_path, "de/dev", "de:Anton\tB-PER\nde::\tO\n\nde:Ulm\tB-LOC\n")
    xtreme = _file(tmp_path, "dev-de.tsv", "Anton\tB-PER\n:\tO\n\nUlm\tB-LOC\n\n")
    expected = [TaggedSentence(("Anton", ":"), ("B-PER", "O")), TaggedSentence(("Ulm",), ("B-LOC",))]
    assert read_panx(published, language="de") == read_panx(xtreme, language="de") == expected


def _conllu(*rows: tuple[str, str, str, int]) -> str:
    return "".join(f"{number}\t{form}\t_\t{tag}\t_\t_\t{head}\t_\t_\t_\n" for number, form, tag, head in rows) + "\n"


def test_fused_forms_have_the_tag_of_their_highest_part(tmp_path: Path) -> None:
    text = "# sent_id = 1\n" + _conllu(
        ("1", "Er", "PRON", 2),
        ("2", "geht", "VERB", 0),
        ("3-4", "zum", "_", 0),
        ("3", "zu", "ADP", 5),  # depth 2 below `Fluss`
        ("4", "dem", "DET", 3),  # deeper than `zu`
        ("5", "Fluss", "NOUN", 2),
        ("5.1", "geht", "VERB", 2),
    )
    (sentence,) = read_udpos(_file(tmp_path, "de_x-ud-test.conllu", text), language="de")
    assert sentence == TaggedSentence(("Er", "geht", "zum", "Fluss"), ("PRON", "VERB", "ADP", "NOUN"))


def test_equally_high_parts_go_by_the_languages_precedence(tmp_path: Path) -> None:
    parts = _conllu(("1-2", "dele", "_", 0), ("1", "de", "X", 3), ("2", "le", "PRON", 3), ("3", "ya", "ADV", 0))
    path = _file(tmp_path, "es_x-ud-test.conllu", parts)
    assert read_udpos(path, language="es")[0].tags == ("PRON", "ADV")


def _with_deps(line: str, deps: str) -> str:
    cells = line.split("\t")
    return "\t".join([*cells[:8], deps, *cells[9:]])


@pytest.mark.parametrize(
    ("deps", "tag"),
    [
        (("_", "_", "_", "_"), "ADP"),  # both parts are one below the root's word: the list decides, VERB AUX PRON ADP
        (("4:obl", "4:det", "4:dep", "0:root"), "ADP"),  # the enhanced graph repeats the tree
        (
            ("4:obl|3:case", "4:det", "4:dep", "0:root"),
            "DET",
        ),  # one more word above the first part: the second is higher
        (("4:obl", "4:det|3.1:dep", "4:dep", "0:root"), "ADP"),  # an empty node is no word
        (("4:obl|2:case", "4:det|1:case", "4:dep", "0:root"), "ADP"),  # a circle: each has the other above it
    ],
)
def test_a_fused_form_has_the_tag_of_the_part_with_the_fewest_words_above_it(
    tmp_path: Path, deps: tuple[str, ...], tag: str
) -> None:
    """In the tree and in column DEPS together, as XTREME's conversion counts (networkx's ancestors)."""
    text = _conllu(
        ("1-2", "del", "_", 0),
        ("1", "de", "ADP", 4),
        ("2", "el", "DET", 4),
        ("3", "x", "NOUN", 4),
        ("4", "y", "VERB", 0),
    )
    lines = text.split("\n")
    places = [number for number, line in enumerate(lines) if line and line.split("\t")[0].isdigit()]
    for place, each in zip(places, deps, strict=True):
        lines[place] = _with_deps(lines[place], each)
    lines.insert(places[2] + 1, "3.1\tz\t_\tVERB\t_\t_\t_\t_\t4:dep\t_")
    (sentence,) = read_udpos(_file(tmp_path, "es_x-ud-test.conllu", "\n".join(lines)), language="es")
    assert sentence == TaggedSentence(("del", "x", "y"), (tag, "NOUN", "VERB"))


@pytest.mark.parametrize(
    ("words", "kept"),
    [("_", False), ("_ _", False), ("_ a", False), ("_ _ a", False), ("a b", True), ("_ a b", True), ("a", True)],
)
def test_sentences_without_their_words_are_left_out_and_counted(tmp_path: Path, words: str, kept: bool) -> None:
    """As in XTREME: where words are missing, two must be there."""
    rows = [(str(number), word, "X", 0) for number, word in enumerate(words.split(), start=1)]
    read = read_udpos(_file(tmp_path, "fr_x-ud-test.conllu", _conllu(*rows) + _conllu(("1", "b", "X", 0))))
    assert len(read) == 1 + kept
    assert read.without_words == 1 - kept


def test_a_fused_form_of_missing_words_is_missing_too(tmp_path: Path) -> None:
    text = _conllu(("1-2", "_", "_", 0), ("1", "de", "ADP", 0), ("2", "el", "DET", 1), ("3", "_", "NOUN", 1))
    with pytest.raises(InputError, match=r"contains no sentence with its words: in all 1 they are missing"):
        read_udpos(_file(tmp_path, "es_x-ud-test.conllu", text), language="es")


def test_conllu_words_lose_their_spaces_and_sentences_without_words_are_left_out(tmp_path: Path) -> None:
    text = _conllu(("1", "_", "X", 0)) + _conllu(("1", "10 000", "NUM", 0))
    path = _file(tmp_path, "fr_x-ud-test.conllu", text)
    assert read_udpos(path, language="fr") == [TaggedSentence(("10000",), ("NUM",))]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1\ta\tNOUN\n", r"test\.conllu:1: a line of CoNLL-U has 10 columns, but this has 3"),
        (_conllu(("1", "a", "X", 0), ("3", "b", "X", 1)), r"conllu:2: the next word must have number 2, but has 3"),
        (_conllu(("1", "a", "X", 0), ("1", "b", "X", 0)), r"conllu:2: the next word must have number 2, but has 1"),
        (_conllu(("x", "a", "X", 0)), r"conllu:1: column 1 must be the number of a word, but is 'x'"),
        (_conllu(("1", "a", "NN", 0)), r"test\.conllu:1: the tag must be one of ADJ, .*, but is 'NN'"),
        # A blinded file: the words are there, the tags are not. It would otherwise score as if all were X.
        (_conllu(("1-2", "zum", "_", 0), ("1", "zu", "_", 0), ("2", "dem", "_", 1)), r"conllu:2: the word 'zu' has no"),
        (_conllu(("1", "a", "DET", 2), ("2", "b", "_", 0)), r"test\.conllu:2: the word 'b' has no part of speech"),
    ],
)
def test_bad_conllu(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_udpos(_file(tmp_path, "x-ud-test.conllu", row))


def _copa(label: int) -> str:
    return json.dumps(
        {"premise": "He fell.", "choice1": "Ice.", "choice2": "Sun.", "question": "cause", "label": label}
    )


def test_copa_and_social_iqa(tmp_path: Path) -> None:
    copa = _file(tmp_path, "val.et.jsonl", _copa(0) + "\n" + _copa(1) + "\n")
    choices = read_choices(copa, language="et")
    assert choices[0] == Choice("He fell. What was the cause?", ("Ice.", "Sun."), 0)
    assert choices[1].label == 1
    row = {"context": "Al ran.", "question": "Why?", "answerA": "fear", "answerB": "fun", "answerC": "rain"}
    social = _file(tmp_path, "train.jsonl", json.dumps(row) + "\n")
    _file(tmp_path, "train-labels.lst", "3\n")
    assert read_choices(social) == [Choice("Al ran. Why?", ("fear", "fun", "rain"), 2)]
    assert with_labels([social, copa]) == [social, tmp_path / "train-labels.lst", copa]  # what a hash must cover
    inside = _file(tmp_path, "trn.jsonl", json.dumps({**row, "correct": "B"}) + "\n")
    assert read_choices(inside)[0].label == 1


def test_labels_that_are_all_the_same_are_no_gold(tmp_path: Path) -> None:
    path = _file(tmp_path, "test.et.jsonl", (_copa(0) + "\n") * 10)
    with pytest.raises(InputError, match="all 10 labels are 0: the file has no gold labels"):
        read_choices(path)


QUESTIONS = (
    '{"data": [{"paragraphs": [{"context": "a b", "qas": [{"id": "q", "question": "?", "answers": '
    '[{"text": "b", "answer_start": 2}]}]}]}]}\n'
)
# A reader, and a file that it takes.
READ = [
    (read_nli, XNLI_HEADER + "en\tneutral\t\t\ta\tb\t1\n"),
    (read_nli, '{"sentence1": "a", "sentence2": "b", "gold_label": "neutral"}\n'),
    (read_paws, "id\tsentence1\tsentence2\tlabel\n1\ta\tb\t1\n"),
    (read_panx, "en:Anton\tB-PER\nen:lebt\tO\n"),
    (read_udpos, "1\tAnton\t_\tPROPN\t_\t_\t0\t_\t_\t_\n"),
    (read_choices, CHOICE.replace("LABEL", "1")),
    (read_questions, QUESTIONS),
    (read_answers, QUESTIONS),
    (read_answer_predictions, '{"q": "b"}\n'),
    (lambda path: read_labels(path, NLI), "neutral\nentailment\n"),
    (lambda path: read_tagged(path, PANX_TAGS), "en:Anton\tB-PER\nen:lebt\tO\n"),
    (read_gold_indices, "2\n0\n"),
    (read_gold_indices, "B.\nA.\n"),
    (read_id_pairs, "a-1\tb-1\n"),
    (read_rankings, '{"q": ["a", "b"]}\n'),
    (read_rankings, "a b\nb a\n"),
    (read_pairs, "a\tb\nc\td\n"),
    (read_gold, "0-0 1p1\n\n"),
    (read_predicted_links, "0-0\n1-1\n"),
]


@pytest.mark.parametrize(("read", "text"), READ)
def test_files_as_people_save_them(tmp_path: Path, read: Callable[..., Any], text: str) -> None:
    """With a byte order mark and CRLF, compressed, and through a pipe, which can be read once."""
    path = tmp_path / "f"
    path.write_bytes(text.encode())
    expected = read(path)
    for content in (
        text.replace("\n", "\r\n").encode("utf-8-sig"),
        gzip.compress(text.encode("utf-8-sig")),
        lzma.compress(text.encode()),
    ):
        path.write_bytes(content)
        assert read(path) == expected
    source, pipe = os.pipe()
    os.write(pipe, text.encode())
    os.close(pipe)
    try:
        assert read(Path(f"/dev/fd/{source}")) == expected
    finally:
        os.close(source)


@pytest.mark.parametrize("read", list(dict.fromkeys(read for read, _ in READ)))
@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"<!DOCTYPE html>\n<html>404</html>\n", "an HTML page"),
        ("a\tb\tneutral\n".encode("utf-16"), "UTF-16 text"),
        (b"PK\x03\x04" + bytes(40), "a zip archive"),
    ],
)
def test_files_that_hold_no_text(tmp_path: Path, read: Callable[..., Any], content: bytes, found: str) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(InputError, match=f"f must hold UTF-8 text, but holds {found}"):
        read(tmp_path / "f")


def test_files_of_any_folder_beside_the_data_folder_are_no_data(tmp_path: Path) -> None:
    """UDPOS's treebanks are sought in any folder below the data folder, and not in its neighbours."""
    (tmp_path / "neighbour").mkdir()
    _file(tmp_path / "neighbour", "fr_x-ud-test.conllu", "")
    task = find_benchmark("udpos")
    (tmp_path / "data" / "UD_French").mkdir(parents=True)
    setting = Setting(data=tmp_path / "data", languages=("fr",), split="test")
    assert find_files(setting, task, task.files[0], "fr") == []
    inside = _file(tmp_path / "data" / "UD_French", "fr_y-ud-test.conllu", "")
    assert find_files(setting, task, task.files[0], "fr") == [inside]
