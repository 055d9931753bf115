"""The page: one file that needs no other, takes nothing that results say for markup, and draws every form."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import chart_samples
import pytest
import synthetic

from kvgpt.recorded import Results
from kvgpt.report import page
from kvgpt.report.chart import Axis, Chart, Panel, Point, Series
from kvgpt.report.colours import DARK, LEAST_CONTRAST, PHASES, contrast
from kvgpt.report.page.sections import families
from kvgpt.report.page.tables import table
from kvgpt.report.tabular import Column, Table

VERDICT = page.Verdict("8 cases, consistent", "good", ("none is not valid",))
VOID = ("meta", "input", "img", "link", "br", "hr")


class Read(HTMLParser):
    """A page as a parser takes it: its elements with their attributes and text, each under all that it stands in."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        made = {"tag": tag, **dict(attrs), "text": "", "inside": [*self.open]}
        self.elements.append(made)
        if tag not in VOID:
            self.open.append(made)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1]["tag"] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data):
        for one in self.open:
            one["text"] += data

    def all(self, tag, **attributes):
        named = {name.replace("_", "-").rstrip("-"): value for name, value in attributes.items()}
        return [one for one in self.elements if one["tag"] == tag and named.items() <= one.items()]

    def under(self, element, tag):
        return [one for one in self.all(tag) if element in one["inside"]]


@pytest.fixture(scope="module")
def results():
    cases = tuple(chart_samples.CASES.values())
    unfit = replace(cases[0], valid=False, notes=("throttled",))
    return Results(Path("made-up.json"), {"name": "an imagined GPU", "torch": "2.13"}, (unfit, *cases[1:]))


@pytest.fixture(scope="module")
def text(results, tmp_path_factory):
    return written(tmp_path_factory.mktemp("page"), results)


@pytest.fixture(scope="module")
def read(text):
    return Read(text)


def written(directory, results, **changes):
    content = {
        "charts": chart_samples.every_form(),
        "missing": ["positions_streamed: no positions were measured: pytest benchmarks/bench_positions.py"],
        "tables": chart_samples.tables(),
        "verdict": VERDICT,
        "remarks": ("b.json: measured before, left out",),
    }
    return page.write(directory / "page.html", results, **content | changes).read_text("utf-8")


def data_of(read):
    (element,) = read.all("script", type="application/json")
    return json.loads(element["text"])


def test_the_page_asks_for_nothing_but_itself(read):
    assert not [one for one in read.elements if one["tag"] in ("link", "img", "iframe", "object", "embed", "base")]
    assert not [one for one in read.elements if "src" in one or one.get("href", "#")[0] != "#"]
    assert "url(" not in read.all("style")[0]["text"] and "@import" not in read.all("style")[0]["text"]
    assert "import" not in re.findall(r"\w+", read.all("script", type="module")[0]["text"])


def test_its_policy_lets_through_its_own_style_and_script_and_nothing_else(read):
    (meta,) = read.all("meta", http_equiv="Content-Security-Policy")
    policy = dict(part.strip().split(" ", 1) for part in meta["content"].split(";"))
    assert policy["default-src"] == "'none'"
    for directive, element in (
        ("style-src", read.all("style")[0]),
        ("script-src", read.all("script", type="module")[0]),
    ):
        digest = base64.b64encode(hashlib.sha256(element["text"].encode()).digest()).decode()
        assert policy[directive] == f"'sha256-{digest}'"
    assert not [one for one in read.elements if "style" in one or any(name.startswith("on") for name in one)]


def test_sections_stand_in_their_order_and_the_contents_lead_to_each(read):
    ids = [one["id"] for one in read.all("section") if "id" in one]
    assert ids == ["summary", "figures-latency", "tables", "machine", "validity", "undrawn", "remarks"]
    figures = [one["id"] for one in read.all("figure")]
    assert figures == ["figure-0-curves", "figure-1-columns", "figure-2-pies", "figure-3-scatter"]
    (contents,) = read.all("nav")
    links = [one["href"] for one in read.under(contents, "a")]
    assert links == ["#summary", "#figures-latency", *(f"#{one}" for one in figures), *(f"#{one}" for one in ids[2:])]


def test_each_identity_is_there_once(read):
    ids = [one["id"] for one in read.elements if "id" in one]
    assert len(ids) == len(set(ids))


