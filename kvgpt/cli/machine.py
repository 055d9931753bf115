"""Commands on the machine: doctor, clocks."""

import argparse
import sys


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Their parsers."""
    one = commands.add_parser("doctor", help="what can be measured here, what cannot, and why")
    one.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where torch sees a GPU, else cpu")
    one.add_argument("--pstates", action="store_true", help="show the clocks at rest, under load and after it")
    one.add_argument("--seconds", type=float, default=5.0, help="of each of the three (default: 5)")
    one.set_defaults(run=doctor)

    one = commands.add_parser("clocks", help="hold a GPU's SM clock still, or let it move again")
    actions = one.add_subparsers(dest="action", required=True, metavar="lock|unlock")
    two = actions.add_parser("lock", help="until `kvgpt clocks unlock`; drivers let root alone do it")
    two.add_argument("--sm", type=int, metavar="MHZ", help="default: the application clock, else the base clock")
    actions.add_parser("unlock", help="whoever locked it")
    one.set_defaults(run=clocks)


def doctor(parsed: argparse.Namespace) -> None:
    """Say what can be measured here, or show the device's clocks under load."""
    from kvgpt.measure import doctor as examination
    from kvgpt.measure import pstates

    device = parsed.device or examination.default_device()
    shown = pstates.report(device, parsed.seconds) if parsed.pstates else examination.report(device)
    print("\n".join(shown))


def clocks(parsed: argparse.Namespace) -> int:
    """Lock or unlock the SM clock; 1 where the driver does not permit it."""
    from kvgpt.measure import clock_lock
    from kvgpt.measure import device as devices

    gpu = devices.gpu("cuda")
    if parsed.action == "lock":
        outcome = clock_lock.lock(gpu, None if parsed.sm is None else parsed.sm * 1e6)
    else:
        outcome = clock_lock.unlock(gpu)
    print(outcome.said, file=sys.stdout if outcome.done else sys.stderr)
    return int(not outcome.done)
