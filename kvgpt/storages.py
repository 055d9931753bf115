"""The storages behind tensors: what an object holds, each counted once."""

from collections.abc import Iterable

from torch import Tensor
from torch.utils._python_dispatch import is_traceable_wrapper_subclass


def distinct_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of the storages behind these tensors, each counted once."""
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage() for tensor in tensors}
    return sum(storage.nbytes() for storage in storages.values())


def tensors_of(thing: object) -> list[Tensor]:
    """Every tensor that can be reached from an object through attributes, lists, tuples and dicts.

    A tensor that is made of others, such as a quantised one, stands for those: it has no storage of its own.
    """
    found: list[Tensor] = []
    seen: set[int] = set()
    waiting = [thing]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if is_traceable_wrapper_subclass(one):
            parts, _ = one.__tensor_flatten__()
            waiting += [getattr(one, name) for name in parts]
        elif isinstance(one, Tensor):
            found.append(one)
        elif isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list | tuple | set | frozenset):
            waiting += one
        elif hasattr(one, "__dict__") and not isinstance(one, type):
            waiting += vars(one).values()
    return found
