"""Defines the batches that the data set passes to the model and the criterion: keys, dtypes, shapes.

Shapes: B sequences, T positions, N masked rows, K edges. A row is b * T + position in the flattened batch.

| key | shape | meaning |
|---|---|---|
| id | (pairs,) int64 | virtual index of each pair (sampling.py): index in the data set if drawn once per epoch |
| net_input.tokens | (B, T) int64 | the model's input after masking, as tokenizer ids |
| net_input.attention_mask | (B, T) int64 | 1 for pieces, 0 for padding |
| net_input.segments | (B, T) int64 | segment ids |
| net_input.positions | (B, T) int64 or absent | position ids from 0; absent: the model numbers the positions |
| net_input.masked_rows | (N,) int64 | ascending |
| net_input.exchange | Exchange or absent | absent: the objective has no second loss |
| target | (N,) int64 | the original piece of each masked row |
| row_pair | (N,) int64 | index of each masked row's language pair |
| pair_pieces | (language pairs,) int64 | number of pieces of each language pair, without special pieces |
| nsentences, ntokens | int | number of sentence pairs; number of positions that are not padding |
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from weam_fairseq.method.word_exchange import Exchange

Batch = dict[str, Any]

# Our names of the model's inputs -> transformers' names.
FLAT = {
    "tokens": "input_ids",
    "attention_mask": "attention_mask",
    "segments": "token_type_ids",
    "positions": "position_ids",
    "masked_rows": "masked_rows",
}


def validate(batch: Batch, vocabulary_size: int) -> None:
    """Checks the keys, dtypes and shapes of a collated batch.

    Raises:
        AssertionError: there is a bug in our data set. The user's data was checked before (dataset.py).
    """
    net_input = batch["net_input"]
    tokens, rows, target = net_input["tokens"], net_input["masked_rows"], batch["target"]
    assert tokens.dtype == torch.int64, tokens.dtype
    assert tokens.dim() == 2, tokens.shape
    assert net_input["segments"].shape == tokens.shape == net_input["attention_mask"].shape
    assert "positions" not in net_input or net_input["positions"].shape == tokens.shape
    assert int(tokens.max()) < vocabulary_size, (int(tokens.max()), vocabulary_size)
    assert rows.shape == target.shape == batch["row_pair"].shape
    assert not len(rows) or int(rows[-1]) < tokens.numel()
    exchange: Exchange | None = net_input.get("exchange")
    if exchange is not None and len(exchange.linked):
        assert int(exchange.linked[-1]) < len(rows)
        assert int(exchange.origin.max()) < tokens.numel()


def flat(batch: Batch) -> dict[str, Tensor]:
    """Converts a batch for `WordExchange`: only tensors, so that Trainer and accelerate can move it to a device.

    Returns:
        input_ids, attention_mask, token_type_ids and, with reset_positions, position_ids: (B, T); masked_rows: (N,);
        labels: (N,) the pieces to predict. If the objective has a second loss, also the fields of `Exchange`:
        exchange_linked (L,), exchange_segment, exchange_origin and exchange_weight (K,).
    """
    net_input = batch["net_input"]
    inputs = {FLAT[name]: net_input[name] for name in FLAT if name in net_input}
    inputs["labels"] = batch["target"]
    exchange: Exchange | None = net_input.get("exchange")
    if exchange is not None:
        inputs |= {f"exchange_{name}": value for name, value in exchange._asdict().items()}
    return inputs


class PickledBatch(dict[str, Any]):
    """A batch that is pickled as one message. A data worker sends its tensors to the trainer as arrays.

    torch would send each tensor through its own shared memory: it would create, map, send and close twelve files for a
    batch of about 100 KB. Copying the bytes is cheaper.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, ({key: _as_array(value) for key, value in self.items()},)


def _unpickle(message: Batch) -> "PickledBatch":
    return PickledBatch({key: _as_tensor(value) for key, value in message.items()})


def _as_array(value: Any) -> Any:
    return value.numpy() if isinstance(value, torch.Tensor) else _map_values(value, _as_array)


def _as_tensor(value: Any) -> Any:
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else _map_values(value, _as_tensor)


def _map_values(value: Any, convert: Any) -> Any:
    if isinstance(value, dict):
        return {key: convert(item) for key, item in value.items()}
    if isinstance(value, tuple):  # a NamedTuple, as the exchange is
        return type(value)(*(convert(item) for item in value))
    return value
