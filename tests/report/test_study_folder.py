"""A study's folder: what is read, what is counted as missing, and what is refused in one sentence."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.report.studies import PAIR_SETS, cell, change_lines, grid, write_study
from weam_fairseq.common.errors import InputError
from weam_fairseq.report.notes import progress
from weam_fairseq.report.positions import find_positions
from weam_fairseq.report.study_folder import is_study_folder, read_study


def _said(path: Path) -> str:
    study = read_study(path)
    return " ".join(progress(study, find_positions(study.cells, study.baseline)))


def _small() -> list[dict[str, Any]]:
    return grid(["tlm", "weam"], seeds=(1, 2), archs=["weam_tiny"])


def test_all_is_read(tmp_path: Path) -> None:
    cells = _small()
    cells[1]["threads"] = "1"
    study = read_study(write_study(tmp_path / "study", cells))
    assert is_study_folder(study.path)
    assert not is_study_folder(tmp_path)
    assert [each.name for each in study.cells][:2] == ["tlm.1-pair.weam_tiny.s1", "tlm.1-pair.weam_tiny.s2"]
    first = study.cells[0]
    assert (first.model, first.seed, first.objective, first.pairs) == ("tlm · 1 pair · weam_tiny", 1, "tlm", ("en-de",))
    assert first.cost.base_pieces == 300_000
    assert (first.machine, study.cells[1].machine) == ("a machine, 2 cores", "a machine, 2 cores, threads: 1")
    assert len(study.scores.entries) == 8 * (4 + 2)
    assert "8 of 8 planned cells are finished." in _said(study.path)
    assert "issing" not in _said(study.path)


def test_missing_cells_are_named_from_the_plan(tmp_path: Path) -> None:
    cells = _small()
    names = [each["cell"] for each in cells]
    path = write_study(tmp_path / "study", cells[:-3], planned=names)
    assert f"5 of 8 planned cells are finished. Missing: {'; '.join(names[-3:])}." in _said(path)


def test_only_the_first_of_many_missing_cells_are_named(tmp_path: Path) -> None:
    cells = _small()
    names = [*(each["cell"] for each in cells), "weam.x.s1", "weam.x.s2"]
    said = _said(write_study(tmp_path / "study", cells[:1], planned=names))
    assert f"Missing: {'; '.join(names[1:6])} and 4 more (weam-study --list names them)." in said


def test_scores_of_unfinished_cells_are_left_out_and_counted(tmp_path: Path) -> None:
    path = write_study(tmp_path / "study", _small())
    change_lines(path / "cells.jsonl", list.pop)
    assert "6 scores of weam · 3 pairs · weam_tiny, seed 2, left out: the cell is not finished." in _said(path)
    assert all(
        (entry.score.model, entry.score.seed) != ("weam · 3 pairs · weam_tiny", 2)
        for entry in read_study(path).scores.entries
    )


def test_cells_without_scores_or_baseline_are_named(tmp_path: Path) -> None:
    path = write_study(tmp_path / "study", [*_small(), cell("weam", PAIR_SETS[1], "weam_mini", 1)])
    change_lines(
        path / "scores.jsonl", lambda lines: lines.__setitem__(slice(None), [x for x in lines if x["seed"] == 1])
    )
    said = _said(path)
    assert "Finished, but without scores: tlm.1-pair.weam_tiny.s2, tlm.3-pairs.weam_tiny.s2, " in said
    assert "No tlm model yet, so no gain, for: 1 pair · weam_mini." in said


def test_one_seed_is_said(tmp_path: Path) -> None:
    assert "One seed: a hint, not a result." in _said(write_study(tmp_path / "s", grid(["tlm"], seeds=[7])))


Lines = list[dict[str, Any]]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda lines: lines[1].pop("arch"), "cells.jsonl:2: `arch` is missing"),
        (lambda lines: lines[1].update(seed="1"), "cells.jsonl:2: `seed` must be a whole number, but is '1'"),
        (lambda lines: lines[1].update(seed=True), "cells.jsonl:2: `seed` must be a whole number, but is True"),
        (lambda lines: lines[1].update(aligner=3), "`aligner` must be a text or null, but is 3"),
        (lambda lines: lines[1]["cost"].pop("pieces"), "`cost` must have `pieces` as null or a number of at least 0"),
        (lambda lines: lines[1]["cost"].update(seconds=-1), "`cost` must have `seconds`"),
        (lambda lines: lines[1].update(cell=lines[0]["cell"]), "cell 'tlm.1-pair.weam_tiny.s1' is repeated"),
        (lambda lines: lines[1].update(seed=1), "two cells are 'tlm · 1 pair · weam_tiny' with seed 1"),
        (lambda lines: lines[1].update(pairs=["en-es"]), "but differ in more than the seed"),
        (lambda lines: lines.clear(), "cells.jsonl is empty, so no cell is finished"),
        (
            lambda lines: lines.__setitem__(slice(None), [{**lines[0], "seed": 9}]),
            "must contain scores of finished cells",
        ),
    ],
)
def test_broken_cells(tmp_path: Path, edit: Callable[[Lines], object], message: str) -> None:
    path = write_study(tmp_path / "study", _small())
    change_lines(path / "cells.jsonl", edit)
    with pytest.raises(InputError) as caught:
        read_study(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("study.json", "{", "study.json must be JSON, but is not"),
        ("study.json", "[]", "study.json must contain a JSON object, but contains a list"),
        ("study.json", "{}", "study.json: `title` is missing"),
        ("cells.jsonl", "{\n", "cells.jsonl:1 must be JSON, but is not"),
        ("cells.jsonl", "[]\n", "cells.jsonl:1 must contain a JSON object, but contains a list"),
        ("cells.jsonl", None, "cells.jsonl does not exist, so no cell is finished"),
        ("scores.jsonl", None, "scores.jsonl does not exist"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    path = write_study(tmp_path / "study", _small())
    if content is None:
        (path / name).unlink()
    else:
        (path / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_study(path)
