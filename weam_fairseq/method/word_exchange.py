"""Pure: piece links -> exchange, and the exchange itself (Yang et al. 2021, Figure 1).

An exchange says, for each row that has links, from which rows of the other sentence its representation comes:
R' = E R, where row i of E is the (weighted) mean of the one-hot rows of the pieces that i is linked to. E is never
built.

Links are (L, 3) int64 arrays: element indices into the ragged source and target of a whole batch, and the link's
weight, of which only the proportion within a row counts (1 everywhere: the plain mean). Words are the batch-wide word
numbers of those elements (`number_words`), so that every step is one vectorised operation.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from weam_fairseq.data.layout import Ragged


class LinkPolicy(NamedTuple):
    """Open choices of the method: which of a word's links count, and which pieces of a linked word.

    one_to_many: `mean` of all linked words, `weighted` by the probability of each link, the `first` of them, or
        `one-to-one` (only words with one link each).
    piece_policy: `all` pieces of a linked word, its `first`, or `monotone` (k-th piece to the proportional piece).
    skip_identical: pieces linked to the same piece stay where they are (what Figure 1 draws for "?").
    """

    one_to_many: str = "mean"
    piece_policy: str = "all"
    skip_identical: bool = False

    @property
    def weighted(self) -> bool:
        return self.one_to_many == "weighted"


class Edges(NamedTuple):
    """Directed links between rows of the flattened batch: `to` takes `weight` of `origin`. Sorted by `to`, `origin`.

    to, origin: (K,) int64; weight: (K,) float32, summing to 1 for each `to`.
    """

    to: np.ndarray
    origin: np.ndarray
    weight: np.ndarray


class Exchange(NamedTuple):
    """The edges that reach masked rows, as tensors.

    Attributes:
        linked: (L,) int64, which of the N masked rows have links, ascending.
        segment: (K,) int64, which of the L linked rows each edge feeds.
        origin: (K,) int64, the row of the flattened batch that the edge brings.
        weight: (K,) float32.
    """

    linked: Tensor
    segment: Tensor
    origin: Tensor
    weight: Tensor


def number_words(words: Ragged) -> np.ndarray:
    """(P,) dense numbers, the same for the pieces of one word and different between sentences, in text order."""
    key = words.owner() * (int(words.flat.max(initial=0)) + 1) + words.flat
    return np.unique(key, return_inverse=True)[1]


def choose_links(
    links: np.ndarray, source_words: np.ndarray, target_words: np.ndarray, policy: LinkPolicy
) -> tuple[np.ndarray, np.ndarray]:
    """The links that a policy leaves, for rows of the source and for rows of the target.

    Args:
        links: (L, 3) every piece of a linked word with every piece of its partner, weighted.
        source_words, target_words: (P,) `number_words` of either side.

    Returns:
        (L', 3) source piece <- target piece, and (L'', 3) target piece <- source piece, with the links' weights.
    """
    if policy.one_to_many == "one-to-one":
        links = _only_one_to_one(links, source_words, target_words)
    return (
        _one_way(links, source_words, target_words, policy),
        _one_way(links[:, [1, 0, 2]], target_words, source_words, policy),
    )


def edges_between(
    into_source: np.ndarray, into_target: np.ndarray, source_rows: np.ndarray, target_rows: np.ndarray
) -> Edges:
    """Directed edges between rows; a row takes the weighted mean of its partners.

    A link named twice counts once, with the weight that it was named with first.

    Args:
        into_source, into_target: as `choose_links` returns them.
        source_rows, target_rows: (P,) row of each element.
    """
    to = np.concatenate([source_rows[into_source[:, 0]], target_rows[into_target[:, 0]]])
    origin = np.concatenate([target_rows[into_source[:, 1]], source_rows[into_target[:, 1]]])
    weight = np.concatenate([into_source[:, 2], into_target[:, 2]])
    base = int(max(to.max(initial=0), origin.max(initial=0))) + 1
    key, named_first = np.unique(to * base + origin, return_index=True)
    to, origin, weight = key // base, key % base, weight[named_first]
    place = np.unique(to, return_inverse=True)[1]
    sums = np.bincount(place, weights=weight)
    return Edges(to, origin, (weight / sums[place]).astype(np.float32))


def edges_into(edges: Edges, masked_rows: np.ndarray) -> Exchange:
    """Keeps the edges that end in a masked row: the only ones that a loss can see.

    Args:
        masked_rows: (N,) ascending rows of the flattened batch.
    """
    place = np.searchsorted(masked_rows, edges.to)
    reaches = place < len(masked_rows)
    reaches[reaches] = masked_rows[place[reaches]] == edges.to[reaches]
    linked, segment = np.unique(place[reaches], return_inverse=True)
    return Exchange(
        torch.from_numpy(linked.astype(np.int64)),
        torch.from_numpy(segment.astype(np.int64)),
        torch.from_numpy(edges.origin[reaches]),
        torch.from_numpy(edges.weight[reaches]),
    )


def exchange_rows(states: Tensor, exchange: Exchange) -> Tensor:
    """Representations that linked masked rows receive: (R, D), Exchange -> (L, D)."""
    brought = states.index_select(0, exchange.origin) * exchange.weight.to(states.dtype).unsqueeze(1)
    received = torch.zeros(len(exchange.linked), states.size(1), dtype=states.dtype, device=states.device)
    return received.index_add(0, exchange.segment, brought)


def next_in_circle(targets: Ragged, numbers: np.ndarray) -> np.ndarray:
    """Wrong names for target pieces, for the control `shuffled`: each gets the next one of a random circle.

    Links whose targets are renamed are as many as before, with as many linked rows on either side and as many partners
    for each. With two or more target pieces none keeps its name (a link between words of several pieces can still hit
    its own word).

    Args:
        targets: the ragged target pieces.
        numbers: (P,) a uniform number for each target piece.

    Returns:
        (P,) element index -> element index of the same sentence.
    """
    circle = np.lexsort((numbers, targets.owner()))  # each sentence's pieces in random order, end to end
    is_last = targets.inside() + 1 == np.repeat(targets.sizes, targets.sizes)
    following = np.where(is_last, np.arange(len(circle)) - targets.inside(), np.arange(len(circle)) + 1)
    renamed = np.empty(len(circle), dtype=np.int64)
    renamed[circle] = circle[following]
    return renamed


def _only_one_to_one(links: np.ndarray, source_words: np.ndarray, target_words: np.ndarray) -> np.ndarray:
    words = np.unique(np.stack([source_words[links[:, 0]], target_words[links[:, 1]]], axis=1), axis=0)
    source_degree = np.bincount(words[:, 0], minlength=int(source_words.max(initial=0)) + 1)
    target_degree = np.bincount(words[:, 1], minlength=int(target_words.max(initial=0)) + 1)
    alone = (source_degree[source_words[links[:, 0]]] == 1) & (target_degree[target_words[links[:, 1]]] == 1)
    return links[alone]


def _one_way(links: np.ndarray, near: np.ndarray, far: np.ndarray, policy: LinkPolicy) -> np.ndarray:
    """Links (to, origin, weight) that remain when pieces of the `near` sentence receive from the `far` one."""
    if policy.one_to_many == "first":
        first = np.full(len(near), np.iinfo(np.int64).max)
        np.minimum.at(first, links[:, 0], far[links[:, 1]])
        links = links[far[links[:, 1]] == first[links[:, 0]]]
    if policy.piece_policy == "first":
        rank, _ = _places_in_word(far)
        links = links[rank[links[:, 1]] == 0]
    elif policy.piece_policy == "monotone":
        near_rank, near_size = _places_in_word(near)
        far_rank, far_size = _places_in_word(far)
        to, origin = links[:, 0], links[:, 1]
        links = links[far_rank[origin] == near_rank[to] * far_size[origin] // near_size[to]]
    return links


def _places_in_word(words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each piece's index within its word and the word's number of pieces, both (P,)."""
    order = np.argsort(words, kind="stable")
    sizes = np.bincount(words)
    rank = np.empty(len(words), dtype=np.int64)
    rank[order] = Ragged(order, sizes).inside()
    return rank, sizes[words]
