"""The batch contract between the data set, the model and the criterion: keys, dtypes, shapes.

B sequences, T positions, N masked rows, K edges; a row is b * T + position in the flattened batch.

| key | shape | what |
|---|---|---|
| id | (pairs,) int64 | virtual index of each pair (sampling.py): its index in the data set if it comes once an epoch |
| net_input.tokens | (B, T) int64 | what the model sees, after masking, as tokenizer ids |
| net_input.attention_mask | (B, T) int64 | 1, and 0 for padding |
| net_input.segments | (B, T) int64 | embedding indices |
| net_input.positions | (B, T) int64 or absent | embedding indices from 0; absent: the model counts them |
| net_input.masked_rows | (N,) int64 | ascending |
| net_input.exchange | Exchange or absent | absent: the objective has no second loss |
| target | (N,) int64 | the piece that stood in each masked row |
| row_pair | (N,) int64 | which language pair each masked row belongs to |
| pair_pieces | (pairs of languages,) int64 | pieces, without special ones, of each language pair |
| nsentences, ntokens | int | language pairs' sentences; positions that are not padding |
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from weam_fairseq.method.word_exchange import Exchange

Batch = dict[str, Any]

# What the model sees under the names that transformers has for it.
FLAT = {
    "tokens": "input_ids",
    "attention_mask": "attention_mask",
    "segments": "token_type_ids",
    "positions": "position_ids",
    "masked_rows": "masked_rows",
}


def validate(batch: Batch, vocabulary_size: int) -> None:
    """Holds the contract on a collated batch.

    Raises:
        AssertionError: our own data set broke it; the user's data was checked before (dataset.py).
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
    """The batch that `WordExchange` takes: tensors alone, so that Trainer and accelerate move it to a device.

    Returns:
        input_ids, attention_mask, token_type_ids, and with reset_positions position_ids: (B, T); masked_rows: (N,);
        labels: (N,) the pieces to predict. Where the objective has a second loss: exchange_linked (L,),
        exchange_segment, exchange_origin, exchange_weight (K,), as `Exchange` has them.
    """
    net_input = batch["net_input"]
    found = {FLAT[name]: net_input[name] for name in FLAT if name in net_input}
    found["labels"] = batch["target"]
    exchange: Exchange | None = net_input.get("exchange")
    if exchange is not None:
        found |= {f"exchange_{name}": value for name, value in exchange._asdict().items()}
    return found


class PickledBatch(dict[str, Any]):
    """A batch that is pickled as one message: its tensors travel from a data worker to the trainer as arrays.

    torch sends every tensor of a batch through shared memory of its own: a file is made, mapped, sent and closed twelve
    times for a batch of some 100 KB. Copying the bytes is cheaper.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, ({key: _as_array(value) for key, value in self.items()},)


def _unpickle(sent: Batch) -> "PickledBatch":
    return PickledBatch({key: _as_tensor(value) for key, value in sent.items()})


def _as_array(value: Any) -> Any:
    return value.numpy() if isinstance(value, torch.Tensor) else _map_values(value, _as_array)


def _as_tensor(value: Any) -> Any:
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else _map_values(value, _as_tensor)


def _map_values(value: Any, change: Any) -> Any:
    if isinstance(value, dict):
        return {key: change(item) for key, item in value.items()}
    if isinstance(value, tuple):  # a NamedTuple, as the exchange is
        return type(value)(*(change(item) for item in value))
    return value
