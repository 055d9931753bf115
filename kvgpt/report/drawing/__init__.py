"""Charts as pictures: PNG and PDF of each, the same bytes from the same chart."""

from collections.abc import Sequence
from pathlib import Path

from kvgpt.report import style, whole
from kvgpt.report.chart import Chart
from kvgpt.report.drawing import looks, sheet


def draw(charts: Sequence[Chart], directory: Path) -> list[Path]:
    """Write ``<name>.png`` and ``<name>.pdf`` of each chart. A variant looks the same in all of them."""
    variants = looks.of_variants(charts)
    written = []
    for chart in charts:
        with style.applied():
            drawn = sheet.figure(chart, variants)
            for suffix, picture in style.pictures(drawn):
                written.append(whole.write(directory / f"{whole.stem(chart.name)}.{suffix}", picture))
    return written
