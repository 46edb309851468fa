"""Pages and Markdown from templates. Every value is escaped as it enters, for HTML and for Markdown alike."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from weam_fairseq import __version__
from weam_fairseq.report import notes, score_tables, study_tables
from weam_fairseq.report.comparison import Comparison
from weam_fairseq.report.content import Content
from weam_fairseq.report.plots.heat_map import draw_differences
from weam_fairseq.report.plots.score_by_language import draw_scores
from weam_fairseq.report.plots.style import Palette, looks_of
from weam_fairseq.report.score_files import ScoreSet

_TEMPLATES = Path(__file__).with_name("templates")
_MARKDOWN = re.compile(r"([\\`*_|<\[])")


def study_report(content: Content) -> dict[str, str]:
    """The page and the Markdown, as `html` and `md`."""
    study, positions = content.results.study, content.results.positions
    config = study.config
    values = {
        "content": content,
        "title": content.title,
        "study": study,
        "positions": positions,
        "tasks": content.results.tasks,
        "plots": content.plots,
        "tables": study_tables,
        "palette": Palette(looks_of(positions.methods), study.baseline),
        "config": config if isinstance(config, str) else json.dumps(config, ensure_ascii=False, indent=2),
    }
    return _rendered("study", values)


def score_report(
    title: str, comparison: Comparison, overall: score_tables.OverallTable | None, scores: ScoreSet
) -> dict[str, str]:
    """The page and the Markdown, as `html` and `md`."""
    values = {
        "title": title,
        "comparison": comparison,
        "overall": overall,
        "scores": scores,
        "repeated": notes.on_repeated(scores.repeated),
        "tables": score_tables,
        "draw_scores": draw_scores,
        "draw_differences": draw_differences,
    }
    return _rendered("scores", values)


def _rendered(name: str, values: dict[str, Any]) -> dict[str, str]:
    page = _environment(markdown=False).get_template(f"{name}.html.j2").render(values, navigation=[])
    text = _environment(markdown=True).get_template(f"{name}.md.j2").render(values)
    return {"html": page.strip() + "\n", "md": re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"}


def _environment(markdown: bool) -> Any:
    """Jinja2 with autoescape. With `markdown`, it also escapes the marks of Markdown and joins lines of a value."""
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
