"""Everything that the report of a study shows, worked out once for the page, the Markdown and plots.json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from weam_fairseq.report.gains import TaskGains, measure_gains
from weam_fairseq.report.growth import Growth, measure_growth
from weam_fairseq.report.study_folder import Study
from weam_fairseq.report.study_losses import LossPlot, loss_plots
from weam_fairseq.report.study_points import CostPlot, GainMap, GainPlot, Plots, cost_plots, gain_maps, gain_plots
from weam_fairseq.report.study_progress import progress
from weam_fairseq.report.study_settings import Places, place_models


@dataclass(frozen=True)
class Content:
    """`progress`: what is there and what is missing, in sentences."""

    title: str
    study: Study
    places: Places
    tasks: list[TaskGains]
    growths: list[Growth]
    progress: list[str]
    gains: Plots[GainPlot]
    costs: Plots[CostPlot]
    maps: Plots[GainMap]
    losses: Plots[LossPlot]
    resamples: int

    @property
    def left_out(self) -> list[str]:
        """Which plots are not there."""
        return [each for kind in (self.gains, self.maps, self.costs, self.losses) for each in kind.left_out]


def gather(study: Study, title: str, metrics: Sequence[str], resamples: int, draw_seed: int) -> Content:
    """Compares all models of a study.

    Raises:
        InputError: a metric is unknown, or scores cannot be compared.
    """
    places = place_models(study.cells, study.baseline)
    tasks = measure_gains(study, places, metrics, resamples, draw_seed)
    return Content(
        title=title,
        study=study,
        places=places,
        tasks=tasks,
        growths=measure_growth(study, places, tasks, resamples, draw_seed),
        progress=progress(study, places),
        gains=gain_plots(tasks, places),
        costs=cost_plots(tasks, places, study),
        maps=gain_maps(tasks, places),
        losses=loss_plots(study, places),
        resamples=resamples,
    )


def plot_sources(content: Content) -> str:
    """The numbers that the plots show, as JSON."""
    kinds: dict[str, Plots[Any]] = {
        "gain_by_pairs": content.gains,
        "gain_by_language": content.maps,
        "score_by_cost": content.costs,
        "losses": content.losses,
    }
    sources = {name: [asdict(plot) for plot in kind.plots] for name, kind in kinds.items()}
    about = {"title": content.title, "baseline": content.study.baseline, "config_sha256": content.study.config_sha256}
    return json.dumps({**about, **sources}, ensure_ascii=False, indent=1) + "\n"
