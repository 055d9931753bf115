"""Where results come from: what those of several workers must have in common, unless told that they need not."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from kvgpt.report.merging.worker import Worker

FACTS: dict[str, Callable[[Worker], Mapping[str, Any]]] = {  # by what --allow calls it
    "devices": lambda worker: worker.device,
    "commits": lambda worker: {name: worker.document["commit_info"].get(name) for name in ("id", "dirty")},
    "schemas": lambda worker: {"pytest-benchmark": worker.document["version"]},
}


def agree(workers: Sequence[Worker], allow: frozenset[str]) -> Iterator[str]:
    """A remark for each difference that is allowed; ValueError for one that is not, with both files and values."""
    first, *others = workers
    for fact, of in FACTS.items():
        for other in others:
            differ = _differences(of(first), of(other))
            if not differ:
                continue
            sentence = f"{first.path} and {other.path}: different {fact}: {'; '.join(differ)}"
            if fact not in allow:
                raise ValueError(f"{sentence}: merge those of one kind, or say --allow {fact}")
            yield f"{sentence}: what is said of all is what {first.path} says"
    dirty = [str(worker.path) for worker in workers if worker.document["commit_info"].get("dirty")]
    if len(dirty) > 1:
        yield f"{', '.join(dirty)}: measured with changes that no commit holds: those of each may be others"
    for worker in workers:
        if worker.strangers:
            yield f"{worker.path}: {worker.strangers} records of another schema: merged as they are, read by no report"


def _differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    fields = dict.fromkeys([*one, *other])
    return [
        f"{name!r:.80}: {json.dumps(one.get(name)):.80} and {json.dumps(other.get(name)):.80}"
        for name in fields
        if one.get(name) != other.get(name)
    ]
