"""A run resumed with other batch sizes: every pair is used once, and options that a run must keep are kept."""

from argparse import Namespace
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hand_made_data_bin import random_examples
from hypothesis import given, settings
from hypothesis import strategies as st
from test_dataset import PAIRS, dataset
from test_schedule import parsed  # noqa: F401 -- a fixture

from weam_fairseq.common.errors import InputError
from weam_fairseq.method.policy import Policy
from weam_fairseq.plugin import checkpoints, schedule
from weam_fairseq.plugin.fairseq_dataset import FairseqWordExchangeDataset
from weam_fairseq.plugin.resume import BATCHES, Batching, ResumableEpoch, option
from weam_fairseq.training.command_line import Start, follow_checkpoint

KEPT = {"objective": "weam", "pairs": PAIRS, "sampling_temperature": 1.0, "cp_head": "shared"}
EPOCH = 2
BY_16 = Batching(None, 16, 1, 1, 5)


def epoch_of(
    data_bin: Path, batching: Batching, process: int = 0, temperature: float = 1.0, longest: int | None = None
) -> ResumableEpoch:
    policy = Policy(sampling_temperature=temperature)
    data = dataset(data_bin, policy, seed=batching.seed, kind=FairseqWordExchangeDataset)
    data.set_epoch(EPOCH)
    kept = {**KEPT, "sampling_temperature": temperature}
    return ResumableEpoch(
        data, EPOCH, batching, kept, longest, collate_fn=lambda pairs: [p.index for p in pairs], shard_id=process
    )


def use(
    data_bin: Path, batching: Batching, updates: int | None, state: dict[str, Any] | None, temperature: float = 1.0
) -> tuple[Counter, dict[str, Any]]:
    """Trains all processes for so many updates (None: to the end): the pairs that they got, and the state of rank 0."""
    used: Counter = Counter()
    for process in reversed(range(batching.processes)):
        epoch = epoch_of(data_bin, batching, process, temperature)
        if state is not None:
            epoch.load_state_dict(state)
        iterator = epoch.next_epoch_itr()
        count = len(iterator) if updates is None else updates * batching.update_freq
        for _ in range(count):
            if iterator.has_next():
                used.update(next(iterator) or [])
        after = epoch.state_dict()
    return used, after


BATCHINGS = st.builds(
    Batching,
    st.sampled_from([None, 60, 150]),
    st.integers(1, 40),
    st.integers(1, 3),
    st.integers(1, 3),
    st.just(5),
)


@pytest.mark.filterwarnings("ignore:'pin_memory'")
@settings(max_examples=25, deadline=None)
@given(parts=st.lists(st.tuples(BATCHINGS, st.integers(1, 2)), min_size=1, max_size=3), last=BATCHINGS)
def test_every_pair_is_used_once_however_often_the_batches_change(
    small_data_bin: Path, parts: list[tuple[Batching, int]], last: Batching
) -> None:
    whole, _ = use(small_data_bin, BY_16, None, None)
    state: dict[str, Any] | None = None
    used: Counter = Counter()
    for batching, updates in parts:
        now, after = use(small_data_bin, batching, updates, state)
        used += now
        if after["epoch"] != EPOCH:  # the epoch is over
            assert used == whole
            return
        state = after
    used += use(small_data_bin, last, None, state)[0]
    assert used == whole


@pytest.mark.filterwarnings("ignore:'pin_memory'")
def test_pairs_that_are_drawn_several_times_are_used_as_often(small_data_bin: Path) -> None:
    whole, _ = use(small_data_bin, BY_16, None, None, 5.0)
    first, state = use(small_data_bin, BY_16, 3, None, 5.0)
    rest, _ = use(small_data_bin, BY_16._replace(batch_size=7), None, state, 5.0)
    assert first + rest == whole
    with pytest.raises(InputError, match="must keep its --seed within an epoch, but it was 5 and is 6"):
        use(small_data_bin, BY_16._replace(seed=6), None, state, 5.0)


@pytest.mark.filterwarnings("ignore:'pin_memory'")
def test_another_seed_changes_the_order_of_what_is_left(small_data_bin: Path) -> None:
    first, state = use(small_data_bin, BY_16, 4, None)
    rest, _ = use(small_data_bin, BY_16._replace(seed=6), None, state)
    assert first + rest == use(small_data_bin, BY_16, None, None)[0]


@pytest.mark.filterwarnings("ignore:'pin_memory'")
def test_the_same_batches_resume_as_in_fairseq(small_data_bin: Path) -> None:
    _, state = use(small_data_bin, BY_16, 4, None)
    resumed = epoch_of(small_data_bin, BY_16)
    resumed.load_state_dict(state)
    assert resumed.iterations_in_epoch == 4
    whole = epoch_of(small_data_bin, BY_16).ordered_batches(EPOCH, False, True)
    assert [list(batch) for batch in whole[4:]] == list(resumed.next_epoch_itr())


