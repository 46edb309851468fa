"""What a table of scores holds: means, averages, differences, and what is refused."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.report.scores import right_and_wrong, score, with_items, write_lines
from weam_fairseq.common.errors import InputError
from weam_fairseq.report.comparison import Comparison, compare
from weam_fairseq.report.score_files import read_score_files
from weam_fairseq.report.score_tables import (
    gain_table,
    interval_table,
    score_table,
    summary_gains,
    summary_table,
)
from weam_fairseq.report.tables import format_table
from weam_fairseq.report.task_table import AVERAGE, TaskTable

RESAMPLES = 1000


def _compare(folder: Path, lines: Sequence[dict[str, Any]], **options: Any) -> Comparison:
    file = write_lines(folder / "scores.jsonl", lines)
    return compare(read_score_files([file]), resamples=RESAMPLES, **options)


def _only(comparison: Comparison) -> TaskTable:
    assert len(comparison.tables) == 1
    return comparison.tables[0]


def test_means_and_standard_deviations_by_hand(tmp_path: Path) -> None:
    lines = [score("tlm", "de", value, seed=seed) for seed, value in ((1, 50.0), (2, 53.0), (3, 56.0))]
    lines += [score("tlm", "es", value, seed=seed) for seed, value in ((1, 60.0), (2, 60.0), (3, 66.0))]
    table = _only(_compare(tmp_path, lines))
    german = table.scores["tlm", "de"]
    assert (german.mean, german.sd) == (53.0, 3.0)
    average = table.scores["tlm", AVERAGE]
    assert average.values == {1: 55.0, 2: 56.5, 3: 61.0}
    assert average.mean == pytest.approx(57.5)
    assert average.sd == pytest.approx(3.1225, abs=1e-4)
    cells = {row.name: [cell.text for cell in row.cells] for row in score_table(table).rows}
    assert cells == {
        "de": ["4", "53.0 ± 3.0"],
        "es": ["4", "62.0 ± 3.5"],
        "average of 2": ["", "57.5 ± 3.1"],
        "seeds": ["", "3"],
    }
    assert not any("direction" in note for note in table.notes)


def test_one_seed_has_no_deviation_and_a_caution(tmp_path: Path) -> None:
    table = _only(_compare(tmp_path, [score("tlm", "de", 50.0), score("weam", "de", 51.0)]))
    assert table.scores["tlm", "de"].sd is None
    assert score_table(table).rows[0].cells[1].text == "50.0"
    assert "One seed: a hint, not a result." in table.notes
    difference = table.differences["weam", "de"]
    assert (difference.value, difference.interval, difference.over) == (1.0, None, "")
    assert gain_table(table).rows[0].cells[0].text == "+1.0"


def test_the_baseline_is_tlm_or_the_first_or_the_chosen(tmp_path: Path) -> None:
    lines = [score(model, "de", 50.0) for model in ("weam", "tlm", "mlm")]
    assert _compare(tmp_path, lines).models == ["tlm", "weam", "mlm"]
    assert _compare(tmp_path, lines, baseline="mlm").models == ["mlm", "weam", "tlm"]
    assert _compare(tmp_path, [lines[2], lines[0]]).baseline == "mlm"
    with pytest.raises(InputError, match=r"Did you mean 'weam'.*The scores have weam, tlm, mlm"):
        _compare(tmp_path, lines, baseline="waem")
    with pytest.raises(InputError, match=r"--metric 'acuracy' is in no score\. Did you mean 'accuracy'"):
        _compare(tmp_path, lines, metrics=["acuracy"])


def test_items_are_drawn_in_pairs(tmp_path: Path) -> None:
    # weam is right wherever tlm is, and on one item more in four: drawn alike, it is never worse.
    lines = [
        right_and_wrong(tmp_path, score("tlm", "de", 0.0), "1000" * 25),
        right_and_wrong(tmp_path, score("weam", "de", 0.0), "1100" * 25),
    ]
    difference = _only(_compare(tmp_path, lines)).differences["weam", "de"]
    assert difference.value == 25.0
    assert difference.items is not None
    assert difference.over == "items"
    # The binomial's 95 %: 25 ± 1.96 sqrt(.25 × .75 / 100) = 25 ± 8.5
    assert difference.items[:2] == pytest.approx((16.5, 33.5), abs=1.6)
    assert difference.items.p == pytest.approx(2 / (RESAMPLES + 1))
    assert difference.items.excludes_zero


def test_equal_models_have_an_interval_of_no_width(tmp_path: Path) -> None:
    items = [{"f1": 100 / (1 + number % 7)} for number in range(50)]
    value = sum(item["f1"] for item in items) / 50
    lines = [
        with_items(tmp_path, score(model, "de", value, task="xquad", metric="f1", seed=seed), items)
        for model in ("tlm", "weam", "shuffled")
        for seed in (1, 2)
    ]
    table = _only(_compare(tmp_path, lines))
    for model in ("weam", "shuffled"):
        interval = table.differences[model, "de"].items
        assert interval is not None
        assert (interval.low, interval.high, interval.p) == (0.0, 0.0, 1.0)
    low, high = table.scores["weam", "de"].interval or (0.0, 0.0)
    assert low < value < high  # a model's own figure has a width all the same


def test_f1_is_worked_out_from_summed_counts(tmp_path: Path) -> None:
    # Two sentences: the F1 of both together is 2·3 / (4 + 6) = 60, the mean of each one's would be 61.9.
    counts = [{"correct": 1, "predicted": 1, "gold": 2}, {"correct": 2, "predicted": 3, "gold": 4}]
    both = score("tlm", "de", 60.0, task="panx", metric="f1")
    table = _only(_compare(tmp_path, [with_items(tmp_path, both, counts)]))
    # Drawn twice the first, one each, twice the second: 66.7, 60, 57.1
    assert table.scores["tlm", "de"].interval == pytest.approx((400 / 7, 200 / 3))


def test_words_counts_and_links_make_accuracy_and_aer(tmp_path: Path) -> None:
    words = [{"words": 4, "words_correct": 1}, {"words": 6, "words_correct": 4}]
    links = [{"in_sure": 2, "in_possible": 3, "predicted": 4, "sure": 6}]
    lines = [
        with_items(tmp_path, score("tlm", "de", 50.0, task="udpos"), words),
        with_items(tmp_path, score("tlm", "en-de", 50.0, task="word-alignment", metric="aer"), links),
    ]
    accuracy, aer = _compare(tmp_path, lines).tables
    assert accuracy.scores["tlm", "de"].interval is not None
    assert aer.scores["tlm", "en-de"].interval == (50.0, 50.0)
    assert aer.lower_is_better
    assert not accuracy.lower_is_better


def test_without_items_seeds_are_paired(tmp_path: Path) -> None:
    lines = [score("tlm", "de", value, seed=seed) for seed, value in ((1, 40.0), (2, 60.0), (3, 50.0))]
    lines += [score("weam", "de", value, seed=seed) for seed, value in ((1, 41.0), (2, 62.0), (3, 53.0))]
    table = _only(_compare(tmp_path, lines))
    difference = table.differences["weam", "de"]
    assert difference.items is None
    assert difference.seeds is not None
    assert difference.seeds[:2] == pytest.approx((2 - 2.4842, 2 + 2.4842), abs=1e-4)
    assert (difference.over, len(difference.by_seed)) == ("seeds", 3)
    assert any("intervals are over seeds" in note for note in table.notes)
    assert gain_table(table).rows[0].cells[0].text == "+2.0 [−0.5, +4.5] s"


def test_only_what_holds_over_items_and_over_seeds_is_marked(tmp_path: Path) -> None:
    """Over items 11 more of 100 are right, always the same ones; over two seeds the gain is 20 and 2."""
    gains = {1: 20, 2: 2}
    lines = []
    for seed, gain in gains.items():
        for model, right in (("tlm", 40), ("weam", 40 + gain)):
            marks = "1" * right + "0" * (100 - right)
            lines.append(right_and_wrong(tmp_path, score(model, "de", 0.0, seed=seed), marks))
    both = _only(_compare(tmp_path, lines))
    difference = both.differences["weam", "de"]
    assert difference.items is not None
    assert difference.seeds is not None
    assert difference.items.excludes_zero
    assert not difference.seeds.excludes_zero
    assert not difference.clear
    assert not gain_table(both).rows[0].cells[0].clear
    alone = _only(_compare(tmp_path, lines[:2]))
    assert alone.differences["weam", "de"].clear
    assert gain_table(alone).rows[0].cells[0].clear


def test_seeds_that_are_not_shared_are_said(tmp_path: Path) -> None:
    lines = [score("tlm", "de", 40.0 + seed, seed=seed) for seed in (1, 2, 3)]
    lines += [score("weam", "de", 50.0 + 2 * seed, seed=seed) for seed in (2, 3, 4)]
    table = _only(_compare(tmp_path, lines))
    assert table.differences["weam", "de"].by_seed == {2: 12.0, 3: 13.0}
    assert any("weam and tlm have different seeds" in note for note in table.notes)


def test_a_difference_is_over_the_seeds_that_both_have(tmp_path: Path) -> None:
    """As while a study is extended by a seed: weam's fourth, a lucky one, has no tlm beside it yet."""
    right = {"tlm": {1: 49, 2: 50, 3: 51}, "weam": {1: 50, 2: 51, 3: 52, 4: 70}}
    lines = [
        right_and_wrong(tmp_path, score(model, "de", 0.0, seed=seed), "1" * number + "0" * (100 - number))
        for model, seeds in right.items()
        for seed, number in seeds.items()
    ]
    table = _only(_compare(tmp_path, lines))
    difference = table.differences["weam", "de"]
    assert difference.value == pytest.approx(1.0)
    assert difference.seeds is not None
    assert difference.items is not None
    assert difference.items.low <= 1.0 <= difference.items.high < 4.0
    assert table.scores["weam", "de"].mean == pytest.approx((50 + 51 + 52 + 70) / 4)


