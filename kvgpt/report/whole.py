"""Text files that are there whole or not at all."""

import os
from pathlib import Path


def write(path: Path, text: str) -> Path:
    """Write a file at once; OSError leaves the one that was there before. What UTF-8 has no bytes for is escaped."""
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        return partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
