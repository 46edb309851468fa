"""weam-report on a study's folder: page, tables, plots.json, what is printed and what is refused."""

import json
import re
import warnings
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.report.pages import checked, fails
from tests.report.studies import cell, change_lines, grid, write_study
from weam_fairseq.report.report import main
from weam_fairseq.report.study_folder import read_study

FILES = ["plots.json", "report.html", "report.md"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds, one cell missing."""
    cells = grid(seeds=(1, 2))
    return write_study(
        tmp_path_factory.mktemp("report") / "study", cells[:-1], planned=[cell["cell"] for cell in cells]
    )


class Report(NamedTuple):
    folder: Path
    printed: str


@pytest.fixture(scope="module")
def report(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("written")
    with warnings.catch_warnings(), redirect_stdout(StringIO()) as printed:
        warnings.simplefilter("error")
        assert main([str(study), "--out", str(folder)]) == 0
    return Report(folder, printed.getvalue())


def test_page_tables_plots_and_what_is_printed(report: Report) -> None:
    assert re.search(r"^weam +3 +weam_tiny +\+13\.[78] \[", report.printed, flags=re.MULTILINE)
    assert "Missing: shuffled.3-pairs.weam_mini.s2." in report.printed
    assert sorted(path.name for path in report.folder.iterdir()) == FILES
    page, checker = checked(report.folder)
    # The headline, gains of two architectures and of two sets of pairs, two tasks' maps, two sets of pairs' costs, two
    # losses, and these losses of each pair in both architectures.
    assert page.count("<svg") == 1 + 2 + 2 + 2 + 2 + 2 + 4
    assert page.index("<svg") < page.index("<table")
    for text in (
        "Does WEAM&#39;s gain over TLM grow with the number of pairs?",
        "It gains more with 3 pairs than with 1.",
        "Both intervals of the average leave 0 out.",
        "23 of 24 planned cells are finished.",
        "Missing: shuffled.3-pairs.weam_mini.s2.",
        "Koehn 2004",
        "Does the gain grow?",
        "All cells ran on a machine, 2 cores.",
    ):
        assert text in page, text
    assert {"headline", "question", "gains", "languages", "task-0", "task-1", "costs", "losses", "cells"} <= set(
        checker.ids
    )
    assert not checker.tags & {"script", "link", "iframe", "img", "object", "embed"}
    assert checker.addresses  # links inside the page
    assert {address[1:] for address in checker.addresses} <= set(checker.ids)
    assert all(address.startswith("#") for address in checker.addresses)
    assert not re.search(r"@import|url\((?!#)", page)
    assert "http" not in re.sub(r'xmlns(:xlink)?="http://www\.w3\.org/[^"]*"|http-equiv', "", page)


def test_tables_of_the_markdown(report: Report) -> None:
    markdown = (report.folder / "report.md").read_text(encoding="utf-8")
    # Word alignment: half of the links are wrong with TLM, 30 % with WEAM and 3 pairs.
    section = markdown.split("\n## word-alignment, aer")[1].split("\n## ")[0]
    assert "| tlm | 3 | weam\\_tiny | 2 | 50.0 ± 0.0 | – | – | – | – |" in section
    assert "| weam | 3 | weam\\_tiny | 2 | 30.0 ± 0.0 | **+20.0** | \\[+20.0, +20.0] |" in section
    assert "above 0 is better" in section
    # Tatoeba, 3 pairs: three languages seen, one not.
    section = markdown.split("\n## tatoeba")[1].split("\n## ")[0]
    seen = section.split("Seen and unseen languages:")[1]
    assert re.search(
        r"\| weam \| 3 \| weam\\_tiny \| 47\.5 ± 3\.5 \(3\) \| \**\+15\.0 .* \| 42\.5 ± 3\.5 \(1\) \| \**\+10\.0", seen
    )
    assert "| weam | 1 | weam\\_tiny | 42.5 ± 3.5 • | 37.5 ± 3.5 |" in section
    growth = markdown.split("\n## Does the gain grow?")[1].split("\n## ")[0]
    assert re.search(r"\| weam, weam\\_tiny: 3 pairs − 1 pair \| \**\+7\.5 .* \| \*\*\+10\.0 ", growth)
    costs = markdown.split("\n## Costs")[1]
    assert "| weam, 1 pair · weam\\_tiny | 1,000,000 | 400 | 100,000 | 300.0 (×1.50) | 512 |" in costs
    assert "| weam\\_tiny | 1,200 | 300,000 | 600.0 |" in costs
    for line in markdown.splitlines():
        assert not line.startswith("|") or line.endswith("|")


def test_the_plots_numbers_are_beside(report: Report) -> None:
    plots = json.loads((report.folder / "plots.json").read_text(encoding="utf-8"))
    assert (plots["baseline"], plots["config_sha256"]) == ("tlm", "4f" * 32)
    line = plots["gain_by_pairs"][0]["panels"][0]["lines"][0]
    assert line["method"] == "weam"
    assert [(point["pairs"], round(point["gain"], 6)) for point in line["points"]] == [(1, 6.25), (3, 13.75)]
    kinds = ("gain_by_language", "score_by_cost", "losses", "losses_by_pair")
    assert [len(plots[name]) for name in kinds] == [2, 2, 2, 4]


def test_another_baseline_and_the_same_study_gives_the_same_bytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = write_study(tmp_path / "study", grid(seeds=(1, 2), archs=["weam_tiny"]))
    options = ["--baseline", "shuffled", "--metric", "aer", "--title", "Against"]
    for folder in ("first", "second"):
        assert main([str(study), "--out", str(tmp_path / folder), *options]) == 0
    for name in FILES:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    page, _ = checked(tmp_path / "first")
    assert "tatoeba" not in re.sub(r"<details>.*?</details>", "", page, flags=re.DOTALL)
    assert "<h1>Against</h1>" in page
    assert "minus that of shuffled" in page
    capsys.readouterr()
    fails(capsys, [study, "--baseline", "tml"], "must be an objective of the study's finished cells")


def test_too_little_for_plots_is_said_and_one_seed_too(tmp_path: Path) -> None:
    cells = [cell(objective, ["en-de"], "weam_tiny", 1, train_log=None) for objective in ("tlm", "weam")]
    path = write_study(tmp_path / "study", cells, hypotheses=[], question="", decision_rule="")
    assert main([str(path)]) == 0
    page, _ = checked(path)
    assert page.count("<svg") == 1 + 2  # the headline, and a map for each task
    for text in (
        "all models have 1 pair.",
        "all models have the architecture weam_tiny.",
        "no training log contains any.",
        "One seed: a hint",
    ):
        assert text in page
        assert text in (path / "report.md").read_text(encoding="utf-8").replace("\\_", "_")


PREDICTED = {
    "pair": "en-de",
    "index": 3,
    "source": {"language": "en", "pieces": ["▁a", "▁house"]},
    "target": {"language": "de", "pieces": ["▁ein", "▁Haus", "<b>"]},
    "masked": [
        {
            "side": "target",
            "piece_idx": 1,
            "piece": "▁Haus",
            "exchanged_with": [{"side": "source", "piece_idx": 1, "piece": "▁house"}],
            "own_top": ["▁Hund", "▁Haus"],
            "exchanged_top": ["▁Haus", "<i>"],
        }
    ],
}
PREPROCESS = ["weam-preprocess", "--pair", "en-de=a b.tsv"]


def _with_records(path: Path) -> Path:
    """A study whose folder holds records of steps, a data-bin's times, the text's sources, and predictions."""
    study = write_study(
        path, grid(["tlm", "weam"], (1,), ["weam_tiny"]), config={"data": {"bitext": "text/{pair}.tsv"}}
    )
    records: dict[str, Any] = {
        "text/corpus.json": {"sources": [{"package": "<i>news", "licence": "CC0-1.0", "sha256": "4f"}]},
        "examples.json": {"examples": [PREDICTED]},
        "data/a/done.json": {"command": PREPROCESS, "seconds": 12.34},
        "bases/b/train/done.json": {"command": ["weam-train"], "seconds": 100},
        "cells/c/train/done.json": {"command": ["weam-train"], "seconds": 10},
        "cells/d/train/done.json": {"command": ["weam-train"], "seconds": 20},
        "cells/d/heldout/done.json": {"command": ["weam-evaluate"], "seconds": None},
    }
    for name, record in records.items():
        (study / name).parent.mkdir(parents=True, exist_ok=True)
        (study / name).write_text(json.dumps(record), encoding="utf-8")
    return study


def test_records_in_the_studys_folder_are_shown(tmp_path: Path) -> None:
    path = _with_records(tmp_path / "study")
    assert main([str(path)]) == 0
    page, checker = checked(path)
    markdown = (path / "report.md").read_text(encoding="utf-8")
    for row in (
        "| preprocess | 1 | 12.3 | 12.3 |",
        "| train bases | 1 | 100.0 | 100.0 |",
        "| train cells | 2 | 15.0 | 30.0 |",
        "| evaluate | 1 | – | – |",
        "| \\<i>news | CC0-1.0 |",
    ):
        assert row in markdown, row
    assert "weam-preprocess --pair &#39;en-de=a b.tsv&#39;" in page
    assert "en-de, validation pair 4" in page
    assert "▁ein <b>▁Haus</b> &lt;b&gt;" in page
    assert '<td>▁Hund · ▁Haus</td><td><b class="gain">▁Haus · &lt;i&gt;</b></td>' in page
    assert "i" not in checker.tags


def test_the_page_has_a_dark_form_with_plots_on_a_light_card(report: Report) -> None:
    page, _ = checked(report.folder)
    dark = page.split("(prefers-color-scheme: dark)")[1].split("</style>")[0]
    assert re.search(r"figure \.wide \{ background: #fff;", dark)


def test_a_study_before_its_baseline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = [*grid(["weam"], (1, 2), ["weam_tiny"]), *grid(["shuffled"], (1,), ["weam_tiny"])]
    path = write_study(tmp_path / "study", cells)
    assert main([str(path)]) == 0
    assert "There are no differences yet: no tlm model is finished." in capsys.readouterr().out
    page, _ = checked(path)
    assert "have different seeds: a difference" not in page
    assert "No tlm model yet, so no gain, for: 1 pair · weam_tiny; 3 pairs · weam_tiny." in page
    assert "No map for tatoeba, accuracy: no model has a gain." in page


def test_text_of_the_study_is_never_markup(tmp_path: Path) -> None:
    evil = "<script>alert('$x$')</script>&\"|_"

    def poison(line: dict[str, Any]) -> dict[str, Any]:
        texts = {"group": evil, "machine": evil, "arch": evil, "aligner": evil, "model": line["model"] + evil}
        return {**line, **texts, "options": {evil: f"{line['objective']}{evil}"}}

    cells = [poison(line) for line in grid(["tlm", "weam"], (1,), ["weam_tiny"])]
    for line in cells:
        line["train_log"] = None
    path = write_study(
        tmp_path / "study",
        [{**line, "model": line["model"].replace("/", "")} for line in cells],
        title=evil,
        question=evil,
        hypotheses=[evil],
        decision_rule=evil,
        config={"a": evil},
    )
    assert main([str(path)]) == 0
    page, checker = checked(path)
    assert "script" not in checker.tags
    assert "<script" not in page
    markdown = (path / "report.md").read_text(encoding="utf-8")
    assert "<script" not in markdown.replace("\\<script", "")


def test_scores_of_a_study_do_not_overwrite_its_report(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fails(capsys, [study / "scores.jsonl"], "is a study's folder")


def test_a_corpus_file_of_another_kind_is_no_source(tmp_path: Path) -> None:
    path = _with_records(tmp_path / "study")
    for text in ("[]", "{", '{"sources": 3}'):
        (path / "text" / "corpus.json").write_text(text, encoding="utf-8")
        assert read_study(path).sources == []


def test_sources_lie_beside_the_text_of_the_data_folder(tmp_path: Path) -> None:
    texts = {"en-de": ["a/one.tsv", "a/two.en,b/two.de"]}
    folders = {"root": "..", "data": "../data"}
    path = write_study(tmp_path / "study", grid(["tlm"], (1,)), config={"data": {"bitext": texts}}, folders=folders)
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "corpus.json").write_text(json.dumps({"sources": [{"package": name}]}))
    assert read_study(path).sources == [{"package": "a"}, {"package": "b"}]


def test_broken_predictions_end_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _with_records(tmp_path / "study")
    (path / "examples.json").write_text('{"examples": [{"pair": "en-de"}]}', encoding="utf-8")
    fails(capsys, [path], "examples.json must hold examples of weam-show --json, but does not (KeyError: 'masked')")


def test_errors_leave_no_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_study(tmp_path / "study", grid(["tlm"], (1,), ["weam_tiny"]))
    fails(capsys, [path, "--resamples", "10"], "--resamples must be at least 1,000")
    fails(capsys, [path, "--metric", "acuracy"], "Did you mean 'accuracy'?")
    change_lines(path / "cells.jsonl", lambda lines: lines[0].pop("cost"))
    fails(capsys, [path], "cells.jsonl:1: `cost` is missing")
    assert not (path / "report.html").exists()
