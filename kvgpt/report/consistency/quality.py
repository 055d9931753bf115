"""Rules of figures that are worked out from others: perplexity from the loss, an interval around its value."""

from collections.abc import Iterator
from math import log

from kvgpt.recorded import Results
from kvgpt.report.consistency.finding import Finding, judged

PRINTED = 1e-3  # nats: a loss that is written with three decimals
LOSSES = {"perplexity": "nll", "perplexity_at_end": "nll_at_end"}


def perplexity_is_exp_of_the_loss(results: Results) -> Iterator[Finding]:
    """Perplexity is the exponential of the mean loss."""
    for case in results.cases:
        for name, loss in LOSSES.items():
            perplexity, nll = case.value(name), case.value(loss)
            if perplexity is not None and nll is not None:
                sentence = f"{name} {perplexity:.6g} is not the exponential of a loss of {nll:.6g}"
                yield judged(perplexity > 0 and abs(log(perplexity) - nll) <= PRINTED, sentence, case)


def something_was_scored(results: Results) -> Iterator[Finding]:
    """A perplexity is of at least one token."""
    for case in results.of("perplexity", "perplexity"):
        scored = case.workload.get("scored_tokens")
        if scored is not None:
            yield judged(scored > 0, f"a perplexity of {scored} tokens", case)


def interval_holds_its_value(results: Results) -> Iterator[Finding]:
    """An interval holds the figure that it belongs to."""
    for case in results.cases:
        for name, figure in case.metrics.items():
            low_high = case.interval(name)
            if low_high is not None:
                value, (low, high) = figure["value"], low_high
                sentence = f"{name} {value:.6g} is outside its interval, {low:.6g} to {high:.6g}"
                yield judged(low <= value <= high, sentence, case)
