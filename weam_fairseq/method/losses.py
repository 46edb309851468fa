"""Pure: L_mp and L_cp (Yang et al. 2021, equations of section 3), and the saving of shared rows.

Shapes: B sentences, T positions, D width, V vocabulary, N masked rows, L masked rows that have links.

A masked piece without a link keeps its own representation and stays in L_cp (Figure 1, "Is" <- R2). With a shared head
its two predictions are the same, so the head, the largest product for V = 120k-250k, sees N + L rows and not 2 N.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from weam_fairseq.method.projected_loss import ProjectedCrossEntropy


class Predictions(NamedTuple):
    """One prediction task over the N masked rows.

    nll: (N,) negative log-likelihood in nats, float32.
    hit: (N,) bool, the most likely piece is the target.
    """

    nll: Tensor
    hit: Tensor


class Weighed(NamedTuple):
    """`loss` () with gradients: the weighted sum; `predictions` over all rows, without."""

    loss: Tensor
    predictions: Predictions


def rows_to_project(own: Tensor, received: Tensor) -> Tensor:
    """The rows that the head must see: (N, D) own and (L, D) received -> (N + L, D)."""
    return torch.cat([own, received.to(own.dtype)]) if len(received) else own


def predict(logits: Tensor, targets: Tensor) -> Predictions:
    """Cross entropy in float32 whatever the head computed in: (M, V), (M,) -> predictions over M rows."""
    nll = F.cross_entropy(logits.float(), targets, reduction="none")
    return Predictions(nll, logits.argmax(dim=-1) == targets)


def predict_and_weigh(rows: Tensor, projection: Tensor, bias: Tensor, targets: Tensor, weights: Tensor) -> Weighed:
    """The loss of M projected rows, Σ weight · nll, and its predictions; no gradient flows through the latter.

    Args:
        rows: (M, D).
        projection: (V, D); bias: (V,).
        targets: (M,).
        weights: (M,) float32, of each prediction in the loss.
    """
    device = rows.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else rows.dtype
    if dtype == torch.float16:
        # Its gradients vanish unless the loss was scaled before, which is known only on the way back.
        return weigh_logits(F.linear(rows, projection, bias), targets, weights)
    loss, nll, hit = ProjectedCrossEntropy.apply(rows, projection, bias, targets, weights, dtype)
    return Weighed(loss, Predictions(nll, hit))


def weigh_logits(logits: Tensor, targets: Tensor, weights: Tensor) -> Weighed:
    """`predict_and_weigh` from all logits, (M, V)."""
    predictions = predict(logits, targets)
    loss = (weights * predictions.nll).sum()
    return Weighed(loss, Predictions(predictions.nll.detach(), predictions.hit))


def targets_to_project(targets: Tensor, again: Tensor) -> Tensor:
    """(N,) targets of the masked rows and (L,) those that are predicted again -> (N + L,)."""
    return torch.cat([targets, targets.index_select(0, again)])


def weights_in_the_loss(again: Tensor, rows: int, cp_weight: float) -> Tensor:
    """(N + L,) what each projected row counts in L_mp + λ · L_cp, both sums.

    Args:
        again: (L,) which of the N rows are predicted again; the others' only prediction counts for both losses.
        rows: N.
        cp_weight: λ.
    """
    own = torch.full((rows,), 1 + cp_weight, device=again.device).index_fill(0, again, 1.0)
    return torch.cat([own, own.new_full((len(again),), cp_weight)])


def split_predictions(both: Predictions, again: Tensor, rows: int) -> tuple[Predictions, Predictions]:
    """Multilingual and cross-lingual predictions from those over the projected rows.

    Args:
        both: predictions over N + L rows, in the order of `rows_to_project`.
        again: (L,) which of the N rows the last L ones are; the others' first prediction counts twice.
        rows: N.
    """
    own = Predictions(both.nll[:rows], both.hit[:rows])
    exchanged = Predictions(
        own.nll.index_copy(0, again, both.nll[rows:]),
        own.hit.index_copy(0, again, both.hit[rows:]),
    )
    return own, exchanged
