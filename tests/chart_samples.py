"""Charts of every form, scale and decoration, over made-up figures: what a page or a picture has to cope with."""

from dataclasses import replace
from pathlib import Path

from kvgpt.recipes import OTHERS, STYLES
from kvgpt.record import metric, record
from kvgpt.recorded import Case, Results, Workload
from kvgpt.report.chart import Axis, Callout, Chart, Corner, Panel, Point, Rule, Series, Zone
from kvgpt.report.page import Verdict
from kvgpt.report.tabular import Column, Table

LENGTHS = (32, 64, 128, 256)
VARIANTS = {"v0": 4.0, "v1": 1.0, "v2": 2.0, "pkg.mod:Class+cla2": 1.5}
PHASES = {"embedding": 0.01, "attention": 0.5, "mlp": 0.3, "head": 0.1, "other": 0.2}

EVIL = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><script>alert(1)</script>",
    "<!-- <script>",
    "</style><b>",
    "' onmouseover='alert(1)",
    "$data ${script}",
    "\u2028\ud800\x00",
)


def case(variant, length, batch_size=1, value=1.0, notes=()):
    """A case of the latency family with two passes of samples."""
    figure = metric("per_token_latency", value, interval=(0.9 * value, 1.1 * value))
    figure["processes"] = [[0.9 * value, value, 1.1 * value], [value, 1.05 * value]]
    workload = {"model": "nano", "batch_size": batch_size, "new_tokens": length}
    made = record("latency", variant, variant, workload, {"per_token_latency": figure}, notes)
    name = f"bench_latency[{variant}-{length}-{batch_size}]"
    fields = (made["metrics"], made["validity"]["ok"], tuple(notes), {})
    return Case(name, "latency", variant, variant, Workload(workload, name), *fields)


CASES = {
    (variant, length, batch): case(variant, length, batch, 1e-3 * cost * length / 32)
    for variant, cost in VARIANTS.items()
    for length in LENGTHS
    for batch in (1, 8)
}


def of_length(variant, length, batch=1, **fields):
    """A point at a length, with its case behind it."""
    one = CASES[variant, length, batch]
    low, high = one.interval("per_token_latency")
    described = {"y": 1e3 * one.value("per_token_latency"), "low": 1e3 * low, "high": 1e3 * high} | fields
    return Point(x=float(length), length=length, batch_size=batch, cases=(one,), **described)


def curves():
    """Lines with whiskers, bands, fits and projections on an axis of lengths, a panel for each batch size."""
    panels = []
    for batch in (1, 8):
        series = []
        for variant in VARIANTS:
            points = tuple(of_length(variant, length, batch) for length in LENGTHS)
            beyond = tuple(Point(float(x), points[0].y * x / 32) for x in (256, 512))
            series += [
                Series(variant, "line", points, variant=variant, metric="per_token_latency"),
                Series(variant, "band", points, variant=variant, in_legend=False),
                Series("projected", "projection", beyond, variant=variant, in_legend=False),
            ]
        x = Axis("new tokens T", "log2", ticks=tuple(map(float, (*LENGTHS, 512))))
        panels.append(Panel(f"nano, B = {batch}", x, Axis("latency (ms)", low=0.0), tuple(series)))
    fitted = Series("fit", "fit", tuple(Point(float(x), x / 8) for x in range(32, 257, 4)), variant="v0")
    measured = Series("v0", "marks", tuple(of_length("v0", length) for length in LENGTHS), variant="v0", metric="gone")
    panels.append(Panel("a fit", Axis("new tokens T"), Axis("latency (ms)"), (fitted, measured)))
    return Chart("curves", "Curves", tuple(panels), ("v1 is 4 times as fast as v0 at T = 256.",))


