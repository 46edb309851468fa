"""The fairseq criterion: calls the model, and logs losses in nats for each language pair."""

import math
from collections.abc import Callable
from typing import Any

import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.logging import metrics

from weam_fairseq.common.errors import InputError
from weam_fairseq.encoder.huggingface import autocast
from weam_fairseq.method.batch import Batch
from weam_fairseq.method.limits import check_number
from weam_fairseq.method.options import PRECISIONS, LossOptions
from weam_fairseq.method.word_exchange import Exchange
from weam_fairseq.plugin.task import fairseq_config

AUTOCAST = dict(zip(PRECISIONS, (None, torch.bfloat16, torch.float16), strict=True))

WeamCriterionConfig = fairseq_config("WeamCriterionConfig", LossOptions, amp=(bool, "common.amp"))


@register_criterion("weam", dataclass=WeamCriterionConfig)
class WeamCriterion(FairseqCriterion):
    """L = L_mp + λ · L_cp, both summed over the masked pieces. Their number is the sample size. The paper has λ = 1."""

    def __init__(self, task: Any, cp_weight: float, precision: str, amp: bool = False) -> None:
        super().__init__(task)
        check_number("cp_weight", cp_weight)
        self.pairs: list[str] = task.pairs
        self.cp_weight = cp_weight if task.policy.trains.has_second_loss else 0.0
        self.autocast = AUTOCAST[str(precision)]
        if self.autocast == torch.float16 and not (amp and torch.cuda.is_available()):
            # In fp16 gradients below 6e-8 vanish unless the loss is scaled. fairseq's --amp scales it, only on GPUs.
            raise InputError("--precision fp16 needs --amp and a GPU, but one is missing. Use --precision bf16.")

    def forward(self, model: Any, sample: Batch, reduce: bool = True) -> tuple[torch.Tensor, int, dict[str, Any]]:
        target, pair = sample["target"], sample["row_pair"]
        exchange = sample["net_input"].get("exchange")
        linked = target.new_empty(0) if exchange is None else Exchange(*exchange).linked
        with autocast(target.device.type, self.autocast):
            predicted = model(**sample["net_input"], target=target, cp_weight=self.cp_weight)
        loss = predicted.weighed.loss
        mp, cp = predicted.split(len(target))

        def per_pair(values: torch.Tensor) -> torch.Tensor:
            return torch.zeros(len(self.pairs), device=pair.device).index_add(0, pair, values.float())

        ones = torch.ones_like(mp.nll)
        # Summed for each language pair. reduce_metrics derives the logged values from these sums.
        of_rows = {
            "mp_nll": mp.nll,
            "cp_nll": cp.nll,
            "mp_hits": mp.hit,
            "cp_hits": cp.hit,
            "masked": ones,
            "linked": torch.zeros_like(ones).index_fill(0, linked, 1.0),
        }
        sums = torch.stack([*map(per_pair, of_rows.values()), sample["pair_pieces"].float()]).tolist()
        log: dict[str, Any] = {
            "loss": loss.detach(),
            "sample_size": len(target),
            "ntokens": sample["ntokens"],
            "nsentences": sample["nsentences"],
            "without_masked": int(len(target) == 0),
        }
        # Every rank reports every pair at every update, because fairseq aggregates only the keys of the first output.
        for name, row in zip((*of_rows, "pieces"), sums, strict=True):
            log.update({f"{p}:{name}": value for p, value in zip(self.pairs, row, strict=True)})
        log["has_cp"] = int(exchange is not None)
        return loss, len(target), log

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        total = {key: sum(log[key] for log in logging_outputs) for key in logging_outputs[0]}
        size = total["sample_size"]
        # Without a masked piece there is no loss. It is logged as None, because otherwise fairseq logs -1.
        metrics.log_scalar("loss", float(total["loss"]) / size if size else None, size, round=6)
        _log_means_over_pairs(
            [key.removesuffix(":masked") for key in total if key.endswith(":masked")], total["has_cp"]
        )
        if total["without_masked"]:
            metrics.log_scalar_sum("skipped_without_masked", total["without_masked"])
        for pair in [key.removesuffix(":masked") for key in total if key.endswith(":masked")]:
            masked = total[f"{pair}:masked"]
            if not masked:
                continue
            shown = {"mp_loss": total[f"{pair}:mp_nll"], "mp_accuracy": 100 * total[f"{pair}:mp_hits"]}
            if total["has_cp"]:
                shown |= {"cp_loss": total[f"{pair}:cp_nll"], "cp_accuracy": 100 * total[f"{pair}:cp_hits"]}
                shown |= {"linked_share": total[f"{pair}:linked"]}
            for name, value in shown.items():
                metrics.log_scalar(f"{pair}:{name}", value / masked, masked, round=6)
            pieces = total[f"{pair}:pieces"]
            metrics.log_scalar(f"{pair}:masked_share", masked / pieces, pieces, round=6)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        return True


def _log_means_over_pairs(pairs: list[str], has_cp: float) -> None:
    """Logs mp_loss and cp_loss as means with equal weight for every language pair, whatever its number of sentences."""

    def mean_of(name: str) -> Callable[[Any], float]:
        def mean(meters: Any) -> float:
            averages = [meters[f"{pair}:{name}"].avg for pair in pairs if f"{pair}:{name}" in meters]
            # None if this pair had no masked piece since the last log line.
            known = [average for average in averages if average is not None]
            return round(float(sum(known)) / len(known), 6) if known else math.nan

        return mean

    for name in ("mp_loss", "cp_loss") if has_cp else ("mp_loss",):
        metrics.log_derived(name, mean_of(name))
