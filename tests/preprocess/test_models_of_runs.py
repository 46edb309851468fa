"""--save-aligner and --aligner-model: trained on one run, applied in another, chunk by chunk; the encoder's options."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from conftest import CHINESE, GERMAN, Made, write_tsv
from small_runs import contents, corpus, options
from weam_preprocess import align, aligners, cli, pipeline
from weam_preprocess.aligners import models
from weam_preprocess.aligners.eflomal import EflomalOptions
from weam_preprocess.aligners.encoder import EncoderOptions
from weam_preprocess.errors import InputError


@pytest.mark.parametrize(("aligner", "chunk", "workers"), [("fast_align", 110, 2), ("eflomal", 160, 1)])
def test_with_a_model_chunks_have_the_links_of_the_whole_text(
    made: Callable[[str], Made], aligner: str, chunk: int, workers: int, tmp_path: Path
) -> None:
    run = made(aligner)
    assert contents(run.saved) == run.contents
    asked = options(
        run.tsv,
        tmp_path / "bin",
        aligner=aligner,
        aligner_models={"en-de": run.models / "en-de"},
        chunk=chunk,
        workers=workers,
    )
    pipeline.run(asked)
    assert contents(tmp_path / "bin") == run.contents
    manifests = [json.loads((folder / "manifest.json").read_text()) for folder in (run.saved, tmp_path / "bin")]
    # Whoever trained the model, it is the same one.
    assert manifests[0]["aligner"] == manifests[1]["aligner"]
    assert manifests[0]["aligner"]["models"]["en-de"]["sha256"]
    card = json.loads((run.models / "en-de" / "aligner.json").read_text())
    assert (card["pair"], card["name"]) == (
        "en-de",
        {"fast_align": "fast_align (agreement)", "eflomal": "eflomal (sil-thot)"}[aligner],
    )
    assert card["trained_on"]["pairs"] == 280


def test_only_chunks_without_links_are_aligned_again(
    made: Callable[[str], Made], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made("fast_align")
    models = {"en-de": run.models / "en-de"}
    asked = options(run.tsv, tmp_path / "bin", aligner="fast_align", aligner_models=models, chunk=70, resume=True)
    real, done = align._align_chunk, []

    def killed_after_two(job: tuple[align.Alignment, int]) -> int:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(job[1])
        return real(job)

    monkeypatch.setattr(align, "_align_chunk", killed_after_two)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(asked)
    assert done == [0, 1]
    again: list[int] = []
    monkeypatch.setattr(align, "_align_chunk", lambda job: again.append(job[1]) or real(job))
    pipeline.run(asked)
    assert again == [2, 3, 4]
    assert contents(tmp_path / "bin") == run.contents


def test_training_is_not_done_again(
    made: Callable[[str], Made], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made("fast_align")
    asked = options(run.tsv, tmp_path / "bin", aligner="fast_align", save_aligner=tmp_path / "models", resume=True)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    # Killed before, and then after, the model has been put in its place.
    for stage in ("pipeline.merge", "manifest.write"):
        with monkeypatch.context() as patch:
            patch.setattr(f"weam_preprocess.{stage}", killed)
            with pytest.raises(KeyboardInterrupt):
                pipeline.run(asked)
        assert (tmp_path / "models").exists() == (stage == "manifest.write")
        monkeypatch.setattr("weam_preprocess.aligners.models.train", killed)
    pipeline.run(asked)
    assert contents(tmp_path / "bin") == run.contents
    assert contents(tmp_path / "models") == contents(run.models)


def common(tmp_path: Path, pairs: list[str], name: str = "bin") -> list[str]:
    words = [word for pair in pairs for word in ("--pair", pair)]
    return [*words, "--train-tokenizer", "wordpiece", "--vocab-size", "200", "--destdir", str(tmp_path / name)]


@pytest.fixture(scope="module")
def two_pairs(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path, dict[str, bytes]]:
    """`--pair` of two pairs, the models of both, and the data-bin."""
    folder = tmp_path_factory.mktemp("two")
    files = {"en-de": write_tsv(folder / "de.tsv", GERMAN), "en-zh": write_tsv(folder / "zh.tsv", CHINESE)}
    pairs = [f"{name}={file}" for name, file in files.items()]
    models = folder / "models"
    assert cli.main([*common(folder, pairs), "--save-aligner", str(models)]) == 0
    return pairs, models, contents(folder / "bin")


def test_every_pair_has_a_model_of_its_own(two_pairs: tuple[list[str], Path, dict[str, bytes]], tmp_path: Path) -> None:
    pairs, models, expected = two_pairs
    assert sorted(path.name for path in models.iterdir()) == ["en-de", "en-zh"]
    assert cli.main([*common(tmp_path, pairs), "--aligner-model", str(models)]) == 0
    assert contents(tmp_path / "bin") == expected
    named = [word for name in ("en-zh", "en-de") for word in ("--aligner-model", f"{name}={models / name}")]
    assert cli.main([*common(tmp_path, pairs, "named"), *named]) == 0
    assert contents(tmp_path / "named") == expected
    aligner = json.loads((tmp_path / "bin" / "manifest.json").read_text())["aligner"]
    assert sorted(aligner["models"]) == ["en-de", "en-zh"]
    assert aligner["models"]["en-de"] != aligner["models"]["en-zh"]
    # One model for one pair, by its own folder.
    assert cli.main([*common(tmp_path, pairs[1:], "one"), "--aligner-model", str(models / "en-zh")]) == 0


@pytest.mark.parametrize(
    ("pairs", "words", "sentence"),
    [
        ([1, 0], ["--aligner-model", "MODELS/en-de"], "MODELS/en-de is the model of one pair, but the pairs are"),
        ([1], ["--aligner-model", "MODELS/en-de"], "holds a model of en-de, but the pair is en-zh. A model serves one"),
        (["de-en"], ["--aligner-model", "MODELS/en-de"], "holds a model of en-de, but the pair is de-en"),
        (
            ["de-en"],
            ["--aligner-model", "MODELS"],
            "must be a model, or hold one for each pair, but MODELS/de-en is not one",
        ),
        ([0], ["--aligner-model", "nowhere"], "nowhere is not a folder. Name one that --save-aligner wrote."),
        ([0, 1], ["--aligner-model", "en-de=MODELS/en-de"], "Add --aligner-model en-zh=DIR"),
        ([0], ["--aligner-model", "en-fr=MODELS/en-de"], "--aligner-model en-fr: there is no such --pair"),
        (
            [0],
            ["--aligner-model", "MODELS", "--aligner-model", "MODELS"],
            "must be one DIR, or en-de=DIR for each pair",
        ),
        ([0], ["--aligner-model", "en-de=a", "--aligner-model", "en-de=b"], "--aligner-model en-de is given twice"),
        (
            [0],
            ["--aligner-model", "MODELS", "--aligner", "eflomal"],
            "a model of fast_align (agreement), but the aligner is eflomal",
        ),
        (
            [0],
            ["--aligner-model", "MODELS", "--aligner-implementation", "program"],
            "A model is applied by the implementation that trained it",
        ),
        (
            [0],
            ["--aligner", "eflomal", "--aligner-sample", "9"],
            "--aligner-sample is for --aligner fast_align, but the aligner is eflomal",
        ),
        ([0], ["--aligner-implementation", "program"], "The program fast_align must be on the PATH"),
        ([0], ["--aligner-implementation", "program", "--aligner", "eflomal"], "eflomal-align must be on the PATH"),
        ([0], ["--save-aligner", "MODELS"], "MODELS/en-de exists already"),
        ([0], ["--save-aligner", "new", "--aligner-model", "MODELS"], "but --aligner-model applies one"),
        ([0], ["--save-aligner", "BIN/models"], "must be outside the data-bin"),
        (
            [0],
            ["--save-aligner", "new", "--aligner", "encoder", "--aligner-model", "x"],
            "--save-aligner needs an aligner that is trained (fast_align, eflomal), but it is encoder",
        ),
        (
            [0],
            ["--encoder-layer", "3"],
            "--encoder-layer is for --aligner encoder, but the aligner is fast_align. Leave it out.",
        ),
        ([0], ["--encoder-bf16"], "--encoder-bf16 is for --aligner encoder"),
        (
            [0],
            ["--aligner", "fast_align", "--aligner-model", "MODELS", "--no-aligner-agreement"],
            "--no-aligner-agreement and --aligner-sample are for training our fast_align, but this run uses a model",
        ),
    ],
)
def test_what_cannot_be_is_said_before_any_work(
    pairs: list[int | str],
    words: list[str],
    sentence: str,
    two_pairs: tuple[list[str], Path, dict[str, bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given, models, _ = two_pairs
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pipeline, "prepare", None)
    files = [given[n] if isinstance(n, int) else f"{n}={given[0].split('=')[1]}" for n in pairs]
    places = {"MODELS": str(models), "BIN": str(tmp_path / "bin")}
    for name, path in places.items():
        words = [word.replace(name, path) for word in words]
        sentence = sentence.replace(name, path)
    assert cli.main([*common(tmp_path, files), *words]) == 2
    assert sentence in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_models_of_two_aligners_do_not_make_one_data_bin(
    two_pairs: tuple[list[str], Path, dict[str, bytes]], made: Callable[[str], Made], tmp_path: Path
) -> None:
    folders = {"en-de": made("eflomal").models / "en-de", "en-zh": two_pairs[1] / "en-zh"}
    with pytest.raises(InputError, match=r"must be of one aligner, but .* is of eflomal .* is of fast_align"):
        models.recipes(aligners.kind_of("fast_align"), ["en-de", "en-zh"], folders, 1, None)


def test_a_run_that_fails_leaves_no_model(
    two_pairs: tuple[list[str], Path, dict[str, bytes]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second pair has nothing to train on."""
    (tmp_path / "empty.tsv").write_text("a\t\n", encoding="utf-8")
    words = common(tmp_path, [two_pairs[0][0], f"en-zh={tmp_path / 'empty.tsv'}"])
    assert cli.main([*words, "--save-aligner", str(tmp_path / "models")]) == 2
    assert "none of 1 pairs is left" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["empty.tsv"]


