"""What a GPU can hold and how fast it could be, before one is bought: closed forms and figures that makers state.

Everything here is modelled: bytes are those that the capacity benchmark predicts and then finds, times are floors,
which the same benchmark's times are held to. A driver, kernels' scratch and fragments of an allocator take some memory
more.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kvgpt import transients
from kvgpt.config import GPTConfig
from kvgpt.costs import Demand, bill
from kvgpt.recipes import Variant


@dataclass(frozen=True)
class Rates:
    """A device: ``memory`` in bytes, ``bandwidth`` in bytes a second, ``flops`` a second in the dtype computed in."""

    name: str
    memory: float
    bandwidth: float
    flops: float

    def seconds(self, demand: Demand) -> float:
        return demand.seconds(self.flops, self.bandwidth)


@dataclass(frozen=True)
class Size:
    """A variant on a device at ``context`` tokens a user, all in SI units.

    Bytes: ``weights``; of a user the ``cache``, and the ``peak`` of cache and what a step allocates. ``largest`` is the
    number of users at once that fit; ``bound`` that of weights and caches alone, None where nothing is kept. ``alone``
    is the floor of a token for one user, ``latency`` that for ``batch`` users at once, ``throughput`` what all of these
    get a second. ``batch`` is the largest, or what each of ``gpus`` takes of the users asked for. Where not even one
    fits, there are no times, and no number of GPUs is enough.
    """

    variant: str
    device: str
    context: int
    weights: int
    cache: int
    peak: int
    bound: int | None
    largest: int
    batch: int
    alone: float | None
    latency: float | None
    throughput: float | None
    gpus: int | None


def size(
    config: GPTConfig, variant: Variant, dtype: str, device: Rates, context: int, users: int | None = None
) -> Size:
    """``variant`` on ``device``: what fits, and the floor of the step that ends at ``context`` tokens.

    ValueError for a context that the model has no positions for, or for no users.
    """
    if config.n_position is not None and context > config.n_position:
        raise ValueError(f"a length of {context}: this model has positions for 1 to {config.n_position} tokens")
    if context < 1 or (users is not None and users < 1):
        raise ValueError(f"a length of {context} for {users} users: both must be at least 1")
    need = transients.serving(config, variant, dtype, context, transients.last_chunk(context))
    largest = need.predicted(int(device.memory))
    gpus = -(-users // largest) if users is not None and largest else None
    batch = largest if gpus is None or users is None else -(-users // gpus)

    def floor(batch: int) -> float:
        return device.seconds(bill(config, variant, dtype, batch).step(held=context - 1))

    alone, latency = (floor(1), floor(batch)) if largest else (None, None)
    return Size(
        variant=variant.name,
        device=device.name,
        context=context,
        weights=need.fixed,
        cache=need.held,
        peak=need.peak,
        bound=need.bound(int(device.memory)),
        largest=largest,
        batch=batch,
        alone=alone,
        latency=latency,
        throughput=None if latency is None else batch / latency,
        gpus=gpus,
    )


def sizes(
    config: GPTConfig,
    variants: Sequence[Variant],
    dtype: str,
    devices: Sequence[Rates],
    contexts: Sequence[int],
    users: int | None = None,
) -> Iterator[Size]:
    """Every variant at every context on every device, the variants side by side."""
    for device in devices:
        for context in contexts:
            for variant in variants:
                yield size(config, variant, dtype, device, context, users)
