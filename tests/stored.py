"""One layer of a storage as a decode kernel finds it: full up to a place, poisoned beyond, laid out as caches do."""

import importlib
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec

import pytest
import torch

from kvgpt.caches.codecs.int4 import Int4
from kvgpt.caches.codecs.int8 import Int8
from kvgpt.conformance import oracle, tolerances, uncached

CODECS = {"dense": None, "int8": Int8, "int4": Int4}
INTERPRETS = 3, 9  # the Triton whose interpreter works with NumPy 2.4, which older ones do not
LAYOUTS = ("whole", "slice", "rows", "tokens first")
DTYPES = ("float32", "float16", "bfloat16")
SPECIAL = (
    "zero",
    "one-sided",
    "tiny",
    "huge",
    "nan",
    "inf",
)  # in dense storage, plain torch's own paths disagree on infinities
SPECIALS = [(storage, special) for storage in CODECS for special in SPECIAL if (storage, special) != ("dense", "inf")]


def kernels(name, device="cpu"):
    """A module of kernels, or a skip that says what is missing."""
    if find_spec("triton") is None:
        pytest.skip("needs Triton, which there is for Linux: pip install triton")
    if device == "cpu" and torch.cuda.is_available():
        pytest.skip("kernels are compiled where there is a GPU, and interpreted where there is none")
    if device == "cpu" and tuple(map(int, version("triton").split(".")[:2])) < INTERPRETS:
        pytest.skip(f"needs Triton {INTERPRETS[0]}.{INTERPRETS[1]} to interpret kernels, found {version('triton')}")
    return importlib.import_module(f"kvgpt.kernels.{name}")


@dataclass
class Layer:
    """``length`` tokens are stored, and one more comes: q, k, v. ``special`` says what its last head is like."""

    storage: str
    head_dim: int
    length: int
    room: int
    batch: int = 1
    heads: int = 1
    groups: int = 1
    dtype: str = "float32"
    layout: str = "whole"
    special: str = "plain"
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self):
        kind, self.codec = CODECS[self.storage], None
        if kind is not None:
            self.codec = kind(self.head_dim)
        self.kind, generator = getattr(torch, self.dtype), torch.Generator().manual_seed(self.seed)

        def drawn(*size):
            return torch.randn(size, generator=generator).to(self.kind)

        self.position = torch.tensor(self.length, device=self.device)
        heads = [self.heads * self.groups, self.heads, self.heads]
        projected = drawn(self.batch, 1, sum(heads), self.head_dim)  # as a model has them: q, k, v are views of it
        unlike(projected[-1, 0], self.special, [sum(heads[:2]) - 1, sum(heads) - 1])
        self.q, self.k, self.v = projected.to(self.device).transpose(1, 2).split(heads, dim=1)
        before = self.encoded(drawn(2, self.batch, self.heads, self.length, self.head_dim))
        size = (2, self.batch, self.heads, self.room)
        self.memory, self.parts = zip(
            *(poisoned(part.dtype, (*size, *part.shape[4:]), self.layout, self.device) for part in before), strict=True
        )
        for part, held in zip(self.parts, before, strict=True):
            part[:, :, :, : self.length] = held.to(self.device)
        self.at_first = [memory.clone() for memory in self.memory]

    def encoded(self, x):
        """The parts of x (2, B, H, n, D), by the codec on the CPU: every device must agree with it."""
        if self.codec is None:
            return [x.cpu()]
        padded = torch.cat((x.cpu(), torch.zeros_like(x[:, :, :, :1]).cpu()), dim=3)  # n may be 0
        return [part[:, :, :, :-1] for part in self.codec.encode(padded).values()]

    @property
    def stored(self):
        """As a kernel takes them."""
        return list(self.parts[0]) if self.codec is None else list(self.parts)

    def appended(self):
        """Assert that the place holds what the codec makes of k and v, and that nothing else was written."""
        for part, right in zip(self.parts, self.encoded(torch.stack((self.k, self.v))), strict=True):
            assert same(part[:, :, :, self.length].cpu(), right[:, :, :, 0]), f"{part.dtype} at the new token's place"
            self.untouched_but(self.length)

    def untouched_but(self, place):
        """Assert that all memory is as it was at first, but for a place that may hold anything."""
        for memory, first in zip(self.memory, self.at_first, strict=True):
            view, was = (seen(x, self.layout) for x in (memory.clone(), first.clone()))
            if place is not None:
                view[0][:, :, :, place] = was[0][:, :, :, place] = 0
            assert same(view[1], was[1]), f"{memory.dtype} was written outside of the new token's place"

    def read(self, dtype):
        """Keys and values (B, H, length + 1, D), as the codec on the CPU reads them back."""
        held = [part[:, :, :, : self.length + 1].cpu() for part in self.parts]
        if self.codec is None:
            return held[0].to(dtype)
        return self.codec.decode(dict(zip(self.codec.room(), held, strict=True)), dtype)

    def agrees(self, out):
        """Assert that ``out`` is attention over what is stored, no further off than plain torch in the same dtype."""
        out, q = out.cpu(), self.q.cpu()
        assert (out.shape, out.dtype) == (q.shape, q.dtype)
        truth = oracle.attention(q, *self.read(torch.float64))
        assert torch.equal(out.isnan(), truth.isnan()), "NaN where there is a number, or a number for NaN"
        k, v = self.read(self.kind)
        plain = [path(q, k, v, None) for path in uncached.orders(1, self.length + 1, torch.device("cpu"))]
        if (self.device, self.dtype) == ("cpu", "bfloat16"):
            out = rounded(out, truth)
        numbers = [x.masked_fill(truth.isnan(), 0) for x in (out, truth, *plain)]
        for verdict in tolerances.by_ratio(numbers[0], numbers[2:], numbers[1]):
            assert verdict, str(verdict)


