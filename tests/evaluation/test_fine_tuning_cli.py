"""weam-evaluate on the tasks that fine-tune: small files in the published formats, a model of two layers."""

import json
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import pytest

from weam_fairseq.common.command import INTERRUPTED
from weam_fairseq.evaluation import score as weam_score
from weam_fairseq.evaluation.cli import main
from weam_fairseq.evaluation.fine_tuning import tune
from weam_fairseq.evaluation.hf_folder import checkpoint_hash, open_folder
from weam_fairseq.evaluation.scores import Score, read_scores

from .benchmark_data import LANGUAGES, QUICK, WRITERS, squad, write_benchmark
from .conftest import write_lines


def _call(task: str, model: Path, data: Path, out: Path, *more: str) -> int:
    languages = () if "--languages" in more else ("--languages", LANGUAGES[task])
    return main([task, "--model", str(model), "--data", str(data), *languages, "--out", str(out), *QUICK, *more])


def _scores(task: str, model: Path, data: Path, out: Path, *more: str) -> list[Score]:
    assert _call(task, model, data, out, *more) == 0
    return read_scores(out)


class Run(NamedTuple):
    """A folder with a task's data, scores and fine-tuned models, and the output of the command that made them."""

    data: Path
    out: Path
    scores: list[Score]
    output: str
    notes: str


