"""The SM clock of a GPU, held still for as long as somebody asks: through NVML, never otherwise, and never by default.

Drivers let the machine's owner alone do this. NVML does not say how a clock was locked before, so that unlocking lets
it move, whoever held it. Without persistence mode a driver may forget the lock once no program uses the GPU.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kvgpt.measure import device as devices
from kvgpt.measure.nvml import Gpu


@dataclass(frozen=True)
class Outcome:
    """Whether what was asked for happened, one sentence on it, and the SM clock in Hz while it is held."""

    done: bool
    said: str
    clock: float | None = None


def lock(gpu: Gpu, clock: float | None = None) -> Outcome:
    """Hold the SM clock at ``clock`` Hz, by default at the application clock that the card comes with.

    A driver that states none holds it at the base clock, which the power limit sustains. ValueError for a clock that
    the GPU does not have.
    """
    if clock is not None and clock <= 0:
        raise ValueError(f"SM clock {clock / 1e6:g} MHz: must be above 0")
    supported = gpu.supported_sm_clocks()
    if clock is not None and supported and clock not in supported:
        nearest = min(supported, key=lambda one: abs(one - clock))
        raise ValueError(
            f"SM clock {clock / 1e6:g} MHz: this GPU has clocks from {supported[0] / 1e6:g} to "
            f"{supported[-1] / 1e6:g} MHz, the nearest is {nearest / 1e6:g}"
        )
    application = gpu.default_sm_clock()
    target = clock or application
    refusal = gpu.lock_sm_clock(target)
    if refusal:
        return Outcome(False, f"the SM clock is not locked: {refusal}")
    which = "the clock asked for" if clock else "its application clock" if application else "its base clock"
    held = target or gpu.read().sm_clock
    shown = f", {held / 1e6:g} MHz" if held else ""
    return Outcome(True, f"the SM clock is locked to {which}{shown}", held)


def unlock(gpu: Gpu) -> Outcome:
    """Let the SM clock move again, whoever locked it."""
    refusal = gpu.unlock_sm_clock()
    if refusal:
        return Outcome(False, f"the SM clock is not unlocked: {refusal}")
    return Outcome(True, "the SM clock moves freely")


@contextmanager
def locked(device: str, gpu: Gpu | None = None) -> Iterator[Outcome]:
    """Hold the SM clock while something runs, and let it go after it, after a failure and after Ctrl-C too.

    Where that is not permitted the run goes on, and the outcome says so.
    """
    held = gpu or devices.gpu(device)
    outcome: Outcome | None = None  # also where the locking itself is interrupted: then nobody knows
    try:
        outcome = lock(held)
        yield outcome
    finally:
        if outcome is None or outcome.done:
            after = unlock(held)
            if outcome and not after.done:
                warnings.warn(f"{after.said}: run `kvgpt clocks unlock`", RuntimeWarning, stacklevel=3)
