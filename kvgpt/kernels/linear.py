"""Products of few rows with a weight, and what stands before and after them in a layer: one kernel each.

A decode step reads every weight once and multiplies it by a row or a few. Products of matrices would keep tensor cores
waiting that stay nearly empty: here each program multiplies a few rows of the weight elementwise and sums once, at its
end. Its first tile of the weight is on its way before anything is asked of the kernel ahead.

Shapes: M rows, N and K the weight's. Sums are in float32.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

MOST_ROWS = 8  # beyond, tensor cores are filled well enough, and torch's own products serve
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# float32 numbers a thread sums in: a quarter of its registers, so that four blocks share a multiprocessor
ACCUMULATORS = 64
LONGEST_TILE = 1024  # numbers of a weight's row at a time: the whole row of most GPT-2 widths
EARLIEST = (9, 0)  # the compute capability from which a kernel can start before the one ahead of it has ended
WIDE = 8192  # rows of a weight from which there are programs to spare, so that each takes more rows


@triton.jit
def _product(
    x,
    norm_weight,
    norm_bias,
    weight,
    bias,
    residual,
    out,
    epsilon,
    stride,
    M,
    N,
    K: tl.constexpr,
    NORM: tl.constexpr,
    BIAS: tl.constexpr,
    GELU: tl.constexpr,
    RESIDUAL: tl.constexpr,
    DEPENDENT: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    m, k = tl.arange(0, ROWS)[:, None, None], tl.arange(0, BLOCK_K)[None, None, :]
    first = tl.program_id(0).to(tl.int64) * BLOCK_N
    n = (first + tl.arange(0, BLOCK_N))[None, :, None]
    rows, weights = x + m * K, weight + n * stride  # of (ROWS, 1, 1) and (1, BLOCK_N, 1)
    w = tl.load(weights + k, mask=(n < N) & (k < K), other=0.0)  # (1, BLOCK_N, BLOCK_K)
    if DEPENDENT:  # what is above reads weights alone, which no kernel of a step writes
        tl.extra.cuda.gdc_launch_dependents()
        tl.extra.cuda.gdc_wait()
    if NORM:
        total = tl.zeros([ROWS, 1, BLOCK_K], tl.float32)
        for start in range(0, K, BLOCK_K):
            total += tl.load(rows + start + k, mask=(m < M) & (start + k < K), other=0.0).to(tl.float32)
        mean = tl.sum(total, axis=2, keep_dims=True) / K  # (ROWS, 1, 1)
        total = tl.zeros([ROWS, 1, BLOCK_K], tl.float32)
        for start in range(0, K, BLOCK_K):
            a = tl.load(rows + start + k, mask=(m < M) & (start + k < K), other=0.0).to(tl.float32)
            a = tl.where(start + k < K, a - mean, 0.0)
            total += a * a
        scale = 1.0 / tl.sqrt(tl.sum(total, axis=2, keep_dims=True) / K + epsilon)  # (ROWS, 1, 1)
    sums = tl.zeros([ROWS, BLOCK_N, BLOCK_K], tl.float32)
    for start in range(0, K, BLOCK_K):
        at = start + k
        a = tl.load(rows + at, mask=(m < M) & (at < K), other=0.0).to(tl.float32)  # (ROWS, 1, BLOCK_K)
        if NORM:
            a = (a - mean) * scale * tl.load(norm_weight + at, mask=at < K, other=0.0).to(tl.float32)
            a += tl.load(norm_bias + at, mask=at < K, other=0.0).to(tl.float32)
        sums += a * w.to(tl.float32)
        at += BLOCK_K  # the next tile, on its way while this one is summed
        w = tl.load(weights + at, mask=(n < N) & (at < K), other=0.0)
    y = tl.sum(sums, axis=2)  # (ROWS, BLOCK_N)
    m, n = tl.arange(0, ROWS)[:, None], (first + tl.arange(0, BLOCK_N))[None, :]
    here, place = (m < M) & (n < N), m.to(tl.int64) * N + n
    if BIAS:
        y += tl.load(bias + n, mask=n < N, other=0.0).to(tl.float32)
    if GELU:  # y (1 + tanh(z)) / 2 is y sigmoid(2 z)
        y *= tl.sigmoid(1.5957691216057308 * (y + 0.044715 * y * y * y))
    if RESIDUAL:
        y += tl.load(residual + place, mask=here, other=0.0).to(tl.float32)
    tl.store(out + place, y.to(out.dtype.element_ty), mask=here)


def normed(
    x: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    epsilon: float,
    weight: Tensor,
    bias: Tensor | None = None,
    gelu: bool = False,
    dependent: bool = False,
) -> Tensor:
    """LayerNorm of x (..., K), its product with weight (N, K), plus bias (N,), and GELU where asked -> (..., N).

    ``dependent`` starts the kernel before the one ahead of it has ended (programmatic dependent launch), on GPUs that
    can; on others it changes nothing.
    """
    return _launch(x, weight, bias, None, (norm_weight, norm_bias, epsilon), gelu, dependent)


def plain_normed(
    x: Tensor,
    norm_weight: Tensor,
    norm_bias: Tensor,
    epsilon: float,
    weight: Tensor,
    bias: Tensor | None = None,
    gelu: bool = False,
    dependent: bool = False,
) -> Tensor:
    """:func:`normed` in plain PyTorch."""
    y = F.linear(F.layer_norm(x, norm_weight.shape, norm_weight, norm_bias, epsilon), weight, bias)
    return F.gelu(y, approximate="tanh") if gelu else y


def added(x: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor, dependent: bool = False) -> Tensor:
    """The product of x (..., K) with weight (N, K), plus bias (N,) and residual (..., N)."""
    return _launch(x, weight, bias, residual, None, False, dependent)


def plain_added(x: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor, dependent: bool = False) -> Tensor:
    """:func:`added` in plain PyTorch."""
    return residual + F.linear(x, weight, bias)


def _launch(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    norm: tuple[Tensor, Tensor, float] | None,
    gelu: bool,
    dependent: bool,
) -> Tensor:
    N, K = weight.shape
    M = x.numel() // K
    if M > MOST_ROWS or x.dtype not in DTYPES or weight.dtype != x.dtype or weight.stride(1) != 1:
        raise ValueError(
            f"{M} rows of {x.dtype} and a weight of {weight.dtype} with strides {weight.stride()}: this kernel takes 1 "
            f"to {MOST_ROWS} rows of one of {', '.join(map(str, DTYPES))} and a weight of the same, row by row"
        )
    out = x.new_empty(*x.shape[:-1], N)
    norm_weight, norm_bias, epsilon = norm or (weight, weight, 0.0)  # what is not there is not read
    rows = triton.next_power_of_2(M)
    block_n, warps = (4, 4) if N < WIDE else (16, 8)
    block_k = min(triton.next_power_of_2(K), LONGEST_TILE, ACCUMULATORS * 32 * warps // (rows * block_n))
    early = dependent and x.is_cuda and torch.cuda.get_device_capability(x.device) >= EARLIEST
    _product[(triton.cdiv(N, block_n),)](
        x.contiguous(),
        norm_weight,
        norm_bias,
        weight,
        weight if bias is None else bias,
        weight if residual is None else residual.contiguous(),
        out,
        epsilon,
        weight.stride(0),
        M,
        N,
        K,
        NORM=norm is not None,
        BIAS=bias is not None,
        GELU=gelu,
        RESIDUAL=residual is not None,
        DEPENDENT=early,
        ROWS=rows,
        BLOCK_N=block_n,
        BLOCK_K=block_k,
        num_warps=warps,
        enable_fp_fusion=True,  # Triton's default until 3.9, which warns that it will change
        **({"launch_pdl": True} if early else {}),
    )
    return out


@dataclass(frozen=True)
class Products:
    """The two products of a layer, by the names and arguments of :func:`normed` and :func:`added`."""

    normed: Callable[..., Tensor]
    added: Callable[..., Tensor]


FUSED, PLAIN = Products(normed, added), Products(plain_normed, plain_added)
