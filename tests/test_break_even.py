"""Break-even: crossings of known curves, what may not matter to them, and the table of all pairs."""

from math import inf, isclose, log

import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st

from kvgpt.recorded import Case, Results, Workload
from kvgpt.report import break_even
from kvgpt.report.chart import Missing
from kvgpt.report.crossing import Crossing, Figure, crossing

POWERS = [float(2**power) for power in range(5, 11)]


def curve(values, spread=None, xs=POWERS):
    """Figures at ``xs``, within plus or minus ``spread`` of each."""
    intervals = [None if spread is None else ((1 - spread) * value, (1 + spread) * value) for value in values]
    return [Figure(*one) for one in zip(xs, values, intervals, strict=True)]


def power(x_at, exponent, spread=None):
    """A power law that is 1 at ``x_at``."""
    return curve([(x / x_at) ** exponent for x in POWERS], spread)


values = st.lists(st.floats(1e-3, 1e3), min_size=len(POWERS), max_size=len(POWERS))
spreads = st.none() | st.floats(0.0, 0.5)
curves = st.builds(curve, values, spreads)


@given(place=st.floats(33.0, 1000.0), exponent=st.floats(0.1, 3.0))
def test_power_laws_cross_exactly_where_they_do(place, exponent):
    found = crossing(power(place, -exponent), power(place, 0.0))
    assert found.ahead == "first" and found.turns == 1
    assert isclose(found.at, place, rel_tol=1e-9)


def test_the_interval_is_from_the_crossings_of_the_quotients_of_bounds():
    found = crossing(power(100.0, -1.0, 0.1), power(100.0, 0.0, 0.1))
    assert isclose(found.low, 100 * 0.9 / 1.1) and isclose(found.high, 100 * 1.1 / 0.9)


def test_a_curve_below_the_other_everywhere_is_always_ahead_and_the_other_never():
    low, high = curve([1.0] * 6, 0.01), curve([2.0] * 6, 0.01)
    assert crossing(low, high) == Crossing("first", 0.0, 0.0, 0.0, 0, tuple(POWERS))
    assert break_even.sentence(crossing(low, high), "T") == "always within T = 32..1024"
    assert break_even.sentence(crossing(high, low), "T") == "never within T = 32..1024"


def test_of_several_crossings_the_last_counts_and_their_number_is_told():
    found = crossing(curve([1.0, 4.0, 1.0, 4.0, 1.0, 1.0]), curve([2.0] * 6))
    assert found.turns == 4 and isclose(found.at, (256 * 512) ** 0.5)
    assert break_even.sentence(found, "T") == "from T ≈ 362, the last of 4 crossings"


def test_where_the_lead_is_lost_it_holds_until_there():
    found = crossing(power(100.0, 1.0, 0.1), power(100.0, 0.0, 0.1))
    assert break_even.sentence(found, "B") == "until B ≈ 100 (81.82 to 122.2)"


def test_an_end_of_the_interval_that_was_not_measured_is_said_to_be_beyond():
    found = crossing(power(800.0, -1.0, 0.2), power(800.0, 0.0, 0.2))
    assert found.high == inf
    assert break_even.sentence(found, "T") == "from T ≈ 800 (533.3 to beyond 1024)"


def test_curves_that_their_intervals_do_not_tell_apart_are_undecided():
    found = crossing(curve([1.0] * 6, 0.1), curve([1.05] * 6, 0.1))
    assert not found.decided
    assert break_even.sentence(found, "T") == "undecided within T = 32..1024: the intervals allow either"


def test_a_lead_that_is_doubtful_at_first_says_from_where_it_is_beyond_doubt():
    found = crossing(power(30.0, -1.0, 0.5), power(30.0, 0.0, 0.0))
    assert break_even.sentence(found, "T") == "always within T = 32..1024, beyond doubt from T ≈ 45"


def test_curves_that_meet_at_the_end_are_equal_there():
    found = crossing(curve([3.0] * 5 + [2.0]), curve([2.0] * 6))
    assert found.ahead is None and not found.decided
    assert break_even.sentence(found, "T") == "equal at T = 1024"


def test_one_interval_less_leaves_the_crossing_without_one():
    first = power(100.0, -1.0, 0.1)
    first[-1] = Figure(first[-1].x, first[-1].value)
    found = crossing(first, power(100.0, 0.0, 0.1))
    assert isclose(found.at, 100.0) and found.low is None and found.high is None


def test_only_what_both_have_is_compared_and_nothing_in_common_is_no_comparison():
    assert crossing(curve([1.0] * 6)[:2], curve([1.0] * 6)[3:]) is None
    assert crossing([Figure(32.0, 0.0)], [Figure(32.0, 1.0)]) is None
    assert crossing(curve([1.0] * 6)[:3], curve([2.0] * 6)[2:]).measured == (128.0,)


@given(first=curves, second=curves)
def test_swapped_curves_give_the_same_crossing_with_the_other_ahead(first, second):
    one, other = crossing(first, second), crossing(second, first)
    assert {one.ahead, other.ahead} in ({"first", "second"}, {None})
    assert (one.at, one.low, one.high, one.turns) == (other.at, other.low, other.high, other.turns)


