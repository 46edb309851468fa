"""The training loop: what it learns, the order it takes, and its learning rate."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.fine_tuning.classification import Choice, Classification, LabelledPair, MultipleChoice
from weam_fairseq.evaluation.fine_tuning.head import Arithmetic, Head, Rows, predict
from weam_fairseq.evaluation.fine_tuning.question_answering import QuestionAnswering
from weam_fairseq.evaluation.fine_tuning.questions import Answer, Question
from weam_fairseq.evaluation.fine_tuning.recipe import Recipe
from weam_fairseq.evaluation.fine_tuning.tagging import TaggedSentence, Tagging
from weam_fairseq.evaluation.fine_tuning.train import Progress, Store, batches_of_epoch, learning_rate, train
from weam_fairseq.evaluation.hf_folder import Folder, load_fine_tuned, put_head_on

from .conftest import SENTENCES

MACHINE = Arithmetic("cpu", "fp32", 0, 4)
RECIPE = Recipe(epochs=20, learning_rate=1e-2, batch_size=2, max_length=48, doc_stride=8)

WORDS = [sentence.split()[:5] for sentence in SENTENCES[:8:2]]
EXAMPLES: list[tuple[Head, Sequence[Any]]] = [
    (
        Classification(("no", "yes", "perhaps")),
        [LabelledPair(text, "the town", ("no", "yes", "perhaps")[n % 3]) for n, text in enumerate(SENTENCES[:8:2])],
    ),
    (
        MultipleChoice(),
        [Choice(text, ("the town", "a device"), n % 2) for n, text in enumerate(SENTENCES[:8:2])],
    ),
    (
        Tagging(("A", "B", "C")),
        [TaggedSentence(tuple(words), tuple("ABC"[(n + len(words[0])) % 3] for n in range(5))) for words in WORDS],
    ),
    (
        QuestionAnswering(),
        [
            Question(str(n), "what", f"{text} ok", (Answer(text.split()[n % 4], text.index(text.split()[n % 4])),))
            for n, text in enumerate(SENTENCES[:8:2])
        ],
    ),
]


def _train(
    folder: Folder, head: Head, examples: Sequence[Any], store: Store, recipe: Recipe = RECIPE, dev: Any = None
) -> tuple[Any, Progress]:
    import torch

    loaded = put_head_on(folder.path, head, 1, "cpu")
    for module in loaded.model.modules():  # what is tested is the wiring, not how hard a tiny model is to train
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    with torch.no_grad():
        for values in loaded.model.parameters():
            if values.dim() > 1:
                values.mul_(0.4)
    rows = head.rows(folder.tokenizer, examples, recipe, True)
    progress = train(loaded.model, head, rows, recipe, 1, MACHINE, store, dev, "test")
    return loaded.model, progress


@pytest.mark.parametrize(("head", "examples"), EXAMPLES, ids=[head.name for head, _ in EXAMPLES])
def test_every_head_learns_its_training_data_by_heart(
    head: Head, examples: Sequence[Any], folder: Folder, tmp_path: Path
) -> None:
    store = Store(tmp_path, head.name, {})
    store.begin()
    model, progress = _train(folder, head, examples, store)
    rows = head.rows(folder.tokenizer, examples, RECIPE, False)
    answers = predict(model, head, examples, rows, MACHINE, "test")
    assert answers == [head.gold(example) for example in examples]
    assert progress.loss[-1] < progress.loss[0] / 3
    # The folder that is left behind gives the same answers.
    store.finish(model, folder.path, {})
    assert predict(load_fine_tuned(store.path, head, "cpu"), head, examples, rows, MACHINE, "test") == answers


def test_the_epoch_that_is_best_on_dev_is_kept(folder: Folder, tmp_path: Path) -> None:
    import torch

    head, examples = EXAMPLES[0]
    figures, seen = iter([10.0, 30.0, 30.0, 20.0]), []

    def dev(model: Any) -> float:
        seen.append({name: values.clone() for name, values in model.state_dict().items()})
        return next(figures)

    store = Store(tmp_path, head.name, {})
    store.begin()
    model, progress = _train(folder, head, examples, store, Recipe(4, 1e-3, batch_size=4, max_length=48), dev)
    assert (progress.best, progress.dev) == (2, [10.0, 30.0, 30.0, 20.0])  # the earlier of equals
    assert all(torch.equal(values, seen[1][name]) for name, values in model.state_dict().items())
    assert not torch.equal(seen[1]["classifier.weight"], seen[3]["classifier.weight"])


def test_a_broad_label_asks_for_any_of_its_meanings() -> None:
    from types import SimpleNamespace

    import torch

    head = Classification(("no", "yes", "perhaps"), broad={"not_yes": ("no", "perhaps")})
    logits = torch.tensor([[1.0, 2.0, 3.0]])
    probability = logits.softmax(dim=-1)[0]
    output = SimpleNamespace(logits=logits)
    assert head.loss(output, [head._target("not_yes")]).item() == pytest.approx(
        -torch.log(probability[0] + probability[2]).item()
    )
    assert head.loss(output, [head._target("yes")]).item() == pytest.approx(-torch.log(probability[1]).item())


def test_pairs_without_a_label_are_left_out_of_training_and_counted(folder: Folder) -> None:
    head = Classification(("no", "yes"))
    rows = head.rows(folder.tokenizer, [LabelledPair("a", "b", "-"), LabelledPair("c", "d", "yes")], RECIPE, True)
    assert (len(rows), rows.notes["pairs_without_label"]) == (1, 1)
    with pytest.raises(InputError, match=r"The training data must have labels \(no, yes\), but no pair has one"):
        head.rows(folder.tokenizer, [LabelledPair("a", "b", "-")], RECIPE, True)


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path, "x", {})
    store.begin()
    (store.path / "state.pt").write_bytes(b"PK\x03\x04 truncated")
    with pytest.raises(InputError, match=r"state\.pt is damaged .* Remove it to train from the start"):
        store.load_state()


def test_the_folder_is_named_by_all_that_made_it(tmp_path: Path) -> None:
    paths = {Store(tmp_path, "x", {"seed": seed, "recipe": recipe}).path for seed in (1, 2) for recipe in "ab"}
    assert len(paths) == 4


@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=80),
    batch_size=st.integers(1, 9),
    seed=st.integers(0, 5),
    epoch=st.integers(0, 3),
)
def test_an_epoch_takes_every_unit_once(lengths: list[int], batch_size: int, seed: int, epoch: int) -> None:
    rows = Rows(ids=[[0] * length for length in lengths], origins=list(range(len(lengths))))
    batches = batches_of_epoch(rows, batch_size, seed, epoch)
    assert sorted(unit for batch in batches for unit in batch) == list(range(len(lengths)))
    assert len(batches) == -(-len(lengths) // batch_size)
    assert batches == batches_of_epoch(rows, batch_size, seed, epoch)


def test_orders_differ_between_epochs_and_seeds() -> None:
    rows = Rows(ids=[[0]] * 50, origins=list(range(50)))
    orders = {str(batches_of_epoch(rows, 5, seed, epoch)) for seed in (1, 2) for epoch in (0, 1)}
    assert len(orders) == 4


def test_learning_rate_is_transformers_linear_schedule() -> None:
    import torch
    from transformers import get_linear_schedule_with_warmup

    recipe = Recipe(epochs=1, learning_rate=0.5, warmup=500)
    updates, warmup = 60, 6  # a tenth of all updates at most
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    schedule = get_linear_schedule_with_warmup(optimizer, warmup, updates)
    for update in range(updates):
        assert learning_rate(recipe, update, updates) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
