"""The tables of docs/from-the-original.md, worked out from the reference results and the closed forms.

``python tests/retold.py`` prints them, with ``--write`` it puts them into the page, in place of those with the same
heads: what is to be done after `benchmarks/reference/original-2-cores.json` was measured again.
"""

import re
import sys
from pathlib import Path

from kvgpt import costs, itemised, recorded, sizing
from kvgpt.config import GPTConfig
from kvgpt.datasheets import sheet
from kvgpt.recipes import Variant
from kvgpt.report import fits

HOME = Path(__file__).parent.parent
PAGE = HOME / "docs" / "from-the-original.md"
FILE = HOME / "benchmarks" / "reference" / "original-2-cores.json"
MEDIUM, DTYPE, CARD = GPTConfig.preset("gpt2-medium"), "bfloat16", sheet("a6000")
A6000 = sizing.Rates(CARD.name, 47.3 * 2**30, CARD.bandwidth, CARD.rate(DTYPE))  # as much as the original filled
PLAIN = ("v0", "v1", "v2", "v3", "v4")
ALL = (*PLAIN, "v3a", "v4a")
STEPS = ("v0", "v1", "dense-cat", "dense+matmul", "v2", "int8-unfused", "v3", "v4")
LENGTHS, HELD = (32, 64, 96, 128, 192, 256), (128, 256, 512, 1024)
PHASES = ("embedding", "attention", "mlp", "head", "other")

# As the original published them: at T = 1,024 ms and MB, sequences, ms of phases at T = 512, perplexities.
TOTALS = {"v0": 7362.5, "v1": 3347.9, "v2": 6754.1, "v3": 3072.0, "v4": 6913.4}
PEAKS = {"v0": 799.2, "v1": 920.8, "v2": 872.0, "v3": 848.8, "v4": 807.6}
SEQUENCES = {"v0": 491, "v1": 491, "v2": 594, "v3": 745, "v4": 1867}
MS_OF_PHASES = {"v0": (6.6, 1018.7, 1181.2, 84.0, 388.4), "v1": (5.7, 970.6, 588.5, 82.8, 671.1)}
PERPLEXITIES = {"v0": 21.76, "v1": 21.72, "v2": 21.73, "v3": 779.90, "v4": 782.94, "v3a": 116.88, "v4a": 116.92}


class Measured:
    """The results, asked for one figure at a time."""

    def __init__(self, path=FILE):
        self.cases = recorded.read(path).cases

    def figure(self, family, model, variant, metric="value", **workload):
        """A figure in SI units; None where it was not measured."""
        for case in self.cases:
            place = (case.family, case.workload["model"], case.variant)
            if place == (family, model, variant) and all(case.workload.get(k) == v for k, v in workload.items()):
                return case.value(metric)
        return None

    def per_token(self, variant, length):
        return self.figure("latency", "nano", variant, "per_token_latency", prompt=1, new_tokens=length)

    def step(self, variant, held):
        return self.figure("decode", "gpt2", variant, "per_token_latency", context=held)

    def growth(self, time, variant, places):
        """The straight line through a variant's times; None where too few were measured."""
        points = [(place, value) for place in places if (value := time(variant, place)) is not None]
        return fits.fit(*zip(*points, strict=True), 1) if points else None

    def memory(self, variant, metric):
        return self.figure("memory", "gpt2", variant, metric, new_tokens=max(HELD))

    def fitted(self, variant):
        return self.figure("capacity", "nano", variant, "max_batch", mode="inference")

    def phase(self, variant, name):
        return self.figure("phases", "nano", variant, name)

    def quality(self, variant, mode, metric):
        return self.figure("perplexity", "nano", variant, metric, mode=mode)


def size(variant, context=1024):
    return sizing.size(MEDIUM, Variant.parse(variant), DTYPE, A6000, context)


def generation(variant, length=1024, batch_size=1):
    """Seconds that the original's card needs at least for a generation."""
    steps = itemised.generation(MEDIUM, Variant.parse(variant), DTYPE, batch_size, length)
    return sum(step.seconds(A6000.flops, A6000.bandwidth) for step in steps)


def kept(variant, context=1024):
    return costs.cache_bytes(MEDIUM, Variant.parse(variant), 1, context, DTYPE)


def shown(value, form):
    return "-" if value is None else format(value, form)


def over(value, base, form=".2f"):
    return "-" if value is None or not base else format(value / base, form)


def ms(seconds, form=".2f"):
    return shown(None if seconds is None else 1e3 * seconds, form)


def slope(line, form=".1f"):
    """µs for each token more, where that can be told from none."""
    return "-" if line is None else format(1e6 * line.coefficients[0], form) if line.leads else "none seen"


def latency():
    """The original's totals at T = 1,024 beside the floors of its card."""
    floor = {name: generation(name) for name in PLAIN}
    yield "", "published, ms", "speed, v1 = 1", "floor, ms", "speed, v1 = 1", "floor / published"
    for name in PLAIN:
        total = TOTALS[name]
        of_floors = over(floor["v1"], floor[name])
        yield (
            name,
            f"{total:,.1f}",
            over(TOTALS["v1"], total),
            ms(floor[name], ",.0f"),
            of_floors,
            f"{1e3 * floor[name] / total:.0%}",
        )


