"""What a process takes: a fresh one builds a model and an engine, serves once, and says by how much it grew.

``python -m kvgpt.measure.resident`` is that process: one line of JSON in, one line out. It has served a small model
before its growth counts, so that code and buffers which every model needs are there. Linux only: elsewhere nothing is
known.
"""

import ctypes
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from kvgpt import registry, text
from kvgpt.config import GPTConfig
from kvgpt.engine import Engine
from kvgpt.measure import memory
from kvgpt.model import GPT

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")  # a 5 written there lets the peak start again from what is resident
SMALL = GPTConfig(n_layer=2, n_head=4, n_embd=256, vocab_size=512, block_size=256)
SECONDS = 600.0
LITTLE_LESS = 0.95  # of the weights and the cache: some of their pages may have been there before
MOST, SPARE = 3, 64 * 2**20  # times those, for a checkpoint's file mapped beside its tensors, and bytes for the rest


@dataclass(frozen=True)
class Serving:
    """What the fresh process does: feed ``new_tokens - 1`` tokens a row at once, then decode one more.

    ``variant`` is a variant's name or, where ``plug_in`` is set, the user's own package.module:Class[+cla2].
    """

    model: str
    weights: str
    dtype: str
    variant: str
    batch_size: int
    new_tokens: int
    threads: int
    plug_in: bool = False


def measure(serving: Serving, seconds: float = SECONDS) -> dict[str, int]:
    """``resident_memory`` and ``resident_peak`` of a fresh process in bytes; what the system does not say is absent.

    ValueError with the last line that the process wrote, where it fails or is not done after ``seconds``.
    """
    if memory.resident() is None:
        return {}
    command = [sys.executable, "-P", "-m", __spec__.name]  # -P: what it imports is said by this path alone
    path = os.pathsep.join(place or str(Path.cwd()) for place in sys.path)
    try:
        child = subprocess.run(  # noqa: S603 - this interpreter and this module, no shell
            command,
            input=json.dumps(asdict(serving)),
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"{serving}: not measured after {seconds:g} s: allow more, or serve fewer tokens") from error
    if child.returncode:
        lines = child.stderr.split("\n") if child.stderr.strip() else [f"exit code {child.returncode}", ""]
        raise ValueError(f"{serving}: not measured: {[line for line in lines if line.strip()][-1].strip()}")
    figures: dict[str, int] = json.loads(child.stdout.splitlines()[-1])  # a plug-in may print, before
    return figures


def doubts(figures: Mapping[str, int], least: int) -> list[str]:
    """Why a process that must have touched ``least`` bytes, its weights and its cache, cannot have grown by this."""
    grown_by, most = figures.get("resident_memory"), MOST * least + SPARE
    if grown_by is None or LITTLE_LESS * least <= grown_by <= most:
        return []
    return [f"a fresh process grew by {grown_by} bytes: weights and cache are {least}, and {most} would be plenty"]


def grown(serving: Serving) -> dict[str, int]:
    """Serve in this process, and say by how much it grew from before the weights: to the last token, and at the worst
    moment of serving. What building left behind counts for neither.
    """
    torch.set_num_threads(serving.threads)
    engine_of = _builder(serving)
    _serve(engine_of(GPT(SMALL), 1, SMALL.block_size), SMALL.block_size)
    _settle()
    before = memory.resident()
    model = registry.open_model(serving.model, serving.weights, serving.dtype)
    engine = engine_of(model, serving.batch_size, serving.new_tokens)
    del model
    _settle()
    peak_is_known = _forget_peak()
    _serve(engine, serving.new_tokens)
    after, peak = memory.resident(), _peak()
    if before is None or after is None:
        return {}
    figures = {"resident_memory": after - before}
    return figures | {"resident_peak": peak - before} if peak_is_known and peak is not None else figures


def _builder(serving: Serving) -> Callable[[GPT, int, int], Engine]:
    """``engine_of(model, batch_size, max_length)``, once the cache is imported."""
    kind, sharing = registry.plug_in(serving.variant) if serving.plug_in else (serving.variant, None)

    def engine_of(model: GPT, batch_size: int, max_length: int) -> Engine:
        ids = text.calibration(model.config, "random")  # an alignment takes the same bytes, whatever it is fitted to
        return Engine(model.share(sharing) if sharing else model, kind, batch_size, max_length, calibration=ids)

    return engine_of


def _serve(engine: Engine, new_tokens: int) -> None:
    ids = torch.zeros(engine.batch_size, new_tokens, dtype=torch.int64)
    if new_tokens > 1:
        engine.prefill(ids[:, 1:])
    engine.decode(ids[:, :1])


def _settle() -> None:
    """Give back what was freed: how much of it an allocator keeps for later is chance."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


def _forget_peak() -> bool:
    try:
        CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return True


def _peak() -> int | None:
    """Bytes that were resident at the worst moment since the peak was forgotten."""
    lines = STATUS.read_text().splitlines() if STATUS.is_file() else []
    found = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]  # in KiB
    return 1024 * found[0] if found else None


def main() -> None:
    """The fresh process."""
    sys.stdout.write(json.dumps(grown(Serving(**json.loads(sys.stdin.readline())))) + "\n")


if __name__ == "__main__":
    main()
