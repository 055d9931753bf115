"""Collectives: what ranks pay to exchange numbers, by size, on the process group at hand.

The sizes go from a decode step's sum of one row to a prompt's. A round is many collectives one after the other, as the
layers of a model ask for them; its time is that of one. Bandwidth counts what a rank sends in a ring: an all-reduce
passes each part round twice, an all-gather once.
"""

import torch

from kvgpt.parallel import BACKENDS

KIB = (1, 4, 16, 64, 256, 1024, 4096, 16384)  # of what is summed, or of the whole that is gathered
COLLECTIVES = {"all_reduce": 2, "all_gather": 1}  # how often a ring passes each part round
TIMES, MOST = 50, 2**26  # collectives a round, and bytes


def pytest_generate_tests(metafunc):
    metafunc.parametrize("collective", COLLECTIVES)
    metafunc.parametrize("kibibytes", KIB)


def left_out(item, chosen, model):
    """There is nobody to exchange anything with."""
    alone = "one process has no other to exchange with: torchrun --nproc-per-node 2 -m pytest benchmarks/..."
    return alone if chosen.tensor_parallel == 1 else None


def bench_collectives(benchmark, case, time_of, ranks, settings, collective, kibibytes):
    size, times = kibibytes * 2**10, max(1, min(TIMES, MOST // (kibibytes * 2**10)))
    case.begin("collectives", collective=collective, bytes=size, backend=BACKENDS[settings.device])
    benchmark.group = f"collectives {collective}"
    x = torch.zeros(size // 4, device=settings.device)  # float32
    own = x.chunk(ranks.count)[0]
    once = {"all_reduce": lambda: ranks.sum(x), "all_gather": lambda: ranks.gather(own)}[collective]

    @torch.inference_mode()
    def exchange():
        for _ in range(times):
            once()

    timed = time_of(exchange)
    metrics = {}
    if timed:
        sent = COLLECTIVES[collective] * size * (ranks.count - 1) / ranks.count
        metrics["total_latency"] = timed.time("total_latency", 1 / times)
        metrics["wire_bandwidth"] = timed.rate("wire_bandwidth", times * sent)
    case.end(metrics, details={"a_round": times})
