"""The data set, the losses and the log against a naive implementation of the method, which shares no code with them.

It is written for one sentence pair and one row at a time, with a dense E (R' = E R, two full projections). Random
numbers are the only thing that must be the same draws: they come here from numpy's own Philox.
"""

import itertools
import json
from argparse import Namespace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fairseq.logging import metrics
from hand_made_data_bin import SPECIAL, Example, write_data_bin
from hypothesis import given, settings
from hypothesis import strategies as st
from small_encoder import bert, logits_of, states_of
from torch import Tensor

from weam_fairseq.common.errors import InputError
from weam_fairseq.encoder.huggingface import MaskedLM
from weam_fairseq.method.losses import predict, rows_to_project, split_predictions, targets_to_project
from weam_fairseq.method.word_exchange import LinkPolicy, choose_links, edges_between, edges_into, exchange_rows
from weam_fairseq.plugin.criterion import WeamCriterion
from weam_fairseq.plugin.model import WeamModel
from weam_fairseq.plugin.task import WeamTask, WeamTaskConfig

V, D = 17, 8


def dense_exchange(links: np.ndarray, source_rows: np.ndarray, target_rows: np.ndarray, rows: int) -> Tensor:
    """E as the method defines it: row i is the weighted mean of its partners' one-hot rows, else the identity's.

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
    model = bert(V, num_hidden_layers=0, hidden_size=D).double()
    head = MaskedLM(model)
    parameters = [*model.cls.parameters(), model.bert.embeddings.word_embeddings.weight]
    parameters = list({id(p): p for p in parameters}.values())
    states = torch.randn(rows, D, dtype=torch.float64, requires_grad=True)
    at = torch.from_numpy(masked)
    targets = torch.randint(V, (len(masked),))

    exchanged = dense_exchange(links, source_rows, target_rows, rows) @ states
    naive = F.cross_entropy(logits_of(model, states)[at].float(), targets)
    naive = naive + weight * F.cross_entropy(logits_of(model, exchanged)[at].float(), targets)
    expected = torch.autograd.grad(naive, [states, *parameters])

    words = np.arange(len(source_rows)), np.arange(len(target_rows))
    edges = edges_between(*choose_links(links, *words, policy), source_rows, target_rows)
    exchange = edges_into(edges, masked)
    logits = head.logits(rows_to_project(states[at], exchange_rows(states, exchange)))
    mp, cp = split_predictions(predict(logits, targets_to_project(targets, exchange.linked)), exchange.linked, len(at))
    fast = mp.nll.mean() + weight * cp.nll.mean()
    found = torch.autograd.grad(fast, [states, *parameters])

    torch.testing.assert_close(fast, naive, atol=1e-6, rtol=1e-6)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


# ---- A whole batch ----

SEED, EPOCH = 5, 3
SIZES = {"en-de": 9, "en-zh": 4}
N = sum(SIZES.values())
PAD, MASK, CLS, SEP = (SPECIAL[name] for name in ("pad", "mask", "cls", "sep"))
ORDINARY = [i for i in range(40) if i not in SPECIAL.values()]

OPTIONS: dict[str, list[Any]] = {  # the defaults first
    "objective": ["weam", "tlm", "mlm", "identity", "shuffled", "sentence", "stranger"],
    "one_to_many": ["mean", "first", "one-to-one", "weighted"],
    "piece_policy": ["all", "first", "monotone"],
    "skip_identical": [False, True],
    "mask_replace": ["bert", "all"],
    "mask_unit": ["piece", "word"],
    "segment_ids": ["pair", "zero"],
    "reset_positions": [False, True],
    "shuffle_order": [False, True],
    "cp_head": ["shared", "own"],
}
ONE_CHANGED = [{name: value} for name, values in OPTIONS.items() for value in values]
# Options that only show together.
TOGETHER = [
    {"objective": "shuffled", "one_to_many": "weighted", "piece_policy": "first"},
    {"objective": "sentence", "one_to_many": "one-to-one", "piece_policy": "monotone", "shuffle_order": True},
    {"objective": "stranger", "one_to_many": "weighted", "piece_policy": "first", "shuffle_order": True},
    {"one_to_many": "first", "piece_policy": "monotone", "skip_identical": True},
    {"mask_unit": "word", "objective": "mlm"},
    {"shuffle_order": True, "reset_positions": True, "mask_unit": "word", "segment_ids": "zero"},
]


def linked_examples(count: int, seed: int) -> tuple[list[Example], list[list[int]]]:
    """Sentences of different lengths on either side, words of one to three pieces, some words linked to several, and
    pieces that both languages have. Also the probability of each piece link, which is that of its words."""
    rng = np.random.default_rng(seed)
    examples: list[Example] = []
    probabilities = []
    for _ in range(count):
        words: list[list[int]] = [
            [number for number in range(int(rng.integers(2, 6))) for _ in range(int(rng.integers(1, 4)))]
            for _ in ("source", "target")
        ]
        source, target = (rng.integers(5, 20 if side else 16, len(words[side])).tolist() for side in (0, 1))
        word_links = {
            (a, b): int(rng.integers(1, 10_001))
            for a, b in itertools.product(range(words[0][-1] + 1), range(words[1][-1] + 1))
            if rng.random() < 0.3
        }
        links = [(s, t) for s, a in enumerate(words[0]) for t, b in enumerate(words[1]) if (a, b) in word_links]
        probabilities.append([word_links[words[0][s], words[1][t]] for s, t in links])
        examples.append((source, target, links, words[0], words[1]))
    return examples, probabilities


EXAMPLES = {pair: linked_examples(size, 3 + size) for pair, size in SIZES.items()}


@pytest.fixture(scope="module")
def linked_bin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SIZES sentence pairs to train on; the same in the validation split."""
    splits = {pair: dict.fromkeys(("train", "valid"), examples) for pair, (examples, _) in EXAMPLES.items()}
    likely = {pair: dict.fromkeys(("train", "valid"), found) for pair, (_, found) in EXAMPLES.items()}
    return write_data_bin(tmp_path_factory.mktemp("linked") / "bin", splits, likely)


