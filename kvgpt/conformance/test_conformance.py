"""One test for each promise, cache and dtype; ``conftest.py`` beside it says which."""

import pytest
import torch

from kvgpt.conformance import Broken, Promise, Subject


def test_promise(promise: Promise, subject: Subject, pytestconfig: pytest.Config) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tensors of a few numbers
    try:
        promise(subject, int(pytestconfig.getoption("--kvgpt-examples")))
    except Broken as broken:
        pytest.fail(str(broken), pytrace=False)
    finally:
        torch.set_num_threads(threads)
