"""The fast losses against a naive implementation with a dense E (method: R' = E R, two full projections)."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from weam_fairseq.encoder import Encoder, EncoderConfig
from weam_fairseq.losses import predict, rows_to_project, split_predictions, targets_to_project
from weam_fairseq.word_exchange import LinkPolicy, choose_links, edges_between, edges_into, exchange_rows

V, D = 17, 8


def dense_exchange(links: np.ndarray, source_rows: np.ndarray, target_rows: np.ndarray, rows: int) -> Tensor:
    """E, written as the method says it: row i is the weighted mean of its partners' one-hot rows, else the identity's.

    Of a link named twice the first one counts.
    """
    matrix = torch.zeros(rows, rows, dtype=torch.float64)
    for source, target, weight in reversed(links.tolist()):
        matrix[source_rows[source], target_rows[target]] = weight
        matrix[target_rows[target], source_rows[source]] = weight
    for row in range(rows):
        if matrix[row].sum() == 0:
            matrix[row, row] = 1
        matrix[row] /= matrix[row].sum()
    return matrix


@st.composite
def linked_batches(draw: st.DrawFn, policy: LinkPolicy) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    source, target = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    probability = st.just(1) if policy.one_to_many == "mean" else st.integers(1, 10_000)
    pairs = st.tuples(st.integers(0, source - 1), st.integers(0, target - 1), probability)
    links = np.array(draw(st.lists(pairs, max_size=12)), dtype=np.int64).reshape(-1, 3)
    rows = source + target + 3
    masked = sorted(draw(st.sets(st.integers(1, rows - 2), min_size=1)))
    return links, np.arange(1, 1 + source), np.arange(2 + source, 2 + source + target), np.array(masked)


@pytest.mark.parametrize("policy", [LinkPolicy("mean"), LinkPolicy("weighted")])
@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(0, 2**16), st.sampled_from([0.0, 0.5, 1.0]))
def test_losses_and_gradients_equal_the_dense_ones(
    policy: LinkPolicy, data: st.DataObject, seed: int, weight: float
) -> None:
    links, source_rows, target_rows, masked = data.draw(linked_batches(policy))
    rows = len(source_rows) + len(target_rows) + 3
    torch.manual_seed(seed)
    encoder = Encoder(EncoderConfig(vocabulary=V, pad=1, layers=0, width=D, heads=2, feed_forward=16)).double()
    states = torch.randn(rows, D, dtype=torch.float64, requires_grad=True)
    at = torch.from_numpy(masked)
    targets = torch.randint(V, (len(masked),))

    exchanged = dense_exchange(links, source_rows, target_rows, rows) @ states
    naive = F.cross_entropy(encoder.logits(states)[at].float(), targets)
    naive = naive + weight * F.cross_entropy(encoder.logits(exchanged)[at].float(), targets)
    wanted = torch.autograd.grad(naive, [states, *encoder.head.parameters(), encoder.embeddings.word.weight])

    words = np.arange(len(source_rows)), np.arange(len(target_rows))
    edges = edges_between(*choose_links(links, *words, policy), source_rows, target_rows)
    exchange = edges_into(edges, masked)
    logits = encoder.logits(rows_to_project(states[at], exchange_rows(states, exchange)))
    mp, cp = split_predictions(predict(logits, targets_to_project(targets, exchange.linked)), exchange.linked, len(at))
    fast = mp.nll.mean() + weight * cp.nll.mean()
    found = torch.autograd.grad(fast, [states, *encoder.head.parameters(), encoder.embeddings.word.weight])

    torch.testing.assert_close(fast, naive, atol=1e-6, rtol=1e-6)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)
