"""Corpora by name, without torch: which are known, and where those that were prepared are kept."""

import os
import re
from pathlib import Path

KNOWN = ("embedded", "wikitext-2", "openwebtext", "shakespeare", "shakespeare-char")
USUAL = "embedded"  # where nothing else is asked for
OTHERS = "one that `kvgpt fetch` prepared, or the path of a text file"
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
DESCRIPTION = "corpus.json"  # of a directory of prepared tokens


def cache_folder() -> Path:
    """Where kvgpt keeps what it can make again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kvgpt"


def prepared(name: str) -> Path:
    """The directory of tokens that ``kvgpt fetch`` prepares under a name; ValueError for what is no plain name."""
    if not PLAIN.fullmatch(name):
        raise ValueError(f"a corpus cannot be called {name!r}: letters, digits, '_', '.' and '-', 64 at most")
    return cache_folder() / "corpora" / name


def is_prepared(directory: Path) -> bool:
    """Whether ``directory`` is one of prepared tokens, by its description alone."""
    try:
        return (directory / DESCRIPTION).is_file()
    except OSError:  # longer than a name can be, or in a folder that may not be read
        return False


def there(name: str) -> bool:
    """Whether a corpus goes by this name: a known one, one that was prepared, or the path of either kind."""
    if name in KNOWN or is_prepared(Path(name)) or (PLAIN.fullmatch(name) and is_prepared(prepared(name))):
        return True
    try:
        return Path(name).is_file()
    except OSError:
        return False
