"""fast_align in arrays: against a slow reference written from the equations, and properties of any text."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from weam_preprocess.aligners import diagonal_model
from weam_preprocess.aligners.diagonal_model import Model, apply, exp_digamma, feature, mean_feature, read_text, train

Pair = tuple[list[str], list[str]]
NULL = ""


def lines_of(pairs: list[Pair]) -> list[bytes]:
    return [f"{' '.join(source)} ||| {' '.join(target)}\n".encode() for source, target in pairs]


def digamma(x: float) -> float:
    """The recurrence up to 30, then the asymptotic series."""
    shift = 0.0
    while x < 30:
        shift, x = shift - 1 / x, x + 1
    return shift + math.log(x) - 1 / (2 * x) - 1 / (12 * x**2) + 1 / (120 * x**4)


class Reference:
    """One direction, word by word: target words from source words."""

    def __init__(self, pairs: list[Pair]) -> None:
        self.pairs = [pair for pair in pairs if all(pair)]
        self.tension = 4.0
        seen = {(s, t) for source, target in pairs for s, t in product([NULL, *source], target)}
        self.probability = dict.fromkeys(seen, 1.0)

    def prior(self, n: int, m: int, j: int) -> list[float]:
        weights = [math.exp(-self.tension * abs(i / n - j / m)) for i in range(1, n + 1)]
        return [0.92 * weight / sum(weights) for weight in weights]

    def posteriors(self, pair: Pair) -> list[list[float]]:
        """For each target word: of no word, then of each source word."""
        source, target = pair
        found = []
        for j, word in enumerate(target, start=1):
            prior = [0.08, *self.prior(len(source), len(target), j)]
            joint = [p * self.probability[given, word] for p, given in zip(prior, [NULL, *source], strict=True)]
            found.append([value / sum(joint) for value in joint])
        return found

    def maximize(self, counts: dict[tuple[str, str], float], with_tension: bool) -> None:
        if with_tension:
            self._set_tension()
        totals: dict[str, float] = defaultdict(float)
        for s, t in self.probability:
            totals[s] += counts.get((s, t), 0.0) + 0.01
        for s, t in self.probability:
            value = math.exp(digamma(counts.get((s, t), 0.0) + 0.01) - digamma(totals[s]))
            self.probability[s, t] = max(value, 1e-9)

    def _set_tension(self) -> None:
        words = sum(len(target) for _, target in self.pairs)
        observed = 0.0
        for pair in self.pairs:
            n, m = map(len, pair)
            for j, row in enumerate(self.posteriors(pair)):  # from 0, as the program counts it
                observed += sum(-abs(i / n - j / m) * p for i, p in enumerate(row) if i)
        for _ in range(8):
            model = 0.0
            for source, target in self.pairs:
                n, m = len(source), len(target)
                for j in range(1, m + 1):
                    model += sum(-abs(i / n - j / m) * p / 0.92 for i, p in enumerate(self.prior(n, m, j), start=1))
            self.tension = min(max(self.tension + 20 * (observed - model) / words, 0.1), 14.0)


def reference(pairs: list[Pair], agreement: bool) -> tuple[Reference, Reference]:
    models = Reference(pairs), Reference([(target, source) for source, target in pairs])
    for number in range(4):
        counts: list[dict[tuple[str, str], float]] = [defaultdict(float), defaultdict(float)]
        for pair in models[0].pairs:
            found = [models[0].posteriors(pair), models[1].posteriors(pair[::-1])]
            for which, (source, target) in enumerate((pair, pair[::-1])):
                for j, word in enumerate(target):
                    linked = [found[which][j][i + 1] for i in range(len(source))]
                    if agreement and number >= 2:
                        linked = [p * found[1 - which][i][j + 1] for i, p in enumerate(linked)]
                    counts[which][NULL, word] += 1 - sum(linked)
                    for given_word, p in zip(source, linked, strict=True):
                        counts[which][given_word, word] += p
        for model, of in zip(models, counts, strict=True):
            model.maximize(of, with_tension=number > 0)
    return models


PAIRS: list[Pair] = [
    (["the", "house"], ["das", "Haus"]),
    (["the", "book", "is", "small"], ["das", "Buch", "ist", "klein"]),
    (["a", "book"], ["ein", "Buch"]),
    (["the", "the", "house"], ["Haus"]),
    (["a", "small", "house", "is", "a", "house"], ["ein", "kleines", "Haus", "ist", "Haus"]),
    ([], ["nichts"]),
]


@pytest.mark.parametrize("agreement", [False, True])
def test_probabilities_and_tensions_are_those_of_the_equations(agreement: bool) -> None:
    text, vocabulary = read_text(lines_of(PAIRS))
    model, _ = train(text, vocabulary, agreement)
    expected = reference(PAIRS, agreement)
    source, target = ([word.decode() for word in words] for words in vocabulary)
    rows = np.repeat(np.arange(len(source)), np.diff(model.rows))
    for direction, of in zip(model.directions, expected, strict=True):
        assert direction.tension == pytest.approx(of.tension, rel=1e-4)
        kept = set()
        for row, column, value in zip(rows, model.columns, direction.table[:-1], strict=True):
            key = (source[row], target[column])[:: 3 - 2 * direction.axis]
            kept.add(key)
            assert value == pytest.approx(of.probability[key], rel=1e-3, abs=2e-9)
        made = target if direction.axis == 1 else source
        for word, value in zip(made, direction.null[:-1], strict=True):
            assert value == pytest.approx(of.probability[NULL, word], rel=1e-3, abs=2e-9)
        left_out = {key for key in of.probability if key[0] != NULL} - kept
        assert all(of.probability[key] <= 2e-9 for key in left_out)


WORDS = st.lists(st.sampled_from(["a", "b", "c", "das", "ö", "x|||y", "0-0", "x" * 50]), max_size=7)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(WORDS, WORDS), max_size=8), st.booleans(), st.sampled_from(["intersect", "grow-diag", "union"])
)
@example([([], [])], True, "intersect")
@example([(["a"], ["b"])] * 50, True, "intersect")
def test_any_text_has_finite_tables_and_links_inside(pairs: list[Pair], agreement: bool, how: str) -> None:
    text, vocabulary = read_text(lines_of(pairs))
    model, links = train(text, vocabulary, agreement, how)
    assert links is not None
    for direction in model.directions:
        assert np.isfinite(direction.table).all()
        assert (direction.table > 0).all()
        assert 0.1 <= direction.tension <= 14
    assert len(links.sizes) == len(pairs)
    assert links.probabilities is not None
    assert ((links.probabilities > 0) & (links.probabilities <= 1)).all()
    for (source, target), item in zip(pairs, links.pairs(), strict=True):
        assert item.links == sorted(set(item.links))
        assert all(i < len(source) and j < len(target) for i, j in item.links)
        if how == "intersect":
            assert len({i for i, _ in item.links}) == len({j for _, j in item.links}) == len(item.links)


@pytest.mark.parametrize("how", ["intersect", "grow-diag-final-and", "forward"])
def test_a_saved_model_gives_the_links_of_its_training(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit, also in parts of a few pairs, and if one process does what two do elsewhere."""
    lines = lines_of(PAIRS * 3)
    text, vocabulary = read_text(lines)
    model, trained = train(text, vocabulary, True, how)
    model.save(tmp_path)
    (tmp_path / "words").write_bytes(b"".join(lines))
    monkeypatch.setattr(diagonal_model, "_SORTED", 20)
    parts = list(apply(Model.load(tmp_path), tmp_path / "words", how))
    assert len(parts) > 3
    monkeypatch.delattr("os.fork")
    _, alone = train(text, vocabulary, True, how)
    assert trained is not None
    for found in (diagonal_model.Links.joined(parts), alone):
        assert found is not None
        for one, other in zip(found, trained, strict=True):
            np.testing.assert_array_equal(one, other)


