"""One test for each promise, cache and dtype; ``conftest.py`` beside it says which."""

from collections.abc import Callable

import pytest
import torch

from kvgpt import registry
from kvgpt.conformance import Broken, Promise, Subject
from kvgpt.options import IMPORTED


def test_promise(
    promise: Promise,
    subject: Subject,
    pytestconfig: pytest.Config,
    record_property: Callable[[str, object], None],
) -> None:
    if subject.variant is None:
        record_property(IMPORTED, registry.imported(subject.name))
    threads, story = torch.get_num_threads(), None
    torch.set_num_threads(1)  # tensors of a few numbers
    try:
        promise(subject, int(pytestconfig.getoption("--kvgpt-examples")))
    except Broken as broken:
        story = str(broken)
    finally:
        torch.set_num_threads(threads)
    if story is not None:  # told once, without the chain of what raised it
        pytest.fail(story, pytrace=False)
