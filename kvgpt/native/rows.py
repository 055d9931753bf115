"""Products of a few rows with a weight as it lies, and what stands before and after them in a layer: one call each.

A decode step reads every weight once and multiplies it by a row or a few. Here every core reads it in streams, each
line asked for a page ahead, and LayerNorm, GELU, bias and residual are part of the loop: they would be calls of their
own, each as long as the reading of some hundred kilobytes. Sums are in float32, and rounded once, where a loop ends.

Shapes: N and K a weight's. On a CPU that multiplies pairs of bfloat16, what is normed is rounded before it is
multiplied where there are several rows, as a layer of the model rounds it.
"""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from kvgpt.native.build import NUMBERS, library, profiled

MOST_ROWS = 8  # beyond, a product is bound by its arithmetic, and blocks of the weight serve it better
DTYPES = tuple(NUMBERS)
WEIGHTS = {**NUMBERS, torch.int8: "int8_t"}

Norm = tuple[Tensor, Tensor, float]  # weight (K,), bias (K,), epsilon


@cache
def loop(weight: torch.dtype, dtype: torch.dtype) -> Callable[..., None] | None:
    """What multiplies a weight of that dtype where all else is of ``dtype``, or None where nothing does here."""
    if weight not in WEIGHTS or dtype not in DTYPES or weight not in (dtype, torch.int8):
        return None
    made = library("rows", WEIGHT=WEIGHTS[weight], NUMBER=NUMBERS[dtype])
    return None if made is None else _typed(made)


def serves(rows: int, x: Tensor, weight: Tensor, *others: Tensor | None) -> bool:
    """Whether :func:`few_rows` takes these: contiguous weights on a CPU that can compile, all else of one dtype, and no
    gradients.
    """
    return (
        rows <= MOST_ROWS
        and not torch.is_grad_enabled()
        and weight.is_contiguous()
        and weight.device.type == "cpu"
        and all(other is None or (other.dtype == x.dtype and other.is_contiguous()) for other in others)
        and loop(weight.dtype, x.dtype) is not None
    )


def few_rows(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    scale: Tensor | None = None,
    norm: Norm | None = None,
    gelu: bool = False,
    residual: Tensor | None = None,
) -> Tensor:
    """LayerNorm of x (..., K) where asked, its product with weight (N, K), times scale (N,) where the weight is codes,
    plus bias (N,), GELU where asked, plus residual (..., N) -> (..., N). For what it :func:`serves` alone: nothing is
    checked, and no gradients are kept.
    """
    N, K = weight.shape
    run = cast(Callable[..., None], loop(weight.dtype, x.dtype))
    x, out = x.contiguous(), x.new_empty(*x.shape[:-1], N)
    norm_weight, norm_bias, epsilon = norm or (None, None, 0.0)
    residual = None if residual is None else residual.contiguous()
    profiled(
        "few_rows",
        run,
        torch.get_num_threads(),
        x.numel() // K,
        N,
        K,
        x.data_ptr(),
        _address(norm_weight),
        _address(norm_bias),
        epsilon,
        weight.data_ptr(),
        _address(scale),
        _address(bias),
        gelu,
        _address(residual),
        out.data_ptr(),
    )
    return out


def normed(
    x: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    epsilon: float,
    weight: Tensor,
    bias: Tensor | None = None,
    gelu: bool = False,
) -> Tensor:
    """LayerNorm of x (..., K), its product with weight (N, K), plus bias (N,), and GELU where asked -> (..., N)."""
    if serves(x.numel() // x.size(-1), x, weight, norm_weight, norm_bias, bias):
        return few_rows(x, weight, bias, norm=(norm_weight, norm_bias, epsilon), gelu=gelu)
    y = F.linear(F.layer_norm(x, norm_weight.shape, norm_weight, norm_bias, epsilon), weight, bias)
    return F.gelu(y, approximate="tanh") if gelu else y


def added(x: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor) -> Tensor:
    """The product of x (..., K) with weight (N, K), plus bias (N,) and residual (..., N)."""
    if serves(x.numel() // x.size(-1), x, weight, bias, residual):
        return few_rows(x, weight, bias, residual=residual)
    return residual + F.linear(x, weight, bias)


def _typed(made: ctypes.CDLL) -> Callable[..., None]:
    """``few_rows`` of rows.cpp, by its argument types."""
    function = made.few_rows
    count, size, address = ctypes.c_int, ctypes.c_int64, ctypes.c_void_p
    function.argtypes = [count, count, size, size, address, address, address, ctypes.c_double]
    function.argtypes += [address, address, address, count, address, address]
    function.restype = None
    return function


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
