"""Outside a checkout: what pytest must find before it reads any ``conftest.py``. Part of :mod:`kvgpt.options`.

``pytest --pyargs kvgpt.benchmarks`` is the benchmarks as they are installed. pytest would read their ``conftest.py``
while it collects, too late for passes in processes of their own; given as a folder, it is read at once. And a cache of
one's own may lie in the folder that pytest is started in, as it may under ``python -m pytest``: pytest's setting
``pythonpath`` would say so, but is used before any plug-in is asked.
"""

import sys
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec

import pytest

BENCHMARKS = "kvgpt.benchmarks"


@pytest.hookimpl(wrapper=True, tryfirst=True)  # around pytest's own, which reads what lies beside the first arguments
def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> Iterator[None]:
    given = early_config.known_args_namespace
    here = str(early_config.invocation_params.dir)
    if given.kvgpt_cache and here not in sys.path:
        sys.path.insert(0, here)
        early_config.add_cleanup(partial(sys.path.remove, here))
    if given.pyargs:
        for words in (args, given.file_or_dir):
            words[:] = map(_placed, words)
    return (yield)


def _placed(word: str) -> str:
    """The folder or file that a module of the benchmarks is, with what follows ``::``; other words as they are."""
    module, colons, rest = word.partition("::")
    if module != BENCHMARKS and not module.startswith(f"{BENCHMARKS}."):
        return word
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return word
    return (spec.submodule_search_locations or [spec.origin])[0] + colons + rest