def test_without_a_common_seed_it_is_of_the_means(tmp_path: Path) -> None:
    lines = [score("tlm", "de", 40.0, seed=1), score("weam", "de", 45.0, seed=2)]
    table = _only(_compare(tmp_path, lines))
    assert table.differences["weam", "de"].value == pytest.approx(5.0)
    assert table.differences["weam", "de"].seeds is None
    assert any("weam and tlm share no seed" in note for note in table.notes)


def test_an_average_is_over_the_seeds_that_all_its_languages_have(tmp_path: Path) -> None:
    """As while a study is extended: the second seed's Spanish is not there yet. Figure and ± are of the same runs."""
    lines = [score("tlm", language, 40.0, seed=seed) for language in ("de", "es") for seed in (1, 2)]
    lines += [score("weam", "de", 50.0, seed=1), score("weam", "de", 90.0, seed=2), score("weam", "es", 60.0, seed=1)]
    table = _only(_compare(tmp_path, lines))
    assert table.scores["weam", AVERAGE].values == {1: 55.0}
    assert table.scores["weam", AVERAGE].mean == 55.0
    assert table.differences["weam", AVERAGE].value == 15.0
    assert "The languages of weam have different seeds: its average is over those that all have (1)." in table.notes
    assert not any("The languages of tlm" in note for note in table.notes)


