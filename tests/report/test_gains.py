"""Gains over the baseline of the same setting, against numbers worked out by hand from studies.py."""

from pathlib import Path

import pytest

from tests.report.studies import PAIR_SETS, Line, cell, change_lines, grid, write_study
from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.bootstrap import Difference, Interval
from weam_fairseq.report.comparison import compare
from weam_fairseq.report.gains import SEEN, TURNED, UNSEEN, TaskGains, measure_gains, measure_growth
from weam_fairseq.report.positions import find_positions
from weam_fairseq.report.score_files import ScoreSet
from weam_fairseq.report.study_folder import read_study
from weam_fairseq.report.task_table import AVERAGE

WEAM = {size: f"weam · {size} pair{'' if size == 1 else 's'} · weam_tiny" for size in (1, 3)}
RESAMPLES = 200


def _tasks(path: Path, metrics: tuple[str, ...] = (), baseline: str = "tlm") -> list[TaskGains]:
    study = read_study(path)
    return measure_gains(study, find_positions(study.cells, baseline), metrics, RESAMPLES, 1)


def _gain(task: TaskGains, model: str, language: str) -> Difference:
    gain = task.gain(model, language)
    assert gain is not None, (model, language)
    return gain


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("gains") / "study")


@pytest.fixture(scope="module")
def tasks(study: Path) -> list[TaskGains]:
    return _tasks(study)


def test_gains_by_language_and_on_average(tasks: list[TaskGains]) -> None:
    tatoeba = tasks[0]
    assert (tatoeba.title, tatoeba.common) == ("tatoeba, accuracy", ["de", "es", "zh", "hi"])
    # One sentence of 20 is 5 points: 1 more for WEAM, 1 for 3 pairs, 1 where the language is seen.
    expected = {
        (1, "de"): 10.0,
        (1, "es"): 5.0,
        (1, "hi"): 5.0,
        (1, AVERAGE): (10 + 5 + 5 + 5) / 4,
        (1, SEEN): 10.0,
        (1, UNSEEN): 5.0,
        (3, "de"): 15.0,
        (3, "hi"): 10.0,
        (3, AVERAGE): (15 + 15 + 15 + 10) / 4,
        (3, SEEN): 15.0,
        (3, UNSEEN): 10.0,
    }
    for (size, language), value in expected.items():
        gain = _gain(tatoeba, WEAM[size], language)
        assert gain.value == pytest.approx(value)
        # Seed 2 finds one more with every method, so that no seed differs from another.
        assert gain.by_seed == pytest.approx({1: value, 2: value, 3: value})
        assert gain.seeds == pytest.approx(Interval(value, value, None))
        assert gain.over == "items"
    assert tatoeba.cells[WEAM[1], SEEN].over == ("de",)
    assert tatoeba.cells[WEAM[3], SEEN].over == ("de", "es", "zh")
    assert tatoeba.cells[WEAM[3], UNSEEN].over == ("hi",)


def test_figures_are_means_over_seeds(tasks: list[TaskGains]) -> None:
    score = tasks[0].cells[WEAM[1], "de"].score
    assert score.values == {1: 40.0, 2: 45.0, 3: 40.0}
    assert score.mean == pytest.approx(125 / 3)
    assert score.sd == pytest.approx((25 / 3) ** 0.5)


def test_less_of_an_error_rate_is_a_gain(tasks: list[TaskGains]) -> None:
    words = tasks[1]
    assert words.lower_is_better
    assert TURNED in words.notes
    assert words.cells["tlm · 1 pair · weam_tiny", AVERAGE].score.mean == pytest.approx(50.0)
    for size, error in ((1, 40.0), (3, 30.0)):
        assert words.cells[WEAM[size], AVERAGE].score.mean == pytest.approx(error)
        gain = _gain(words, WEAM[size], AVERAGE)
        assert gain.value == pytest.approx(50.0 - error)
        # Every sentence has as many links more, whichever are drawn.
        assert gain.items is not None
        assert gain.items[:2] == pytest.approx((50.0 - error, 50.0 - error))
        assert gain.clear
    assert words.cells[WEAM[1], SEEN].over == ("de-en",)
    assert words.cells[WEAM[1], UNSEEN].over == ("en-hi",)


