"""Small masked LMs of transformers for tests that need no data-bin, and their two steps without our shortcuts."""

from typing import Any

from torch import Tensor


def bert(pieces: int, **config: Any) -> Any:
    """A BertForMaskedLM of one layer, 16 wide, in evaluation mode and without dropout, its weights drawn by torch."""
    from transformers import BertConfig, BertForMaskedLM

    values = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    values |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "max_position_embeddings": 64}
    return BertForMaskedLM(BertConfig(vocab_size=pieces, **{**values, **config})).eval()


def states_of(model: Any, net_input: dict[str, Tensor]) -> Tensor:
    """(B, T, D) by the base model itself."""
    found: Tensor = model.bert(
        input_ids=net_input["tokens"],
        attention_mask=net_input["attention_mask"],
        token_type_ids=net_input["segments"],
        position_ids=net_input.get("positions"),
    ).last_hidden_state
    return found


def logits_of(model: Any, states: Tensor, head: Any = None) -> Tensor:
    """(M, D) -> (M, V) by a head's own modules; head: the one of the model, or another `cls`."""
    found: Tensor = (model.cls if head is None else head)(states)
    return found