def rounded(cut, truth):
    """What was cut to bfloat16, as Triton's interpreter does, rounded to the nearer number, as a GPU does."""
    away = (cut.view(torch.int16) + 1).view(torch.bfloat16)
    return torch.where((away.double() - truth).abs() < (cut.double() - truth).abs(), away, cut)


def unlike(vectors, special, which):
    """Make these two of the vectors (n, D) ``special``, in place."""
    factor = {"zero": 0.0, "tiny": 2.0**-20, "huge": 2.0**12 if vectors.dtype == torch.float16 else 2.0**90}
    vectors[which] *= factor.get(special, 1.0)
    if special == "one-sided":
        vectors[which] += torch.tensor([[8.0], [-8.0]], dtype=vectors.dtype)
    if special in ("nan", "inf"):
        vectors[which, vectors.size(1) // 2] = float(special)


def poisoned(dtype, size, layout, device):
    """Memory full of NaN, or of a code, and a view of it (2, B, H, S, ...) as ``layout`` has it."""
    two, B, H, S, *rest = size
    shapes = {
        "whole": size,
        "slice": (two, B + 1, H + 1, S + 3, *(n + 3 for n in rest)),
        "rows": (two, B + 2, H, S, *rest),
        "tokens first": (two, B, S, H, *rest),
    }
    memory = torch.full(shapes[layout], float("nan") if dtype.is_floating_point else 77, dtype=dtype, device=device)
    if layout == "rows":  # as select() leaves them
        memory = memory[:, torch.arange(B, device=device).flip(0)]
    return memory, seen(memory, layout)[0]


def seen(memory, layout):
    """The view of memory that a kernel is given, and the memory."""
    if layout == "slice":
        inner = (slice(2, -1),) * (memory.dim() - 4)
        return memory[(slice(None), slice(1, None), slice(None, -1), slice(1, -2), *inner)], memory
    return memory.transpose(2, 3) if layout == "tokens first" else memory, memory


def same(one, other):
    """Whether two tensors hold the same numbers, and NaN where the other does."""
    if one.dtype.is_floating_point:
        return torch.equal(one.isnan(), other.isnan()) and torch.equal(one.nan_to_num(), other.nan_to_num())
    return torch.equal(one, other)
