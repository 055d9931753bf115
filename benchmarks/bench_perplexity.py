"""Perplexity: through the cache at once and one token a step, with the change against the reference variant paired
token by token.
"""

from math import exp, expm1

import pytest

from kvgpt import perplexity
from kvgpt.recipes import REFERENCE
from kvgpt.record import metric
from kvgpt.statistics import normal_interval

SCORE = {"teacher_forced": perplexity.teacher_forced, "autoregressive": perplexity.autoregressive}
ROWS = {"teacher_forced": 16, "autoregressive": 64}  # windows scored side by side
LOGITS_BYTES = 2**30  # of one batch: large vocabularies are scored with fewer rows


@pytest.fixture(scope="module")
def scores():
    """Token by token, what the reference variant scored in this run, by mode."""
    return {}


def pytest_generate_tests(metafunc):
    metafunc.parametrize("mode", SCORE)


def bench_perplexity(benchmark, case, engine_of, model, held_out, scored_text, settings, scores, mode, variant):
    window, vocab_size = model.config.block_size, model.config.vocab_size
    limit = settings.max_tokens or (settings.autoregressive_tokens if mode == "autoregressive" else None)
    windows = perplexity.Windows.cut(held_out, window, window, limit)
    positions = window if mode == "teacher_forced" else 1
    rows = max(1, min(ROWS[mode], len(windows.ids), LOGITS_BYTES // (4 * positions * vocab_size)))
    case.begin("perplexity", batch_size=rows, max_length=window, mode=mode, window=window, stride=window, **scored_text)
    benchmark.group = f"perplexity {mode}"

    def score(name):
        return SCORE[mode](engine_of(name, rows, window), windows)

    measured = benchmark.pedantic(score, args=(variant,), rounds=1)
    reference = REFERENCE if model.config.sharing is None else f"dense+{model.config.sharing}"
    if mode not in scores:
        scores[mode] = measured if variant == reference else score(reference)

    nll, stderr = measured.mean, measured.stderr
    bounds = None if stderr is None else normal_interval(nll, stderr)
    change, error = measured.change(scores[mode])
    changed = None if error is None else normal_interval(change, error)
    metrics = {
        "nll": metric("nll", nll, interval=bounds, stderr=stderr),
        "perplexity": metric(
            "perplexity",
            exp(nll),
            interval=bounds and (exp(bounds[0]), exp(bounds[1])),
            stderr=stderr and exp(nll) * stderr,
        ),
        "nll_change": metric("nll_change", change, interval=changed, stderr=error),
        "perplexity_change": metric(
            "perplexity_change", expm1(change), interval=changed and (expm1(changed[0]), expm1(changed[1]))
        ),
    }
    if mode == "autoregressive":
        metrics["served_tokens"] = metric("served_tokens", measured.served)
    case.end(metrics, scored_tokens=windows.scored_tokens)