def generations(of):
    yield "T: ms a token", *ALL
    for length in LENGTHS:
        yield str(length), *(ms(of.per_token(name, length)) for name in ALL)
    yield "µs more a token of T", *(slope(of.growth(of.per_token, name, LENGTHS)) for name in ALL)


def steps(of):
    yield "held: ms a step", *(f"`{name}`" if name not in ALL else name for name in STEPS)
    for held in HELD:
        yield str(held), *(ms(of.step(name, held), ".1f") for name in STEPS)
    yield "µs more a token held", *(slope(of.growth(of.step, name, HELD)) for name in STEPS)


def memory(of):
    yield (
        "",
        "published: peak, MB",
        "below v1",
        "computed: cache, MB",
        "below v1",
        "measured: cache, MB",
        "peak, MB",
        "below v1",
    )
    for name in PLAIN:
        cache, peak = (of.memory(name, metric) for metric in ("cache_bytes", "peak_memory"))
        less = None if peak is None else of.memory("v1", "peak_memory") - peak
        mine, saved = kept(name) / 1e6, (kept("v1") - kept(name)) / 1e6
        yield (
            name, f"{PEAKS[name]:.1f}", f"{PEAKS['v1'] - PEAKS[name]:.1f}", f"{mine:.1f}", f"{saved:.1f}",
            *(shown(None if value is None else value / 1e6, ".1f") for value in (cache, peak, less)),
        )  # fmt: skip


def capacity(of):
    yield (
        "",
        "published",
        "v1 = 1",
        "computed, caches alone",
        "v1 = 1",
        "computed, plain steps",
        "v1 = 1",
        "measured",
        "v1 = 1",
    )
    base, found = size("v1"), of.fitted("v1")
    for name in PLAIN:
        one, mine = size(name), of.fitted(name)
        yield (
            name, f"{SEQUENCES[name]:,}", over(SEQUENCES[name], SEQUENCES["v1"]),
            shown(one.bound, ","), over(one.bound, base.bound), f"{one.largest:,}", over(one.largest, base.largest),
            shown(mine, ",.0f"), over(mine, found),
        )  # fmt: skip


def phases(of):
    yield "", "published: v0", "v1", "measured: v0", *PLAIN[1:]
    for at, name in enumerate(PHASES):
        published = (MS_OF_PHASES[version][at] / sum(MS_OF_PHASES[version]) for version in ("v0", "v1"))
        mine = (over(of.phase(one, f"phase_{name}"), of.phase(one, "phase_sum"), ".0%") for one in PLAIN)
        yield name, *(f"{share:.0%}" for share in published), *mine
    fit = {"v0": 0.00478 * 512**2 + 2.27 * 512 + 30.46, "v1": 0.0000578 * 512**2 + 3.17 * 512 + 1.06}
    whole = (f"{sum(MS_OF_PHASES[version]) / fit[version]:.0%}" for version in ("v0", "v1"))
    yield (
        "their sum, of the whole",
        *whole,
        *(over(of.phase(one, "phase_sum"), of.phase(one, "total_latency"), ".0%") for one in PLAIN),
    )


def quality(of):
    yield "", "published", "v1 = 1", "measured: at once", "v1 = 1", "one a step", "change", "± nats"
    base = of.quality("v1", "teacher_forced", "perplexity")
    for name in ALL:
        at_once, stepped, change = (
            of.quality(name, *which)
            for which in (
                ("teacher_forced", "perplexity"), ("autoregressive", "perplexity"), ("autoregressive", "perplexity_change")
            )
        )  # fmt: skip
        error = next(
            (
                case.metrics["nll_change"].get("stderr")
                for case in of.cases
                if (case.family, case.variant, case.workload.get("mode")) == ("perplexity", name, "autoregressive")
                and "nll_change" in case.metrics
            ),
            None,
        )
        yield (
            name, f"{PERPLEXITIES[name]:.2f}", over(PERPLEXITIES[name], PERPLEXITIES["v1"], ".1f"),
            shown(at_once, ".2f"), over(at_once, base, ".1f"), shown(stepped, ".2f"), shown(change, "+.2%"), shown(error, ".4f"),
        )  # fmt: skip


def tables(of):
    """Each as lines of Markdown, the heads first."""
    for rows in (latency(), generations(of), steps(of), memory(of), capacity(of), phases(of), quality(of)):
        heads, *cells = rows
        lines = [heads, ("---",) * len(heads), *cells]
        yield [f"| {' | '.join(line)} |" for line in lines]


def validity(of):
    """What is said of the records' validity."""
    return f"Of its {len(of.cases)} records {sum(case.valid for case in of.cases)} are valid."


def rewritten(page, of):
    """The page with these tables, and what is said of validity, in place of those that it has."""
    for table in tables(of):
        found = re.search(rf"^{re.escape(table[0])}\n(?:\|.*\n)+", page, flags=re.MULTILINE)
        if not found:
            raise ValueError(f"{PAGE}: no table with the heads {table[0]}")
        page = page.replace(found[0], "\n".join(table) + "\n")
    return re.sub(r"Of its \d+ records \d+ are valid\.", validity(of), page)


if __name__ == "__main__":
    measured = Measured()
    if "--write" in sys.argv[1:]:
        PAGE.write_text(rewritten(PAGE.read_text(), measured))
    print("\n\n".join("\n".join(table) for table in tables(measured)), validity(measured), sep="\n\n")