def test_the_verdict_comes_before_everything_else(read):
    main = read.all("main")[0]
    first = next(one for one in read.elements if main in one["inside"])
    assert first["class"] == "verdict good" and first["text"].strip() == "8 cases, consistentnone is not valid"


def test_a_case_that_is_not_valid_is_named_with_its_reason(read, results):
    (section,) = read.all("section", id="validity")
    assert f"1 of {len(results.cases)} cases" in section["text"]
    assert [one["text"] for one in read.under(section, "li")] == [f"{results.cases[0].name}: throttled"]


def test_what_was_not_drawn_comes_with_the_command_that_would_measure_it(read):
    (section,) = read.all("section", id="undrawn")
    assert [one["text"] for one in read.under(section, "b")] == ["positions_streamed"]
    assert [one["text"] for one in read.under(section, "code")] == ["pytest benchmarks/bench_positions.py"]


def test_the_machine_is_told_as_the_results_have_it(read):
    (section,) = read.all("section", id="machine")
    assert [one["text"] for one in read.under(section, "dt")] == ["name", "torch"]
    assert [one["text"] for one in read.under(section, "dd")] == ["an imagined GPU", "2.13"]


def test_cells_say_what_they_are_sorted_by(read):
    summary, _ = read.all("table")
    cells = read.under(summary, "td")
    assert [cell.get("data-value") for cell in cells] == [None, "10.0", None, "9.0", None, None]
    assert [cell["text"] for cell in cells if cell.get("class") == "unknown"] == ["-"]


def test_rows_columns_and_tables_say_what_they_are_filtered_by(read):
    summary, lengths = read.all("table")
    assert [one.get("data-variant") for one in read.under(summary, "th")] == [None, None, None, "v1", "v0", "v2"]
    assert [one.get("data-variant") for one in read.under(lengths, "th")][:3] == [None, "v1", "v0"]
    assert [one.get("data-batch") for one in read.all("section", class_="table")] == [None, "1"]
    assert [one["data-length"] for one in read.under(lengths, "tr") if "data-length" in one] == [
        "32",
        "64",
        "128",
        "256",
    ]


def test_the_filter_offers_what_is_drawn(read):
    (bar,) = read.all("details", id="filter")
    boxes = read.under(bar, "input")
    assert [one["value"] for one in boxes if one["name"] == "variant"] == ["v0", "v1", "v2", "pkg.mod:Class+cla2"]
    assert [one["value"] for one in boxes if one["name"] == "batch"] == ["1", "8"]
    assert [one["value"] for one in read.under(bar, "option")] == 2 * ["32", "64", "128", "256"]


def test_a_question_with_one_answer_is_not_asked(results, tmp_path):
    point = chart_samples.of_length("v1", 64)
    only = Chart("one", "One", (Panel("", Axis("T"), Axis("ms"), (Series("v1", "marks", (point,), variant="v1"),)),))
    read = Read(written(tmp_path, results, charts=[only]))
    (bar,) = read.all("details", id="filter")
    assert not read.under(bar, "fieldset")


def test_each_case_is_embedded_once_with_the_samples_of_what_is_shown_of_it(read):
    cases = data_of(read)["cases"]
    assert len({one["name"] for one in cases}) == len(cases) == len(chart_samples.CASES)
    measured = chart_samples.CASES["v1", 32, 1].metrics["per_token_latency"]
    (found,) = (one["metrics"] for one in cases if one["name"] == "bench_latency[v1-32-1]")
    assert found == {"per_token_latency": {name: measured[name] for name in ("unit", "value", "processes")}}


def test_a_point_leads_to_the_cases_behind_it(read):
    data = data_of(read)
    point = data["charts"][0]["panels"][0]["series"][0]["points"][0]
    assert (point["x"], point["length"], point["batch_size"]) == (32.0, 32, 1)
    assert [data["cases"][place]["name"] for place in point["cases"]] == ["bench_latency[v0-32-1]"]


def test_a_point_without_a_finite_value_has_none(results, tmp_path):
    points = (Point(1.0, float("nan")), Point(float("inf"), 2.0))
    odd = Chart("odd", "Odd", (Panel("", Axis("x"), Axis("y"), (Series("v1", "line", points),)),))
    data = data_of(Read(written(tmp_path, results, charts=[odd])))
    assert data["charts"][0]["panels"][0]["series"][0]["points"] == [{"x": 1.0}, {"y": 2.0}]


