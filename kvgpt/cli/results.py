"""Commands on results: plot, check, compare."""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvgpt.report.gate import Comparison

RESULTS = "written by pytest benchmarks --benchmark-json, or the original research's results.jsonl"


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Their parsers."""
    one = commands.add_parser("plot", help="draw the figures of results files, of a repeated case the first")
    one.add_argument("results", type=Path, nargs="+", metavar="FILE", help=RESULTS)
    one.add_argument("--out", type=Path, required=True, metavar="DIR")
    one.set_defaults(run=plot)

    one = commands.add_parser(
        "check",
        help="whether the figures of results files contradict each other, their closed forms or the device",
        description="Hold results files to every rule of consistency, each file by itself. Exit code: 1 where one "
        "breaks a rule, 2 for what is no results file, else 0.",
    )
    one.add_argument("results", type=Path, nargs="+", metavar="FILE", help=RESULTS)
    one.add_argument("--baseline", action="store_true", help="refuse records that are not valid, too")
    one.set_defaults(run=check)

    one = commands.add_parser(
        "compare",
        help="whether NEW is worse than BASE in time, bytes, capacity or quality: the gate",
        description="Judge each figure of each case of BASE: SAME, BETTER, WORSE, UNDECIDED, MISSING or INCOMPARABLE. "
        "Exit code: 1 where something is WORSE or MISSING, 2 for what cannot be compared or read, else 0. Limits "
        "unless given: times 5%, perplexity 0.5%, bytes and capacity exact.",
    )
    one.add_argument("results", type=Path, nargs="*", metavar="BASE NEW", help=f"{RESULTS}; journals too")
    one.add_argument(
        "--fail-on",
        nargs="+",
        action="extend",
        default=[],
        metavar="LIMIT",
        help="METRIC:LIMIT, such as per_token_latency:5%%, peak_memory:2%%+1MiB or max_batch:-2%%; for some cases "
        "alone METRIC[CASES]:LIMIT, with * for any text; the last that fits a case counts",
    )
    one.add_argument("--strict", action="store_true", help="exit with 1 where something is UNDECIDED, too")
    one.add_argument("--all", action="store_true", help="show what is SAME, too")
    one.add_argument("--markdown", type=Path, metavar="FILE", help="write it for a pull request, too")
    one.add_argument("--json", type=Path, metavar="FILE", help="write it for a program, too")
    one.set_defaults(run=compare)


def plot(parsed: argparse.Namespace) -> int:
    """Draw the figures and write the table of results files; 1 where their figures contradict each other."""
    from kvgpt.report import consistency, figures, reading, table

    results, remarks = reading.together(parsed.results)
    print(*remarks, sep="\n", end="\n" if remarks else "", file=sys.stderr)
    if broken := consistency.violations(results):
        named = ", ".join(map(str, parsed.results))
        print(f"kvgpt plot: nothing was drawn: {named} contradicts itself:", file=sys.stderr)
        print(*broken, sep="\n", file=sys.stderr)
        return 1
    summary = table.summary(results)
    parsed.out.mkdir(parents=True, exist_ok=True)
    written, missing = figures.draw(results, parsed.out)
    with tempfile.NamedTemporaryFile("w", dir=parsed.out, delete=False, encoding="utf-8") as file:
        file.write(summary)
    path = Path(file.name).replace(parsed.out / "table.md")
    print(summary)
    for line in missing:
        print(f"not drawn: {line}")
    print(
        f"wrote {len(written) + 1} files: {path} and {', '.join(sorted({one.stem for one in written}))} in {parsed.out}"
    )
    return 0


def check(parsed: argparse.Namespace) -> int:
    """Print where results contradict themselves; 1 where they do, and where one is no baseline though it must be."""
    from kvgpt.report import checked

    lines, sound = checked.report(parsed.results, parsed.baseline)
    print(*lines, sep="\n")
    return int(not sound)


def compare(parsed: argparse.Namespace) -> int:
    """Print what differs between two results files, and whether that is a regression."""
    from kvgpt import recorded
    from kvgpt.report import gate

    limits = [gate.parse(limit) for limit in parsed.fail_on]
    if len(parsed.results) != 2:
        named = " ".join(map(str, parsed.results)) or "none"
        raise ValueError(f"{len(parsed.results)} files ({named}): expected BASE NEW, before --fail-on")
    base, new = map(recorded.read, parsed.results)
    return _show(gate.compare(base, new, limits), parsed, parsed.strict)


def _show(found: "Comparison", parsed: argparse.Namespace, strict: bool) -> int:
    """Print a comparison, write it where that was asked for, and its exit code."""
    from kvgpt import strict_json
    from kvgpt.report import whole
    from kvgpt.report.gate import shown

    print(*shown.text(found, strict, parsed.all), sep="\n")
    if parsed.markdown:
        whole.write(parsed.markdown, shown.markdown(found, strict))
    if parsed.json:
        strict_json.write(parsed.json, shown.document(found, strict))
    return found.exit_code(strict)
