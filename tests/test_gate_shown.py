"""A comparison as it is shown: its headline, its text, its Markdown and its JSON."""

import json
from dataclasses import replace

import pytest
import synthetic
from changed_results import FEW, changed, in_passes, scaled

from kvgpt.report import gate
from kvgpt.report.gate import shown


@pytest.fixture(scope="module")
def base():
    return synthetic.results(**FEW)


def test_text_names_what_is_worse_and_its_figures(base):
    found = gate.compare(base, changed(base, scaled("per_token_latency", 1.3), "latency", "v2", new_tokens=64))
    lines = shown.text(found)
    assert lines[1] == "worse: 1 WORSE, 33 SAME"
    assert lines[4].split()[:4] == ["WORSE", "latency", "v2", "64"] and "+30%" in lines[4] and "5%" in lines[4]
    assert len(lines) == 5 < len(shown.text(found, everything=True))


def test_what_is_undecided_is_not_said_to_be_no_worse(base):
    found = gate.compare(base, changed(base, scaled("per_token_latency", 1.15), "latency"))
    assert found.exit_code() == 0 and shown.headline(found) == "undecided: 4 UNDECIDED, 30 SAME"
    assert "--ab" in shown.text(found)[-1] and "--ab" in shown.markdown(found)
    same = gate.compare(base, base)
    assert shown.headline(same) == "nothing got worse: 34 SAME" and not any("--ab" in line for line in shown.text(same))


def test_the_worst_is_what_a_comparison_means(base):
    gone = replace(base, cases=base.cases[1:])
    open_and_worse = changed(base, scaled("per_token_latency", 1.15), "latency")
    open_and_worse = changed(open_and_worse, scaled("perplexity", 2), "perplexity")
    assert [gate.compare(base, new).meaning for new in (gone, open_and_worse)] == ["worse", "worse"]


def test_json_has_every_figure(base):
    document = json.loads(json.dumps(shown.document(gate.compare(base, in_passes(base, 1, 1.3))), allow_nan=False))
    assert document["schema"] == 1 and document["exit"] == 1 and document["counts"]["WORSE"] == 4
    worse = next(one for one in document["judged"] if one["word"] == "WORSE")
    assert worse["ratio"] == pytest.approx(1.3) and worse["unit"] == "s" and "interval" not in worse


def test_names_are_neither_markup_nor_commands_to_a_terminal(base):
    name = "a`|b\n<script>@everyone\x1b[31m"
    cases = tuple(replace(case, name=f"{name}{place}") for place, case in enumerate(base.cases))
    hostile = replace(base, cases=cases)
    found = gate.compare(hostile, changed(hostile, scaled("perplexity", 2), "perplexity", "v2"))
    page = shown.markdown(found)
    rows = [line for line in page.splitlines() if line.startswith("| WORSE")]
    assert len(rows) == 2 and all(len(row.replace("\\|", "").split("|")) == 11 for row in rows)
    assert all("`a'\\|b\\n<script>@everyone\\x1b[31m" in row for row in rows)
    assert "\x1b" not in page and "\x1b" not in "\n".join(shown.text(found))
