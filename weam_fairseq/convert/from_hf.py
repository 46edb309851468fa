"""weam-from-hf: a published Hugging Face folder -> a checkpoint to train from, checked before it appears."""

import argparse
import sys
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..architectures import nearest
from ..common.command import run_command
from ..common.documents import read_json
from ..common.errors import InputError
from ..common.files import check_file_destination, whole_file
from ..encoder import Encoder, EncoderConfig
from . import keys, published
from .compare import TOLERANCE, largest_difference, load
from .families import family_of, shape_of
from .published import CARRIED_FILES, Published
from .slots import assign, check_fit, fill
from .tokenizer import TokenizerFacts, read_tokenizer
from .weights import read_weights

# What fairseq looks for besides the model (trainer.load_checkpoint): no update was made yet.
UNTRAINED: dict[str, Any] = {
    "criterion": None,
    "optimizer_history": [
        {"criterion_name": "WeamCriterion", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": 0}
    ],
    "last_optimizer_state": None,
    "extra_state": {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0, "shuffle": True, "version": 2}},
}


class Imported(NamedTuple):
    """What came of a folder: arch and the options beside it, the check's difference, tensors and files by fate."""

    arch: str
    options: dict[str, Any]
    difference: float
    trained: int
    carried: list[str]
    left_out: list[str]
    notes: list[str]


def main(argv: list[str] | None = None) -> int:
    """Returns the exit code: 0, or 2 after one sentence on stderr."""
    return run_command("weam-from-hf", lambda: _run(argv))


