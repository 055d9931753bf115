"""Figures of quality as a record has them: the loss, its change against a reference, and how far predictions agree."""

from math import exp, expm1
from typing import Any

from kvgpt.agreement import Agreement
from kvgpt.perplexity import Score
from kvgpt.record import metric
from kvgpt.statistics import normal_interval


def loss(score: Score) -> dict[str, Any]:
    """``nll`` and ``perplexity``, with the intervals that the spread over windows gives."""
    nll, stderr = score.mean, score.stderr
    bounds = None if stderr is None else normal_interval(nll, stderr)
    spread = bounds and (exp(bounds[0]), exp(bounds[1]))
    return {
        "nll": metric("nll", nll, interval=bounds, stderr=stderr),
        "perplexity": metric("perplexity", exp(nll), interval=spread, stderr=stderr and exp(nll) * stderr),
    }


def change(score: Score, reference: Score, of: str = "") -> dict[str, Any]:
    """``nll_change`` and ``perplexity_change`` against a reference, paired token by token, their names after ``of``."""
    difference, error = score.change(reference)
    bounds = None if error is None else normal_interval(difference, error)
    spread = bounds and (expm1(bounds[0]), expm1(bounds[1]))
    return {
        f"{of}nll_change": metric(f"{of}nll_change", difference, interval=bounds, stderr=error),
        f"{of}perplexity_change": metric(f"{of}perplexity_change", expm1(difference), interval=spread),
    }


def agreement(found: Agreement) -> dict[str, Any]:
    """``kl_divergence`` and ``top1_agreement``."""
    value, error = found.kl_divergence, found.stderr
    bounds = None if error is None else normal_interval(value, error)
    return {
        "kl_divergence": metric("kl_divergence", value, interval=bounds, stderr=error),
        "top1_agreement": metric("top1_agreement", found.top1, interval=found.top1_interval),
    }
