"""Estimates how long a step takes: from finished steps of its kind, or, for trainings, by counting operations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from statistics import fmean
from typing import NamedTuple

from weam_fairseq.common.training_log import read_effort
from weam_fairseq.encoder.sizes import ARCHITECTURES
from weam_fairseq.method.objectives import OBJECTIVES
from weam_fairseq.study.config import Estimate
from weam_fairseq.study.plan import Plan
from weam_fairseq.study.step import Step, TrainingFacts

MASK_PROB = 0.3  # weam-train's default


class Forecast(NamedTuple):
    """`seconds`: as measured; `operations`: of a training. None: unknown."""

    seconds: float | None
    operations: float | None


class MeasuredCost:
    """Mean times of finished steps, from the most to the least similar ones.

    Args:
        planned: times by the name of an evaluation or the kind of a step, used if no similar step is finished.
    """

    def __init__(self, planned: Mapping[str, float]) -> None:
        self._planned = planned
        self._seconds: dict[tuple[object, ...], list[float]] = defaultdict(list)

    def add(self, step: Step, seconds: float) -> None:
        """Args: seconds: of an update for trainings, of the step for others."""
        for similarity in _similarities(step):
            self._seconds[similarity].append(seconds)

    def of(self, step: Step) -> float | None:
        found = next((self._seconds[each] for each in _similarities(step) if each in self._seconds), None)
        if found is not None:
            return fmean(found)
        return next((self._planned[name] for name in (_evaluation(step), step.kind) if name in self._planned), None)


def _evaluation(step: Step) -> str:
    """The evaluation's name in the config; empty for other steps."""
    return step.id.rsplit("/", 1)[-1].rpartition("-")[0] if step.kind == "evaluate" else ""


def _similarities(step: Step) -> list[tuple[object, ...]]:
    if step.training is not None:
        training = step.training
        # Updates of another architecture take another time.
        return [
            ("update", training.arch, training.is_base, training.objective),
            ("update", training.arch, training.is_base),
            ("update", training.arch),
        ]
    name = step.id.rsplit("/", 1)[-1] if step.kind == "evaluate" else ""
    return [(step.kind, name, step.arch), (step.kind, name)]


def measure(plan: Plan, steps: Iterable[Step]) -> MeasuredCost:
    """Times of those steps that are finished."""
    found = MeasuredCost(plan.config.estimate.seconds)
    for step in steps:
        if plan.is_done(step):
            add_measured(found, plan, step)
    return found


def add_measured(measured: MeasuredCost, plan: Plan, step: Step) -> None:
    """Adds a finished step, if its time was recorded."""
    folder = plan.folder(step.id)
    if step.training is None:
        seconds = (folder.done() or {}).get("seconds")
        if seconds is not None:
            measured.add(step, float(seconds))
    elif (folder.path / step.log).is_file():
        effort = read_effort(folder.path / step.log)
        if effort.updates:
            measured.add(step, effort.seconds / effort.updates)


def forecast(step: Step, measured: MeasuredCost, estimate: Estimate) -> Forecast:
    """Forecast for a complete step."""
    seconds = measured.of(step)
    if step.training is None:
        return Forecast(seconds, None)
    return Forecast(None if seconds is None else seconds * step.training.updates, operations(step.training, estimate))


def pieces_of(training: TrainingFacts, estimate: Estimate) -> int | None:
    """Pieces that the training reads on all GPUs together, without padding."""
    each = estimate.base_pieces_per_update if training.is_base else estimate.pieces_per_update
    return None if each is None else training.updates * each


def operations(training: TrainingFacts, estimate: Estimate) -> float | None:
    """Floating-point operations of a training, counted as in docs/gpu.md; None: pieces, vocabulary or
    the shape of a published model are unknown.

    3 · (layers · (2 · (4 D² + 2 D F) + 4 T D) + projected rows · (2 D² + 2 D V)) for each piece: forward, and twice
    that for the gradients.
    """
    pieces = pieces_of(training, estimate)
    size = training.shape or ARCHITECTURES.get(training.arch)
    if pieces is None or training.vocabulary is None or size is None:
        return None
    own: Callable[[str], int] = lambda name: int(  # noqa: E731
        _as_number(training.options.get(name.replace("_", "-"))) or getattr(size, name)
    )
    layers, width, inner = own("layers"), own("width"), own("feed_forward")
    encoder = layers * (2 * (4 * width**2 + 2 * width * inner) + 4 * estimate.length * width)
    masked = _as_number(training.options.get("mask-prob")) or MASK_PROB
    again = estimate.linked_share if OBJECTIVES[training.objective].predicts_twice else 0.0
    head = masked * (1 + again) * (2 * width**2 + 2 * width * training.vocabulary)
    return 3.0 * pieces * (encoder + head)


def _as_number(value: object) -> float | None:
    """The number that an option's value is; None: it is not a number."""
    try:
        return None if isinstance(value, bool) else float(str(value))
    except ValueError:
        return None


def gpu_hours(operations_: float, estimate: Estimate) -> float:
    """The config must have `estimate.flops`."""
    assert estimate.flops is not None
    return operations_ / (estimate.flops * estimate.utilisation) / 3600


def duration(seconds: float) -> str:
    """Seconds for a person: `12 s`, `5 min 3 s`, `3 h 20 min`, `2 d 4 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    for large, small, unit in ((86400, 3600, ("d", "h")), (3600, 60, ("h", "min")), (60, 1, ("min", "s"))):
        if whole >= large:
            return f"{whole // large} {unit[0]} {whole % large // small} {unit[1]}"
    raise AssertionError


def counted(number: int, noun: str) -> str:
    """`1 step`, `2 steps`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
