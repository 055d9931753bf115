"""What a capture is of, in a file beside it: the known kernels, and the closed forms of each range."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kvgpt import strict_json
from kvgpt.costs import Demand
from kvgpt.measure.ncu.counted import Known
from kvgpt.measure.ncu.exported import Range

NAME = "capture.json"
LARGEST = 2**20  # bytes


@dataclass(frozen=True)
class Phase:
    """A range: the file of its figures, what was asked for, and its closed forms."""

    file: str
    asked: Mapping[str, Any]
    predicted: Demand


@dataclass(frozen=True)
class Captured:
    """``about`` says with which tool, on which device and of which model. All of it is empty where nobody wrote it."""

    about: Mapping[str, Any] = field(default_factory=dict)
    known: Known | None = None
    phases: Mapping[str, Phase] = field(default_factory=dict)

    def about_phase(self, name: str) -> dict[str, Any]:
        """What there is to say of one range."""
        return {**self.about, **(self.phases[name].asked if name in self.phases else {})}


def write(folder: Path, captured: Captured) -> None:
    """Write it beside its capture."""
    strict_json.write(folder / NAME, asdict(captured))


def beside(exported: Path) -> Captured:
    """What lies beside an exported table, or nothing; ValueError where it is something else."""
    path = exported.parent / NAME
    if not path.is_file():
        return Captured()
    found = strict_json.read(path, LARGEST, "what was captured")
    try:
        known = {name: float(value) for name, value in found["known"].items()}
        phases = {
            name: Phase(str(one["file"]), dict(one["asked"]), _demand(one["predicted"]))
            for name, one in found["phases"].items()
        }
        return Captured(dict(found["about"]), Known(**known), phases)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path}: it does not say what was captured: {error!r}") from error


def lacking(captured: Captured, ranges: Mapping[str, Range]) -> Sequence[str]:
    """The phases that were asked for and are not in the table."""
    return [name for name in captured.phases if name not in ranges]


def _demand(fields: Mapping[str, Any]) -> Demand:
    return Demand(**{name: float(value) for name, value in fields.items()})