def test_an_average_without_a_common_seed_is_of_the_means(tmp_path: Path) -> None:
    table = _only(_compare(tmp_path, [score("weam", "de", 50.0, seed=1), score("weam", "es", 60.0, seed=2)]))
    assert table.scores["weam", AVERAGE].mean == 55.0
    assert "The languages of weam share no seed: its average is the mean of their means." in table.notes


def test_missing_languages_are_named_and_left_out_of_the_average(tmp_path: Path) -> None:
    lines = [score("tlm", language, 50.0) for language in ("de", "es", "zh")]
    lines += [score("weam", language, 60.0) for language in ("de", "es")]
    comparison = _compare(tmp_path, [*lines, score("mlm", "de", 1.0, task="pawsx")])
    table = comparison.tables[0]
    assert table.common == ["de", "es"]
    assert table.missing == {"weam": ["zh"]}
    assert table.scores["tlm", AVERAGE].mean == 50.0
    assert "weam has no score for zh." in table.notes
    assert "The average is over the languages that all models have: de, es." in table.notes
    assert "No scores of mlm." in table.notes
    assert ("weam", "zh") not in table.differences
    summary = {row.name: [cell.text for cell in row.cells] for row in summary_table(comparison).rows}
    assert summary == {
        "xnli, accuracy": ["2 languages", "50.0", "60.0", "–"],
        "pawsx, accuracy": ["de", "–", "–", "1.0"],
    }
    assert "weam − tlm" in format_table(summary_gains(comparison))


