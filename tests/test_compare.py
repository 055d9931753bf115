"""``kvgpt compare``: exit codes, and files that are no results."""

import json
import time

import numpy as np
import pytest
import synthetic

from kvgpt import cli
from kvgpt.measure import commits

FEW = {"variants": ("v1", "v2"), "lengths": (32, 64)}


@pytest.fixture(scope="module")
def document():
    return synthetic.document(**FEW)


def compare(tmp_path, base, new, *options):
    paths = []
    for name, one in (("base", base), ("new", new)):
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(json.dumps(one))
    return cli.main(["compare", *map(str, paths), *options])


def with_metrics(document, family, change):
    new = json.loads(json.dumps(document))
    for benchmark in new["benchmarks"]:
        made = benchmark["extra_info"]["kvgpt"]
        if made["family"] == family:
            change(made["metrics"])
    return new


def slower(metrics):
    metrics["per_token_latency"]["value"] *= 1.3


def test_equals_exit_with_0_a_regression_with_1_and_it_is_named(capsys, tmp_path, document):
    assert compare(tmp_path, document, document) == 0
    assert "nothing got worse: 34 SAME" in capsys.readouterr().out.splitlines()[1]
    assert compare(tmp_path, document, with_metrics(document, "latency", slower)) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("worse: 4 WORSE") and "bench_latency" in lines[4] and "+30%" in lines[4]


def test_limits_are_given_in_any_number_and_as_often_as_one_likes(tmp_path, document):
    new = with_metrics(document, "latency", slower)
    assert compare(tmp_path, document, new, "--fail-on", "per_token_latency:10%", "perplexity:1%") == 0
    assert compare(tmp_path, document, new, "--fail-on", "per_token_latency:10%", "--fail-on", "perplexity:1%") == 0
    assert compare(tmp_path, document, new, "--fail-on", "per_token_latency:5%", "--fail-on", "max_batch:-2%") == 1


def test_undecided_fails_where_that_is_asked_for(tmp_path, document):
    def some(metrics):
        metrics["per_token_latency"]["value"] *= 1.15

    new = with_metrics(document, "latency", some)
    assert compare(tmp_path, document, new) == 0 and compare(tmp_path, document, new, "--strict") == 1


def test_a_deleted_benchmark_exits_with_1_another_gpu_with_2(capsys, tmp_path, document):
    assert compare(tmp_path, document, {**document, "benchmarks": document["benchmarks"][:-1]}) == 1
    assert "MISSING" in capsys.readouterr().out
    other = json.loads(json.dumps(document))
    other["machine_info"]["kvgpt"]["device"]["name"] = "another GPU"
    assert compare(tmp_path, document, other) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "of different devices: name an imagined GPU, another GPU" in line


def test_it_is_written_for_people_and_for_programs_too(tmp_path, document):
    page, data = tmp_path / "c.md", tmp_path / "c.json"
    new = with_metrics(document, "latency", slower)
    assert compare(tmp_path, document, new, "--markdown", str(page), "--json", str(data)) == 1
    assert page.read_text().startswith("### kvgpt compare: worse: 4 WORSE")
    assert json.loads(data.read_text())["counts"]["WORSE"] == 4


@pytest.mark.parametrize("files", [[], ["one.json"], ["one.json", "two.json", "three.json"]])
def test_another_number_of_files_is_refused(capsys, files):
    assert cli.main(["compare", *files]) == 2
    assert "expected BASE NEW" in capsys.readouterr().err


def old(document):
    document["benchmarks"][0]["extra_info"]["kvgpt"]["schema"] = 0
    return json.dumps(document)