def test_a_method_that_changes_nothing_gains_nothing(tasks: list[TaskGains]) -> None:
    for task in tasks:
        gain = _gain(task, "shuffled · 3 pairs · weam_mini", AVERAGE)
        assert gain.value == pytest.approx(0.0)
        assert not gain.clear


def test_intervals_are_those_of_the_comparison(study: Path, tasks: list[TaskGains]) -> None:
    scores = read_study(study).scores
    names = {WEAM[3], "tlm · 3 pairs · weam_tiny"}
    pair = ScoreSet([each for each in scores.entries if each.score.model in names], scores.files, 0)
    table = compare(pair, "tlm · 3 pairs · weam_tiny", resamples=RESAMPLES).tables[0]
    for language in ("de", "hi", AVERAGE):
        difference = table.differences[WEAM[3], language]
        gain = _gain(tasks[0], WEAM[3], language)
        assert (gain.value, gain.items, gain.seeds) == (difference.value, difference.items, difference.seeds)


def test_the_baseline_and_models_without_one_have_no_gain(tmp_path: Path) -> None:
    cells = [*grid(["tlm", "weam"], (1, 2), ["weam_tiny"]), cell("weam", PAIR_SETS[1], "weam_mini", 1)]
    task = _tasks(write_study(tmp_path / "study", cells))[0]
    assert task.gain("tlm · 1 pair · weam_tiny", AVERAGE) is None
    assert task.gain("weam · 1 pair · weam_mini", AVERAGE) is None
    assert task.cells["weam · 1 pair · weam_mini", AVERAGE].score.mean == pytest.approx((12 + 11 * 3) * 5 / 4)
    assert _gain(task, WEAM[1], AVERAGE).value == pytest.approx(6.25)


def test_averages_of_all_settings_go_over_the_same_languages(tmp_path: Path) -> None:
    path = write_study(tmp_path / "study", grid(["tlm", "weam"], (1, 2), ["weam_tiny"]))

    def lose_chinese(lines: list[Line]) -> None:
        lost = [each for each in lines if each["model"] == WEAM[1] and each["language"] == "zh"]
        assert len(lost) == 2
        for each in lost:
            lines.remove(each)

    change_lines(path / "scores.jsonl", lose_chinese)
    task = _tasks(path)[0]
    assert task.common == ["de", "es", "hi"]
    assert task.cells[WEAM[3], AVERAGE].over == ("de", "es", "hi")
    assert _gain(task, WEAM[3], AVERAGE).value == pytest.approx((15 + 15 + 10) / 3)
    assert _gain(task, WEAM[3], "zh").value == pytest.approx(15.0)
    assert f"{WEAM[1]} has no score for zh." in task.notes


def test_a_missing_seed_is_said_with_its_setting(tmp_path: Path) -> None:
    cells = [
        each for each in grid(["tlm", "weam"], archs=["weam_tiny"]) if (each["model"], each["seed"]) != (WEAM[3], 3)
    ]
    task = _tasks(write_study(tmp_path / "study", cells))[0]
    assert any(note.startswith("3 pairs · weam_tiny: ") and "different seeds" in note for note in task.notes)
    assert list(_gain(task, WEAM[3], "de").by_seed) == [1, 2]


def test_without_items_intervals_are_over_seeds(tmp_path: Path) -> None:
    path = write_study(tmp_path / "study", grid(["tlm", "weam"], (1, 2), ["weam_tiny"]))
    change_lines(path / "scores.jsonl", lambda lines: [each["detail"].clear() for each in lines])
    gain = _gain(_tasks(path)[1], WEAM[1], "de-en")
    assert gain.items is None
    assert gain.over == "seeds"
    assert gain.interval == pytest.approx(Interval(10.0, 10.0, None))


def test_one_metric_or_an_unknown_one(study: Path) -> None:
    assert [task.group.metric for task in _tasks(study, ("aer",))] == ["aer"]
    with pytest.raises(InputError, match="Did you mean 'aer'"):
        _tasks(study, ("aerr",))


