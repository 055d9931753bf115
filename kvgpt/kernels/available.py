"""Whether Triton can be used: asked before a module with kernels is imported, and without importing Triton in vain."""

from importlib.util import find_spec

import torch


def available(device: torch.device, interpreted: bool = False) -> bool:
    """Whether kernels run on tensors of ``device``: on a GPU, compiled; with ``interpreted``, anywhere, where Triton's
    interpreter was chosen by TRITON_INTERPRET=1 before Triton was first imported. It is slow, and for tests.
    """
    if find_spec("triton") is None or not (interpreted or device.type == "cuda"):
        return False
    return device.type == "cuda" or _interprets()


def _interprets() -> bool:
    import triton  # noqa: PLC0415 - optional

    return triton.knobs.runtime.interpret
