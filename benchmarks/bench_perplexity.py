"""Perplexity, and what it does not show: through the cache at once and one token a step, with the change against the
reference variant paired token by token, the divergence of next-token distributions, and the error of stored vectors.

Where the weights are int8 codes, the reference over them is also held to the reference over the weights that they were
made from, token by token: ``weights_perplexity_change`` is what the codes cost, whatever the cache.

The reference has no divergence from itself: it is absent there. Distributions are compared over every eighth window, in
lockstep with a second engine, so that comparing costs a quarter of what scoring does, and one token a step over the
beginning of each; ``details`` say how many tokens.
"""

import pytest

from kvgpt import perplexity, registry
from kvgpt.agreement import agreement
from kvgpt.config import INT8
from kvgpt.costs import matrices
from kvgpt.engine import Engine
from kvgpt.measure import quality, subject
from kvgpt.measure.stored_error import stored_error
from kvgpt.perplexity import fed_tokens
from kvgpt.recipes import REFERENCE, Variant
from kvgpt.record import metric

MODES = {"teacher_forced": perplexity.at_once, "autoregressive": perplexity.one_a_step}
ROWS = {"teacher_forced": 16, "autoregressive": 64}  # windows scored side by side
LOGITS_BYTES = 2**30  # of one batch: large vocabularies are scored with fewer rows
NTH = 8  # of the windows, one is compared
STEPS = 256  # of a window, compared one token a step
MOST_WORK = {"cpu": 1e14, "cuda": 1e17}  # operations of one case: ten minutes on a few cores
STORED = 4  # windows whose stored vectors are read back


@pytest.fixture(scope="module")
def scores():
    """Token by token, what the reference variant scored in this run, by mode."""
    return {}


@pytest.fixture(scope="module")
def plain_scores():
    """The same over the weights that codes were made from."""
    return {}


def pytest_generate_tests(metafunc):
    metafunc.parametrize("mode", MODES)


def left_out(item, chosen, model):
    """What recomputes every step would take hours on a large model, for a score that is the teacher-forced one."""
    variant, mode = (item.callspec.params[name] for name in ("variant", "mode"))
    if mode == "autoregressive" and variant not in chosen.caches and Variant.parse(variant).recomputes:
        window = model.config.block_size
        tokens = fed_tokens(_windows(subject.scored(item.config)[1], window, chosen, mode), stateless=True)
        work = 2 * matrices(model.config) * tokens
        if work > MOST_WORK[chosen.device]:
            return (
                f"{variant} computes {tokens:,} tokens to score these, {work:.2g} operations; "
                f"fewer than {MOST_WORK[chosen.device]:.0e} are done: lower --kvgpt-max-tokens"
            )
    return None


def bench_perplexity(
    benchmark, case, engine_of, model, held_out, scored_text, settings, scores, plain_scores, mode, variant
):
    window, vocab_size = model.config.block_size, model.config.vocab_size
    windows = _windows(held_out, window, settings, mode)
    positions = window if mode == "teacher_forced" else 1
    rows = max(1, min(ROWS[mode], len(windows.ids), LOGITS_BYTES // (4 * positions * vocab_size)))
    case.begin("perplexity", batch_size=rows, max_length=window, mode=mode, window=window, stride=window, **scored_text)
    benchmark.group = f"perplexity {mode}"

    def score(name):
        return perplexity.score(engine_of(name, rows, window), windows, MODES[mode])

    measured = benchmark.pedantic(score, args=(variant,), rounds=1)
    reference = REFERENCE if model.config.sharing is None else f"dense+{model.config.sharing}"
    if mode not in scores:
        scores[mode] = measured if variant == reference else score(reference)

    metrics, details = {**quality.loss(measured), **quality.change(measured, scores[mode])}, {}
    details["loss_by_position"] = [[*one] for one in measured.by_position(windows.positions)]
    if model.coded:
        if mode not in plain_scores:
            made_from = settings.weights.removesuffix(INT8)
            plain = registry.open_model(settings.model, made_from, settings.dtype, settings.device)
            plain_scores[mode] = perplexity.score(Engine(plain, reference, rows, window), windows, MODES[mode])
        metrics |= quality.change(scores[mode], plain_scores[mode], of="weights_")
    compared = windows.every(max(1, min(NTH, len(windows.ids) // 2)))
    if mode == "autoregressive":
        compared = compared.first(STEPS)
    if variant != reference:
        side_by_side = min(rows, len(compared.ids))
        pair = [engine_of(name, side_by_side, window) for name in (variant, reference)]
        metrics |= quality.agreement(agreement(*pair, compared, MODES[mode]))
        details["compared_tokens"] = compared.scored_tokens
    if mode == "autoregressive":
        metrics["served_tokens"] = metric("served_tokens", measured.served)
        ids = compared.ids[:STORED]
        engine = engine_of(variant, len(ids), window)
        stored = stored_error(engine.model, engine.cache, ids)
        if stored is not None:
            metrics["kv_error"] = metric("kv_error", stored.error)
            metrics["kv_error_drift"] = metric("kv_error_drift", stored.drift)
            details["stored_tokens"] = ids.numel()
    case.end(metrics, details=details, scored_tokens=windows.scored_tokens)


def _windows(ids, window, settings, mode):
    limit = settings.max_tokens or (settings.autoregressive_tokens if mode == "autoregressive" else None)
    return perplexity.Windows.cut(ids, window, window, limit)
