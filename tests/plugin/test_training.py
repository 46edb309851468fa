"""Real fairseq trainings of seconds: the golden loss curve, options, bad input."""

import json
import os
import platform
import re
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from hand_made_data_bin import random_examples
from published_start import give_true_digests, write_folder
from run_training import arguments, curve, error_of, train, weights

from weam_fairseq.common.errors import InputError
from weam_fairseq.convert.from_hf import convert
from weam_fairseq.method.objectives import OBJECTIVES
from weam_fairseq.plugin import checkpoints
from weam_fairseq.training.command_line import parse, prepare

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).parent
WITHOUT_DROPOUT = ("--dropout", "0", "--attention-dropout", "0")


def write_golden(file: Path, found: dict[int, str], more: tuple[str, ...]) -> None:
    """A change that is meant to alter the curve regenerates the file (CONTRIBUTING.md)."""
    words = " ".join(arguments(Path("SMALL_DATA_BIN"), Path("SAVE_DIR"), 20, *more))
    header = {
        "what": "loss (L_mp + L_cp, nats) of the first 20 updates on the data-bin small_data_bin of conftest.py",
        "command": f"OMP_NUM_THREADS=1 weam-train {words}",
        "versions": {name: version(name) for name in ("torch", "numpy", "ve-fairseq")},
        "machine": platform.machine(),
    }
    file.write_text(json.dumps(header | {"loss": {u: float(loss) for u, loss in found.items()}}, indent=1) + "\n")


def check_golden(name: str, log: str, more: tuple[str, ...] = ()) -> None:
    found, file = curve(log), GOLDEN / name
    if os.environ.get("WRITE_GOLDEN"):
        write_golden(file, found, more)
    golden = json.loads(file.read_text())
    assert list(found) == list(range(1, 21))
    for update, expected in golden["loss"].items():
        # Another processor adds in another order: the last of six logged digits at first, then errors grow.
        assert float(found[int(update)]) == pytest.approx(expected, rel=2e-6 if update == "1" else 1e-4), update


