"""What a machine does to the time of a call, in five models: independent, drifting, spiky, switching and recorded.

Each gives factors, around 1, for calls that follow one another. The recorded ones are real: ``data/timings.npz`` holds
75,000 consecutive calls of one small piece of work, the product of a 1024 x 1024 float32 matrix with a vector, twice,
on one thread, as float16 ratios to their median of 0.11 ms. The machine, a virtual one, was busy, on
purpose: a load average of 5 on two cores. One call in ten took at least 1.5 times the median, one in twenty 2.5
times, one in a hundred 42 times, and for thousands of calls on end all were slower by 15%.
``OPENBLAS_NUM_THREADS=1 python tests/noise.py FILE`` records another.
"""

import sys
from pathlib import Path
from time import perf_counter_ns

import numpy as np

TRACE = Path(__file__).parent / "data" / "timings.npz"


def independent(drawn: np.random.Generator, calls: int) -> np.ndarray:
    """Each call by itself, by 15%."""
    return drawn.lognormal(sigma=0.15, size=calls)  # (calls,)


def drifting(drawn: np.random.Generator, calls: int) -> np.ndarray:
    """A trend of up to 30% from the first call to the last, a random walk, and 3% a call."""
    trend = drawn.uniform(-0.3, 0.3) * np.linspace(0, 1, calls)
    walk = drawn.normal(scale=0.1 / np.sqrt(calls), size=calls).cumsum()
    return np.exp(trend + walk + drawn.normal(scale=0.03, size=calls))


def spiky(drawn: np.random.Generator, calls: int) -> np.ndarray:
    """One call in five takes longer, without limit, and each is off by 3%."""
    spikes = np.where(drawn.random(calls) < 0.2, drawn.pareto(1.5, calls), 0)
    return drawn.lognormal(sigma=0.03, size=calls) * (1 + spikes)


def switching(drawn: np.random.Generator, calls: int) -> np.ndarray:
    """A machine at full speed or at two thirds of it, for 100 calls at a time in the mean, and 3% a call."""
    slow = (drawn.random(calls) < 0.01).cumsum() % 2 != drawn.integers(2)
    return np.where(slow, 1.5, 1.0) * drawn.lognormal(sigma=0.03, size=calls)


def recorded(drawn: np.random.Generator, calls: int) -> np.ndarray:
    """A stretch of the trace, from anywhere in it."""
    start = drawn.integers(len(_RATIOS) - calls + 1)
    return _RATIOS[start : start + calls]


MODELS = (independent, drifting, spiky, switching, recorded)


def in_turns(factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The calls of a and of b, where they come as a b b a, b a a b."""
    rounds = factors.reshape(-1, 8)  # (calls / 8, 8)
    return rounds[:, [0, 3, 5, 6]].ravel(), rounds[:, [1, 2, 4, 7]].ravel()  # each (calls / 2,)


def record(path: Path, calls: int = 75_000) -> None:
    """Time the work on this machine and write the ratios, whole or not at all."""
    drawn = np.random.default_rng(0)
    matrix, vector = (drawn.standard_normal(shape, dtype=np.float32) for shape in [(1024, 1024), 1024])
    durations = np.empty(calls)
    for i in range(-1000, calls):  # a thousand calls to warm up, overwritten later
        start = perf_counter_ns()
        matrix @ (matrix @ vector)
        durations[i] = perf_counter_ns() - start
    median = np.median(durations)
    beside = path.with_suffix(".part.npz")
    np.savez_compressed(
        beside, ratios=(durations / median).astype(np.float16), median=median / 1e9
    )  # a number, seconds
    beside.replace(path)


if __name__ == "__main__":
    record(Path(sys.argv[1]))
else:
    with np.load(TRACE, allow_pickle=False) as _file:
        _RATIOS = _file["ratios"].astype(float)  # (75000,)