def test_no_language_in_common_is_no_average(tmp_path: Path) -> None:
    lines = [score("tlm", "de", 50.0), score("tlm", "es", 50.0), score("weam", "zh", 60.0)]
    table = _only(_compare(tmp_path, lines))
    assert table.common == []
    assert table.rows == ["de", "es", "zh"]
    assert table.differences == {}
    assert "All models share fewer than two languages, so there is no average." in table.notes


def test_translated_test_sets_are_drawn_together(tmp_path: Path) -> None:
    """The same marks in two languages: the average's interval is as wide as one language's, not 1/√2 of it."""

    def interval(shift: int) -> tuple[float, float]:
        lines = []
        for model, marks in (("tlm", "1000" * 25), ("weam", "1100" * 25)):
            for language, start in (("de", 0), ("es", shift)):
                items = [{"id": start + k, "accuracy": 100.0 * int(mark)} for k, mark in enumerate(marks)]
                line = score(model, language, 100.0 * marks.count("1") / 100)
                lines.append(with_items(tmp_path, line, items))
        table = _only(_compare(tmp_path, lines))
        alone, average = (table.differences["weam", each].items for each in ("de", AVERAGE))
        assert alone is not None
        assert average is not None
        return alone.high - alone.low, average.high - average.low

    alone, together = interval(0)
    assert together == alone
    alone, apart = interval(1000)  # other ids, so drawn apart
    assert apart == pytest.approx(alone / 2**0.5, rel=0.2)


LANGUAGES = ("de", "es", "ru", "tr", "zh")
QUESTIONS = 120


def _average_width(folder: Path, task: str, item: Callable[[str, int], dict[str, Any]]) -> tuple[float, float]:
    """The widths of the interval of one language's difference and of that of the average, where a question is easy or
    hard in all languages alike."""
    lines = []
    for model, right in (("tlm", 4), ("weam", 7)):
        for language in LANGUAGES:
            items = [{**item(language, k), "f1": 100.0 * ((7 * k) % 12 < right)} for k in range(QUESTIONS)]
            value = sum(each["f1"] for each in items) / QUESTIONS
            lines.append(with_items(folder, score(model, language, value, task=task, metric="f1"), items))
    table = _only(_compare(folder, lines))
    alone, average = (table.differences["weam", each].items for each in ("de", AVERAGE))
    assert alone is not None
    assert average is not None
    return alone.high - alone.low, average.high - average.low


@pytest.mark.parametrize(
    ("task", "item"),
    [
        ("lareqa", lambda language, k: {"id": f"572a{k}_{language}", "cluster": f"572a{k}"}),
        ("xquad", lambda language, k: {"id": f"572a{k}"}),
        ("xnli", lambda language, k: {"id": k}),
        ("tatoeba", lambda language, k: {"id": (k + ord(language[0])) % QUESTIONS, "cluster": f"sentence {k}"}),
    ],
    ids=["lareqa", "xquad", "xnli", "tatoeba"],
)
def test_what_languages_share_is_drawn_together(
    tmp_path: Path, task: str, item: Callable[[str, int], dict[str, Any]]
) -> None:
    """The question is the unit, not the question in one language: else the average's interval is 1/√5 as wide."""
    alone, average = _average_width(tmp_path, task, item)
    assert average == pytest.approx(alone)


def test_questions_that_some_languages_share_are_drawn_together(tmp_path: Path) -> None:
    """As in MLQA: a language lacks every fifth question, each another one."""
    lines = []
    for model, right in (("tlm", 4), ("weam", 7)):
        for place, language in enumerate(LANGUAGES):
            items = [{"id": f"q{k}", "f1": 100.0 * ((7 * k) % 12 < right)} for k in range(QUESTIONS) if k % 5 != place]
            value = sum(each["f1"] for each in items) / len(items)
            lines.append(with_items(tmp_path, score(model, language, value, task="mlqa", metric="f1"), items))
    table = _only(_compare(tmp_path, lines))
    alone, average = (table.differences["weam", each].items for each in ("de", AVERAGE))
    assert alone is not None
    assert average is not None
    # Drawn apart it would be 0.45 of a language's. A language has 4/5 of all questions, so the average's is a bit less.
    assert 0.8 < (average.high - average.low) / (alone.high - alone.low) < 1


