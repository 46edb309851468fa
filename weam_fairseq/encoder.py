"""Pure torch: the encoder of the BERT family and its masked-LM head, in fairseq's id space.

Post-LayerNorm Transformer encoder (Devlin et al. 2019), the same arithmetic as transformers' BertForMaskedLM,
XLMRobertaForMaskedLM and DistilBertForMaskedLM, whose weights it holds one for one (convert/keys.py).
Shapes: B sentences, T positions, D width, V rows of the vocabulary, M rows.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .attention import attend
from .dropout import Dropout
from .losses import Weighed, predict_and_weigh

# transformers' names.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": lambda states: F.gelu(states, approximate="tanh"),
    "gelu_pytorch_tanh": lambda states: F.gelu(states, approximate="tanh"),
    "relu": F.relu,
}


@dataclass(frozen=True)
class EncoderConfig:
    """Everything that fixes the arithmetic.

    Attributes:
        vocabulary: rows of the word embeddings; at least as many as the tokenizer has pieces.
        pad: fairseq id of the padding piece.
        positions: rows of the position embeddings.
        position_offset: row of the first position (RoBERTa: 2; BERT: 0).
        segments: rows of the segment (token type) embeddings; 0: the model has none.
        activation, head_activation: of the feed-forward blocks and of the head; one of ACTIVATIONS.
        untied_head: the head has a projection of its own instead of the word embeddings.
        dropout, attention_dropout: chance to drop a state and an attention weight, in training only.
    """

    vocabulary: int
    pad: int
    layers: int
    width: int
    heads: int
    feed_forward: int
    positions: int = 512
    position_offset: int = 0
    segments: int = 2
    norm_eps: float = 1e-12
    activation: str = "gelu"
    head_activation: str = "gelu"
    untied_head: bool = False
    dropout: float = 0.1
    attention_dropout: float = 0.1

    @classmethod
    def of(cls, options: Any, pieces: int, pad: int) -> "EncoderConfig":
        """From the options of the fairseq model, as given or as a checkpoint holds them.

        Args:
            options: with an attribute for each field but the first two, and `vocabulary_rows` (0: one for each piece).
            pieces: of the tokenizer.
        """
        shape = {field.name: getattr(options, field.name) for field in fields(cls)[2:]}
        return cls(vocabulary=options.vocabulary_rows or pieces, pad=pad, **shape)

    @property
    def longest(self) -> int:
        """Pieces of the longest sequence."""
        return self.positions - self.position_offset


class LookUp(torch.autograd.Function):
    """Rows of a table (V, D) for (B, T) ids, and the table itself, for a head that projects on it.

    The head's gradient by the table comes back before that of the rows, which is added to it in place. autograd would
    make a second (V, D) for the rows, nearly all zeros: with the 250,002 pieces of XLM-R base 0.7 GiB, more than all
    activations of a small batch. `pad` rows get none, as in nn.Embedding.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, ids: Tensor, pad: int) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(ids)
        ctx.pad, ctx.shape = pad, table.shape
        ctx.set_materialize_grads(False)
        return F.embedding(ids, table), table

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> Any:
        of_rows, of_table = upstream
        (ids,) = ctx.saved_tensors
        if of_rows is None:
            return of_table, None, None
        if of_table is None:
            of_table = of_rows.new_zeros(ctx.shape)
        of_pieces = of_rows.masked_fill((ids == ctx.pad).unsqueeze(-1), 0).to(of_table.dtype)
        return of_table.index_add_(0, ids.flatten(), of_pieces.flatten(0, -2)), None, None


class Encoded(NamedTuple):
    """What the layers make of a batch.

    Attributes:
        states: (B, T, D), of the last layer.
        words: (V, D) the word embeddings, as the head has to take them.
    """

    states: Tensor
    words: Tensor


class Embeddings(nn.Module):
    """Word + position + segment (where there are any), then LayerNorm: (B, T) ids -> (B, T, D).

    The second output is the word embeddings (V, D), for the head.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.word = nn.Embedding(config.vocabulary, config.width, padding_idx=config.pad)
        self.position = nn.Embedding(config.positions, config.width)
        self.position_offset = config.position_offset
        self.segment = nn.Embedding(config.segments, config.width) if config.segments else None
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.dropout = Dropout(config.dropout)

    def forward(self, tokens: Tensor, segments: Tensor, positions: Tensor) -> Encoded:
        summed, words = LookUp.apply(self.word.weight, tokens, self.word.padding_idx)
        if self.segment is not None:
            summed = summed + self.segment(segments)
        return Encoded(self.dropout(self.norm(summed + self.position(positions + self.position_offset))), words)


class Attention(nn.Module):
    """Multi-head self-attention with residual and LayerNorm: (B, T, D) -> (B, T, D)."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.query = nn.Linear(config.width, config.width)
        self.key = nn.Linear(config.width, config.width)
        self.value = nn.Linear(config.width, config.width)
        self.output = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.dropout = Dropout(config.dropout)
        self.attention_dropout = config.attention_dropout

    def forward(self, states: Tensor, attended: Tensor | None) -> Tensor:
        split = (*states.shape[:2], self.heads, -1)
        query, key, value = (
            projection(states).view(split).transpose(1, 2) for projection in (self.query, self.key, self.value)
        )
        dropout = self.attention_dropout if self.training else 0.0
        mixed = attend(query, key, value, attended, dropout)
        mixed = self.output(mixed.transpose(1, 2).flatten(2))
        return self.norm(states + self.dropout(mixed))


