"""--optimizer adam_bert: fused Adam without weight decay for biases and LayerNorm, as in BERT."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq.optim import register_optimizer
from fairseq.optim.adam import FairseqAdam, FairseqAdamConfig
from torch.nn import Parameter

from weam_fairseq.common.errors import InputError


@dataclass
class BertAdamConfig(FairseqAdamConfig):
    # The values of BERT's released code (optimization.py). fairseq's default for adam_betas is BERT's value.
    adam_eps: float = field(default=1e-6, metadata={"help": "epsilon for Adam optimizer"})
    weight_decay: float = field(default=0.01, metadata={"help": "weight decay of matrices and embeddings"})


def decay_groups(parameters: Iterable[Parameter]) -> list[dict[str, Any]]:
    """Returns two groups for torch.optim: parameters with weight decay, then those without.

    BERT excludes LayerNorm and biases by name (Devlin et al. 2019, released code: exclude_from_weight_decay). These are
    the parameters with fewer than two dimensions.

    Raises:
        InputError: no parameter has two dimensions, because fairseq has flattened them.
    """
    all_parameters = list(parameters)
    matrices = [parameter for parameter in all_parameters if parameter.dim() >= 2]
    if not matrices:
        raise InputError(
            "--optimizer adam_bert needs separate matrices, biases and LayerNorm weights, but fairseq has flattened "
            "all parameters into one. Add --fp16-no-flatten-grads to --fp16, or use --precision bf16 instead."
        )
    others = [parameter for parameter in all_parameters if parameter.dim() < 2]
    return [{"params": matrices}, {"params": others, "weight_decay": 0.0}]


class FusedAdam(torch.optim.AdamW):
    """Computes fairseq's Adam with torch's fused kernel, which reads and writes all memory only once.

    fairseq adds epsilon to the root of the second moment before its bias correction, torch after. So epsilon is divided
    by √(1 - β2^t) here. t counts the updates of a parameter: --head-first updates the encoder later than the head.
    """

    def __init__(self, params: Iterable[dict[str, Any]], **options: Any) -> None:
        super().__init__(params, fused=True, **options)
        self._updates: dict[Parameter, int] = {}  # read from the state once, because on a GPU each reading waits

    def step(self, closure: Any = None) -> Any:
        assert closure is None, "the gradients must be there"
        groups = self.param_groups
        self.param_groups = [part for group in groups for part in self._by_updates(group)]
        try:
            super().step()
        finally:
            self.param_groups = groups

    def _by_updates(self, group: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Splits a group into parts of the same number of updates, and leaves out parameters without a gradient."""
        parts: dict[int, list[Parameter]] = {}
        for parameter in group["params"]:
            if parameter.grad is not None:
                if parameter not in self._updates:
                    self._updates[parameter] = self._made(parameter)
                self._updates[parameter] += 1
                parts.setdefault(self._updates[parameter], []).append(parameter)
        for parameters in parts.values():
            updates = 1 + self._made(parameters[0])
            self._updates.update(dict.fromkeys(parameters, updates))  # --amp may have skipped the last one
            eps = group["eps"] / math.sqrt(1 - group["betas"][1] ** updates)
            yield {**group, "params": parameters, "eps": eps}

    def _made(self, parameter: Parameter) -> int:
        return int(self.state.get(parameter, {}).get("step", 0))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Also loads the state of fairseq's Adam: it has the same moments, and the number of updates as an int."""
        groups = [{**group, "fused": True} for group in state_dict["param_groups"]]
        super().load_state_dict({**state_dict, "param_groups": groups})
        self._updates = {}


@register_optimizer("adam_bert", dataclass=BertAdamConfig)
class BertAdam(FairseqAdam):  # type: ignore[misc]
    """fairseq's Adam (decoupled weight decay, bias correction) with BERT's two groups of parameters.

    BERT's released code has no bias correction, so its first updates are smaller for the same learning rate.
    """

    def __init__(self, cfg: BertAdamConfig, params: Iterable[Parameter]) -> None:
        groups = decay_groups(params)
        super().__init__(cfg, groups)
        if all(parameter.dtype == torch.float32 for group in groups for parameter in group["params"]):
            self._optimizer = FusedAdam(groups, **self.optimizer_config)

    @property
    def supports_flat_params(self) -> bool:
        """False: the groups are determined by the shapes of the parameters."""
        return False