def drawn(index: int, use: int, shape: int | tuple[int, int], epoch: int = EPOCH) -> np.ndarray:
    """The numbers of one sentence pair. use: 0 masks, 1 wrong links, 2 order."""
    return np.random.Generator(np.random.Philox(key=[SEED, epoch], counter=[0, 0, index, use])).random(shape)


Place = tuple[int, int]  # side (0 source, 1 target), piece


def masked(example: Example, numbers: np.ndarray, options: dict[str, Any]) -> dict[Place, int]:
    """Each masked piece -> what the model sees in its place."""
    found = {}
    for column, (side, piece) in enumerate(places(example)):
        words = example[3 + side]
        first = words.index(words[piece]) if options["mask_unit"] == "word" else piece
        if numbers[0, column - piece + first] < 0.5:
            _, how, which = numbers[:, column]
            shown = MASK
            if options["mask_replace"] == "bert" and how >= 0.9:
                shown = example[side][piece]
            elif options["mask_replace"] == "bert" and how >= 0.8:
                shown = ORDINARY[int(which * len(ORDINARY))]
            found[side, piece] = shown
    return found


def places(example: Example) -> list[Place]:
    return [(side, piece) for side in (0, 1) for piece in range(len(example[side]))]


def partners(
    example: Example, probabilities: list[int], circle: list[int], options: dict[str, Any]
) -> dict[Place, dict[Place, float]]:
    """Each linked piece -> what it receives, and how much of it. circle: the target's pieces in random order."""
    if options["objective"] in ("mlm", "tlm", "identity"):
        return {}
    links = dict(zip(example[2], probabilities, strict=True))
    identical = {(side, li[side]) for li in links for side in (0, 1) if example[0][li[0]] == example[1][li[1]]}
    word_links = {(example[3][s], example[4][t]) for s, t in links}
    found: dict[Place, dict[Place, float]] = {}
    for near, piece in places(example):
        if options["skip_identical"] and (near, piece) in identical:
            continue
        far = 1 - near
        near_words, far_words = example[3 + near], example[3 + far]
        own_word = near_words[piece]
        of_word = sorted({link[far] for link in word_links if link[near] == own_word})
        if options["one_to_many"] == "one-to-one":
            alone = len(of_word) == 1 and sum(link[far] == of_word[0] for link in word_links) == 1
            of_word = of_word if alone else []
        received = {}
        taken = [link for link in links if link[near] == piece and far_words[link[far]] in of_word]
        if options["one_to_many"] == "first":
            taken = [li for li in taken if far_words[li[far]] == min(far_words[other[far]] for other in taken)]
        for link in taken:
            place_in_word = link[far] - far_words.index(far_words[link[far]])
            share = (piece - near_words.index(own_word)) / near_words.count(own_word)
            expected = {
                "all": place_in_word,
                "first": 0,
                "monotone": int(share * far_words.count(far_words[link[far]])),
            }
            if place_in_word == expected[options["piece_policy"]]:
                received[far, link[far]] = float(links[link] if options["one_to_many"] == "weighted" else 1)
        if received:
            found[near, piece] = {place: weight / sum(received.values()) for place, weight in received.items()}
    if options["objective"] == "shuffled":
        following = {(1, piece): (1, circle[(k + 1) % len(circle)]) for k, piece in enumerate(circle)}
        found = {
            following.get(to, to): {following.get(place, place): weight for place, weight in received.items()}
            for to, received in found.items()
        }
    if options["objective"] == "sentence":
        sides = [[place for place in places(example) if place[0] == side] for side in (0, 1)]
        found = {to: dict.fromkeys(sides[1 - to[0]], 1 / len(sides[1 - to[0]])) for to in found}
    return found


