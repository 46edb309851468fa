"""`WordExchange`: any masked LM of transformers with the losses of WEAM.

A plain training loop, Hugging Face's Trainer and fairseq all use it.

Shapes: B sentences, T positions, D width, V rows of the vocabulary, N masked rows, L of them predicted again.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from transformers.utils.generic import ModelOutput

from weam_fairseq.common.errors import InputError
from weam_fairseq.encoder.faster_parts import Parts, is_tied, use_faster_parts
from weam_fairseq.encoder.huggingface import MaskedLM, first_position, takes_segments, with_own_head
from weam_fairseq.method.limits import check_argument, check_choice
from weam_fairseq.method.losses import (
    Predictions,
    Weighed,
    predict_and_weigh,
    rows_to_project,
    split_predictions,
    targets_to_project,
    weigh_logits,
    weights_in_the_loss,
)
from weam_fairseq.method.options import FREEZE
from weam_fairseq.method.word_exchange import Exchange, exchange_rows


class Predicted(NamedTuple):
    """Both predictions of a batch.

    Attributes:
        weighed: L_mp + λ · L_cp, a sum over the masked rows, and the predictions of the N + L projected rows.
        again: (L,) indices of the masked rows that were predicted again: the linked ones, or all if L_cp has its own
            head.
    """

    weighed: Weighed
    again: Tensor

    def split(self, rows: int) -> tuple[Predictions, Predictions]:
        """Returns the multilingual and the cross-lingual predictions of the N masked rows."""
        return split_predictions(self.weighed.predictions, self.again, rows)


class _Predictors(NamedTuple):
    """The head of L_mp, and the head of L_cp if it has its own."""

    shared: MaskedLM
    own: MaskedLM | None


@dataclass
class WordExchangeOutput(ModelOutput):
    """Means over the masked pieces of a batch.

    Attributes:
        loss: () L_mp + λ · L_cp in nats, with gradients.
        mp_loss, cp_loss: () in nats, without gradients.
        mp_accuracy, cp_accuracy: () share of correctly predicted masked pieces.
    """

    loss: Tensor | None = None
    mp_loss: Tensor | None = None
    cp_loss: Tensor | None = None
    mp_accuracy: Tensor | None = None
    cp_accuracy: Tensor | None = None


class WordExchange(nn.Module):
    """A masked LM that predicts masked pieces from their own states and from exchanged ones.

    Args:
        model: a model of a transformers class with a masked-LM head. Its weights are trained in place.
        cp_weight: λ, the weight of the cross-lingual loss.
        cp_head: `shared`: both losses use the model's head; `own`: the cross-lingual loss gets a copy of the head.
        freeze: `none`: train all weights; `embeddings`: do not train the word embeddings and a head tied to them;
            `encoder`: train only the head.
        reset_positions: whether the batches contain position ids.

    Raises:
        UnsupportedModel: the model's rows cannot be predicted one by one, or it does not support an option.
        InputError: an option has a value that is not allowed.
    """

    # Trainer saves as safetensors, which rejects two names for one tensor. fairseq's checkpoints contain all names.
    names_tied_twice = False
    # Makes Trainer pass num_items_in_batch, so that accumulated batches are weighted by their masked pieces.
    accepts_loss_kwargs = True

    def __init__(
        self,
        model: Any,
        *,
        cp_weight: float = 1.0,
        cp_head: Literal["shared", "own"] = "shared",
        freeze: Literal["none", "embeddings", "encoder"] = "none",
        reset_positions: bool = False,
    ) -> None:
        super().__init__()
        check_argument("cp_weight", cp_weight)
        check_choice("cp_head", cp_head, ("shared", "own"))
        check_choice("freeze", freeze, FREEZE)
        if not self.names_tied_twice:
            self.register_state_dict_post_hook(_name_once)  # type: ignore[no-untyped-call]
            self.register_load_state_dict_pre_hook(_name_all)  # type: ignore[no-untyped-call]
        self.head_only = False
        self.masked_lm = model
        self.cp_weight = cp_weight
        self.own_head = with_own_head(model) if cp_head == "own" else None
        predictor = MaskedLM(model)
        self.difference = predictor.check()
        self._first_position = first_position(predictor) if reset_positions else None
        # Several processes would decay these weights, which one process leaves as they are, and DDP refuses them.
        heads = [model, *([] if self.own_head is None else [self.own_head])]
        named = [(name, parameter) for each in heads for name, parameter in each.named_parameters()]
        self._unused = [parameter for name, parameter in named if name in predictor.unused]
        self.parts: Parts = use_faster_parts(model)
        self._freeze(freeze)
        self._predictors = _Predictors(predictor, self._predictor_of_own_head(predictor))

    def _predictor_of_own_head(self, first: MaskedLM) -> MaskedLM | None:
        if self.own_head is None:
            return None
        second = MaskedLM(self.masked_lm, self.own_head)
        second.stops_before_projection = first.stops_before_projection
        return second

    def _freeze(self, freeze: str) -> None:
        self.freeze = freeze
        # If the encoder is frozen, no weight below the head has a gradient.
        self.head_only = freeze == "encoder"
        self._set_gradients()
        self.train(self.training)

    def _set_gradients(self) -> None:
        """Switches off the gradients of everything that is not trained now."""
        if self.head_only:
            self.base.requires_grad_(False)
        if self.freeze == "embeddings":
            self.masked_lm.get_input_embeddings().requires_grad_(False)
        for parameter in self._unused:
            parameter.requires_grad_(False)

    def train(self, mode: bool = True) -> "WordExchange":
        """Sets the mode. A frozen encoder stays in evaluation mode: it will be used without dropout."""
        super().train(mode)
        if self.head_only:
            self.base.eval()
        return self

    @property
    def base(self) -> nn.Module:
        """The encoder without its head."""
        base: nn.Module = getattr(self.masked_lm, self.masked_lm.base_model_prefix)
        return base

    @property
    def predictor(self) -> MaskedLM:
        """Computes the two steps: states of a batch, and rows through the head."""
        return self._predictors.shared

    def states(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None, position_ids: Tensor | None
    ) -> Tensor:
        """(B, T, D) states of the last layer. Without gradients if the encoder is frozen."""
        with torch.no_grad() if self.head_only else nullcontext():
            return self.predictor.states(self.inputs(input_ids, attention_mask, token_type_ids, position_ids))

    def inputs(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Selects the inputs of the base model."""
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None and self.takes_segments:
            inputs["token_type_ids"] = token_type_ids
        if self._first_position is not None and position_ids is not None:
            inputs["position_ids"] = position_ids + self._first_position
        return inputs

    @property
    def cp_predictor(self) -> MaskedLM:
        """Predicts from exchanged states: with the second head of `cp_head="own"`, or else with the model's head."""
        return self._predictors.own or self._predictors.shared

    @property
    def takes_segments(self) -> bool:
        """Whether the model has embeddings for two segments."""
        return takes_segments(self.masked_lm.config, self.predictor.takes)

    def predict(
        self,
        states: Tensor,
        masked_rows: Tensor,
        exchange: Exchange | None,
        target: Tensor,
        cp_weight: float,
    ) -> Predicted:
        """Predicts the masked pieces from their own states and, with an exchange, from exchanged states.

        Args:
            states: (B, T, D).
            masked_rows: (N,) rows of the flattened batch.
            exchange: edges into the masked rows; None: no second prediction.
            target: (N,) pieces to predict.
            cp_weight: λ.
        """
        try:
            return self._predict_both(states.flatten(0, 1), masked_rows, exchange, target, cp_weight)
        finally:
            self.predictor.release()

    def _predict_both(
        self, flat: Tensor, masked_rows: Tensor, exchange: Exchange | None, target: Tensor, cp_weight: float
    ) -> Predicted:
        own = flat.index_select(0, masked_rows)
        no_rows = target.new_empty(0)
        if exchange is None:
            return self._predict(self.predictor, own, no_rows, target, 0.0)
        received = exchange_rows(flat, exchange)
        cp_head = self._predictors.own
        if cp_head is None:
            return self._predict(self.predictor, rows_to_project(own, received), exchange.linked, target, cp_weight)
        # Two heads predict an unlinked row differently, so no row is shared.
        exchanged = own.index_copy(0, exchange.linked, received.to(own.dtype))
        again = torch.arange(len(own), device=own.device)
        weights = weights_in_the_loss(again, len(own), cp_weight)
        mp = self._weigh(self.predictor, own, target, weights[: len(own)])
        cp = self._weigh(cp_head, exchanged, target, weights[len(own) :])
        both = Predictions(*(torch.cat(columns) for columns in zip(mp.predictions, cp.predictions, strict=True)))
        return Predicted(Weighed(mp.loss + cp.loss, both), again)

    def _predict(self, head: MaskedLM, rows: Tensor, again: Tensor, target: Tensor, cp_weight: float) -> Predicted:
        weights = weights_in_the_loss(again, len(target), cp_weight)
        return Predicted(self._weigh(head, rows, targets_to_project(target, again), weights), again)

    def _weigh(self, head: MaskedLM, rows: Tensor, targets: Tensor, weights: Tensor) -> Weighed:
        if head.stops_before_projection:
            return predict_and_weigh(*head.project(rows), targets, weights)
        return weigh_logits(head.logits(rows), targets, weights)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        masked_rows: Tensor,
        labels: Tensor,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        exchange_linked: Tensor | None = None,
        exchange_segment: Tensor | None = None,
        exchange_origin: Tensor | None = None,
        exchange_weight: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
    ) -> WordExchangeOutput:
        """Computes the losses of a batch from `weam_fairseq.Collator`. Its keys are the names of these arguments.

        Args:
            input_ids, attention_mask, token_type_ids, position_ids: (B, T).
            masked_rows: (N,) rows of the flattened batch.
            labels: (N,) the pieces to predict.
            exchange_linked, exchange_segment, exchange_origin, exchange_weight: the fields of `Exchange`; None: no
                second prediction.
            num_items_in_batch: number of masked pieces in all batches of an update, by which the loss is divided.
                Trainer passes it. None: N.

        Raises:
            InputError: only the model or only the data was created with reset_positions.
        """
        if (position_ids is None) != (self._first_position is None):
            model, data = ("without", "with") if self._first_position is None else ("with", "without")
            raise InputError(
                f"The model and its data must agree on reset_positions, but the model was created {model} it and the "
                f"data {data} it. Give it to both WordExchange and load_data, or to neither."
            )
        exchange = None
        if exchange_linked is not None:
            assert exchange_segment is not None
            assert exchange_origin is not None
            assert exchange_weight is not None
            exchange = Exchange(exchange_linked, exchange_segment, exchange_origin, exchange_weight)
        states = self.states(input_ids, attention_mask, token_type_ids, position_ids)
        predicted = self.predict(states, masked_rows, exchange, labels, self.cp_weight)
        mp, cp = predicted.split(len(labels))
        count = max(len(labels), 1)
        divisor = count if num_items_in_batch is None else torch.as_tensor(num_items_in_batch).clamp(min=1)
        return WordExchangeOutput(
            loss=predicted.weighed.loss / divisor,
            mp_loss=mp.nll.sum() / count,
            cp_loss=None if exchange is None else cp.nll.sum() / count,
            mp_accuracy=mp.hit.float().sum() / count,
            cp_accuracy=None if exchange is None else cp.hit.float().sum() / count,
        )

    @property
    def is_tied(self) -> bool:
        """Whether the head projects on the word embeddings."""
        return is_tied(self.masked_lm)


def _tied(model: nn.Module, prefix: str) -> dict[str, str]:
    """Maps each further name of a tied parameter to its first name."""
    first: dict[int, str] = {}
    named = model.named_parameters(remove_duplicate=False)
    return {
        prefix + name: prefix + first[id(parameter)]
        for name, parameter in named
        if first.setdefault(id(parameter), name) != name
    }


def _name_once(model: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for name in _tied(model, prefix):
        state.pop(name, None)


def _name_all(model: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for name, first in _tied(model, prefix).items():
        if first in state:
            state.setdefault(name, state[first])
