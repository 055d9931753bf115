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

# As the original published them: at T = 1,024 ms and MB, the fits of ms by T², T and 1, sequences, ms of phases at
# T = 512, perplexities.
TOTALS = {"v0": 7362.5, "v1": 3347.9, "v2": 6754.1, "v3": 3072.0, "v4": 6913.4}
PEAKS = {"v0": 799.2, "v1": 920.8, "v2": 872.0, "v3": 848.8, "v4": 807.6}
FITS = {"v0": (0.00478, 2.27, 30.46), "v1": (0.0000578, 3.17, 1.06)}
SEQUENCES = {"v0": 491, "v1": 491, "v2": 594, "v3": 745, "v4": 1867}
MS_OF_PHASES = {"v0": (6.6, 1018.7, 1181.2, 84.0, 388.4), "v1": (5.7, 970.6, 588.5, 82.8, 671.1)}
PERPLEXITIES = {"v0": 21.76, "v1": 21.72, "v2": 21.73, "v3": 779.90, "v4": 782.94, "v3a": 116.88, "v4a": 116.92}
HEADS = {
    "latency": "| published, ms | speed, v1 = 1 | floor, ms | speed, v1 = 1 | floor / published",
    "generations": "T: ms a token | v0 | v1 | v2 | v3 | v4 | v3a | v4a",
    "steps": "held: ms a step | v0 | v1 | `dense-cat` | `dense+matmul` | v2 | `int8-unfused` | v3 | v4",
    "memory": "| published: peak, MB | below v1 | computed: cache, MB | below v1 "
    "| measured: cache, MB | peak, MB | below v1",
    "capacity": "| published | v1 = 1 | computed, caches alone | v1 = 1 | computed, plain steps | v1 = 1 "
    "| `nano`: predicted | found",
    "phases": "| published: v0 | v1 | measured: v0 | v1 | v2 | v3 | v4",
    "quality": "| published | v1 = 1 | measured: at once | v1 = 1 | one a step | change | ± nats",
}


class Measured:
    """The results, asked for one figure at a time."""

    def __init__(self, path=FILE):
        self.cases = recorded.read(path).cases

    def figure(self, family, model, variant, metric, part="value", **workload):
        """A figure in SI units, or another part of it; None where it was not measured."""
        for case in self.cases:
            place = (case.family, case.workload["model"], case.variant)
            if place == (family, model, variant) and all(case.workload.get(k) == v for k, v in workload.items()):
                return case.metrics.get(metric, {}).get(part)
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

    def fitted(self, variant, metric="max_batch"):
        return self.figure("capacity", "nano", variant, metric, mode="inference")

    def phase(self, variant, name):
        return self.figure("phases", "nano", variant, name)

    def quality(self, variant, mode, metric="perplexity", part="value"):
        return self.figure("perplexity", "nano", variant, metric, part, mode=mode)


def size(variant, context=1024):
    return sizing.size(MEDIUM, Variant.parse(variant), DTYPE, A6000, context)


def generation(variant, length=1024, batch_size=1):
    """Seconds that the original's card needs at least for a generation."""
    steps = itemised.generation(MEDIUM, Variant.parse(variant), DTYPE, batch_size, length)
    return sum(step.seconds(A6000.flops, A6000.bandwidth) for step in steps)


def kept(variant, context=1024):
    """MB of a sequence's cache."""
    return costs.cache_bytes(MEDIUM, Variant.parse(variant), 1, context, DTYPE) / 1e6


def published(variant, length):
    """Milliseconds by the original's own fit."""
    square, slope, constant = FITS[variant]
    return square * length**2 + slope * length + constant


def shown(value, form, scale=1.0):
    return "-" if value is None else format(value * scale, form)


def over(value, base, form=".2f"):
    return "-" if value is None or not base else format(value / base, form)


def slope(line):
    """µs for each token more, where that can be told from none."""
    return "-" if line is None else f"{1e6 * line.coefficients[0]:,.1f}" if line.leads else "none seen"


def latency(_):
    floor = {name: 1e3 * generation(name) for name in PLAIN}
    for name, total in TOTALS.items():
        speeds = over(TOTALS["v1"], total), over(floor["v1"], floor[name])
        yield name, f"{total:,.1f}", speeds[0], f"{floor[name]:,.0f}", speeds[1], over(floor[name], total, ".0%")


