"""Where a decode step's time goes, and what to fuse next, as tables."""

import rooflines

from kvgpt.report import tables
from kvgpt.report.tables import operators


def test_a_row_says_where_the_time_of_a_variant_goes():
    (table,) = operators.where_time_goes(rooflines.results(variants=("v1",)))
    (row,) = [dict(zip((one.heading for one in table.columns), row, strict=True)) for row in table.printed()]
    assert row["Version"] == "v1" and row["Kernels"] == "20" and row["In gaps (%)"] == "20.0"
    assert row["Profiled (ms)"] == "0.100" and row["Step (ms)"] == "12.500" and row["Longest gap (µs)"] == "1.0"
    assert (row["Takes most"], row["of the step (%)"], row["Times"]) == ("linear", "16.0", "4")
    assert table.batch_size == 1 and "S = 256" in table.title


def test_operators_are_ranked_by_what_is_above_their_floor_and_gaps_among_them():
    (table,) = operators.fuse_next(rooflines.results(variants=("v0", "v1")))
    ranked = [row for row in table.rows if row[0] == "v1"]
    assert [row[1] for row in ranked] == ["(between them)", "linear", "scaled_dot_product_attention", "add", "view"]
    assert [round(row[5], 6) for row in ranked] == [20.0, 16.0, 15.0, 14.0, 13.0]
    assert len(table.rows) == 2 * operators.MOST


def test_what_is_not_valid_is_marked():
    (table,) = operators.where_time_goes(rooflines.results(variants=("v1",), notes=("throttled",)))
    assert table.rows[0][0] == "v1 *" and any("throttled" in note for note in table.notes)


def test_both_are_among_all_tables_and_nothing_comes_of_nothing():
    names = [table.name for table in tables.every(rooflines.results())]
    assert {"where_time_goes", "fuse_next"} <= set(names)
    assert operators.where_time_goes(rooflines.results(*rooflines.ceilings())) == []


def test_what_takes_long_because_it_must_comes_after_what_need_not():
    results = rooflines.results(variants=("v1",))
    (case,) = [one for one in results.cases if "trace" in one.details]
    long, short = case.details["trace"]["operators"][:2]
    long |= {"seconds": 9e-5, "above": 1e-6}
    short |= {"seconds": 2e-6, "above": 1.9e-6}
    (table,) = operators.fuse_next(results)
    names = [row[1] for row in table.rows]
    assert long["name"] not in names or names.index(short["name"]) < names.index(long["name"])
