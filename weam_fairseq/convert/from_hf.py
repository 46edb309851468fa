"""weam-from-hf: converts a published masked LM into a checkpoint for weam-train, and checks it before saving."""

import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from weam_fairseq.common.arguments import CommandParser
from weam_fairseq.common.command import run_command
from weam_fairseq.common.documents import read_json
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import check_file_destination, whole_file
from weam_fairseq.common.hub import resolve
from weam_fairseq.common.tokenizers import TOKENIZER_FILES, TokenizerFacts, read_tokenizer
from weam_fairseq.common.weights import read_weights
from weam_fairseq.convert.card import read_card
from weam_fairseq.encoder import published
from weam_fairseq.encoder.configs import UNTIED, first_layers, parse_config, plain_config
from weam_fairseq.encoder.faster_parts import output_embeddings
from weam_fairseq.encoder.huggingface import MaskedLM, masked_lm_class, names_without_ties, skeleton, ties_of
from weam_fairseq.encoder.names import Placed, place, tensors_of
from weam_fairseq.encoder.published import Published, read_files
from weam_fairseq.encoder.sizes import PUBLISHED, describe

# Keys that fairseq expects besides the model (trainer.load_checkpoint), for a model without any update.
UNTRAINED: dict[str, Any] = {
    "criterion": None,
    "optimizer_history": [
        {"criterion_name": "WeamCriterion", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": 0}
    ],
    "last_optimizer_state": None,
    "extra_state": {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0, "shuffle": True, "version": 2}},
}


class Imported(NamedTuple):
    """The result of an import.

    Attributes:
        folder: folder of the model on this machine.
        description: short description of the encoder.
        difference: largest difference between the logits of single rows and of the full model, as a share of the
            largest logit.
        trained: number of tensors that the model has.
        carried: names of the other tensors.
        missing: parameters of the head that the folder lacks.
        new_head: whether weam-train fits the head at the start of the training.
        left_out: files that the checkpoint does not carry.
        cut: how many layers were kept, and of how many; None: all.
    """

    folder: Path
    description: str
    difference: float
    trained: int
    carried: list[str]
    missing: list[str]
    new_head: bool
    left_out: list[str]
    cut: tuple[int, int] | None = None


def main(argv: list[str] | None = None) -> int:
    """Returns the exit code: 0, or 2 after one sentence on stderr."""
    return run_command("weam-from-hf", lambda: _run(argv))


