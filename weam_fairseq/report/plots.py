"""Loss curves as SVG, to stand inside a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from weam_fairseq.report.logs import Curve, TrainingLog
from weam_fairseq.report.looks import look_of
from weam_fairseq.report.svg import RC, load_matplotlib, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS_IN_A_ROW = 3


class Series(NamedTuple):
    """One line of one panel; `look` names an entry of LOOKS."""

    label: str
    look: str
    curve: Curve


class Panel(NamedTuple):
    title: str
    series: list[Series]


def loss_panels(logs: dict[str, TrainingLog], pairs: Sequence[str], part: str, loss: str) -> list[Panel]:
    """One panel a pair with a curve for every model that logged the loss; `part` is `train` or `valid`."""
    return [
        Panel(
            pair,
            [Series(name, name, curve) for name, log in logs.items() if (curve := log.curve(part, f"{pair}:{loss}")).x],
        )
        for pair in pairs
    ]


def base_panels(log: TrainingLog, pairs: Sequence[str]) -> list[Panel]:
    """The base model's training and validation curves together."""
    parts = (("training", "mlm", "train"), ("validation", "base", "valid"))
    return [
        Panel(
            pair,
            [
                Series(label, look, curve)
                for label, look, part in parts
                if (curve := log.curve(part, f"{pair}:mp_loss")).x
            ],
        )
        for pair in pairs
    ]


def has_curves(panels: Sequence[Panel]) -> bool:
    return any(panel.series for panel in panels)


def draw_panels(panels: Sequence[Panel], name: str, markers: bool, y_label: str) -> str:
    """Draws small panels with one y axis for all, as an `<svg>` element whose ids start with `name`.

    Raises:
        InputError: matplotlib is not installed.
    """
    matplotlib = load_matplotlib()
    from matplotlib.figure import Figure

    columns = min(_PANELS_IN_A_ROW, len(panels))
    rows = -(-len(panels) // columns)
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(10.4 * columns / _PANELS_IN_A_ROW, 2.45 * rows + 0.35), layout="constrained")
        axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
        for axis, panel in zip(axes, panels, strict=False):
            _draw_panel(axis, panel, markers)
        for axis in axes[len(panels) :]:
            axis.set_visible(False)
        for axis in axes[::columns]:
            axis.set_ylabel(y_label)
        for axis in axes[max(0, len(panels) - columns) : len(panels)]:
            axis.set_xlabel("updates")
            axis.tick_params(labelbottom=True)
        _add_legend(figure, panels, list(axes))
        return to_svg(figure, name)


def _draw_panel(axis: Axes, panel: Panel, markers: bool) -> None:
    axis.set_title(panel.title)
    if not panel.series:
        axis.text(0.5, 0.5, "not logged", transform=axis.transAxes, ha="center", va="center", color="#777777")
    for order, series in enumerate(panel.series):
        look = look_of(series.look)
        axis.plot(
            series.curve.x,
            series.curve.y,
            label=series.label,
            color=look.colour,
            linestyle=look.line,
            linewidth=1.8 if series.look == "weam" else 1.3,
            marker=look.marker if markers else None,
            markersize=3.6,
            zorder=3 + order,
        )


def _add_legend(figure: Figure, panels: Sequence[Panel], axes: Sequence[Axes]) -> None:
    handles: dict[str, Any] = {}
    for axis, _ in zip(axes, panels, strict=False):
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if handles:
        figure.legend(
            handles.values(), handles.keys(), loc="outside upper left", ncols=6, frameon=False, handlelength=3.2
        )