def columns():
    """Bars, one for each variant and side by side, and a stack of phases."""
    names = tuple(VARIANTS)
    each = tuple(
        Series(name, "bars", (_at(place, of_length(name, 256, label=f"{100 * VARIANTS[name]:.0f}%")),), variant=name)
        for place, name in enumerate(names)
    )
    phased = {
        form: tuple(
            Series(
                phase,
                form,
                tuple(_at(place, of_length(name, 128), share) for place, name in enumerate(names)),
                phase=phase,
            )
            for phase, share in PHASES.items()
        )
        for form in ("bars", "stack")
    }
    x, y = Axis("", "names", names=names), Axis("latency (ms)")
    zones = (
        Zone("y", None, 10.0, "good", "good"),
        Zone("y", 10.0, 20.0, "fair", "fair"),
        Zone("y", 20.0, None, "poor", "poor"),
    )
    return Chart(
        "columns",
        "Columns",
        (
            Panel(
                "one each",
                x,
                Axis("latency (ms)", low=0.0, high=50.0),
                each,
                zones=zones,
                rules=(Rule("y", 8.0, "poor", "v1"),),
                callouts=(Callout("four times as slow as v1", 0, 32.0),),
            ),
            Panel("on a log axis", x, Axis("latency (ms)", "log"), each),
            Panel("side by side", x, y, phased["bars"], zones=(Zone("x", 0.5, 1.5, "good", "acceptable"),)),
            Panel("stacked", x, y, phased["stack"]),
        ),
    )


def _at(place, point, share=1.0):
    scaled = {name: share * getattr(point, name) for name in ("y", "low", "high")}
    return Point(x=float(place), **scaled, label=point.label, length=point.length, batch_size=1, cases=point.cases)


def pies():
    """Two pies."""
    panels = []
    for name in ("v0", "v1"):
        whole = of_length(name, 128)
        series = tuple(
            Series(phase, "slices", (_at(0, whole, share),), phase=phase, variant=None)
            for phase, share in PHASES.items()
        )
        panels.append(Panel(name, Axis(""), Axis("latency (ms)"), series))
    return Chart("pies", "Pies", tuple(panels))


def scatter():
    """Marks with labels, hollow ones, a frontier, a region, quadrants; a roofline; changes around zero; spans."""
    points = {name: (100.0 * place, cost) for place, (name, cost) in enumerate(VARIANTS.items(), 1)}
    marks = tuple(
        Series(
            name,
            "marks",
            (Point(x, y, label=name, length=256, batch_size=1, cases=(CASES[name, 256, 1],)),),
            variant=name,
            faint=name == "v2",
        )
        for name, (x, y) in points.items()
    )
    frontier = Series(
        "frontier", "frontier", tuple(Point(*points[name], cases=(CASES[name, 256, 1],)) for name in ("v0", "v1"))
    )
    region = Series("dominated", "region", (Point(200.0, 1.0), Point(450.0, 1.0), Point(450.0, 4.0), Point(200.0, 4.0)))
    corners = (Corner("fast and small", 0.02, 0.02), Corner("slow and large", 0.8, 0.95))
    trade = Panel(
        "trade-off", Axis("peak memory (MB)"), Axis("latency (ms)"), (region, frontier, *marks), corners=corners
    )
    roof = Series("roof", "frontier", (Point(0.1, 76.8), Point(406.0, 312_000.0), Point(1000.0, 312_000.0)))
    kernels = Series(
        "v1", "marks", (Point(0.51, 146.3, label="decode"), Point(1.56, 375.0, label="prefill")), variant="v1"
    )
    roofline = Panel(
        "roofline",
        Axis("FLOP/B", "log", 0.1, 1000.0),
        Axis("GFLOP/s", "log"),
        (roof, kernels),
        zones=(Zone("x", None, 406.0, "neutral", "memory bound"),),
        rules=(Rule("x", 406.0, label="ridge 406"),),
        callouts=(Callout("4.7 times below the roof at this intensity", 0.51, 146.3, "poor"),),
    )
    names = tuple(VARIANTS)
    changes = tuple(
        Series(
            name,
            "marks",
            (Point(float(place), value, value - 0.05, value + 0.05, f"{value:+g}%", cases=(CASES[name, 256, 1],)),),
            variant=name,
        )
        for place, (name, value) in enumerate(zip(names, (0.0, -0.02, 0.05, 3489.0), strict=True))
    )
    symlog = Panel("changes", Axis("", "names", names=names), Axis("change (%)", "symlog"), changes)
    return Chart("scatter", "Scatter", (trade, roofline, symlog, timeline()))


