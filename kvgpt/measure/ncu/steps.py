"""What Nsight Compute watches: each phase of each variant once, in a range of its own, and two kernels that are known.

Steps run through the kernels of the fastest way, unrecorded: a range is open where work is launched, and a recording is
launched as a whole.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch

from kvgpt.config import GPTConfig
from kvgpt.costs import Demand, bill
from kvgpt.engine import Engine
from kvgpt.fastest import fastest
from kvgpt.graphs import Graphed
from kvgpt.measure import roof
from kvgpt.measure.fill import stand_at
from kvgpt.measure.ncu.counted import PRODUCT, READ, Known
from kvgpt.measure.ncu.exported import PREFIX
from kvgpt.model import GPT
from kvgpt.policies import Policy
from kvgpt.recipes import Variant
from kvgpt.steps import Steps

PHASES = ("prefill", "decode")
DTYPE = "bfloat16"  # of the known product


@dataclass(frozen=True)
class Asked:
    """One phase of one variant, with so many rows and tokens."""

    variant: str
    phase: str
    batch_size: int
    context: int

    @property
    def name(self) -> str:
        """Of its range: letters, digits and underscores, since all else means something to ``--nvtx-include``."""
        return f"{re.sub('[^A-Za-z0-9]+', '_', self.variant)}__{self.phase}"

    @property
    def file(self) -> str:
        """As the original named them: ``v1_decode_metrics.json``."""
        return f"{self.variant.replace(':', '-').replace('/', '-')}_{self.phase}_metrics.json"

    def predicted(self, config: GPTConfig, dtype: str) -> Demand:
        """Its closed forms."""
        of = bill(config, Variant.parse(self.variant), dtype, self.batch_size)
        fed = {"prefill": self.context, "decode": 1}[self.phase]
        return of.step(held=self.context - fed, fed=fed)


def known(device: str) -> Known:
    """Bytes and operations of the two known kernels."""
    read, product = _calibrations(device)
    return Known(read.amount, product.amount)


@contextmanager
def nvtx(name: str) -> Iterator[None]:
    """A range of NVTX around what is launched within."""
    torch.cuda.nvtx.range_push(f"{PREFIX}{name}")
    try:
        yield
        torch.cuda.synchronize()
    finally:
        torch.cuda.nvtx.range_pop()


def run(
    model: GPT, asked: Sequence[Asked], device: str, mark: Callable[[str], AbstractContextManager[None]] = nvtx
) -> None:
    """Run the known kernels, then every phase, each once before its range, as the first time compiles and allocates."""
    for name, probe in zip((READ, PRODUCT), _calibrations(device), strict=True):
        probe.run()
        with mark(name):
            probe.run()
    for one in asked:
        engine = Engine(model, one.variant, one.batch_size, one.context, steps=_unrecorded)
        ready, step = _body(engine, one)
        for place in (_nowhere, mark):
            ready()
            with place(one.name):
                step()


def _body(engine: Engine, one: Asked) -> tuple[Callable[[], object], Callable[[], object]]:
    """What comes before a phase, and the phase."""
    fed = {"prefill": one.context, "decode": 1}[one.phase]
    ids = torch.zeros(one.batch_size, fed, dtype=torch.int64, device=engine.model.device)  # (B, T)
    if one.phase == "prefill":
        return engine.reset, lambda: engine.prefill(ids)
    return lambda: stand_at(engine, one.context - 1), lambda: engine.decode(ids)


def _calibrations(device: str) -> tuple[roof.Probe, roof.Probe]:
    return roof.reading(device, roof.SIZES[device][-1]), roof.multiplying(device, DTYPE)


def _unrecorded(model: GPT, policy: Policy) -> Steps:
    made = fastest(model, policy)
    return made.steps if isinstance(made, Graphed) else made


@contextmanager
def _nowhere(name: str) -> Iterator[None]:
    yield
