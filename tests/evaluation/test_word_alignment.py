"""Word alignment: gold and predicted links, their score, and links from states."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation import score
from weam_fairseq.evaluation.benchmarks.word_alignment import (
    itermax,
    mutual_argmax,
    score_alignments,
    softmax_both_ways,
    word_links,
)
from weam_fairseq.evaluation.cli import main
from weam_fairseq.evaluation.readers import GoldLinks, read_gold, read_predicted_links
from weam_fairseq.evaluation.scores import read_scores


def gold_links(sure: str, possible: str = "") -> GoldLinks:
    links = [frozenset(tuple(map(int, item.split("-"))) for item in text.split()) for text in (sure, possible)]
    return GoldLinks(links[0], links[0] | links[1])  # type: ignore[arg-type]


#            0   1   2
#   0        S   .   p          S sure, p possible; the prediction has the three links in brackets:
#   1        .   S   p          (0-0) sure, (1-2) possible, (2-0) neither
#   2        x   .   S
GOLD = gold_links("0-0 1-1 2-2", "0-2 1-2")


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
        [gold_links("0-0"), gold_links("0-0 1-1 2-2")], [frozenset({(0, 0)}), frozenset({(0, 0), (1, 2), (2, 1)})]
    )
    assert (scores.precision, scores.recall) == (50.0, 50.0)


def test_gold_without_sure_links_stands_for_nothing() -> None:
    with pytest.raises(InputError, match="no sure link"):
        score_alignments([gold_links("", "0-0")], [frozenset({(0, 0)})])


def test_a_link_that_is_given_twice_counts_once_and_sure_wins(tmp_path: Path) -> None:
    (tmp_path / "gold").write_text("0p0 0-0 1p1 1p1\n\n", encoding="utf-8")
    assert read_gold(tmp_path / "gold") == [gold_links("0-0", "1-1"), gold_links("")]
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
    assert read_gold(tmp_path / "gold") == [gold_links("0-0", "1-1 2-1 2-2 3-3 4-4")]


# Five lines with links. Gold with the first words linked, and with links of other words only.
FROM_0, FROM_1 = "0-0 1-1\n" * 5, "1-1 2-2\n" * 5


@pytest.mark.parametrize(
    ("gold_text", "predicted", "options", "expected"),
    [
        (FROM_1, FROM_0, (), "gold seems to count words from 1, because no link contains a 0. Give --gold-from 1"),
        (FROM_0, FROM_1, (), "links seems to count words from 1: .* Give --predictions-from 1"),
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
            "The following arguments are required: --predictions. See weam-score --help.",
        ),
        (["xnli", "--gold", "g", "--predictions", "p", "--gold-from", "1"], "are for word-alignment, not for xnli."),
        (["word-alignment", "--gold", "g", "--predictions", "p", "--model", "x"], "Unrecognized arguments: --model x."),
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


def angles(*degrees: float) -> np.ndarray:
    """Vectors by their angle: the nearer the angles, the higher the cosine."""
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def pairs(links: np.ndarray) -> set[tuple[int, int]]:
    return {(int(i), int(j)) for i, j in zip(*np.nonzero(links), strict=True)}


def test_mutual_argmax_links_what_is_nearest_to_each_other() -> None:
    #  source 0° 40° 50°; target 48° 2°: 50° and 40° both want 48°, which wants 50°
    assert pairs(mutual_argmax(angles(0, 40, 50), angles(48, 2))) == {(0, 1), (2, 0)}
    assert pairs(mutual_argmax(angles(7), angles(300))) == {(0, 0)}


def test_length_makes_no_difference_to_argmax() -> None:
    source, target = angles(0, 40, 50, 80), angles(48, 2, 79)
    assert pairs(mutual_argmax(source * [[1], [9], [0.1], [3]], target)) == pairs(mutual_argmax(source, target))


def test_itermax_links_once_more_what_is_free() -> None:
    # 20° and 22° both want 21.5°; in the second round 20°, which is free, gets its own best free partner, 10°.
    source, target = angles(20, 22, 70), angles(21.5, 10, 71)
    assert pairs(mutual_argmax(source, target)) == {(1, 0), (2, 2)}
    assert pairs(itermax(source, target)) == {(1, 0), (2, 2), (0, 1)}
    # with two pieces on a side there is no second round
    assert pairs(itermax(source[:2], target)) == pairs(mutual_argmax(source[:2], target))


def test_softmax_keeps_what_both_directions_find_likely() -> None:
    source, target = 10 * angles(0, 90), 10 * angles(0, 5, 90)
    # the inner products of one direction are about 100 against 0 to 9: only near ones pass
    assert pairs(softmax_both_ways(source, target)) == {(0, 0), (0, 1), (1, 2)}
    # short vectors are all alike
    assert softmax_both_ways(source / 1e3, target / 1e3).all()


def test_words_are_linked_through_their_pieces() -> None:
    # source pieces: word 0, word 1, word 1; target pieces: words 0 and 1 in one piece, word 2
    links = np.array([[True, False], [False, False], [False, True]])
    assert word_links(links, [[0], [1], [1]], [[0, 1], [2]]) == {(0, 0), (0, 1), (1, 2)}
    assert word_links(np.zeros((2, 1), dtype=bool), [[0], [1]], [[0]]) == frozenset()


TASKS = ("word-alignment", "word-similarity")


@pytest.fixture
def gold_folder(data_dir: Path, tmp_path: Path) -> Path:
    """`en-fr` and `ro-en` whole, and `de-en.dev`."""
    folder = tmp_path / "gold"
    folder.mkdir()
    for name in ("en-fr", "ro-en", "de-en.dev"):
        for suffix in ("src-tgt", "gold"):
            shutil.copy(data_dir / f"heldout.en-de.{suffix}", folder / f"{name}.{suffix}")
    return folder


def _measured(task: str, model: Path, data: Path, *more: str) -> list[tuple[str, str]]:
    out = data / "scores.jsonl"
    out.unlink(missing_ok=True)
    assert main([task, "--model", str(model), "--data", str(data), "--out", str(out), *more]) == 0
    return [(score.language, score.split) for score in read_scores(out)]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("languages", ["all", "present"])
def test_every_name_is_found(task: str, languages: str, folder_path: Path, gold_folder: Path) -> None:
    # Asked without a split, the sets that are published whole are there, and no split is made up for them.
    assert _measured(task, folder_path, gold_folder, "--languages", languages) == [("en-fr", "-"), ("ro-en", "-")]
    found = _measured(task, folder_path, gold_folder, "--languages", languages, "--split", "dev")
    assert found == [("de-en", "dev"), ("en-fr", "dev"), ("ro-en", "dev")]


def test_a_set_without_its_links_is_not_passed_over(
    folder_path: Path, gold_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (gold_folder / "ro-en.gold").unlink()
    assert main(["word-alignment", "--model", str(folder_path), "--data", str(gold_folder), "--languages", "all"]) == 2
    assert "no data (split 'heldout') for ro-en. Give fr" in capsys.readouterr().err
    assert _measured("word-alignment", folder_path, gold_folder, "--languages", "present") == [("en-fr", "-")]
    assert "note: word-alignment: no data (split 'heldout') for ro-en." in capsys.readouterr().err


def test_a_split_that_was_given_is_a_label_too(folder_path: Path, gold_folder: Path) -> None:
    found = _measured("word-alignment", folder_path, gold_folder, "--languages", "fr", "--split", "gold")
    assert found == [("en-fr", "gold")]


def test_a_split_in_the_name_is_recorded(folder_path: Path, data_dir: Path) -> None:
    assert _measured("word-alignment", folder_path, data_dir, "--languages", "all") == [("en-de", "heldout")]


def test_prediction_files_of_a_set_without_splits(folder_path: Path, gold_folder: Path, tmp_path: Path) -> None:
    more = ("--languages", "fr", "--predictions", str(tmp_path / "p"))
    _measured("word-alignment", folder_path, gold_folder, *more)
    names = sorted(path.name for path in (tmp_path / "p" / folder_path.name).iterdir())
    assert names == ["word-alignment.en-fr.seed1.items.jsonl", "word-alignment.en-fr.seed1.txt"]


@pytest.mark.parametrize("task", [*TASKS, "word-retrieval"])
def test_gold_that_counts_from_1_is_shifted_when_asked(
    task: str, folder_path: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _measured(task, folder_path, data_dir, "--languages", "de") != []
    (expected, *_) = read_scores(data_dir / "scores.jsonl")
    gold = data_dir / "heldout.en-de.gold"
    links = [[tuple(map(int, link.split("-"))) for link in line.split()] for line in gold.read_text().splitlines()]
    gold.write_text("".join(" ".join(f"{i + 1}-{j + 1}" for i, j in line) + "\n" for line in links))
    words = [task, "--model", str(folder_path), "--data", str(data_dir), "--languages", "de"]
    assert main(words) == 2
    assert (
        "heldout.en-de.gold seems to count words from 1, because no link contains a 0, and line"
        in capsys.readouterr().err
    )
    _measured(task, folder_path, data_dir, "--languages", "de", "--gold-from", "1")
    (shifted, *_) = read_scores(data_dir / "scores.jsonl")
    assert shifted.value == expected.value
    assert "|gold-from:1|" in shifted.signature
    assert main(["masked-pieces", *words[1:], "--gold-from", "1"]) == 2
    assert "--gold-from has no effect, because masked-pieces reads no gold links" in capsys.readouterr().err


def test_a_missing_language_is_said_with_those_that_are_there(
    folder_path: Path, gold_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "word-alignment",
        "--model",
        str(folder_path),
        "--data",
        str(gold_folder),
        "--languages",
        "ja",
        "--split",
        "dev",
    ]
    assert main([*words, "--split", "dev"]) == 2
    assert "It has data for de-en, fr, ro-en (split 'dev'" in capsys.readouterr().err


def test_the_best_layer_is_chosen_on_the_even_pairs_and_measured_on_the_odd_ones(
    folder_path: Path, data_dir: Path, tmp_path: Path
) -> None:
    """Halves of the set, measured by themselves at every layer, give the same choice and figure."""
    _measured("word-alignment", folder_path, data_dir, "--languages", "de", "--layer", "best")
    (found, *_) = read_scores(data_dir / "scores.jsonl")
    by_layer = []
    for first in (0, 1):
        half = tmp_path / f"half{first}"
        half.mkdir()
        for ending in ("src-tgt", "gold"):
            lines = (data_dir / f"heldout.en-de.{ending}").read_text().splitlines()[first::2]
            (half / f"heldout.en-de.{ending}").write_text("".join(f"{line}\n" for line in lines))
        _measured("word-alignment", folder_path, half, "--languages", "de")
        by_layer.append(read_scores(half / "scores.jsonl")[0].detail["aer_by_layer"])
    assert found.detail["dev_by_layer"] == pytest.approx(by_layer[0])
    assert found.detail["layer"] == int(np.argmin(by_layer[0]))
    assert found.value == pytest.approx(by_layer[1][found.detail["layer"]])
    assert found.split == "heldout/odd"
    items = (data_dir / found.detail["items"]).read_text().splitlines()
    assert [json.loads(item)["id"] % 2 for item in items] == [1] * found.detail["pairs"]
    # The same set at the fixed layer has items of its own.
    assert main(["word-alignment", *words_of(folder_path, data_dir), "--out", str(data_dir / "scores.jsonl")]) == 0
    best, fixed = read_scores(data_dir / "scores.jsonl")
    assert best.detail["items"] != fixed.detail["items"]
    assert "|layer:dev-best|" in found.signature
    for tasks in (["masked-pieces"], ["word-alignment", "word-retrieval"]):
        assert main([*tasks, *words_of(folder_path, data_dir), "--layer", "best"]) == 2


def words_of(model: Path, data: Path) -> list[str]:
    return ["--model", str(model), "--data", str(data), "--languages", "de"]
