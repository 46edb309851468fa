"""The demo's configs are studies of the pairs that demo.py prepares, and name the encoder that it writes."""

import demo

from weam_fairseq.study.config import read_config


def test_the_demo_compares_a_published_encoder_with_what_it_becomes() -> None:
    config = read_config(demo.CONFIGS / "demo.yaml")
    assert config.grid[0].objective == ("tlm", "weam", "shuffled")
    assert config.baseline == "base"
    assert config.model("e5-small").from_hf == demo.ENCODER
    assert list(config.pair_sets["3"]) == demo.PAIRS


def test_its_short_form_trains_a_toy_on_the_same_pairs() -> None:
    config, short = read_config(demo.CONFIGS / "demo.yaml"), read_config(demo.CONFIGS / "demo_short.yaml")
    assert short.grid[0].objective == ("mlm", "tlm", "weam", "shuffled")
    assert short.pair_sets == config.pair_sets
    assert [each.data for each in short.evaluations] == [each.data for each in config.evaluations]
    assert short.base_options("weam_tiny")["max-update"] + int(str(short.continued["max-update"])) <= 100
