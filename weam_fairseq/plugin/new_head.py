"""Fits a new masked-LM head to the data-bin once, at the start of a run (encoder/fitted_head.py).

Encoders of sentence-transformers (e5, LaBSE, bge-m3, MiniLM) are published without a head. Training through a head with
random weights would damage them.
"""

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from weam_fairseq.common.errors import InputError
from weam_fairseq.method.policy import Policy

# Inputs of the base model, masked rows, masked pieces.
Masked = tuple[dict[str, Tensor], Tensor, Tensor]

logger = logging.getLogger(__name__)

# Number of masked pieces for the fit. docs/performance.md has time and loss for other numbers.
ROWS = 24_000
PAIRS_AT_ONCE = 32
# Number of sentence pairs whose pieces are counted.
COUNTED = 100_000
# No training epoch has this number, so the masks differ from those of the training.
EPOCH = 0


def fit_new_head(trainer: Any) -> None:
    """Fits the head of a trainer's model if it is new. All processes get the head of the first one.

    Args:
        trainer: fairseq's trainer, after loading the weights and before creating the optimizer.

    Raises:
        InputError: --head-first with several processes.
    """
    model = trainer.get_model()
    if not hasattr(model, "head_is_new"):  # another model of fairseq in the same process
        return
    several = torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1
    if several and model.head_first:
        raise InputError(
            "--head-first must be used with one process, but there are several: torch's distributed training needs "
            "gradients of the same parameters at every update. First train only the head with --freeze encoder, then "
            "start from that checkpoint."
        )
    if not bool(model.head_is_new):
        return
    if not several or torch.distributed.get_rank() == 0:
        _fit(trainer.task, model)
    if several:
        base = {id(parameter) for parameter in model.base.parameters()}
        for parameter in model.parameters():
            if id(parameter) not in base:
                torch.distributed.broadcast(parameter.data, 0)
    model.head_is_new.zero_()
    if model.own_head is not None:
        # The head of L_cp starts as a copy of the head of L_mp.
        first = model.masked_lm.state_dict()
        model.own_head.load_state_dict({name: first[name] for name in model.own_head.state_dict()})


def _fit(task: Any, model: Any) -> None:
    from weam_fairseq.encoder.fitted_head import fit_head

    logger.info("the encoder has no masked-LM head: fitting one to %s masked pieces of the training data", f"{ROWS:,}")
    data = task.open_for_fitting(Policy(objective="tlm", mask_prob=task.policy.mask_prob), EPOCH)
    order = np.random.default_rng(task.cfg.seed).permutation(len(data))
    report = fit_head(
        model.masked_lm,
        _batches(data, model, order),
        _frequencies(data, order, model.masked_lm.get_input_embeddings().weight.shape[0]),
        fit_dense=any(model.masked_lm.get_parameter(name).dim() == 2 for name in model.missing()),
        seed=task.cfg.seed,
    )
    logger.info(
        "fitted head: %s in %.0f s; nats of held-out pieces: before %.2f, unigram %.2f, fitted %.2f (%.1f %% right)",
        report.how,
        report.seconds,
        report.nats_before,
        report.nats_unigram,
        report.nats_after,
        100 * report.accuracy_after,
    )
    if not report.how.startswith("dense"):
        logger.warning(
            "the head of %s could be fitted only partly (%s). --head-first N trains only the head for N updates.",
            type(model.masked_lm).__name__,
            report.how,
        )


def _batches(data: Any, model: Any, order: np.ndarray) -> Iterator[Masked]:
    """Yields batches with about ROWS masked pieces, sorted by length to avoid padding."""
    order = order[data.sizes[order] <= model.max_positions()]  # the others are left out of the training too
    expected = np.cumsum(data.sizes[order]) * data.policy.mask_prob
    chosen = order[: int(np.searchsorted(expected, ROWS)) + 1]
    chosen = chosen[np.argsort(data.sizes[chosen], kind="stable")]
    for start in range(0, len(chosen), PAIRS_AT_ONCE):
        batch = data.collater(data.__getitems__(chosen[start : start + PAIRS_AT_ONCE]))
        net_input = {name: value.to(model.pieces_sha256.device) for name, value in batch["net_input"].items()}
        inputs = model.inputs(
            net_input["tokens"], net_input["attention_mask"], net_input["segments"], net_input.get("positions")
        )
        yield inputs, net_input["masked_rows"], batch["target"]


def _frequencies(data: Any, order: np.ndarray, rows: int) -> Tensor:
    """(rows,) counts of the pieces in a part of the training data."""
    counts = np.zeros(rows, dtype=np.int64)
    for start in range(0, min(len(order), COUNTED), 1000):
        for pair in data.__getitems__(order[start : min(start + 1000, COUNTED)]):
            np.add.at(counts, np.concatenate([pair.source, pair.target]), 1)
    return torch.from_numpy(counts)
