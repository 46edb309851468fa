"""--optimizer adam_bert: Adam whose weight decay leaves biases and LayerNorm alone, as BERT's does, in one pass."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq.optim import register_optimizer
from fairseq.optim.adam import FairseqAdam, FairseqAdamConfig
from torch.nn import Parameter

from weam_fairseq.common.errors import InputError


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


class FusedAdam(torch.optim.AdamW):
    """The arithmetic of fairseq's Adam by torch's fused kernel, which reads and writes everything once.

    fairseq adds epsilon to the root of the second moment before its bias is corrected, torch after: here it is divided
    by √(1 - β2^t). Parameters of one group are taken to have been updated equally often.
    """

    def __init__(self, params: Iterable[dict[str, Any]], **options: Any) -> None:
        super().__init__(params, fused=True, **options)

    def step(self, closure: Any = None) -> Any:
        given = [group["eps"] for group in self.param_groups]
        for group, eps in zip(self.param_groups, given, strict=True):
            updates = 1 + max((int(self.state[p]["step"]) for p in group["params"][:1] if self.state[p]), default=0)
            group["eps"] = eps / math.sqrt(1 - group["betas"][1] ** updates)
        try:
            return super().step(closure)
        finally:
            for group, eps in zip(self.param_groups, given, strict=True):
                group["eps"] = eps

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the state of fairseq's Adam too: it has the same moments, and its number of updates as an int."""
        groups = [{**group, "fused": True} for group in state_dict["param_groups"]]
        super().load_state_dict({**state_dict, "param_groups": groups})


@register_optimizer("adam_bert", dataclass=BertAdamConfig)
class BertAdam(FairseqAdam):  # type: ignore[misc]
    """fairseq's Adam (decoupled weight decay, bias correction) over BERT's two groups of parameters.

    BERT's released code corrects no bias, so its first updates are smaller than those of the same learning rate here.
    """

    def __init__(self, cfg: BertAdamConfig, params: Iterable[Parameter]) -> None:
        groups = decay_groups(params)
        super().__init__(cfg, groups)
        if all(parameter.dtype == torch.float32 for group in groups for parameter in group["params"]):
            self._optimizer = FusedAdam(groups, **self.optimizer_config)

    @property
    def supports_flat_params(self) -> bool:
        """False: the groups are told apart by shape."""
        return False
