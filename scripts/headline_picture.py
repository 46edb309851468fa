#!/usr/bin/env python3
"""Writes the chart that a study's report opens with as a picture: README's docs/demo.svg.

Example: scripts/headline_picture.py runs/demo docs/demo.svg
"""

import argparse
import sys
from pathlib import Path

from weam_fairseq.common.command import run_command
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import write_text
from weam_fairseq.report.content import gather
from weam_fairseq.report.plots.style import Palette, looks_of
from weam_fairseq.report.study_folder import read_study


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("study", type=Path, help="folder of a study that weam-study ran")
    parser.add_argument("picture", type=Path, help="SVG file to write")
    args = parser.parse_args()
    study = read_study(args.study)
    content = gather(study, study.title, (), resamples=2000, draw_seed=1)
    plots = content.plots["headline"].plots
    if not plots:
        raise InputError(f"{args.study} must hold scores of a model and of its baseline, but has none.")
    palette = Palette(looks_of(content.results.positions.methods), study.baseline)
    write_text(args.picture, plots[0].draw(palette, "headline") + "\n")


if __name__ == "__main__":
    sys.exit(run_command("headline_picture.py", main))
