"""A variant's status in one word, by rules that stand under the table which shows it."""

from kvgpt.recipes import REFERENCE
from kvgpt.report.select import keeps_a_cache
from kvgpt.report.tables.standing import Field, Standing

MARGINAL, BROKEN = 0.01, 0.10  # perplexity, relative to the reference's: how much more costs quality, and is too much
SLOW = 1.5  # per-token latency over the reference's, above which a variant is slow
ROOMIER = 1.2  # largest batch over the reference's, from which on it makes up for that

RULES = (
    f"Status, the first that applies. Baseline: recomputes all tokens at every step. ✗ quality: perplexity more than "
    f"{BROKEN:.0%} above {REFERENCE}'s. Incomplete: what decides is missing or not valid. ✗ slow: more than {SLOW:g} "
    f"times {REFERENCE}'s per-token latency, and less than {ROOMIER:g} times its largest batch. ⚠ capacity only: as "
    f"slow, with at least that batch. ⚠ quality: perplexity more than {MARGINAL:.0%} above. ✓ production: all others.",
)


def status(field: Field, one: Standing) -> str:
    """The first of :data:`RULES` that applies, judged by valid figures alone.

    A figure that decides nothing may be missing: the largest batch of what is not slow, or the speed of what is broken.
    """
    change = field.change(one)
    if not keeps_a_cache(one.variant):
        return "Baseline"
    if change is not None and change > BROKEN:
        return "✗ quality"
    slowdown, room = field.ratio(one, "latency", "per_token_latency"), field.ratio(one, "capacity", "max_batch")
    slow = slowdown is not None and slowdown > SLOW
    deciding = {"perplexity": change, "per-token latency": slowdown} | ({"largest batch": room} if slow else {})
    missing = [name for name, figure in deciding.items() if figure is None]
    if missing or change is None:
        return f"incomplete: {', '.join(missing)}"
    if slow:
        return "⚠ capacity only" if room is not None and room >= ROOMIER else "✗ slow"
    return "⚠ quality" if change > MARGINAL else "✓ production"
