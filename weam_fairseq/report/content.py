"""Everything that the report of a study shows, for the page, the Markdown and plots.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from weam_fairseq.data.databin import read_manifest
from weam_fairseq.report.gains import Growth, Results, measure_gains, measure_growth
from weam_fairseq.report.notes import progress
from weam_fairseq.report.plots.gains import gain_by_pairs, gain_by_size
from weam_fairseq.report.plots.headline import headline
from weam_fairseq.report.plots.heat_map import gain_by_language
from weam_fairseq.report.plots.links import LinkedSentences, read_sentences
from weam_fairseq.report.plots.losses import losses, losses_by_pair
from weam_fairseq.report.plots.score_by_cost import score_by_cost
from weam_fairseq.report.plots.style import Plots
from weam_fairseq.report.positions import find_positions
from weam_fairseq.report.study_folder import Study

# By their names in plots.json. templates/study.html.j2 says where each is shown.
PLOTS: dict[str, Callable[[Results], Plots[Any]]] = {
    "headline": headline,
    "gain_by_pairs": gain_by_pairs,
    "gain_by_size": gain_by_size,
    "gain_by_language": gain_by_language,
    "score_by_cost": score_by_cost,
    "losses": losses,
    "losses_by_pair": losses_by_pair,
}


class TrainingData(NamedTuple):
    """A data-bin of the study."""

    name: str
    manifest: dict[str, Any]
    sentences: LinkedSentences


@dataclass(frozen=True)
class Content:
    """What the templates show.

    Attributes:
        progress: sentences on what is finished and what is missing.
        plots: by the names of PLOTS.
        data: the data-bins that still exist. Only the first has sentences.
    """

    title: str
    results: Results
    growths: list[Growth]
    progress: list[str]
    plots: dict[str, Plots[Any]]
    data: list[TrainingData]
    resamples: int


def gather(study: Study, title: str, metrics: Sequence[str], resamples: int, draw_seed: int) -> Content:
    """Compares all models of a study.

    Raises:
        InputError: a metric is unknown, or scores cannot be compared.
    """
    positions = find_positions(study.cells, study.baseline)
    results = Results(study, positions, measure_gains(study, positions, metrics, resamples, draw_seed))
    return Content(
        title=title,
        results=results,
        growths=measure_growth(study, positions, results.tasks, resamples, draw_seed),
        progress=progress(study, positions),
        plots={name: make(results) for name, make in PLOTS.items()},
        data=_training_data(study),
        resamples=resamples,
    )


def _training_data(study: Study) -> list[TrainingData]:
    found: list[TrainingData] = []
    for folder in study.data_bins:
        manifest = read_manifest(folder)
        sentences = read_sentences(folder, manifest) if not found else LinkedSentences([], [])
        found.append(TrainingData(folder.parent.name, manifest, sentences))
    return found


def plot_sources(content: Content) -> str:
    """The numbers that the plots show, as JSON."""
    study = content.results.study
    about = {"title": content.title, "baseline": study.baseline, "config_sha256": study.config_sha256}
    numbers = {name: [asdict(plot) for plot in kind.plots] for name, kind in content.plots.items()}
    return json.dumps({**about, **numbers}, ensure_ascii=False, indent=1) + "\n"
