"""Which pairs of languages one model can have: without English, in both directions, sharing a language."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hand_made_data_bin import random_examples
from run_training import arguments, train
from test_dataset import dataset

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.training_log import parse_log
from weam_fairseq.method.policy import Policy
from weam_fairseq.plugin.task import WeamTask, WeamTaskConfig

PAIRS = ["en-de", "de-zh", "de-en"]


@pytest.fixture
def data_bin(make_data_bin: Callable[..., Path]) -> Path:
    """de is in all three pairs, and de-en has other sentences than en-de."""
    return make_data_bin(
        {p: {"train": random_examples(12, seed), "valid": random_examples(4, seed)} for seed, p in enumerate(PAIRS)}
    )


def test_pairs_that_share_a_language_are_kept_apart(data_bin: Path) -> None:
    data = dataset(data_bin, Policy(), PAIRS)
    for number, pair in enumerate(PAIRS):
        examples = random_examples(12, number)
        found = [data[12 * number + k] for k in range(12)]
        assert [p.language_pair for p in found] == [number] * 12, pair
        assert [p.links.tolist() for p in found] == [[list(link) for link in example[2]] for example in examples]
        assert [len(p.source) for p in found] == [len(example[0]) for example in examples]
    assert data[0].source.tolist() != data[24].target.tolist(), "de-en is not en-de turned round"


def test_every_pair_is_trained_and_logged(data_bin: Path, tmp_path: Path) -> None:
    result = train(arguments(data_bin, tmp_path / "run", 3, "--no-save"))
    assert result.returncode == 0, result.stderr
    log = parse_log(result.stdout.splitlines())
    assert sorted(log.train) == [1, 2, 3]
    assert log.valid
    for figures in (log.train, log.valid):
        named = {name for of_update in figures.values() for name in of_update}
        assert {f"{pair}:{name}" for pair in PAIRS for name in ("mp_loss", "cp_loss", "linked_share")} <= named


def test_a_pair_of_one_language_with_itself_is_refused(make_data_bin: Callable[..., Path]) -> None:
    examples = {"train": random_examples(4, 1)}
    data_bin = make_data_bin({"en-de": examples, "en-en": examples})
    with pytest.raises(InputError, match=r"must join two languages, but .* holds en-en\. Leave it out with --pairs"):
        WeamTask.setup_task(WeamTaskConfig(data=str(data_bin), seed=1))
    assert WeamTask.setup_task(WeamTaskConfig(data=str(data_bin), seed=1, pairs="en-de")).pairs == ["en-de"]