def _run(argv: list[str] | None) -> None:
    parser = argparse.ArgumentParser(
        prog="weam-from-hf",
        description="Reads a published encoder (BERT: mBERT, MiniLM; DistilBERT; RoBERTa: XLM-R, InfoXLM, XLM-Align) "
        "from a Hugging Face folder into a checkpoint for weam-train, and checks that both models give the same "
        "logits. Weights are read without running code.",
        epilog="example: weam-from-hf bert-base-multilingual-cased mbert.pt; weam-train data-bin "
        "--finetune-from-model mbert.pt --config scripts/configs/paper_mbert.yaml",
    )
    parser.add_argument("folder", type=Path, help="Hugging Face folder with config.json, weights and tokenizer")
    parser.add_argument("checkpoint", type=Path, help="checkpoint (.pt) to write")
    parser.add_argument(
        "--new-head", action="store_true", help="accept a folder without a masked-LM head and start a new one"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the new head (default: 1)")
    parser.add_argument("--overwrite", action="store_true", help="replace the checkpoint if it is there")
    args = parser.parse_args(argv)
    done = convert(args.folder, args.checkpoint, new_head=args.new_head, seed=args.seed, overwrite=args.overwrite)
    what = "states" if args.new_head else "logits"
    print(f"{args.checkpoint}: written; {what} differ by {done.difference:.1e} of the largest at most")
    print(f"tensors: {done.trained} to train, {len(done.carried)} carried as they are {done.carried or ''}".rstrip())
    for line in done.notes + ([f"left out: {', '.join(done.left_out)}"] if done.left_out else []):
        print(line)
    more = " ".join(_as_option(name, value) for name, value in done.options.items())
    print(f"train: weam-train DATA_BIN --finetune-from-model {args.checkpoint} --arch {done.arch} {more}".rstrip())
    print(f"data:  weam-preprocess --tokenizer {args.folder} …")


def convert(
    folder: Path, checkpoint: Path, *, new_head: bool = False, seed: int = 1, overwrite: bool = False
) -> Imported:
    """Writes the checkpoint, whole or not at all.

    Raises:
        InputError: the folder is not of a known family, has no masked-LM head (unless new_head), lacks weights, or our
            model of it gives other values than transformers'.
    """
    check_file_destination(checkpoint, overwrite=overwrite)
    config = _read_config(folder)
    family = family_of(config, str(folder / "config.json"))
    tokenizer = read_tokenizer(folder)
    weights = read_weights(folder)
    notes: list[str] = []
    tie = bool(config.get("tie_word_embeddings", True))
    slots = assign(family, weights.tensors, tie=tie, where=str(folder), notes=notes)
    shape = shape_of(
        family,
        _auto_config(folder),
        pad=tokenizer.pad,
        untied_head=not tie or any(slot.ours == "head.decoder.weight" for slot in slots),
        where=str(folder / "config.json"),
    )
    if len(tokenizer.tokenizer_ids) > shape.vocabulary:
        raise InputError(
            f"The tokenizer of {folder} has {len(tokenizer.tokenizer_ids):,} pieces, but its model only "
            f"{shape.vocabulary:,} rows: they do not belong together."
        )
    check_fit(shape, family, slots, weights.tensors, where=str(folder), new_head=new_head)
    order = keys.row_order(tokenizer.tokenizer_ids, shape.vocabulary)
    torch.manual_seed(seed)  # of a new head
    encoder = Encoder(shape).eval()
    fill(encoder, slots, weights.tensors, order)
    difference = largest_difference(encoder, order, load(folder, headless=new_head).model, states_only=new_head)
    if not difference <= TOLERANCE:
        raise InputError(
            f"Our model of {folder} must give what transformers gives, but differs by {difference:.1e} of the largest "
            f"value (allowed {TOLERANCE:.0e}): its arithmetic is not that of its family. Nothing was written."
        )
    carried = {slot.name: weights.tensors[slot.name] for slot in slots if slot.ours is None}
    about = {"folder": folder.resolve().name, "weights": weights.sha256, "new_head": new_head}
    found = {name: (folder / name).read_bytes() for name in CARRIED_FILES if (folder / name).is_file()}
    state = _checkpoint(encoder, tokenizer, Published(about, slots, found, carried), found)
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(checkpoint) as partial:
        torch.save(state, partial)
    arch, options = nearest(_options(shape, tokenizer))
    known = {*CARRIED_FILES, *weights.sha256}
    left_out = sorted(p.name for p in folder.iterdir() if p.name not in known and not p.name.endswith(".index.json"))
    return Imported(arch, options, difference, len(slots) - len(carried), sorted(carried), left_out, notes)


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not folder.is_dir():
        raise InputError(
            f"{folder} must be a Hugging Face folder on this machine, but there is no such folder. If it is a name on "
            f"the hub, download it first, as with: hf download {folder} --local-dir {folder.name}"
        )
    if not path.is_file():
        raise InputError(f"{folder} must be a Hugging Face folder, but has no config.json.")
    config: dict[str, Any] = read_json(path, dict)
    return config


def _auto_config(folder: Path) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    # transformers raises whatever its checks raise; the question is the same: which folder, and why not.
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{folder} must have a config.json that AutoConfig loads, but does not: {reason}") from error


def _options(shape: EncoderConfig, tokenizer: TokenizerFacts) -> dict[str, Any]:
    """The fairseq model's options that give this shape."""
    values = asdict(shape)
    del values["pad"]
    rows = values.pop("vocabulary")
    return {"vocabulary_rows": 0 if rows == len(tokenizer.tokenizer_ids) else rows, **values}


def _as_option(name: str, value: Any) -> str:
    option = f"--{name.replace('_', '-')}"
    return option if value is True else f"{option} {value}"


def _checkpoint(
    encoder: Encoder, tokenizer: TokenizerFacts, found: Published, files: dict[str, bytes]
) -> dict[str, Any]:
    """What fairseq loads with --finetune-from-model and --restore-file; see trainer.load_checkpoint."""
    options = _options(encoder.config, tokenizer)
    arch, _ = nearest(options)
    digests = {
        "pieces_sha256": bytes.fromhex(tokenizer.pieces_sha256),
        "behaviour_sha256": bytes.fromhex(tokenizer.behaviour_sha256),
    }
    return {
        "args": None,
        "cfg": {"model": Namespace(_name=arch, arch=arch, **options)},
        "model": {
            **{f"encoder.{name}": value for name, value in encoder.state_dict().items()},
            "tokenizer_ids": tokenizer.tokenizer_ids,
            **{name: torch.tensor(list(digest), dtype=torch.uint8) for name, digest in digests.items()},
            "published": published.pack(found),
        },
        **UNTRAINED,
        "task_state": {
            "weam": {
                "special_ids": tokenizer.special_ids,
                "tokenizer_files": {
                    n: v for n, v in files.items() if n not in ("config.json", "generation_config.json")
                },
                "pairs": [],
                "method": None,
                "aligner": None,
            }
        },
    }


if __name__ == "__main__":
    sys.exit(main())
