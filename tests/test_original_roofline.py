"""The original's roofline table, worked out again: its own arithmetic, its missing operations, and its roof."""

from pathlib import Path

import pytest

from kvgpt.report import original_roofline as original

PAGE = Path(__file__).parent.parent / "docs" / "roofline.md"


@pytest.mark.parametrize("one", original.PUBLISHED, ids=lambda one: one.name)
def test_the_published_figures_follow_from_the_published_counters(one):
    flops = one.adds + one.multiplies + 2 * one.fused
    assert flops == pytest.approx(one.flops, rel=5e-3)
    assert flops / one.dram_bytes == pytest.approx(one.intensity, rel=1e-2)
    assert flops / one.seconds == pytest.approx(one.achieved, rel=3e-3)


def test_one_published_efficiency_does_not_follow():
    decode = original.PUBLISHED[-1]
    assert decode.achieved / original.CLAIMED.roof(decode.intensity) == pytest.approx(0.37, abs=0.005)
    for prefill in original.PUBLISHED[:2]:
        assert prefill.achieved / original.CLAIMED.roof(prefill.intensity) == pytest.approx(
            prefill.efficiency, abs=0.005
        )


def test_operations_of_a_prompt_are_off_by_more_than_two_orders_of_magnitude():
    rows = {(row.name, row.figure): row for row in original.rows()}
    least, most = rows["v1_prefill", "operations"].off
    assert 8 < least < 9 and 280 < most < 300
    assert rows["v1_decode", "operations"].recomputed == pytest.approx((0.71e9, 0.81e9), rel=5e-3)
    assert rows["roof", "products"].off == (pytest.approx(154.8 / 312),) * 2
    for name in ("v0_prefill", "v1_prefill", "v1_decode"):
        assert all(share <= 1 for share in rows[name, "of its roof"].recomputed), "nothing is above the card's own roof"


def test_a_prompt_that_is_long_enough_is_bound_by_products_and_a_decode_step_by_memory():
    long = original.recomputed(original.PUBLISHED[1], 1024)
    step = original.recomputed(original.PUBLISHED[2], 1024)
    assert long.flops / long.bytes > original.OWN.ridge > step.flops / step.bytes


def test_the_page_shows_the_table_as_it_stands():
    page = PAGE.read_text()
    for line in original.table():
        assert line in page
