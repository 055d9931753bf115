"""The original's diagnosis, which its script debug_trim printed: where do the positions go when a cache is trimmed?

Its cache kept the last tokens and let go of the first, while every new token took the last position there was, 1023.
Perplexity over whole windows does not show it, because a window ends before the trim begins. What shows it is the trace
of the positions across the boundary, and the answers behind it.
"""

import pytest
import torch
from broken_windows import StuckAtTheLastPosition

import kvgpt
from kvgpt.conformance import oracle, strategies, tolerances

CONTEXT = 16
SIZES = {"n_layer": 2, "n_head": 2, "n_embd": 16, "vocab_size": 31, "block_size": CONTEXT}
LEARNED = strategies.model(kvgpt.GPTConfig(**SIZES), 0)
ROTARY = strategies.model(kvgpt.GPTConfig(**SIZES, position_embedding="rotary"), 0)
IDS = strategies.ids(1, 3 * CONTEXT, 0)


class StuckPastTheRefusal(StuckAtTheLastPosition):
    """As the original: nothing is refused, the position stays."""

    def _check_room(self, tokens, what):
        pass


def trace(engine):
    """The positions that the model was asked for at each step, and the logits (T, V)."""
    asked, out = [], []
    handle = engine.model.wpe.register_forward_pre_hook(lambda module, inputs: asked.append(inputs[1].tolist()))
    try:
        out += [engine.decode(token)[0] for token in IDS.split(1, dim=1)]
    finally:
        handle.remove()
    return asked, torch.stack(out)


def banded(model, positions=None):
    return oracle.logits(model.state_dict(), IDS, 2, window=CONTEXT, positions=positions)[0]


def test_the_broken_policy_is_right_up_to_the_boundary_and_stuck_behind_it():
    asked, out = trace(StuckPastTheRefusal(LEARNED, "window"))
    assert asked[:CONTEXT] == [[t] for t in range(CONTEXT)]
    assert asked[CONTEXT:] == [[CONTEXT - 1]] * (2 * CONTEXT), "this is what debug_trim found"
    moving = [t if t < CONTEXT else CONTEXT // 2 + (t - CONTEXT) % (CONTEXT // 2) for t in range(3 * CONTEXT)]
    assert tolerances.exact(out[:CONTEXT], banded(LEARNED, moving)[:CONTEXT]), "a table of whole windows sees nothing"
    assert not tolerances.exact(out[CONTEXT:], banded(LEARNED, moving)[CONTEXT:])


def test_the_default_refuses_where_the_original_went_on():
    engine = kvgpt.Engine(LEARNED, "window")
    engine.prefill(IDS[:, :CONTEXT])
    with pytest.raises(ValueError, match="'recompute' or 'shift' or 'interpolate:2', or a model of rotary positions"):
        engine.decode(IDS[:, :1])


def test_under_shift_positions_go_back_and_move_on():
    asked, out = trace(kvgpt.Engine(LEARNED, "window", positions="shift"))
    assert [one for (one,) in asked] == [*range(16), *range(8, 16), *range(8, 16), *range(8, 16), *range(8, 16)]
    assert tolerances.exact(out, banded(LEARNED, [one for (one,) in asked]))


def test_under_recompute_positions_begin_again_from_0():
    asked, out = trace(kvgpt.Engine(LEARNED, "v1", positions="recompute"))
    assert asked[CONTEXT - 1 : CONTEXT + 2] == [[15], list(range(9)), [9]], "8 tokens again, and the new one"
    for t in (CONTEXT, CONTEXT + 7, CONTEXT + 8, 3 * CONTEXT - 1):
        first = -(-max(0, t + 1 - CONTEXT) // 8) * 8
        fresh = oracle.logits(LEARNED.state_dict(), IDS[:, first : t + 1], 2)[0, -1]
        assert tolerances.exact(out[t], fresh), f"token {t} is not answered as by a fresh window from {first}"


def test_under_interpolate_positions_are_stretched_and_never_repeat():
    asked, out = trace(kvgpt.Engine(LEARNED, "window", positions="interpolate:4"))
    assert [one for (one,) in asked] == [t / 4 for t in range(3 * CONTEXT)]
    assert tolerances.exact(out, banded(LEARNED, [one for (one,) in asked]))


def test_rotary_positions_go_on():
    asked, out = trace(kvgpt.Engine(ROTARY, "window"))
    assert [one for (one,) in asked] == list(range(3 * CONTEXT))
    assert tolerances.exact(out, banded(ROTARY))