@pytest.mark.filterwarnings("ignore:'pin_memory'")
def test_the_log_says_what_changed_and_how_much_is_left(small_data_bin: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, state = use(small_data_bin, BY_16, 5, None)
    with caplog.at_level("INFO", "weam_fairseq.plugin.resume"):
        assert epoch_of(small_data_bin, BY_16._replace(batch_size=30, processes=2)).batches_left(state) == 2
    assert "--batch-size 30 (was 16), number of processes 2 (was 1); 80 of its 180 pairs have been used" in caplog.text
    assert "the other 100 follow in 4 batches" in caplog.text


@pytest.mark.filterwarnings("ignore:'pin_memory'")
@pytest.mark.parametrize(
    ("name", "other"),
    [("objective", "tlm"), ("pairs", ["en-de"]), ("sampling_temperature", 2.0), ("cp_head", "own")],
)
def test_changes_of_fixed_options_are_refused_by_name(small_data_bin: Path, name: str, other: Any) -> None:
    for updates in (3, None):  # within an epoch and at its end
        _, state = use(small_data_bin, BY_16, updates, None)
        state["weam"]["kept"] = {**KEPT, name: other}
        with pytest.raises(InputError, match=f"must keep its --{name.replace('_', '-')}, .*--finetune-from-model"):
            epoch_of(small_data_bin, BY_16).load_state_dict(state)


@pytest.mark.filterwarnings("ignore:'pin_memory'")
def test_other_data_are_refused_within_an_epoch(small_data_bin: Path, make_data_bin: Callable[..., Path]) -> None:
    other = make_data_bin({pair: {"train": random_examples(60, seed + 30)} for seed, pair in enumerate(PAIRS)})
    _, state = use(small_data_bin, BY_16, 3, None)
    with pytest.raises(InputError, match=r"must keep its data, .*epoch 2 .*--reset-dataloader"):
        epoch_of(other, BY_16).load_state_dict(state)
    _, state = use(small_data_bin, BY_16, None, None)
    epoch_of(other, BY_16).load_state_dict(state)


# weam-train ----------------------------------------------------------------------------------------------------------


def saved(args: Namespace, updates: int, place: dict[str, Any], **before: Any) -> Start:
    """A checkpoint_last.pt that a run with these options has left."""
    path = Path(args.save_dir, checkpoints.LAST)
    path.parent.mkdir(exist_ok=True)
    model = Namespace(**{**vars(args), "encoder_config": '{"model_type": "bert"}', **before})
    history = [{"num_updates": updates}]
    torch.save(
        {"model": {}, "cfg": {"model": model}, "optimizer_history": history, "extra_state": {"train_iterator": place}},
        path,
    )
    return Start(["bin"], str(path))


@pytest.mark.parametrize(
    ("before", "sentence"),
    [
        (
            {"objective": "tlm"},
            "must keep its --objective, but .*checkpoint_last.pt was trained with tlm, and now it is",
        ),
        ({"optimizer": "adam"}, "must keep its --optimizer, .*add --reset-optimizer"),
        ({"lr_scheduler": "fixed"}, "must keep its --lr-scheduler, .*add --reset-lr-scheduler"),
    ],
)
def test_another_method_or_optimizer_is_refused_before_anything_is_loaded(
    parsed: Callable[..., Namespace],  # noqa: F811
    small_data_bin: Path,
    before: dict[str, str],
    sentence: str,
) -> None:
    args = parsed(small_data_bin, "--batch-size 16 --max-update 9")
    with pytest.raises(InputError, match=sentence):
        follow_checkpoint(saved(args, 3, {"epoch": 1}, **before), args)


def test_other_options_are_reported(
    parsed: Callable[..., Namespace],  # noqa: F811
    small_data_bin: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    args = parsed(small_data_bin, "--batch-size 16 --max-update 9 --mask-prob 0.2 --lr 0.3")
    follow_checkpoint(saved(args, 3, {"epoch": 1}, mask_prob=0.3, lr=[0.1], log_interval=7), args)
    said = capsys.readouterr().out
    assert "with other options: --lr 0.3 (was 0.1), --mask-prob 0.2 (was 0.3)\n" in said


@pytest.mark.parametrize("name", BATCHES)
def test_a_checkpoint_that_does_not_say_what_it_used_is_refused_with_other_batches(
    parsed: Callable[..., Namespace],  # noqa: F811
    small_data_bin: Path,
    name: str,
) -> None:
    args = parsed(small_data_bin, "--batch-size 16 --max-update 9")
    place = {"epoch": 1, "iterations_in_epoch": 3}
    follow_checkpoint(saved(args, 3, place), args)
    with pytest.raises(InputError, match=f"{option(name)} changed. Give the old value"):
        follow_checkpoint(saved(args, 3, place, **{name: 99}), args)


@pytest.mark.filterwarnings("ignore:'pin_memory'")
def test_the_schedule_spans_what_was_made_and_what_is_left(
    parsed: Callable[..., Namespace],  # noqa: F811
    small_data_bin: Path,
) -> None:
    """180 pairs: 6 updates of 16 leave 84, which are 3 of 40; the second epoch has 5."""
    args = parsed(small_data_bin, "--batch-size 40 --max-epoch 2")
    by_16 = Batching(None, 16, 1, 1, 3)
    data = dataset(small_data_bin, Policy(), seed=3, kind=FairseqWordExchangeDataset)
    data.set_epoch(1)
    epoch = ResumableEpoch(data, 1, by_16, KEPT, None, collate_fn=len, shard_id=0)
    iterator = epoch.next_epoch_itr()
    for _ in range(6):
        next(iterator)
    begun = saved(args, 6, epoch.state_dict(), batch_size=16, total_num_update=24.0)
    assert "--total-num-update 14" in " ".join(follow_checkpoint(begun, args).arguments).replace("  ", " ")
    # The same options: the same schedule, also where updates were left out for an overflow.
    args = parsed(small_data_bin, "--batch-size 16 --max-epoch 2")
    seen = checkpoints.glance(Path(saved(args, 5, epoch.state_dict(), total_num_update=24.0).checkpoint or ""))
    assert schedule.total_updates(args, seen)[0] == 24
