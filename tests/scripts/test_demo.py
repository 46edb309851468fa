"""The demo's config is a study, and its short form differs in sizes only."""

from pathlib import Path

import demo

from weam_fairseq.study.config import read_config


def test_the_demo_is_a_study_and_its_short_form_too(tmp_path: Path) -> None:
    config, short = read_config(demo.CONFIG), read_config(demo.shortened(tmp_path))
    assert config.grid[0].objective == short.grid[0].objective == ("mlm", "tlm", "weam", "shuffled")
    assert list(config.pair_sets["3"]) == demo.PAIRS
    assert config.data == short.data
    assert config.evaluations == short.evaluations
    updates = [(each.base_options("weam_tiny")["max-update"], each.continued["max-update"]) for each in (config, short)]
    assert updates == [(800, 200), demo.SHORT_UPDATES]
