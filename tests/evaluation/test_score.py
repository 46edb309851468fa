"""weam-score from files in the benchmarks' own formats to one JSON object, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation import score
from weam_fairseq.evaluation.benchmarks import BENCHMARKS


def weam_score(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    code = score.main([str(argument) for argument in arguments])
    return code, *capsys.readouterr()


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """Writes both files, runs the task, and gives the scores and what stderr says, or raises its sentence."""

    def run(task: str, gold: str, predictions: str, *more: str, name: str = "gold") -> tuple[dict[str, float], str]:
        (tmp_path / name).write_text(gold, encoding="utf-8")
        (tmp_path / "predictions").write_text(predictions, encoding="utf-8")
        paths = ("--gold", tmp_path / name, "--predictions", tmp_path / "predictions")
        code, out, err = weam_score(capsys, task, *paths, *more)
        if code:
            assert (code, out, err.count("\n")) == (2, "", 1)
            raise InputError(err)
        assert out.count("\n") == 1
        return json.loads(out), err

    return run


def squad(**answers: list[str]) -> str:
    qas = [
        {"id": question, "question": "?", "answers": [{"text": text, "answer_start": 0} for text in texts]}
        for question, texts in answers.items()
    ]
    return json.dumps({"version": "1.1", "data": [{"title": "", "paragraphs": [{"context": "", "qas": qas}]}]})


def test_question_answering(run) -> None:  # type: ignore[no-untyped-def]
    gold, predictions = (
        squad(q=["die Stadt", "Stadt"], r=["Haus am See"]),
        json.dumps({"q": "der Stadt", "r": "am See"}),
    )
    expected = {"exact_match": 50.0, "f1": pytest.approx(100 * (1 + 0.8) / 2)}
    assert run("mlqa", gold, predictions, "--language", "de") == (expected, "")
    # SQuAD's metric knows no German article
    for task in ("xquad", "tydiqa"):
        scores, _ = run(task, gold, predictions, "--language", "de")
        assert scores == {"exact_match": 0.0, "f1": pytest.approx(100 * (2 / 3 + 0.8) / 2)}


def test_mlqa_needs_the_language_of_the_contexts(run) -> None:  # type: ignore[no-untyped-def]
    gold, predictions = squad(q=["x"]), json.dumps({"q": "x"})
    with pytest.raises(InputError, match=r"depends on the language\. Give --language"):
        run("mlqa", gold, predictions)
    with pytest.raises(
        InputError, match=r"contexts of dev-context-de-question-en.json are in 'de'.* Give --language de"
    ):
        run("mlqa", gold, predictions, "--language", "en", name="dev-context-de-question-en.json")
    run("mlqa", gold, predictions, "--language", "de", name="dev-context-de-question-en.json")


def test_words_with_spaces_are_those_of_weam_evaluate(run) -> None:  # type: ignore[no-untyped-def]
    row = "{}\t{}\t_\t{}" + "\t_" * 6 + "\n"
    gold = row.format(1, "học sinh", "NOUN") + row.format(2, "می\u200cرود", "VERB")
    for words in ("họcsinh\tNOUN\nمیرود\tVERB\n", "học sinh\tNOUN\nمی\u200cرود\tVERB\n"):
        assert run("udpos", gold, words, name="vi.conllu")[0]["accuracy"] == 100.0


def test_questions_without_prediction_and_predictions_without_question(run) -> None:  # type: ignore[no-untyped-def]
    gold = squad(q=["x"], r=["y"])
    with pytest.raises(InputError, match="1 of 2 questions have no prediction, the first is 'r'"):
        run("xquad", gold, '{"q": "x"}')
    scores, notes = run("xquad", gold, '{"q": "x", "z": "z"}', "--missing-as-zero")
    assert scores == {"exact_match": 50.0, "f1": 50.0}
    assert notes.splitlines() == [
        "weam-score: note: 1 predictions have ids that are not in the gold file, and were not counted.",
        "weam-score: note: 1 of 2 have no prediction and count as 0.",
    ]
    with pytest.raises(InputError, match=r"is for tasks whose predictions carry ids .*not for xnli"):
        run("xnli", "0\n", "0\n", "--missing-as-zero")


@pytest.mark.parametrize("task", ["xnli", "pawsx", "xcopa"])
def test_labels(run, task: str) -> None:  # type: ignore[no-untyped-def]
    assert run(task, "0\n1\n1\n", "0\n1\n0\n", "--language", "de")[0] == {"accuracy": pytest.approx(200 / 3)}
    with pytest.raises(InputError, match=r"predictions:2: the label must be .*, but is 'maybe'"):
        run(task, "0\n1\n", "1\nmaybe\n")
    with pytest.raises(InputError, match=r"gold:2: the label must be .*, but is '3'"):
        run(task, "0\n3\n", "0\n1\n")
    assert run(task, "0\n0\n", "1\n1\n")[0] == {"accuracy": 0.0}
    with pytest.raises(InputError, match="3 gold labels but 2 predictions"):
        run(task, "0\n1\n1\n", "0\n1\n")
    with pytest.raises(InputError, match=r"predictions:2: the line must hold one label"):
        run(task, "0\n1\n", "0\n\n")


@pytest.mark.parametrize(
    ("task", "gold", "predictions"),
    [
        ("xnli", ("entailment", "neutral", "contradiction"), ("Entailment", "NEUTRAL", "contradictory")),
        ("xnli", ("entailment", "neutral", "contradiction"), ("0", "1", "2")),
        ("xnli", ("0", "1", "2"), ("LABEL_0", "label_1", "LABEL_2")),
        ("xnli", ("entailment", "neutral", "contradiction"), ("e", "n", "c")),
        ("pawsx", ("1", "0"), ("paraphrase", "not_paraphrase")),
        ("pawsx", ("1", "0"), ("LABEL_1", "LABEL_0")),
        ("xcopa", ("0", "1"), ("choice1", "Choice2")),
    ],
)
def test_labels_go_by_the_names_and_numbers_that_people_use(
    run, task: str, gold: tuple[str, ...], predictions: tuple[str, ...]
) -> None:  # type: ignore[no-untyped-def]
    texts = ["".join(f"{label}\n" for label in labels) for labels in (gold, predictions)]
    assert run(task, *texts)[0] == {"accuracy": 100.0}
    assert run(task, *reversed(texts))[0] == {"accuracy": 100.0}


def test_the_order_of_numbered_nli_labels_is_told(run) -> None:  # type: ignore[no-untyped-def]
    _, notes = run("xnli", "neutral\n", "1\n")
    assert "predictions: the labels are numbers, read as 0 entailment, 1 neutral, 2 contradiction." in notes
    assert run("pawsx", "1\n", "1\n")[1] == ""


@pytest.mark.parametrize("label", ["-", "not_entailment", "3", "LABEL_3", "-1"])
def test_nli_labels_that_cannot_be_scored(run, label: str) -> None:  # type: ignore[no-untyped-def]
    for texts in (("neutral\n", f"{label}\n"), (f"{label}\n", "neutral\n")):
        with pytest.raises(InputError, match=f":1: the label must be entailment, .* but is '{label}'"):
            run("xnli", *texts)


def test_choices_counted_from_1_are_refused(run) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=r"predictions:2: .*subtract 1 if the file counts from 1, but is '2'"):
        run("xcopa", "0\n1\n", "1\n2\n")


@pytest.mark.parametrize(
    ("task", "tag"), [("udpos", "CONJ"), ("udpos", "LABEL_3"), ("panx", "PER"), ("panx", "B-MISC")]
)
def test_unknown_tags_are_refused(run, task: str, tag: str) -> None:  # type: ignore[no-untyped-def]
    known = {"udpos": "NOUN", "panx": "O"}[task]
    with pytest.raises(InputError, match=f"predictions:2: the tag must be one of .* but is '{tag}'"):
        run(task, f"in\t{known}\nLinz\t{known}\n", f"in\t{known.lower()}\nLinz\t{tag}\n")


def test_xcopa_takes_its_own_gold_file(run) -> None:  # type: ignore[no-untyped-def]
    rows = [{"premise": "p", "choice1": "a", "choice2": "b", "question": "cause", "label": label} for label in (0, 1)]
    assert run("xcopa", "".join(json.dumps(row) + "\n" for row in rows), "0\n0\n")[0] == {"accuracy": 50.0}


def test_entities(run) -> None:  # type: ignore[no-untyped-def]
    gold = "de:Anna\tB-PER\nde:in\tO\nde:Linz\tB-LOC\n\nde:Bonn\tB-LOC\n"  # WikiANN's own form
    predictions = "Anna\tB-PER\nin\tO\nLinz\tO\n\nBonn\tB-LOC\n\n"
    expected = {"f1": pytest.approx(80.0), "precision": 100.0, "recall": pytest.approx(200 / 3)}
    assert run("panx", gold, predictions, "--language", "de") == (expected, "")
    # XTREME's predictions hold tags alone
    assert run("panx", gold, "B-PER\nO\nO\n\nB-LOC\n")[0] == expected


CONLLU = """# text = Er geht zum Haus
1\tEr\ter\tPRON\t_\t_\t2\tnsubj\t_\t_
2\tgeht\tgehen\tVERB\t_\t_\t0\troot\t_\t_
3-4\tzum\t_\t_\t_\t_\t_\t_\t_\t_
3\tzu\tzu\tADP\t_\t_\t5\tcase\t_\t_
4\tdem\tder\tDET\t_\t_\t5\tdet\t_\t_
5\tHaus\tHaus\tNOUN\t_\t_\t2\tobl\t_\t_
5.1\tleer\tleer\tVERB\t_\t_\t_\t_\t_\t_

