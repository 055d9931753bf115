"""The assignment problem, solved exactly by shortest augmenting paths in O(n^3).

Kuhn 1955, "The Hungarian method for the assignment problem"; Jonker and Volgenant 1987, Computing 38, 325-340.
"""

from math import inf, isfinite

from torch import Tensor


def assign(costs: Tensor) -> list[int]:
    """Costs (n, n) -> the column of each row, each used once, at the least total cost; ValueError unless all finite.

    Rows enter one by one. Each takes the shortest path of reassignments that ends at a free column, where a step costs
    what its entry does less the prices of its row and column: never less than 0, and 0 where a row has its column.
    """
    cost: list[list[float]] = costs.tolist()
    if not all(map(isfinite, (entry for row in cost for entry in row))):
        raise ValueError("the costs of an assignment are not all finite: nothing can be matched by them")
    n = len(cost)
    row_price, column_price = [0.0] * n, [0.0] * n
    row_of: dict[int, int] = {}  # by the column that it has
    for entering in range(n):
        distance, before = (
            [inf] * n,
            [entering] * n,
        )  # of each column: from the entering row, and the row before
        done: list[int] = []
        row, reached = entering, 0.0
        while True:
            ahead = [column for column in range(n) if column not in done]
            for column in ahead:
                along = reached + cost[row][column] - row_price[row] - column_price[column]
                if along < distance[column]:
                    distance[column], before[column] = along, row
            nearest = min(ahead, key=distance.__getitem__)
            reached = distance[nearest]
            if nearest not in row_of:
                break
            done.append(nearest)
            row = row_of[nearest]
        row_price[entering] += reached
        for column in done:
            row_price[row_of[column]] += reached - distance[column]
            column_price[column] -= reached - distance[column]
        column_of = {row: column for column, row in row_of.items()}
        while True:
            row = row_of[nearest] = before[nearest]
            if row == entering:
                break
            nearest = column_of[row]
    column_of = {row: column for column, row in row_of.items()}
    return [column_of[row] for row in range(n)]
