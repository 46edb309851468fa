"""weam-report: a run folder, or any scores, to one page, `report.html`, and its tables, `report.md`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from weam_fairseq.errors import InputError
from weam_fairseq.study.bootstrap import RESAMPLES
from weam_fairseq.study.comparison import compare
from weam_fairseq.study.markdown import render_markdown
from weam_fairseq.study.overall_table import overall_table
from weam_fairseq.study.page import render_page
from weam_fairseq.study.run_folder import is_run_folder, read_run
from weam_fairseq.study.score_files import read_score_files
from weam_fairseq.study.score_markdown import render_score_markdown
from weam_fairseq.study.score_page import render_score_page
from weam_fairseq.study.score_table import format_cells, summary_gains, summary_table
from weam_fairseq.study.table import format_text, main_table
from weam_fairseq.study.words import caution

EXAMPLE = """example:
  weam-report runs/demo
  weam-report results/scores.jsonl more/scores.jsonl --baseline tlm --out results/report
"""

LEAST_RESAMPLES = 1000
PAGE = "report.html"


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the report. Returns the exit code: 0, or 2 after one sentence on stderr."""
    options = _parser().parse_args(argv)
    try:
        text = _report_scores(options) if _of_scores(options) else _report_run(options.paths[0])
    except (InputError, OSError) as error:
        print(f"weam-report: error: {error}", file=sys.stderr)
        return 2
    print(text)
    return 0


def _of_scores(options: argparse.Namespace) -> bool:
    """A run folder alone gets the page of the run; everything else is a set of scores."""
    only, *more = options.paths
    chosen = options.baseline or options.out or options.metric
    return bool(more or chosen or (only.exists() and not is_run_folder(only)))


def _report_run(path: Path) -> str:
    run = read_run(path)
    _write(run.path, render_page(run), render_markdown(run))
    table = main_table(run)
    return f"{format_text(table)}\n\n{caution(table.trainings)}\nThe whole report: {run.path / PAGE}"


def _report_scores(options: argparse.Namespace) -> str:
    if options.resamples < LEAST_RESAMPLES:
        raise InputError(f"--resamples must be at least {LEAST_RESAMPLES:,}, but is {options.resamples:,}.")
    if options.draw_seed < 0:
        raise InputError(f"--draw-seed must be 0 or more, but is {options.draw_seed}.")
    scores = read_score_files(options.paths)
    out = options.out or scores.files[0].parent
    if options.out is None and is_run_folder(out):
        raise InputError(f"{out} is a run's folder and {PAGE} in it the run's own. Give --out FOLDER for this report.")
    metrics = [part.strip() for text in options.metric for part in text.split(",") if part.strip()]
    comparison = compare(scores, options.baseline, metrics, options.resamples, options.draw_seed)
    for model in scores.models:
        if scores.mixed(model):
            print(f"weam-report: note: {model}: {comparison.checkpoints[model]}.", file=sys.stderr)
    overall = overall_table(scores)
    title = options.title or f"Scores of {', '.join(scores.models)}"
    page = render_score_page(title, comparison, overall, scores)
    out.mkdir(parents=True, exist_ok=True)
    _write(out, page, render_score_markdown(title, comparison, overall, scores))
    tables = [summary_table(comparison)]
    tables += [summary_gains(comparison)] if len(comparison.models) > 1 else []
    return "\n\n".join([*map(format_cells, tables), f"The whole report: {out / PAGE}"])


def _write(folder: Path, page: str, tables: str) -> None:
    """Beside, then renamed: a reader never meets half a page."""
    for name, content in ((PAGE, page), ("report.md", tables)):
        beside = folder / f"{name}.part"
        beside.write_text(content, encoding="utf-8", newline="\n")
        beside.replace(folder / name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="weam-report",
        description="Writes report.html (one page, opens without network) and report.md, and prints the main table:\n"
        "of a run's folder, or of any scores, with differences to a baseline and their 95 % intervals.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "paths",
        metavar="RUN_DIR_OR_SCORES",
        type=Path,
        nargs="+",
        help="a run's folder (settings.json and scores.jsonl), or one or more files of scores or folders with them",
    )
    group = parser.add_argument_group("for scores")
    group.add_argument("--baseline", metavar="MODEL", help="what models are compared with (default: tlm, or the first)")
    group.add_argument("--out", metavar="FOLDER", type=Path, help="where the report goes (default: beside the scores)")
    group.add_argument(
        "--metric", metavar="NAME", action="append", default=[], help="show this metric only; repeatable (default: all)"
    )
    group.add_argument("--title", help="the page's title (default: the models' names)")
    group.add_argument(
        "--resamples",
        metavar="N",
        type=int,
        default=RESAMPLES,
        help=f"how often the test items are drawn, at least {LEAST_RESAMPLES} (default: %(default)s)",
    )
    group.add_argument("--draw-seed", metavar="N", type=int, default=1, help="seed of these draws (default: 1)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
