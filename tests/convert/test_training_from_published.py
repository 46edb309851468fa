"""A published folder through weam-from-hf, weam-preprocess, weam-train and weam-to-hf, each as a user runs it."""

import re
from pathlib import Path

import published_folders as folders
import torch
from transformers import AutoTokenizer
from warm_process import run

from weam_fairseq.common.tokenizers import read_tokenizer
from weam_fairseq.common.weights import read_weights
from weam_fairseq.convert import to_hf
from weam_fairseq.data.databin import read_manifest
from weam_fairseq.plugin import checkpoints

TRAINING = ("--optimizer", "adam_bert", "--lr", "1e-2", "--max-update", 2, "--batch-size", 8, "--disable-validation")


def data_bin(tokenizer: Path, folder: Path, *more: object) -> Path:
    """Twenty pairs over the letters that the small vocabularies know; the "German" is the English backwards."""
    text = folder / "en-de.tsv"
    words = [[("abcdefgh"[(i * j + k) % 8]) for k in range(4)] for i in range(5) for j in range(4)]
    lines = {" ".join(w) + f"\t{' '.join(reversed(w))}\n" for w in words}
    text.write_text("".join(sorted(lines)), encoding="utf-8")
    made = run(
        "weam-preprocess", "--pair", f"en-de={text}", "--tokenizer", tokenizer, "--destdir", folder / "bin", *more
    )
    assert made.returncode == 0, made.stderr
    return folder / "bin"


def check_the_trained_folder(before: Path, after: Path, prefix: str = "") -> None:
    """The same names and files; what does not train is equal to the bit, and queries have changed."""
    old = {prefix + name: value for name, value in read_weights(before).tensors.items()}
    new = {name: value for name, value in read_weights(after).tensors.items() if name.startswith(prefix)}
    assert sorted(old) == sorted(new)
    frozen = [name for name in old if "pooler" in name or "seq_relationship" in name]
    assert all(torch.equal(old[name], new[name]) for name in frozen)
    queries = [name for name in old if "query.weight" in name]
    assert queries
    assert all(not torch.equal(old[name], new[name]) for name in queries)
    assert (after / "config.json").read_bytes() == (before / "config.json").read_bytes()
    tokenizers = [AutoTokenizer.from_pretrained(folder) for folder in (before, after)]
    assert tokenizers[0]("a b").input_ids == tokenizers[1]("a b").input_ids


def test_a_published_encoder_is_trained_and_given_back(tmp_path: Path) -> None:
    there = folders.mbert(tmp_path / "there")
    assert run("weam-from-hf", there, tmp_path / "published.pt").returncode == 0
    binarized = data_bin(there, tmp_path)
    carried, manifest = to_hf.read(tmp_path / "published.pt"), read_manifest(binarized)["tokenizer"]
    facts = read_tokenizer(there)
    assert (manifest["pieces_sha256"], manifest["behaviour_sha256"]) == (facts.pieces_sha256, facts.behaviour_sha256)
    assert manifest["special_ids"] == carried.special_ids

    started = ("--finetune-from-model", tmp_path / "published.pt", "--save-dir", tmp_path / "run")
    trained = run("weam-train", binarized, *TRAINING, *started)
    assert trained.returncode == 0, trained.stderr
    assert run("weam-to-hf", tmp_path / "run" / "checkpoint_last.pt", tmp_path / "back").returncode == 0
    check_the_trained_folder(there, tmp_path / "back")
    about = checkpoints.load(tmp_path / "run" / "checkpoint_last.pt")["task_state"]["weam"]
    assert about["method"]["objective"] == "weam"
    assert about["pairs"] == ["en-de"]


