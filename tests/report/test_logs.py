"""fairseq's JSON log, as it comes after an interruption."""

from hypothesis import given
from hypothesis import strategies as st

from weam_fairseq.report.logs import Curve, parse_log

TRAIN = '2026-11-22 17:01:02 | INFO | train_inner | {"epoch": 1, "en-de:mp_loss": "%s", "num_updates": "%d"}'
VALID = '2026-11-22 17:01:02 | INFO | valid | {"epoch": 1, "valid_en-de:cp_loss": "%s", "valid_num_updates": "%d"}'


def test_the_last_line_of_an_update_wins() -> None:
    log = parse_log(
        [
            "2026-11-22 17:01:00 | INFO | fairseq_cli.train | {'not': 'a figure'}",
            TRAIN % ("9.5", 50) + "\n",
            TRAIN % ("8.5", 100),
            VALID % ("8.0", 100),
            TRAIN % ("7.9", 150),  # lost: the training was interrupted and went on from update 100
            '2026-11-22 17:01:02 | INFO | train_inner | {"epoch": 1, "en-de:mp_l',
            "Loaded checkpoint checkpoint_last.pt (epoch 1 @ 100 updates)",
            TRAIN % ("7.5", 150),
            TRAIN % ("7.0", 200),
            VALID % ("7.25", 200),
        ]
    )
    assert log.curve("train", "en-de:mp_loss") == Curve([50, 100, 150, 200], [9.5, 8.5, 7.5, 7.0])
    assert log.curve("valid", "en-de:cp_loss") == Curve([100, 200], [8.0, 7.25])
    assert log.pairs() == ["en-de"]


def test_numbers_come_as_strings_or_numbers_and_other_values_are_left_out() -> None:
    log = parse_log(
        ['x | train_inner | {"num_updates": 5, "loss": 2, "ppl": "inf", "clip": null, "ok": true, "s": "a"}']
    )
    assert log.train == {5: {"num_updates": 5.0, "loss": 2.0, "ppl": float("inf")}}


def test_a_figure_that_is_not_logged_is_an_empty_curve() -> None:
    assert parse_log([VALID % ("8.0", 100)]).curve("train", "en-de:mp_loss") == Curve([], [])


@given(st.lists(st.text(), max_size=8))
def test_any_other_text_is_no_figure(lines: list[str]) -> None:
    assert parse_log(lines).train == {}
