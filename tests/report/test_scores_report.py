"""weam-report on scores: what it reads, writes, prints and refuses."""

import json
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.report.pages import checked, fails
from tests.report.scores import right_and_wrong, score, write_lines
from weam_fairseq.evaluation.bootstrap import Interval
from weam_fairseq.evaluation.terminal import bounds
from weam_fairseq.report.report import main

LANGUAGES = ("de", "es", "zh")


def _lines(folder: Path) -> list[dict[str, Any]]:
    """Three models, three languages, two seeds: XNLI with items, word alignment and Tatoeba without."""
    lines = []
    for gain, model in enumerate(("tlm", "weam", "shuffled")):
        for seed in (1, 2):
            for place, language in enumerate(LANGUAGES):
                marks = ("1" * (10 + 2 * gain + place) + "0" * 10)[: 20 - seed]
                lines.append(right_and_wrong(folder, score(model, language, 0.0, seed=seed), marks.ljust(20, "0")))
                lines.append(score(model, language, 30.0 + 5 * gain + seed, seed=seed, task="tatoeba", n=1000))
            lines.append(score(model, "en-de", 40.0 - gain, seed=seed, task="word-alignment", metric="aer"))
    return lines


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    folder = tmp_path / "scores"
    folder.mkdir()
    return write_lines(folder / "scores.jsonl", _lines(folder))


