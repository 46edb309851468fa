"""Pages and Markdown from templates. Every value is escaped as it enters, for HTML and for Markdown alike."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from weam_fairseq import __version__
from weam_fairseq.report import (
    cost_plot,
    gain_map,
    gain_plot,
    notes,
    score_plots,
    score_table,
    study_costs,
    study_losses,
    study_points,
    study_tables,
)
from weam_fairseq.report.comparison import Comparison
from weam_fairseq.report.looks import looks_of
from weam_fairseq.report.overall_table import OverallTable
from weam_fairseq.report.score_files import ScoreSet
from weam_fairseq.report.study_content import Content

_TEMPLATES = Path(__file__).with_name("templates")
_MARKDOWN = re.compile(r"([\\`*_|<\[])")


def study_report(content: Content) -> dict[str, str]:
    """`html` and `md`.

    Raises:
        InputError: matplotlib is missing.
    """
    config = content.study.config
    values = {
        "content": content,
        "title": content.title,
        "tables": _merged(study_tables, study_costs),
        "plots": _merged(study_points, gain_plot, gain_map, cost_plot, study_losses),
        "looks": looks_of(content.places.methods),
        "losses": study_losses.LOSSES,
        "config": config if isinstance(config, str) else json.dumps(config, ensure_ascii=False, indent=2),
    }
    return _rendered("study", values)


def score_report(title: str, comparison: Comparison, overall: OverallTable | None, scores: ScoreSet) -> dict[str, str]:
    """`html` and `md`; see `study_report`."""
    values = {
        "title": title,
        "comparison": comparison,
        "overall": overall,
        "scores": scores,
        "repeated": notes.on_repeated(scores.repeated),
        "tables": score_table,
        "plots": score_plots,
    }
    return _rendered("scores", values)


def _merged(*modules: Any) -> SimpleNamespace:
    return SimpleNamespace(**{name: value for module in modules for name, value in vars(module).items()})


def _rendered(name: str, values: dict[str, Any]) -> dict[str, str]:
    page = _environment(markdown=False).get_template(f"{name}.html.j2").render(values, navigation=[])
    text = _environment(markdown=True).get_template(f"{name}.md.j2").render(values)
    return {"html": page.strip() + "\n", "md": re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"}


def _environment(markdown: bool) -> Any:
    """Jinja2 with autoescape; with `markdown` what it escapes are the marks of Markdown, and a value is one line."""
    import jinja2
    from markupsafe import Markup

    def escaped(value: object) -> object:
        return value if hasattr(value, "__html__") else Markup(_MARKDOWN.sub(r"\\\1", str(value)).replace("\n", " "))

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        finalize=escaped if markdown else None,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do"],
    )
    environment.filters["line"] = lambda text: Markup(" ".join(text.split()))
    environment.globals["version"] = __version__
    return environment
