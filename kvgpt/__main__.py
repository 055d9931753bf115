"""``python -m kvgpt``: the same as the ``kvgpt`` command."""

import sys

from kvgpt.cli import main

sys.exit(main())
