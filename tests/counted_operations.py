"""Counts the operations that torch makes beside matrix products: what ``kvgpt.itemised`` has in closed form."""

from math import pi, sqrt

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# One operation for each floating-point number that comes out.
ELEMENTWISE = {"add", "sub", "mul", "div", "neg", "pow", "exp", "tanh", "sin", "cos", "rsqrt", "round", "clamp"}
# One for each that goes in, and for each thing that is found out about it.
REDUCTIONS = {"sum": 1, "amax": 1, "linalg_vector_norm": 1, "aminmax": 2}
# Numbers move, are made, compared, lose their sign or change their type.
MOVING = """
    _local_scalar_dense _to_copy _unsafe_view abs alias arange as_strided bitwise_and bitwise_not bitwise_or bmm cat
    clone copy detach embedding empty empty_like expand fill full full_like gt index index_put lift_fresh logical_not lt
    masked_fill mm new_empty new_full ones permute select slice split split_with_sizes squeeze stack t to transpose tril
    unbind unsqueeze view where zero zeros zeros_like __and__ __ilshift__ __ior__ __lshift__ __or__ __rshift__
"""
KNOWN = {*ELEMENTWISE, *REDUCTIONS, *MOVING.split(), "addmm"}


def layer_norm(x, shape, weight, bias, epsilon):
    count = x.size(-1)
    mean = x.sum(dim=-1, keepdim=True) / count
    centred = x - mean
    variance = (centred * centred).sum(dim=-1, keepdim=True) / count
    return centred * (variance + epsilon).rsqrt() * weight + bias, mean, variance


def softmax(x, dim, half_to_float):
    weights = (x - x.amax(dim, keepdim=True)).exp()
    return weights / weights.sum(dim, keepdim=True)


def gelu(x, approximate):
    assert approximate == "tanh"
    cube = x * x * x
    return 0.5 * x * (1 + torch.tanh(sqrt(2 / pi) * (x + 0.044715 * cube)))


WRITTEN_OUT = {"native_layer_norm": layer_norm, "_softmax": softmax, "gelu": gelu}


class OperationCounter(TorchDispatchMode):
    """``count`` of operations on floating-point numbers; KeyError for an operation that is in none of the tables."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = function.overloadpacket.__name__
        if name in WRITTEN_OUT:
            with self:
                return WRITTEN_OUT[name](*args, **kwargs)
        known = name if name.startswith("__") else name.rstrip("_")
        if known not in KNOWN:
            with self:
                made = function.decompose(*args, **kwargs)
            if made is NotImplemented:
                raise KeyError(f"{function}: is it arithmetic, or does it only move numbers?")
            return made
        out = function(*args, **kwargs)
        if known in REDUCTIONS and args[0].is_floating_point():
            self.count += REDUCTIONS[known] * args[0].numel()
        elif known in {*ELEMENTWISE, "addmm"} and out.is_floating_point():  # of addmm: the bias
            self.count += out.numel()
        return out
