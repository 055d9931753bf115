"""The summary as a Markdown table: a row for each variant, at one batch size and the largest T measured."""

from kvgpt.recipes import REFERENCE
from kvgpt.recorded import Case, Results
from kvgpt.report.select import axis, latest_length, pick, scored
from kvgpt.report.tables import markdown
from kvgpt.report.tabular import UNKNOWN

HEADINGS = ("variant", "cache", "ms/token", f"time/{REFERENCE}", "cache MB", f"bytes/{REFERENCE}", "peak MB")
MARK = "*"  # of a row with a figure that is not valid


def summary(results: Results) -> str:
    """A table for each batch size, the machine above them."""
    device = results.device
    machine = ", ".join(str(device[name]) for name in ("name", "torch", "driver") if name in device)
    parts = [f"# Results\n\n{machine or 'unknown device'}\n"]
    latency, memory = results.of("latency", "per_token_latency"), results.of("memory", "cache_bytes")
    perplexity = scored(results.of("perplexity", "perplexity"))
    measured = [cases for cases in (latency, memory) if cases]
    length = latest_length(*measured) if measured else None
    for batch in axis(latency + memory, "batch_size") or [None]:
        timed = {case.variant: case for case in pick(latency, batch_size=batch, new_tokens=length)}
        sized = {case.variant: case for case in pick(memory, batch_size=batch, new_tokens=length)}
        quality = {mode: {case.variant: case for case in cases} for mode, cases in perplexity.items()}
        names = list(dict.fromkeys(name for cases in (timed, sized, *quality.values()) for name in cases))
        if batch is not None:
            workload = next(iter((timed | sized).values())).workload
            about = f"{workload['model']} ({workload['weights']}), {workload['dtype']} on {workload['device']}"
            parts.append(f"{about}: B = {batch}, T = {length}\n")
        modes = [_mode(mode, next(iter(cases.values()))) for mode, cases in quality.items()]
        headings = [*HEADINGS, *(column for mode in modes for column in (f"perplexity, {mode}", "change"))]
        rows = [_row(name, timed, sized, quality) for name in names]
        parts.append(markdown.grid(headings, rows, [bool(place) for place in range(len(headings))]))
    unfit = [f"{case.name}: {', '.join(case.notes)}" for case in results.cases if not case.valid]
    if unfit:
        parts.append(f"\\{MARK} not valid, so not to be relied on nor compared with:\n")
        parts += [f"- {markdown.escape(line)}" for line in unfit]
        parts.append("")
    return "\n".join(parts)


def _mode(mode: str, case: Case) -> str:
    return f"{mode.replace('_', ' ')} ({case.workload['scored_tokens']:,} tokens)"


def _row(name: str, timed: dict[str, Case], sized: dict[str, Case], quality: dict[str, dict[str, Case]]) -> list[str]:
    known = [cases[name] for cases in (timed, sized, *quality.values()) if name in cases]
    row = [
        name if all(case.valid for case in known) else f"{name} {MARK}",
        known[0].canonical,
        _figure(timed.get(name), "per_token_latency", 1e3, ".3f"),
        _ratio(timed, name, "per_token_latency"),
        _figure(sized.get(name), "cache_bytes", 1e-6, ".3f"),
        _ratio(sized, name, "cache_bytes"),
        _figure(sized.get(name), "peak_memory", 1e-6, ".2f"),
    ]
    for cases in quality.values():
        row += [_figure(cases.get(name), "perplexity", 1.0, ".3f"), _change(cases.get(name))]
    return row


def _figure(case: Case | None, metric: str, factor: float, form: str) -> str:
    value = None if case is None else case.value(metric)
    return UNKNOWN if value is None else format(value * factor, form)


def _ratio(cases: dict[str, Case], name: str, metric: str) -> str:
    if name not in cases or REFERENCE not in cases:
        return UNKNOWN
    value, reference = cases[name].value(metric), cases[REFERENCE].value(metric)
    return format(value / reference, ".3f") if value is not None and reference else UNKNOWN


def _change(case: Case | None) -> str:
    """Percent against the reference, with half the width of its 95% interval."""
    value = None if case is None else case.value("perplexity_change")
    if case is None or value is None:
        return UNKNOWN
    low_high = case.interval("perplexity_change")
    spread = "" if low_high is None else f" ± {50 * (low_high[1] - low_high[0]):.3f}"
    return f"{round(100 * value, 3) + 0.0:+.3f}{spread} %"  # + 0.0: no minus before a zero
