"""Progress: a pytest plug-in that writes one line a case as it lands: how far, which figure, how long still.

    [ 12/70] latency v2 T=64 B=1: 1.23 ms/token, 0.41 of its floor | 2 min 10 s left

The same on a terminal, in a log and in a pipe: no cursor moves, and each line is flushed.
"""

from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from statistics import mean
from typing import Any, Protocol

import pytest

from kvgpt import plain

FIGURES: dict[str, tuple[str, ...]] = {  # family -> the metrics of which the first that a record has is shown
    "latency": ("per_token_latency", "time_to_first_token", "total_latency"),
    "decode": ("per_token_latency", "time_to_first_token"),
    "memory": ("peak_memory", "cache_bytes"),
    "phases": ("phase_attention", "phase_sum"),
    "capacity": ("max_batch",),
    "perplexity": ("perplexity",),
    "sharing": ("perplexity",),
    "positions": ("perplexity_at_end", "per_token_latency"),
    "attention": ("fraction_of_bandwidth", "total_latency"),
    "floor": ("read_bandwidth", "matmul_rate"),
    "roofline": ("achieved_bandwidth", "achieved_flops"),
    "collectives": ("total_latency", "wire_bandwidth"),
}
PHRASES = {  # metric -> how its figure reads; else the figure and the metric's name
    "per_token_latency": "{}/token",
    "time_to_first_token": "{} to the first token",
    "peak_memory": "{} at peak",
    "cache_bytes": "{} of cache",
    "max_batch": "{} sequences",
    "perplexity": "perplexity {}",
    "perplexity_at_end": "perplexity {} at the end",
    "fraction_of_bandwidth": "{} of the bandwidth",
    "read_bandwidth": "{} read",
}
AXES = {  # field of a workload -> how it reads
    "prompt": "prompt={}",
    "new_tokens": "T={}",
    "context": "context={}",
    "batch_size": "B={}",
    "mode": "{}",
    "phase": "{}",
    "positions": "{}",
    "collective": "{}",
    "bytes": "{} B",
    "tensor_parallel": "over {} ranks",
}
USUAL = {"prompt": 1}  # goes without saying
LINE = r"\[ *\d+/\d+\] "  # how each line begins


class Resumed(Protocol):
    """What knows how many cases an earlier session has measured."""

    resumed: int


class Progress:
    """Writes the lines; cases that ``recorder`` has resumed count as done."""

    def __init__(self, config: pytest.Config, recorder: Resumed) -> None:
        self.config, self.recorder = config, recorder
        self.waiting: dict[str, str] = {}  # cases to come -> their file; there is one a family
        self.seconds: defaultdict[str, list[float]] = defaultdict(list)  # of the cases done, by file
        self.total = 0
        self.reports: list[pytest.TestReport] = []  # of the case in flight
        self.landed = ""

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        cases = [item for item in session.items if "benchmark" in getattr(item, "fixturenames", ())]
        self.waiting = {item.nodeid: item.nodeid.partition("::")[0] for item in cases}
        self.total = self.recorder.resumed + len(self.waiting)
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        if self.waiting and terminal is not None:
            terminal.showfspath = False  # a line a case takes the place of a file's name and a letter a case

    def expect(self, items: Sequence[pytest.Item]) -> None:
        """Cases come as well that were not to at first."""
        self.waiting |= {item.nodeid: item.nodeid.partition("::")[0] for item in items}
        self.total += len(items)

    def give_up(self, items: Sequence[pytest.Item]) -> None:
        """Of those that were to come, these do not."""
        self.total -= sum(self.waiting.pop(item.nodeid, None) is not None for item in items)

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> Generator[None, Any, Any]:
        category, letter, word = yield
        return (category, "", "") if report.nodeid in self.waiting else (category, letter, word)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        self.reports = [report] if report.when == "setup" else [*self.reports, report]
        if report.when == "teardown":
            benchmark = getattr(item, "funcargs", {}).get("benchmark")
            record = benchmark.extra_info.get("kvgpt") if benchmark else None
            worst = next((one.outcome for one in self.reports if not one.passed), "passed")
            self.landed = line(item.name, record if worst == "passed" else None, worst)
        return report

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        family = self.waiting.pop(nodeid, None)
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        if family is None or terminal is None:
            return
        # The call alone: the first case's set-up is that of the run.
        self.seconds[family].append(sum(report.duration for report in self.reports if report.when == "call"))
        done = self.total - len(self.waiting)
        left = f" | {span(self._left())} left" if self.waiting else ""
        terminal.write_line(f"[{done:>{len(str(self.total))}}/{self.total}] {self.landed}{left}")
        terminal.flush()

    def _left(self) -> float:
        """Seconds that the cases to come take, were each as long as those of its family, or else as all."""
        usual = mean(one for family in self.seconds.values() for one in family)
        return sum(mean(self.seconds[family]) if family in self.seconds else usual for family in self.waiting.values())


def line(name: str, record: Mapping[str, Any] | None, outcome: str) -> str:
    """What there is to say of a case: its place in the grid and its figure, or how it ended."""
    if record is None:
        return name if outcome == "passed" else f"{name}: {outcome}"
    workload, metrics, validity = record.get("workload", {}), record.get("metrics", {}), record.get("validity", {})
    axes = [axis for axis in AXES if axis in workload and workload[axis] != USUAL.get(axis)]
    place = [AXES[axis].format(workload[axis]) for axis in axes]
    label = " ".join([str(record.get("family", name)), str(record.get("variant", "")), *place])
    found = [metric for metric in (*FIGURES.get(record.get("family", ""), ()), *metrics) if metric in metrics][:1]
    said = [PHRASES.get(metric, "{} " + metric.replace("_", " ")).format(si(metrics[metric])) for metric in found]
    if "fraction_of_floor" in metrics:
        said.append(f"{metrics['fraction_of_floor']['value']:.2g} of its floor")
    if not validity.get("ok", True):
        notes = "; ".join(map(str, validity.get("notes", ())))
        said.append(f"not valid: {notes}" if said else notes)
    return f"{label}: {', '.join(said)}" if said else label


def si(figure: Mapping[str, Any]) -> str:
    """A figure in three digits with the prefix that fits, such as ``1.23 ms``; what has no unit has no prefix."""
    value, unit = figure["value"], figure["unit"]
    if unit == "1":
        return str(int(value)) if value == int(value) else f"{value:.4g}"
    return plain.quantity(value, unit, digits=3)


def span(seconds: float) -> str:
    """Seconds as people say them: ``45 s``, ``2 min 10 s``, ``1 h 3 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