def in_next_pair(received: dict[Place, float], example: Example) -> dict[Place, float]:
    """The control `stranger`: the same places in another pair, counted round where its sentence is shorter. Of two
    that fall together, the one whose own piece comes first counts."""
    moved: dict[Place, float] = {}
    for (side, piece), weight in sorted(received.items()):
        moved.setdefault((side, piece % len(example[side])), weight)
    return {place: weight / sum(moved.values()) for place, weight in moved.items()}


class Row(NamedTuple):
    """One sequence: token, segment id and position id of each column, and which piece of the pair it is."""

    tokens: list[int]
    segments: list[int]
    positions: list[int]
    pieces: list[Place | None]


def written(example: Example, shown: dict[Place, int], turned: bool, options: dict[str, Any]) -> list[Row]:
    """The sequences of a pair: one, or in `mlm` one for each side."""
    sides = [[(shown.get(p, example[p[0]][p[1]]), p) for p in places(example) if p[0] == s] for s in (0, 1)]
    if options["objective"] == "mlm":
        return [
            Row([CLS, *(t for t, _ in side), SEP], [0] * (len(side) + 2), list(range(len(side) + 2)), pieces)
            for side in sides
            for pieces in [[None, *(p for _, p in side), None]]
        ]
    first, second = reversed(sides) if turned else sides
    tokens = [CLS, *(t for t, _ in first), SEP, *(t for t, _ in second), SEP]
    pieces = [None, *(p for _, p in first), None, *(p for _, p in second), None]
    start = len(first) + 2
    segments = [int(options["segment_ids"] == "pair" and k >= start) for k in range(len(tokens))]
    positions = [k - start if options["reset_positions"] and k >= start else k for k in range(len(tokens))]
    return [Row(tokens, segments, positions, pieces)]


def naive_batch(indices: list[int], options: dict[str, Any], epoch: int = EPOCH) -> dict[str, Any]:
    """What the collater must give. received: masked row of the grid -> {row: weight}."""
    examples = [(pair, *each) for pair, columns in EXAMPLES.items() for each in zip(*columns, strict=True)]
    rows: list[tuple[int, Row]] = []
    linked, targets = {}, {}
    for number, index in enumerate(indices):
        pair, example, probabilities = examples[index % N]
        shown = masked(example, drawn(index, 0, (3, len(places(example))), epoch), options)
        circle = np.argsort(drawn(index, 1, len(example[1]), epoch)).tolist()
        turned = bool(options["shuffle_order"] and drawn(index, 2, 1, epoch)[0] < 0.5)
        rows += [(number, row) for row in written(example, shown, turned, options)]
        linked[number] = partners(example, probabilities, circle, options)
        targets[number] = {p: (example[p[0]][p[1]], list(SIZES).index(pair)) for p in shown}
    if options["objective"] == "mlm":
        rows = rows[::2] + rows[1::2]
    if options["objective"] == "stranger":
        ring = np.argsort([drawn(index, 1, 1, epoch)[0] for index in indices]).tolist()
        following = {number: ring[(k + 1) % len(ring)] for k, number in enumerate(ring)}
        for number, found in linked.items():
            other = examples[indices[following[number]] % N][1]
            linked[number] = {to: in_next_pair(received, other) for to, received in found.items()}
    else:
        following = {number: number for number in linked}
    width = max(len(row.tokens) for _, row in rows)
    where = {(n, p): r * width + k for r, (n, row) in enumerate(rows) for k, p in enumerate(row.pieces) if p}
    predicted = sorted((where[n, p], *target) for n, found in targets.items() for p, target in found.items())
    pieces = [sum(len(e[1][0]) + len(e[1][1]) for e in (examples[i % N] for i in indices) if e[0] == p) for p in SIZES]
    return {
        "tokens": [row.tokens + [PAD] * (width - len(row.tokens)) for _, row in rows],
        "segments": [row.segments for _, row in rows],
        "positions": [row.positions for _, row in rows],
        "masked_rows": [row for row, _, _ in predicted],
        "target": [piece for _, piece, _ in predicted],
        "row_pair": [pair for _, _, pair in predicted],
        "pair_pieces": pieces,
        "ntokens": sum(len(row.tokens) for _, row in rows),
        "received": {
            where[n, to]: {where[following[n], place]: weight for place, weight in found.items()}
            for n in linked
            for to, found in linked[n].items()
            if to in targets[n]
        },
    }