@given(first=curves, second=curves, power=st.integers(-40, 40))
def test_the_unit_of_the_figures_does_not_matter(first, second, power):
    def scaled(figures):
        unit = 2.0**power
        return [
            Figure(one.x, unit * one.value, one.interval and tuple(unit * end for end in one.interval))
            for one in figures
        ]

    before, after = crossing(first, second), crossing(scaled(first), scaled(second))
    if abs(first[-1].value / second[-1].value - 1) > 1e-9:  # else the last digit decides
        assert after.ahead == before.ahead
    if all(abs(one.value / other.value - 1) > 1e-9 for one, other in zip(first, second, strict=True)):
        assert isclose(after.at, before.at, rel_tol=1e-6) and after.turns == before.turns


@given(first=curves, second=curves)
def test_the_interval_holds_the_crossing_and_so_does_the_measured_range(first, second):
    found = crossing(first, second)
    if found.low is not None:
        assert found.low <= found.at <= found.high
    assert found.at in {0.0, inf} or POWERS[0] <= found.at <= POWERS[-1]


@given(first=curves, second=curves)
def test_from_the_crossing_on_the_one_ahead_is_below(first, second):
    found = crossing(first, second)
    for one, other in zip(first, second, strict=True):
        if found.ahead and one.x > found.at * (1 + 1e-9):
            assert (one.value < other.value) == (found.ahead == "first")


def rows(results):
    made = break_even.table(results)
    return [dict(zip([column.heading for column in made.columns], row, strict=True)) for row in made.rows]


def test_the_table_has_every_pair_along_t_and_along_b_where_batches_were_measured():
    one = rows(synthetic.results(variants=("v0", "v1", "v2"), lengths=(32, 1024)))
    assert len(one) == 2 * 3 and {row["Where"] for row in one} == {"B = 1"}
    several = rows(synthetic.results(variants=("v0", "v1", "v2"), lengths=(32, 1024), batches=(1, 8)))
    assert len(several) == 2 * 3 * 4 and {row["Where"] for row in several} == {"B = 1", "B = 8", "T = 32", "T = 1024"}


def test_the_table_finds_where_the_curves_of_v0_and_v1_cross():
    found = rows(synthetic.results(variants=("v0", "v1")))
    (row,) = (row for row in found if row["Figure"] == "per-token latency")
    (a, b, c), (d, e, f) = synthetic.CURVES["v0"], synthetic.CURVES["v1"]
    root = (e - b + ((e - b) ** 2 - 4 * (a - d) * (c - f)) ** 0.5) / (2 * (a - d))
    before, after = (log(synthetic.total("v0", x) / synthetic.total("v1", x)) for x in (128, 192))
    assert 128 < root < 192 and row["Low"] < root < row["High"]
    assert row["Crossing"] == pytest.approx(128 * (192 / 128) ** (before / (before - after)))
    assert (row["Version"], row["Against"]) == ("v1", "v0")
    assert row["Ahead"].startswith(f"from T ≈ {row['Crossing']:.4g}")


def case(variant, length, seconds, valid=True, **fields):
    workload = {"model": "m", "weights": "w", "dtype": "d", "device": "cpu", "batch_size": 1, "prompt": 1}
    figures = {"per_token_latency": {"value": seconds}}
    place = Workload({**workload, "new_tokens": length, **fields}, "x.json")
    return Case(f"{variant} {length}", "latency", variant, variant, place, figures, valid, (), {})


def of(*cases):
    return Results(synthetic.Path("x.json"), {}, cases)


def test_cases_that_are_not_valid_or_follow_a_long_prompt_are_not_compared():
    sound = [case("a", 32, 1.0), case("b", 32, 2.0)]
    unfit = [case("a", 64, 9.0, valid=False), case("a", 128, 9.0, prompt=64), case("b", 128, 2.0), case("b", 64, 2.0)]
    assert [row["Ahead"] for row in rows(of(*sound, *unfit))] == ["never within T = 32"]
    assert break_even.table(of(*sound, *unfit)).notes[-1] == "Left out, since not valid: 1 of 5 cases."


def test_models_are_never_compared_with_each_other():
    with pytest.raises(Missing, match="no two variants"):
        break_even.table(of(case("a", 32, 1.0), case("b", 32, 2.0, model="another")))
    both = [case("a", 32, 1.0), case("b", 32, 2.0), case("a", 32, 1.0, model="n"), case("b", 32, 2.0, model="n")]
    assert [row["Where"] for row in rows(of(*both))] == ["m (w), d, cpu, B = 1", "n (w), d, cpu, B = 1"]


def test_many_variants_are_each_compared_with_the_reference_only():
    names = [f"variant {number}" for number in range(break_even.MOST)]
    found = rows(of(case("v1", 32, 1.0), *(case(name, 32, 2.0) for name in names)))
    assert [(row["Version"], row["Against"]) for row in found] == [(name, "v1") for name in names]
