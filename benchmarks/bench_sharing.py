"""Sharing, four ways: never trained for, queries aligned, keys and values aligned, and trained. On one text, what each
costs in quality beside the bytes that a sequence of one context takes and the time of a step, which alignment and
training leave alone.

The run's model is measured without sharing, as the reference, and under each way that sharing can be put on it; models
beside it, ``--kvgpt-beside``, under the sharing that they were trained with. The change of the loss is paired with the
reference's token by token, across models too.
"""

import pytest
import torch

from kvgpt import checkpoint, perplexity, registry
from kvgpt.agreement import agreement
from kvgpt.config import SHIPPED
from kvgpt.costs import bill, cache_bytes
from kvgpt.engine import Engine
from kvgpt.measure import quality
from kvgpt.measure.fill import stand_at
from kvgpt.measure.floors import Claim
from kvgpt.options import SETTINGS
from kvgpt.recipes import REFERENCE, Variant
from kvgpt.record import metric

ALONE = "the models that sharing is compared on are opened whole, in one process"
COMPARED = ("subject",)  # models with each other, so a sweep keeps them together
BEYOND = True  # what is compared are ways of sharing, whichever variants the run asks for
WAYS = ("", "+cla2", "+cla2+qalign", "+cla2+calign", "+cla4", "+cla4+qalign", "+cla4+calign")
STORED = ("dense", "int8")  # of models beside it; the ways above are dense
ROWS = 16  # windows scored side by side
NTH = 8  # of the windows, one is compared
ANY = torch.zeros(1, 1, dtype=torch.int64)  # a token: which one makes no step longer


def pytest_generate_tests(metafunc):
    """(model, variant): the run's own under every way, each other under its own sharing."""
    chosen = metafunc.config.stash[SETTINGS]
    pairs = [(chosen.model, Variant.parse(f"dense{way}").name) for way in WAYS]
    for name in chosen.beside:
        sharing = checkpoint.read_config(checkpoint.locate(name)).sharing
        pairs += [(name, Variant.parse(f"{kept}+{sharing}" if sharing else kept).name) for kept in STORED]
    metafunc.parametrize(("subject", "variant"), pairs, ids=[f"{name}-{variant}" for name, variant in pairs])


def left_out(item, chosen, model):
    """Sharing put on a model that shares already, and variants that a run did not ask for."""
    subject, variant = (item.callspec.params[name] for name in ("subject", "variant"))
    asked = item.config.getoption("--kvgpt-variants") or chosen.caches
    if asked and variant not in chosen.variants and not item.config.getoption("--kvgpt-beside"):
        return f"other variants were asked for than {variant}"
    if subject != chosen.model:
        return None
    sharing = Variant.parse(variant).sharing
    if model.config.sharing is not None and sharing != model.config.sharing:
        return f"{chosen.model} was trained with sharing {model.config.sharing}: no other can be put on it"
    return None


@pytest.fixture(scope="module")
def engine_on(model, engine_of, settings):
    """``engine_on(name, variant, batch_size, max_length)``: on the run's model, or on one beside it, opened once."""
    opened = {}

    def make(name, variant, batch_size, max_length):
        if name == settings.model:
            return engine_of(variant, batch_size, max_length)
        if name not in opened:
            opened[name] = registry.open_model(name, "pretrained", settings.dtype, settings.device)
            theirs, ours = opened[name].config.vocab_size, model.config.vocab_size
            assert theirs == ours, f"{name} has a vocabulary of {theirs} tokens, {settings.model} one of {ours}"
        return Engine(opened[name], variant, batch_size, max_length)

    return make


@pytest.fixture(scope="module")
def reference(engine_on, model, settings, windows):
    """What the run's own model scores, token by token, with a cache that loses nothing."""
    return perplexity.teacher_forced(_reference(engine_on, model, settings, windows), windows)


@pytest.fixture(scope="module")
def windows(held_out, model, settings):
    window = model.config.block_size
    return perplexity.Windows.cut(held_out, window, window, settings.max_tokens)


def bench_sharing(
    benchmark, case, time_of, engine_on, model, settings, windows, reference, scored_text, subject, variant
):
    window = windows.ids.size(1)
    step = engine_on(subject, variant, 1, window)
    config = step.model.config
    weights = settings.weights if subject == settings.model else "shipped" if subject in SHIPPED else "pretrained"
    shape = {name: getattr(config, name) for name in ("n_layer", "n_head", "n_embd", "block_size")}
    own = {
        "model": subject,
        "reference": settings.model,
        "weights": weights,
        "kv_heads": config.kv_heads,
        "inner": config.inner,
        **shape,
    }
    case.begin("sharing", batch_size=1, context=window, window=window, stride=window, **own, **scored_text)
    benchmark.group = "sharing"
    timed = time_of(lambda: step.decode(ANY), setup=lambda: stand_at(step, window - 1))
    held = step.cache.nbytes
    formula = cache_bytes(config, Variant.parse(variant), 1, window, settings.dtype)
    assert held == formula, f"the cache holds {held} bytes, the closed form says {formula}"

    rows = min(ROWS, len(windows.ids))
    score = perplexity.teacher_forced(engine_on(subject, variant, rows, window), windows)
    metrics = {**quality.loss(score), **quality.change(score, reference)}
    metrics |= {"cache_bytes": metric("cache_bytes", held), "weights_bytes": metric("weights_bytes", step.model.nbytes)}
    compared = windows.every(max(1, min(NTH, len(windows.ids) // 2)))
    if (subject, variant) != (settings.model, _lossless(model)):
        side_by_side = min(rows, len(compared.ids))
        pair = engine_on(subject, variant, side_by_side, window), _reference(engine_on, model, settings, compared)
        metrics |= quality.agreement(agreement(*pair, compared, perplexity.at_once))
    claims = []
    if timed:
        work = bill(config, Variant.parse(variant), settings.dtype, 1)
        metrics["per_token_latency"] = timed.time("per_token_latency")
        claims = [Claim("per_token_latency", [work.step(held=window - 1)], work.working_set(window))]
    case.end(metrics, claims=claims, scored_tokens=windows.scored_tokens)


def _lossless(model):
    """The variant under which a model computes its own function."""
    return REFERENCE if model.config.sharing is None else Variant.parse(f"dense+{model.config.sharing}").name


def _reference(engine_on, model, settings, windows):
    return engine_on(settings.model, _lossless(model), min(ROWS, len(windows.ids)), windows.ids.size(1))
