"""The whole way on a made-up language pair: raw text -> data-bin -> training -> Hugging Face folder -> scores.

Every step is a command with the arguments that a user types. The words are invented, the tools are the real ones.
"""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import warm_process
from transformers import AutoModelForMaskedLM, AutoTokenizer

from weam_fairseq.data.databin import read_manifest, read_vocabulary
from weam_fairseq.data.split import open_split
from weam_fairseq.method.dataset import WordExchangeDataset
from weam_fairseq.method.policy import Policy
from weam_fairseq.plugin import checkpoints

SYLLABLES = ["ba", "do", "ki", "lu", "me", "no", "pi", "ra", "su", "te"]


def run(command: str, *words: object) -> str:
    result = warm_process.run(command, *words)
    assert result.returncode == 0, f"{command}: {result.stderr[-2000:]}"
    return result.stdout


def made_up_pairs(count: int, seed: int) -> list[tuple[str, str]]:
    """Sentences of 4 to 7 invented words; the "German" is each word reversed and capitalised, in reverse order."""
    rng = random.Random(seed)
    words = ["".join(rng.choices(SYLLABLES, k=rng.randint(2, 3))) for _ in range(40)]
    pairs = []
    for _ in range(count):
        chosen = rng.choices(words, k=rng.randint(4, 7))
        pairs.append((" ".join(chosen) + ".", " ".join(w[::-1].capitalize() for w in reversed(chosen)) + "."))
    return pairs


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    pairs = list(dict.fromkeys(made_up_pairs(420, 1)))
    train, held_out = pairs[:-40], pairs[-40:]
    (folder / "heldout").mkdir()
    for path, part in ((folder / "train.tsv", train), (folder / "heldout" / "heldout.en-de.tsv", held_out)):
        path.write_text("".join(f"{s}\t{t}\n" for s, t in part), encoding="utf-8")
    run(
        "weam-preprocess",
        *("--pair", f"en-de={folder / 'train.tsv'}", "--exclude", folder / "heldout" / "heldout.en-de.tsv"),
        *("--train-tokenizer", "wordpiece", "--vocab-size", 150, "--valid-size", 20, "--destdir", folder / "bin"),
    )
    run(
        "weam-train",
        *(folder / "bin", "--arch", "weam_tiny", "--optimizer", "adam", "--lr", "2e-3", "--dropout", 0),
        *("--lr-scheduler", "polynomial_decay", "--warmup-updates", 10, "--total-num-update", 120),
        *("--max-update", 120, "--batch-size", 32, "--save-dir", folder / "weam", "--no-epoch-checkpoints"),
    )
    run("weam-to-hf", folder / "weam" / "checkpoint_last.pt", folder / "hf")
    return folder


def test_the_model_sees_what_the_exported_tokenizer_writes(run_dir: Path) -> None:
    """Each pair of the data-bin, laid out for the model, is the exported tokenizer's own writing of the raw pair."""
    manifest = read_manifest(run_dir / "bin")
    symbols = [line.split()[0] for line in (run_dir / "bin" / "dict.en.txt").read_text().splitlines()]
    vocabulary = read_vocabulary(manifest, symbols)
    data = WordExchangeDataset([open_split(run_dir / "bin", "train", "en-de")], vocabulary, Policy(mask_prob=1e-12), 1)
    tokenizer = AutoTokenizer.from_pretrained(run_dir / "hf")
    raw = {tuple(line.split("\t")) for line in (run_dir / "train.tsv").read_text(encoding="utf-8").splitlines()}
    written = {tuple(tokenizer(*pair).input_ids): tokenizer(*pair).token_type_ids for pair in raw}
    assert len(data) == manifest["pairs"]["en-de"]["train"] > 300
    for index in range(len(data)):
        net_input = data.collater([data[index]])["net_input"]
        ids = tuple(net_input["tokens"][0].tolist())
        assert written[ids] == net_input["segments"][0].tolist()


