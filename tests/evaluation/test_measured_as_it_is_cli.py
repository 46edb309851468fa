"""weam-evaluate on the tasks that train nothing: small files under their published names, a model of two layers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from weam_fairseq.evaluation import score
from weam_fairseq.evaluation.cli import main
from weam_fairseq.evaluation.items import read_item_counts
from weam_fairseq.evaluation.scores import Score, read_scores
from weam_fairseq.report.score_files import read_score_files

from .conftest import PAIRS, write_lines
from .test_retrieval_files import ENTITIES, MENTIONS, write_xquad_r


def write_tatoeba(path: Path) -> None:
    write_lines(path / "tatoeba.deu-eng.deu", [source for source, _ in PAIRS])
    write_lines(path / "tatoeba.deu-eng.eng", [target for _, target in PAIRS])


def write_bucc(path: Path) -> None:
    for split, pairs in (("sample", PAIRS[:4]), ("training", PAIRS)):  # BUCC's own names
        stem = f"de-en/de-en.{split}"
        (path / "de-en").mkdir(exist_ok=True)
        write_lines(path / f"{stem}.de", [f"de-{k}\t{source}" for k, (source, _) in enumerate(pairs)])
        write_lines(path / f"{stem}.en", [f"en-{k}\t{target}" for k, (_, target) in enumerate(pairs)])
        write_lines(path / f"{stem}.gold", [f"de-{k}\ten-{k}" for k in range(len(pairs))])


def write_mewslix(path: Path) -> None:
    (path / "candidate_set_entities.jsonl").write_text(ENTITIES, encoding="utf-8")
    (path / "wikinews_mentions-test.jsonl").write_text(MENTIONS, encoding="utf-8")


def write_lareqa(path: Path) -> None:
    (path / "xquad-r").mkdir()
    write_xquad_r(path / "xquad-r")


def write_gold(path: Path) -> None:
    write_lines(path / "en-de.src-tgt", [f"{source} ||| {target}" for source, target in PAIRS])
    write_lines(path / "en-de.gold", [" ".join(f"{k}-{k}" for k in range(len(source.split()))) for source, _ in PAIRS])


# A writer, the files that weam-score takes as gold, and the predictions that it takes.
CASES: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "tatoeba": (write_tatoeba, "tatoeba.deu-eng.eng", "tatoeba.test.de.seed1.txt"),
    "bucc": (write_bucc, "de-en/de-en.training.gold", "bucc.test.de.seed1.tsv"),
    "mewslix": (write_mewslix, "wikinews_mentions-test.jsonl", "mewslix.test.de.seed1.json"),
    "lareqa": (write_lareqa, "xquad-r", "lareqa.test.de.seed1.json"),
    "word-alignment": (write_gold, "en-de.gold", "word-alignment.en-de.seed1.txt"),
    "word-similarity": (write_gold, "", ""),
}


def _run(task: str, model: Path, folder: Path, *more: str, name: str = "weam") -> list[Score]:
    data, out = folder / task, folder / "scores.jsonl"
    if not data.exists():
        data.mkdir()
        CASES[task][0](data)
    words = [task, "--model", str(model), "--name", name, "--data", str(folder), "--languages", "de"]
    assert main([*words, "--out", str(out), *more]) == 0
    return read_scores(out)


@pytest.mark.parametrize("task", CASES)
def test_from_a_folder_to_numbers_that_weam_score_gives_too(
    task: str, folder_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (found,) = _run(task, folder_path, tmp_path)
    assert 0 <= found.value <= 100
    assert found.signature.startswith(f"{task}|")
    assert task in capsys.readouterr().out
    _, gold, predictions = CASES[task]
    kept = tmp_path / "predictions" / "weam"
    if not predictions:
        assert not kept.exists()
        return
    # Kept beside the scores, without being asked for.
    files = ["--gold", str(tmp_path / task / gold), "--predictions", str(kept / predictions), "--language", "de"]
    assert score.main([task, *files]) == 0
    assert json.loads(capsys.readouterr().out)[found.metric] == pytest.approx(found.value, abs=1e-9)
    assert (tmp_path / found.detail["items"]).is_file()


def test_two_models_keep_their_predictions_apart(folder_path: Path, tmp_path: Path) -> None:
    other = shutil.copytree(folder_path, tmp_path / "other")
    _run("tatoeba", folder_path, tmp_path)
    _run("tatoeba", other, tmp_path, name="org/other")
    assert sorted(path.name for path in (tmp_path / "predictions").iterdir()) == ["org%2Fother", "weam"]
    told = [each.detail["items"] for each in read_scores(tmp_path / "scores.jsonl")]
    assert told == [f"predictions/{name}/tatoeba.test.de.seed1.items.jsonl" for name in ("weam", "org%2Fother")]


def test_seeds_of_one_name_keep_their_items_apart(
    folder_path: Path, make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    """Two pretraining seeds: weam-report finds the items of each, and they give its score."""
    _run("tatoeba", folder_path, tmp_path, "--seed", "1")
    _run("tatoeba", make_folder(seed=1), tmp_path, "--seed", "2")
    entries = read_score_files([tmp_path / "scores.jsonl"]).entries
    assert [entry.score.seed for entry in entries] == [1, 2]
    assert len({entry.items for entry in entries}) == 2
    for entry in entries:
        shares = read_item_counts(entry)  # raises where the items are another score's
        assert shares is not None
        assert len(shares.ids) == entry.score.n


@pytest.mark.parametrize(("task", "seeds"), [("word-similarity", [1, 2]), ("word-alignment", [1]), ("tatoeba", [1])])
def test_every_seed_is_used_where_something_is_drawn(
    task: str, seeds: list[int], folder_path: Path, tmp_path: Path
) -> None:
    assert [each.seed for each in _run(task, folder_path, tmp_path, "--seeds", "1,2")] == seeds
