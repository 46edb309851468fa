"""What the plots show, and when there is none."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.report.studies import LANGUAGES, PAIR_SETS, cell, grid, write_study
from weam_fairseq.common.training_log import Curve
from weam_fairseq.report.content import Content, gather
from weam_fairseq.report.plots.score_by_cost import CostPlot, compact, log_ticks
from weam_fairseq.report.plots.style import Plots, looks_of
from weam_fairseq.report.study_folder import read_study
from weam_fairseq.report.study_tables import cost_table


def _content(path: Path) -> Content:
    study = read_study(path)
    return gather(study, study.title, [], 200, 1)


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Content:
    bases = [
        cell("base", PAIR_SETS[3], arch, 1, cell=f"base.{arch}", model=f"base · {arch}", train_log=None, group="bases")
        for arch in ("weam_tiny", "weam_mini")
    ]
    return _content(write_study(tmp_path_factory.mktemp("points") / "study", [*bases, *grid(seeds=(1, 2))]))


def test_the_headline_is_every_models_average_gain(content: Content) -> None:
    (plot,) = content.plots["headline"].plots
    assert [panel.task.split(",")[0] for panel in plot.panels] == ["tatoeba", "word-alignment"]
    assert plot.rows[:3] == ["weam, 1 pair · weam_tiny", "shuffled, 1 pair · weam_tiny", "weam, 3 pairs · weam_tiny"]
    weam, shuffled = plot.panels[0].points[2], plot.panels[0].points[3]
    assert weam.gain == pytest.approx(13.75)
    assert weam.low is not None
    assert weam.low <= weam.gain <= weam.high
    assert (shuffled.gain, shuffled.clear) == (0.0, False)


def test_gains_against_the_number_of_pairs(content: Content) -> None:
    assert content.plots["gain_by_pairs"].left_out == []
    assert [plot.setting for plot in content.plots["gain_by_pairs"].plots] == ["weam_tiny", "weam_mini"]
    panels = content.plots["gain_by_pairs"].plots[0].panels
    assert [(panel.task.split(",")[0], panel.average) for panel in panels] == [
        (task, average) for task in ("tatoeba", "word-alignment") for average in ("average", "seen", "unseen")
    ]
    for panel, gains in zip(panels, [(6.25, 13.75), (10, 15), (5, 10), (10, 20), (10, 20), (10, 20)], strict=True):
        assert [line.method for line in panel.lines] == ["weam", "shuffled"]
        points = panel.lines[0].points
        assert [point.pairs for point in points] == [1, 3]
        assert [point.gain for point in points] == pytest.approx(gains)
        assert all(point.low is not None and point.low <= point.gain <= point.high for point in points)
        assert all(list(point.seeds) == [1, 2] for point in points)


def test_a_log_line_without_a_rare_pair_is_kept(tmp_path: Path) -> None:
    path = write_study(tmp_path / "study", [cell("tlm", PAIR_SETS[3], "weam_tiny", 1)])
    log = next(path.glob("**/train.log"))
    lines = log.read_text().splitlines()
    rare = [re.sub(r'"en-zh:mp_loss": "[^"]*", |, "en-zh:mp_loss": "[^"]*"', "", line) for line in lines[1::2]]
    assert all("en-zh:mp_loss" not in line for line in rare if "train_inner" in line)
    lines[1::2] = rare
    log.write_text("\n".join(lines))
    plot = _content(path).plots["losses"].plots[0]
    train = plot.panels[0].lines[0].train
    assert train.x == list(range(20, 401, 20))  # a point is the mean of two lines
    of_two_pairs, of_three = 5.95 + 0.5, 5.9 + 1
    assert train.y[0] == pytest.approx((of_two_pairs + of_three) / 2)


def test_gains_against_the_architecture(content: Content) -> None:
    assert content.plots["gain_by_size"].left_out == []
    plots = content.plots["gain_by_size"].plots
    assert [(plot.setting, plot.archs) for plot in plots] == [
        (pairs, ["weam_tiny", "weam_mini"]) for pairs in ("1 pair", "3 pairs")
    ]
    points = plots[1].panels[0].lines[0].points
    assert [(point.arch, plots[1].place(point)) for point in points] == [("weam_tiny", 0), ("weam_mini", 1)]
    by_pairs = [plot.panels[0].lines[0].points[1] for plot in content.plots["gain_by_pairs"].plots]
    assert points == by_pairs  # the same models, ordered otherwise


def test_scores_against_cost(content: Content) -> None:
    assert [plot.setting for plot in content.plots["score_by_cost"].plots] == ["1 pair", "3 pairs"]
    panel = content.plots["score_by_cost"].plots[0].panels[0]
    assert [line.method for line in panel.lines] == ["base", "tlm", "weam", "shuffled"]
    weam = panel.lines[2].points
    assert [point.arch for point in weam] == ["weam_tiny", "weam_mini"]
    assert [point.parameters for point in weam] == [1_000_000, 4_000_000]
    assert [point.seconds for point in weam] == [600 + 300, 600 + 1200]  # the base's, and 1.5 times TLM's
    assert [point.pieces for point in weam] == [400_000, 400_000]
    assert [point.score for point in weam] == pytest.approx([32.5 + 6.25, 52.5 + 6.25])


def test_many_tasks_are_drawn_in_parts(content: Content) -> None:
    plot = content.plots["score_by_cost"].plots[0]
    many = CostPlot(plot.setting, [plot.panels[0]] * 9)
    parts = list(Plots([many, plot], []).figures())
    assert [len(part.panels) for part in parts] == [4, 4, 1, 2]
    assert [panel for part in parts[:3] for panel in part.panels] == many.panels


def test_maps_mark_what_was_seen(content: Content) -> None:
    map_ = content.plots["gain_by_language"].plots[0]
    assert map_.columns == [*LANGUAGES, "average", "seen", "unseen"]
    assert [(row.method, row.setting) for row in map_.rows[:4]] == [
        ("weam", f"{pairs} · {arch}") for arch in ("weam_tiny", "weam_mini") for pairs in ("1 pair", "3 pairs")
    ]
    one, three = map_.rows[0], map_.rows[1]
    assert [each.seen for each in one.cells] == [True, False, False, False, None, None, None]
    assert [each.seen for each in three.cells] == [True, True, True, False, None, None, None]
    assert [each.gain for each in one.cells] == pytest.approx([10, 5, 5, 5, 6.25, 10, 5])


def test_losses_are_means_over_pairs_and_over_seeds(content: Content) -> None:
    multilingual, cross_lingual = content.plots["losses"].plots
    assert (multilingual.loss, cross_lingual.loss) == ("mp_loss", "cp_loss")
    three = next(panel for panel in cross_lingual.panels if panel.setting == "3 pairs · weam_tiny")
    weam = next(line for line in three.lines if line.method == "weam")
    # 6 − update / 200, a nat more for each further pair, half a nat for the exchange, a tenth for seed 2.
    assert weam.seeds[1] == Curve([100, 200, 300, 400], pytest.approx([7.0, 6.5, 6.0, 5.5]))
    assert weam.mean == Curve([100, 200, 300, 400], pytest.approx([7.05, 6.55, 6.05, 5.55]))
    # Training is logged every 10 updates, and two lines make one point.
    assert weam.train.x == list(range(20, 401, 20))
    assert weam.train.y[:2] == pytest.approx([7.475, 7.375])
    tlm = next(line for line in three.lines if line.method == "tlm")
    assert tlm.train == Curve([], [])
    assert content.plots["losses"].left_out == []


def test_losses_of_each_pair_of_a_setting_with_several(content: Content) -> None:
    plots = content.plots["losses_by_pair"].plots
    settings = [f"3 pairs · {arch}" for arch in ("weam_tiny", "weam_mini")]
    assert [(plot.loss, plot.panels[0].setting) for plot in plots] == [
        (loss, setting) for setting in settings for loss in ("mp_loss", "cp_loss")
    ]
    assert [panel.pair for panel in plots[0].panels] == ["en-de", "en-es", "en-zh"]
    for number, panel in enumerate(plots[1].panels):
        weam = next(line for line in panel.lines if line.method == "weam")
        assert weam.mean == Curve(
            [100, 200, 300, 400], pytest.approx([number + each for each in (6.05, 5.55, 5.05, 4.55)])
        )
        assert weam.train.y[0] == pytest.approx(number + 6.475)


def test_a_loss_that_only_the_logs_name_is_shown(tmp_path: Path) -> None:
    path = write_study(tmp_path / "study", grid(["tlm", "weam"], (1,), ["weam_tiny"]))
    for log in path.glob("cells/*/train.log"):
        log.write_text(log.read_text(encoding="utf-8").replace("cp_loss", "new_loss"), encoding="utf-8")
    plots = _content(path).plots["losses"].plots
    assert [plot.caption for plot in plots] == ["Multilingual prediction (mp_loss).", "new_loss."]


def test_costs_beside_the_baseline(content: Content) -> None:
    table = cost_table(content.results.study, content.results.positions)
    rows = {row.name: [each.text for each in row.cells] for row in table.rows}
    assert table.head[1:6] == ["parameters", "updates", "pieces", "seconds", "peak memory, MiB"]
    assert rows["tlm, 1 pair · weam_tiny"][:5] == ["1,000,000", "400", "100,000", "200.0", "512"]
    assert rows["weam, 1 pair · weam_tiny"][:5] == ["1,000,000", "400", "100,000", "300.0 (×1.50)", "512"]


def test_one_number_of_pairs_and_one_size_give_sentences(tmp_path: Path) -> None:
    cells = [cell(objective, PAIR_SETS[3], "weam_tiny", 1, train_log=None) for objective in ("tlm", "weam")]
    content = _content(write_study(tmp_path / "study", cells))
    kinds = ("gain_by_pairs", "gain_by_size", "score_by_cost", "losses")
    assert [content.plots[kind].plots for kind in kinds] == [[], [], [], []]
    assert content.plots["gain_by_pairs"].left_out == ["No plot for weam_tiny: all models have 3 pairs."]
    for kind in ("gain_by_size", "score_by_cost"):
        assert content.plots[kind].left_out == ["No plot for 3 pairs: all models have the architecture weam_tiny."]
    assert content.plots["losses"].left_out == ["No plot of losses: no training log contains any."]


def test_a_lost_log_is_named(tmp_path: Path) -> None:
    path = write_study(tmp_path / "study", grid(["tlm", "weam"], (1, 2), ["weam_tiny"]))
    (path / "cells" / "weam.1-pair.weam_tiny.s2" / "train.log").unlink()
    losses = _content(path).plots["losses"]
    assert losses.left_out == ["Training logs are missing for: weam.1-pair.weam_tiny.s2."]
    weam = next(line for line in losses.plots[0].panels[0].lines if line.method == "weam")
    assert list(weam.seeds) == [1]


@given(st.floats(1e-3, 1e12), st.floats(1.3, 1e6))
def test_ticks_are_few_round_numbers_inside(low: float, ratio: float) -> None:
    ticks = log_ticks(low, low * ratio)
    assert 2 <= len(ticks) <= 8
    assert all(low * 0.999 <= tick <= low * ratio * 1.001 for tick in ticks)
    assert len({compact(tick) for tick in ticks}) == len(ticks)


@pytest.mark.parametrize(
    ("value", "text"), [(950, "950"), (999.9, "1k"), (1234, "1.23k"), (11_170_000, "11.2M"), (2e9, "2G"), (0.5, "0.5")]
)
def test_compact_numbers(value: float, text: str) -> None:
    assert compact(value) == text


def test_no_two_methods_look_alike() -> None:
    markers = [look.marker for look in looks_of(f"method {number}" for number in range(8)).values()]
    assert len(set(markers)) == len(markers)