def test_eflomal_is_the_seeded_sampler_wherever_the_program_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, de_tsv: Path
) -> None:
    script = tmp_path / "eflomal-align"
    script.write_text("#!/bin/sh\nexit 3\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    asked = options(de_tsv, tmp_path / "bin", aligner="eflomal", valid_size=0)
    assert pipeline.run(asked).aligner == "eflomal (sil-thot)"
    with pytest.raises(InputError, match=r"eflomal \(program\) failed with exit code 3"):
        pipeline.run(
            pipeline.Options(**(vars(asked) | {"overwrite": True, "aligner_options": EflomalOptions("program")}))
        )


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of 3 layers with random weights, 12 positions and a vocabulary of letters and digits."""
    path = tmp_path_factory.mktemp("encoder")
    letters = [*"abcdefghijklmnopqrstuvwxyzäöüß0123456789.,?'"]
    words = ["house", "haus", "dog", "hund", "the", "der", "das", "is", "ist", "small", "klein", "in"]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *letters, *(f"##{letter}" for letter in letters)]
    (path / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    transformers.BertTokenizerFast(vocab=str(path / "vocab.txt"), do_lower_case=True).save_pretrained(path)
    torch.manual_seed(3)
    config = transformers.BertConfig(
        vocab_size=len(pieces),
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=20,
        initializer_range=0.5,
    )
    transformers.BertModel(config).save_pretrained(path)
    return path


def test_an_encoder_by_the_command_line(
    encoder: Path, two_pairs: tuple[list[str], Path, dict[str, bytes]], tmp_path: Path
) -> None:
    words = ["--aligner", "encoder", "--aligner-model", str(encoder)]
    more = ["--encoder-method", "softmax", "--encoder-layer", "1", "--encoder-threshold", "0.2", "--encoder-batch", "3"]
    more += ["--encoder-device", "cpu"]
    assert cli.main([*common(tmp_path, two_pairs[0]), *words, *more]) == 0
    manifest = json.loads((tmp_path / "bin" / "manifest.json").read_text())
    assert manifest["aligner"]["name"] == "encoder (softmax, layer 1, threshold 0.2, cpu)"
    assert manifest["aligner"]["version"].startswith("sha256:")
    assert "models" not in manifest["aligner"]
    assert manifest["aligner"]["probabilities"] is True
    assert manifest["options"]["encoder"] == {
        "method": "softmax",
        "layer": 1,
        "threshold": 0.2,
        "bf16": False,
        "batch_size": 3,
        "device": "cpu",
    }
    assert cli.main([*common(tmp_path, two_pairs[0], "argmax"), *words]) == 0
    manifest = json.loads((tmp_path / "argmax" / "manifest.json").read_text())
    assert manifest["aligner"]["name"] == "encoder (argmax, layer 2)"


def test_an_encoder_goes_chunk_by_chunk_and_counts_what_it_cuts(encoder: Path, tmp_path: Path) -> None:
    """Workers change no byte; one chunk or many, no link changes."""
    tsv = corpus(tmp_path)
    tsv.write_text(tsv.read_text(encoding="utf-8") + "the house is small x x x x x x x x x x x x x x x x\tdas Haus\n")

    def run(name: str, chunk: int, workers: int) -> Path:
        asked = options(tsv, tmp_path / name, aligner="encoder", aligner_models={"en-de": encoder}, chunk=chunk)
        more = {"workers": workers, "aligner_options": EncoderOptions(method="argmax")}
        pipeline.run(pipeline.Options(**(vars(asked) | more)))
        return tmp_path / name

    whole = run("whole", 20_000, 1)
    assert contents(run("two", 70, 2)) == contents(whole)
    noted = json.loads((whole / "manifest.json").read_text())["pairs"]["en-de"]["noted"]
    assert noted[align.CUT] > 0
    assert json.loads((tmp_path / "two" / "manifest.json").read_text())["pairs"]["en-de"]["noted"] == noted


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--encoder-layer", "9"], "layer must be 0 to 3 in"),
        (["--encoder-threshold", "1"], "threshold must be between 0 and 1, but is 1.0"),
        (["--encoder-device", "gpu"], "--encoder-device must be a device that torch has, but is 'gpu'"),
        (["--encoder-method", "max"], "invalid choice: 'max'"),
        (["--encoder-batch", "0"], "batch size must be at least 1 sentence, but is 0"),
    ],
)
def test_encoder_options_that_cannot_be(
    words: list[str], sentence: str, encoder: Path, de_tsv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [*common(tmp_path, [f"en-de={de_tsv}"]), "--aligner", "encoder", "--aligner-model", str(encoder)]
    assert cli.main([*asked, *words]) == 2
    assert sentence in capsys.readouterr().err


def test_a_model_that_does_not_say_its_pair_is_taken_with_a_warning(
    two_pairs: tuple[list[str], Path, dict[str, bytes]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as `aligners.train` writes without a pair."""
    shutil.copytree(two_pairs[1] / "en-de", tmp_path / "model")
    card = tmp_path / "model" / "aligner.json"
    card.write_text(card.read_text().replace('"pair": "en-de",', '"pair": null,'))
    found = models.recipes(aligners.kind_of("fast_align"), ["fr-it"], {"fr-it": tmp_path / "model"}, 1, None)
    assert align.built(found["fr-it"]).name == "fast_align (agreement)"
    assert "does not name its languages. It is used as a model of fr-it" in caplog.text
