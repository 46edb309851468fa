"""The Python interface: the same batches, losses and gradients as with fairseq, but without fairseq."""

import copy
import inspect
import json
import os
import re
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "plugin"))

from hand_made_data_bin import (  # noqa: E402
    SPECIAL,
    VOCABULARY,
    random_examples,
    random_probabilities,
    write_data_bin,
)
from small_encoder import bert  # noqa: E402

from weam_fairseq import Collator, LengthBatches, WordExchange, check_fits, load_data  # noqa: E402
from weam_fairseq.common.errors import InputError  # noqa: E402
from weam_fairseq.common.tokenizers import read_tokenizer  # noqa: E402
from weam_fairseq.method.batch import flat  # noqa: E402
from weam_fairseq.method.policy import OBJECTIVES, Policy  # noqa: E402
from weam_fairseq.plugin.criterion import WeamCriterion  # noqa: E402
from weam_fairseq.plugin.model import WeamModel  # noqa: E402
from weam_fairseq.plugin.task import WeamTask, WeamTaskConfig  # noqa: E402

SEED = 5
SIZES = {"en-de": 60, "de-zh": 20}
DOCUMENT = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def data_bin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two language pairs with link probabilities, and the true digests of the tokenizer."""
    pairs = {
        pair: {"train": random_examples(size, seed), "valid": random_examples(10, seed + 5)}
        for seed, (pair, size) in enumerate(SIZES.items())
    }
    probabilities = {
        pair: {split: random_probabilities(examples, 3) for split, examples in splits.items()}
        for pair, splits in pairs.items()
    }
    folder = write_data_bin(tmp_path_factory.mktemp("door") / "data-bin", pairs, probabilities)
    facts = read_tokenizer(folder / "tokenizer")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["tokenizer"]["pieces_sha256"] = facts.pieces_sha256
    manifest["tokenizer"]["behaviour_sha256"] = facts.behaviour_sha256
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def small_bert(pieces: int = VOCABULARY, **config: Any) -> Any:
    torch.manual_seed(0)
    return bert(pieces, pad_token_id=SPECIAL["pad"], **config)


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)


# ---- Without fairseq ----

BLOCKED = """
import importlib.abc, os, re, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}, which the test has blocked")

sys.meta_path.insert(0, Blocked())
"""


def run_blocked(code: str, blocked: tuple[str, ...], folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs code in a process of its own in which some packages cannot be imported."""
    words = [sys.executable, "-c", BLOCKED.replace("BLOCKED", repr(blocked)) + code]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(words, capture_output=True, text=True, cwd=folder, env=environment)


def test_batches_need_neither_fairseq_nor_transformers(data_bin: Path) -> None:
    code = """
import weam_fairseq
data = weam_fairseq.load_data("data-bin", seed=5)
batches = weam_fairseq.LengthBatches(data, batch_size=16)
first = weam_fairseq.Collator(data)(data.__getitems__(next(iter(batches))))
print(sorted(first), len(first["input_ids"]))
"""
    done = run_blocked(code, ("fairseq", "fairseq_cli", "transformers"), data_bin.parent)
    names = ["attention_mask", "exchange_linked", "exchange_origin", "exchange_segment", "exchange_weight"]
    names += ["input_ids", "labels", "masked_rows", "token_type_ids"]
    assert done.stdout.strip() == f"{names} 16", done.stderr


TITLES = ("A plain loop", "Hugging Face's Trainer", "accelerate")


def example(title: str) -> str:
    """The code under a heading of docs/python.md."""
    (code,) = re.findall("```python\n(.*?)```", DOCUMENT.split(f"## {title}\n")[1].split("\n## ")[0], re.DOTALL)
    return str(code)


