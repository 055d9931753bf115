"""Out of memory: what says so, on a GPU and on a CPU, and how to go on after it."""

import gc
import sys

SAID = (  # by errors of torch that are a plain RuntimeError
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


def reason(error: BaseException) -> str | None:
    """``out of memory: ...`` in one line where that is what ``error`` means; else None."""
    torch = sys.modules.get("torch")  # a case that ran out of torch's memory has imported it
    named = isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError))
    said = isinstance(error, RuntimeError) and any(words in str(error) for words in SAID)
    if not (named or said):
        return None
    first = next(iter(str(error).splitlines()), "").strip()
    return f"out of memory: {first or type(error).__name__}"


def empty_caches() -> None:
    """Give back what a failed case still holds: unreachable cycles, and a GPU allocator's reserve."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
