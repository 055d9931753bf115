"""The table of uses: which variant is recommended for what, and by which figure."""

import synthetic
from tabled import changed, is_of, named, of

from kvgpt.report.tables import use_cases


def choices(results):
    return {use: (variant, why) for use, variant, why in named(results, "use_cases").rows}


def test_each_use_has_the_variant_whose_figure_decides():
    made = choices(synthetic.results())
    assert {use: variant for use, (variant, _) in made.items()} == {
        "Production inference": "v1",
        "Latency-critical": "v1",
        "High-throughput batch": "v2",
        "Long contexts, memory-bound": "v2",
        "Research (quality)": "v1",
    }
    assert made["Latency-critical"][1] == "per-token latency 3.23 ms, the lowest; next v2: 6.591 ms"


def test_in_production_a_tie_goes_to_what_is_simpler_and_where_latency_is_critical_it_does_not():
    results = changed(synthetic.results(), is_of("v3", "perplexity"), perplexity=21.72, perplexity_change=0.0)
    near = changed(results, is_of("v3", "latency"), per_token_latency=0.98 * synthetic.total("v1", 1024) / 1024)
    assert choices(near)["Production inference"][0] == "v1"
    assert "tied with the lowest (v3: 3.166 ms)" in choices(near)["Production inference"][1]
    assert choices(near)["Latency-critical"][0] == "v3"
    assert choices(results)["Production inference"][0] == "v3"


def test_throughput_decides_where_it_was_measured_else_the_largest_batch_of_what_keeps_a_cache():
    results = synthetic.results()
    assert choices(results)["High-throughput batch"] == ("v2", "largest batch 1324, the highest; next v1: 888")
    faster = changed(results, is_of("v1", "capacity"), throughput=2000.0)
    faster = changed(faster, is_of("v2", "capacity"), throughput=1000.0)
    assert choices(faster)["High-throughput batch"][0] == "v1"


def test_of_equal_perplexities_the_fastest_is_for_research():
    results = changed(synthetic.results(), is_of("v3", "perplexity"), perplexity=21.7201, perplexity_change=0.0)
    assert choices(results)["Research (quality)"] == (
        "v3",
        "perplexity 21.7201, tied with the lowest (v1: 21.72) and faster",
    )


def test_no_use_is_recommended_a_variant_of_another_quality():
    results = changed(
        synthetic.results(), lambda case: case.variant != "v3" and case.family == "perplexity", valid=False
    )
    made = choices(results)
    assert made["Production inference"] == ("none", "no variant's valid perplexity is at most 1% above v1's")
    assert made["Research (quality)"][0] == "v3"


def test_a_use_whose_figures_are_missing_has_no_variant():
    made = choices(of(synthetic.results(), "perplexity"))
    assert made["Latency-critical"] == (
        "none",
        "no per-token latency of an admissible variant was measured and is valid",
    )
    assert made["Research (quality)"][0] == "v1"


def test_the_tie_stands_under_the_table():
    assert f"{use_cases.TIE:.0%}" in named(synthetic.results(), "use_cases").notes[1]
