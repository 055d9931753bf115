"""The gate: compare, of two results files or of two commits."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kvgpt.cli.results import RESULTS

if TYPE_CHECKING:
    from kvgpt.report.gate import Comparison, Limit

PASSES, LOOKS = 7, 3  # of each commit before the first look; and looks, each after as many passes more


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Its parser."""
    one = commands.add_parser(
        "compare",
        help="whether NEW is worse than BASE in time, bytes, capacity or quality: the gate",
        description="Judge each figure of each case of BASE: SAME, BETTER, WORSE, UNDECIDED, MISSING or INCOMPARABLE. "
        "Exit code: 1 where something is WORSE or MISSING, with --ab or --strict also "
        "UNDECIDED, 2 for what cannot be compared or read, else 0. Limits "
        "unless given: times 5%, perplexity 0.5%, bytes and capacity exact.",
    )
    one.add_argument(
        "results",
        nargs="*",
        metavar="BASE NEW",
        help=f"{RESULTS}; journals too; with --ab what follows -- is for pytest",
    )
    one.add_argument(
        "--ab",
        metavar="GIT_REF",
        help="measure this commit and HEAD here, in turns, and compare them: kvgpt compare --ab main -- "
        "benchmarks/bench_decode.py --kvgpt-lengths 64",
    )
    one.add_argument("--passes", type=int, default=PASSES, help=f"with --ab, of each side at first (default: {PASSES})")
    one.add_argument(
        "--out",
        type=Path,
        default=Path("comparison-passes"),
        metavar="DIR",
        help="with --ab, for what each pass measured (default: comparison-passes)",
    )
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


def compare(parsed: argparse.Namespace) -> int:
    """Print what differs between two results files, or between two commits, and whether that is a regression."""
    from kvgpt import recorded
    from kvgpt.report import gate

    limits = [gate.parse(limit) for limit in parsed.fail_on]
    if parsed.ab:
        return _show(_in_turns(parsed, limits), parsed, strict=True)
    if len(parsed.results) != 2:
        named = " ".join(parsed.results) or "none"
        raise ValueError(f"{len(parsed.results)} files ({named}): expected BASE NEW, before --fail-on")
    base, new = (recorded.read(Path(path)) for path in parsed.results)
    return _show(gate.compare(base, new, limits), parsed, parsed.strict)


def _in_turns(parsed: argparse.Namespace, limits: Sequence["Limit"]) -> "Comparison":
    """Measure two commits until nothing is undecided or something got worse; the looks share the chance of an alarm."""
    from kvgpt import recorded
    from kvgpt.measure import commits
    from kvgpt.report import gate

    def judged(base: Path, head: Path) -> "Comparison":
        sides = recorded.read(base), recorded.read(head)
        return gate.compare(*sides, limits, paired=True, alarm=gate.ALARM / LOOKS)

    def enough(base: Path, head: Path) -> bool:
        counts = judged(base, head).counts
        return not counts["UNDECIDED"] or bool(counts["WORSE"] or counts["MISSING"])

    return judged(*commits.measure(parsed.ab, parsed.results, parsed.passes, parsed.out, enough=enough, most=LOOKS))


def _show(found: "Comparison", parsed: argparse.Namespace, strict: bool) -> int:
    """Print a comparison, write it where that was asked for, and its exit code."""
    from kvgpt import strict_json, whole
    from kvgpt.report.gate import shown

    print(*shown.text(found, parsed.all), sep="\n")
    if parsed.markdown:
        whole.write(parsed.markdown, shown.markdown(found))
    if parsed.json:
        strict_json.write(parsed.json, shown.document(found, strict))
    return found.exit_code(strict)
