"""The ``kvgpt`` command: a file for each group of its commands, and the one entry to all of them."""

import argparse
import sys
from collections.abc import Sequence

from kvgpt import __version__
from kvgpt.cli import comparison, fetching, machine, models, results, training


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command: 0, 1 for a bug or a missing permission, 2 with one line on what was wrong, 130 if interrupted."""
    parsed = _parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed) or 0)
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"kvgpt {parsed.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"kvgpt {parsed.command}: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="kvgpt", description="Test and measure KV caches.")
    parser.add_argument("--version", action="version", version=f"kvgpt {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for group in (models, training, fetching, results, comparison, machine):
        group.add(commands)
    return parser
