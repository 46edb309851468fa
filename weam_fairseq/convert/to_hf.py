"""weam-to-hf: a checkpoint -> a complete Hugging Face folder, checked before it appears."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import __version__, checkpoints
from ..common.command import run_command
from ..common.documents import check_name, parse_json
from ..common.errors import InputError
from ..common.files import check_destination, whole_folder
from ..databin import check_pair
from ..encoder import Encoder, EncoderConfig
from . import keys, published
from .compare import TOLERANCE, Loaded, largest_difference, load
from .families import FAMILIES, ROBERTA, Family, describe, family_for, family_of
from .published import CARRIED_FILES, Published
from .slots import shapes_of
from .weights import write_weights

# Parts of the model that transformers does not have in one with a masked-LM head: kept in the file, not loaded.
NOT_LOADED = ("pooler.", "cls.seq_relationship.", "embeddings.position_ids")
CP_HEAD = "encoder.cp_head."


class Carried(NamedTuple):
    """What a checkpoint holds for conversion.

    tokenizer_ids (pieces,) int64; pieces_sha256 hexadecimal; files: the tokenizer's, name -> bytes; special_ids: cls,
    sep, pad, unk, mask as tokenizer ids; description: pairs, method, aligner, updates; published: what weam-from-hf
    found, None for a model trained from scratch; left_out: tensors that a Hugging Face folder has no place for;
    unknown_files: names of carried files that are no tokenizer's.
    """

    encoder: Encoder
    tokenizer_ids: Tensor
    pieces_sha256: str
    files: dict[str, bytes]
    special_ids: dict[str, int]
    description: dict[str, Any]
    published: Published | None
    left_out: list[str]
    unknown_files: list[str]

    @property
    def order(self) -> Tensor:
        """(V,) tokenizer id of each row of the vocabulary."""
        return keys.row_order(self.tokenizer_ids, self.encoder.config.vocabulary)


class Exported(NamedTuple):
    """difference: of the logits, as a share of the largest; notes: what a reader should know of the folder."""

    difference: float
    notes: list[str]


def main(argv: list[str] | None = None) -> int:
    """Returns the exit code: 0, or 2 after one sentence on stderr."""
    return run_command("weam-to-hf", lambda: _run(argv))


def _run(argv: list[str] | None) -> None:
    parser = argparse.ArgumentParser(
        prog="weam-to-hf",
        description="Writes a WEAM checkpoint as a Hugging Face folder (config, safetensors, tokenizer, model card) "
        "that AutoModelForMaskedLM and AutoTokenizer load, and checks that both models give the same logits.",
        epilog="example: weam-to-hf runs/weam/checkpoint_last.pt runs/weam/hf",
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoint file (.pt) of fairseq-train or weam-train")
    parser.add_argument("folder", type=Path, help="folder to write; must not exist, unless --overwrite")
    parser.add_argument("--overwrite", action="store_true", help="replace the folder if it is there")
    args = parser.parse_args(argv)
    done = convert(args.checkpoint, args.folder, overwrite=args.overwrite)
    print(f"{args.folder}: written; logits differ by {done.difference:.1e} of the largest (allowed {TOLERANCE:.0e})")
    for note in done.notes:
        print(note)


def convert(checkpoint: Path, folder: Path, *, overwrite: bool = False) -> Exported:
    """Writes the folder, whole or not at all.

    A checkpoint that came from a published folder gives that folder's own files and tensor names again, with the
    weights as they are now.

    Raises:
        InputError: the checkpoint cannot be read or was not made by task `weam`; the folder is there; the written
            model gives other logits.
    """
    check_destination(folder, overwrite=overwrite, marker="config.json")
    if folder.resolve() in checkpoint.resolve().parents:
        raise InputError(f"{folder} contains the checkpoint, so it is not replaced. Choose another folder.")
    carried = read(checkpoint)
    with whole_folder(folder) as partial:
        files = carried.files if carried.published is None else carried.published.files
        for name, content in files.items():
            (partial / name).write_bytes(content)
        # After the tokenizer's files: a published tokenizer can come with the config.json of another model.
        notes = _write_model(carried, partial)
        (partial / "README.md").write_text(_model_card(carried), encoding="utf-8")
        loaded = load(partial)
        _check_keys(loaded, partial, carried.published, tied=not carried.encoder.config.untied_head)
        difference = largest_difference(carried.encoder, carried.order, loaded.model)
        if not difference <= TOLERANCE:
            raise InputError(
                f"Both models must give the same logits, but {checkpoint} and the folder written from it differ by "
                f"{difference:.1e} of the largest logit (allowed {TOLERANCE:.0e}). The folder was not kept."
            )
    return Exported(difference, notes)


def read(checkpoint: Path) -> Carried:
    """The encoder of a checkpoint, in fp32, and the files that it carries."""
    state = checkpoints.load(checkpoint)
    carried = (state.get("task_state") or {}).get("weam")
    if carried is None:
        raise InputError(f"{checkpoint} must be a checkpoint of the task 'weam', but carries no tokenizer of one.")
    try:
        return _carried(state, carried, checkpoint)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{checkpoint} must hold what weam-train writes, but lacks some of it ({reason}).") from error


def _carried(state: dict[str, Any], carried: dict[str, Any], checkpoint: Path) -> Carried:
    weights = dict(state["model"])
    tokenizer_ids, digest = weights["tokenizer_ids"], weights["pieces_sha256"]
    pad = int((tokenizer_ids == carried["special_ids"]["pad"]).nonzero()[0])
    config = EncoderConfig.of(state["cfg"]["model"], len(tokenizer_ids), pad)
    left_out = [name for name in weights if name.startswith(CP_HEAD)]
    trained = {n.removeprefix("encoder."): v.float() for n, v in weights.items() if n.startswith("encoder.")}
    trained = {n: v for n, v in trained.items() if f"encoder.{n}" not in left_out}
    own = shapes_of(config, str(checkpoint))
    if {name: value.shape for name, value in trained.items()} != own:
        raise InputError(f"{checkpoint} must hold the weights that its options describe, but holds others.")
    encoder = Encoder(config)
    encoder.load_state_dict(trained)
    description = {key: carried[key] for key in ("pairs", "method", "aligner")}
    for pair in description["pairs"]:
        check_pair(pair, checkpoint)
    description["updates"] = int(state["optimizer_history"][-1].get("num_updates", 0))
    origin = published.unpack(weights["published"])
    files = {**({} if origin is None else origin.files), **carried["tokenizer_files"]}
    return Carried(
        encoder.eval(),
        tokenizer_ids,
        bytes(digest.tolist()).hex(),
        _tokenizer_files(carried["tokenizer_files"], checkpoint),
        carried["special_ids"],
        description,
        None if origin is None else origin._replace(files=_tokenizer_files(origin.files, checkpoint)),
        left_out,
        sorted(set(files) - set(CARRIED_FILES)),
    )


def _tokenizer_files(files: dict[str, bytes], checkpoint: Path) -> dict[str, bytes]:
    """Those of a checkpoint's files that a Hugging Face folder may get from it.

    Raises:
        InputError: a name leads out of the folder, or the content is no bytes.
    """
    for name, content in files.items():
        check_name(name, checkpoint)
        if not isinstance(content, bytes):
            raise InputError(f"{checkpoint} must carry files as bytes, but carries {name} as {type(content).__name__}.")
    return {name: content for name, content in files.items() if name in CARRIED_FILES}


def _write_model(carried: Carried, folder: Path) -> list[str]:
    """Writes config.json and model.safetensors. Returns notes for the reader."""
    notes = [f"the head of L_cp ({len(carried.left_out)} tensors) is left out"] if carried.left_out else []
    if carried.unknown_files:
        notes.append(f"files that are no tokenizer's are left out: {', '.join(carried.unknown_files)}")
    origin = carried.published
    if origin is None:
        family = family_for(carried.encoder.config, carried.special_ids["pad"])
        config = _new_config(family, carried)
    else:
        config = parse_json(origin.files["config.json"], "config.json of the checkpoint", dict)
        family = family_of(config, "config.json of the checkpoint")
    state = carried.encoder.state_dict()
    names = keys.their_names(family, state)
    values = {name: keys.to_theirs(name, value, carried.order) for name, value in state.items()}
    if family is not ROBERTA:  # its first position is row 0
        position = "embeddings.position.weight"
        values[position] = values[position][carried.encoder.config.position_offset :]
    tensors = {names[name]: value for name, value in values.items()}
    if carried.encoder.config.untied_head:  # then transformers ties the biases no more either
        tensors |= {alias: tensors[original] for alias, original in family.aliases if alias not in tensors}
    changed: dict[str, Any] = {}
    if origin is not None and not origin.about["new_head"]:
        tensors, exact = _as_it_came(origin, values)
        if not exact:
            changed["dtype" if "dtype" in config else "torch_dtype"] = "float32"
            notes.append(
                "trained weights do not fit into the half precision of the published folder: float32 was written"
            )
    elif origin is not None:
        headless = not any(slot.name.startswith(family.prefix) for slot in origin.slots)
        tensors |= {keys.canonical(family, n, headless=headless): value for n, value in origin.tensors.items()}
        changed["architectures"] = [family.masked_lm]
        notes.append("the masked-LM head is new: names follow transformers' class with a head")
    write_weights(tensors, folder)
    if origin is None or changed:
        text = json.dumps(config | changed, indent=2, sort_keys=origin is None, ensure_ascii=False) + "\n"
        (folder / "config.json").write_text(text, encoding="utf-8")
    return notes


def _as_it_came(origin: Published, values: dict[str, Tensor]) -> tuple[dict[str, Tensor], bool]:
    """The published folder's tensors, under their names and in their types, with today's values; did all fit?

    A type is kept where it holds the values exactly: weights that came in half precision and were not trained go back
    bit for bit, trained ones are written in full.
    """
    narrow = {s.ours: values[s.ours].to(getattr(torch, s.dtype)) for s in origin.slots if s.ours is not None}
    exact = all(torch.equal(narrow[name].float(), values[name]) for name in narrow)
    chosen = narrow if exact else values
    return {s.name: origin.tensors[s.name] if s.ours is None else chosen[s.ours] for s in origin.slots}, exact


def _new_config(family: Family, carried: Carried) -> dict[str, Any]:
    import transformers

    special = carried.special_ids
    ends = {"bos_token_id": special["cls"], "eos_token_id": special["sep"]} if family is ROBERTA else {}
    config = getattr(transformers, family.masked_lm).config_class(
        **describe(family, carried.encoder.config, special["pad"]),
        **ends,
        architectures=[family.masked_lm],
        dtype="float32",
    )
    return dict(json.loads(config.to_json_string()))


def _check_keys(loaded: Loaded, folder: Path, origin: Published | None, *, tied: bool) -> None:
    """transformers must find every weight of its model in the folder, and nothing that it does not know but a few, and
    what the published folder had besides them.
    """
    besides = set() if origin is None else set(origin.tensors)
    besides |= {keys.canonical(family, name, headless=True) for family in FAMILIES for name in besides}
    second_names = {alias for family in FAMILIES for alias, _ in family.aliases} if tied else set()
    missing = sorted(set(loaded.missing) - second_names)
    unexpected = sorted(
        name for name in loaded.unexpected if not any(part in name for part in NOT_LOADED) and name not in besides
    )
    if missing or unexpected:
        raise InputError(
            f"transformers must know every tensor of {folder} and miss none, but misses {missing} and does not know "
            f"{unexpected}. The folder was not kept."
        )


def _model_card(carried: Carried) -> str:
    config, about = carried.encoder.config, carried.description
    languages = sorted({language for pair in about["pairs"] for language in pair.split("-")})
    header = "".join(f"\n- {json.dumps(language)}" for language in languages)  # `no` is a truth value in YAML
    return f"""---