def test_every_variant_has_a_look_on_light_paper_and_on_dark(read):
    data = data_of(read)
    assert [one["name"] for one in data["variants"]] == list(chart_samples.VARIANTS)
    for look in data["looks"]:
        assert all(re.fullmatch("#[0-9A-F]{6}", look[paper]) for paper in ("light", "dark"))
        assert contrast(look["dark"], DARK) >= LEAST_CONTRAST


def test_every_series_wears_the_look_of_its_variant_or_its_phase(read):
    data = data_of(read)
    looks = {one["name"]: data["looks"][one["look"]]["light"] for one in data["variants"]}
    every = [one for chart in data["charts"] for panel in chart["panels"] for one in panel["series"]]
    for series, place in zip(every, data["worn"], strict=True):
        colour = data["looks"][place]["light"]
        if series["variant"] is not None:
            assert colour == looks[series["variant"]]
        elif series["phase"] is not None:
            assert colour == PHASES[series["phase"]]


def test_curves_of_one_variant_in_a_panel_are_told_apart_by_their_lines(results, tmp_path):
    curve = Series("peak", "line", (Point(1.0, 1.0),), variant="v1")
    panel = Panel("", Axis(""), Axis(""), (curve, replace(curve, name="cache"), replace(curve, name="weights")))
    data = data_of(Read(written(tmp_path, results, charts=[Chart("one", "One", (panel,))])))
    assert len({data["looks"][place]["line"] for place in data["worn"]}) == 3


@pytest.mark.parametrize("word", chart_samples.EVIL)
def test_nothing_that_results_say_becomes_an_element_or_an_attribute(word, tmp_path):
    found, expected = (Read(written(tmp_path, **chart_samples.saying(one))) for one in (word, "word"))
    own = {"tag", "text", "inside"}
    shapes = [[(one["tag"], sorted(one.keys() - own)) for one in made.elements] for made in (found, expected)]
    assert shapes[0] == shapes[1]
    assert data_of(found)["charts"][0]["title"] == word


def test_data_cannot_end_the_element_that_they_stand_in(text):
    data = re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1]
    assert not set("<>&\u2028\u2029") & set(data)


def test_the_script_makes_elements_from_text_alone(read):
    script = read.all("script", type="module")[0]["text"]
    for name in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval", "Function("):
        assert name not in script


def test_a_page_is_written_without_matplotlib():
    code = "import sys, kvgpt.report.page; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_same_results_give_the_same_bytes(results, text, tmp_path):
    assert written(tmp_path, results) == text


def test_results_of_nothing_but_a_device_make_a_page(tmp_path):
    bare = Results(Path("bare.json"), {}, ())
    read = Read(written(tmp_path, bare, charts=[], missing=[], tables=[], remarks=()))
    assert [one["id"] for one in read.all("section") if "id" in one] == ["machine", "validity"]


def test_two_charts_of_one_name_have_two_addresses(results, tmp_path):
    one = chart_samples.curves()
    read = Read(written(tmp_path, results, charts=[one, one]))
    assert len({figure["id"] for figure in read.all("figure")}) == 2


def test_charts_stand_by_family_and_one_of_two_families_stands_under_both():
    measured = synthetic.results(lengths=(32,))
    of = {"latency": measured.of("latency", "total_latency")[:1], "memory": measured.of("memory", "peak_memory")[:1]}

    def chart(*names):
        points = tuple(Point(1.0, 1.0, cases=tuple(of[name])) for name in names)
        return Chart("-".join(names), "", (Panel("", Axis(""), Axis(""), (Series("", "marks", points),)),))

    both = [chart("latency"), chart("memory", "latency"), chart("latency"), chart()]
    assert families(both) == {"Latency": [0, 2], "Latency and memory": [1], "Figures": [3]}


def test_a_cell_of_many_words_has_some_width():
    described = Table("t", "T", (Column("case"), Column("why")), (("a", "short"), ("b", "by five passes a side, " * 2)))
    cells = table(described, ()).iter("td")
    assert [cell.get("class") for cell in cells] == [None, "sentence"]