def generations(of):
    for length in LENGTHS:
        yield f"{length}", *(shown(of.per_token(name, length), ".2f", 1e3) for name in ALL)
    yield "µs more a token of T", *(slope(of.growth(of.per_token, name, LENGTHS)) for name in ALL)


def steps(of):
    for held in HELD:
        yield f"{held:,}", *(shown(of.step(name, held), ",.1f", 1e3) for name in STEPS)
    yield "µs more a token held", *(slope(of.growth(of.step, name, HELD)) for name in STEPS)


def memory(of):
    for name, peak in PEAKS.items():
        cache, mine = (of.memory(name, metric) for metric in ("cache_bytes", "peak_memory"))
        less = None if mine is None else of.memory("v1", "peak_memory") - mine
        theirs = peak, PEAKS["v1"] - peak, kept(name), kept("v1") - kept(name)
        ours = (shown(value, ".1f", 1e-6) for value in (cache, mine, less))
        yield name, *(f"{value:.1f}" for value in theirs), *ours


def capacity(of):
    of_v1 = SEQUENCES["v1"], size("v1").bound, size("v1").largest
    for name, fit in SEQUENCES.items():
        pairs = zip((fit, size(name).bound, size(name).largest), of_v1, strict=True)
        found = (shown(of.fitted(name, metric), ",.0f") for metric in ("max_batch_predicted", "max_batch"))
        yield name, *(cell for value, base in pairs for cell in (shown(value, ",.0f"), over(value, base))), *found


def phases(of):
    wholes = {name: sum(ms) for name, ms in MS_OF_PHASES.items()}
    for at, name in enumerate(PHASES):
        theirs = (over(MS_OF_PHASES[one][at], whole, ".0%") for one, whole in wholes.items())
        yield name, *theirs, *(over(of.phase(one, f"phase_{name}"), of.phase(one, "phase_sum"), ".0%") for one in PLAIN)
    theirs = (over(whole, published(name, 512), ".0%") for name, whole in wholes.items())
    ours = (over(of.phase(one, "phase_sum"), of.phase(one, "total_latency"), ".0%") for one in PLAIN)
    yield "their sum, of the whole", *theirs, *ours


def quality(of):
    bases = PERPLEXITIES["v1"], of.quality("v1", "teacher_forced")
    for name, perplexity in PERPLEXITIES.items():
        at_once, stepped = (of.quality(name, mode) for mode in ("teacher_forced", "autoregressive"))
        change = of.quality(name, "autoregressive", "perplexity_change")
        error = of.quality(name, "autoregressive", "nll_change", "stderr")
        theirs = f"{perplexity:.2f}", over(perplexity, bases[0], ".1f")
        ours = shown(at_once, ".2f"), over(at_once, bases[1], ".1f"), shown(stepped, ".2f")
        yield name, *theirs, *ours, shown(change, "+,.2%"), shown(error, ".4f")


TABLES = (latency, generations, steps, memory, capacity, phases, quality)


def tables(of):
    """Each as lines of Markdown, the heads first."""
    for rows in TABLES:
        heads = HEADS[rows.__name__]
        lines = [heads.removeprefix("| ").split(" | "), *rows(of)]
        if heads.startswith("| "):
            lines[0] = ["", *lines[0]]
        yield [f"| {' | '.join(line)} |" for line in (lines[0], ["---"] * len(lines[0]), *lines[1:])]


def validity(of):
    """What is said of the records' validity, on one line."""
    valid = sum(case.valid for case in of.cases)
    doubt = (
        "" if valid == len(of.cases) else " Others had the cores during the rest: times in their rows are no finding."
    )
    return f"Of its {len(of.cases)} records {valid} are valid.{doubt}"


def rewritten(page, of):
    """The page with these tables, and what is said of validity, in place of those that it has."""
    for table in tables(of):
        found = re.search(rf"^{re.escape(table[0])}\n(?:\|.*\n)+", page, flags=re.MULTILINE)
        if not found:
            raise ValueError(f"{PAGE}: no table with the heads {table[0]}")
        page = page.replace(found[0], "\n".join(table) + "\n")
    return re.sub(r"^Of its \d+ records .*$", validity(of), page, flags=re.MULTILINE)


if __name__ == "__main__":
    measured = Measured()
    if "--write" in sys.argv[1:]:
        PAGE.write_text(rewritten(PAGE.read_text(), measured))
    shown_tables = ["\n".join(table) for table in tables(measured)]
    sys.stdout.write("\n\n".join([*shown_tables, validity(measured)]) + "\n")
