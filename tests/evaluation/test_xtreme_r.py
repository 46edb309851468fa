"""XTREME-R's overall score: averages of averages, and nothing smaller without a word."""

from __future__ import annotations

import pytest

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.scores import Score
from weam_fairseq.evaluation.xtreme_r import BENCHMARKS, overall, overall_by_model, render_markdown


def score(
    task: str, language: str, metric: str, value: float, split: str = "test", seed: int = 1, model: str = "m"
) -> Score:
    return Score(task, model, "c" + model, language, split, metric, value, 10, {}, seed, "signature")


def whole(value: float = 50.0, model: str = "m", seeds: tuple[int, ...] = (1,)) -> list[Score]:
    return [
        score(each.task, language, metric, value, each.split, seed, model)
        for each in BENCHMARKS
        for language in each.languages
        for metric in each.metrics
        for seed in seeds
    ]


def test_the_ten_tasks_and_their_languages() -> None:
    assert {each.task: len(each.languages) for each in BENCHMARKS} == {
        **{"xnli": 15, "xcopa": 11, "udpos": 38, "panx": 48, "xquad": 12, "mlqa": 7, "tydiqa": 9},
        **{"lareqa": 11, "mewslix": 11, "tatoeba": 41},
    }
    assert all(len(set(each.languages)) == len(each.languages) for each in BENCHMARKS)


def test_everything_there() -> None:
    result = overall(whole(50.0))
    assert (result.value, result.partial) == (50.0, False)
    assert "partial" not in render_markdown({"m": result})


def test_a_task_counts_once_however_many_languages_it_has() -> None:
    rows = [score(r.task, r.language, r.metric, 100.0 if r.task == "mlqa" else 0.0, r.split) for r in whole()]
    assert overall(rows).value == pytest.approx(10.0)


def test_question_answering_is_the_mean_of_exact_match_and_f1() -> None:
    rows = [each for each in whole(0.0) if each.task == "tydiqa"]
    rows = [score(r.task, r.language, r.metric, 30.0 if r.metric == "f1" else 10.0, r.split) for r in rows]
    average = next(each for each in overall(rows).tasks if each.task == "tydiqa")
    assert average.value == pytest.approx(20.0)


def test_seeds_are_averaged_first() -> None:
    rows = [*whole(40.0), *whole(60.0, seeds=(2,))]
    result = overall(rows)
    assert (result.value, result.partial, result.tasks[0].seeds) == (50.0, False, (2, 2))


def test_a_missing_language_is_named_and_makes_it_partial() -> None:
    rows = [each for each in whole() if (each.task, each.language) != ("xnli", "sw")]
    result = overall(rows)
    assert (result.partial, result.tasks[0].missing) == (True, ("sw",))
    text = render_markdown({"m": result})
    assert "- m, xnli: missing sw" in text
    assert r"50.0\*" in text


def test_half_of_question_answering_does_not_count() -> None:
    rows = [each for each in whole() if (each.task, each.language, each.metric) != ("mlqa", "de", "exact_match")]
    average = next(each for each in overall(rows).tasks if each.task == "mlqa")
    assert average.missing == ("de",)


def test_another_split_is_named_and_not_counted() -> None:
    rows = [each for each in whole() if each.task != "panx"] + [score("panx", "de", "f1", 99.0, "dev")]
    result = overall(rows)
    average = next(each for each in result.tasks if each.task == "panx")
    assert (average.value, average.not_counted, result.partial) == (None, ("de (dev)",), True)
    assert "- m, panx: nothing is there; not counted, because of another split: de (dev)" in render_markdown(
        {"m": result}
    )


def test_other_metrics_tasks_and_pairs_of_languages_are_no_part_of_it() -> None:
    more = [score("udpos", "de", "accuracy", 1.0), score("bucc", "de", "f1", 1.0), score("mlqa", "en-de", "f1", 1.0)]
    assert overall([*whole(), *more]) == overall(whole())


def test_nothing_at_all() -> None:
    result = overall([])
    assert (result.value, result.partial) == (None, True)


def test_models_are_kept_apart() -> None:
    rows = [*whole(40.0), *whole(60.0, model="n")]
    with pytest.raises(InputError, match=r"of 2: m \(cm\), n \(cn\)"):
        overall(rows)
    by_model = overall_by_model(rows)
    assert {name: each.value for name, each in by_model.items()} == {"m": 40.0, "n": 60.0}
    assert "| **overall** | mean of the tasks | | 40.0 | 60.0 |" in render_markdown(by_model)
    with pytest.raises(InputError, match="xnli ar accuracy, seed 1, stands twice for m"):
        overall([*whole(), score("xnli", "ar", "accuracy", 1.0)])
