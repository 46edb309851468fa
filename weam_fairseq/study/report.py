"""weam-report: a run folder to one page, `report.html`, and its tables, `report.md`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from weam_fairseq.errors import InputError
from weam_fairseq.study.markdown import render_markdown
from weam_fairseq.study.page import render_page
from weam_fairseq.study.run_folder import read_run
from weam_fairseq.study.table import format_text, main_table
from weam_fairseq.study.words import caution

EXAMPLE = """example:
  weam-report runs/demo
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the report. Returns the exit code: 0, or 2 after one sentence on stderr."""
    options = _parser().parse_args(argv)
    try:
        run = read_run(options.run_dir)
        page, tables = render_page(run), render_markdown(run)
        for name, content in (("report.html", page), ("report.md", tables)):
            _write(run.path / name, content)
    except (InputError, OSError) as error:
        print(f"weam-report: error: {error}", file=sys.stderr)
        return 2
    table = main_table(run)
    print(f"{format_text(table)}\n\n{caution(table.trainings)}\nThe whole report: {run.path / 'report.html'}")
    return 0


def _write(path: Path, content: str) -> None:
    """Beside, then renamed: a reader never meets half a page."""
    beside = path.with_name(path.name + ".part")
    beside.write_text(content, encoding="utf-8", newline="\n")
    beside.replace(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="weam-report",
        description="Writes report.html (one page, opens without network) and report.md, and prints the main table.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run_dir", metavar="RUN_DIR", type=Path, help="folder with settings.json and scores.jsonl")
    return parser


if __name__ == "__main__":
    sys.exit(main())
