"""Text of --list and --dry-run: the state of each cell, the jobs, and their estimated cost."""

from __future__ import annotations

from collections.abc import Sequence

from weam_fairseq.study.forecast import Forecast, counted, duration, forecast, gpu_hours, measure, pieces_of
from weam_fairseq.study.plan import Cell, Plan
from weam_fairseq.study.step import Step
from weam_fairseq.training.preemption import AGAIN, TERMINATED

_KINDS = {
    "preprocess": "data-bins",
    "import": "imports",
    "base": "base trainings",
    "train": "trainings",
    "export": "exports",
    "evaluate": "evaluations",
}


def render_list(plan: Plan, cells: Sequence[Cell]) -> str:
    """One line for each cell, and the number of finished cells."""
    states = [_state(plan, cell) for cell in cells]
    done = sum(state == "done" for state in states)
    rows = [[cell.name, state] for cell, state in zip(cells, states, strict=True)]
    return f"{_table(['cell', 'state'], rows)}\n\n{done} of {counted(len(cells), 'cell')} are done."


def render_plan(plan: Plan, cells: Sequence[Cell]) -> str:
    """The cells, the jobs, and an estimate for the open ones."""
    steps = plan.needed(cells)
    measured = measure(plan, plan.steps.values())
    open_steps = [step for step in steps if not plan.is_done(step)]
    forecasts = {step.id: forecast(step, measured, plan.config.estimate) for step in open_steps}
    header = ["cell", "group", "updates", "pieces", "state", *(["GPU h"] if plan.config.estimate.flops else ["hours"])]
    rows = [_row(plan, cell, forecasts) for cell in cells]
    parts = [_table(header, rows), _jobs(plan, cells, steps), *_estimates(plan, open_steps, forecasts)]
    return "\n\n".join(parts)


def _row(plan: Plan, cell: Cell, forecasts: dict[str, Forecast]) -> list[str]:
    state = _state(plan, cell)
    if cell.trained is None:
        return [cell.name, cell.group, "0", "–", state, "0" if state == "done" else "–"]
    training = plan.steps[cell.trained].training
    assert training is not None
    pieces = pieces_of(training, plan.config.estimate)
    own = forecasts.get(cell.trained)
    hours = 0.0 if own is None else _hours(plan, own)
    shown = "–" if hours is None else f"{hours:.2f}"
    return [cell.name, cell.group, f"{training.updates:,}", "–" if pieces is None else _short(pieces), state, shown]


def _hours(plan: Plan, found: Forecast) -> float | None:
    """GPU hours if the config has the speed of a GPU, otherwise hours as measured here."""
    if plan.config.estimate.flops is not None:
        return None if found.operations is None else gpu_hours(found.operations, plan.config.estimate)
    return None if found.seconds is None else found.seconds / 3600


def _jobs(plan: Plan, cells: Sequence[Cell], steps: Sequence[Step]) -> str:
    counts = []
    for kind, name in _KINDS.items():
        of_kind = [step for step in steps if step.kind == kind]
        done = sum(plan.is_done(step) for step in of_kind)
        if of_kind:
            named = name if len(of_kind) > 1 else name.removesuffix("s")
            counts.append(f"{len(of_kind)} {named}{f' ({done} done)' if done else ''}")
    done = sum(plan.is_done(step) for step in steps)
    both = f"{counted(len(cells), 'cell')}, {counted(len(steps), 'job')}"
    return f"{both}, {done} done: {', '.join(counts)}."


def _estimates(plan: Plan, open_steps: Sequence[Step], forecasts: dict[str, Forecast]) -> list[str]:
    trainings = [step for step in open_steps if step.training is not None]
    others = len(open_steps) - len(trainings)
    found = []
    if plan.config.estimate.flops is not None and trainings:
        found.append(_by_formula(plan, trainings, forecasts))
    timed = [forecasts[step.id].seconds for step in open_steps]
    known = [seconds for seconds in timed if seconds is not None]
    if known:
        unknown = len(timed) - len(known)
        left_out = f"; not counted: {counted(unknown, 'job')} of kinds that have not run yet" if unknown else ""
        planned = ", or else from the config's `estimate.seconds`" if plan.config.estimate.seconds else ""
        found.append(
            f"Estimate from finished jobs of the same kind and architecture (measured){planned}: "
            f"{duration(sum(known))}, one job at a time{left_out}."
        )
    elif plan.config.estimate.flops is None and open_steps:
        found.append(
            "No time is estimated: no job has ended yet, and the config has neither `estimate.seconds` nor "
            "`estimate.flops`."
        )
    elif others:
        found.append(f"Preprocessing, imports, exports and evaluations ({others} jobs) are not part of the estimate.")
    return found


def _by_formula(plan: Plan, trainings: Sequence[Step], forecasts: dict[str, Forecast]) -> str:
    estimate = plan.config.estimate
    assert estimate.flops is not None
    rows = []
    unknown = 0
    total = [0.0, 0.0]
    by_arch: dict[tuple[str, str], list[Step]] = {}
    for step in trainings:
        by_arch.setdefault((step.arch, step.kind), []).append(step)
    for (arch, kind), steps in by_arch.items():
        known = [found for step in steps if (found := forecasts[step.id].operations) is not None]
        unknown += len(steps) - len(known)
        hours = sum(gpu_hours(each, estimate) for each in known)
        total = [total[0] + sum(known), total[1] + hours]
        rows.append([arch, _KINDS[kind], str(len(steps)), f"{sum(known):.2e}", f"{hours:,.1f}"])
    rows.append(["all", "", str(len(trainings)), f"{total[0]:.2e}", f"{total[1]:,.1f}"])
    sentence = (
        f"Estimated GPU hours of the open trainings: {total[1]:,.1f}, by counting operations "
        f"(docs/gpu.md) at {estimate.utilisation:.0%} of {estimate.flops / 1e12:,.0f} TFLOP/s."
    )
    if unknown:
        sentence += (
            f" Not counted: {counted(unknown, 'training')}. Give `estimate.pieces_per_update`, "
            "`base_pieces_per_update`, and the `vocabulary` of published models."
        )
    return f"{_table(['arch', 'jobs', 'number', 'operations', 'GPU h'], rows)}\n\n{sentence}"


def _state(plan: Plan, cell: Cell) -> str:
    """done, running, stopped, failed, `2 of 4 steps`, or to do."""
    steps = plan.needed([cell])
    folders = [plan.folder(step.id) for step in steps]
    done = [plan.is_done(step) for step in steps]
    if all(done):
        return "done"
    begun = any(plan.is_done(plan.steps[own]) for own in cell.steps)
    ended = [(step, status) for step, folder in zip(steps, folders, strict=True) if (status := folder.failed())]
    running = [step for step, folder, ok in zip(steps, folders, done, strict=True) if not ok and folder.is_running()]
    parts = [f"{sum(done)} of {len(steps)} steps"] if begun else []
    parts += [f"running: {step.kind}" for step in running[:1]]
    bad = [("stopped" if status in (AGAIN, TERMINATED) else "failed", step) for step, status in ended]
    parts += [f"{word}: {step.about}" for word, step in bad[:1] if step not in running]
    return ", ".join(parts) or "to do"


def _short(number: float) -> str:
    """`1.6 M`."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligns texts to the left and numbers to the right."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    right = [
        all(row[column][:1].isdigit() or row[column] in ("–", "") for row in rows) for column in range(len(header))
    ]
    return "\n".join(
        "  ".join(
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )
