"""XTREME-R's overall score: averages of averages, and nothing smaller without a word."""

from __future__ import annotations

from dataclasses import replace

import pytest

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.benchmarks import find_benchmark
from weam_fairseq.evaluation.scores import Score
from weam_fairseq.evaluation.xtreme_r import BENCHMARKS, Overall, overall, overall_by_model


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
    assert "*" not in result.marks
    assert "|tasks:10of10|complete|" in result.signature


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
    assert result.marks.startswith("*")
    assert result.tasks[0].marks.startswith("*")
    assert "|partial|" in result.signature


def test_half_of_question_answering_does_not_count() -> None:
    rows = [each for each in whole() if (each.task, each.language, each.metric) != ("mlqa", "de", "exact_match")]
    average = next(each for each in overall(rows).tasks if each.task == "mlqa")
    assert average.missing == ("de",)


def test_another_split_is_named_and_not_counted() -> None:
    rows = [each for each in whole() if each.task != "panx"] + [score("panx", "de", "f1", 99.0, "dev")]
    result = overall(rows)
    average = next(each for each in result.tasks if each.task == "panx")
    assert (average.value, average.not_counted, result.partial) == (None, ("de (dev)",), True)
    assert "|tasks:9of10|partial|" in result.signature


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
    with pytest.raises(InputError, match="xnli ar accuracy, seed 1, is listed twice for m"):
        overall([*whole(), score("xnli", "ar", "accuracy", 1.0)])


def as_xtreme_r(each: Score, **changes: str) -> Score:
    """The score with the signature that weam-evaluate gives by default."""
    if each.task in ("lareqa", "mewslix", "tatoeba"):
        parts = {"lang": each.language, "encoder": "as-given"}
    else:
        tuned = find_benchmark(each.task).fine_tuned
        assert tuned is not None
        training = tuned.training
        parts = {"train": f"{training.name}:en:0123456789ab", "recipe": training.recipe.text}
        benchmark = next(row for row in BENCHMARKS if row.task == each.task)
        parts |= {"decoding": "official"} if "exact_match" in benchmark.metrics else {}
    named = {**parts, **changes}
    return replace(each, signature="|".join([each.task, *(f"{name}:{value}" for name, value in named.items())]))


def otherwise(result: Overall) -> dict[str, list[str]]:
    return {task.task: list(task.otherwise) for task in result.tasks if task.otherwise}


AS_GIVEN = {task: ["encoder=as-given"] for task in ("lareqa", "mewslix", "tatoeba")}


def test_retrieval_without_fine_tuning_is_said_beside_the_figure_and_in_its_signature() -> None:
    result = overall(map(as_xtreme_r, whole(50.0)))
    assert otherwise(result) == AS_GIVEN
    assert result.marks == "†"
    assert [task.marks for task in result.tasks] == [*[""] * 7, *["†"] * 3]
    assert result.signature == (
        "xtreme-r|overall|tasks:10of10|complete|lareqa:encoder=as-given|mewslix:encoder=as-given"
        "|tatoeba:encoder=as-given|value:50.00"
    )
    first = result.deviations()[0]
    assert first.startswith("lareqa: retrieval was measured on the encoder as given, without fine-tuning it")


@pytest.mark.parametrize(
    ("task", "part", "value", "said"),
    [
        ("xnli", "train", "files:en:0123456789ab", ["train=files"]),
        ("tydiqa", "train", "files:en:0123456789ab:without300", ["train=files", "train=part"]),
        ("xnli", "train", "multinli:en:0123456789ab:1000", ["train=part"]),
        ("mlqa", "train", "squad-v1.1:de:0123456789ab", ["train=squad-v1.1:de"]),
        ("panx", "recipe", "lr0.0003,ep2,bs32,len128,warm0,wd0,fp32", ["recipe=other"]),
        ("panx", "recipe", "lr2e-05,ep10,bs32,len128,warm0,wd0,bf16", []),
        ("xquad", "decoding", "pipeline", ["decoding=pipeline"]),
    ],
)
def test_what_was_fine_tuned_otherwise_is_said(task: str, part: str, value: str, said: list[str]) -> None:
    rows = [as_xtreme_r(each, **({part: value} if each.task == task else {})) for each in whole()]
    result = overall(rows)
    assert otherwise(result) == AS_GIVEN | ({task: said} if said else {})
    assert result.value == 50.0
    if said:
        assert f"|{task}:{','.join(said)}|" in result.signature
