"""weam-to-hf: a checkpoint -> a complete Hugging Face folder, checked before it appears."""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import __version__, checkpoints
from ..encoder import Encoder, EncoderConfig
from ..errors import InputError
from .keys import TIED, to_theirs

# Largest difference of logits that is allowed, as a share of the largest logit (facts: fp32, other kernels).
TOLERANCE = 1e-5


class Carried(NamedTuple):
    """What a checkpoint holds for conversion.

    tokenizer_ids (V,) int64; pieces_sha256 hexadecimal; files: name -> bytes; special_ids: cls, sep, pad, unk, mask as
    tokenizer ids; description: pairs, method, aligner, updates.
    """

    encoder: Encoder
    tokenizer_ids: Tensor
    pieces_sha256: str
    files: dict[str, bytes]
    special_ids: dict[str, int]
    description: dict[str, Any]


def main(argv: list[str] | None = None) -> None:
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
    try:
        difference = convert(args.checkpoint, args.folder, overwrite=args.overwrite)
    except InputError as error:
        print(f"weam-to-hf: error: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"{args.folder}: written; logits differ by {difference:.1e} of the largest at most (allowed {TOLERANCE:.0e})")


def convert(checkpoint: Path, folder: Path, *, overwrite: bool = False) -> float:
    """Writes the folder, whole or not at all.

    Returns:
        the largest difference between the logits of both models as a share of the largest logit.

    Raises:
        InputError: the checkpoint cannot be read or was not made by task `weam`; the folder is there; the written
            model gives other logits.
    """
    if folder.exists() and not overwrite:
        raise InputError(f"{folder} must not exist yet, but does: name another folder or pass --overwrite.")
    if folder.exists() and (not (folder / "config.json").is_file() or folder.resolve() in checkpoint.resolve().parents):
        raise InputError(
            f"--overwrite replaces Hugging Face folders only, but {folder} is none (no config.json), or holds the "
            "checkpoint itself. Name another folder."
        )
    carried = read(checkpoint)
    beside = folder.with_name(f"{folder.name}.incomplete")
    if beside.exists():
        shutil.rmtree(beside)
    beside.mkdir(parents=True)
    try:
        for name, content in carried.files.items():
            (beside / name).write_bytes(content)
        # After the tokenizer's files: a published tokenizer can come with the config.json of another model.
        _write_model(carried, beside)
        (beside / "README.md").write_text(_model_card(carried), encoding="utf-8")
        difference = compare_logits(carried, beside)
        if not difference <= TOLERANCE:
            raise InputError(
                f"Both models must give the same logits, but {checkpoint} and the folder written from it differ by "
                f"{difference:.1e} of the largest logit (allowed {TOLERANCE:.0e}). The folder was not kept."
            )
        replaced = folder.with_name(f"{folder.name}.replaced")
        shutil.rmtree(replaced, ignore_errors=True)  # of a run that was killed between the next two lines
        if folder.exists():
            folder.replace(replaced)
        beside.replace(folder)
        shutil.rmtree(replaced, ignore_errors=True)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return difference


def read(checkpoint: Path) -> Carried:
    """The encoder of a checkpoint, in fp32, and the files that it carries."""
    state = checkpoints.load(checkpoint)
    carried = (state.get("task_state") or {}).get("weam")
    if carried is None:
        raise InputError(f"{checkpoint} must be a checkpoint of the task 'weam', but carries no tokenizer of one.")
    model = state["cfg"]["model"]
    weights = dict(state["model"])
    tokenizer_ids, digest = weights.pop("tokenizer_ids"), weights.pop("pieces_sha256")
    pad = int((tokenizer_ids == carried["special_ids"]["pad"]).nonzero()[0])
    config = EncoderConfig.of(model, len(tokenizer_ids), pad)
    encoder = Encoder(config)
    encoder.load_state_dict({name.removeprefix("encoder."): value.float() for name, value in weights.items()})
    description = {key: carried[key] for key in ("pairs", "method", "aligner")}
    history = state["optimizer_history"][-1]
    description["updates"] = history.get("num_updates", 0)
    return Carried(
        encoder.eval(),
        tokenizer_ids,
        bytes(digest.tolist()).hex(),
        carried["tokenizer_files"],
        carried["special_ids"],
        description,
    )


def _write_model(carried: Carried, folder: Path) -> None:
    from transformers import BertConfig, BertForMaskedLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    config = carried.encoder.config
    model = BertForMaskedLM(
        BertConfig(
            vocab_size=config.vocabulary,
            hidden_size=config.width,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            intermediate_size=config.feed_forward,
            hidden_act="gelu",
            hidden_dropout_prob=config.dropout,
            attention_probs_dropout_prob=config.attention_dropout,
            max_position_embeddings=config.positions,
            type_vocab_size=config.segments,
            layer_norm_eps=config.norm_eps,
            pad_token_id=carried.special_ids["pad"],
        )
    )
    theirs = to_theirs(carried.encoder.state_dict(), carried.tokenizer_ids)
    missing, unexpected = model.load_state_dict(theirs, strict=False)
    assert set(missing) <= set(TIED), missing
    assert not unexpected, unexpected
    model.tie_weights()
    model.save_pretrained(folder)


def compare_logits(carried: Carried, folder: Path) -> float:
    """Largest difference of the logits on a fixed padded batch of two segments, as a share of the largest logit."""
    from transformers import AutoModelForMaskedLM

    config = carried.encoder.config
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([min(24, config.positions), 17, 5])
    width = int(lengths.max())
    tokens = torch.randint(config.vocabulary, (len(lengths), width), generator=generator)
    tokens[tokens == config.pad] = (config.pad + 1) % config.vocabulary
    real = torch.arange(width)[None, :] < lengths[:, None]
    tokens[~real] = config.pad
    segments = (torch.arange(width)[None, :] >= lengths[:, None] // 2).long() * real
    positions = torch.arange(width).expand_as(tokens)
    model = AutoModelForMaskedLM.from_pretrained(folder, local_files_only=True).eval()
    with torch.no_grad():
        states = carried.encoder(tokens, segments, positions)
        ours = carried.encoder.logits(states[real])
        output = model(
            input_ids=carried.tokenizer_ids[tokens], attention_mask=real.long(), token_type_ids=segments
        ).logits
    theirs = output[real][:, carried.tokenizer_ids]
    return float((ours - theirs).abs().max() / ours.abs().max())


def _model_card(carried: Carried) -> str:
    config, about = carried.encoder.config, carried.description
    languages = sorted({language for pair in about["pairs"] for language in pair.split("-")})
    header = "\n".join(f"- {language}" for language in languages)
    return f"""---
language:
{header}
library_name: transformers
pipeline_tag: fill-mask
tags:
- weam
---

# A masked language model trained with weam_fairseq {__version__}

{config.layers} layers × {config.width}, {config.vocabulary:,} pieces, {about["updates"]:,} updates in its last training
on the pairs {", ".join(about["pairs"])}, links from {json.dumps(about["aligner"])}.

Method: `{json.dumps(about["method"])}`

WEAM: Yang, Ma, Cui, Ye, Che, Wang, *Bilingual Alignment Pre-Training for Zero-Shot Cross-Lingual Transfer*, MRQA 2021
(arXiv 2106.01732).

```python
from transformers import AutoModelForMaskedLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("PATH_OF_THIS_FOLDER")
model = AutoModelForMaskedLM.from_pretrained("PATH_OF_THIS_FOLDER")
```
"""


if __name__ == "__main__":
    main()
