"""Products of one row on a CPU, each with its neighbours: LayerNorm before it, GELU or a residual after it.

Loops that torch's compiler writes read each weight as it lies; see :mod:`kvgpt.packing`. What lies between the products
would be calls of their own, each as long as the reading of some hundred kilobytes. Sums are in float32, and rounded
once, where a loop ends.
"""

from collections.abc import Callable, Iterable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from kvgpt.compiling import uncompilable
from kvgpt.packing import LEAST, compiled, known, linear, sums

DTYPES = tuple(LEAST)


class OneRow:
    """The two products of a layer, by the names and arguments of :mod:`kvgpt.kernels.linear`. Compiled at their first
    use; where that fails, what :mod:`kvgpt.packing` has made ready serves.
    """

    def normed(
        self,
        x: Tensor,
        norm_weight: Tensor,
        norm_bias: Tensor,
        epsilon: float,
        weight: Tensor,
        bias: Tensor | None = None,
        gelu: bool = False,
    ) -> Tensor:
        """LayerNorm of x (..., K) of one row, its product with weight (N, K), plus bias (N,), and GELU where asked ->
        (..., N).
        """
        N, K = weight.shape
        threads = torch.get_num_threads()
        loop = _normed(N, K, weight.dtype, epsilon, bias is not None, gelu, threads) if _fits(weight) else None
        if loop is None:
            y = linear(F.layer_norm(x, (K,), norm_weight, norm_bias, epsilon), weight, bias, known(weight))
            return F.gelu(y, approximate="tanh") if gelu else y
        y, _ = loop(x.reshape(K), norm_weight, norm_bias, weight, *(() if bias is None else (bias,)))
        return y.view(*x.shape[:-1], N)

    def added(self, x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor) -> Tensor:
        """The product of x (..., K) of one row with weight (N, K), plus bias (N,) and residual (..., N)."""
        N, K = weight.shape
        loop = _added(N, K, weight.dtype, torch.get_num_threads()) if _fits(weight) else None
        if loop is None:
            return residual + linear(x, weight, bias, known(weight))
        return loop(x.reshape(K), weight, bias, residual.reshape(N)).view(residual.shape)


def pays(weights: Iterable[Tensor]) -> bool:
    """Whether each of ``weights`` (N, K) is worth a compiled loop on its device, a CPU that has a compiler."""
    return all(
        weight.device.type == "cpu"
        and weight.nbytes >= LEAST.get(weight.dtype, torch.inf)
        and uncompilable(weight.device) is None
        for weight in weights
    )


def _fits(weight: Tensor) -> bool:
    """Whether a loop, which checks nothing and has no gradients, may read ``weight``."""
    return weight.is_contiguous() and not torch.is_grad_enabled()


@cache
def _normed(
    N: int, K: int, dtype: torch.dtype, epsilon: float, biased: bool, gelu: bool, threads: int
) -> Callable[..., tuple[Tensor, Tensor]] | None:
    def normed(
        x: Tensor, norm_weight: Tensor, norm_bias: Tensor, weight: Tensor, *bias: Tensor
    ) -> tuple[Tensor, Tensor]:
        centred = x.float() - x.float().mean()
        scale = torch.rsqrt(centred.square().mean() + epsilon)
        x = centred * scale * norm_weight.float() + norm_bias.float()  # (K,)
        y = sum(bias, sums(weight, x))
        y = F.gelu(y, approximate="tanh") if gelu else y
        return y.to(dtype), x  # what is returned is made once, and not anew for each row of the weight

    sizes = [(K,), (K,), (K,), (N, K), *([(N,)] if biased else [])]
    return compiled(normed, *(torch.empty(size, dtype=dtype) for size in sizes))


@cache
def _added(N: int, K: int, dtype: torch.dtype, threads: int) -> Callable[..., Tensor] | None:
    def added(x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor) -> Tensor:
        return (sums(weight, x.float()) + bias + residual).to(dtype)

    return compiled(added, *(torch.empty(size, dtype=dtype) for size in [(K,), (N, K), (N,), (N,)]))