def test_words_that_were_never_seen_and_long_sentences(tmp_path: Path) -> None:
    """Unknown words are linked by their place; 1,000 words are no trouble."""
    text, vocabulary = read_text(lines_of([*PAIRS, ([f"s{n}" for n in range(1000)], [f"t{n}" for n in range(900)])]))
    model, _ = train(text, vocabulary)
    (tmp_path / "words").write_bytes(b"".join(lines_of([(["new", "words"], ["neue", "Wörter"]), (["the"], ["das"])])))
    (found,) = apply(model, tmp_path / "words", "intersect")
    assert [item.links for item in found.pairs()] == [[(0, 0), (1, 1)], [(0, 0)]]


def test_exp_digamma() -> None:
    x = np.array([1e-2, 0.3, 1.0, 2.5, 40.0, 1e6])
    expected = [math.exp(digamma(value)) for value in x]
    np.testing.assert_allclose(exp_digamma(x), expected, rtol=2e-5)
    np.testing.assert_allclose(exp_digamma(x.astype(np.float32))[1:], expected[1:], rtol=2e-5)


@given(st.integers(1, 60), st.integers(1, 60), st.floats(0.1, 14))
def test_the_closed_mean_of_the_feature_is_the_sum(n: int, m: int, tension: float) -> None:
    values = feature(n, m)
    weights = np.exp(tension * values)
    j = np.arange(1, m + 1)
    found = mean_feature(j, np.full(m, m), np.full(m, n), tension)
    np.testing.assert_allclose(found, (weights * values).sum(0) / weights.sum(0), rtol=1e-6, atol=1e-9)