def test_page_tables_and_what_is_printed(scores: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main([str(scores.parent)]) == 0
    printed = capsys.readouterr().out
    assert "xnli, accuracy" in printed
    assert "weam − tlm" in printed
    page, checker = checked(scores.parent)
    assert page.count("<svg") == 3 * 2  # figures and a heat map for each of three tables
    assert "How differences are tested" in page
    assert "Koehn 2004" in page
    assert "(lower is better)" in page
    assert {f"table-{number}" for number in range(3)} <= set(checker.ids)
    # XTREME-R's tasks are there in part: every average but none is whole.
    assert re.search(r'<tr><th scope="row">xnli</th><td>accuracy</td><td>15</td>(<td>[\d.]+\*†</td>){3}</tr>', page)
    assert re.search(r'<tr><th scope="row">overall</th>.*?(<td>[\d.]+\*†</td>){3}</tr>', page)
    assert "† not measured as XTREME-R does" in page
    shared = r"tatoeba of [^:]*weam[^:]*: retrieval was measured on the encoder as given, without fine-tuning it"
    assert re.search(shared, page)
    assert "|tatoeba:encoder=as-given|value:" in page
    assert "not a score of XTREME-R" in page
    markdown = (scores.parent / "report.md").read_text(encoding="utf-8")
    assert re.search(shared, markdown)
    assert markdown.count("retrieval was measured on the encoder as given") == 1  # the models share the line
    assert "xcopa: missing" not in markdown  # the table has a dash
    assert "|tatoeba:encoder=as-given|value:" in markdown
    assert "| xnli, accuracy | 3 languages | " in markdown
    assert re.search(r"\| weam − tlm, average of 3 \| \+[\d.]+ \| \**\\\[", markdown)
    assert markdown.count("\n## ") == 1 + 1 + 3 + 2
    assert not list(scores.parent.glob("*.part"))


def test_the_same_scores_give_the_same_bytes(scores: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        assert main([str(scores), "--out", str(folder)]) == 0
    for name in ("report.html", "report.md"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    assert sorted(path.name for path in first.iterdir()) == ["report.html", "report.md"]


def test_names_are_never_markup(tmp_path: Path) -> None:
    evil, language = "<script>alert('$x$')</script>&\"|_", "<script>*"
    lines = [score("tlm", language, 50.0), *(score(evil, each, 51.0, checkpoint="0123") for each in (language, "de"))]
    file = write_lines(tmp_path / "s.jsonl", lines)
    assert main([str(file), "--title", evil, "--out", str(tmp_path)]) == 0
    page, checker = checked(tmp_path)
    assert "script" not in checker.tags
    assert "<script" not in page
    tables = (tmp_path / "report.md").read_text(encoding="utf-8").split("## Signatures")[0]
    assert "\\<script" in tables
    assert "<script" not in tables.replace("\\<script", "")


def test_files_are_put_together_and_repeated_lines_count_once(scores: Path, tmp_path: Path) -> None:
    more = write_lines(tmp_path / "more.jsonl", [score("mlm", "de", 70.0, n=20), score("mlm", "es", 71.0, n=20)])
    again = tmp_path / "again"
    again.mkdir()
    write_lines(again / "scores.jsonl", [json.loads(scores.read_text(encoding="utf-8").splitlines()[1])])
    assert main([str(scores), str(more), str(again), "--baseline", "mlm", "--out", str(tmp_path / "out")]) == 0
    markdown = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "1 line is repeated" in markdown
    assert "mlm has no score for zh." in markdown
    assert "**mlm** (baseline)" in markdown
    assert "weam − mlm" in markdown


def test_every_layer_is_the_mean_of_the_seeds(tmp_path: Path) -> None:
    details = [{"dev_by_layer": [10.0, 30.0, 20.0], "layer": 1}, {"dev_by_layer": [20.0, 30.0, 40.0], "layer": 2}]
    lines = [score("weam", "de", 50.0, seed=seed, detail=detail) for seed, detail in enumerate(details, start=1)]
    assert main([str(write_lines(tmp_path / "scores.jsonl", lines))]) == 0
    text = (tmp_path / "report.md").read_text(encoding="utf-8").replace("\\", "")
    assert "| de, weam | 15.0 | 30.0* | 30.0* |" in text


def test_an_interval_is_never_rounded_to_0(tmp_path: Path) -> None:
    assert bounds(Interval(0.02, 0.3)) == "[+0.02, +0.30]"
    assert bounds(Interval(-3.0, -0.004)) == "[−3.000, −0.004]"
    assert bounds(Interval(-0.02, 0.3)) == "[0.0, +0.3]"


def test_one_metric(scores: Path, tmp_path: Path) -> None:
    assert main([str(scores), "--metric", "aer", "--out", str(tmp_path)]) == 0
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "## word-alignment, aer" in markdown
    assert "## xnli" not in markdown


def test_one_model_has_no_differences(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "scores.jsonl", [score("weam", each, 50.0, task="any") for each in LANGUAGES])
    assert main([str(file)]) == 0
    page, _ = checked(tmp_path)
    assert page.count("<svg") == 1
    assert "XTREME-R" not in page
    assert "One seed: a hint, not a result." in page


def test_many_languages_wrap(tmp_path: Path) -> None:
    lines = [
        score(model, f"{chr(97 + place // 26)}{chr(97 + place % 26)}", 50.0 + place, task="any")
        for model in ("tlm", "weam")
        for place in range(48)
    ]
    assert main([str(write_lines(tmp_path / "scores.jsonl", lines))]) == 0
    checked(tmp_path)


def test_no_overall_where_two_trainings_would_be_mixed(tmp_path: Path) -> None:
    lines = [score("tlm", "de", 50.0, train=f"multinli:en:{code * 12}", scorer="a") for code in "ab"]
    assert main([str(write_lines(tmp_path / "scores.jsonl", lines))]) == 0
    page, _ = checked(tmp_path)
    assert "XTREME-R has no overall score here" in page
    assert page.count("<h2>xnli, accuracy, test, multinli:en:") == 2


def test_two_checkpoints_under_one_name_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [score("tlm", "de", 50.0, checkpoint="0123"), score("tlm", "es", 50.0, checkpoint="4567")]
    assert main([str(write_lines(tmp_path / "scores.jsonl", lines))]) == 0
    said = "several checkpoints have this name and the same seed (seed 1: 0123, 4567)"
    assert said in capsys.readouterr().err
    page, _ = checked(tmp_path)
    assert re.search(r'class="caution">tlm: several checkpoints have this name', page)
    assert "XTREME-R has no overall score here" in page
    assert said in (tmp_path / "report.md").read_text(encoding="utf-8")


Edit = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda line: line.pop("value"), "s.jsonl:2: the line is not a score"),
        (lambda line: line.update(value="51"), "s.jsonl:2: `value` is '51'"),
        (lambda line: line.update(value=float("nan")), "s.jsonl:2: `value` is nan"),
        (lambda line: line.update(seed=None), "s.jsonl:2: `seed` is None"),
        (lambda line: line.update(detail=[]), "s.jsonl:2: `detail` is []"),
        (lambda line: line.update(model=""), "s.jsonl:2: `model` is ''"),
        (lambda line: line.update(checkpoint="other"), "two checkpoints are named 'tlm'"),
        (lambda line: line.update(value=51.0), "has two values: 50.00 in "),
    ],
)
def test_malformed_and_contradicting_lines(
    tmp_path: Path, edit: Edit, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = score("tlm", "de", 50.0)
    other = dict(line)
    edit(other)
    file = write_lines(tmp_path / "s.jsonl", [line, other])
    fails(capsys, [file], message)
    assert not (tmp_path / "report.html").exists()


def test_missing_empty_and_unreadable_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe")
    (tmp_path / "folder").mkdir()
    fails(capsys, [tmp_path / "empty.jsonl"], "must contain scores")
    fails(capsys, [tmp_path / "binary.jsonl"], "must be UTF-8, but byte 0")
    fails(capsys, [tmp_path / "folder"], "scores.jsonl does not exist")
    fails(capsys, [tmp_path / "none.jsonl"], "none.jsonl does not exist")
    fails(capsys, [tmp_path / "none.jsonl", tmp_path / "empty.jsonl"], "none.jsonl does not exist")


def test_bad_options(scores: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fails(capsys, [scores, "--baseline", "wham"], "Did you mean 'weam'?")
    fails(capsys, [scores, "--resamples", "10"], "--resamples must be at least 1,000, but is 10.")
    fails(capsys, [scores, "--draw-seed", "-1"], "--draw-seed must be 0 or more")
    assert not (scores.parent / "report.html").exists()


def test_help_is_light() -> None:
    code = (
        "import sys\n"
        "from weam_fairseq.report.report import main\n"
        "try:\n"
        "    main(['--help'])\n"
        "finally:\n"
        "    assert not {'torch', 'transformers', 'fairseq', 'matplotlib', 'jinja2', 'scipy'} & set(sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "example:" in result.stdout


@pytest.mark.parametrize("package", ["matplotlib", "jinja2", "scipy", "tabulate"])
def test_a_missing_package_is_named_with_its_command(
    scores: Path, package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, package, None)
    fails(capsys, [scores], f"{package}, which is not installed. Run pip install 'weam-fairseq[report]'")
    assert not (scores.parent / "report.html").exists()