@pytest.fixture(scope="session")
def finished(folder_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """Runs a task with the default options, once for all tests. Do not change its files: use `_copy`."""

    @cache
    def run(task: str) -> Run:
        root = tmp_path_factory.mktemp(task)
        data, out = write_benchmark(task, root / "data"), root / "scores.jsonl"
        with redirect_stdout(StringIO()) as output, redirect_stderr(StringIO()) as notes:
            scores = _scores(task, folder_path, data, out)
        return Run(data, out, scores, output.getvalue(), notes.getvalue())

    return run


def _copy(run: Run, tmp_path: Path) -> tuple[Path, Path]:
    """Data and scores file of a copy, in which the fine-tuned models are found again."""
    root = shutil.copytree(run.out.parent, tmp_path / "copy-of-run")
    return root / run.data.name, root / run.out.name


def _fails(capsys: pytest.CaptureFixture[str], message: str, code: int) -> None:
    error = capsys.readouterr().err
    assert code == 2
    assert error.startswith("weam-evaluate: error: ")
    assert error.count("\n") == 1
    assert message in error


@pytest.mark.parametrize("task", WRITERS)
def test_every_task_from_a_folder_to_numbers_that_weam_score_gives_too(
    task: str, folder_path: Path, finished: Callable[[str], Run], capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, scores, output, _ = finished(task)
    assert task in output
    first = scores[0]
    assert {score.checkpoint for score in scores} == {open_folder(folder_path).checkpoint}
    assert all(part in first.signature for part in ("|train:", "|select:", "|recipe:lr0.01,ep3,bs8,len32", "|scorer:"))

    predictions = out.parent / first.detail["predictions"]
    gold = predictions.with_name(predictions.name.replace(".seed1", ".seed1.gold"))
    arguments = [task, "--gold", str(gold), "--predictions", str(predictions), "--language", LANGUAGES[task]]
    assert weam_score.main(arguments) == 0
    apart = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert {score.metric: pytest.approx(score.value, abs=1e-9) for score in scores if score.metric in apart} == {
        metric: value for metric, value in apart.items() if metric in {score.metric for score in scores}
    }
    assert first.metric in apart

    items = [json.loads(line) for line in (out.parent / first.detail["items"]).read_text().splitlines()]
    assert len(items) == first.n
    assert first.value == pytest.approx(_from_items(items, first.metric), abs=1e-9)


def _from_items(items: list[dict[str, float]], metric: str) -> float:
    if metric in items[0]:
        return sum(item[metric] for item in items) / len(items)
    totals = {name: sum(item[name] for item in items) for name in ("correct", "predicted", "gold")}
    return 200 * totals["correct"] / max(1, totals["predicted"] + totals["gold"])


def test_a_finished_model_is_used_again_and_shared_by_tasks(
    folder_path: Path, finished: Callable[[str], Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = _copy(finished("xquad"), tmp_path)
    write_benchmark("mlqa", data)
    first = read_scores(out)
    monkeypatch.setattr(tune, "train", _must_not_run)
    assert _scores("xquad", folder_path, data, out) == first
    both = _scores("mlqa", folder_path, data, out, "--languages", "de,en-de")
    assert len({score.detail["fine_tuned"] for score in both}) == 1
    assert [score.language for score in both] == ["de", "de", "de", "de", "en-de", "en-de"]


def _must_not_run(*_: object) -> None:
    raise AssertionError("the model is there already")


def test_an_interrupted_run_resumes(
    folder_path: Path, finished: Callable[[str], Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uninterrupted = finished("xnli")
    data = uninterrupted.data

    run_update, done = tune.train.__globals__["_update"], 0

    def stop_at_the_fifth(*arguments: object) -> float:
        nonlocal done
        done += 1
        if done == 5:
            raise KeyboardInterrupt
        return run_update(*arguments)

    out = tmp_path / "b" / "scores.jsonl"
    monkeypatch.setitem(tune.train.__globals__, "_update", stop_at_the_fifth)
    assert _call("xnli", folder_path, data, out, "--save-every", "2") == INTERRUPTED
    assert not out.exists()
    again = _scores("xnli", folder_path, data, out, "--save-every", "2")
    assert done == 5 + 9 - 4  # 9 updates in all, of which 4 were saved
    assert _weights(uninterrupted.out.parent, uninterrupted.scores) == _weights(tmp_path / "b", again)


def _weights(root: Path, scores: list[Score]) -> bytes:
    return (root / "fine-tuned" / scores[0].detail["fine_tuned"] / "model.safetensors").read_bytes()


@pytest.mark.parametrize("changed", ["config.json", "tokenizer.json"])
def test_the_same_weights_with_another_config_or_tokenizer_are_another_model(
    changed: str,
    folder_path: Path,
    finished: Callable[[str], Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The finished fine-tuning of the first model is not used for the second."""
    data, out = _copy(finished("xnli"), tmp_path)
    copy = shutil.copytree(folder_path, tmp_path / "copy")
    content = json.loads((copy / changed).read_text())
    if changed == "config.json":
        content["layer_norm_eps"] = 0.1
    else:
        content["normalizer"]["lowercase"] = False
    (copy / changed).write_text(json.dumps(content))
    assert open_folder(copy).checkpoint != open_folder(folder_path).checkpoint
    monkeypatch.setattr(tune, "train", _must_not_run)
    with pytest.raises(AssertionError, match="the model is there already"):
        _call("xnli", copy, data, out)


def test_what_decides_nothing_is_in_no_hash(folder_path: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder_path, tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "transformers_version": "0", "_name_or_path": "elsewhere"}))
    folder = open_folder(copy)
    assert folder.checkpoint == open_folder(folder_path).checkpoint
    folder.tokenizer("a long text", truncation=True, max_length=3, padding="max_length")
    assert checkpoint_hash(copy, folder.tokenizer) == folder.checkpoint


@pytest.mark.parametrize(
    ("kind", "task"),
    [("bin shards", "xnli"), *((kind, "sentence-retrieval") for kind in ("bin", "shards", "bin shards"))],
)
def test_published_weights_in_other_files(
    kind: str, task: str, folder_path: Path, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The figures are the same, and a lost shard is named."""
    data = write_benchmark("xnli", tmp_path / "data") if task == "xnli" else data_dir
    copy = shutil.copytree(folder_path, tmp_path / "copy")
    parts = save_weights(copy, kind)
    words = [task, "--data", str(data), "--languages", "de", *(QUICK if task == "xnli" else ())]
    values = []
    for number, folder in enumerate((folder_path, copy)):
        out = tmp_path / str(number) / "scores.jsonl"
        assert main([*words, "--model", str(folder), "--out", str(out)]) == 0
        values.append([score.value for score in read_scores(out)])
    assert values[0] == values[1]
    parts[-1].unlink()
    capsys.readouterr()
    assert main([*words, "--model", str(copy), "--out", str(tmp_path / "scores.jsonl")]) == 2
    assert parts[-1].name in capsys.readouterr().err


def save_weights(folder: Path, kind: str) -> list[Path]:
    """model.safetensors as pytorch_model.bin, or in two shards. Returns the files."""
    import torch
    from safetensors.torch import load_file, save_file

    whole = folder / "model.safetensors"
    weights = load_file(whole)
    whole.unlink()
    name = "pytorch_model.bin" if "bin" in kind else "model.safetensors"
    stem, ending = name.split(".")
    names = sorted(weights)
    halves = [names[::2], names[1::2]] if "shards" in kind else [names]
    files = [
        folder / (name if len(halves) == 1 else f"{stem}-{number:05}-of-00002.{ending}")
        for number in range(1, len(halves) + 1)
    ]
    for file, half in zip(files, halves, strict=True):
        part = {name: weights[name] for name in half}
        torch.save(part, file) if ending == "bin" else save_file(part, file, metadata={"format": "pt"})
    if len(halves) == 2:
        where = {name: file.name for file, half in zip(files, halves, strict=True) for name in half}
        index = {"metadata": {"total_size": 0}, "weight_map": where}
        (folder / f"{name}.index.json").write_text(json.dumps(index))
    return files


def test_a_pickle_that_asks_for_more_than_tensors_is_refused(
    folder_path: Path, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    copy = shutil.copytree(folder_path, tmp_path / "copy")
    (copy / "model.safetensors").unlink()
    torch.save({"weights": Path("x")}, copy / "pytorch_model.bin")
    assert main(["sentence-retrieval", "--model", str(copy), "--data", str(data_dir), "--languages", "de"]) == 2
    assert "does not load as a masked language model" in capsys.readouterr().err


def test_all_mistakes_of_all_tasks_are_reported_before_the_first_runs(
    folder_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = write_benchmark("xnli", tmp_path), tmp_path / "scores.jsonl"
    write_benchmark("pawsx", tmp_path)
    write_benchmark("udpos", tmp_path)
    (data / "pawsx" / "en" / "train.tsv").write_text("id\tsentence1\tsentence2\tlabel\n1\ta\tb\tperhaps\n")
    monkeypatch.setattr(tune, "train", _must_not_run)
    words = ["--model", str(folder_path), "--data", str(data), "--out", str(out), "--languages", "de,fr", *QUICK]
    assert main(["xnli", "udpos", "pawsx", *words, "--dev-file", "none.tsv"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "3 errors; nothing was evaluated: (1) xnli needs test-fr.tsv or" in error
    assert "(2) udpos needs fr_*-ud-test*.conllu" in error
    assert "(3) pawsx needs test-fr.tsv" in error
    words[words.index("de,fr")] = "de"
    assert main(["xnli", "udpos", "pawsx", *words, "--dev-file", "none.tsv"]) == 2
    error = capsys.readouterr().err
    assert "2 errors" in error
    assert "--dev-file none.tsv does not exist" in error
    assert "train.tsv:2: the label must be 1 (paraphrase) or 0" in error
    out.write_text("no score\n")
    assert main(["xnli", *words]) == 2
    assert "scores.jsonl:1 must be JSON, but is not" in capsys.readouterr().err


def test_each_seed_gives_its_own_run_and_the_same_run_again(
    folder_path: Path, finished: Callable[[str], Run], tmp_path: Path
) -> None:
    data, out = _copy(finished("xnli"), tmp_path)
    scores = _scores("xnli", folder_path, data, out, "--seeds", "1,2")
    assert [score.seed for score in scores] == [1, 2]
    assert _weights(out.parent, scores[:1]) != _weights(out.parent, scores[1:])
    again = _scores("xnli", folder_path, data, tmp_path / "b" / "scores.jsonl", "--seeds", "2")
    assert _weights(tmp_path / "b", again) == _weights(out.parent, scores[1:])


@pytest.mark.parametrize("task", ["xnli", "mlqa", "pawsx"])
def test_translate_train_trains_a_model_for_each_language(task: str, folder_path: Path, tmp_path: Path) -> None:
    data, options = write_benchmark(task, tmp_path), ("--train-on", "translate-train", "--epochs", "1")
    scores = _scores(task, folder_path, data, tmp_path / "scores.jsonl", *options)
    assert ":de:" in scores[0].signature.split("|train:")[1].split("|")[0]
    if task == "xnli":
        both = _scores(task, folder_path, data, tmp_path / "scores.jsonl", *options, "--languages", "de,en")
        assert len({score.detail["fine_tuned"] for score in both}) == 2


def test_xcopa_starts_from_social_iqa_by_default(
    folder_path: Path, finished: Callable[[str], Run], tmp_path: Path
) -> None:
    data, out = _copy(finished("xcopa"), tmp_path)
    assert "|start:multiple-choice-" in read_scores(out)[0].signature
    own = _scores("xcopa", folder_path, data, out, "--train-file", str(data / "xcopa" / "train-en.jsonl"))[-1]
    assert "|start:pretrained|" in own.signature
    shutil.rmtree(data / "xcopa" / "siqa")
    assert _call("xcopa", folder_path, data, out) == 2


def test_replaced_lines_of_another_recipe_are_reported(
    folder_path: Path, finished: Callable[[str], Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = _copy(finished("xnli"), tmp_path)
    _scores("xnli", folder_path, data, out)
    assert "replaced" not in capsys.readouterr().err
    assert len(_scores("xnli", folder_path, data, out, "--epochs", "1", "--select", "last")) == 1
    said = capsys.readouterr().err
    assert f"1 older lines of xnli (de accuracy) of {folder_path.name}, seed 1, were replaced: " in said
    assert "recipe was lr0.01,ep3,bs8,len32,warm0,wd0,fp32, is lr0.01,ep1," in said
    assert "select was dev:" in said


def test_the_oracle_figure_is_in_the_detail_only(
    folder_path: Path, finished: Callable[[str], Run], tmp_path: Path
) -> None:
    data, out = _copy(finished("xnli"), tmp_path)
    plain = read_scores(out)
    (score,) = _scores("xnli", folder_path, data, out, "--oracle")
    assert score.value == plain[0].value
    assert "oracle" not in plain[0].detail
    oracle = score.detail["oracle"]
    assert len(oracle["dev"]) == 3
    assert oracle["dev"][oracle["epoch"] - 1] == max(oracle["dev"])
    assert 0 <= oracle["accuracy"] <= 100


def test_other_training_data_and_a_part_of_it(folder_path: Path, tmp_path: Path) -> None:
    data, out = write_benchmark("xnli", tmp_path / "data"), tmp_path / "scores.jsonl"
    files = ("--train-file", str(data / "xnli" / "train-en.tsv"), "--train-file", str(data / "xnli" / "dev-en.tsv"))
    (score,) = _scores("xnli", folder_path, data, out, *files, "--hold-out", "7", "--train-examples", "40")
    # 16 premises, each with up to 3 pairs, are held out whole until there are 7
    held_out = int(score.signature.split("select:held-out")[1].split("|")[0])
    assert 7 <= held_out <= 9
    assert score.detail["train_examples"] == 40 - held_out
    assert "|train:files:en:" in score.signature


def test_present_languages_are_measured_and_missing_ones_named(
    folder_path: Path, finished: Callable[[str], Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = _copy(finished("xnli"), tmp_path)
    assert _call("xnli", folder_path, data, out, "--languages", "all") == 2
    assert "has no data (split 'test') for ar, bg, el" in capsys.readouterr().err
    assert [score.language for score in _scores("xnli", folder_path, data, out, "--languages", "present")] == [
        "de",
        "en",
    ]
    assert "note: xnli: no data (split 'test') for ar, bg, el" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--languages", "ja"), "xnli has no language 'ja'; it has ar, bg"),
        (("--split", "validation"), "xnli has no split 'validation'; it has test, dev"),
        (("--seeds", "one"), "--seeds must be numbers such as 1,2,3"),
        (("--epochs", "0"), "--epochs must be at least 1, but is 0"),
        (("--learning-rate", "3"), "--learning-rate must be between 0 and 1, but is 3"),
        (("--max-length", "500"), "--max-length is 500, but the model accepts at most 64 pieces"),
        (("--train-file", "none.tsv"), "--train-file none.tsv does not exist"),
        (("--dev-file", "none.tsv"), "--dev-file none.tsv does not exist"),
        (("--hold-out", "5", "--dev-file", "x"), "--dev-file and --hold-out both select the epoch"),
        (("--select", "last", "--hold-out", "5"), "--select last keeps the last epoch"),
        (("--hold-out", "24"), "--hold-out 24 is too large for 24 training examples"),
        (("--train-on", "translate-train", "--train-file", "x"), "Give one of the two"),
        (("--answer-decoding", "pipeline"), "--answer-decoding has no effect, because xnli answers no questions"),
    ],
)
def test_bad_choices(
    more: tuple[str, ...], message: str, folder_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_benchmark("xnli", tmp_path / "data")
    _fails(capsys, message, _call("xnli", folder_path, data, tmp_path / "scores.jsonl", *more))


def test_without_training_or_dev_data(folder_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = write_benchmark("xnli", tmp_path / "data"), tmp_path / "scores.jsonl"
    (data / "xnli" / "dev-en.tsv").unlink()
    _fails(capsys, "xnli selects the epoch on English dev (dev-en.tsv", _call("xnli", folder_path, data, out))
    assert "select:last" in _scores("xnli", folder_path, data, out, "--select", "last")[0].signature
    capsys.readouterr()
    (data / "xnli" / "train-en.tsv").unlink()
    (data / "xnli" / "multinli.train.en.tsv").unlink()
    _fails(capsys, "xnli is trained on multinli, but ", _call("xnli", folder_path, data, out))
    code = main(["panx", "--model", str(folder_path), "--data", str(data), "--languages", "de", "--work", "w"])
    _fails(capsys, "panx needs test-de.tsv or de/test or de-test for language 'de'", code)


def test_without_a_place_to_keep_things(folder_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_benchmark("xnli", tmp_path / "data")
    code = main(["xnli", "--model", str(folder_path), "--data", str(data), "--languages", "de"])
    _fails(capsys, "Give --out FILE", code)


def test_no_translations_for_this_task(folder_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_benchmark("xquad", tmp_path / "data")
    code = _call("xquad", folder_path, data, tmp_path / "s.jsonl", "--train-on", "translate-train")
    _fails(capsys, "xquad has no --train-on translate-train; it has english", code)


def test_what_was_trained_on_is_not_measured(
    folder_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = write_benchmark("tydiqa", tmp_path / "data"), tmp_path / "scores.jsonl"
    code = _call("tydiqa", folder_path, data, out, "--split", "train", "--languages", "en")
    _fails(capsys, "all 4 en examples of tydiqa are in the training data (tydiqa.goldp.en.train.json)", code)
    xnli = write_benchmark("xnli", tmp_path / "data")
    dev = str(xnli / "xnli" / "dev-en.tsv")
    _fails(
        capsys,
        "is a training file and would also select the epoch",
        _call("xnli", folder_path, xnli, out, "--train-file", dev),
    )


def test_test_data_that_training_saw_is_counted(
    folder_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = write_benchmark("xnli", tmp_path / "data"), tmp_path / "scores.jsonl"
    leaked = (data / "xnli" / "test-de.tsv").read_text().splitlines()[:2]
    write_lines(data / "xnli" / "train-en.tsv", (data / "xnli" / "train-en.tsv").read_text().splitlines() + leaked)
    assert _scores("xnli", folder_path, data, out)[0].detail["seen_in_training"] == 2
    assert "de: 2 examples are in the training data with the same text" in capsys.readouterr().err


def test_stripped_gold_is_an_error_and_no_chance_figure(
    folder_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = write_benchmark("xquad", tmp_path / "data"), tmp_path / "scores.jsonl"
    (data / "xquad" / "xquad.de.json").write_text(squad("stripped", gold=False))
    _fails(capsys, "has no gold answer", _call("xquad", folder_path, data, out))


def test_an_encoder_without_all_its_weights_is_refused(
    make_folder: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import load_file, save_file

    data, model = write_benchmark("xnli", tmp_path / "data"), make_folder()
    weights = load_file(model / "model.safetensors")
    gone = "bert.encoder.layer.1.output.dense.weight"
    save_file(
        {name: values for name, values in weights.items() if name != gone},
        model / "model.safetensors",
        metadata={"format": "pt"},
    )
    code = _call("xnli", model, data, tmp_path / "scores.jsonl")
    _fails(capsys, f"the checkpoint lacks 1 weights of its encoder, such as {gone}", code)


@pytest.mark.parametrize(
    ("kind", "task"), [*(("distilbert", task) for task in ("xnli", "xquad", "udpos")), ("xlm-roberta", "xquad")]
)
def test_other_architectures(kind: str, task: str, folder_of_kind: Callable[[str], Path], tmp_path: Path) -> None:
    data = write_benchmark(task, tmp_path / "data")
    assert len(_scores(task, folder_of_kind(kind), data, tmp_path / "scores.jsonl", "--epochs", "1")) >= 1


def test_a_new_pooler_is_reported(finished: Callable[[str], Run]) -> None:
    assert finished("xnli").scores[0].detail["pooler_new"]
    assert "the folder has no pooler; the seed initialized its weights" in finished("xnli").notes


def test_bf16_trains_as_well(folder_path: Path, tmp_path: Path) -> None:
    data = write_benchmark("xnli", tmp_path / "data")
    (score,) = _scores("xnli", folder_path, data, tmp_path / "scores.jsonl", "--precision", "bf16", "--epochs", "1")
    assert ",bf16|" in score.signature


def test_a_diverged_training_is_an_error(
    folder_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from weam_fairseq.evaluation.fine_tuning.classification import Classification

    data = write_benchmark("xnli", tmp_path / "data")
    loss = Classification.loss
    monkeypatch.setattr(Classification, "loss", lambda *arguments: loss(*arguments) * float("nan"))
    _fails(
        capsys,
        "the loss is not finite at update 1: training diverged",
        _call("xnli", folder_path, data, tmp_path / "scores.jsonl"),
    )


def test_the_decoding_of_answers_is_in_signature_hash_and_file_names(
    folder_path: Path, finished: Callable[[str], Run], tmp_path: Path
) -> None:
    data, out = _copy(finished("xquad"), tmp_path)
    official = read_scores(out)
    every = _scores("xquad", folder_path, data, out, "--name", "pipeline", "--answer-decoding", "pipeline")
    assert all("|decoding:official|" in score.signature for score in official)
    pipeline = [score for score in every if score.model == "pipeline"]
    assert all("|decoding:pipeline|" in score.signature for score in pipeline)
    one, other = official[0].detail, pipeline[0].detail
    assert one["predictions"].endswith("seed1.json")
    assert other["predictions"].endswith("seed1.pipeline.json")
    assert one["fine_tuned"] != other["fine_tuned"]  # its epoch is chosen by the answers to dev
    last = _scores("xquad", folder_path, data, out, "--name", "last", "--select", "last")[-1]
    again = _scores(
        "xquad", folder_path, data, out, "--name", "again", "--select", "last", "--answer-decoding", "pipeline"
    )[-1]
    assert last.detail["fine_tuned"] == again.detail["fine_tuned"]
    assert last.detail["items"] != again.detail["items"]


def test_predictions_go_to_the_given_folder(folder_path: Path, finished: Callable[[str], Run], tmp_path: Path) -> None:
    data, out = _copy(finished("udpos"), tmp_path)
    work, predictions = ("--work", str(out.parent / "fine-tuned")), ("--predictions", str(tmp_path / "p"))
    (first, _) = _scores("udpos", folder_path, data, tmp_path / "s.jsonl", *work, *predictions)
    (folder,) = (tmp_path / "p" / folder_path.name).iterdir()  # of the training data
    assert sorted(path.name for path in folder.iterdir()) == [
        "udpos.test.de.seed1.gold.tsv",
        "udpos.test.de.seed1.items.jsonl",
        "udpos.test.de.seed1.tsv",
    ]
    assert folder.name.startswith("ud-english-en-")
    assert first.detail["predictions"] == f"p/{folder_path.name}/{folder.name}/udpos.test.de.seed1.tsv"
    assert first.n == 8  # both treebanks


def test_transformers_own_pipeline_gives_the_same_labels(finished: Callable[[str], Run]) -> None:
    from transformers import pipeline

    data, out, scores, *_ = finished("xnli")
    detail = scores[0].detail
    classify = pipeline("text-classification", model=str(out.parent / "fine-tuned" / detail["fine_tuned"]))
    pairs = [line.split("\t") for line in (data / "xnli" / "test-de.tsv").read_text().splitlines()]
    theirs = [classify({"text": first, "text_pair": second})["label"] for first, second, _ in pairs]
    assert (out.parent / detail["predictions"]).read_text().split() == theirs
