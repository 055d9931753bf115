"""Charts as pictures: PNG and PDF of each, the same bytes from the same chart."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from kvgpt import whole
from kvgpt.report import looks, style
from kvgpt.report.chart import Chart
from kvgpt.report.drawing import sheet


def draw(charts: Sequence[Chart], directory: Path) -> list[Path]:
    """Write ``<name>.png`` and ``<name>.pdf`` of each chart. A variant looks the same in all of them."""
    stems = [whole.stem(chart.name) for chart in charts]
    if twice := [name for name, count in Counter(stems).items() if count > 1]:
        raise ValueError(f"more than one chart is named {', '.join(twice)}: one would replace the other")
    variants = looks.of_variants(charts)
    written = []
    for chart, stem in zip(charts, stems, strict=True):
        with style.applied():
            drawn = sheet.figure(chart, variants)
            for suffix, picture in style.pictures(drawn):
                written.append(whole.write(directory / f"{stem}.{suffix}", picture))
    return written
