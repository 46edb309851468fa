"""The scores file: signatures, replacement, and what an interruption leaves."""

import json
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.benchmark import Measurement
from weam_fairseq.evaluation.scores import Score, differing_parts, make_score, read_scores, write_scores


def _score(value: float = 50.0, language: str = "en-de", model: str = "weam", seed: int = 1) -> Score:
    method = {"pair": language, "split": "heldout/odd", "pool": "mean", "layer": "dev-best"}
    return make_score(
        Measurement(language, "heldout/odd", "accuracy@1", value, 250, {"layer": 3}, method),
        task="sentence-retrieval",
        model=model,
        checkpoint="0123456789ab",
        data="ba9876543210",
        seed=seed,
        versions={"v": "0.1.0", "transformers": "5.23.0", "torch": "2.13.0"},
    )


def test_signature() -> None:
    assert _score().signature == (
        "sentence-retrieval|pair:en-de|split:heldout/odd|pool:mean|layer:dev-best|metric:accuracy@1|"
        "ckpt:0123456789ab|data:ba9876543210|seed:1|v:0.1.0|transformers:5.23.0|torch:2.13.0"
    )


def test_written_scores_read_back_and_older_ones_are_replaced(tmp_path: Path) -> None:
    file = tmp_path / "new" / "scores.jsonl"
    write_scores(file, [_score(10), _score(20, "en-zh")])
    write_scores(file, [_score(30), _score(40, seed=2), _score(50, model="tlm")])
    assert [score.value for score in read_scores(file)] == [20, 30, 40, 50]
    assert [path.name for path in file.parent.iterdir()] == ["scores.jsonl"]


def test_a_byte_order_mark_is_removed_and_other_encodings_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "scores.jsonl"
    write_scores(file, [_score(10)])
    text = file.read_bytes()
    file.write_bytes(b"\xef\xbb\xbf" + text)
    assert [score.value for score in read_scores(file)] == [10]
    file.write_bytes(text + b"\xff\n")
    with pytest.raises(InputError, match=r"scores\.jsonl:2 must be UTF-8"):
        read_scores(file)


def test_replaced_lines_come_back_with_what_differs(tmp_path: Path) -> None:
    file = tmp_path / "scores.jsonl"
    old = _score(10)
    assert write_scores(file, [old]) == []
    other = replace(old, signature=old.signature.replace("layer:dev-best", "layer:8of12").replace("2.13.0", "2.14.0"))
    assert write_scores(file, [other]) == [old]
    assert differing_parts(old, other) == {"layer": ("dev-best", "8of12")}
    assert differing_parts(old, old) == {}


@pytest.mark.parametrize(
    "score", [replace(_score(), value=float("nan")), replace(_score(), detail={"layers": [1.0, float("inf")]})]
)
def test_a_number_that_is_none_is_not_written(tmp_path: Path, score: Score) -> None:
    file = tmp_path / "scores.jsonl"
    write_scores(file, [_score(10)])
    with pytest.raises(InputError, match=r"sentence-retrieval en-de accuracy@1 of weam: a number .* is not finite"):
        write_scores(file, [_score(20, "en-zh"), score])
    assert [each.value for each in read_scores(file)] == [10]


@pytest.mark.parametrize("line", ['{"task": "x"', '{"task": "x"}', "[1]"])
def test_a_broken_line_is_named_and_the_file_kept(tmp_path: Path, line: str) -> None:
    file = tmp_path / "scores.jsonl"
    write_scores(file, [_score()])
    file.write_text(before := file.read_text() + line + "\n")
    with pytest.raises(InputError, match=r"scores\.jsonl:2( must be |: the line is not a score).*Remove the line"):
        write_scores(file, [_score(1)])
    assert file.read_text() == before


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "scores.jsonl"
    write_scores(file, [_score(10)])

    def stop(*_: object, **__: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(json, "dumps", stop)
    with pytest.raises(KeyboardInterrupt):
        write_scores(file, [_score(20)])
    assert [score.value for score in read_scores(file)] == [10]


def _write_many(job: tuple[Path, int]) -> None:
    file, writer = job
    for seed in range(10):
        write_scores(file, [_score(model=f"model{writer}", seed=seed)])


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    file = tmp_path / "scores.jsonl"
    with get_context("fork").Pool(3) as pool:
        pool.map(_write_many, [(file, writer) for writer in range(3)])
        pool.close()
        pool.join()
    assert len(read_scores(file)) == 30
