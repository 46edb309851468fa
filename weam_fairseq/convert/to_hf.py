"""weam-to-hf: converts a checkpoint into a complete Hugging Face folder, and checks it before saving."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from weam_fairseq.common.arguments import CommandParser
from weam_fairseq.common.command import run_command
from weam_fairseq.common.documents import check_name, parse_json
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import check_destination, whole_folder
from weam_fairseq.common.weights import load_model, write_weights
from weam_fairseq.convert.card import write_card
from weam_fairseq.data.databin import CARRIED_FILES, check_pair
from weam_fairseq.encoder import published
from weam_fairseq.encoder.configs import OLD_CHECKPOINT, parse_config, plain_config
from weam_fairseq.encoder.huggingface import (
    TOLERANCE,
    MaskedLM,
    build,
    check_batch,
    names_without_ties,
    quiet,
    skeleton,
)
from weam_fairseq.encoder.names import gather
from weam_fairseq.encoder.published import Published, check_path
from weam_fairseq.plugin import checkpoints

MASKED_LM, OWN_HEAD = "masked_lm.", "own_head."
DTYPES = ("float32", "bfloat16", "float16")
NOT_KEPT = "The folder was not kept."


class Carried(NamedTuple):
    """The contents of a checkpoint that conversion needs.

    Attributes:
        model: masked LM of transformers, in fp32 and evaluation mode.
        config: its config, as plain values.
        pieces_sha256: hexadecimal digest of the tokenizer's pieces.
        files: path -> bytes of the tokenizer files, or of all carried files of a published folder.
        special_ids: ids of cls, sep, pad, unk, mask.
        description: pairs, method, aligner, seed, updates.
        published: the published folder that the model started from; None: trained from scratch.
        own_head: tensors of the second head of --cp-head own. They do not fit into a Hugging Face folder.
    """

    model: Any
    config: dict[str, Any]
    pieces_sha256: str
    files: dict[str, bytes]
    special_ids: dict[str, int]
    description: dict[str, Any]
    published: Published | None
    own_head: dict[str, Tensor]


class Exported(NamedTuple):
    """Largest difference of the logits, as a share of the largest logit, and notes about the folder for the user."""

    difference: float
    notes: list[str]


def main(argv: list[str] | None = None) -> int:
    """Returns the exit code: 0, or 2 after one sentence on stderr."""
    return run_command("weam-to-hf", lambda: _run(argv))


def _run(argv: list[str] | None) -> None:
    parser = CommandParser(
        prog="weam-to-hf",
        description="Converts a WEAM checkpoint into a Hugging Face folder (config, safetensors, tokenizer, model "
        "card) for AutoModelForMaskedLM and AutoTokenizer. Verifies that the folder's model gives the logits of the "
        "checkpoint. If training started from a published folder, the export keeps its tensor names "
        "and tokenizer files.",
        epilog="example: weam-to-hf runs/weam/checkpoint_last.pt runs/weam/hf",
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoint file (.pt) of fairseq-train or weam-train")
    parser.add_argument("folder", type=Path, help="folder to write; must not exist unless --overwrite is given")
    parser.add_argument(
        "--dtype", choices=DTYPES, help="type of the weights (default: as published; float32 for a new model)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the folder if it exists")
    args = parser.parse_args(argv)
    done = convert(args.checkpoint, args.folder, dtype=args.dtype, overwrite=args.overwrite)
    print(
        f"{args.folder}: written; its logits differ from the checkpoint's by {done.difference:.1e} of the largest "
        f"(allowed {TOLERANCE:.0e})"
    )
    for note in done.notes:
        print(note)
    print(f"next: weam-evaluate --model ENCODER --model {args.folder} --data DATA_BIN")


def convert(checkpoint: Path, folder: Path, *, dtype: str | None = None, overwrite: bool = False) -> Exported:
    """Writes the folder atomically.

    Args:
        dtype: type of the weights; None: as published, or float32 for a model trained from scratch.

    Raises:
        InputError: the checkpoint cannot be read or is not of the task `weam`; the folder exists; the exported model
            gives other logits.
    """
    check_destination(folder, overwrite=overwrite, marker="config.json")
    if folder.resolve() in checkpoint.resolve().parents:
        raise InputError(f"{folder} contains the checkpoint, so it is not replaced. Choose another folder.")
    carried = read(checkpoint)
    with whole_folder(folder) as partial:
        for name, content in carried.files.items():
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            (partial / name).write_bytes(content)
        # After the tokenizer files, because a published tokenizer can include the config.json of another model.
        with _of_ours(checkpoint):
            notes = _write_model(carried, partial, dtype)
            (partial / published.README).write_text(write_card(_facts(carried)), encoding="utf-8")
        difference = _check(carried.model, partial, checkpoint)
    return Exported(difference, notes)


def read(checkpoint: Path) -> Carried:
    """Reads the masked LM of a checkpoint, in fp32, and the files that it carries."""
    state = checkpoints.load(checkpoint)
    carried = (state.get("task_state") or {}).get("weam")
    if carried is None:
        raise InputError(f"{checkpoint} must be a checkpoint of the task 'weam', but is not: it carries no tokenizer.")
    if not isinstance(getattr((state.get("cfg") or {}).get("model"), "encoder_config", None), str):
        raise InputError(OLD_CHECKPOINT.format(where=str(checkpoint)))
    with _of_ours(checkpoint):
        return _carried(state, carried, checkpoint)


@contextmanager
def _of_ours(checkpoint: Path) -> Iterator[None]:
    """Reports missing or malformed parts of an untrusted checkpoint."""
    from safetensors import SafetensorError

    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError, SafetensorError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{checkpoint} must hold what weam-train writes, but some of it is missing ({reason})."
        ) from error


def _carried(state: dict[str, Any], carried: dict[str, Any], checkpoint: Path) -> Carried:
    weights = dict(state["model"])
    config = parse_config(
        parse_json(state["cfg"]["model"].encoder_config.encode(), f"the config of {checkpoint}", dict), checkpoint
    )
    trained = {n.removeprefix(MASKED_LM): v for n, v in weights.items() if n.startswith(MASKED_LM)}
    trained = {name: value.float() if value.is_floating_point() else value for name, value in trained.items()}
    # First without allocating memory, because an untrusted config can describe any size.
    described = skeleton(config, str(checkpoint)).state_dict()
    if {name: value.shape for name, value in trained.items()} != {n: v.shape for n, v in described.items()}:
        raise InputError(f"{checkpoint} must hold the weights that its config describes, but holds others.")
    model = build(config, str(checkpoint), trained).eval()
    for name, value in model.state_dict().items():
        if not value.isfinite().all():
            raise InputError(
                f"{checkpoint} must hold finite weights, but {name} has NaN or infinity: training diverged."
            )
        if not torch.equal(value, trained[name]):
            raise InputError(f"transformers must load {name} of {checkpoint} unchanged, but changes its values.")
    description = {key: carried[key] for key in ("pairs", "method", "aligner")}
    for pair in description["pairs"]:
        check_pair(pair, checkpoint)
    description["updates"] = int(state["optimizer_history"][-1].get("num_updates", 0))
    seed = carried.get("seed")
    description["seed"] = seed if isinstance(seed, int) else None
    origin = published.unpack(weights["published"])
    files = _tokenizer_files(carried["tokenizer_files"], checkpoint) if origin is None else dict(origin.files)
    for name, content in files.items():
        check_path(name, str(checkpoint))
        if not isinstance(content, bytes):
            raise InputError(f"{checkpoint} must carry files as bytes, but carries {name} as {type(content).__name__}.")
    return Carried(
        model,
        plain_config(config),
        bytes(weights["pieces_sha256"].tolist()).hex(),
        files,
        carried["special_ids"],
        description,
        origin,
        {name.removeprefix(OWN_HEAD): value for name, value in weights.items() if name.startswith(OWN_HEAD)},
    )


def _tokenizer_files(files: dict[str, bytes], checkpoint: Path) -> dict[str, bytes]:
    for name in files:
        if check_name(name, checkpoint) not in CARRIED_FILES:
            raise InputError(f"{checkpoint} must carry only tokenizer files, but carries {name}.")
    return files


def _write_model(carried: Carried, folder: Path, dtype: str | None) -> list[str]:
    """Writes config.json and model.safetensors. Returns notes for the user."""
    notes = [f"left out: the head of L_cp ({len(carried.own_head)} tensors)"] if carried.own_head else []
    origin, state = carried.published, carried.model.state_dict()
    changed: dict[str, Any] = {}
    if origin is None:
        tensors = {name: state[name] for name in names_without_ties(carried.model)}
        config: dict[str, Any] = {**carried.config, **_special_ids(carried)}
        changed["architectures"] = [type(carried.model).__name__]
        written = dict.fromkeys(tensors, dtype or "float32")
    else:
        config = parse_json(origin.files["config.json"], "config.json of the checkpoint", dict)
        tensors, written = _published_tensors(origin, state)
        if origin.about["missing"]:
            tensors, written = _with_new_head(carried, tensors, written)
            notes.append(f"new in the folder: {len(origin.about['missing'])} tensors of the head")
        written = {name: dtype or kind for name, kind in written.items()}
    rounded = []
    for name, kind in written.items():
        value = tensors[name]
        if value.is_floating_point() and kind in DTYPES:
            tensors[name] = value.to(getattr(torch, kind))
            if not torch.equal(tensors[name].float(), value):
                rounded.append(name)
        elif value.dtype != getattr(torch, kind):
            tensors[name] = value.to(getattr(torch, kind))
    if rounded:
        notes.append(f"rounded to {written[rounded[0]]}: {len(rounded)} tensors (--dtype float32 keeps them exact)")
    if dtype is not None or origin is None:
        changed["torch_dtype" if "torch_dtype" in config else "dtype"] = dtype or "float32"
    write_weights(tensors, folder)
    if changed:
        text = json.dumps(config | changed, indent=2, sort_keys=origin is None, ensure_ascii=False) + "\n"
        (folder / "config.json").write_text(text, encoding="utf-8")
    return notes


def _published_tensors(origin: Published, state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Returns the published folder's tensors with the trained weights, and their published types."""
    tensors = {slot.name: gather(slot, state) if slot.places else origin.tensors[slot.name] for slot in origin.slots}
    return tensors, {slot.name: slot.dtype for slot in origin.slots}


