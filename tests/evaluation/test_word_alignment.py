"""Alignment error rate by hand, and weam-score from the files to its one JSON object."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation import score
from weam_fairseq.evaluation.benchmarks.word_alignment import score_alignments
from weam_fairseq.evaluation.readers import GoldLinks, read_gold, read_predicted_links


def gold(sure: str, possible: str = "") -> GoldLinks:
    links = [frozenset(tuple(map(int, item.split("-"))) for item in text.split()) for text in (sure, possible)]
    return GoldLinks(links[0], links[0] | links[1])  # type: ignore[arg-type]


#            0   1   2
#   0        S   .   p          S sure, p possible; the prediction has the three links in brackets:
#   1        .   S   p          (0-0) sure, (1-2) possible, (2-0) neither
#   2        x   .   S
GOLD = gold("0-0 1-1 2-2", "0-2 1-2")


def test_precision_counts_possible_links_and_recall_sure_ones() -> None:
    scores = score_alignments([GOLD], [frozenset({(0, 0), (1, 2), (2, 0)})])
    assert scores.precision == pytest.approx(100 * 2 / 3)
    assert scores.recall == pytest.approx(100 * 1 / 3)
    assert scores.aer == pytest.approx(100 * (1 - (1 + 2) / (3 + 3)))


def test_all_sure_links_are_without_error_with_or_without_possible_ones() -> None:
    sure = frozenset({(0, 0), (1, 1), (2, 2)})
    assert score_alignments([GOLD], [sure]) == (0.0, 100.0, 100.0)
    assert score_alignments([GOLD], [sure | {(0, 2)}]) == (0.0, 100.0, 100.0)


def test_no_predictions() -> None:
    assert score_alignments([GOLD], [frozenset()]) == (100.0, 0.0, 0.0)


def test_pairs_are_counted_together_not_averaged() -> None:
    # One link of one right, one of three: 2 of 4 links, not the mean of 1 and 1/3.
    scores = score_alignments(
        [gold("0-0"), gold("0-0 1-1 2-2")], [frozenset({(0, 0)}), frozenset({(0, 0), (1, 2), (2, 1)})]
    )
    assert (scores.precision, scores.recall) == (50.0, 50.0)


def test_gold_without_sure_links_stands_for_nothing() -> None:
    with pytest.raises(InputError, match="no sure link"):
        score_alignments([gold("", "0-0")], [frozenset({(0, 0)})])


def test_a_link_that_is_given_twice_counts_once_and_sure_wins(tmp_path: Path) -> None:
    (tmp_path / "gold").write_text("0p0 0-0 1p1 1p1\n\n", encoding="utf-8")
    assert read_gold(tmp_path / "gold") == [gold("0-0", "1-1"), gold("")]
    (tmp_path / "links").write_text("0-0 0-0  1-1\r\n\n", encoding="utf-8")
    assert read_predicted_links(tmp_path / "links") == [frozenset({(0, 0), (1, 1)}), frozenset()]


def weam_score(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    code = score.main([str(argument) for argument in arguments])
    return code, *capsys.readouterr()


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "gold").write_text("0-0 1-1 2-2 0p2 1p2\n0-0\n", encoding="utf-8")
    (tmp_path / "links").write_text("2-0 1-2 0-0\n\n", encoding="utf-8")
    return tmp_path / "gold", tmp_path / "links"


def test_one_json_object(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("word-alignment", "--gold", files[0], "--predictions", files[1], "--language", "de")
    code, out, err = weam_score(capsys, *arguments)
    assert (code, err, out.count("\n")) == (0, "", 1)
    assert list(json.loads(out)) == ["aer", "precision", "recall"]
    # |A| = 3, |S| = 4, |A ∩ S| = 1, |A ∩ P| = 2
    assert json.loads(out) == pytest.approx({"aer": 100 * (1 - 3 / 7), "precision": 100 * 2 / 3, "recall": 25.0})
    # Links are word numbers, so the language may be left out.
    assert weam_score(capsys, *arguments[:-2]) == (code, out, err)


def test_forms_of_gold_links(tmp_path: Path) -> None:
    (tmp_path / "gold").write_text("0-0:S 1p1 2?1 2-2:P 3P3 4-4:possible\n", encoding="utf-8")
    assert read_gold(tmp_path / "gold") == [gold("0-0", "1-1 2-1 2-2 3-3 4-4")]


# Five lines with links. Gold with the first words linked, and with links of other words only.
FROM_0, FROM_1 = "0-0 1-1\n" * 5, "1-1 2-2\n" * 5


@pytest.mark.parametrize(
    ("gold_text", "predicted", "options", "expected"),
    [
        (FROM_1, FROM_0, (), "gold counts words from 1: no link in it has a 0. Give --gold-from 1"),
        (FROM_0, FROM_1, (), "links counts words from 1: .* Give --predictions-from 1"),
        (FROM_1, FROM_0, ("--gold-from", "1"), 0.0),
        (FROM_0, FROM_1, ("--predictions-from", "1"), 0.0),
        (FROM_1, FROM_1, ("--gold-from", "1", "--predictions-from", "1"), 0.0),
        (FROM_1, FROM_1, ("--gold-from", "0"), 0.0),  # the predictions agree with it as they are
        (FROM_0, FROM_1, ("--predictions-from", "0"), 50.0),
        (FROM_0, FROM_0, ("--gold-from", "1"), "gold:1: link 0-0 has a word 0, but with --gold-from 1 words"),
        (FROM_0, FROM_0, ("--predictions-from", "1"), "links:1: link 0-0 has a word 0, but with --predictions-from 1"),
        # Too few lines to tell, and predictions that fit no better when they are shifted.
        ("1-1 2-2\n\n" * 4, "1-1 2-2\n\n" * 4, (), 0.0),
        (FROM_0, "5-5\n" * 5, (), 100.0),
    ],
)
def test_links_that_count_from_1(
    files: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
    gold_text: str,
    predicted: str,
    options: tuple[str, ...],
    expected: float | str,
) -> None:
    files[0].write_text(gold_text)
    files[1].write_text(predicted)
    code, out, err = weam_score(capsys, "word-alignment", "--gold", files[0], "--predictions", files[1], *options)
    if isinstance(expected, float):
        assert (code, json.loads(out)["aer"]) == (0, pytest.approx(expected))
    else:
        assert code == 2
        assert re.search(expected, err)


@pytest.mark.parametrize(
    ("which", "content", "sentence"),
    [
        (
            "gold",
            "0-0\n0:1\n",
            r"gold:2: '0:1' is not a link. Write links as i-j or i-j:S \(sure\), ipj, i\?j or i-j:P \(possible\)",
        ),
        ("gold", "0-0\n21--100\n", r"gold:2: '21--100' is not a link\. Write"),
        ("gold", "0-0\n0-1:FUN\n", r"gold:2: '0-1:FUN' is not a link\. Write"),
        ("gold", "0-0\n0p1:S\n", r"gold:2: '0p1:S' is not a link\. Write"),
        ("gold", f"0-0\n0-{'1' * 4301}\n", r"gold:2: '0-1+' is not a link\. Write"),
        ("links", "0-0\n0p1\n", r"links:2: '0p1' is not a link. Write links as i-j, words counted from 0\."),
        ("links", "0-0\n1--2\n", r"links:2: '1--2' is not a link"),
        ("links", "0-0\n0-0:0.5\n", r"links:2: '0-0:0\.5' is not a link"),
        ("links", "0-0\n", r"gold has 2 lines but .*links has 1: line k of one must belong to line k of the other"),
        ("gold", "0p0\n\n", r"gold: the gold contains no sure links"),
        ("links", b"\xff\n\n", r"links line 1: byte 1 \(0xff\) is not valid UTF-8"),
        ("links", None, r"links does not exist"),
    ],
)
def test_files_that_cannot_be_scored(
    files: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
    which: str,
    content: str | bytes | None,
    sentence: str,
) -> None:
    file = files[0].with_name(which)
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    code, out, err = weam_score(capsys, "word-alignment", "--gold", files[0], "--predictions", files[1])
    assert (code, out, err.count("\n")) == (2, "", 1)
    with pytest.raises(InputError, match=sentence):
        raise InputError(err)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["word-alignement", "--gold", "g", "--predictions", "p"], "Did you mean 'word-alignment'?"),
        (["gluten", "--gold", "g", "--predictions", "p"], "The tasks are bucc, lareqa, "),
        (
            ["word-alignment", "--gold", "g"],
            "the following arguments are required: --predictions. See weam-score --help.",
        ),
        (["xnli", "--gold", "g", "--predictions", "p", "--gold-from", "1"], "are for word-alignment, not for xnli."),
        (["word-alignment", "--gold", "g", "--predictions", "p", "--model", "x"], "unrecognized arguments: --model x."),
    ],
)
def test_commands_that_cannot_be_run(capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str) -> None:
    code, out, err = weam_score(capsys, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("weam-score: error: ")
    assert sentence in err


def test_scoring_imports_no_model_code(files: tuple[Path, Path]) -> None:
    script = (
        "import sys\n"
        "from weam_fairseq.evaluation import score\n"
        f"code = score.main(['word-alignment', '--gold', {str(files[0])!r}, '--predictions', {str(files[1])!r}])\n"
        "print(code, sorted({'fairseq', 'transformers', 'torch'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1] == "0 []"


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        score.main(["--help"])
    assert ended.value.code == 0
    assert "weam-score word-alignment --gold" in capsys.readouterr().out
