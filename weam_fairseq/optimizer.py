"""--optimizer adam_bert: Adam whose weight decay leaves biases and LayerNorm alone, as BERT's does."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fairseq.optim import register_optimizer
from fairseq.optim.adam import FairseqAdam, FairseqAdamConfig
from torch.nn import Parameter

from .errors import InputError


@dataclass
class BertAdamConfig(FairseqAdamConfig):
    # The values of BERT's released code (optimization.py); adam_betas are fairseq's default and BERT's.
    adam_eps: float = field(default=1e-6, metadata={"help": "epsilon for Adam optimizer"})
    weight_decay: float = field(default=0.01, metadata={"help": "weight decay of matrices and embeddings"})


def decay_groups(parameters: Iterable[Parameter]) -> list[dict[str, Any]]:
    """Groups for torch.optim: what is decayed, then what is not.

    BERT excludes LayerNorm and biases by name (Devlin et al. 2019, released code: exclude_from_weight_decay). Those are
    the parameters of fewer than two dimensions.

    Raises:
        InputError: no parameter has two dimensions: they were flattened, and cannot be told apart.
    """
    every = list(parameters)
    matrices = [parameter for parameter in every if parameter.dim() >= 2]
    if not matrices:
        raise InputError(
            "--optimizer adam_bert must see matrices, to tell them from biases and LayerNorm, but fairseq has made one "
            "long parameter of all: add --fp16-no-flatten-grads to --fp16, or take --precision bf16 instead."
        )
    others = [parameter for parameter in every if parameter.dim() < 2]
    return [{"params": matrices}, {"params": others, "weight_decay": 0.0}]


@register_optimizer("adam_bert", dataclass=BertAdamConfig)
class BertAdam(FairseqAdam):  # type: ignore[misc]
    """fairseq's Adam (decoupled weight decay, bias correction) over BERT's two groups of parameters.

    BERT's released code corrects no bias, so its first updates are smaller than those of the same learning rate here.
    """

    def __init__(self, cfg: BertAdamConfig, params: Iterable[Parameter]) -> None:
        super().__init__(cfg, decay_groups(params))

    @property
    def supports_flat_params(self) -> bool:
        """False: the groups are told apart by shape."""
        return False
