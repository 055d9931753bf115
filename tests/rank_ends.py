"""A rank whose second one gets a signal in the middle of a decode step: at its Nth sum over ranks.

``python rank_ends.py SIGKILL N generate ...`` for `kvgpt`; ``pytest -p rank_ends --ends-at=N`` for a run of pytest.
"""

import os
import signal
import sys
from itertools import count


def arm(name, after):
    """Have the second rank get the signal of this name."""
    from kvgpt.parallel import Joined

    calls, whole = count(1), Joined.sum

    def ends(self, x):
        if next(calls) == after:
            os.kill(os.getpid(), getattr(signal, name))
        return whole(self, x)

    if os.environ["RANK"] == "1":
        Joined.sum = ends


def pytest_addoption(parser):
    parser.addoption("--ends-at", type=int)


def pytest_collection_finish(session):
    arm("SIGKILL", session.config.getoption("--ends-at"))


if __name__ == "__main__":
    from kvgpt import cli

    arm(sys.argv[1], int(sys.argv[2]))
    sys.exit(cli.main(sys.argv[3:]))