def _run(argv: list[str] | None) -> None:
    parser = CommandParser(
        prog="weam-from-hf",
        description="Converts a published masked language model (any encoder that AutoModelForMaskedLM loads: BERT, "
        "XLM-R, mDeBERTa, ModernBERT, ...) into a checkpoint for weam-train. Verifies that logits computed only at "
        "selected positions equal those of the complete model in transformers. Runs no code from the model.",
        epilog="example:\n  weam-from-hf bert-base-multilingual-cased mbert.pt\n"
        "  weam-train data-bin --from mbert.pt --save-dir run",
    )
    parser.add_argument(
        "model", help="Hugging Face folder with config.json, weights and tokenizer, or a name on the Hugging Face Hub"
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoint (.pt) to write")
    parser.add_argument("--revision", help="branch, tag or commit on the Hub (default: main)")
    parser.add_argument(
        "--layers",
        type=int,
        metavar="K",
        help="keep only the first K layers of the encoder and fit a new head; the smaller encoder was not pre-trained "
        "at that depth",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the checkpoint if it exists")
    args = parser.parse_args(argv)
    done = convert(args.model, args.checkpoint, revision=args.revision, layers=args.layers, overwrite=args.overwrite)
    print(f"{args.checkpoint}: {done.description}")
    if done.cut is not None:
        kept, depth = done.cut
        print(f"cut: the first {kept} of {depth} layers; the head, which belongs to the last layer, is left out")
    print(f"check: logits of single rows differ from the full model's by {done.difference:.1e} of the largest")
    print(f"tensors: {done.trained} to train, {len(done.carried)} carried unchanged {done.carried or ''}".rstrip())
    if done.missing:
        start = "weam-train fits the head to the data" if done.new_head else "they have transformers' initial values"
        print(f"new: there are no weights for {', '.join(done.missing)}; {start} at the start of the run")
    if done.left_out:
        print(f"left out: {', '.join(done.left_out)}")
    # The folder, not the name, so that the tokenizer is of the same commit.
    print(f"data:  weam-preprocess --tokenizer {args.model if args.revision is None else done.folder} ...")
    print(f"train: weam-train DATA_BIN --from {args.checkpoint} --save-dir RUN")


def convert(
    model: str | Path,
    checkpoint: Path,
    *,
    revision: str | None = None,
    layers: int | None = None,
    overwrite: bool = False,
) -> Imported:
    """Writes the checkpoint atomically.

    Args:
        model: a folder, or a name on the Hub.
        revision: branch, tag or commit on the Hub.
        layers: how many of the encoder's layers to keep, from the first one; None: all.

    Raises:
        InputError: the model cannot be found, is not a masked LM of transformers, lacks weights outside its head, or
            has fewer layers.
    """
    check_file_destination(checkpoint, overwrite=overwrite)
    source = resolve(model, revision=revision)
    folder, where = source.folder, source.name
    values = _read_config(folder, where)
    config = parse_config(values, folder / "config.json")
    model_class = masked_lm_class(config, where)
    depth = config.num_hidden_layers
    tokenizer = read_tokenizer(folder)
    weights = read_weights(folder)
    if layers not in (None, depth):
        values = first_layers(values, layers, where)
        try:
            cut = parse_config(values, where)
            kept = tensors_of(without_head(skeleton(cut, where)), model_class, config, weights.tensors, where)
            weights, config = weights._replace(tensors={name: weights.tensors[name] for name in kept}), cut
            placed = place(model_class, config, weights.tensors, where)
        except InputError as error:
            raise InputError(f"--layers cannot cut {where}, a {config.model_type}. {error}") from error
    else:
        placed = place(model_class, config, weights.tensors, where)
    # transformers does not tie weights that have different values in the folder, although the config ties them.
    untied = sorted(ties_of(skeleton(config, where)) - ties_of(placed.model))
    if untied:
        setattr(config, UNTIED, untied)
    _check_fit(placed, tokenizer, where)
    difference = MaskedLM(placed.model).check()
    is_cut = config.num_hidden_layers != depth
    files, left_out = read_files(folder)
    if is_cut:
        files["config.json"] = json.dumps(values, indent=2).encode()
    carried = {slot.name: weights.tensors[slot.name] for slot in placed.slots if not slot.places}
    about = {
        "folder": source.name if source.revision else folder.resolve().name,
        "revision": source.revision,
        "weights": weights.sha256,
        "missing": placed.missing,
        "card": read_card(folder),
        **({"layers": [config.num_hidden_layers, depth]} if is_cut else {}),
    }
    state = _checkpoint(placed, config, tokenizer, Published(about, placed.slots, files, carried))
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(checkpoint) as partial:
        torch.save(state, partial)
    return Imported(
        folder,
        describe(plain_config(config)),
        difference,
        len(placed.slots) - len(carried),
        sorted(carried),
        placed.missing,
        is_head_new(placed),
        left_out,
        (config.num_hidden_layers, depth) if is_cut else None,
    )


def _read_config(folder: Path, where: str) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise InputError(f"{where} must be a Hugging Face folder, but has no config.json.")
    config: dict[str, Any] = read_json(path, dict)
    return config


def _check_fit(placed: Placed, tokenizer: TokenizerFacts, where: str) -> None:
    rows = placed.model.get_input_embeddings().weight.shape[0]
    if tokenizer.pieces > rows:
        raise InputError(
            f"The tokenizer of {where} has {tokenizer.pieces:,} pieces, but its model has only {rows:,} rows. Use the "
            "tokenizer of this model."
        )
    base = f"{placed.model.base_model_prefix}."
    missing = [name for name in placed.missing if name.startswith(base)]
    if missing:
        raise InputError(
            f"{where} must hold all weights of {type(placed.model).__name__} outside its head, but lacks "
            f"{len(missing)} of them. The first is {missing[0]}."
        )


def without_head(model: Any) -> set[str]:
    """The names of the encoder's tensors and of the projection on the vocabulary. The rest of a head belongs to the
    states of the layer that it was trained on."""
    output = output_embeddings(model)  # None: the family names no such module, so its head is left out as a whole
    state = model.state_dict(keep_vars=True)
    base = f"{model.base_model_prefix}."
    return {
        name
        for name, value in state.items()
        if name.startswith(base) or (output is not None and value is output.weight)
    }


def is_head_new(placed: Placed) -> bool:
    """Whether the head must be fitted: the folder lacks all of it, or a matrix. A missing bias starts at zero."""
    base = f"{placed.model.base_model_prefix}."
    head = {name for name in names_without_ties(placed.model) if not name.startswith(base)}
    state = placed.model.state_dict()
    return bool(placed.missing) and (head <= {*placed.missing} or any(state[n].dim() > 1 for n in placed.missing))


def _checkpoint(placed: Placed, config: Any, tokenizer: TokenizerFacts, origin: Published) -> dict[str, Any]:
    """Builds a checkpoint for --finetune-from-model and --restore-file (see trainer.load_checkpoint)."""
    digests = {
        "pieces_sha256": bytes.fromhex(tokenizer.pieces_sha256),
        "behaviour_sha256": bytes.fromhex(tokenizer.behaviour_sha256),
    }
    options = {"encoder_config": json.dumps(plain_config(config), sort_keys=True)}
    return {
        "args": None,
        "cfg": {"model": Namespace(_name=PUBLISHED, arch=PUBLISHED, **options)},
        "model": {
            **{f"masked_lm.{name}": value for name, value in placed.model.state_dict().items()},
            **{name: torch.tensor(list(digest), dtype=torch.uint8) for name, digest in digests.items()},
            "published": published.pack(origin),
            "head_is_new": torch.tensor([is_head_new(placed)], dtype=torch.uint8),
        },
        **UNTRAINED,
        "task_state": {
            "weam": {
                "special_ids": tokenizer.special_ids,
                "tokenizer_files": {name: content for name, content in origin.files.items() if name in TOKENIZER_FILES},
                "pairs": [],
                "method": None,
                "aligner": None,
            }
        },
    }


if __name__ == "__main__":
    sys.exit(main())
