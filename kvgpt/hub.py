"""The network: used only for what was asked for by name, and given up within a second where it is out of reach."""

import socket
import threading
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path

PATIENCE = 0.7  # seconds: an unreachable network is told apart before a second has passed
HUGGING_FACE = "huggingface.co"


def reachable(host: str, port: int = 443) -> bool:
    """Whether ``host``, or the proxy that would be asked for it, accepts a connection within :data:`PATIENCE`."""
    proxy = urllib.request.getproxies().get("https")
    if proxy and not urllib.request.proxy_bypass(host):
        parts = urllib.parse.urlsplit(proxy)
        host, port = parts.hostname or host, parts.port or port
    answered = threading.Event()

    def knock() -> None:
        try:
            socket.create_connection((host, port), timeout=PATIENCE).close()
        except OSError:
            return
        answered.set()

    # A thread, because looking up a name takes no time limit.
    knocking = threading.Thread(target=knock, daemon=True)
    knocking.start()
    knocking.join(PATIENCE)
    return answered.is_set()


def require(host: str, what: str, fix: str) -> None:
    """ValueError, at once, where ``what`` is not here and ``host`` cannot be asked for it."""
    if not reachable(host):
        raise ValueError(f"{what} is not on this machine and {host} cannot be reached: {fix}")


def snapshot(name: str, patterns: Sequence[str]) -> Path:
    """The local directory of a model repository on the hub, downloaded if it is not there yet."""
    import huggingface_hub  # heavy, and needed by name only
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        try:
            return Path(huggingface_hub.snapshot_download(name, allow_patterns=list(patterns), local_files_only=True))
        except LocalEntryNotFoundError:
            require(
                HUGGING_FACE,
                f"the model {name!r}",
                f"on a machine with network run `kvgpt fetch {name}` and copy its folder, or name a directory",
            )
            return Path(huggingface_hub.snapshot_download(name, allow_patterns=list(patterns)))
    except (HFValidationError, HfHubHTTPError) as error:
        raise ValueError(f"no checkpoint {name!r}: neither a directory nor a model on the hub ({error})") from error
