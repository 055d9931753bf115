"""A profiled step: which of its events count, what lies between them, and the least that each could take."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch

import kvgpt
from kvgpt import compiling, record
from kvgpt.conformance import strategies
from kvgpt.measure import trace
from kvgpt.measure.trace import STEP, Span, Trace

LACKING = compiling.uncompilable(torch.device("cpu"))
CPU, CUDA = "DeviceType.CPU", "DeviceType.CUDA"


@dataclass
class Event:
    """An event as torch's profiler hands it over."""

    label: str
    start: int
    end: int
    device: str = CPU
    thread: int = 1
    operands: tuple = ()
    work: int = 0

    def name(self):
        return self.label

    def start_ns(self):
        return self.start

    def end_ns(self):
        return self.end

    def device_type(self):
        return self.device

    def start_thread_id(self):
        return self.thread

    def shapes(self):
        return [shape for shape, _ in self.operands]

    def dtypes(self):
        return [dtype for _, dtype in self.operands]

    def flops(self):
        return self.work


MATRIX = (([1, 8], "float"), ([4, 8], "float"), ([4], "float"), ([], "Scalar"))
STEPS = [  # a slow step, and a fast one of 100 ns that begins at 1,000
    Event(STEP, 0, 900),
    Event("aten::linear", 10, 800),
    Event(STEP, 1000, 1100),
    Event("aten::addmm", 1010, 1038, work=64),  # begins with what calls it
    Event("aten::linear", 1010, 1040, operands=MATRIX),
    Event("aten::view", 1050, 1052, operands=(([1, 4], "float"),)),
    Event("aten::embedding", 1060, 1070, operands=(([257, 4], "float"), ([1, 1], "long int"))),
    Event("aten::mul", 1020, 1030, thread=2),
    Event("void at::native::gemv<float, 4>(float*)", 1005, 1015, device=CUDA),
    Event(STEP, 1005, 1095, device=CUDA),
    Event("void ns::copy<int>()", 1012, 1020, device=CUDA),
    Event("aten::linear", 1200, 1300),
]


def test_on_a_cpu_the_outermost_operators_of_the_fastest_step_count():
    found = trace.fastest(STEPS, "cpu")
    assert found.duration == 100
    assert [(span.name, span.start, span.duration) for span in found.spans] == [
        ("linear", 10, 30), ("view", 50, 2), ("embedding", 60, 10)
    ]  # fmt: skip
    assert found.gaps == [10, 10, 8, 30] and sum(found.gaps) + 42 == found.duration


def test_an_operator_reads_its_operands_once_a_view_nothing_and_a_gather_no_table():
    linear, view, embedding = trace.fastest(STEPS, "cpu").spans
    assert linear.bytes == 4 * (8 + 32 + 4) and linear.flops == 64, "the work is that of what it calls"
    assert view.bytes == 0 and embedding.bytes == 8


def test_on_a_gpu_its_kernels_count_under_short_names_and_no_time_twice():
    found = trace.fastest(STEPS, "cuda")
    assert [(span.name, span.start, span.duration) for span in found.spans] == [("gemv", 5, 10), ("copy", 15, 5)]
    assert found.gaps == [5, 0, 80]


def test_without_a_step_there_is_no_trace():
    with pytest.raises(ValueError, match="recorded no 'kvgpt step' among 1 events"):
        trace.fastest(STEPS[-1:], "cpu")


def test_the_record_sums_each_operator_and_what_is_above_its_floor():
    spans = (Span("linear", 0, 30, bytes=10), Span("add", 30, 10), Span("linear", 50, 20, bytes=10))
    made = trace.record_of(Trace(100, spans), lambda span: 2.5e-9 * span.bytes)
    assert made["operators"] == [
        {"name": "linear", "count": 2, "seconds": pytest.approx(50e-9), "floor": 50e-9, "above": pytest.approx(5e-9)},
        {"name": "add", "count": 1, "seconds": pytest.approx(10e-9), "floor": 0.0, "above": pytest.approx(10e-9)},
    ], "a call under its floor makes up for no other"
    assert made["gaps"] == pytest.approx(40e-9) and made["longest_gap"] == pytest.approx(30e-9)
    assert made["names"] == ["linear", "add"] and made["spans"] == "0:0:30 1:30:10 0:50:20"
    metrics = {"kernels_per_token": record.metric("kernels_per_token", 3)}
    record.record("roofline", "v1", "dense", {}, metrics, details={"trace": made})


def test_a_real_step_is_profiled_and_asks_for_as_many_operators_every_time():
    config = kvgpt.GPTConfig(n_layer=2, n_head=1, n_embd=64, vocab_size=257, block_size=16)
    engine = kvgpt.Engine(strategies.model(config, 0, torch.float32), "v1")
    ids = torch.zeros(1, 1, dtype=torch.int64)
    found = [trace.traced(lambda: engine.decode(ids), "cpu", 1.0, engine.reset) for _ in range(2)]
    counts = [len(one.spans) for one in found]
    assert counts[0] == counts[1] > 2 * 8
    names = [span.name for span in found[0].spans]
    assert names.count("linear") == 2 * 4 + 1 and names.count("scaled_dot_product_attention") == 2
    head = next(span for span in reversed(found[0].spans) if span.name == "linear")
    assert head.bytes == 4 * (64 + 257 * 64) and head.flops == 2 * 64 * 257


@pytest.mark.skipif(LACKING is not None, reason=str(LACKING))
def test_what_torchs_compiler_made_is_called_a_loop():
    x = torch.ones(37)
    loop = compiling.Compiled(lambda x: x * 2 + 1)
    loop(x)
    found = trace.traced(lambda: loop(x), "cpu", usual=1.0)
    assert "compiled loop" in [span.name for span in found.spans]


def test_as_many_steps_are_profiled_as_there_is_time_for(monkeypatch):
    ran = []
    monkeypatch.setattr(trace, "fastest", lambda events, device: SimpleNamespace())
    for usual in (1e-6, 0.05, 10.0):
        ran.append(0)

        def step():
            ran[-1] += 1

        trace.traced(step, "cpu", usual)
    assert ran == [trace.MOST, int(trace.SECONDS / 0.05), trace.FEWEST]


@pytest.mark.gpu
def test_a_gpus_kernels_are_those_of_the_device():
    config = kvgpt.GPTConfig(n_layer=2, n_head=2, n_embd=128, vocab_size=257, block_size=64)
    engine = kvgpt.Engine(strategies.model(config, 0, torch.bfloat16).cuda(), "v1")
    ids = torch.zeros(1, 1, dtype=torch.int64, device="cuda")
    found = trace.traced(lambda: engine.decode(ids), "cuda", 1e-3, engine.reset)
    assert found.spans and sum(found.gaps) + sum(span.duration for span in found.spans) == found.duration
