"""Commands on results: plot, check, merge."""

import argparse
import sys
import tempfile
from pathlib import Path

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


def merge(parsed: argparse.Namespace) -> None:
    """Write the results of several workers as one file."""
    from kvgpt.report import merging

    merged = merging.merge(parsed.results, frozenset(parsed.allow))
    merging.write(parsed.out, merged)
    print(*merged.remarks, *(f"missing: {line}" for line in merged.missing), sep="\n", file=sys.stderr)
    print(f"wrote {parsed.out}: {len(merged.document['benchmarks'])} cases of {len(parsed.results)} files")
