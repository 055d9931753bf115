"""What a case must hold by its model's and its variant's closed forms; None where nobody knows them."""

from kvgpt import costs
from kvgpt.config import INT8, PRESETS, GPTConfig
from kvgpt.recipes import Variant
from kvgpt.recorded import Case
from kvgpt.report.consistency.finding import size

SHAPE = ("n_layer", "n_head", "n_embd", "block_size")


def cache_bytes(case: Case, batch_size: int) -> int | None:
    """Bytes of the case's cache, or one rank's, for ``batch_size`` sequences of as many tokens as it has room for."""
    config, variant, dtype = _config(case), _variant(case), str(case.workload.get("dtype"))
    length = size(case, "max_length", "context", "new_tokens")
    if config is None or variant is None or length is None or dtype not in costs.ITEM_BYTES:
        return None
    return costs.cache_bytes(config, variant, batch_size, length, dtype) // _ranks(case)


def weights_bytes(case: Case) -> int | None:
    """Bytes of the weights, or of one rank's: followers of a sharing have no projections of keys and values."""
    config, variant, dtype = _config(case), _variant(case), str(case.workload.get("dtype"))
    if config is None or variant is None or dtype not in costs.ITEM_BYTES:
        return None
    shared = GPTConfig(**{**vars(config), "sharing": variant.sharing or config.sharing})
    return costs.weights_bytes(shared, dtype, _ranks(case), coded=str(case.workload.get("weights")).endswith(INT8))


def held_cache(case: Case) -> float | None:
    """Bytes of the cache as the case states them, else its closed form for the case's batch."""
    stated, batch_size = case.value("cache_bytes"), size(case, "batch_size")
    if stated is not None or batch_size is None:
        return stated
    return cache_bytes(case, batch_size)


def held_weights(case: Case) -> float | None:
    """Bytes of the weights as the case states them, else their closed form."""
    stated = case.value("weights_bytes")
    return weights_bytes(case) if stated is None else stated


def _ranks(case: Case) -> int:
    """Over how many processes the model was split."""
    return size(case, "tensor_parallel") or 1


def _config(case: Case) -> GPTConfig | None:
    """The model's config, where its name says all that the workload does not."""
    name = case.workload.get("model")
    if not isinstance(name, str) or name not in PRESETS:
        return None
    try:
        return GPTConfig.preset(name, **{field: case.workload[field] for field in SHAPE if field in case.workload})
    except ValueError as error:
        raise ValueError(f"{case.name}: no model has this workload: {error}") from error


def _variant(case: Case) -> Variant | None:
    """None for a cache of the user's own, and for another system."""
    try:
        return Variant.parse(case.canonical)
    except ValueError:
        return None
