"""The fairseq model: an Encoder behind fairseq's registry, and its sizes."""

from typing import Any, NamedTuple

import torch
from fairseq.models import BaseFairseqModel, register_model, register_model_architecture
from torch import Tensor

from .architectures import ARCHITECTURES, Size, fill_in
from .encoder import Encoder, EncoderConfig
from .errors import InputError
from .losses import rows_to_project
from .word_exchange import Exchange, exchange_rows


class Output(NamedTuple):
    """states (B, T, D); logits (N + L, V) over masked rows, then over what the linked ones received; or None."""

    states: Tensor
    logits: Tensor | None


@register_model("weam")
class WeamModel(BaseFairseqModel):
    """A BERT-style encoder whose masked rows can be predicted from exchanged representations."""

    tokenizer_ids: Tensor
    pieces_sha256: Tensor

    def __init__(self, config: EncoderConfig, tokenizer_ids: Tensor, pieces_sha256: str) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        # (V,) which piece each row of the embeddings is for, and (32,) bytes of the pieces' digest: recorded beside
        # the weights that depend on them.
        self.register_buffer("tokenizer_ids", tokenizer_ids)
        self.register_buffer("pieces_sha256", torch.tensor(list(bytes.fromhex(pieces_sha256)), dtype=torch.uint8))

    @staticmethod
    def add_args(parser: Any) -> None:
        parser.add_argument("--layers", type=int, metavar="N", help="encoder layers")
        parser.add_argument("--width", type=int, metavar="N", help="size of the representations")
        parser.add_argument("--heads", type=int, metavar="N", help="attention heads")
        parser.add_argument("--feed-forward", type=int, metavar="N", help="inner size of the feed-forward blocks")
        parser.add_argument("--positions", type=int, metavar="N", help="longest sequence, in pieces")
        parser.add_argument("--dropout", type=float, default=0.1, metavar="P", help="chance to drop a state")
        parser.add_argument(
            "--attention-dropout", type=float, default=0.1, metavar="P", help="chance to drop an attention weight"
        )

    @classmethod
    def build_model(cls, args: Any, task: Any) -> "WeamModel":
        if args.width % args.heads:
            raise InputError(f"--width must be a multiple of --heads, but {args.width} is none of {args.heads}.")
        return cls(
            EncoderConfig.of(args, len(task.vocabulary), task.vocabulary.pad),
            torch.from_numpy(task.vocabulary.tokenizer_ids),
            task.vocabulary.pieces_sha256,
        )

    def load_state_dict(self, state_dict: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Refuses weights whose pieces are numbered otherwise than this data-bin's."""
        for name in ("tokenizer_ids", "pieces_sha256"):
            there = state_dict.get(name)
            if there is not None and not torch.equal(there.cpu(), getattr(self, name).cpu()):
                raise InputError(
                    "The checkpoint and the data-bin must share one tokenizer, but their pieces differ. Make the "
                    "data-bin with weam-preprocess --tokenizer and the tokenizer that the checkpoint was trained with."
                )
        return super().load_state_dict(state_dict, *args, **kwargs)

    def forward(
        self,
        tokens: Tensor,
        segments: Tensor,
        positions: Tensor,
        masked_rows: Tensor | None = None,
        exchange: Exchange | None = None,
    ) -> Output:
        """Encodes, exchanges, and projects only the rows that a loss needs.

        Args:
            tokens, segments, positions: (B, T).
            masked_rows: (N,) rows of the flattened batch to predict; None: no logits.
            exchange: edges into the masked rows; None: no second prediction.
        """
        states = self.encoder(tokens, segments, positions)
        if masked_rows is None:
            return Output(states, None)
        flat = states.flatten(0, 1)
        rows = flat.index_select(0, masked_rows)
        if exchange is not None:
            # fairseq moves batches to a device as plain tuples.
            rows = rows_to_project(rows, exchange_rows(flat, Exchange(*exchange)))
        return Output(states, self.encoder.logits(rows))

    def max_positions(self) -> int:
        return self.encoder.config.positions

    def get_normalized_probs(self, net_output: Output, log_probs: bool, sample: Any = None) -> Tensor:
        assert net_output.logits is not None
        logits = net_output.logits.float()
        return torch.log_softmax(logits, -1) if log_probs else torch.softmax(logits, -1)


def _register(name: str, size: Size) -> None:
    def complete(args: Any) -> None:
        fill_in(args, size)

    register_model_architecture("weam", name)(complete)


for _name, _size in ARCHITECTURES.items():
    _register(_name, _size)