@pytest.fixture(scope="module")
def shown(run_dir: Path) -> list[dict[str, Any]]:
    """What weam-show says of the validation pairs."""
    indices = (f"--index={number}" for number in range(20))
    words = (run_dir / "weam" / "checkpoint_last.pt", run_dir / "bin", "--pair", "en-de", *indices)
    run("weam-show", *words, "--json", run_dir / "shown.json")
    examples: list[dict[str, Any]] = json.loads((run_dir / "shown.json").read_text(encoding="utf-8"))["examples"]
    return examples


def test_links_join_words_that_translate_each_other(shown: list[dict[str, Any]]) -> None:
    links = [
        (example["source"]["words"][i], example["target"]["words"][j])
        for example in shown
        for i, j in example["word_links"]
    ]
    right = sum(source == target[::-1].lower() or source == target == "." for source, target in links)
    assert right > 60
    assert right > 0.8 * len(links)


def test_the_exchange_lets_the_model_translate(shown: list[dict[str, Any]]) -> None:
    """From the state of its translation the model knows a masked piece better than from the mask's own state."""
    linked = [masked for example in shown for masked in example["masked"] if masked["exchanged_with"]]
    assert len(linked) > 30
    own = np.mean([masked["piece"] in masked["own_top"] for masked in linked])
    exchanged = np.mean([masked["piece"] in masked["exchanged_top"] for masked in linked])
    assert exchanged > own + 0.1


def test_a_second_head_predicts_from_exchanged_states(run_dir: Path, shown: list[dict[str, Any]]) -> None:
    state = checkpoints.load(run_dir / "weam" / "checkpoint_last.pt")
    head = {name: value.clone() for name, value in state["model"].items() if name.startswith("masked_lm.cls.")}
    for name, value in head.items():
        if name.endswith("bias") and len(value) == len(state["model"]["masked_lm.cls.predictions.bias"]):
            value[7] = 1e4
    state["model"] |= {name.replace("masked_lm.", "own_head.", 1): value for name, value in head.items()}
    torch.save(state, run_dir / "own.pt")
    words = (run_dir / "own.pt", run_dir / "bin", "--pair", "en-de", "--index", "1", "--index", "0")
    run("weam-show", *words, "--json", run_dir / "own.json")
    again = json.loads((run_dir / "own.json").read_text(encoding="utf-8"))["examples"]
    assert [example["index"] for example in again] == [1, 0]
    for example, before in zip(again, (shown[1], shown[0]), strict=True):
        assert [each["own_top"] for each in example["masked"]] == [each["own_top"] for each in before["masked"]]
    assert len({each["exchanged_top"][0] for example in again for each in example["masked"]}) == 1


def test_a_pair_is_shown_in_the_terminal(run_dir: Path) -> None:
    output = run("weam-show", run_dir / "weam" / "checkpoint_last.pt", run_dir / "bin", "--pair", "en-de")
    assert "exchanged with" in output
    assert "links:" in output


def test_the_exported_folder_is_scored(run_dir: Path) -> None:
    model = AutoModelForMaskedLM.from_pretrained(run_dir / "hf").eval()
    tokenizer = AutoTokenizer.from_pretrained(run_dir / "hf")
    with torch.no_grad():
        logits = model(**tokenizer(["ba [MASK] lu", "do"], padding=True, return_tensors="pt")).logits
    assert torch.isfinite(logits).all()
    out = run_dir / "scores.jsonl"
    words = (
        "--model",
        run_dir / "hf",
        "--name",
        "weam",
        "--data",
        run_dir / "heldout",
        "--languages",
        "de",
        "--out",
        out,
    )
    table = run("weam-evaluate", "sentence-retrieval", "masked-pieces", *words)
    assert "sentence-retrieval" in table
    scores = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert {s["task"] for s in scores} == {"sentence-retrieval", "masked-pieces"}
    assert all(0 <= s["value"] <= 100 and s["signature"].startswith(s["task"]) for s in scores)
