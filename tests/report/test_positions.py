"""Where a model of a study stands, and what it is compared with."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.report.studies import PAIR_SETS, cell
from weam_fairseq.report.positions import Positions, StudySetting, find_positions
from weam_fairseq.report.study_folder import Cost, StudyCell

ONE, THREE = PAIR_SETS[1], PAIR_SETS[3]


def _cell(
    objective: str, pairs: list[str] | tuple[str, ...], arch: str = "weam_tiny", seed: int = 1, **own: Any
) -> StudyCell:
    line = cell(objective, pairs, arch, seed, **own)
    return StudyCell(
        name=line["cell"],
        model=line["model"],
        seed=seed,
        objective=objective,
        pairs=tuple(pairs),
        arch=arch,
        aligner=line["aligner"],
        symmetrize=line["symmetrize"],
        options=line["options"],
        group=line["group"],
        cost=Cost(**line["cost"]),
        machine=None,
        train_log=None,
    )


def _named(positions: Positions) -> dict[str, tuple[str, str]]:
    return {model: (position.method, position.setting.name) for model, position in positions.of.items()}


def _baseline_of(positions: Positions, model: str) -> str | None:
    return positions.baselines.get(positions.of[model].setting)


def test_same_pairs_and_architecture_are_one_setting_in_any_order_of_pairs() -> None:
    cells = [_cell("weam", THREE), _cell("tlm", THREE[::-1]), _cell("tlm", ONE), _cell("tlm", THREE, "weam_mini")]
    positions = find_positions(cells, "tlm")
    assert _named(positions) == {
        "tlm · 1 pair · weam_tiny": ("tlm", "1 pair · weam_tiny"),
        "tlm · 3 pairs · weam_tiny": ("tlm", "3 pairs · weam_tiny"),
        "weam · 3 pairs · weam_tiny": ("weam", "3 pairs · weam_tiny"),
        "tlm · 3 pairs · weam_mini": ("tlm", "3 pairs · weam_mini"),
    }
    # Small architectures first, few pairs first, the baseline first.
    assert list(positions.of) == list(_named(positions))
    assert [position.model for position in positions.compared] == ["weam · 3 pairs · weam_tiny"]
    assert _baseline_of(positions, "weam · 3 pairs · weam_tiny") == "tlm · 3 pairs · weam_tiny"


def test_options_about_links_are_the_methods_and_others_the_settings() -> None:
    cells = [
        _cell("tlm", ONE),
        _cell("weam", ONE),
        _cell("weam", ONE, model="fast", aligner="fast_align"),
        _cell("weam", ONE, model="half", options={"cp-weight": 0.5}),
        _cell("weam", ONE, model="own", options={"skip-identical": True}),
        _cell("tlm", ONE, model="tlm less", options={"mask-prob": 0.15}),
        _cell("weam", ONE, model="weam less", options={"mask-prob": 0.15}),
    ]
    positions = find_positions(cells, "tlm")
    assert _named(positions) == {
        "tlm · 1 pair · weam_tiny": ("tlm", "1 pair · weam_tiny"),
        "weam · 1 pair · weam_tiny": ("weam", "1 pair · weam_tiny"),
        "fast": ("weam · fast_align", "1 pair · weam_tiny"),
        "half": ("weam · cp-weight 0.5", "1 pair · weam_tiny"),
        "own": ("weam · skip-identical", "1 pair · weam_tiny"),
        "tlm less": ("tlm", "1 pair · weam_tiny · mask-prob 0.15"),
        "weam less": ("weam", "1 pair · weam_tiny · mask-prob 0.15"),
    }
    assert {_baseline_of(positions, model) for model in ("fast", "half", "own")} == {"tlm · 1 pair · weam_tiny"}
    assert _baseline_of(positions, "weam less") == "tlm less"
    assert positions.usual == {
        "aligner": "eflomal",
        "mask-prob": "default",
        "cp-weight": "default",
        "skip-identical": "default",
    }


def test_a_second_baseline_of_one_setting_is_compared_with_the_first() -> None:
    cells = [_cell("tlm", ONE), _cell("tlm", ONE, model="again", aligner="fast_align"), _cell("weam", ONE)]
    positions = find_positions(cells, "tlm")
    assert len({(position.setting, position.method) for position in positions.of.values()}) == 3
    assert set(positions.baselines.values()) == {"tlm · 1 pair · weam_tiny"}
    assert "again" in [position.model for position in positions.compared]


def test_a_baseline_that_reads_links_must_read_the_same() -> None:
    cells = [
        _cell("weam", ONE),
        _cell("shuffled", ONE),
        _cell("weam", ONE, model="fast", aligner="fast_align"),
        _cell("shuffled", ONE, model="fast shuffled", aligner="fast_align"),
        _cell("tlm", ONE),
    ]
    positions = find_positions(cells, "shuffled")
    assert _baseline_of(positions, "fast") == "fast shuffled"
    assert _baseline_of(positions, "weam · 1 pair · weam_tiny") == "shuffled · 1 pair · weam_tiny"
    assert _baseline_of(positions, "tlm · 1 pair · weam_tiny") == "shuffled · 1 pair · weam_tiny"


def test_sets_of_as_many_pairs_are_told_apart() -> None:
    cells = [_cell("tlm", ONE), _cell("tlm", ["en-zh"], model="far"), _cell("tlm", THREE), _cell("base", THREE)]
    names = {position.setting.pairs_name for position in find_positions(cells, "tlm").of.values()}
    assert names == {"1 pair a", "1 pair b", "3 pairs", "no pairs"}


def test_seen_languages() -> None:
    setting = StudySetting(("en-de", "en-zh"), "2 pairs", "weam_tiny", "")
    assert [setting.has_seen(each) for each in ("de", "en", "zh", "es")] == [True, True, True, False]
    assert [setting.has_seen(each) for each in ("de-en", "zh-de", "en-es")] == [True, True, False]


KINDS = st.tuples(
    st.sampled_from(["tlm", "weam", "shuffled", "mlm"]),
    st.sampled_from([tuple(ONE), tuple(THREE), ("en-es",)]),
    st.sampled_from(["weam_tiny", "weam_mini"]),
    st.sampled_from(["eflomal", "fast_align"]),
    st.sampled_from([{}, {"cp-weight": 0.5}, {"mask-prob": 0.15}]),
)


@given(st.lists(KINDS, min_size=1, max_size=12, unique_by=str))
def test_every_model_has_a_place_of_its_own_and_a_baseline_of_its_setting(kinds: list[Any]) -> None:
    cells = [
        _cell(objective, pairs, arch, model=f"m{number}", cell=f"c{number}", aligner=aligner, options=options)
        for number, (objective, pairs, arch, aligner, options) in enumerate(kinds)
    ]
    positions = find_positions(cells, "tlm")
    assert set(positions.of) == {each.model for each in cells}
    assert len({(position.setting, position.method) for position in positions.of.values()}) == len(cells)
    objectives = {each.model: each for each in cells}
    for position in positions.compared:
        baseline = objectives[positions.baselines[position.setting]]
        own = objectives[position.model]
        assert baseline.objective == "tlm"
        assert (set(baseline.pairs), baseline.arch) == (set(own.pairs), own.arch)
        assert baseline.options.get("mask-prob") == own.options.get("mask-prob")
