"""The fairseq model: an Encoder behind fairseq's registry, and its sizes."""

import logging
from typing import Any, NamedTuple

import torch
from fairseq.models import BaseFairseqModel, register_model, register_model_architecture
from torch import Tensor

from .architectures import ARCHITECTURES, Size, fill_in
from .common.errors import InputError
from .encoder import ACTIVATIONS, Encoded, Encoder, EncoderConfig
from .losses import (
    Predictions,
    Weighed,
    rows_to_project,
    targets_to_project,
    weights_in_the_loss,
)
from .word_exchange import Exchange, exchange_rows

logger = logging.getLogger(__name__)

HEAD, CP_HEAD = "encoder.head.", "encoder.cp_head."


class Output(NamedTuple):
    """What the model gives for one batch.

    Attributes:
        states: (B, T, D).
        logits: (N + L, V) over the N masked rows, then over the L of them that are predicted again, from what they
            received; None where no rows were asked for.
        again: (L,) which of the masked rows those are: the linked ones, or all where L_cp has a head of its own.
        weighed: with targets, in the place of logits: L_mp + λ · L_cp, and the predictions of the same N + L rows.
    """

    states: Tensor
    logits: Tensor | None
    again: Tensor
    weighed: Weighed | None = None


@register_model("weam")
class WeamModel(BaseFairseqModel):
    """An encoder of the BERT family whose masked rows can be predicted from exchanged representations.

    Args:
        config: the encoder's shape.
        tokenizer_ids: (pieces,) tokenizer id of each fairseq id.
        pieces_sha256, behaviour_sha256: hexadecimal digests of the tokenizer (preprocess/README.md).
        cp_head: give L_cp a head of its own.
        recompute: as Encoder takes it.
    """

    tokenizer_ids: Tensor
    pieces_sha256: Tensor
    behaviour_sha256: Tensor
    published: Tensor

    def __init__(
        self,
        config: EncoderConfig,
        tokenizer_ids: Tensor,
        pieces_sha256: str,
        behaviour_sha256: str,
        *,
        cp_head: bool = False,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(config, cp_head=cp_head, recompute=recompute)
        # Recorded beside the weights that depend on them: which piece each row of the embeddings is for, and the
        # digests of the tokenizer, as bytes.
        self.register_buffer("tokenizer_ids", tokenizer_ids)
        self.register_buffer("pieces_sha256", _bytes_of(pieces_sha256))
        self.register_buffer("behaviour_sha256", _bytes_of(behaviour_sha256))
        # What weam-from-hf found besides the weights that train (convert/published.py): as bytes it passes through
        # every later training, half precision included, as it came in. Empty: trained from scratch.
        self.register_buffer("published", torch.empty(0, dtype=torch.uint8))

    @staticmethod
    def add_args(parser: Any) -> None:
        parser.add_argument("--layers", type=int, metavar="N", help="encoder layers")
        parser.add_argument("--width", type=int, metavar="N", help="size of the representations")
        parser.add_argument("--heads", type=int, metavar="N", help="attention heads")
        parser.add_argument("--feed-forward", type=int, metavar="N", help="inner size of the feed-forward blocks")
        parser.add_argument("--positions", type=int, metavar="N", help="rows of the position embeddings")
        parser.add_argument(
            "--position-offset", type=int, metavar="N", help="row of the first position (BERT 0, RoBERTa 2)"
        )
        parser.add_argument(
            "--segments", type=int, metavar="N", help="rows of the segment (token type) embeddings; 0: none"
        )
        parser.add_argument("--norm-eps", type=float, metavar="X", help="epsilon of LayerNorm")
        parser.add_argument("--activation", choices=list(ACTIVATIONS), help="in the feed-forward blocks")
        parser.add_argument("--head-activation", choices=list(ACTIVATIONS), help="in the masked-LM head")
        parser.add_argument(
            "--untied-head",
            action="store_true",
            default=None,
            help="the head projects by a matrix of its own, not by the word embeddings",
        )
        parser.add_argument(
            "--vocabulary-rows",
            type=int,
            metavar="N",
            help="rows of the word embeddings, where a published model has more than its tokenizer has pieces "
            "(0: as many as pieces)",
        )
        parser.add_argument(
            "--checkpoint-activations",
            action="store_true",
            help="keep no activations inside a layer and compute them again: less memory, a third more time",
        )
        parser.add_argument("--dropout", type=float, default=0.1, metavar="P", help="chance to drop a state")
        parser.add_argument(
            "--attention-dropout", type=float, default=0.1, metavar="P", help="chance to drop an attention weight"
        )

    @classmethod
    def build_model(cls, args: Any, task: Any) -> "WeamModel":
        vocabulary = task.vocabulary
        if args.width % args.heads:
            raise InputError(f"--width must be a multiple of --heads, but {args.width} is none of {args.heads}.")
        if args.vocabulary_rows and args.vocabulary_rows < len(vocabulary):
            raise InputError(
                f"--vocabulary-rows must be 0 or at least the number of pieces, {len(vocabulary)}, but is "
                f"{args.vocabulary_rows}."
            )
        used = 1 if task.policy.one_segment else vocabulary.segments()
        if 0 < args.segments < used:
            raise InputError(
                f"The tokenizer of {task.cfg.data} writes pairs with {used} segment ids, but the model has "
                f"--segments {args.segments}. Train with --segment-ids zero, or use the tokenizer of the model."
            )
        return cls(
            EncoderConfig.of(args, len(vocabulary), vocabulary.pad),
            torch.from_numpy(vocabulary.tokenizer_ids),
            vocabulary.pieces_sha256,
            vocabulary.behaviour_sha256,
            # tlm and mlm have no second loss: a head without gradient would only be moved by weight decay.
            cp_head=task.policy.cp_head == "own" and task.policy.objective not in ("tlm", "mlm"),
            recompute=getattr(args, "checkpoint_activations", False),
        )

    def load_state_dict(self, state_dict: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Takes the weights of any checkpoint of the task 'weam' or of weam-from-hf with this shape and tokenizer.

        Raises:
            InputError: the tokenizer or the shape differ.
        """
        state = dict(state_dict)
        self._check_tokenizer(state)
        self._check_shape(state)
        if "published" in state:
            self.published = state["published"].to(self.tokenizer_ids.device)
        second = [name for name in state if name.startswith(CP_HEAD)]
        if self.encoder.cp_head is not None and not second:
            logger.info("the head of L_cp starts as a copy of that of L_mp")
            state |= {CP_HEAD + n.removeprefix(HEAD): value for n, value in state.items() if n.startswith(HEAD)}
        if self.encoder.cp_head is None and second:
            logger.warning(f"the checkpoint's head of L_cp ({len(second)} tensors) is left out: this run shares one")
            state = {name: value for name, value in state.items() if name not in second}
        return super().load_state_dict(state, *args, **kwargs)

    def _check_tokenizer(self, state: dict[str, Any]) -> None:
        for name, differs in (
            ("pieces_sha256", "their pieces differ"),
            ("tokenizer_ids", "their pieces are numbered differently"),
            ("behaviour_sha256", "they write the same text differently (casing or normalisation)"),
        ):
            there = state.get(name)
            if there is not None and not torch.equal(there.cpu(), getattr(self, name).cpu()):
                raise InputError(
                    f"The checkpoint and the data-bin must share one tokenizer, but {differs}. Make the data-bin with "
                    "weam-preprocess --tokenizer and the folder that the checkpoint comes from."
                )

    def _check_shape(self, state: dict[str, Any]) -> None:
        own = self.state_dict()
        shared = [n for n in own if n.startswith("encoder.") and not n.startswith(CP_HEAD)]
        missing = [name for name in shared if name not in state]
        known = {*own, *(n for n in state if n.startswith(CP_HEAD))}
        unexpected = [name for name in state if name not in known]
        other = [name for name in shared if name in state and state[name].shape != own[name].shape]
        if missing or unexpected or other:
            name = (missing + unexpected + other)[0]
            there = tuple(state[name].shape) if name in state else "missing"
            here = tuple(own[name].shape) if name in own else "not part of it"
            raise InputError(
                f"The checkpoint must have the shape of the model, but {len(missing + unexpected + other)} tensors "
                f"differ, {name} the first: {there} in the checkpoint, {here} in the model. Leave --arch out and "
                "weam-train takes the checkpoint's shape, or give what weam-from-hf printed."
            )

    def forward(
        self,
        tokens: Tensor,
        segments: Tensor,
        positions: Tensor,
        masked_rows: Tensor | None = None,
        exchange: Exchange | None = None,
        target: Tensor | None = None,
        cp_weight: float = 1.0,
    ) -> Output:
        """Encodes, exchanges, and projects only the rows that a loss needs.

        Args:
            tokens, segments, positions: (B, T).
            masked_rows: (N,) rows of the flattened batch to predict; None: no logits.
            exchange: edges into the masked rows; None: no second prediction.
            target: (N,) the pieces to predict: gives losses in the place of logits, which are never all there at once.
            cp_weight: λ, of the second prediction in the loss.
        """
        encoded = self.encoder.encode(tokens, segments, positions)
        states = encoded.states
        nothing = tokens.new_empty(0)
        if masked_rows is None:
            return Output(states, None, nothing)
        flat = states.flatten(0, 1)
        own = flat.index_select(0, masked_rows)
        if exchange is None:
            return self._output(encoded, own, nothing, target, 0.0)
        exchange = Exchange(*exchange)  # fairseq moves batches to a device as plain tuples
        received = exchange_rows(flat, exchange)
        if self.encoder.cp_head is None:
            return self._output(encoded, rows_to_project(own, received), exchange.linked, target, cp_weight)
        # Two heads see an unlinked row differently: nothing is shared.
        exchanged = own.index_copy(0, exchange.linked, received.to(own.dtype))
        return self._output_of_two_heads(encoded, own, exchanged, target, cp_weight)

    def _output(self, encoded: Encoded, rows: Tensor, again: Tensor, target: Tensor | None, cp_weight: float) -> Output:
        if target is None:
            return Output(encoded.states, self.encoder.logits(rows), again)
        weights = weights_in_the_loss(again, len(target), cp_weight)
        predicted = self.encoder.predict(rows, encoded.words, targets_to_project(target, again), weights)
        return Output(encoded.states, None, again, predicted)

    def _output_of_two_heads(
        self, encoded: Encoded, own: Tensor, exchanged: Tensor, target: Tensor | None, cp_weight: float
    ) -> Output:
        every = torch.arange(len(own), device=own.device)
        if target is None:
            logits = torch.cat([self.encoder.logits(own), self.encoder.logits(exchanged, cross_lingual=True)])
            return Output(encoded.states, logits, every)
        weights = torch.ones(len(own), device=own.device)
        mp = self.encoder.predict(own, encoded.words, target, weights)
        cp = self.encoder.predict(exchanged, encoded.words, target, cp_weight * weights, cross_lingual=True)
        both = Predictions(*(torch.cat(columns) for columns in zip(mp.predictions, cp.predictions, strict=True)))
        return Output(encoded.states, None, every, Weighed(mp.loss + cp.loss, both))

    def max_positions(self) -> int:
        return self.encoder.config.longest

    def get_normalized_probs(self, net_output: Output, log_probs: bool, sample: Any = None) -> Tensor:
        assert net_output.logits is not None
        logits = net_output.logits.float()
        return torch.log_softmax(logits, -1) if log_probs else torch.softmax(logits, -1)


def _bytes_of(hexadecimal: str) -> Tensor:
    return torch.tensor(list(bytes.fromhex(hexadecimal)), dtype=torch.uint8)


def _register(name: str, size: Size) -> None:
    def complete(args: Any) -> None:
        fill_in(args, size)

    register_model_architecture("weam", name)(complete)


for _name, _size in ARCHITECTURES.items():
    _register(_name, _size)