def test_cells_measured_on_other_data_are_not_compared(tmp_path: Path) -> None:
    path = write_study(tmp_path / "study", grid(["tlm", "weam"], (1,), ["weam_tiny"]))

    def change(lines: list[Line]) -> None:
        for each in lines:
            if each["model"] in (WEAM[3], WEAM[3].replace("weam ·", "tlm ·")):
                each["signature"] = each["signature"].replace("data:0f3a5c7e9b1d", "data:ffffffffffff")

    change_lines(path / "scores.jsonl", change)
    with pytest.raises(InputError, match="cannot be compared: their `data`"):
        _tasks(path)


def test_growth_is_the_difference_of_two_gains(study: Path, tasks: list[TaskGains]) -> None:
    read = read_study(study)
    growths = measure_growth(read, find_positions(read.cells, "tlm"), tasks, RESAMPLES, 1)
    by_name = {(each.method, each.what): each for each in growths}
    assert list(by_name) == [
        (method, what)
        for whats in (
            ("weam_tiny: 3 pairs − 1 pair", "weam_mini: 3 pairs − 1 pair"),
            ("1 pair: weam_mini − weam_tiny", "3 pairs: weam_mini − weam_tiny"),
        )
        for what in whats
        for method in ("weam", "shuffled")
    ]
    grown = by_name["weam", "weam_tiny: 3 pairs − 1 pair"].gains
    # 13.75 − 6.25 points of Tatoeba, and a tenth of all links.
    tatoeba, words = grown["tatoeba, accuracy"], grown["word-alignment, aer, pairs of languages"]
    assert tatoeba.value == pytest.approx(7.5)
    assert tatoeba.by_seed == pytest.approx({1: 7.5, 2: 7.5, 3: 7.5})
    assert tatoeba.seeds == pytest.approx(Interval(7.5, 7.5, None))
    assert tatoeba.items is not None
    assert tatoeba.items.low <= 7.5 <= tatoeba.items.high
    assert words.value == pytest.approx(10.0)
    assert words.items is not None
    assert words.items[:2] == pytest.approx((10.0, 10.0))
    assert words.clear
    same = by_name["weam", "3 pairs: weam_mini − weam_tiny"].gains["tatoeba, accuracy"]
    assert same.value == pytest.approx(0.0)
    assert not same.clear


def test_two_gains_may_be_clear_and_their_growth_not(tmp_path: Path) -> None:
    path = write_study(tmp_path / "study", grid(["tlm", "weam"], (1, 2, 3), ["weam_tiny"]))

    def equal_but_for_one_seed(lines: list[Line]) -> None:
        lines[:] = [each for each in lines if each["task"] == "word-alignment" and each["language"] == "de-en"]
        for each in lines:
            each["detail"] = {}
            each["value"] = (
                50.0 if each["model"].startswith("tlm") else 40.0 - (each["model"] == WEAM[3]) * each["seed"]
            )

    change_lines(path / "scores.jsonl", equal_but_for_one_seed)
    read = read_study(path)
    places = find_positions(read.cells, "tlm")
    found = measure_gains(read, places, (), RESAMPLES, 1)
    assert all(_gain(found[0], WEAM[size], AVERAGE).clear for size in (1, 3))
    growth = measure_growth(read, places, found, RESAMPLES, 1)[0].gains[found[0].title]
    assert growth.by_seed == pytest.approx({1: 1.0, 2: 2.0, 3: 3.0})
    assert growth.items is None
    # Student's interval of 1, 2, 3: 2 ± 4.3027 / √3.
    assert growth.seeds == pytest.approx(Interval(2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5, None), abs=1e-4)
    assert not growth.clear


@pytest.mark.parametrize("pairs", [[], PAIR_SETS[3]], ids=["published", "trained once"])
def test_a_single_base_is_compared_with_every_seed(tmp_path: Path, pairs: list[str]) -> None:
    base = cell("base", pairs, "weam_tiny", 1)
    path = write_study(tmp_path / "study", [base, *grid(("weam",), archs=("weam_tiny",))], baseline="base")
    gain = _gain(_tasks(path, baseline="base")[0], WEAM[1], "de")
    # The base finds 6 of 20; WEAM finds 8, and 9 with seed 2.
    assert gain.by_seed == {1: 10.0, 2: 15.0, 3: 10.0}
    assert gain.all_shared
    assert gain.value == pytest.approx(35 / 3)
    assert gain.seeds is not None
    assert gain.items is not None
    assert gain.items.low < gain.value < gain.items.high
