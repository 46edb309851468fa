#!/usr/bin/env python3
"""Writes a plot of a study's report as a picture, such as README's docs/demo.svg.

Examples: scripts/report_picture.py runs/demo docs/demo.svg
          scripts/report_picture.py runs/study_published docs/study/gains.svg --plot gain_by_pairs
"""

import argparse
import sys
from pathlib import Path

from weam_fairseq.common.command import run_command
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import write_text
from weam_fairseq.report.content import PLOTS, gather
from weam_fairseq.report.plots.style import Palette, looks_of
from weam_fairseq.report.study_folder import read_study


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("study", type=Path, help="folder of a study that weam-study ran")
    parser.add_argument("picture", type=Path, help="SVG file to write")
    parser.add_argument("--plot", choices=PLOTS, default="headline", help="(default: %(default)s, the first one)")
    parser.add_argument("--metric", action="append", default=[], help="only this metric; can be repeated")
    args = parser.parse_args()
    study = read_study(args.study)
    content = gather(study, study.title, args.metric, resamples=2000, draw_seed=1)
    plots = content.plots[args.plot].plots
    if not plots:
        raise InputError(f"{args.study} has too few scores for the plot {args.plot}. Evaluate more of its models.")
    palette = Palette(looks_of(content.results.positions.methods), study.baseline)
    write_text(args.picture, plots[0].draw(palette, args.plot) + "\n")


if __name__ == "__main__":
    sys.exit(run_command("report_picture.py", main))
