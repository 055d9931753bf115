"""The command for more than one device: sweep."""

import argparse
import signal
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

WAIT = 60  # s for the results that another shard is to write

if TYPE_CHECKING:
    from kvgpt.measure.sweep.ledger import Ledger
    from kvgpt.measure.sweep.plan import Plan


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Its parser."""
    one = commands.add_parser(
        "sweep",
        help="the benchmarks on several workers at once, one pytest process a GPU",
        usage="kvgpt sweep --workers N [--shard K/N] [--out FILE] [--resume | --plan | --status] [arguments of pytest]",
        description="Share the cases of benchmarks among workers, all variants of a comparison to one of them, and "
        "write one results file. Each worker sees one of the GPUs that this process sees, or as many processors as the "
        "others. What a worker that dies leaves is measured by the others. Exit code: 1 where cases are missing, 2 for "
        "what cannot be started, else 0.",
    )
    one.add_argument("--workers", type=int, metavar="N", help="that are started here (with --shard: 1)")
    one.add_argument("--shard", metavar="K/N", help="the sweep is started in N places, this is the K-th: a Slurm array")
    one.add_argument("--out", type=Path, default=Path("sweep.json"), metavar="FILE", help="default: sweep.json")
    one.add_argument("--resume", action="store_true", help="go on with a sweep that was interrupted")
    one.add_argument("--plan", action="store_true", help="say who would measure what, and measure nothing")
    one.add_argument("--status", action="store_true", help="say how far all workers of the sweep that writes OUT are")
    one.add_argument(
        "arguments",
        nargs=argparse.REMAINDER,
        metavar="...",
        help="of pytest, last, after -- where the first is an option; all of benchmarks unless they name files",
    )
    one.set_defaults(run=sweep)


def sweep(parsed: argparse.Namespace) -> int:
    """Run the workers until each case is measured, and write the results of all; 1 where cases are missing."""
    from kvgpt.measure.progress import span
    from kvgpt.measure.sweep import plan as plans
    from kvgpt.measure.sweep import preparing, view
    from kvgpt.measure.sweep.conducting import Conductor
    from kvgpt.measure.sweep.ledger import Ledger

    out, say = parsed.out.absolute(), partial(print, flush=True)
    if parsed.status:
        ledger = Ledger(preparing.folder(out))
        print(*view.status(plans.read(ledger.plan), ledger), sep="\n")
        return 0
    shard = preparing.Shard.parse(parsed.shard) if parsed.shard else preparing.Shard()
    workers = 1 if parsed.shard and parsed.workers is None else parsed.workers
    if workers is None:
        raise ValueError("how many workers? --workers N, one a GPU, or --shard K/N for one of N")
    arguments = parsed.arguments[1:] if parsed.arguments[:1] == ["--"] else parsed.arguments
    plan = preparing.make_plan(arguments, workers * shard.parts)
    if parsed.plan:
        print(*view.planned(plan), sep="\n")
        return 0
    places = preparing.places(plan, shard.numbers(workers))
    with preparing.opened(plan, out, shard, parsed.resume) as ledger:
        say(*view.begun(plan, ledger, len(places)), sep="\n")
        started = time.monotonic()
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as schedulers end a job: like Ctrl-C
        try:
            Conductor(plan, ledger, places, arguments, say).run()
        finally:
            print(f"{view.total(plan, ledger)}, after {span(time.monotonic() - started)}", file=sys.stderr)
        if shard.parts == 1 or ledger.take_merge() or not _written(out):
            _write(plan, ledger, out)
        return int(any(not ledger.is_complete(group, run) for group, run in ledger.held(plan.groups)))


def _write(plan: "Plan", ledger: "Ledger", out: Path) -> None:
    """The results of all workers as one file."""
    from kvgpt.measure.sweep.gathering import gather
    from kvgpt.report import merging

    paths = gather(plan, ledger)
    try:
        merged = merging.merge(paths)
    except ValueError as error:
        raise ValueError(f"{error}: kvgpt merge {out} {ledger.folder}/*.held.json --allow ... does it") from error
    merging.write(out, merged)
    print(*merged.remarks, *(f"missing: {line}" for line in merged.missing), sep="\n", file=sys.stderr)
    print(f"wrote {out}: {len(merged.document['benchmarks'])} cases of {len(plan.cases)}")


def _written(out: Path) -> bool:
    """Whether the results are there, or soon are: another shard, which came first, is to write them."""
    for _ in range(WAIT):
        if out.exists():
            return True
        time.sleep(1.0)
    return False
