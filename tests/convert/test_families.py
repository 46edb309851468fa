"""Every masked-LM family of transformers: rows through its own head equal the whole model's, or one sentence says why.

A family that a later release adds is taken for a fast one until its line is written.
"""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from published_folders import ROWS, randomize, tiny_config
from torch import Tensor
from transformers import AutoConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.tokenizers import max_pieces
from weam_fairseq.convert.from_hf import without_head
from weam_fairseq.encoder.configs import first_layers, parse_config, plain_config
from weam_fairseq.encoder.faster_parts import use_faster_parts
from weam_fairseq.encoder.huggingface import (
    MaskedLM,
    UnsupportedModel,
    build,
    check_batch,
    first_position,
    longest_sequence,
    masked_lm_class,
    skeleton,
    with_own_head,
)
from weam_fairseq.plugin.model import WeamModel

# The head ends in one matrix, so that the loss is computed without all logits at once; or it does not.
FAST, SLOW = "fast", "slow"
DOES = {
    **dict.fromkeys(MODEL_FOR_MASKED_LM_MAPPING_NAMES, FAST),
    **dict.fromkeys(("esm", "mobilebert"), SLOW),
    **{name: f"must be an encoder, but {name} is an encoder-decoder" for name in ("bart", "mbart", "mvp")},
    **dict.fromkeys(("modernvbert", "neomme", "perceiver", "ultravbert"), "must take text alone, but .* takes images"),
    "layoutlm": "must take text alone, but LayoutLMForMaskedLM takes positions on a page",
    "tapas": "must take text alone, but TapasForMaskedLM takes rows and columns of a table",
    "mra": "must work on any machine, but the attention of mra is zero",
    "reformer": "must train on sequences of any length, but a reformer needs multiples",
}
EQUAL = [family for family, does in DOES.items() if does in (FAST, SLOW)]


def gradients(model: Any, logits: Tensor) -> dict[str, Tensor]:
    model.zero_grad(set_to_none=True)
    F.cross_entropy(logits, torch.arange(len(logits)) * 7 % ROWS).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def through_the_head(masked_lm: MaskedLM, inputs: dict[str, Tensor], rows: Tensor) -> Tensor:
    """(M, V) logits of M rows of a batch."""
    states = masked_lm.states(inputs).flatten(0, 1)[rows]
    return F.linear(*masked_lm.project(states)) if masked_lm.stops_before_projection else masked_lm.logits(states)


@pytest.mark.parametrize("family", EQUAL)
def test_logits_and_gradients_of_chosen_rows_are_those_of_the_whole_model(family: str) -> None:
    model = randomize(build(tiny_config(family))).eval()
    masked_lm = MaskedLM(model)
    assert masked_lm.check() <= 1e-6
    assert masked_lm.stops_before_projection == (DOES[family] == FAST)
    inputs, real = check_batch(model, masked_lm.takes)
    rows = real.flatten().nonzero().flatten()[::3]
    full = masked_lm.full_logits(inputs)
    expected = gradients(model, full.flatten(0, 1)[rows])
    assert max(float(value.abs().max()) for value in expected.values()) > 0.01
    assert masked_lm.unused == [name for name, _ in model.named_parameters() if name not in expected]

    parts = use_faster_parts(model)
    assert torch.equal(masked_lm.full_logits(inputs), full), parts.describe()
    found = gradients(model, through_the_head(masked_lm, inputs, rows))
    assert sorted(found) == sorted(expected)
    for name, value in expected.items():
        assert (found[name] - value).abs().max() <= 1e-6 * value.abs().max().clamp_min(1), name

    trained = gradients(model.train(), through_the_head(masked_lm, inputs, rows))
    assert sorted(trained) == sorted(expected)
    assert all(bool(value.isfinite().all()) for value in trained.values())


@pytest.mark.parametrize("cp_head", ["shared", "own"])
@pytest.mark.parametrize("family", ["big_bird", "longformer", "luke", "roformer"])
def test_what_no_logit_depends_on_is_never_trained(family: str, cp_head: str) -> None:
    model = WeamModel(build(tiny_config(family)), "00" * 32, "00" * 32, head_first=1, cp_head=cp_head)
    names = {f"masked_lm.{name}" for name in model.predictor.unused}
    assert any("pooler" in name or "entity" in name or "global" in name or "positions" in name for name in names)
    for update in (0, 1, 2):
        model.set_num_updates(update)
        trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert not trained & names
    names |= {name.replace("masked_lm.", "own_head.", 1) for name in names}
    assert not trained & names
    assert {name for name, _ in model.named_parameters()} <= trained | names


