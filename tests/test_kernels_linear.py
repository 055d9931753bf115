"""Products of few rows: each kernel is its twin in plain torch, by Triton's interpreter or on a GPU."""

import os
import subprocess
import sys
from contextlib import contextmanager

import pytest
import torch

from kvgpt.conformance import tolerances
from kvgpt.kernels.available import available

pytest.importorskip("triton", reason="needs Triton")

from kvgpt.kernels import linear

SHAPES = [(1, 65, 33), (3, 7, 100), (8, 5, 1030), (5, 12, 16), (1, 1, 1)]  # M, N, K
LEFT_OUT = pytest.mark.skipif(
    torch.cuda.is_available(), reason="Triton's interpreter is chosen for a whole process: here kernels are compiled"
)


@pytest.fixture(params=[pytest.param("cpu", marks=LEFT_OUT), pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    assert available(torch.device(request.param), interpreted=True)
    return request.param


@contextmanager
def unwritten_is_no_number():
    torch.use_deterministic_algorithms(True)  # which fills what torch.empty gives with NaN
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


class Given:
    """What a product is made of, in float64, and the same in a dtype on a device."""

    def __init__(self, M, N, K, dtype, device):
        generator = torch.Generator().manual_seed(M + N + K)

        def drawn(*shape):
            return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

        self.narrow = {
            "x": drawn(M, 1, K) + 0.5,
            "norm_weight": 1 + 0.2 * drawn(K),
            "norm_bias": 0.2 * drawn(K),
            "weight": drawn(N, K) / K**0.5,
            "bias": drawn(N),
            "residual": drawn(M, 1, N),
        }
        self.narrow = {name: tensor.to(device) for name, tensor in self.narrow.items()}
        self.wide = {name: tensor.double() for name, tensor in self.narrow.items()}
        self.device, self.dtype = device, dtype

    def check(self, kernel, twin, *names, **options):
        arguments, exact = ([of[name] for name in names] for of in (self.narrow, self.wide))
        if kernel is linear.normed:
            arguments, exact = ([*x[:3], 1e-5, *x[3:]] for x in (arguments, exact))
        with unwritten_is_no_number():
            out = kernel(*arguments, **options)
        plain, truth = twin(*arguments, **options), twin(*exact, **options)
        assert out.shape == plain.shape and out.dtype == plain.dtype and out.device == plain.device
        if self.device == "cpu" and self.dtype == torch.bfloat16:
            # The interpreter cuts a bfloat16 off, where a GPU rounds it: off by a whole step, not by half a one.
            cut = truth.abs() * torch.finfo(torch.bfloat16).eps
            assert ((out.double() - truth).abs() <= cut + 1e-5).all()
            return
        for verdict in tolerances.by_ratio(out, [plain], truth):
            assert verdict, verdict


@pytest.mark.parametrize("dtype", linear.DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_kernel_is_its_twin(shape, dtype, device):
    given = Given(*shape, dtype, device)
    norm = "x", "norm_weight", "norm_bias", "weight"
    given.check(linear.normed, linear.plain_normed, *norm)
    given.check(linear.normed, linear.plain_normed, *norm, "bias")
    given.check(linear.normed, linear.plain_normed, *norm, "bias", gelu=True)
    given.check(linear.added, linear.plain_added, "x", "weight", "bias", "residual")


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", linear.DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(1, 3072, 1024), (8, 6400, 1600), (3, 1600, 6400), (1, 50257, 768)], ids=str)
def test_a_kernel_is_its_twin_at_the_sizes_of_gpt2(shape, dtype):
    given = Given(*shape, dtype, "cuda")
    for dependent in (False, True):
        norm = "x", "norm_weight", "norm_bias", "weight", "bias"
        given.check(linear.normed, linear.plain_normed, *norm, gelu=True, dependent=dependent)
        given.check(linear.added, linear.plain_added, "x", "weight", "bias", "residual", dependent=dependent)


def test_what_lies_around_a_row_is_neither_read_nor_written(device):
    x, weight = (torch.full((6, 20), float("nan"), device=device) for _ in range(2))
    x[1:4, 2:15] = 1.0
    weight[:5, :13] = 2.0
    one, zero, room = torch.ones(13, device=device), torch.zeros(13, device=device), torch.zeros(3, 5, device=device)
    assert torch.equal(linear.added(x[1:4, 2:15], weight[:5, :13], None, room), torch.full_like(room, 26.0))
    assert torch.equal(linear.normed(x[1:4, 2:15], one, zero, 1e-5, weight[:5, :13]), room)


def test_a_row_that_is_no_number_stays_its_own(device):
    x = torch.ones(3, 9, device=device)
    x[1, 4] = float("nan")
    weight, room = torch.ones(6, 9, device=device), torch.zeros(3, 6, device=device)
    ones, zeros = torch.ones(9, device=device), torch.zeros(9, device=device)
    for out in (linear.added(x, weight, None, room), linear.normed(x, ones, zeros, 1e-5, weight)):
        assert out[1].isnan().all() and out[[0, 2]].isfinite().all()


COMPILED = """
import sys
from kvgpt.kernels import linear
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

arch, rows, block_n, block_k, width, norm, dependent = map(int, sys.argv[1:])
constants = dict(K=width, NORM=norm, BIAS=1, GELU=norm, RESIDUAL=not norm, DEPENDENT=dependent)
constants |= dict(ROWS=rows, BLOCK_N=block_n, BLOCK_K=block_k)
types = dict.fromkeys(linear._product.arg_names, "*bf16") | dict(epsilon="fp32", stride="i32", M="i32", N="i32")
types |= dict.fromkeys(constants, "constexpr")
source = ASTSource(linear._product, types, constants)
made = triton.compile(source, GPUTarget("cuda", arch, 32), {"launch_pdl": True} if dependent else {})
print(made.asm["ptx"].count("griddepcontrol.wait"), made.asm["ptx"].count("griddepcontrol.launch_dependents"))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs the assembler that Triton brings along on Linux")
@pytest.mark.parametrize(
    ("arch", "made", "dependent"), [(90, (1, 4, 1024, 1600, 1), True), (80, (8, 16, 128, 1024, 0), False)]
)
def test_a_kernel_compiles_for_a_gpu_where_there_is_none(arch, made, dependent, tmp_path):
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path), "PYTHONWARNINGS": "ignore"}
    arguments = map(str, (arch, *made, int(dependent)))
    done = subprocess.run(
        [sys.executable, "-c", COMPILED, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == [str(int(dependent))] * 2, done.stderr


@pytest.mark.parametrize(
    ("x", "weight", "found"),
    [
        (torch.ones(9, 4), torch.ones(3, 4), "9 rows of torch.float32"),
        (torch.ones(1, 4).double(), torch.ones(3, 4).double(), "1 rows of torch.float64"),
        (torch.ones(1, 4).half(), torch.ones(3, 4), "a weight of torch.float32"),
        (torch.ones(1, 4), torch.ones(4, 3).t(), r"with strides \(1, 3\)"),
    ],
)
def test_what_a_kernel_does_not_take_is_refused(x, weight, found):
    with pytest.raises(ValueError, match=found):
        linear.added(x, weight, None, torch.zeros(len(x), 3))
