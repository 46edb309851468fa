"""Our arithmetic against transformers': the check of every import and export."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..encoder import Encoder

# Largest difference that is allowed, as a share of the largest logit: fp32 sums in another order.
TOLERANCE = 1e-5


class Loaded(NamedTuple):
    """A folder as transformers loads it: the model, and the names that it missed and did not know."""

    model: Any
    missing: list[str]
    unexpected: list[str]


def load(folder: Path, *, headless: bool = False, attention: str | None = None) -> Loaded:
    """The folder's model as a user loads it, but in fp32 and evaluation mode.

    Args:
        headless: without the masked-LM head.
        attention: transformers' attn_implementation; None: its default.
    """
    from transformers import AutoModel, AutoModelForMaskedLM

    options: dict[str, Any] = {} if attention is None else {"attn_implementation": attention}
    auto = AutoModel if headless else AutoModelForMaskedLM
    with _quiet():
        model, info = auto.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, output_loading_info=True, **options
        )
    return Loaded(model.float().eval(), list(info["missing_keys"]), list(info["unexpected_keys"]))


def largest_difference(encoder: Encoder, order: Tensor, model: Any, *, states_only: bool = False) -> float:
    """Largest difference between both models on a fixed padded batch of two segments, as a share of the largest value.

    Args:
        encoder: ours, in evaluation mode.
        order: (V,) tokenizer id of each of our rows (keys.row_order).
        model: transformers' (load).
        states_only: compare the last layer's states instead of the logits (a model without a head).
    """
    config = encoder.config
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([24, 17, 5]).clamp(max=config.longest)
    width = int(lengths.max())
    tokens = torch.randint(config.vocabulary, (len(lengths), width), generator=generator)
    tokens[tokens == config.pad] = (config.pad + 1) % config.vocabulary
    real = torch.arange(width)[None, :] < lengths[:, None]
    tokens[~real] = config.pad
    segments = (torch.arange(width)[None, :] >= lengths[:, None] // 2).long() * real * (config.segments > 1)
    inputs = {"input_ids": order[tokens], "attention_mask": real.long()}
    if config.segments:
        inputs["token_type_ids"] = segments
    with torch.no_grad():
        states = encoder(tokens, segments, torch.arange(width).expand_as(tokens))[real]
        if states_only:
            ours, theirs = states, model(**inputs).last_hidden_state[real]
        else:
            ours, theirs = encoder.logits(states), model(**inputs).logits[real][:, order]
    return float((ours - theirs).abs().max() / ours.abs().max())


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' bar and its table of the pooler's and other heads' weights, which are meant."""
    from transformers.utils import logging as theirs

    theirs.disable_progress_bar()
    before = theirs.get_verbosity()
    theirs.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        theirs.set_verbosity(before)
