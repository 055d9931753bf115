"""The original research's roofline: its three points as published, and what they must have been.

Its counters were additions, multiplications and fused multiply-adds of the CUDA cores. A product of bfloat16 matrices
runs on the tensor cores, none of whose instructions was counted, so its operations are missing. Its roof, 312 TFLOP/s,
is an A100's; an RTX A6000 has 154.8. How many tokens it fed was not written down: the figures are for the shortest and
the longest context of its other measurements. Everything recomputed is modelled.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from kvgpt.config import GPTConfig
from kvgpt.costs import Demand, bill
from kvgpt.plain import quantity
from kvgpt.recipes import Variant

MODEL, DTYPE = "gpt2-medium", "bfloat16"
LENGTHS = (32, 1024)


@dataclass(frozen=True)
class Card:
    """What a GPU does at best, as its maker says: bytes and dense operations a second."""

    name: str
    bandwidth: float
    flops: float

    @property
    def ridge(self) -> float:
        return self.flops / self.bandwidth

    def roof(self, intensity: float) -> float:
        """Operations a second at so many of them a byte."""
        return min(self.flops, intensity * self.bandwidth)


OWN = Card("RTX A6000", 768e9, 154.8e12)  # dense bfloat16 with float32 sums
CLAIMED = Card("A100", 768e9, 312e12)  # the A6000's bandwidth under the other's products


@dataclass(frozen=True)
class Published:
    """One row of the published table: bytes, instructions and seconds counted; what was worked out from them."""

    variant: str
    phase: str
    dram_bytes: float
    adds: float
    multiplies: float
    fused: float
    flops: float
    seconds: float
    intensity: float
    achieved: float
    efficiency: float

    @property
    def name(self) -> str:
        return f"{self.variant}_{self.phase}"


PUBLISHED = (
    Published("v0", "prefill", 1.48e9, 397.7e6, 432.2e6, 745.8e6, 2.32e9, 6158e-6, 1.57, 377.0e9, 0.31),
    Published("v1", "prefill", 1.48e9, 397.7e6, 432.3e6, 746.0e6, 2.32e9, 6191e-6, 1.56, 375.0e9, 0.31),
    Published("v1", "decode", 0.88e9, 40.9e6, 42.6e6, 182.4e6, 0.45e9, 3065e-6, 0.51, 146.3e9, 0.19),
)


@dataclass(frozen=True)
class Row:
    """A published figure, the same by closed form at each of :data:`LENGTHS`, and how many times one is the other."""

    name: str
    figure: str
    published: float
    recomputed: tuple[float, ...]
    unit: str

    @property
    def off(self) -> tuple[float, float]:
        """The least and the largest factor."""
        factors = sorted(value / self.published for value in self.recomputed)
        return factors[0], factors[-1]

    def printed(self) -> tuple[str, ...]:
        """Its cells: name, figure, published, at each length, factor."""
        values = [quantity(value, self.unit, 3) if self.unit else f"{value:.3g}" for value in self.recomputed]
        least, most = (f"{factor:,.3g}" for factor in self.off)
        factor = least if least == most else f"{least} to {most}"
        published = quantity(self.published, self.unit) if self.unit else f"{self.published:g}"
        return self.name, self.figure, published, *values, factor


def recomputed(one: Published, length: int) -> Demand:
    """What a step of this row asks for: a prompt of ``length`` tokens, or a token when ``length`` are held with it."""
    of = bill(GPTConfig.preset(MODEL), Variant.parse(one.variant), DTYPE, batch_size=1)
    return of.step(held=0, fed=length) if one.phase == "prefill" else of.step(held=length - 1)


def rows() -> Iterator[Row]:
    """Every figure of the published table that has a closed form, and the two of its roof."""
    for one in PUBLISHED:
        steps = [recomputed(one, length) for length in LENGTHS]
        intensities = tuple(step.flops / step.bytes for step in steps)
        rates = tuple(step.flops / one.seconds for step in steps)
        shares = tuple(rate / OWN.roof(at) for rate, at in zip(rates, intensities, strict=True))
        yield Row(one.name, "DRAM traffic, counted", one.dram_bytes, tuple(step.bytes for step in steps), "B")
        yield Row(one.name, "operations", one.flops, tuple(step.flops for step in steps), "FLOP")
        yield Row(one.name, "arithmetic intensity", one.intensity, intensities, "FLOP/B")
        yield Row(one.name, "achieved", one.achieved, rates, "FLOP/s")
        yield Row(one.name, "of its roof", one.efficiency, shares, "")
    yield Row("roof", "products", CLAIMED.flops, (OWN.flops,) * len(LENGTHS), "FLOP/s")
    yield Row("roof", "ridge", CLAIMED.ridge, (OWN.ridge,) * len(LENGTHS), "FLOP/B")


def table() -> list[str]:
    """All rows as lines of Markdown, as docs/roofline.md shows them."""
    heads = ("point", "figure", "published", *(f"{length:,} tokens" for length in LENGTHS), "times the published")
    lines = [heads, ("---",) * len(heads), *(row.printed() for row in rows())]
    return [f"| {' | '.join(line)} |" for line in lines]
