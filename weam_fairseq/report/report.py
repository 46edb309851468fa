"""weam-report: turns a study or any scores into one page, `report.html`, and its tables, `report.md`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from weam_fairseq.common.arguments import CommandParser
from weam_fairseq.common.command import run_command
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import write_text
from weam_fairseq.evaluation.bootstrap import RESAMPLES
from weam_fairseq.report.comparison import compare
from weam_fairseq.report.content import gather, plot_sources
from weam_fairseq.report.pages import score_report, study_report
from weam_fairseq.report.score_files import read_score_files
from weam_fairseq.report.score_tables import overall_table, summary_gains, summary_table
from weam_fairseq.report.study_folder import is_study_folder, read_study
from weam_fairseq.report.study_tables import on_chance
from weam_fairseq.report.study_tables import summary_table as study_summary
from weam_fairseq.report.tables import format_table

EXAMPLE = """example:
  weam-report runs/study
  weam-report results/scores.jsonl more/scores.jsonl --baseline tlm --out results/report
"""

LEAST_RESAMPLES = 1000
PACKAGES = {"matplotlib", "jinja2", "markupsafe", "scipy", "tabulate"}  # of the extra `report`
PAGE, TABLES, PLOTS = "report.html", "report.md", "plots.json"


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the report. Returns the exit code: 0, or 2 after one sentence on stderr."""
    return run_command("weam-report", lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> None:
    options = _parser().parse_args(argv)
    try:
        print(_report(options))
    except ModuleNotFoundError as error:
        package = str(error.name).split(".")[0]
        if package not in PACKAGES:
            raise
        raise InputError(
            f"The report needs {package}, which is not installed. Run pip install 'weam-fairseq[report]'."
        ) from None


def _report(options: argparse.Namespace) -> str:
    if len(options.paths) == 1 and is_study_folder(options.paths[0]):
        return _report_study(options)
    return _report_scores(options)


def _report_study(options: argparse.Namespace) -> str:
    _check_draws(options)
    study = read_study(options.paths[0])
    objectives = list(dict.fromkeys(cell.objective for cell in study.cells))
    if options.baseline is not None and options.baseline not in objectives:
        raise InputError(
            f"--baseline {options.baseline!r} must be an objective of the study's finished cells: "
            f"{', '.join(objectives)}."
        )
    study = replace(study, baseline=study.baseline if options.baseline is None else options.baseline)
    content = gather(study, options.title or study.title, _metrics(options), options.resamples, options.draw_seed)
    table = format_table(study_summary(content.results.tasks, content.results.positions))
    report = study_report(content)
    out = options.out or study.path
    _write(out, {PAGE: report["html"], TABLES: report["md"], PLOTS: plot_sources(content)})
    if not content.results.positions.compared:
        missing = (
            f"model besides {study.baseline}" if content.results.positions.baselines else f"{study.baseline} model"
        )
        table = f"There are no differences yet: no {missing} is finished."
    chance = on_chance(content.results.tasks, content.results.positions)
    return "\n\n".join([table, "\n".join([*chance, *content.progress]), f"Full report: {out / PAGE}"])


def _report_scores(options: argparse.Namespace) -> str:
    _check_draws(options)
    scores = read_score_files(options.paths)
    out = options.out or scores.files[0].parent
    if options.out is None and is_study_folder(out):
        raise InputError(f"{out} is a study's folder, where {PAGE} is the study's own report. Give --out FOLDER.")
    comparison = compare(scores, options.baseline, _metrics(options), options.resamples, options.draw_seed)
    for model in scores.models:
        if scores.mixed(model):
            print(f"weam-report: note: {model}: {comparison.checkpoints[model]}.", file=sys.stderr)
    overall = overall_table(scores)
    title = options.title or f"Scores of {', '.join(scores.models)}"
    tables = [summary_table(comparison)]
    tables += [summary_gains(comparison)] if len(comparison.models) > 1 else []
    printed = [*map(format_table, tables), f"Full report: {out / PAGE}"]
    report = score_report(title, comparison, overall, scores)
    _write(out, {PAGE: report["html"], TABLES: report["md"]})
    return "\n\n".join(printed)


def _check_draws(options: argparse.Namespace) -> None:
    if options.resamples < LEAST_RESAMPLES:
        raise InputError(f"--resamples must be at least {LEAST_RESAMPLES:,}, but is {options.resamples:,}.")
    if options.draw_seed < 0:
        raise InputError(f"--draw-seed must be 0 or more, but is {options.draw_seed}.")


def _metrics(options: argparse.Namespace) -> list[str]:
    return [part.strip() for text in options.metric for part in text.split(",") if part.strip()]


def _write(folder: Path, files: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_text(folder / name, content)


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="weam-report",
        description="Compares the models of a study, or of score files, with a baseline. Each difference has a 95 % "
        "interval.\n"
        "Writes report.html (one page that needs no network), report.md and, for a study, plots.json with the numbers\n"
        "of its plots. Prints the main table.",
        epilog=EXAMPLE,
    )
    parser.add_argument(
        "paths",
        metavar="FOLDER_OR_SCORES",
        type=Path,
        nargs="+",
        help="a folder of weam-study, or files written by weam-evaluate --out, or folders that contain scores.jsonl",
    )
    parser.add_argument(
        "--baseline",
        metavar="MODEL",
        help="the model to compare with (default: tlm if it has scores, else the first one in the files); for a study, "
        "an objective, or base for the model before training (default: the baseline of its config)",
    )
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="folder for the report (default: beside the scores)")
    parser.add_argument(
        "--metric", metavar="NAME", action="append", default=[], help="show this metric only; repeatable (default: all)"
    )
    parser.add_argument("--title", help="the page's title (default: the study's, or the models' names)")
    parser.add_argument(
        "--resamples",
        metavar="N",
        type=int,
        default=RESAMPLES,
        help=f"number of resamples of the test items, at least {LEAST_RESAMPLES} (default: %(default)s)",
    )
    parser.add_argument("--draw-seed", metavar="N", type=int, default=1, help="seed of these draws (default: 1)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
