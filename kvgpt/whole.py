"""Files: each under a plain name, and there whole or not at all."""

import hashlib
import os
import re
from pathlib import Path

LONGEST = 150  # characters of a name: file systems end at 255 bytes, and suffixes come on top
PLAIN = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.+-]{{0,{LONGEST - 1}}}")


def stem(name: str) -> str:
    """``name`` where it is that of a plain file, as all of ours are. Of any other, such as one with a user's variant in
    it, what is plain, and a digest that keeps two of them apart.
    """
    if PLAIN.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{re.sub('[^A-Za-z0-9_.+-]+', '-', name)[: LONGEST - 9].lstrip('.-+')}-{digest}".lstrip("-")


def write(path: Path, content: str | bytes) -> Path:
    """Write a file at once; OSError leaves the one that was there before. What UTF-8 has no bytes for is escaped."""
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