@pytest.fixture(scope="module")
def examples(data_bin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs the examples of the document, each in a folder of its own, in one process without fairseq."""
    pytest.importorskip("accelerate")
    from transformers import AutoTokenizer

    folder, code = tmp_path_factory.mktemp("examples"), "import os\nfrom accelerate.state import AcceleratorState\n"
    for title in TITLES:
        here = folder / title
        here.mkdir()
        (here / "data-bin").symlink_to(data_bin)
        small_bert().save_pretrained(here / "bert-base-multilingual-cased")
        AutoTokenizer.from_pretrained(data_bin / "tokenizer").save_pretrained(here / "bert-base-multilingual-cased")
        code += f"os.chdir({str(here)!r})\nAcceleratorState._reset_state(True)\n"
        code += f"exec({example(title)!r}, {{'__name__': '__main__'}})\n"
    done = run_blocked(code, ("fairseq", "fairseq_cli"), folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("title", TITLES)
def test_the_examples_of_the_document_train_without_fairseq(title: str, examples: Path) -> None:
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    tmp_path, before = examples / title, small_bert()
    after = AutoModelForMaskedLM.from_pretrained(tmp_path / "trained")
    assert AutoTokenizer.from_pretrained(tmp_path / "trained").mask_token_id == SPECIAL["mask"]
    moved = [name for name, value in after.state_dict().items() if not torch.equal(value, before.state_dict()[name])]
    assert len(moved) == len(after.state_dict())


def test_names_of_the_package_are_found_and_others_are_not() -> None:
    import weam_fairseq

    assert set(weam_fairseq.__all__) <= set(dir(weam_fairseq))
    assert all(getattr(weam_fairseq, name).__name__ == name for name in weam_fairseq.__all__)
    with pytest.raises(AttributeError, match="no attribute 'load_date'"):
        _ = weam_fairseq.load_date


def test_the_built_package_says_that_it_is_typed(tmp_path: Path) -> None:
    words = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path)]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    assert (tmp_path / "weam_fairseq" / "py.typed").is_file()


# ---- The same as fairseq's road ----


def task_of(data_bin: Path, **options: Any) -> WeamTask:
    return WeamTask.setup_task(WeamTaskConfig(data=str(data_bin), seed=SEED, **options))


def of_fairseq(task: WeamTask, epoch: int, split: str = "train", **limits: int) -> list[dict[str, Any]]:
    """The batches that fairseq trains on or validates with in one epoch."""
    task.load_dataset(split)
    iterator = task.get_batch_iterator(task.dataset(split), seed=SEED, epoch=epoch, **limits)
    return list(iterator.next_epoch_itr(shuffle=split == "train"))


def loader_of(data: Any, **options: Any) -> DataLoader:
    limits = {name: options.pop(name) for name in ("batch_size", "max_tokens") if name in options}
    return DataLoader(data, batch_sampler=LengthBatches(data, **limits), collate_fn=Collator(data), **options)


@pytest.mark.parametrize("split", ["train", "valid"])
@pytest.mark.parametrize(
    "method",
    [
        {},
        {"objective": "shuffled", "one_to_many": "weighted", "shuffle_order": True, "sampling_temperature": 3.0},
        {"objective": "mlm", "mask_unit": "word", "mask_replace": "all", "mask_prob": 0.5},
        {"piece_policy": "first", "skip_identical": True, "reset_positions": True, "pairs": ["de-zh"]},
    ],
    ids=str,
)
def test_batches_are_those_of_fairseq(data_bin: Path, method: dict[str, Any], split: str) -> None:
    data = load_data(data_bin, split, seed=SEED, **method)
    task = task_of(data_bin, **{**method, "pairs": ",".join(method["pairs"]) if "pairs" in method else None})
    for ours, theirs in (({"batch_size": 9}, {"max_sentences": 9}), ({"max_tokens": 200}, {"max_tokens": 200})):
        loader = loader_of(data, **ours)
        for epoch in (1, 2):
            data.set_epoch(epoch)
            found, wanted = list(loader), of_fairseq(task, epoch, split, **theirs)
            assert len(found) == len(loader) == len(wanted)
            for batch, there in zip(found, wanted, strict=True):
                assert same(batch, flat(there))


@pytest.mark.parametrize(
    ("method", "options"),
    [
        *(({"objective": objective}, {}) for objective in OBJECTIVES),
        ({}, {"cp_head": "own"}),
        ({}, {"cp_weight": 0.3, "freeze": "encoder"}),
        ({"reset_positions": True}, {"reset_positions": True}),
        ({"one_segment": True}, {}),
    ],
    ids=str,
)
def test_loss_and_gradients_are_those_of_fairseq(
    data_bin: Path, method: dict[str, Any], options: dict[str, Any]
) -> None:
    data = load_data(data_bin, seed=SEED, **method)
    named = {name: value for name, value in method.items() if name != "one_segment"}
    named |= {"segment_ids": "zero"} if "one_segment" in method else {}
    task = task_of(data_bin, **named, **{name: options[name] for name in options if name == "cp_head"})
    sizes = {"layers": 2, "width": 16, "heads": 2, "feed_forward": 32, "positions": None}
    arguments = {"arch": "weam_tiny", "encoder_config": None, "dropout": 0.0, "attention_dropout": 0.0}
    arguments |= {"freeze": options.get("freeze", "none"), "head_first": 0, "checkpoint_activations": False}
    theirs = WeamModel.build_model(Namespace(**sizes, **arguments), task).eval()
    ours = WordExchange(copy.deepcopy(theirs.masked_lm), **options).eval()
    assert same(ours.masked_lm.state_dict(), theirs.masked_lm.state_dict())
    criterion = WeamCriterion(task, options.get("cp_weight", 1.0), "fp32")
    batches = list(zip(loader_of(data, batch_size=16), of_fairseq(task, 1, max_sentences=16), strict=True))
    assert len(batches) == 5
    for batch, there in batches[:2]:
        output = ours(**batch)
        loss, size, log = criterion(theirs, there)
        assert output.loss.item() == pytest.approx(loss.item() / size, rel=1e-6)
        for name in ("mp", "cp") if log["has_cp"] else ("mp",):
            nll, hits = (sum(log[f"{pair}:{name}_{what}"] for pair in SIZES) for what in ("nll", "hits"))
            assert output[f"{name}_loss"].item() == pytest.approx(nll / size, rel=1e-5)
            assert output[f"{name}_accuracy"].item() == pytest.approx(hits / size, rel=1e-5)
        assert ("cp_loss" in output) == bool(log["has_cp"])
        output.loss.backward()
        (loss / size).backward()
        trained = [name for name, parameter in theirs.named_parameters() if parameter.grad is not None]
        assert trained
        assert trained == [name for name, parameter in ours.named_parameters() if parameter.grad is not None]
        torch.testing.assert_close(gradient_of(ours), gradient_of(theirs), rtol=1e-5, atol=1e-7)
        ours.zero_grad()
        theirs.zero_grad()


def gradient_of(model: torch.nn.Module) -> Tensor:
    """All of it, end to end."""
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])


def test_the_options_of_load_data_have_the_defaults_of_the_method() -> None:
    parameters = inspect.signature(load_data).parameters.values()
    given = {each.name: each.default for each in parameters if each.kind == each.KEYWORD_ONLY}
    method = Policy().plain()
    links = method.pop("links")
    del method["cp_head"]  # of the model
    assert given == {**method, **links}


# ---- What a batch depends on ----


def test_workers_that_outlive_an_epoch_draw_the_next_one(data_bin: Path) -> None:
    data = load_data(data_bin, seed=SEED, sampling_temperature=3.0)
    alone = loader_of(data, batch_size=16)
    kept = loader_of(data, batch_size=16, num_workers=1, persistent_workers=True)
    seen = []
    for epoch in (1, 2, 1):
        data.set_epoch(epoch)
        batches = list(kept)
        for batch, wanted in zip(batches, alone, strict=True):
            assert same(batch, wanted)
        seen.append(batches[0]["labels"].tolist())
    assert seen[0] == seen[2] != seen[1]


def test_validation_is_the_same_in_every_epoch(data_bin: Path) -> None:
    data = load_data(data_bin, "valid", seed=SEED, objective="tlm")
    first, second = [], []
    for epoch, found in ((1, first), (7, second)):
        data.set_epoch(epoch)
        found += loader_of(data, batch_size=7)
    assert all(same(*both) for both in zip(first, second, strict=True))
    assert all("exchange_origin" in batch for batch in first)
    lengths = [int(batch["attention_mask"].sum(1).max()) for batch in first]
    assert lengths == sorted(lengths)


@pytest.mark.parametrize("limit", [{"batch_size": 7}, {"max_tokens": 100}], ids=str)
def test_processes_of_accelerate_share_the_pairs_of_an_epoch(data_bin: Path, limit: dict[str, int]) -> None:
    shard = pytest.importorskip("accelerate.data_loader").BatchSamplerShard
    data = load_data(data_bin, seed=SEED)
    whole = list(LengthBatches(data, **limit))
    of_process = [list(shard(LengthBatches(data, **limit), 2, rank)) for rank in (0, 1)]
    assert len(of_process[0]) == len(of_process[1]) == -(-len(whole) // 2)
    dealt = [batch for both in zip(*of_process, strict=True) for batch in both]
    assert dealt[: len(whole)] == whole
    assert sorted(i for batch in whole for i in batch) == list(range(len(data)))


# ---- What Trainer counts on ----


def test_accumulated_batches_weigh_as_their_masked_pieces(data_bin: Path) -> None:
    data = load_data(data_bin, seed=SEED)
    collate, pairs = Collator(data), [data[index] for index in (0, 1, 2, 30, 61)]
    model = WordExchange(small_bert()).eval()
    whole = collate(pairs)
    model(**whole).loss.backward()
    wanted = gradient_of(model)
    model.zero_grad()
    for part in (collate(pairs[:4]), collate(pairs[4:])):
        model(**part, num_items_in_batch=torch.tensor(len(whole["labels"]))).loss.backward()
    torch.testing.assert_close(gradient_of(model), wanted, rtol=1e-4, atol=1e-6)


def test_a_resumed_trainer_continues_within_an_epoch(data_bin: Path, tmp_path: Path) -> None:
    """With the same batches, masks and dropout: to the bit."""
    pytest.importorskip("accelerate")
    from transformers import TrainingArguments

    names: dict[str, Any] = {}
    exec(example("Hugging Face's Trainer").split("\n\n\ntrain, valid = ")[0], names)
    trained = []
    for start in (None, tmp_path / "checkpoint-7"):  # 5 batches an epoch
        model = WordExchange(small_bert(hidden_dropout_prob=0.1))
        options = {"per_device_train_batch_size": 16, "num_train_epochs": 2, "report_to": "none", "use_cpu": True}
        arguments = TrainingArguments(str(tmp_path), save_steps=7, learning_rate=1e-3, disable_tqdm=True, **options)
        trainer = names["LengthBatchedTrainer"](model, arguments, train_dataset=load_data(data_bin, seed=SEED))
        trainer.train(resume_from_checkpoint=None if start is None else str(start))
        assert trainer.state.global_step == 10
        trained.append(model.state_dict())
    assert same(*trained)


@pytest.mark.parametrize("cp_head", ["shared", "own"])
def test_weights_survive_safetensors(tmp_path: Path, cp_head: str) -> None:
    """safetensors, which Trainer uses for checkpoints, refuses two names for one tensor."""
    from safetensors.torch import load_file, save_file

    model, other = (WordExchange(small_bert(), cp_head=cp_head) for _ in range(2))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    other.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert same(other.masked_lm.state_dict(), model.masked_lm.state_dict())
    assert same(dict(other.named_parameters()), dict(model.named_parameters()))
    assert other.is_tied


def test_what_is_saved_for_transformers_is_what_was_trained(data_bin: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForMaskedLM

    model = WordExchange(small_bert()).eval()
    model.masked_lm.save_pretrained(tmp_path)
    batch = next(iter(loader_of(load_data(data_bin), batch_size=8)))
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    with torch.no_grad():
        theirs = AutoModelForMaskedLM.from_pretrained(tmp_path)(**inputs).logits
        torch.testing.assert_close(model.masked_lm(**inputs).logits, theirs)


# ---- Bad input ----


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"objective": "wean"}, r"^objective must be one of weam, .*, but is 'wean'\. Did you mean weam\?$"),
        ({"split": "test"}, "^split must be one of train, valid, but is 'test'"),
        ({"one_to_many": "all"}, "^one_to_many must be one of mean, first, one-to-one, weighted, but is 'all'"),
        ({"mask_prob": 1.5}, r"^mask_prob must lie between 0 and 1, but is 1\.5\.$"),
        ({"mask_prob": float("nan")}, r"^mask_prob must lie between 0 and 1, but is nan\.$"),
        ({"sampling_temperature": 0}, r"^sampling_temperature must be over 0, but is 0\.$"),
        ({"seed": -1}, "^seed must lie between 0 and"),
        ({"pairs": ["en-fr"]}, r"^pairs names en-fr, but .* holds en-de, de-zh\.$"),
        ({"pairs": ["en-de", "en-de"]}, "^pairs must name each pair once, but is en-de,en-de"),
        ({"pairs": []}, "^pairs must name each pair once, but is empty"),
        ({"pairs": "en-de"}, "^pairs must be a list of names"),
    ],
    ids=str,
)
def test_an_invalid_option_is_refused_in_one_sentence(data_bin: Path, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        load_data(data_bin, **options)


def test_dictionaries_that_differ_are_refused(tmp_path: Path) -> None:
    folder = write_data_bin(tmp_path / "bin", {"en-de": {"train": random_examples(5, 1)}})
    lines = (folder / "dict.en.txt").read_text().splitlines(keepends=True)
    (folder / "dict.en.txt").write_text("".join(lines[::-1]))
    with pytest.raises(InputError, match=r"dict\.en\.txt differs from dict\.de\.txt"):
        load_data(folder)


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ({}, "neither is given"),
        ({"batch_size": 0}, "batch_size must be 1 or more, but is 0"),
        (
            {"max_tokens": 10},
            r"max_tokens must be large enough for every pair, but is 10, and the longest pair takes 19",
        ),
    ],
    ids=str,
)
def test_invalid_limits_of_a_batch_are_refused(data_bin: Path, limits: dict[str, int], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        LengthBatches(load_data(data_bin), **limits)


def test_a_model_that_does_not_fit_is_refused(data_bin: Path, tmp_path: Path) -> None:
    data = load_data(data_bin)
    fits: Callable[..., Any] = lambda **config: check_fits(WordExchange(small_bert(**config)), data)  # noqa: E731
    fits()
    with pytest.raises(InputError, match=r"a row for each of the 40 pieces of the data-bin, but has 39\."):
        fits(pieces=39)
    with pytest.raises(InputError, match=r"with 2 segment ids, but the model has 1\. Load the data with one_segment"):
        fits(type_vocab_size=1)
    with pytest.raises(InputError, match=r"longer than the model's 16 positions, but one has 19 pieces"):
        fits(max_position_embeddings=16)


def test_another_tokenizer_is_refused(data_bin: Path, tmp_path: Path) -> None:
    data, model = load_data(data_bin), WordExchange(small_bert())
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    for file in (data_bin / "tokenizer").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    check_fits(model, data, folder)
    pieces = (folder / "vocab.txt").read_text()
    (folder / "vocab.txt").write_text(pieces.replace("w7\nw8\n", "w8\nw7\n"))
    with pytest.raises(InputError, match="must have the same tokenizer, but their pieces differ"):
        check_fits(model, data, folder)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"cp_head": "two"}, "^cp_head must be one of shared, own, but is 'two'"),
        ({"freeze": "head"}, "^freeze must be one of none, embeddings, encoder, but is 'head'"),
        ({"cp_weight": -1.0}, r"^cp_weight must be 0 or more, but is -1\.$"),
    ],
    ids=str,
)
def test_invalid_options_of_the_model_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        WordExchange(small_bert(), **options)


def test_model_and_data_agree_on_positions(data_bin: Path) -> None:
    for with_model in (True, False):
        data = load_data(data_bin, reset_positions=not with_model)
        model = WordExchange(small_bert(), reset_positions=with_model)
        with pytest.raises(InputError, match="must agree on reset_positions"):
            model(**Collator(data)([data[0]]))