@pytest.mark.parametrize("task", ["udpos", "panx", "tydiqa", "bucc", "mewslix"])
def test_equal_numbers_of_unlike_items_are_drawn_apart(tmp_path: Path, task: str) -> None:
    alone, average = _average_width(tmp_path, task, lambda language, k: {"id": k})
    assert average == pytest.approx(alone / len(LANGUAGES) ** 0.5, rel=0.25)


def test_bold_exactly_where_p_is_below_five_percent(tmp_path: Path) -> None:
    """One difference after the other, from clear to none: 8 more of 100 are right, and 0 to 8 others are wrong."""
    seen = set()
    for wrong in range(9):
        lines = [
            right_and_wrong(tmp_path, score("tlm", "de", 0.0), "0" * 8 + "1" * wrong + "01" * 42 + "0" * (8 - wrong)),
            right_and_wrong(tmp_path, score("weam", "de", 0.0), "1" * 8 + "0" * wrong + "01" * 42 + "0" * (8 - wrong)),
        ]
        table = _only(_compare(tmp_path, lines))
        interval = table.differences["weam", "de"].items
        assert interval is not None
        assert interval.p is not None
        bold = bool(gain_table(table).rows[0].cells[0].clear)
        assert bold == (interval.p < 0.05) == interval.excludes_zero
        shown = interval_table(table).rows[0].cells
        assert bool(shown[1].clear) == (float(shown[2].text) < 0.05)
        seen.add(bold)
    assert seen == {True, False}


@pytest.mark.parametrize(
    ("part", "value"), [("data", "ffffffffffff"), ("scorer", "other"), ("split", "dev"), ("direction", "de>en")]
)
def test_unequal_signatures_are_refused(tmp_path: Path, part: str, value: str) -> None:
    lines = [score("tlm", "de", 50.0), score("weam", "es", 50.0)]
    other = score("weam", "de", 51.0)
    old = "|split:test|" if part == "split" else f"|{part}:"
    assert part == "direction" or old in other["signature"]
    other["signature"] = score("weam", "de", 51.0, **({} if part == "split" else {part: value}))["signature"]
    if part == "split":
        other["signature"] = other["signature"].replace("|split:test|", "|split:dev|")
    with pytest.raises(InputError, match=f"xnli de of tlm and of weam cannot be compared: their `{part}`") as error:
        _compare(tmp_path, [*lines, other])
    assert "scores.jsonl:1" in str(error.value)
    assert "scores.jsonl:3" in str(error.value)


def test_what_may_differ_is_said(tmp_path: Path) -> None:
    lines = [score("tlm", "de", 50.0, layer="8of12", v="0.1.0"), score("weam", "de", 50.0, layer="14of24", v="0.1.0")]
    notes = _only(_compare(tmp_path, lines)).notes
    assert "The compared models differ in layer: 8of12; 14of24." in notes
    assert not any("weam-fairseq" in note for note in notes)


def test_trainings_are_tables_of_their_own(tmp_path: Path) -> None:
    zero_shot = [score("tlm", each, 50.0, train="multinli:en:0123456789ab") for each in ("en", "de", "es")]
    translated = [
        score("tlm", each, 60.0, train=f"multinli:{each}:{code * 12}") for each, code in (("de", "a"), ("es", "b"))
    ]
    first, second = _compare(tmp_path, [*zero_shot, *translated]).tables
    assert (first.title, first.languages) == ("xnli, accuracy", ["en", "de", "es"])
    assert second.title == "xnli, accuracy, trained on translations"
    assert second.languages == ["de", "es", "en"]
    assert second.scores["tlm", AVERAGE].mean == pytest.approx(170 / 3)


def test_pairs_of_languages_never_go_into_an_average_with_languages(tmp_path: Path) -> None:
    lines = [score("tlm", each, 50.0, task="mlqa", metric="f1") for each in ("en", "de", "en-de", "de-en")]
    tables = _compare(tmp_path, lines).tables
    assert [table.languages for table in tables] == [["en", "de"], ["en-de", "de-en"]]
    assert [table.title for table in tables] == ["mlqa, f1", "mlqa, f1, pairs of languages"]