@pytest.fixture(scope="module")
def uninterrupted(small_data_bin: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    save_dir = tmp_path_factory.mktemp("whole")
    result = train(arguments(small_data_bin, save_dir, 20))
    assert result.returncode == 0, result.stderr
    return save_dir, result.stdout


def test_the_loss_curve_is_the_golden_one(uninterrupted: tuple[Path, str]) -> None:
    check_golden("golden_loss_curve.json", uninterrupted[1])


def test_without_dropout_it_is_the_other_golden_one(small_data_bin: Path, tmp_path: Path) -> None:
    """It does not depend on the random numbers of dropout."""
    result = train(arguments(small_data_bin, tmp_path, 20, *WITHOUT_DROPOUT))
    assert result.returncode == 0, result.stderr
    check_golden("golden_loss_curve_without_dropout.json", result.stdout, WITHOUT_DROPOUT)


@pytest.mark.parametrize(("family", "more"), [("bert", "--cp-head own"), ("xlm-roberta", ""), ("distilbert", "")])
def test_from_published_weights_it_is_that_of_the_former_encoder(
    make_data_bin: Callable[..., Path], tmp_path: Path, family: str, more: str
) -> None:
    """The file was made with the plugin's own encoder, before transformers' took its place."""
    pairs = ("en-de", "en-es", "en-zh")
    data_bin = make_data_bin(
        {
            pair: {"train": random_examples(60, seed), "valid": random_examples(10, seed + 10)}
            for seed, pair in enumerate(pairs)
        }
    )
    give_true_digests(data_bin)
    convert(write_folder(tmp_path / family, family, data_bin), tmp_path / "start.pt")
    words = arguments(data_bin, tmp_path / "run", 20, "--finetune-from-model", str(tmp_path / "start.pt"))
    at = words.index("--arch")
    result = train([*words[:at], *words[at + 2 :], *more.split()])
    assert result.returncode == 0, result.stderr
    golden = json.loads((GOLDEN / "golden_curves_from_published.json").read_text())[f"{family} {more}".strip()]
    found = curve(result.stdout)
    assert list(found) == list(range(1, 21))
    for update, expected in golden.items():
        assert float(found[int(update)]) == pytest.approx(expected, rel=1e-5), update


def test_a_new_head_is_fitted_at_the_start_and_never_again(make_data_bin: Callable[..., Path], tmp_path: Path) -> None:
    data_bin = make_data_bin({"en-de": {"train": random_examples(200, 1), "valid": random_examples(10, 2)}})
    give_true_digests(data_bin)
    convert(write_folder(tmp_path / "bare", "bert", data_bin, head=False), tmp_path / "start.pt")
    logs = []
    for updates in (2, 4):
        more = (
            "--finetune-from-model",
            str(tmp_path / "start.pt"),
            "--freeze",
            "encoder",
            "--save-interval-updates",
            "2",
        )
        words = arguments(data_bin, tmp_path / "run", updates, *more)
        at = words.index("--arch")
        result = train([*words[:at], *words[at + 2 :]])
        assert result.returncode == 0, result.stderr
        logs.append(result.stdout)
    before, unigram, fitted = map(
        float, re.findall(r"before ([0-9.]+), unigram ([0-9.]+), fitted ([0-9.]+)", logs[0])[0]
    )
    assert fitted <= unigram < before
    assert "fitted head" not in logs[1]
    first, last = (checkpoints.load(tmp_path / name)["model"] for name in ("start.pt", "run/checkpoint_last.pt"))
    assert (int(first["head_is_new"]), int(last["head_is_new"])) == (1, 0)
    base = [name for name in first if name.startswith("masked_lm.bert.")]
    assert all(torch.equal(first[name], last[name]) for name in base)


def test_the_encoder_is_trained_after_the_head_also_across_a_restart(
    small_data_bin: Path, tmp_path: Path, uninterrupted: tuple[Path, str]
) -> None:
    start = uninterrupted[0] / "checkpoint_last.pt"

    def run(name: str, updates: int) -> dict[str, torch.Tensor]:
        more = ("--finetune-from-model", str(start), "--head-first", "3", "--save-interval-updates", "2")
        result = train(arguments(small_data_bin, tmp_path / name, updates, *more))
        assert result.returncode == 0, result.stderr
        return weights(tmp_path / name / "checkpoint_last.pt")

    before, early, resumed, whole = weights(start), run("resumed", 2), run("resumed", 6), run("whole", 6)
    encoder = [name for name in before if ".bert." in name and "pooler" not in name]
    assert all(torch.equal(before[name], early[name]) for name in encoder)
    assert not any(torch.equal(before[name], whole[name]) for name in encoder if whole[name].dim() == 2)
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_fairseq_train_with_user_dir_is_the_same_training(
    small_data_bin: Path, tmp_path: Path, uninterrupted: tuple[Path, str]
) -> None:
    fairseq_train = (str(Path(sys.executable).with_name("fairseq-train")),)
    # Without fairseq's buffering thread, which can abort the process when a training ends within an epoch (train.py).
    words = arguments(
        small_data_bin,
        tmp_path,
        3,
        "--num-workers",
        "0",
        "--data-buffer-size",
        "0",
        "--user-dir",
        str(ROOT / "weam_fairseq"),
        "--task",
        "weam",
        "--criterion",
        "weam",
    )
    result = train(words, fairseq_train)
    assert result.returncode == 0, result.stderr
    whole = curve(uninterrupted[1])
    assert curve(result.stdout) == {update: whole[update] for update in (1, 2, 3)}


def test_both_losses_of_every_pair_are_logged(uninterrupted: tuple[Path, str]) -> None:
    last = [json.loads(li.split(" | ")[-1]) for li in uninterrupted[1].splitlines() if " | train_inner | " in li][-1]
    for pair in ("en-de", "en-es", "en-zh"):
        for name in ("mp_loss", "cp_loss", "mp_accuracy", "cp_accuracy", "masked_share", "linked_share"):
            assert f"{pair}:{name}" in last


def test_continued_objectives_start_from_the_base(
    small_data_bin: Path, tmp_path: Path, uninterrupted: tuple[Path, str]
) -> None:
    base = str(uninterrupted[0] / "checkpoint_last.pt")
    found = {}
    for objective in OBJECTIVES:
        more = (
            "--finetune-from-model",
            base,
            "--objective",
            objective,
            "--lr",
            "1e-9",
            "--no-save",
            "--mask-unit",
            "word",
        )
        result = train(arguments(small_data_bin, tmp_path / objective, 2, *more))
        assert result.returncode == 0, result.stderr
        log = next(json.loads(li.split(" | ")[-1]) for li in result.stdout.splitlines() if " | train_inner | " in li)
        found[objective] = {key: float(value) for key, value in log.items()}
    assert found["weam"]["en-de:mp_loss"] == found["tlm"]["en-de:mp_loss"] == found["shuffled"]["en-de:mp_loss"]
    assert found["identity"]["loss"] == pytest.approx(2 * found["tlm"]["loss"], rel=1e-5)
    assert "en-de:cp_loss" not in found["tlm"]
    shares = {name: found[name]["en-de:linked_share"] for name, each in OBJECTIVES.items() if each.has_second_loss}
    assert shares["weam"] == shares["sentence"] == shares["stranger"] > 0.5
    assert shares["shuffled"] > 0.5
    assert shares["identity"] == 0
    assert len({found[name]["en-de:cp_loss"] for name in shares}) == len(shares)


def test_bf16_runs_on_a_cpu(small_data_bin: Path, tmp_path: Path, uninterrupted: tuple[Path, str]) -> None:
    result = train(arguments(small_data_bin, tmp_path, 2, "--precision", "bf16", "--no-save"))
    assert result.returncode == 0, result.stderr
    whole, found = curve(uninterrupted[1]), curve(result.stdout)
    assert found[2] != whole[2]
    assert float(found[2]) == pytest.approx(float(whole[2]), rel=0.01)


def test_a_bad_option_gets_one_sentence(small_data_bin: Path, tmp_path: Path) -> None:
    result = train(arguments(small_data_bin, tmp_path, 2, "--pairs", "en-de,en-fr"))
    assert re.search("^--pairs names en-fr, but .* holds en-de, en-es, en-zh", error_of(result))


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--arch", "weam_tinny"], "--arch must be one of weam_tiny, .* but is weam_tinny. Did you mean weam_tiny?"),
        (["--arch", "waem_small"], "--arch must be one of .* Did you mean weam_small?"),
        (["--mask-porb", "0.2"], "unrecognized arguments: --mask-porb 0.2.* Did you mean --mask-prob?"),
        (["--mask-prob", "1.5"], "--mask-prob must lie between 0 and 1, but is 1.5"),
        (
            ["--config", "nowhere.yaml"],
            r"a YAML file or a preset \(many_pairs, paper\), but there is no nowhere",
        ),
        (["--finetune-from-model", "nowhere.pt"], "nowhere.pt does not exist"),
    ],
)
def test_bad_options_are_refused(tmp_path: Path, more: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence.replace("?", r"\?")):
        parse(prepare(arguments(tmp_path / "bin", tmp_path, 2, *more)).arguments, None)


