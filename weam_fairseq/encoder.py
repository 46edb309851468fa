"""Pure torch: a BERT encoder and its masked-LM head, in fairseq's id space.

Post-LayerNorm Transformer encoder (Devlin et al. 2019), the same arithmetic as transformers' BertForMaskedLM, whose
weights it holds one for one (convert/keys.py). Shapes: B sentences, T positions, D width, V vocabulary, M rows.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class EncoderConfig:
    """Everything that fixes the arithmetic. dropout acts on states and attention weights, in training only."""

    vocabulary: int
    pad: int
    layers: int
    width: int
    heads: int
    feed_forward: int
    positions: int = 512
    segments: int = 2
    norm_eps: float = 1e-12
    dropout: float = 0.1
    attention_dropout: float = 0.1

    @classmethod
    def of(cls, options: Any, vocabulary: int, pad: int) -> "EncoderConfig":
        """From the options of the fairseq model, as given or as a checkpoint holds them."""
        names = ("layers", "width", "heads", "feed_forward", "positions", "dropout", "attention_dropout")
        return cls(vocabulary=vocabulary, pad=pad, **{name: getattr(options, name) for name in names})


class Embeddings(nn.Module):
    """Word + position + segment, then LayerNorm: (B, T) ids -> (B, T, D)."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.word = nn.Embedding(config.vocabulary, config.width, padding_idx=config.pad)
        self.position = nn.Embedding(config.positions, config.width)
        self.segment = nn.Embedding(config.segments, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: Tensor, segments: Tensor, positions: Tensor) -> Tensor:
        summed = self.word(tokens) + self.segment(segments) + self.position(positions)
        return self.dropout(self.norm(summed))


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
        self.dropout = nn.Dropout(config.dropout)
        self.attention_dropout = config.attention_dropout

    def forward(self, states: Tensor, attended: Tensor) -> Tensor:
        split = (*states.shape[:2], self.heads, -1)
        query, key, value = (
            projection(states).view(split).transpose(1, 2) for projection in (self.query, self.key, self.value)
        )
        dropout = self.attention_dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=attended, dropout_p=dropout)
        mixed = self.output(mixed.transpose(1, 2).flatten(2))
        return self.norm(states + self.dropout(mixed))


class FeedForward(nn.Module):
    """Two projections with GELU, residual and LayerNorm: (B, T, D) -> (B, T, D)."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.width, config.feed_forward)
        self.down = nn.Linear(config.feed_forward, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, states: Tensor) -> Tensor:
        return self.norm(states + self.dropout(self.down(F.gelu(self.up(states)))))


class Layer(nn.Module):
    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.feed_forward = FeedForward(config)

    def forward(self, states: Tensor, attended: Tensor) -> Tensor:
        return self.feed_forward(self.attention(states, attended))


class Head(nn.Module):
    """Masked-LM head; the projection to the vocabulary is tied to the word embeddings: (M, D) -> (M, V)."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocabulary))

    def forward(self, rows: Tensor, word_embeddings: Tensor) -> Tensor:
        return F.linear(self.norm(F.gelu(self.dense(rows))), word_embeddings, self.bias)


class Encoder(nn.Module):
    """Embeddings and layers; `forward` gives the last layer's states, `logits` the head's view of chosen rows."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.head = Head(config)
        self.apply(_initialise)

    def forward(self, tokens: Tensor, segments: Tensor, positions: Tensor) -> Tensor:
        attended = tokens.ne(self.config.pad)[:, None, None, :]
        states: Tensor = self.embeddings(tokens, segments, positions)
        for layer in self.layers:
            states = layer(states, attended)
        return states

    def logits(self, rows: Tensor) -> Tensor:
        projected: Tensor = self.head(rows, self.embeddings.word.weight)
        return projected


def _initialise(module: nn.Module) -> None:
    """BERT's: normal with standard deviation 0.02, biases 0 (Devlin et al. 2019, released code)."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
        with torch.no_grad():
            module.weight[module.padding_idx].zero_()