def test_a_data_bin_of_another_tokenizer_is_refused(tmp_path: Path) -> None:
    """The same pieces, but one tokenizer lower-cases: only their output differs."""
    there = folders.mbert(tmp_path / "there")
    assert run("weam-from-hf", there, tmp_path / "published.pt").returncode == 0
    folders.write_wordpiece(there, lower=True)
    started = ("--finetune-from-model", tmp_path / "published.pt", "--save-dir", tmp_path / "run")
    refused = run("weam-train", data_bin(there, tmp_path), *TRAINING, *started)
    assert refused.returncode == 2
    last = refused.stderr.strip().splitlines()[-1]
    assert "must have the same tokenizer, but they split the same text differently" in last


def test_one_command_trains_on_from_a_folder_and_shows_what_it_does(tmp_path: Path) -> None:
    """All options but the length have defaults; the first validation comes before update 1; the next command works."""
    published, folder = folders.minilm(tmp_path / "published"), tmp_path / "run"
    binarized = data_bin(published, tmp_path, "--valid-size", 2)
    words = (binarized, "--from", published, "--save-dir", folder, "--best-checkpoint-metric", "retrieval")
    trained = run("weam-train", *words, "--max-update", 3)
    assert trained.returncode == 0, trained.stderr
    shown = dict(re.findall(r"^ *(\w+)  (.*)$", trained.stdout, flags=re.MULTILINE))
    assert shown["model"].startswith("bert, ")
    assert shown["objective"] == "weam: both losses; the states of linked words are swapped; 30% masked"
    assert shown["updates"] == "3 with 32 pairs each, 0 of them warm-up; learning rate 5e-05"
    assert shown["pairs"] == "en-de 4; 2 held out"
    validations = re.findall(r"^ *(\d+)  validation: mp_loss [\d.]+, cp_loss [\d.]+, retrieval ", trained.stdout, re.M)
    assert [validations[0], validations[-1]] == ["0", "3"]
    assert (
        shown["kept"]
        == "checkpoint_last.pt (after the last update) and checkpoint_best.pt (best retrieval at a validation)"
    )
    assert shown["disk"] == f"0.0 GB for each checkpoint in {folder}"
    assert shown["next"] == f"weam-to-hf {folder / 'checkpoint_best.pt'} {folder / 'hf'}"
    log = Path(shown["log"]).read_text(encoding="utf-8")
    assert "fitted head" in log
    assert "fitted head" in shown["head"]
    assert run(*shown["next"].split()).returncode == 0
    # The base model's names have its prefix beside the fitted head.
    check_the_trained_folder(published, folder / "hf", prefix="bert.")

    resumed = run("weam-train", *words, "--max-update", 4)
    assert resumed.returncode == 0, resumed.stderr
    assert re.search(r"resumed  after 3 updates", resumed.stdout)
    assert "importing" not in resumed.stdout


def test_a_run_whose_schedule_needs_no_length_is_shown_too(tmp_path: Path) -> None:
    """Then only the number of epochs is known."""
    published = folders.mbert(tmp_path / "published")
    binarized = data_bin(published, tmp_path, "--valid-size", 2)
    words = (binarized, "--from", published, "--save-dir", tmp_path / "run", "--batch-size", 2)
    words = (*words, "--lr-scheduler", "fixed", "--max-epoch", 1, "--log-interval", 1)
    trained = run("weam-train", *words)
    assert trained.returncode == 0, trained.stderr
    assert "those of 1 epochs with 2 pairs each" in trained.stdout
    assert "1  training: mp_loss " in trained.stdout
    assert "next  weam-to-hf" in trained.stdout
    again = run("weam-train", *words)
    assert again.returncode == 0, again.stderr
    assert f"done  {tmp_path / 'run'} made all its updates earlier. " in again.stdout
    assert "next  weam-to-hf" in again.stdout


def test_a_start_that_is_neither_is_refused(tmp_path: Path) -> None:
    refused = run("weam-train", tmp_path / "bin", "--from", tmp_path / "nothing", "--save-dir", tmp_path / "run")
    assert refused.returncode == 2
    assert "must be a Hugging Face folder on this machine or a name on the Hub" in refused.stderr
    assert "importing" not in refused.stdout + refused.stderr
    assert not (tmp_path / "run" / "imported.pt").exists()