class FeedForward(nn.Module):
    """Two projections with an activation between, residual and LayerNorm: (B, T, D) -> (B, T, D)."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.width, config.feed_forward)
        self.down = nn.Linear(config.feed_forward, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.dropout = Dropout(config.dropout)
        self.activation = ACTIVATIONS[config.activation]

    def forward(self, states: Tensor) -> Tensor:
        return self.norm(states + self.dropout(self.down(self.activation(self.up(states)))))


class Layer(nn.Module):
    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.feed_forward = FeedForward(config)

    def forward(self, states: Tensor, attended: Tensor | None) -> Tensor:
        return self.feed_forward(self.attention(states, attended))


class Head(nn.Module):
    """Masked-LM head: (M, D) -> (M, V). Without a decoder of its own it projects on the word embeddings."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.activation = ACTIVATIONS[config.head_activation]
        self.decoder = nn.Linear(config.width, config.vocabulary, bias=False) if config.untied_head else None
        self.bias = nn.Parameter(torch.zeros(config.vocabulary))

    def transform(self, rows: Tensor) -> Tensor:
        """(M, D) -> (M, D), what is projected."""
        transformed: Tensor = self.norm(self.activation(self.dense(rows)))
        return transformed

    def projection(self, word_embeddings: Tensor) -> Tensor:
        """(V, D)."""
        return word_embeddings if self.decoder is None else self.decoder.weight

    def forward(self, rows: Tensor, word_embeddings: Tensor) -> Tensor:
        return F.linear(self.transform(rows), self.projection(word_embeddings), self.bias)


class Encoder(nn.Module):
    """Embeddings and layers. `forward` gives the last layer's states, `logits` the head's view of chosen rows; in
    training `encode` gives the states, and what `predict` then takes.

    Args:
        cp_head: build a second head, for the cross-lingual prediction.
        recompute: keep only what goes into each layer, and compute the layer again on the way back (activation
            checkpointing, Chen et al. 2016): a third more work for the memory of one layer.
    """

    def __init__(self, config: EncoderConfig, *, cp_head: bool = False, recompute: bool = False) -> None:
        super().__init__()
        self.config = config
        self.recompute = recompute
        self.embeddings = Embeddings(config)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.head = Head(config)
        self.cp_head = Head(config) if cp_head else None
        self.apply(_initialise)

    def forward(self, tokens: Tensor, segments: Tensor, positions: Tensor) -> Tensor:
        return self.encode(tokens, segments, positions).states

    def encode(self, tokens: Tensor, segments: Tensor, positions: Tensor) -> Encoded:
        is_piece = tokens.ne(self.config.pad)
        # Without a mask there is nothing to add to the scores, and GPUs have a faster kernel.
        attended = None if bool(is_piece.all()) else is_piece[:, None, None, :]
        states, words = self.embeddings(tokens, segments, positions)
        for layer in self.layers:
            if self.recompute and torch.is_grad_enabled():
                states = checkpoint(layer, states, attended, use_reentrant=False)
            else:
                states = layer(states, attended)
        return Encoded(states, words)

    def logits(self, rows: Tensor, *, cross_lingual: bool = False) -> Tensor:
        """(M, D) -> (M, V). cross_lingual: by the second head where there is one."""
        projected: Tensor = self._head(cross_lingual)(rows, self.embeddings.word.weight)
        return projected

    def predict(
        self, rows: Tensor, words: Tensor, targets: Tensor, weights: Tensor, *, cross_lingual: bool = False
    ) -> Weighed:
        """(M, D) -> the loss of M predictions, without all of their logits at once; as `losses.predict_and_weigh`.

        words: of the `Encoded` that the rows are from.
        """
        head = self._head(cross_lingual)
        projection = head.projection(words)
        return predict_and_weigh(head.transform(rows), projection, head.bias, targets, weights)

    def _head(self, cross_lingual: bool) -> Head:
        return self.cp_head if cross_lingual and self.cp_head is not None else self.head


def _initialise(module: nn.Module) -> None:
    """BERT's: normal with standard deviation 0.02, biases 0 (Devlin et al. 2019, released code)."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
        with torch.no_grad():
            module.weight[module.padding_idx].zero_()
