"""Out of memory: what says so, on a GPU and on a CPU, and how to go on after it."""

import gc
import sys

ON_CPU = ("not enough memory", "can't allocate memory")  # what torch's allocator says, as a RuntimeError


def reason(error: BaseException) -> str | None:
    """``out of memory: ...`` in one line where that is what ``error`` means; else None."""
    torch = sys.modules.get("torch")  # a case that ran out of torch's memory has imported it
    on_gpu = torch is not None and isinstance(error, torch.OutOfMemoryError)
    on_cpu = isinstance(error, RuntimeError) and any(words in str(error) for words in ON_CPU)
    if not (on_gpu or on_cpu or isinstance(error, MemoryError)):
        return None
    first = next(iter(str(error).splitlines()), "").strip()
    return f"out of memory: {first or type(error).__name__}"


def empty_caches() -> None:
    """Give back what a failed case still holds: unreachable cycles, and a GPU allocator's reserve."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
