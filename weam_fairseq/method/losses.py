"""Pure: the losses L_mp and L_cp (Yang et al. 2021, section 3). Both share the rows without links.

Shapes: B sentences, T positions, D width, V vocabulary, N masked rows, L masked rows that have links.

A masked piece without a link keeps its own representation and stays in L_cp (Figure 1, "Is" <- R2). With a shared head
its two predictions are equal. So the head, the largest matrix product for V = 120k-250k, processes N + L rows instead
of 2 N.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from weam_fairseq.method.projected_loss import ProjectedCrossEntropy


class Predictions(NamedTuple):
    """Predictions for N masked rows.

    Attributes:
        nll: (N,) negative log-likelihood in nats, float32.
        hit: (N,) bool, whether the most likely piece is the target.
    """

    nll: Tensor
    hit: Tensor


class Weighed(NamedTuple):
    """`loss` (): the weighted sum, with gradients. `predictions` of all rows, without gradients."""

    loss: Tensor
    predictions: Predictions


def rows_to_project(own: Tensor, received: Tensor) -> Tensor:
    """The rows that the head must process: (N, D) own and (L, D) received -> (N + L, D)."""
    return torch.cat([own, received.to(own.dtype)]) if len(received) else own


def predict(logits: Tensor, targets: Tensor) -> Predictions:
    """Cross entropy, always in float32: (M, V) logits, (M,) targets -> predictions of M rows."""
    nll = F.cross_entropy(logits.float(), targets, reduction="none")
    return Predictions(nll, logits.argmax(dim=-1) == targets)


def predict_and_weigh(rows: Tensor, projection: Tensor, bias: Tensor, targets: Tensor, weights: Tensor) -> Weighed:
    """Computes the loss of M projected rows, Σ weight · nll, and predictions without gradients.

    Args:
        rows: (M, D).
        projection: (V, D); bias: (V,).
        targets: (M,).
        weights: (M,) float32, weight of each prediction in the loss.
    """
    device = rows.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else rows.dtype
    if dtype == torch.float16:
        # fp16 gradients vanish unless the loss is scaled, and the scale is known only in the backward pass.
        return weigh_logits(F.linear(rows, projection, bias), targets, weights)
    if not torch.is_grad_enabled():  # ProjectedCrossEntropy sees only which tensors require gradients
        rows, projection, bias = rows.detach(), projection.detach(), bias.detach()
    loss, nll, hit = ProjectedCrossEntropy.apply(rows, projection, bias, targets, weights, dtype)
    return Weighed(loss, Predictions(nll, hit))


def weigh_logits(logits: Tensor, targets: Tensor, weights: Tensor) -> Weighed:
    """`predict_and_weigh` for given logits, (M, V)."""
    predictions = predict(logits, targets)
    loss = (weights * predictions.nll).sum()
    return Weighed(loss, Predictions(predictions.nll.detach(), predictions.hit))


def targets_to_project(targets: Tensor, again: Tensor) -> Tensor:
    """(N,) targets of the masked rows, (L,) indices of rows to predict again -> (N + L,) targets."""
    return torch.cat([targets, targets.index_select(0, again)])


def weights_in_the_loss(again: Tensor, rows: int, cp_weight: float) -> Tensor:
    """(N + L,) weight of each projected row in L_mp + λ · L_cp, both of which are sums.

    Args:
        again: (L,) indices of the rows to predict again. Each other row's only prediction counts in both losses.
        rows: N.
        cp_weight: λ.
    """
    own = torch.full((rows,), 1 + cp_weight, device=again.device).index_fill(0, again, 1.0)
    return torch.cat([own, own.new_full((len(again),), cp_weight)])


def split_predictions(both: Predictions, again: Tensor, rows: int) -> tuple[Predictions, Predictions]:
    """Separates the multilingual and the cross-lingual predictions.

    Args:
        both: predictions of N + L rows, in the order of `rows_to_project`.
        again: (L,) rows (0..N-1) of the last L predictions. The only prediction of another row is used twice.
        rows: N.
    """
    own = Predictions(both.nll[:rows], both.hit[:rows])
    exchanged = Predictions(
        own.nll.index_copy(0, again, both.nll[rows:]),
        own.hit.index_copy(0, again, both.hit[rows:]),
    )
    return own, exchanged
