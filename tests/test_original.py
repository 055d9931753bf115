"""The original research's results: read into SI units whatever their spelling, and refused where they contradict."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvgpt import cli, record
from kvgpt.report import consistency, original

A6000 = {"gpu_name": "NVIDIA RTX A6000", "pytorch_version": "2.9.1+cu128", "dtype": "bfloat16"}
MEDIUM = {"n_layer": 24, "n_head": 16, "n_embd": 1024, "block_size": 1024}


def line(benchmark, version, **figures):
    return {"benchmark_name": benchmark, "version": version, **A6000, **MEDIUM, **figures}


def written(tmp_path, *lines):
    path = tmp_path / "results.jsonl"
    path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in lines))
    return path


LATENCY = line("latency_vs_T", "v1", T=1024, total_ms=3347.9, per_token_ms=3.27)
PHASES = {  # of T = 512, in ms
    "v0": {"embedding": 6.6, "attention": 1018.7, "mlp": 1181.2, "head": 84.0, "other": 388.4},
    "v1": {"embedding": 5.7, "attention": 970.6, "mlp": 588.5, "head": 82.8, "other": 671.1},
}
PEAKS = {"v0": (771.6, 799.2), "v1": (871.2, 920.8), "v2": (821.0, 872.0), "v3": (771.6, 848.8), "v4": (795.7, 807.6)}
CAPACITIES = {"v0": (491, 47.2), "v1": (491, 47.2), "v2": (594, 47.3), "v3": (745, 47.3), "v4": (1867, 47.3)}
PUBLISHED = [
    LATENCY,
    *(line("latency_vs_T", version, T=512, total_ms=total) for version, total in (("v0", 2446.0), ("v1", 1639.0))),
    *(line("vram_vs_T", version, T=32, peak_vram_mb=short) for version, (short, _) in PEAKS.items()),
    *(line("vram_vs_T", version, T=1024, peak_vram_mb=long) for version, (_, long) in PEAKS.items()),
    *(
        line("per_phase_breakdown", version, T=512, phases={f"{name}_ms": ms for name, ms in parts.items()})
        for version, parts in PHASES.items()
    ),
    *(
        line("max_batch_capacity", version, T=512, max_batch=fits, peak_vram_gb=peak)
        for version, (fits, peak) in CAPACITIES.items()
    ),
    line("perplexity", "v1", perplexity=27.55, loss=3.316, num_tokens=4096),
]


def refusals(tmp_path, *lines):
    return {
        (one.rule, one.cases): one.sentence for one in consistency.violations(original.read(written(tmp_path, *lines)))
    }


def test_lines_become_cases_in_si_units(tmp_path):
    read = original.read(written(tmp_path, *PUBLISHED))
    assert len(read.cases) == len(PUBLISHED)
    assert read.device == {"kind": "cuda", "name": "NVIDIA RTX A6000", "torch": "2.9.1+cu128"}
    latency = read.cases[0]
    assert (latency.family, latency.variant, latency.canonical) == ("latency", "v1", "dense")
    assert latency.value("total_latency") == pytest.approx(3.3479) and latency.metrics["total_latency"]["unit"] == "s"
    assert latency.value("per_token_latency") == pytest.approx(3.27e-3)
    assert latency.workload["model"] == "gpt2-medium" and latency.workload["new_tokens"] == 1024
    assert latency.workload["device_name"] == "NVIDIA RTX A6000" and latency.workload["batch_size"] == 1
    (held,) = [case for case in read.of("memory", "peak_memory") if case.name.endswith("v4 T=1024")]
    assert held.value("peak_memory") == pytest.approx(807.6e6) and held.workload["max_length"] == 1024
    (fits,) = [case for case in read.of("capacity", "max_batch") if case.variant == "v4"]
    assert fits.value("max_batch") == 1867 and fits.value("peak_memory") == pytest.approx(47.3e9)
    (scored,) = read.of("perplexity", "perplexity")
    assert scored.workload["mode"] == "teacher_forced" and scored.workload["scored_tokens"] == 4096


@pytest.mark.parametrize(
    ("what", "figures", "metric", "value"),
    [
        ("latency_vs_T", {"total_time_s": 1.5}, "total_latency", 1.5),
        ("latency_vs_T", {"latency_ms_mean": 1500}, "total_latency", 1.5),
        ("latency_vs_T", {"avg_latency_us": 1.5e6}, "total_latency", 1.5),
        ("latency_vs_T", {"ms_per_token": 3}, "per_token_latency", 3e-3),
        ("vram_vs_T", {"max_memory_allocated_bytes": 7}, "peak_memory", 7),
        ("vram_vs_T", {"vram_MiB": 2}, "peak_memory", 2 * 2**20),
        ("vram_vs_T", {"metrics": {"peak_memory_gb": 2}}, "peak_memory", 2e9),
        ("per_phase_breakdown", {"breakdown": {"attn_ms": 5}}, "phase_attention", 5e-3),
        ("max_batch_capacity", {"max_batch_size": 9}, "max_batch", 9),
    ],
)
def test_likely_spellings_are_understood(tmp_path, what, figures, metric, value):
    (case,) = original.read(written(tmp_path, line(what, "v1", seq_len=64, **figures))).cases
    assert case.value(metric) == pytest.approx(value) and case.workload["new_tokens"] == 64


def test_what_a_line_says_of_its_workload_is_kept(tmp_path):
    lines = [
        line("perplexity", "v1", ppl=21.72, autoregressive=True, max_tokens=4096),
        line("vram_vs_T", "v1", T=64, batch_size=8, vram_mb=900, num_params=7),
        line("max_batch_capacity", "v1", T=64, max_batch=8, total_vram_gb=48),
    ]
    scored, held, fits = original.read(written(tmp_path, *lines)).cases
    assert scored.workload["mode"] == "autoregressive"
    assert held.workload["batch_size"] == 8
    assert held.metrics["weights_bytes"] == record.metric("weights_bytes", 14, kind="modelled")
    assert fits.workload["memory_budget"] == 48e9 and "batch_size" not in fits.workload


def test_of_a_total_and_a_time_a_token_the_other_is_worked_out(tmp_path):
    lines = [line("latency_vs_T", "v1", T=64, total_ms=128), line("latency_vs_T", "v2", T=64, per_token_ms=2)]
    for case in original.read(written(tmp_path, *lines)).cases:
        assert case.value("total_latency") == pytest.approx(0.128)
        assert case.value("per_token_latency") == pytest.approx(2e-3)


def test_a_list_on_a_line_is_one_case_a_length(tmp_path):
    points = [{"T": 32, "total_ms": 103.4}, {"T": 1024, "total_ms": 3347.9}]
    cases = original.read(written(tmp_path, line("latency_vs_T", "v1", results=points))).cases
    assert [case.workload["new_tokens"] for case in cases] == [32, 1024]


def test_the_first_of_a_benchmark_a_version_and_a_length_counts_and_the_others_are_listed(tmp_path):
    later = LATENCY | {"total_ms": 9999.0, "per_token_ms": 9.76}
    reading = original.read_all(written(tmp_path, LATENCY, later, line("latency_vs_T", "v2", T=1024, total_ms=6754.1)))
    assert [case.value("total_latency") for case in reading.results.cases] == pytest.approx([3.3479, 6.7541])
    assert reading.repeated == ("line 2: latency_vs_T v1 T=1024: counted as line 1: latency_vs_T v1 T=1024 says",)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not JSON as a results file has it: "),
        ('{"a": NaN}', "NaN is no JSON number"),
        ("[1]", "expected an object, found list"),
        ('{"version": "v1", "version": "v2"}', "key 'version' is there twice"),
        (json.dumps(line("training", "v1")), "benchmark_name='training': known: latency_vs_T, vram_vs_T"),
        (json.dumps(line("vram_vs_T", "v9", T=8)), "version='v9': known: v0, v1"),
        (
            json.dumps(line("vram_vs_T", "v1", T=8, speed=3)),
            "no figure of vram_vs_T among its fields: peak_memory as vram",
        ),
        (json.dumps(line("vram_vs_T", "v1", T=8, vram_mb=True)), "no figure of vram_vs_T"),
        (json.dumps(line("vram_vs_T", "v1", vram_mb=8)), "no length of vram_vs_T among its fields: t, seq_len"),
        (json.dumps(line("vram_vs_T", "v1", T=8, vram_mb=10**308)), "too large"),
        (json.dumps(line("vram_vs_T", "v1", T=8, vram_mb=1e308)), "expected finite numbers"),
        ('{"benchmark_name": "' + "x" * original.LARGEST_LINE + '"}', f"longer than {original.LARGEST_LINE} bytes"),
    ],
)
def test_a_line_that_is_not_understood_is_named_and_the_others_are_read(tmp_path, text, reason):
    if "too large" in reason:
        text = text.replace(str(10**308), str(10**400))
    reading = original.read_all(written(tmp_path, LATENCY, "", text, line("vram_vs_T", "v1", T=8, vram_mb=800)))
    (left_out,) = reading.left_out
    assert left_out.startswith("line 3: ") and reason in left_out
    assert [case.name for case in reading.results.cases] == [
        "line 1: latency_vs_T v1 T=1024",
        "line 4: vram_vs_T v1 T=8",
    ]


def test_a_file_without_a_line_of_the_original_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no line of the original research's results: line 1: not JSON"):
        original.read(written(tmp_path, "{"))
    with pytest.raises(ValueError, match="no such file"):
        original.read(tmp_path / "nowhere.jsonl")


def test_a_file_beyond_the_limit_is_not_opened(tmp_path):
    path = tmp_path / "large.jsonl"
    with path.open("wb") as file:
        file.truncate(original.LARGEST_FILE + 1)
    with pytest.raises(ValueError, match=f"the limit is {original.LARGEST_FILE}"):
        original.read(path)


def test_only_the_originals_lines_are_taken_for_it(tmp_path):
    assert original.recognises(written(tmp_path, "", LATENCY))
    assert not original.recognises(written(tmp_path, {"schema": 1}, LATENCY))
    assert not original.recognises(written(tmp_path, "{"))
    assert not original.recognises(written(tmp_path).rename(tmp_path / "out.json"))
    assert not original.recognises(tmp_path / "nowhere.jsonl")


def test_the_published_saving_is_larger_than_the_cache(tmp_path):
    found = refusals(tmp_path, *PUBLISHED)
    sentence = found["saving", ("line 10: vram_vs_T v1 T=1024", "line 13: vram_vs_T v4 T=1024")]
    assert sentence.startswith("v4 peaks 113.2 MB below v1, whose cache is 100.7 MB and only 74.71 MB larger")
    copied = found["saving", ("line 5: vram_vs_T v1 T=32", "line 7: vram_vs_T v3 T=32")]
    assert copied.startswith("v3 peaks 99.6 MB below v1, whose cache is 100.7 MB and only 50.33 MB larger")
    assert ("saving", ("line 5: vram_vs_T v1 T=32", "line 8: vram_vs_T v4 T=32")) not in found


def test_the_published_phases_are_more_than_the_whole(tmp_path):
    found = refusals(tmp_path, *PUBLISHED)
    sentence = found["phases", ("line 15: per_phase_breakdown v1 T=512", "line 3: latency_vs_T v1 T=512")]
    assert sentence == "phases add up to 2.319 s, 141% of the 1.639 s in total"
    assert ("phases", ("line 14: per_phase_breakdown v0 T=512", "line 2: latency_vs_T v0 T=512")) in found


def test_the_published_capacities_do_not_fit(tmp_path):
    found = refusals(tmp_path, *PUBLISHED)
    sentence = found["capacity", ("line 20: max_batch_capacity v4 T=512",)]
    assert sentence.startswith("1,867 sequences of 25.95 MB of cache and weights of 659.3 MB are 49.11 GB, more than")
    assert ("capacity", ("line 18: max_batch_capacity v2 T=512",)) not in found
    (equal,) = [sentence for (rule, _), sentence in found.items() if rule == "equal capacities"]
    assert equal.startswith("v0, with 0 B of cache each, and v1, with 100.7 MB of cache each, end at the same 491")


def test_the_published_parameters_are_not_those_of_the_model(tmp_path):
    (found,) = refusals(tmp_path, line("vram_vs_T", "v1", T=32, peak_vram_mb=871.2, n_params=378_964_992)).items()
    assert found[0][0] == "weights bytes" and found[1] == "weights of 757.9 MB, where gpt2-medium has 709.6 MB"


def test_what_the_original_published_without_contradiction_is_consistent(tmp_path):
    sound = [one for one in PUBLISHED if one["benchmark_name"] in ("latency_vs_T", "perplexity")]
    sound += [line("vram_vs_T", name, T=32, peak_vram_mb=PEAKS[name][0]) for name in ("v0", "v1", "v2", "v4")]
    assert refusals(tmp_path, *sound) == {}


def test_check_reads_the_original_and_lists_what_is_not_among_its_cases(capsys, tmp_path):
    path = written(tmp_path, *PUBLISHED, LATENCY, "{")
    assert cli.main(["check", str(path)]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith(f"{path}: line 22: latency_vs_T v1 T=1024: counted as line 1")
    assert out[1].startswith(f"{path}: left out: line 23: not JSON")
    assert out[-1].startswith("refused: 21 records, ")


def test_a_report_has_what_is_consistent_and_nothing_else_of_the_original(capsys, tmp_path):
    assert cli.main(["report", str(written(tmp_path, *PUBLISHED)), "--out", str(tmp_path / "report")]) == 1
    assert "141% of the 1.639 s in total" in capsys.readouterr().err and not (tmp_path / "report").exists()
    path = written(tmp_path, *PUBLISHED[:3])
    assert cli.main(["report", str(path), "--out", str(tmp_path / "report")]) == 0
    assert "NVIDIA RTX A6000, 2.9.1+cu128" in (tmp_path / "report" / "summary.md").read_text()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(["benchmark_name", "version", "T", "total_ms", "vram_mb", "dtype", "n_layer", "gpu_name", "x"]),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False)
            | st.sampled_from(["v1", "vram_vs_T"]),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["T", "vram_mb"]), inner),
            max_leaves=4,
        ),
    )
)
def test_no_line_breaks_the_reader(tmp_path, drawn):
    path = written(tmp_path, LATENCY, line("vram_vs_T", "v1") | drawn)
    reading = original.read_all(path)
    assert reading.results.cases[0].name == "line 1: latency_vs_T v1 T=1024"
    assert len(reading.results.cases) + len(reading.left_out) + len(reading.repeated) >= 2
    assert all(map(str, consistency.violations(reading.results)))
