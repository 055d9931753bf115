"""The bar by which a reader filters figures and tables: by variant, batch size and T."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kvgpt.recipes import STYLES
from kvgpt.recorded import Results
from kvgpt.report.chart import Chart, Point, Series
from kvgpt.report.page.markup import Element, element


@dataclass(frozen=True)
class Choices:
    """What can be chosen: all that stands in a figure."""

    variants: tuple[str, ...]
    batch_sizes: tuple[int, ...]
    lengths: tuple[int, ...]


def choices(results: Results, charts: Sequence[Chart]) -> Choices:
    """The variants that have a look of their own, then others as they come; the sizes in their order."""
    points = list(_points(charts))
    drawn = {
        name for series, point in points for name in (series.variant, *(case.variant for case in point.cases)) if name
    }
    order = dict.fromkeys([*STYLES, *(case.variant for case in results.cases), *sorted(drawn)])
    return Choices(
        tuple(name for name in order if name in drawn),
        tuple(sorted({point.batch_size for _, point in points if point.batch_size is not None})),
        tuple(sorted({point.length for _, point in points if point.length is not None})),
    )


def bar(offered: Choices) -> Element:
    """The form, of those questions that have more than one answer."""
    lengths = [str(length) for length in offered.lengths]
    questions = [
        *_boxes("Variants", "variant", offered.variants),
        *_boxes("Batch sizes", "batch", [str(size) for size in offered.batch_sizes]),
        *([_range(lengths)] if len(lengths) > 1 else []),
    ]
    status = element("output", "everything", id="filter-status")
    summary = element("summary", element("span", "Filter: "), status)
    form = element("form", *questions, element("button", "Show everything", type="reset"), aria_label="Filter")
    return element("details", summary, form, id="filter", hidden="")


def _points(charts: Sequence[Chart]) -> Iterable[tuple[Series, Point]]:
    for chart in charts:
        for panel in chart.panels:
            for series in panel.series:
                for point in series.points:
                    yield series, point


def _boxes(legend: str, name: str, values: Sequence[str]) -> list[Element]:
    boxes = [
        element("label", element("input", type="checkbox", name=name, value=value, checked=""), element("span", value))
        for value in values
    ]
    return [element("fieldset", element("legend", legend), *boxes)] if len(boxes) > 1 else []


def _range(lengths: Sequence[str]) -> Element:
    ends = []
    for name, label, chosen in (("from", "from", lengths[0]), ("to", "to", lengths[-1])):
        options = [element("option", one, value=one, **({"selected": ""} if one == chosen else {})) for one in lengths]
        ends.append(element("label", element("span", label), element("select", *options, name=name)))
    return element("fieldset", element("legend", "T"), *ends)