def task_of(data_bin: Path, options: dict[str, Any], **more: Any) -> WeamTask:
    return WeamTask.setup_task(WeamTaskConfig(data=str(data_bin), seed=SEED, mask_prob=0.5, **options, **more))


def without_padding(grid: Tensor, expected: list[list[int]]) -> list[list[int]]:
    return [row[: len(like)] for row, like in zip(grid.tolist(), expected, strict=True)]


def check_batch(batch: dict[str, Any], expected: dict[str, Any], options: dict[str, Any]) -> None:
    net_input = batch["net_input"]
    assert net_input["tokens"].tolist() == expected["tokens"]
    width = net_input["tokens"].size(1)
    attended = [[1] * len(row) + [0] * (width - len(row)) for row in expected["segments"]]
    assert net_input["attention_mask"].tolist() == attended
    assert ("positions" in net_input) == options["reset_positions"]
    for name in ("segments", "positions") if options["reset_positions"] else ("segments",):
        assert without_padding(net_input[name], expected[name]) == expected[name], name
    assert net_input["masked_rows"].tolist() == expected["masked_rows"]
    for name in ("target", "row_pair", "pair_pieces"):
        assert batch[name].tolist() == expected[name], name
    assert batch["ntokens"] == expected["ntokens"]
    assert ("exchange" in net_input) == (options["objective"] not in ("mlm", "tlm"))
    found: dict[int, dict[int, float]] = {}
    if "exchange" in net_input:
        exchange = net_input["exchange"]
        to = net_input["masked_rows"][exchange.linked][exchange.segment]
        for row, origin, weight in zip(*(column.tolist() for column in (to, *exchange[2:])), strict=True):
            found.setdefault(row, {})[origin] = pytest.approx(weight)
    assert expected["received"] == found


def options_with(changed: dict[str, Any]) -> dict[str, Any]:
    return {**{name: values[0] for name, values in OPTIONS.items()}, **changed}


def model_of(task: WeamTask, **changed: Any) -> WeamModel:
    """Of one layer that changes little: most pieces are predicted where they or the same piece of the other side are
    seen, so that accuracies are neither 0 nor alike."""
    options = {"arch": "weam_tiny", "encoder_config": None, "layers": 1, "width": 16, "heads": 2, "feed_forward": 32}
    options |= {"positions": None, "dropout": 0.0, "attention_dropout": 0.0, "freeze": "none", "head_first": 0}
    torch.manual_seed(1)
    model = WeamModel.build_model(Namespace(checkpoint_activations=False, **{**options, **changed}), task)
    torch.nn.init.normal_(model.masked_lm.bert.embeddings.word_embeddings.weight)
    for head in (model.masked_lm, model.own_head):
        if head is not None:
            head.cls.predictions.transform.dense.weight.data += torch.eye(16)
    return model.eval()


def check_loss_and_log(
    criterion: WeamCriterion, model: WeamModel, batch: dict[str, Any], expected: dict[str, Any], cp_weight: float | None
) -> None:
    """cp_weight: λ; None: there is no second loss."""
    states = states_of(model.masked_lm, batch["net_input"]).flatten(0, 1)
    exchanged = states.clone()
    for row, received in expected["received"].items():
        exchanged[row] = sum(weight * states[origin] for origin, weight in received.items())
    rows, target, pair = (torch.tensor(expected[name]) for name in ("masked_rows", "target", "row_pair"))
    own = None if model.own_head is None else model.own_head.cls
    logits = {"mp": logits_of(model.masked_lm, states), "cp": logits_of(model.masked_lm, exchanged, own)}
    nll = {task: F.cross_entropy(found[rows], target, reduction="none") for task, found in logits.items()}
    hit = {task: found[rows].argmax(1) == target for task, found in logits.items()}
    linked = torch.tensor([row in expected["received"] for row in expected["masked_rows"]])

    loss, size, log = criterion(model, batch)
    assert size == len(target)
    torch.testing.assert_close(loss, nll["mp"].sum() + (cp_weight or 0) * nll["cp"].sum())
    with metrics.aggregate() as meters:
        WeamCriterion.reduce_metrics([log])
    shown = meters.get_smoothed_values()
    assert shown["loss"] == pytest.approx(loss.item() / size, abs=1e-5)
    for number, name in enumerate(SIZES):
        of_pair = pair == number
        assert shown[f"{name}:masked_share"] == pytest.approx(
            int(of_pair.sum()) / expected["pair_pieces"][number], abs=1e-5
        )
        for task in ("mp", "cp"):
            if task == "cp" and not log["has_cp"]:
                assert f"{name}:cp_loss" not in shown
                continue
            assert shown[f"{name}:{task}_loss"] == pytest.approx(nll[task][of_pair].mean().item(), rel=1e-4)
            assert shown[f"{name}:{task}_accuracy"] == pytest.approx(
                100 * hit[task][of_pair].float().mean().item(), abs=1e-4
            )
        if log["has_cp"]:
            assert shown[f"{name}:linked_share"] == pytest.approx(linked[of_pair].float().mean().item(), abs=1e-5)