def _with_new_head(
    carried: Carried, tensors: dict[str, Tensor], written: dict[str, str]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Adds the tensors of the head that the folder lacked, under the names of transformers' class."""
    assert carried.published is not None
    slots, state = carried.published.slots, carried.model.state_dict()
    prefix = f"{carried.model.base_model_prefix}."
    # A folder with only a base model has names without the prefix. Together with a head they need it.
    bare = any(place.name == prefix + slot.name for slot in slots for place in slot.places)
    names = {slot.name: prefix + slot.name if bare else slot.name for slot in slots}
    kind = next((slot.dtype for slot in slots if slot.places), "float32")
    missing = carried.published.about["missing"]
    return (
        {**{names[name]: value for name, value in tensors.items()}, **{name: state[name] for name in missing}},
        {**{names[name]: dtype for name, dtype in written.items()}, **dict.fromkeys(missing, kind)},
    )


def _special_ids(carried: Carried) -> dict[str, int]:
    special = carried.special_ids
    return {"pad_token_id": special["pad"], "bos_token_id": special["cls"], "eos_token_id": special["sep"]}


def _check(model: Any, folder: Path, checkpoint: Path) -> float:
    """Loads the folder as a user would, and compares its logits with those of the checkpoint.

    Raises:
        InputError: transformers finds weights missing, or the logits differ.
    """
    try:
        with quiet():
            loaded, lacking = load_model(folder, "AutoModelForMaskedLM", "as a masked language model")
    except InputError as error:
        reason = str(error).rstrip(".")
        raise InputError(
            f"transformers must load the folder written from {checkpoint}, but does not: {reason}. {NOT_KEPT}"
        ) from error
    tied = set(loaded.state_dict()) - set(names_without_ties(loaded))
    missing = sorted(lacking - tied)
    if missing:
        raise InputError(
            f"transformers must find every tensor of its model in the folder written from {checkpoint}, but misses "
            f"{missing}. {NOT_KEPT}"
        )
    loaded_state = loaded.state_dict()
    for name, value in model.state_dict().items():
        if not any(torch.equal(loaded_state[name], value.to(getattr(torch, kind)).float()) for kind in DTYPES):
            raise InputError(f"{name} must be written unchanged, but transformers loads other values. {NOT_KEPT}")
    model.load_state_dict(loaded_state)  # with the rounding of the folder
    ours, theirs = MaskedLM(model), MaskedLM(loaded.eval())
    inputs, real = check_batch(model, ours.takes)
    with torch.no_grad():
        loaded_logits, our_logits = theirs.full_logits(inputs)[real], ours.logits(ours.states(inputs)[real])
    difference = float((our_logits - loaded_logits).abs().max() / our_logits.abs().max())
    if not difference <= TOLERANCE:
        raise InputError(
            f"Both models must give the same logits, but {checkpoint} and the folder written from it differ by "
            f"{difference:.1e} of the largest logit (allowed {TOLERANCE:.0e}). {NOT_KEPT}"
        )
    return difference


def _facts(carried: Carried) -> dict[str, Any]:
    config = carried.model.config
    about = carried.description
    return {
        "class": type(carried.model).__name__,
        "layers": getattr(config, "num_hidden_layers", "?"),
        "width": getattr(config, "hidden_size", "?"),
        "rows": carried.model.get_input_embeddings().weight.shape[0],
        "languages": sorted({language for pair in about["pairs"] for language in pair.split("-")}),
        "published": None if carried.published is None else carried.published.about,
        **about,
    }


if __name__ == "__main__":
    sys.exit(main())
