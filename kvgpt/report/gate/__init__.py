"""The gate: whether one set of results is worse than another, case by case, and an exit code that a CI job obeys."""

from kvgpt.report.gate.judging import compare
from kvgpt.report.gate.limits import Limit, parse
from kvgpt.report.gate.outcome import Comparison, Judged, Meaning
from kvgpt.report.gate.times import ALARM

__all__ = ["ALARM", "Comparison", "Judged", "Limit", "Meaning", "compare", "parse"]