@pytest.mark.parametrize("family", EQUAL)
def test_the_first_layers_are_a_smaller_model_of_the_same_family(family: str) -> None:
    config = tiny_config(family, num_hidden_layers=2)
    values = plain_config(config)
    first = first_layers(values, 1)
    if family == "funnel":
        with pytest.raises(InputError, match="Please set `block_sizes`"):
            parse_config(first)
        return
    whole, cut = skeleton(config), skeleton(parse_config(first))
    assert set(cut.state_dict()) < set(whole.state_dict()) or family == "albert"  # its layers share their weights
    assert type(cut) is type(whole)
    kept = without_head(cut)
    assert {name for name in cut.state_dict() if name.startswith(f"{cut.base_model_prefix}.")} <= kept


@pytest.mark.parametrize("family", EQUAL)
def test_a_new_model_has_no_uninitialized_memory(family: str) -> None:
    torch.use_deterministic_algorithms(True)  # fills new memory with NaN
    try:
        model = build(tiny_config(family))
    finally:
        torch.use_deterministic_algorithms(False)
    assert [name for name, value in model.named_parameters() if not value.isfinite().all()] == []


def test_the_page_names_the_families_that_train() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "conversion.md").read_text(encoding="utf-8")
    table = page.split("## Which encoders")[1].split("Every import")[0]
    assert [family for family in EQUAL if not re.search(rf"(?<![\w-]){family}(?![\w-])", table)] == []
    assert f"these are {len(EQUAL)} of {len(DOES)} families" in table


@pytest.mark.parametrize("family", sorted({*DOES} - {*EQUAL}))
def test_an_unsupported_family_is_refused_in_one_sentence(family: str) -> None:
    with pytest.raises(UnsupportedModel, match=f"^X {DOES[family]}") as refused:
        masked_lm_class(tiny_config(family), "X")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("family", EQUAL)
def test_the_longest_sequence_runs(family: str) -> None:
    model = build(tiny_config(family)).eval()
    longest = longest_sequence(model) or 70
    assert longest == (longest_sequence(skeleton(tiny_config(family))) or 70)
    assert longest > 60
    tokens = torch.arange(longest)[None] % 50 + 4
    with torch.no_grad():
        assert MaskedLM(model).full_logits({"input_ids": tokens}).shape == (1, longest, ROWS)


@pytest.mark.parametrize(
    ("family", "options", "sentence"),
    [
        ("gpt2", {}, "X must be a masked language model, but model_type 'gpt2' has no masked-LM class"),
        ("t5", {}, "X must be a masked language model, but model_type 't5' has no masked-LM class"),
        ("bert", {"is_decoder": True}, "X must look at both sides of a piece, but its config sets is_decoder"),
        ("xmod", {"default_language": None}, "A model must run on pieces and an attention mask alone, .* language"),
    ],
)
def test_other_models_are_refused_in_one_sentence(family: str, options: dict[str, Any], sentence: str) -> None:
    config = tiny_config(family, **options) if family in DOES else AutoConfig.for_model(family)
    with pytest.raises(UnsupportedModel, match=sentence):
        MaskedLM(build(config, "X")).check()


@pytest.mark.parametrize("family", EQUAL)
def test_the_longest_input_is_that_of_the_position_table(family: str) -> None:
    config = tiny_config(family)
    endless = SimpleNamespace(model_max_length=10**30)
    assert max_pieces(config, endless) == (longest_sequence(skeleton(config, "The encoder")) or 2**31 - 1)


@pytest.mark.parametrize("family", ["bert", "eurobert", "modernbert", "electra", "xlm"])
def test_a_second_head_has_the_logits_of_the_first(family: str) -> None:
    model = randomize(build(tiny_config(family))).eval()
    first, second = MaskedLM(model), MaskedLM(model, with_own_head(model))
    states = torch.randn(3, model.config.hidden_size, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(F.linear(*second.project(states)), F.linear(*first.project(states)))


def test_positions_that_a_model_ignores_cannot_restart() -> None:
    config = tiny_config("deberta-v2")
    config.position_biased_input, config.relative_attention = False, True
    with pytest.raises(UnsupportedModel, match="takes position ids, but DebertaV2ForMaskedLM ignores"):
        first_position(MaskedLM(randomize(build(config)).eval()))