def test_splits_are_told_apart_by_their_titles(tmp_path: Path) -> None:
    lines = [score("tlm", "de", 50.0, split=split) for split in ("dev", "test")]
    assert [table.title for table in _compare(tmp_path, lines).tables] == [
        "xnli, accuracy, dev",
        "xnli, accuracy, test",
    ]


def test_checkpoints_behind_a_name(tmp_path: Path) -> None:
    lines = [score("tlm", "de", 50.0, seed=seed) for seed in (1, 2)]
    lines += [score("weam", "de", 50.0, seed=seed, checkpoint="one") for seed in (1, 2)]
    lines += [score("mlm", "de", 50.0, checkpoint="one"), score("mlm", "es", 50.0, checkpoint="two")]
    said = _compare(tmp_path, lines).checkpoints
    assert "2 checkpoints for 2 seeds, so ± is over trainings (seed 1: tlm-1; seed 2: tlm-2)" in said["tlm"]
    assert said["weam"] == "one checkpoint, one; its seeds differ only in fine-tuning or in the drawing of data"
    assert said["mlm"].startswith("several checkpoints have this name and the same seed (seed 1: one, two)")


def test_items_of_another_run_are_refused(tmp_path: Path) -> None:
    line = right_and_wrong(tmp_path, score("tlm", "de", 0.0), "1000")
    with pytest.raises(InputError, match=r"gives accuracy 25\.0000, but .*scores\.jsonl:1 says 26\.0000"):
        _compare(tmp_path, [{**line, "value": 26.0}])


def test_models_with_other_items_are_refused(tmp_path: Path) -> None:
    lines = [
        right_and_wrong(tmp_path, score("tlm", "de", 0.0), "1000"),
        right_and_wrong(tmp_path, score("weam", "de", 0.0), "10001"),
    ]
    with pytest.raises(InputError, match=r"has 5 items and .* 4, and '4' is in one of them alone"):
        _compare(tmp_path, lines)


def test_items_for_one_model_alone_fall_back_on_seeds(tmp_path: Path) -> None:
    lines = [right_and_wrong(tmp_path, score("tlm", "de", 0.0, seed=seed), "1000") for seed in (1, 2)]
    lines += [score("weam", "de", 50.0 + seed, seed=seed) for seed in (1, 2)]
    table = _only(_compare(tmp_path, lines))
    assert table.differences["weam", "de"].over == "seeds"
    assert any(note.startswith("Some item files of weam are missing") for note in table.notes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "must contain items"),
        ("[1]\n", "items.jsonl:1 must be an object, but is a list"),
        ("{}\n", "items.jsonl:1: every item must have an id"),
        ('{"id": 1, "accuracy": 0.0}\n{"id": 1, "accuracy": 0.0}\n', "items.jsonl:2: item 1 is repeated"),
        ('{"id": 1, "accuracy": 0.0}\n{"id": 2}\n', "every item must have a number for accuracy"),
        ('{"id": 1, "accuracy": "x"}\n', "every item must have a number for accuracy"),
    ],
)
def test_malformed_items(tmp_path: Path, content: str, message: str) -> None:
    line = right_and_wrong(tmp_path, score("tlm", "de", 0.0), "1000")
    (tmp_path / line["detail"]["items"]).write_text(content)
    with pytest.raises(InputError, match=message):
        _compare(tmp_path, [line])


def test_the_order_of_lines_and_files_changes_no_interval(tmp_path: Path) -> None:
    lines = [
        right_and_wrong(tmp_path, score(model, "de", 0.0, seed=seed), marks * 10)
        for model, marks in (("tlm", "10010"), ("weam", "11010"))
        for seed in (1, 2)
    ]
    there = _only(_compare(tmp_path, lines)).differences["weam", "de"]
    back = _only(_compare(tmp_path, lines[::-1])).differences["weam", "de"]
    assert there.items is not None
    assert there == back
    other = _only(_compare(tmp_path, lines, seed=2)).differences["weam", "de"]
    assert other.items != there.items