"""


def test_parts_of_speech(run) -> None:  # type: ignore[no-untyped-def]
    gold = "Er\tPRON\ngeht\tVERB\nheim\tADV\n"
    scores, _ = run("udpos", gold, "Er\tPRON\ngeht\tVERB\nheim\tADJ\n")
    assert scores == {"f1": pytest.approx(200 / 3), "accuracy": pytest.approx(200 / 3)}
    # by syntactic words, or with the fused form as one, as XTREME makes its files
    words = "Er\tPRON\ngeht\tVERB\nzu\tADP\ndem\tDET\nHaus\tNOUN\n"
    assert run("udpos", CONLLU, words, name="de.conllu")[0] == {"f1": 100.0, "accuracy": 100.0}
    fused = "Er\tPRON\ngeht\tVERB\nzum\tADP\nHaus\tVERB\n"
    assert run("udpos", CONLLU, fused, name="de.conllu")[0]["accuracy"] == 75.0


# Both parts hang on the same word: by the precedence list for Spanish PRON decides, by that of other languages NOUN.
SPANISH = """1-2\tdelo\t_\t_\t_\t_\t_\t_\t_\t_
1\tde\tde\tNOUN\t_\t_\t3\tobj\t_\t_
2\tlo\tlo\tPRON\t_\t_\t3\tobj\t_\t_
3\tda\tdar\tVERB\t_\t_\t0\troot\t_\t_