def test_a_folder_that_is_no_data_bin_gets_one_sentence(tmp_path: Path) -> None:
    result = train(arguments(tmp_path, tmp_path / "run", 2))
    assert "must hold manifest.json" in error_of(result)


def test_a_checkpoint_of_another_vocabulary_is_refused(
    make_data_bin: Callable[..., Path], tmp_path: Path, uninterrupted: tuple[Path, str]
) -> None:
    """The same size and ids, but other pieces: only the digest differs."""
    data_bin = make_data_bin({"en-de": {"train": random_examples(16, 1), "valid": random_examples(2, 2)}})
    manifest = json.loads((data_bin / "manifest.json").read_text())
    manifest["tokenizer"]["pieces_sha256"] = "cd" * 32
    (data_bin / "manifest.json").write_text(json.dumps(manifest))
    more = ("--finetune-from-model", str(uninterrupted[0] / "checkpoint_last.pt"), "--no-save")
    assert "must have the same tokenizer" in error_of(train(arguments(data_bin, tmp_path / "run", 1, *more)))


def test_a_finished_training_is_left_as_it_is(small_data_bin: Path, uninterrupted: tuple[Path, str]) -> None:
    last = uninterrupted[0] / "checkpoint_last.pt"
    before = last.read_bytes()
    result = train(arguments(small_data_bin, uninterrupted[0], 20))
    assert result.returncode == 0, result.stderr
    assert "has 20 updates, and --max-update is 20: there is nothing to train" in result.stdout
    assert last.read_bytes() == before


def test_a_bad_link_met_by_a_data_worker_gets_one_sentence(make_data_bin: Callable[..., Path], tmp_path: Path) -> None:
    data_bin = make_data_bin({"en-de": {"train": [([5, 6], [20], [(1, 3)], [0, 1], [0])] * 4}})
    result = train(arguments(data_bin, tmp_path / "run", 2, "--disable-validation"))
    assert error_of(result).startswith("Every link must lie inside its sentences, but a link of en-de pair")


def test_a_data_bin_without_validation_pairs_says_what_to_do(
    make_data_bin: Callable[..., Path], tmp_path: Path
) -> None:
    data_bin = make_data_bin({"en-de": {"train": random_examples(16, 1)}})
    result = train(arguments(data_bin, tmp_path / "run", 2))
    assert "--valid-size N, or train with --disable-validation" in error_of(result)
