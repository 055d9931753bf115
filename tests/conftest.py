"""Tests compute on tiny tensors: one thread is fastest, and leaves the other cores to other workers."""

import os
from pathlib import Path

import pytest
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # kernels run here, slowly; Triton asks once, when it is first imported


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "OMP_NUM_THREADS", "1")  # of the processes that tests start
        yield
    torch.set_num_threads(before)


@pytest.fixture
def nothing_is_compiled_yet():
    """Loops in C++ are looked for anew, before and after."""
    from kvgpt.native import attention, build, rows

    known = (attention.loop, rows.loop, build.library)
    for kept in known:
        kept.cache_clear()
    yield
    for kept in known:
        kept.cache_clear()


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")


@pytest.fixture(scope="session")
def data_folder(pytestconfig):
    """Texts that the project does not carry."""
    folder = pytestconfig.getoption("--kvgpt-data")
    if folder is None:
        pytest.skip("needs texts that are not shipped and the gpt2 encoding: name their folder with --kvgpt-data DIR")
    return Path(folder)