def check_options(linked_bin: Path, options: dict[str, Any]) -> None:
    task = task_of(linked_bin, options)
    task.load_dataset("train")
    data = task.dataset("train")
    data.set_epoch(EPOCH)
    indices = [*range(0, N, 2), 1, 1 + N, N - 2 + 3 * N]  # the last two are repetitions (sampling.py)
    batch, expected = data.collater([data[i] for i in indices]), naive_batch(indices, options)
    assert batch["id"].tolist() == indices
    check_batch(batch, expected, options)
    second = options["objective"] not in ("mlm", "tlm")
    check_loss_and_log(WeamCriterion(task, 0.7, "fp32"), model_of(task), batch, expected, 0.7 if second else None)


@pytest.mark.parametrize("changed", [*ONE_CHANGED, *TOGETHER], ids=str)
def test_batch_loss_and_log_are_those_of_the_method(linked_bin: Path, changed: dict[str, Any]) -> None:
    check_options(linked_bin, options_with(changed))


@settings(max_examples=30)
@given(st.fixed_dictionaries({name: st.sampled_from(values) for name, values in OPTIONS.items()}))
def test_they_are_for_random_combinations_of_options(linked_bin: Path, options: dict[str, Any]) -> None:
    check_options(linked_bin, options)


@pytest.mark.parametrize("objective", OPTIONS["objective"])
def test_validation_measures_true_links_on_every_pair_once(linked_bin: Path, objective: str) -> None:
    """Whatever the objective and the temperature. λ is that of training, so that of `tlm` and `mlm` is 0."""
    task = task_of(linked_bin, {"objective": objective}, sampling_temperature=5.0)
    task.load_dataset("valid")
    data = task.dataset("valid")
    data.set_epoch(EPOCH)
    indices = data.ordered_indices().tolist()
    assert sorted(indices) == list(range(N))
    options = options_with({})
    batch, expected = data.collater([data[i] for i in indices]), naive_batch(indices, options, epoch=0)
    check_batch(batch, expected, options)
    criterion = WeamCriterion(task, 0.7, "fp32")
    check_loss_and_log(criterion, model_of(task), batch, expected, 0.0 if objective in ("mlm", "tlm") else 0.7)


@pytest.mark.parametrize(("objective", "cp_head", "heads"), [("weam", "own", 2), ("tlm", "own", 1), ("mlm", "own", 1)])
def test_a_head_is_built_where_it_has_a_loss(linked_bin: Path, objective: str, cp_head: str, heads: int) -> None:
    model = model_of(task_of(linked_bin, {"objective": objective, "cp_head": cp_head}))
    assert sum(name.endswith("cls.predictions") for name, _ in model.named_modules()) == heads


def test_a_model_must_have_the_segments_of_the_tokenizer(linked_bin: Path) -> None:
    pair, zero = (task_of(linked_bin, {"segment_ids": name}) for name in ("pair", "zero"))
    one_row = json.dumps({**model_of(zero).masked_lm.config.to_dict(), "type_vocab_size": 1})
    with pytest.raises(InputError, match=r"writes pairs with 2 segment ids, but the model has 1\."):
        model_of(pair, encoder_config=one_row)
    assert not model_of(zero, encoder_config=one_row).takes_segments
    assert model_of(pair).takes_segments


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_the_model_multiplies_in_the_requested_precision(linked_bin: Path, precision: str, dtype: torch.dtype) -> None:
    task = task_of(linked_bin, {})
    task.load_dataset("train")
    model, found = model_of(task), []
    model.masked_lm.bert.encoder.layer[0].intermediate.dense.register_forward_hook(
        lambda *call: found.append(call[-1].dtype)
    )
    loss, _, _ = WeamCriterion(task, 1.0, precision)(model, task.dataset("train").collater([task.dataset("train")[0]]))
    assert (found, loss.dtype) == ([dtype], torch.float32)
