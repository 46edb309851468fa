"""The main table: what is compared, what is marked, and what it is read against."""

import json
from pathlib import Path

import pytest

from weam_fairseq.report.run_folder import read_run
from weam_fairseq.report.table import data_table, format_text, loss_table, main_table


def _edit_scores(run_dir: Path, change: dict[tuple[str, str, str], dict[str, object] | None]) -> None:
    """Changes the scores of (model, task, language); None removes them."""
    file = run_dir / "scores.jsonl"
    kept = []
    for line in file.read_text(encoding="utf-8").splitlines():
        score = json.loads(line)
        key = (score["model"], score["task"], score["language"])
        if change.get(key, {}) is not None:
            kept.append({**score, **(change.get(key) or {})})
    file.write_text("".join(json.dumps(score) + "\n" for score in kept), encoding="utf-8")


def test_columns_rows_and_the_best(run_dir: Path) -> None:
    table = main_table(read_run(run_dir))
    assert [column.language for column in table.columns] == [*["en-de", "en-es", "en-zh"] * 2, "en", "de", "es", "zh"]
    assert len({column.group for column in table.columns}) == 3
    rows = {row.name: row for row in table.rows}
    assert list(rows) == [
        *["base", "mlm", "tlm", "weam", "shuffled"],
        *[
            "shared pieces alone",
            "unigram bound",
            "weam − tlm",
            "weam − shuffled",
            "decisions (n)",
            "sampling error, 95 %",
        ],
    ]
    assert all(cell.best for cell in rows["weam"].cells)
    assert not any(cell.best for name in rows if name != "weam" for cell in rows[name].cells)
    assert rows["weam"].cells[0].text == "39.0"
    assert rows["weam"].cells[0].note == "en>de 40.0, de>en 38.0, layer 3, n 248"
    assert [cell.text for cell in rows["unigram bound"].cells][5:8] == ["–", "24.1", "25.1"]
    assert [cell.text for cell in rows["shared pieces alone"].cells][:2] == ["21.5", "20.5"]
    assert rows["weam − tlm"].cells[0].text == "+6.0"
    # 1.96 x sqrt(39 x 61 / 248) = 6.07, the widest of the column's five figures
    assert rows["sampling error, 95 %"].cells[0].text == "± 6.1"


def test_equal_figures_are_equally_good_and_differences_have_a_sign(run_dir: Path) -> None:
    # 39.04 and 39.0 print alike, so both are marked; the difference prints as nothing, without a sign.
    _edit_scores(run_dir, {("tlm", "sentence-retrieval", "en-de"): {"value": 39.04}})
    _edit_scores(run_dir, {("tlm", "sentence-retrieval", "en-es"): {"value": 40.0}})
    rows = {row.name: row for row in main_table(read_run(run_dir)).rows}
    assert [rows[name].cells[0].best for name in ("tlm", "weam", "mlm")] == [True, True, False]
    assert [rows[name].cells[1].best for name in ("tlm", "weam")] == [True, False]
    assert [cell.text for cell in rows["weam − tlm"].cells][:3] == ["0.0", "−4.0", "+6.0"]


def test_what_was_not_measured_is_a_dash(run_dir: Path) -> None:
    _edit_scores(run_dir, {("weam", "sentence-retrieval", "en-de"): None})
    rows = {row.name: row for row in main_table(read_run(run_dir)).rows}
    assert (rows["weam"].cells[0].text, rows["weam"].cells[0].best) == ("–", False)
    assert rows["shuffled"].cells[0].best
    assert rows["weam − tlm"].cells[0].text == "–"


def test_zero_can_be_the_best_and_negative_figures_are_no_trap(run_dir: Path) -> None:
    keys = [(model, "sentence-retrieval", "en-de") for model in ("base", "mlm", "tlm", "weam", "shuffled")]
    _edit_scores(run_dir, {key: {"value": 0.0} for key in keys})
    rows = main_table(read_run(run_dir)).rows
    assert all(row.cells[0].best for row in rows[:5])


def test_several_trainings_are_averaged_and_counted(run_dir: Path) -> None:
    file = run_dir / "scores.jsonl"
    again = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    for score in again:
        score.update(seed=2, checkpoint=score["checkpoint"][::-1] + "x", value=score["value"] + 2)
    with file.open("a", encoding="utf-8") as out:
        out.writelines(json.dumps(score) + "\n" for score in again)
    table = main_table(read_run(run_dir))
    assert table.trainings == 2
    assert table.rows[3].cells[0].text == "40.0"


def test_a_task_that_the_table_does_not_know_gets_its_columns(run_dir: Path) -> None:
    with (run_dir / "scores.jsonl").open("a", encoding="utf-8") as out:
        score = json.loads((run_dir / "scores.jsonl").read_text(encoding="utf-8").splitlines()[0])
        out.write(json.dumps({**score, "task": "xnli", "metric": "accuracy", "language": "de", "detail": {}}) + "\n")
    assert main_table(read_run(run_dir)).columns[-1][:2] == ("xnli, accuracy", "de")


def test_text_of_the_main_table(run_dir: Path) -> None:
    text = format_text(main_table(read_run(run_dir)))
    assert "A  Sentence retrieval, accuracy@1" in text
    line = next(line for line in text.splitlines() if line.startswith("weam "))
    assert line.split()[1:4] == ["39.0*", "36.0*", "33.0*"]
    assert max(map(len, text.splitlines())) <= 120


def test_data_and_loss_tables(run_dir: Path) -> None:
    run = read_run(run_dir)
    assert run.manifest is not None
    data = data_table(run.manifest)
    assert dict(zip(data.head, data.rows[0], strict=True)) == {
        "pair": "en-de",
        "read": "9,734",
        "train": "9,034",
        "valid": "500",
        "dropped: empty side": "12",
        "dropped: over 128 pieces": "31",
        "dropped: in an excluded file": "157",
        "word links": "45,170",
        "piece links": "63,238",
        "pieces with a link": "en 71.0%, de 68.0%",
    }
    losses = loss_table(run)
    assert losses.head[:4] == ["model", "updates", "en-de mp", "en-de cp"]
    assert [row[:2] for row in losses.rows] == [["base", "1,200"], *([name, "500"] for name in run.models[1:])]


@pytest.mark.parametrize("part", ["dropped", "linked_pieces", "word_links"])
def test_a_manifest_without_a_part_shows_a_dash_or_nothing(run_dir: Path, part: str) -> None:
    file = run_dir / "data-bin" / "manifest.json"
    manifest = json.loads(file.read_text())
    for pair in manifest["pairs"].values():
        del pair[part]
    assert len(data_table(manifest).rows) == 3
