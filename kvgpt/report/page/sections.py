"""The sections of the page, in their order, and the contents that lead to them."""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kvgpt.record import FAMILIES
from kvgpt.recorded import Results
from kvgpt.report.chart import Chart
from kvgpt.report.page.markup import Element, element, listed
from kvgpt.report.page.tables import table
from kvgpt.report.tabular import Table

Tone = Literal["good", "fair", "poor"]
FEW = 6  # insights that are all shown at once


@dataclass(frozen=True)
class Verdict:
    """What results amount to, in a headline and the lines that bear it out."""

    headline: str
    tone: Tone
    lines: tuple[str, ...] = ()


def verdict(what: Verdict) -> Element:
    """The verdict, in the colour of its tone."""
    return element(
        "section",
        element("p", what.headline, class_="headline"),
        *listed(what.lines, "lines"),
        class_=f"verdict {what.tone}",
        aria_label="Verdict",
    )


def summary(tables: Sequence[Table], variants: Collection[str]) -> Iterator[Element]:
    """The first of the tables."""
    if tables:
        yield _section("summary", "Summary", table(tables[0], variants))


def figures(charts: Sequence[Chart]) -> Iterator[Element]:
    """A place for each chart, which the page's script fills, those of one family together."""
    for family, numbers in families(charts).items():
        yield _section(f"figures-{slug(family)}", family, *(_figure(number, charts[number]) for number in numbers))


def others(tables: Sequence[Table], variants: Collection[str]) -> Iterator[Element]:
    """All tables but the first."""
    if tables[1:]:
        yield _section("tables", "Tables", *(table(one, variants) for one in tables[1:]))


def machine(results: Results) -> Iterator[Element]:
    """The device that was measured on, as the results have it."""
    facts = [
        part for name, value in results.device.items() for part in (element("dt", name), element("dd", _fact(value)))
    ]
    yield _section("machine", "Machine", element("dl", *facts) if facts else element("p", "The results do not say."))


def validity(results: Results) -> Iterator[Element]:
    """The cases that are not to be relied on, each with its reasons."""
    unfit = [case for case in results.cases if not case.valid]
    lines = [element("li", element("code", case.name), *_reasons(case.notes)) for case in unfit]
    said = f"{len(unfit)} of {len(results.cases)} cases are not valid, so not to be relied on nor compared with:"
    content = [element("p", said), element("ul", *lines)] if unfit else [element("p", "Every case is valid.")]
    yield _section("validity", "Validity", *content)


def undrawn(missing: Sequence[str]) -> Iterator[Element]:
    """What the results have no data for, and the command that would measure it."""
    if missing:
        yield _section("undrawn", "Not drawn", element("ul", *(element("li", *_wanting(line)) for line in missing)))


def remarks(lines: Sequence[str]) -> Iterator[Element]:
    """What was left out while the results were read."""
    if lines:
        yield _section("remarks", "Remarks", *listed(tuple(lines), "remarks"))


def contents(sections: Sequence[Element]) -> Element:
    """A link to each section, and under it to each of its figures."""
    entries = []
    for section in sections:
        inner = [element("li", _link(figure, "h3")) for figure in section.iter("figure")]
        more = [element("ul", *inner)] if inner else []
        entries.append(element("li", _link(section, "h2"), *more))
    return element("ul", *entries)


def families(charts: Sequence[Chart]) -> dict[str, list[int]]:
    """{title: places of the charts that show these families}."""
    groups: dict[str, list[int]] = {}
    for number, chart in enumerate(charts):
        every = (series for panel in chart.panels for series in panel.series)
        shown = {case.family for series in every for point in series.points for case in point.cases}
        title = " and ".join(family for family in FAMILIES if family in shown).capitalize() or "Figures"
        groups.setdefault(title, []).append(number)
    return groups


def slug(name: str) -> str:
    """A name as part of an address."""
    return re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-")


def _section(identity: str, title: str, *content: Element) -> Element:
    return element("section", element("h2", title), *content, id=identity)


def _figure(number: int, chart: Chart) -> Element:
    return element(
        "figure",
        element("figcaption", element("h3", chart.title)),
        element("ul", class_="legend"),
        element("div", class_="panels"),
        *_insights(chart.insights),
        element("details", element("summary", "Points and samples"), element("div"), class_="points"),
        id=f"figure-{number}-{slug(chart.name)}",
        data_chart=str(number),
    )


def _insights(sentences: tuple[str, ...]) -> list[Element]:
    """A list, folded up where it is a long one."""
    full = listed(sentences, "insights")
    if len(sentences) <= FEW:
        return full
    return [element("details", element("summary", f"{len(sentences)} findings"), *full, class_="findings")]


def _link(to: Element, heading: str) -> Element:
    return element("a", "".join(part.text or "" for part in to.iter(heading)), href=f"#{to.get('id')}")


def _reasons(notes: tuple[str, ...]) -> list[str]:
    return [f": {'; '.join(notes)}"] if notes else []


def _wanting(line: str) -> list[Element | str]:
    """``name: reason: command`` with its name and its command set apart."""
    name, _, rest = line.partition(": ")
    reason, colon, command = rest.rpartition(": ")
    return [element("b", name), f": {reason}: ", element("code", command)] if colon else [line]


def _fact(value: Any) -> str:
    return json.dumps(value, sort_keys=True) if isinstance(value, Mapping | list | tuple) else str(value)
