"""The kit: every promise that a cache declares, proven, and a report or the first story of a broken one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kvgpt.caches.base import KVCache
from kvgpt.conformance.promise import EXAMPLES, PROMISES, Broken, Promise
from kvgpt.conformance.scene import Scene
from kvgpt.conformance.subject import Stage, Subject

DTYPES = ("float64", "float32", "bfloat16")
OWN = {"reference", "built-in"}  # of promises about kvgpt's own parts, which no other cache is asked for


@dataclass
class Report:
    """What came of a check: the promises kept, by name and dtype, those not asked for and why, and remarks."""

    cache: str
    kept: list[tuple[Promise, str]] = field(default_factory=list)
    not_asked: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        names = dict.fromkeys(promise.name for promise, _ in self.kept)
        lines = [f"{self.cache} keeps {len(names)} promises"]
        for name in names:
            dtypes = [dtype for promise, dtype in self.kept if promise.name == name]
            lines.append(f"  kept       {name:24} {PROMISES[name].sentence} ({', '.join(dtypes)})")
        lines += [f"  not asked  {name:24} {why}" for name, why in self.not_asked.items()]
        return "\n".join([*lines, *(f"  remark     {remark}" for remark in self.remarks)])


def asked_of(subject: Subject) -> tuple[list[Promise], dict[str, str]]:
    """The promises that a subject is held to, and by name the reason why it is not held to the others."""
    asked, others = [], {}
    for promise in sorted(PROMISES.values(), key=lambda one: (one.code[0], int(one.code[1:]))):
        missing = sorted(promise.needs - subject.abilities)
        if not missing:
            asked.append(promise)
        elif not OWN & set(missing):
            others[promise.name] = f"not declared: {', '.join(missing)}"
    return asked, others


def check_cache(
    cache: str | type[KVCache],
    examples: int = EXAMPLES,
    dtypes: Sequence[str] = DTYPES,
    device: str = "cpu",
    seed: int | None = None,
) -> Report:
    """Hold a cache to every promise that it declares: a report, or :class:`~kvgpt.conformance.Broken` with every story.

    ``cache`` is a class, ``package.module:Class[+cla2]`` or a variant's name; ``examples`` are drawn for each promise
    in float64, a quarter as many in other dtypes; without a ``seed`` they are the same in every run.
    """
    report, stories = Report(Subject(cache).name), []
    for dtype in dtypes:
        subject = Subject(cache, dtype, device)
        asked, others = asked_of(subject)
        for promise in asked:
            try:
                promise(subject, examples, seed)
            except Broken as broken:
                stories.append(str(broken))
            else:
                report.kept.append((promise, dtype))
        report.not_asked |= {name: why for name, why in others.items() if dtype == dtypes[0]}
    report.remarks += remarks(Subject(cache, dtypes[0], device))
    if stories:
        raise Broken("\n\n".join([*stories, f"{len(stories)} broken; {report}"]))
    return report


def again(promise: str, cache: str | type[KVCache], dtype: str = "float64", device: str = "cpu", **inputs: Any) -> None:
    """Check one input of one promise again, as a broken one's story asks to."""
    if promise not in PROMISES:
        raise ValueError(f"no promise {promise!r}: known: {', '.join(PROMISES)}")
    PROMISES[promise].on(Subject(cache, dtype, device), **inputs)


def remarks(subject: Subject) -> list[str]:
    """What is worth knowing of a cache and breaks no promise."""
    if not {"lossy"} <= subject.abilities or "map" in subject.abilities:
        return []
    stage = Stage(subject, Scene(n_layer=2, kv_heads=2, head_dim=16, batch=2, seed=0))
    ids = stage.ids(16)
    at_once, by_one = (stage.feed(stage.engine(), ids, sizes) for sizes in ([16], [1] * 16))
    gap = float((at_once - by_one).abs().max() / at_once.std())
    return [
        "lossy without round_trip(): its answers are not compared with an oracle. Fed token by token instead of at "
        f"once, they differ by {gap:.2g} of the answers' standard deviation in 16 tokens"
    ]