"""


def test_treebanks_need_a_language_only_where_it_decides(run) -> None:  # type: ignore[no-untyped-def]
    fused = "delo\tPRON\nda\tVERB\n"
    with pytest.raises(InputError, match="Give --language"):
        run("udpos", SPANISH, fused, name="gold.conllu")
    assert run("udpos", SPANISH, fused, "--language", "es", name="gold.conllu")[0]["accuracy"] == 100.0
    assert run("udpos", SPANISH, fused, name="es_gsd-ud-test.conllu")[0]["accuracy"] == 100.0
    assert run("udpos", SPANISH, fused, "--language", "de", name="gold.conllu")[0]["accuracy"] == 50.0
    assert run("udpos", CONLLU, "PRON\nVERB\nADP\nNOUN\n", name="gold")[0]["accuracy"] == 100.0


@pytest.mark.parametrize("task", ["udpos", "panx"])
def test_tags_of_other_words_are_refused(run, task: str) -> None:  # type: ignore[no-untyped-def]
    tag = {"udpos": "NOUN", "panx": "O"}[task]
    with pytest.raises(InputError, match="predictions:4: the sentence has 'Köln' where the gold sentence has 'Bonn'"):
        run(task, f"in\t{tag}\nLinz\t{tag}\n\nBonn\t{tag}\n", f"in\t{tag}\nLinz\t{tag}\n\nKöln\t{tag}\n")
    with pytest.raises(InputError, match="sentence 1 has 2 gold tags but 1 predicted"):
        run(task, f"in\t{tag}\nLinz\t{tag}\n", f"{tag}\n")
    with pytest.raises(InputError, match=r"predictions:1: the line must hold a word, one tab and a tag"):
        run(task, f"in\t{tag}\n", f"in\t{tag}\t{tag}\n")
    with pytest.raises(InputError, match=r"predictions:2: some lines of this sentence hold a word and some do not"):
        run(task, f"in\t{tag}\nLinz\t{tag}\n", f"in\t{tag}\n{tag}\n")


def test_gold_without_tags_is_refused(run) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=r"de.conllu:2: the word 'Er' has no UPOS tag"):
        run("udpos", CONLLU.replace("PRON", "_"), "PRON\n", name="de.conllu")


def test_tatoeba(run) -> None:  # type: ignore[no-untyped-def]
    assert run("tatoeba", "2\n0\n1\n", "2\n1\n1\n")[0] == {"accuracy": pytest.approx(200 / 3)}
    # the benchmark's own text: line k belongs to line k
    assert run("tatoeba", "The end.\nA dog.\n", "0\n0\n")[0] == {"accuracy": 50.0}
    with pytest.raises(InputError, match=r"predictions:2: '-1' is not an index"):
        run("tatoeba", "0\n1\n", "0\n-1\n")
    with pytest.raises(InputError, match="is sorted: XTREME's download script sorts it"):
        run("tatoeba", "".join(f"sentence {letter}\n" for letter in "abcdefghijkl"), "0\n" * 12)


def test_bucc(run) -> None:  # type: ignore[no-untyped-def]
    scores, _ = run("bucc", "de-1\ten-1\nde-2\ten-2\n", "de-1\ten-1\nde-2\ten-3\nde-3\ten-2\n")
    assert scores == pytest.approx({"f1": 40.0, "precision": 100 / 3, "recall": 50.0})
    with pytest.raises(InputError, match=r"predictions:1: the line must hold two ids"):
        run("bucc", "de-1\ten-1\n", "de-1 en-1\n")


@pytest.mark.parametrize("task", ["lareqa", "mewslix"])
def test_rankings(run, task: str) -> None:  # type: ignore[no-untyped-def]
    gold, ranked = {"q": ["a"], "r": ["b", "c"]}, {"q": ["x", "a"], "r": ["b", "x", "c"]}
    expected = {"map@20": pytest.approx(100 * (0.5 + (1 + 2 / 3) / 2) / 2)}
    assert run(task, json.dumps(gold), json.dumps(ranked)) == (expected, "")
    lines = ["\n".join(" ".join(ids) for ids in each.values()) + "\n" for each in (gold, ranked)]
    assert run(task, *lines) == (expected, "")
    lists = "".join(json.dumps(ids) + "\n" for ids in ranked.values())
    assert run(task, lines[0], lists) == (expected, "")
    records = "".join(json.dumps({"query": query, "ranking": ids}) + "\n" for query, ids in ranked.items())
    assert run(task, json.dumps(gold, indent=1), records) == (expected, "")
    with pytest.raises(InputError, match=r"predictions:3: query 'q' is listed twice"):
        run(task, json.dumps(gold), records + records)
    with pytest.raises(InputError, match="1 of 2 queries have no ranking"):
        run(task, json.dumps(gold), json.dumps({"q": ["a"]}))
    with pytest.raises(InputError, match="one JSON object"):
        run(task, json.dumps(gold), json.dumps({"q": "a", "r": "b"}))


@pytest.mark.parametrize(
    ("task", "gold", "sentence"),
    [
        ("xquad", "{", "gold must be JSON, but is not"),
        ("xquad", "{}", "gold is not SQuAD JSON .KeyError: 'data'."),
        ("xquad", squad(q=[]), "gold: 1 of 1 questions have no answer, the first is 'q'"),
        ("mewslix", '{"q": [""]}', "'q' has no right candidate"),
        ("xcopa", '{"premise": "p"}\n', "gold:1: the line is not a JSON object with a label"),
    ],
)
def test_gold_that_is_none(run, task: str, gold: str, sentence: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=sentence):
        run(task, gold, '{"q": ["x"]}' if task == "mewslix" else '{"q": "x"}')


def test_every_mistake_names_a_file(run) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=r"predictions against .*gold: there are 1 gold labels but 2"):
        run("xnli", "0\n", "0\n1\n")


@pytest.mark.parametrize("task", score.FROM_STATES)
def test_a_task_without_predictions_is_said_to_be_one(run, task: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=f"{task} has no predictions to score, .* Run weam-evaluate {task} with"):
        run(task, "x\n", "x\n")


def test_every_task_of_weam_evaluate_is_scored_or_has_nothing_to_score() -> None:
    assert {task.name for task in BENCHMARKS} == {task.name for task in score.SCORED} | set(score.FROM_STATES)


def test_every_task_of_the_table_is_described() -> None:
    text = score._parser().format_help()
    names = ["xnli", "mlqa", "xquad", "tydiqa", "pawsx", "xcopa", "udpos", "panx"]
    names += ["tatoeba", "bucc", "mewslix", "lareqa", "word-alignment"]
    assert {task.name for task in score.SCORED} >= set(names)
    assert all(f"  {task.name:<16}{', '.join(task.scoring.metrics)}" in text for task in score.SCORED)
    keys = {"exact_match", "f1", "accuracy", "map@20", "aer", "precision", "recall"}
    assert {metric for task in score.SCORED for metric in task.scoring.metrics} == keys