BROKEN = {
    "truncated": (lambda document: json.dumps(document)[:-9], "not a results file"),
    "a key twice": (lambda document: json.dumps(document)[:-1] + ', "version": "5"}', "'version' is there twice"),
    "NaN": (lambda document: json.dumps({**document, "x": float("nan")}), "NaN is no JSON number"),
    "nested": (lambda document: '{"a":' * 99_999 + "1" + "}" * 99_999, "nested deeper"),
    "old": (old, "schema 0: this version reads schema 1"),
    "foreign": (lambda document: '{"benchmarks": [], "machine_info": {}}', "none with a record of kvgpt's"),
}


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_one_line_within_a_second(capsys, tmp_path, document, kind, side):
    make, message = BROKEN[kind]
    sound, broken = synthetic.write(tmp_path / "sound.json", **FEW), tmp_path / "broken.json"
    broken.write_text(make(json.loads(json.dumps(document))))
    paths = [str(sound), str(broken)] if side else [str(broken), str(sound)]
    started, before = time.process_time(), sorted(tmp_path.iterdir())
    assert cli.main(["compare", *paths, "--json", str(tmp_path / "out.json")]) == 2
    assert time.process_time() - started < 1
    (line,) = capsys.readouterr().err.splitlines()
    assert str(broken) in line and message in line
    assert sorted(tmp_path.iterdir()) == before


def test_a_file_of_a_hundred_megabytes_is_not_read(capsys, tmp_path):
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(100_000_000)
    assert cli.main(["compare", str(large), str(large)]) == 2
    assert "100000000 bytes: the limit is" in capsys.readouterr().err


@pytest.fixture
def measured(monkeypatch, tmp_path, document):
    """``kvgpt compare --ab`` with made-up passes: both commits alike but for ``spreads``, one for each look."""

    def fake(spreads):
        def measure(ref, arguments, passes, folder, enough, most):
            measure.asked, measure.looks = (ref, arguments, passes, most), 0
            drawn, files = np.random.default_rng(0), [tmp_path / "base.json", tmp_path / "head.json"]
            for spread in spreads[:most]:
                measure.looks += 1
                for file in files:
                    noisy = with_metrics(document, "latency", spread_out(drawn, spread, passes * measure.looks))
                    file.write_text(json.dumps(noisy))
                if enough(*files):
                    break
            return files

        monkeypatch.setattr(commits, "measure", measure)
        return measure

    return fake


def spread_out(drawn, spread, passes):
    def change(metrics):
        figure = metrics["per_token_latency"]
        figure["processes"] = [[figure["value"] * float(np.exp(noise))] for noise in drawn.normal(0, spread, passes)]

    return change


def test_two_commits_are_measured_until_nothing_is_undecided(capsys, measured):
    measure = measured([0.05, 0.002, 0.002])
    assert cli.main(["compare", "--ab", "main", "--", "benchmarks/bench_decode.py", "--kvgpt-lengths", "64"]) == 0
    assert measure.asked == ("main", ["benchmarks/bench_decode.py", "--kvgpt-lengths", "64"], 7, 3)
    assert measure.looks == 2
    assert "nothing got worse" in capsys.readouterr().out


def test_what_stays_undecided_between_two_commits_is_no_pass(capsys, measured):
    measure = measured([0.1] * 3)
    assert cli.main(["compare", "--ab", "main"]) == 1 and measure.looks == 3
    assert "UNDECIDED" in capsys.readouterr().out


def test_workers_results_are_merged_and_what_is_missing_is_said(capsys, tmp_path):
    files = [synthetic.write(tmp_path / f"{name}.json", variants=(name,), lengths=(32,)) for name in ("v1", "v2")]
    together = str(tmp_path / "all.json")
    assert cli.main(["merge", together, *map(str, files)]) == 0
    assert capsys.readouterr().out == f"wrote {together}: 15 cases of 2 files\n"
    assert cli.main(["compare", str(files[0]), together]) == 0
    assert (
        "only in the new results, not judged: benchmarks/bench_latency.py::bench_latency[v2-1]"
        in capsys.readouterr().out
    )


def test_workers_on_different_machines_are_not_merged(capsys, tmp_path, document):
    file, other = synthetic.write(tmp_path / "a.json", **FEW), tmp_path / "b.json"
    document = json.loads(json.dumps(document))
    document["machine_info"]["kvgpt"]["device"]["name"] = "another GPU"
    other.write_text(json.dumps(document))
    assert cli.main(["merge", str(tmp_path / "all.json"), str(file), str(other)]) == 2
    assert "--allow devices" in capsys.readouterr().err and not (tmp_path / "all.json").exists()
