"""The assignment problem: as good as the best of all permutations, whatever the costs."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kvgpt.alignment.assignment import assign

numbers = st.one_of(st.floats(-1e3, 1e3), st.integers(0, 3).map(float))  # a few whole ones, so that there are ties
square = st.integers(1, 6).flatmap(
    lambda n: st.lists(st.lists(numbers, min_size=n, max_size=n), min_size=n, max_size=n)
)


def total(costs, columns):
    return sum(row[column] for row, column in zip(costs, columns, strict=True))


@given(costs=square)
def test_no_other_assignment_costs_less(costs):
    found = assign(torch.tensor(costs, dtype=torch.float64))
    assert sorted(found) == list(range(len(costs)))
    least = min(total(costs, columns) for columns in itertools.permutations(range(len(costs))))
    assert total(costs, found) == pytest.approx(least, abs=1e-9)


@given(seed=st.integers(0, 2**31))
def test_twenty_five_heads_find_the_order_that_was_planted(seed):
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(25, generator=generator)
    costs = torch.rand(25, 25, generator=generator, dtype=torch.float64) + 1
    costs[torch.arange(25), order] -= 1
    assert assign(costs) == order.tolist()


def test_the_cheapest_column_of_a_row_is_given_up_where_that_is_cheaper_for_all():
    assert assign(torch.tensor([[1.0, 2.0], [1.0, 9.0]])) == [1, 0]
    assert assign(torch.tensor([[4.0, 1.0, 3.0], [2.0, 0.0, 5.0], [3.0, 2.0, 2.0]])) == [1, 0, 2]


@pytest.mark.parametrize("cost", [float("nan"), float("inf")])
def test_costs_that_are_no_numbers_are_refused(cost):
    with pytest.raises(ValueError, match="not all finite"):
        assign(torch.tensor([[1.0, cost], [0.0, 1.0]]))