def timeline():
    """Two spans of v1 below one of v0, a polygon each."""
    rows = (("v1", ((0.0, 30.0), (50.0, 90.0))), ("v0", ((10.0, 100.0),)))
    series = []
    for row, (name, spans) in enumerate(rows):
        corners = [(x, row + y) for low, high in spans for x, y in ((low, -0.3), (low, 0.3), (high, 0.3), (high, -0.3))]
        first = Point(*corners[0], cases=(CASES[name, 256, 1],))
        points = (first, *(Point(*corner) for corner in corners[1:]))
        series.append(Series("attention", "spans", points, phase="attention", in_legend=not row))
    return Panel("a step", Axis("share of the step (%)"), Axis("", "names", names=("v1", "v0")), tuple(series))


def every_look():
    """A mark for each variant that has a look of its own, and for as many strangers as there are looks for them."""
    names = [*STYLES, *(f"stranger {number}" for number in range(len(OTHERS)))]
    series = tuple(Series(name, "marks", (Point(float(place), 1.0),), variant=name) for place, name in enumerate(names))
    return Chart("looks", "Looks", (Panel("", Axis(""), Axis(""), series),))


def every_form():
    """A chart for each kind of picture."""
    return [curves(), columns(), pies(), scatter()]


def tables():
    """A summary with a row that nobody knows much about, and a table of lengths."""
    summary = Table(
        "summary",
        "Summary",
        (Column("variant"), Column("cache"), Column("ms/token", ".3f")),
        (("v1", "dense", 10.0), ("v0", "none", 9.0), ("v2 *", "int8", None)),
        ("B = 1, T = 256",),
    )
    lengths = Table(
        "latency",
        "Latency",
        (Column("T", ",d"), Column("v1", ".2f"), Column("v0", ".2f")),
        tuple((length, length / 32, length / 8) for length in LENGTHS),
        batch_size=1,
    )
    return [summary, lengths]


def saying(word):
    """What a page is written from where everything that results, charts and tables can say is this word."""
    measured = case("v1", 64, notes=(word,))
    workload = {"model": word, "batch_size": 1, "new_tokens": 64}
    own = replace(measured, name=word, variant=word, canonical=word, workload=workload)
    series = [
        Series(
            word, "line", (Point(0.0, 2.0, label=word, cases=(one,)),), variant=one.variant, metric="per_token_latency"
        )
        for one in (own, CASES["v0", 64, 1])
    ]
    axis = Axis(word, "names", names=(word,))
    said = {"zones": (Zone("y", 1.0, None, "good", word),), "rules": (Rule("y", 1.0, label=word),)}
    texts = {"callouts": (Callout(word, 0.0, 2.0),), "corners": (Corner(word, 0.0, 0.0),)}
    panel = Panel(word, axis, Axis(word), tuple(series), **said, **texts)
    table = Table(word, word, (Column("variant"), Column(word)), ((word, word), (word, None)), (word,))
    device = {word: word, "name": word, "nested": {word: [word]}}
    return {
        "results": Results(Path("made-up.json"), device, (own, CASES["v0", 64, 1])),
        "charts": [Chart(word, word, (panel,), (word,))],
        "missing": [f"{word}: {word}: {word}"],
        "tables": [table, table],
        "verdict": Verdict(word, "poor", (word,)),
        "remarks": [word],
    }
