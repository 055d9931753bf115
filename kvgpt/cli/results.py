"""Commands on results: plot, report, check, merge."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kvgpt.plain import columns

if TYPE_CHECKING:
    from kvgpt.recorded import Results

RESULTS = "written by pytest benchmarks --benchmark-json, or the original research's results.jsonl"


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Their parsers."""
    one = commands.add_parser("plot", help="draw the figures alone, of a repeated case the first")
    one.add_argument("results", type=Path, nargs="+", metavar="FILE", help=RESULTS)
    one.add_argument("--out", type=Path, required=True, metavar="DIR")
    one.set_defaults(run=plot)

    one = commands.add_parser("report", help="everything that results files say: a page, figures, tables, points")
    one.add_argument("results", type=Path, nargs="+", metavar="FILE", help=RESULTS)
    one.add_argument("--out", type=Path, required=True, metavar="DIR")
    one.add_argument("--base", type=Path, metavar="FILE", help="compare with these results, and say so first")
    one.set_defaults(run=report)

    one = commands.add_parser(
        "check",
        help="whether the figures of results files contradict each other, their closed forms or the device",
        description="Hold results files to every rule of consistency, each file by itself. Exit code: 1 where one "
        "breaks a rule, 2 for what is no results file, else 0.",
    )
    one.add_argument("results", type=Path, nargs="+", metavar="FILE", help=RESULTS)
    one.add_argument("--baseline", action="store_true", help="refuse records that are not valid, too")
    one.set_defaults(run=check)

    one = commands.add_parser("merge", help="the results of several workers as one file, and which cases are missing")
    one.add_argument("out", type=Path, metavar="OUT")
    one.add_argument("results", type=Path, nargs="+", metavar="FILE", help="written by --benchmark-json")
    one.add_argument(
        "--allow",
        action="append",
        default=[],
        choices=("devices", "commits", "schemas", "repeats"),
        help="what may differ, or be there twice, after all; may be given several times",
    )
    one.set_defaults(run=merge)


def plot(parsed: argparse.Namespace) -> int:
    """Draw the figures of results files and write their points; 1 where their figures contradict each other."""
    from kvgpt.report import drawing, points
    from kvgpt.report.charts import charts

    results, _ = _sound(parsed, "nothing was drawn")
    if results is None:
        return 1
    parsed.out.mkdir(parents=True, exist_ok=True)
    made, missing = charts(results)
    written = [*drawing.draw(made, parsed.out), *points.write(made, parsed.out)]
    print(*(f"not drawn: {line}" for line in missing), *(chart.name for chart in made), sep="\n")
    print(f"wrote {len(made)} figures, {len(written)} files, in {parsed.out}")
    return 0


def report(parsed: argparse.Namespace) -> int:
    """Write everything that results files have to say; 1 where their figures contradict each other."""
    from kvgpt import recorded
    from kvgpt.report import gate, publication
    from kvgpt.report.tables import summary

    base = recorded.read(parsed.base) if parsed.base else None
    results, remarks = _sound(parsed, "nothing was written")
    if results is None:
        return 1
    compared = gate.compare(base, results) if base else None
    published = publication.publish(results, parsed.out, remarks, compared)
    print(*(f"not drawn: {line}" for line in published.missing), sep="\n", end="\n" if published.missing else "")
    for table in summary.summary(results):
        print(f"{table.title}\n", *columns([one.heading for one in table.columns], table.printed()), "", sep="\n")
    print(f"wrote {published.page} and {len(published.written) - 1} files beside it")
    return 0


def _sound(parsed: argparse.Namespace, otherwise: str) -> "tuple[Results | None, list[str]]":
    """The results of all files and what is to be said of them; None where they contradict themselves, which is said."""
    from kvgpt.report import consistency, reading

    results, remarks = reading.together(parsed.results)
    print(*remarks, sep="\n", end="\n" if remarks else "", file=sys.stderr)
    broken = consistency.violations(results)
    if not broken:
        return results, remarks
    named = ", ".join(map(str, parsed.results))
    print(f"kvgpt {parsed.command}: {otherwise}: {named} contradicts itself:", *broken, sep="\n", file=sys.stderr)
    return None, remarks


def check(parsed: argparse.Namespace) -> int:
    """Print where results contradict themselves; 1 where they do, and where one is no baseline though it must be."""
    from kvgpt.report import checked

    lines, sound = checked.report(parsed.results, parsed.baseline)
    print(*lines, sep="\n")
    return int(not sound)


def merge(parsed: argparse.Namespace) -> None:
    """Write the results of several workers as one file."""
    from kvgpt.report import merging

    merged = merging.merge(parsed.results, frozenset(parsed.allow))
    merging.write(parsed.out, merged)
    print(*merged.remarks, *(f"missing: {line}" for line in merged.missing), sep="\n", file=sys.stderr)
    print(f"wrote {parsed.out}: {len(merged.document['benchmarks'])} cases of {len(parsed.results)} files")
