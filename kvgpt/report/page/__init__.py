"""The page: one HTML file with every table and figure, which a reader filters, sorts and asks for its numbers.

It needs nothing but itself: no server, no network, no other file. Whatever results say is text to it.
"""

import base64
import hashlib
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from kvgpt import whole
from kvgpt.recorded import Results
from kvgpt.report.chart import Chart
from kvgpt.report.page import filters, sections
from kvgpt.report.page.embedded import embedded
from kvgpt.report.page.markup import html
from kvgpt.report.page.sections import Tone, Verdict
from kvgpt.report.tabular import Table

__all__ = ["Tone", "Verdict", "write"]

POLICY = "default-src 'none'; style-src '{style}'; script-src '{script}'; base-uri 'none'; form-action 'none'"
SCRIPTS = (  # one module in their order: what is named later uses what was named before
    "elements",
    "numbers",
    "looks",
    "scales",
    "labels",
    "selection",
    "forms",
    "pie",
    "panel",
    "reading",
    "points",
    "figure",
    "filter",
    "sorting",
    "main",
)


def write(
    path: Path,
    results: Results,
    charts: Sequence[Chart],
    missing: Sequence[str],
    tables: Sequence[Table],
    verdict: Verdict,
    remarks: Sequence[str] = (),
) -> Path:
    """Write the page; ``missing`` names what could not be drawn, as :func:`kvgpt.report.charts.charts` does."""
    offered = filters.choices(results, charts)
    first = list(sections.summary(tables, offered.variants))
    rest = [
        *sections.figures(charts),
        *sections.others(tables, offered.variants),
        *sections.machine(results),
        *sections.validity(results),
        *sections.undrawn(missing),
        *sections.remarks(remarks),
    ]
    style, script = _source("page.css"), "\n".join(_source(f"{name}.js") for name in SCRIPTS)
    page = Template(_source("page.html")).substitute(
        title=escape(_title(results)),
        policy=POLICY.format(style=_hash(style), script=_hash(script)),
        style=style,
        contents=html(sections.contents([*first, *rest])),
        verdict=html(sections.verdict(verdict)),
        summary=html(*first),
        filter=html(filters.bar(offered)),
        sections=html(*rest),
        data=embedded(charts, offered.variants),
        script=script,
    )
    return whole.write(path, page)


def _title(results: Results) -> str:
    models = dict.fromkeys(str(case.workload["model"]) for case in results.cases if "model" in case.workload)
    return f"{', '.join(models) or 'results'} on {results.device.get('name', 'an unknown device')}"


def _source(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """A source expression of a content security policy that lets this text through and no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