language:{header or " []"}
library_name: transformers
pipeline_tag: fill-mask
tags:
- weam
---

# A masked language model trained with weam_fairseq {__version__}

{config.layers} layers × {config.width}, {config.vocabulary:,} rows of the vocabulary. {_training(carried)}

WEAM: Yang, Ma, Cui, Ye, Che, Wang, *Bilingual Alignment Pre-Training for Zero-Shot Cross-Lingual Transfer*, MRQA 2021
(arXiv 2106.01732).

```python
from transformers import AutoModelForMaskedLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("PATH_OF_THIS_FOLDER")
model = AutoModelForMaskedLM.from_pretrained("PATH_OF_THIS_FOLDER")
```
"""


def _training(carried: Carried) -> str:
    about = carried.description
    started = (
        "" if carried.published is None else f"Started from the folder {_code(carried.published.about['folder'])}. "
    )
    if not about["pairs"]:
        return f"{started}Not trained since."
    return (
        f"{started}{about['updates']:,} updates in its last training on the pairs {', '.join(about['pairs'])}, "
        f"links from {_code(about['aligner'])}.\n\nMethod: {_code(about['method'])}"
    )


def _code(value: Any) -> str:
    """A value of the checkpoint as one stretch of Markdown's code, which it cannot end."""
    text = value if isinstance(value, str) else json.dumps(value)
    plain = " ".join(text.replace("`", "'").split())
    return f"`{plain}`"


if __name__ == "__main__":
    sys.exit(main())
