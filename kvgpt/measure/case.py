"""A case while it is measured: what it is, said before it runs, and its record, written when it ends."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from kvgpt import record
from kvgpt.measure.floors import Claim, Floors


class Watch(Protocol):
    """The state of the device around a case; see :class:`kvgpt.measure.state.Sampler`."""

    def read(self) -> Any: ...

    def notes(self, before: Any, after: Any) -> list[str]: ...

    def details(self, before: Any, after: Any) -> dict[str, Any]: ...


class Case:
    """``begin`` says which case this is; ``end`` or ``failed`` writes its record into ``extra_info``.

    ``details`` are what is known meanwhile of how its figures come about; ``end`` adds its own.
    """

    def __init__(
        self,
        extra_info: dict[str, Any],
        variant: str,
        canonical: str,
        workload: Mapping[str, Any],
        watch: Watch,
        floors: Floors,
        doubts: Iterable[str] = (),
    ) -> None:
        """``doubts`` hold for the whole run, and so for this case."""
        self.variant, self.canonical = variant, canonical
        self.workload = dict(workload)
        self.family = ""
        self.details: dict[str, Any] = {}
        self._extra_info, self._watch, self._floors = extra_info, watch, floors
        self._doubts, self._before = tuple(doubts), watch.read()

    def begin(self, family: str, **fields: Any) -> None:
        """Name the family and the fields of the workload, before anything can fail."""
        self.family = family
        self.workload |= fields

    def end(
        self,
        metrics: Mapping[str, Mapping[str, Any]],
        notes: Iterable[str] = (),
        details: Mapping[str, Any] | None = None,
        claims: Iterable[Claim] = (),
        **fields: Any,
    ) -> None:
        """Write the record. ``notes`` say why its figures cannot be relied on; what the device did meanwhile is added.

        Each of ``claims`` puts a floor beside one of the times in ``metrics``.
        """
        after = self._watch.read()
        self.workload |= fields
        around = self._watch.details(self._before, after)
        doubts = [*self._doubts, *notes, *self._watch.notes(self._before, after)]
        self._write(metrics, doubts, {**self.details, **(details or {}), **around})
        for claim in claims:
            self._floors.judge(self._extra_info["kvgpt"], claim)

    def failed(self, reason: str) -> None:
        """Write a record without figures: the case ran, and this is why it has none."""
        self._write({}, [reason], {})

    def _write(self, metrics: Mapping[str, Mapping[str, Any]], notes: list[str], details: Mapping[str, Any]) -> None:
        self._extra_info["kvgpt"] = record.record(
            self.family, self.variant, self.canonical, self.workload, metrics, notes, details
        )
