"""The page in a browser: every form is drawn, filters and headings do what they say, and a phone is wide enough."""

import html
import json
import re
import shutil
import subprocess

import chart_samples
import pytest

from kvgpt.recipes import OTHERS, STYLES
from kvgpt.recorded import Results
from kvgpt.report import page
from kvgpt.report.tabular import Column, Table

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WAIT = 60  # seconds, of a browser on a busy machine
OBSERVED = """<!DOCTYPE html><body><pre id="seen"></pre>
<iframe id="desktop" src="page.html" width="1280" height="900"></iframe>
<iframe id="phone" src="page.html#figure-1-columns&amp;variants=v1,pkg.mod%3AClass%2Bcla2&amp;T=64,128&amp;batches=8"
 width="375" height="800"></iframe>
<iframe id="looks" src="looks.html" width="800" height="800"></iframe>
<iframe id="hostile" src="hostile.html" width="800" height="800"></iframe>
<script>
const seen = {};
const all = (node, selector) => [...node.querySelectorAll(selector)];
const words = (node, selector) => all(node, selector).map((one) => one.textContent);
const page = (name) => document.getElementById(name).contentDocument;
const kinds = ["marker", "bar", "slice", "whisker", "band", "fit", "projection", "frontier", "callout", "zone", "rule",
  "aside", "corner", "label"];
const shapes = (figure) => Object.fromEntries(kinds.map((name) => [name, all(figure, `.panels .${name}`).length]));
const ticks = (panel) => words(panel, ".axes text[text-anchor=end]:not([transform])").map(Number);
const shown = (table) => all(table, "tbody tr").filter((row) => !row.hidden).map((row) => row.cells[0].textContent);
const change = (input) => input.dispatchEvent(new Event("change", { bubbles: true }));

addEventListener("load", async () => {
  const desk = page("desktop");
  const figures = all(desk, "figure");
  seen.shapes = Object.fromEntries(figures.map((figure) => [figure.id.split("-")[2], shapes(figure)]));
  seen.unplaced = all(desk, "svg, svg *").flatMap((one) => [...one.attributes])
    .filter((one) => /NaN|undefined|Infinity|null/.test(one.value)).length;
  seen.legend = words(figures[1], ".legend li");

  const [summary, lengths] = all(desk, "section.table table");
  const press = (table, at) => table.tHead.rows[0].cells[at].querySelector("button").click();
  const sorts = () => all(summary, "th[scope=col]").map((one) => one.getAttribute("aria-sort"));
  press(summary, 2);
  seen.ascending = [shown(summary), sorts()];
  press(summary, 2);
  seen.descending = [shown(summary), sorts()];

  const form = desk.querySelector("#filter form");
  seen.before = ticks(figures[1].querySelector(".panel"));
  const first = form.querySelector("input[value=v0]");
  first.checked = false;
  change(first);
  seen.after = ticks(figures[1].querySelector(".panel"));
  seen.places = words(figures[1].querySelector(".panel"), ".axes text:is([text-anchor=middle], [transform])");
  seen.rows = shown(summary);
  seen.columns = words(lengths, "tr:first-child > :not([hidden])");
  seen.frontier = shapes(figures[3])["frontier"];
  seen.status = desk.getElementById("filter-status").textContent;
  form.elements.to.value = "64";
  change(form.elements.to);
  seen.lengths = shown(lengths);
  seen.address = desk.location.hash;

  const panel = figures[0].querySelector(".panel");
  const key = (name) => panel.querySelector("svg").dispatchEvent(new KeyboardEvent("keydown", { key: name }));
  key("ArrowRight");
  key("ArrowRight");
  seen.read = words(panel, ".reading > div");
  key("Escape");
  seen.silent = panel.querySelector(".reading").hidden;
  key("ArrowLeft");
  seen.last = words(panel, ".reading > div")[1];
  key("Escape");

  const points = figures[0].querySelector(".points");
  points.open = true;
  points.dispatchEvent(new Event("toggle"));
  seen.samples = words(points, "tbody tr:first-child td:last-child")[0];
  seen.dots = all(points.querySelector("tbody tr"), ".strip circle").length;
  const boxes = all(form, "input[name=variant]");
  boxes.forEach((box) => (box.checked = box.value === "v2"));
  change(boxes[0]);
  seen.left = [figures.filter((figure) => !figure.hidden).map((figure) => figure.id),
    desk.getElementById("filter-status").textContent];
  form.reset();
  seen.everything = new Promise((done) => setTimeout(() => done([
    figures.filter((figure) => figure.hidden).length, shown(lengths), desk.location.hash])));
  desk.getElementById("theme").click();
  seen.theme = [desk.documentElement.dataset.theme, desk.location.hash.includes("theme=dark")];

  const phone = page("phone").documentElement;
  seen.wide = [phone.scrollWidth, phone.clientWidth];
  seen.linked = {
    tables: all(phone, "section.table").map((one) => one.hidden),
    variants: all(phone, "input[name=variant]:checked").map((one) => one.value),
    panels: words(phone, "figure h4"),
    status: phone.querySelector("#filter-status").textContent,
  };
  seen.markers = all(page("looks"), ".panels .marker").length;
  const hostile = page("hostile");
  const [word] = all(hostile, "input[name=variant]:not([value=v0])");
  seen.hostile = [all(hostile, ".panels .marker").length, all(hostile, "figure img, figure b, figure script").length];
  word.checked = false;
  change(word);
  seen.hostile.push(all(hostile, ".panels .marker").length);
  seen.everything = await seen.everything;
  document.getElementById("seen").textContent = JSON.stringify(seen);
});
</script>
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What a browser shows of the page, and what it says of errors."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"needs a browser: one of {', '.join(BROWSERS)}")
    directory = tmp_path_factory.mktemp("drawn")
    results = Results(directory, {"name": "an imagined GPU"}, tuple(chart_samples.CASES.values()))
    verdict = page.Verdict("consistent", "good")
    wide = Table("wide", "Wide", tuple(Column(f"figure {place}", ",d") for place in range(9)), (9 * (123_456_789,),))
    tables = [*chart_samples.tables(), wide]
    page.write(directory / "page.html", results, chart_samples.every_form(), [], tables, verdict)
    page.write(directory / "looks.html", results, [chart_samples.every_look()], [], [], verdict)
    page.write(directory / "hostile.html", **chart_samples.saying("".join(chart_samples.EVIL)))
    (directory / "observed.html").write_text(OBSERVED)
    command = [
        browser,
        *("--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--allow-file-access-from-files"),
        *(f"--user-data-dir={directory / 'profile'}", "--virtual-time-budget=5000", "--dump-dom"),
        (directory / "observed.html").as_uri(),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=WAIT, check=True)
    told = re.search(r'<pre id="seen">(.*?)</pre>', ended.stdout, re.DOTALL)
    complaints = [line for line in ended.stderr.splitlines() if "CONSOLE" in line]
    assert told and told[1], complaints
    return json.loads(html.unescape(told[1])) | {"complaints": complaints}


def test_the_browser_has_nothing_to_complain_of(seen):
    assert seen["complaints"] == []


def test_every_look_has_a_marker(seen):
    assert seen["markers"] == len(STYLES) + len(OTHERS)


def test_names_full_of_markup_are_drawn_and_filtered_like_any_other(seen):
    before, elements, after = seen["hostile"]
    assert (before, elements, after) == (2, 0, 1)


def test_every_form_is_drawn(seen):
    shapes = seen["shapes"]
    variants, phases = len(chart_samples.VARIANTS), len(chart_samples.PHASES)
    lengths = len(chart_samples.LENGTHS)
    assert shapes["curves"]["marker"] == shapes["curves"]["whisker"] == 2 * variants * lengths + lengths
    assert shapes["curves"]["band"] == shapes["curves"]["projection"] == 2 * variants
    assert shapes["curves"]["fit"] == 1
    assert shapes["columns"]["bar"] == 2 * variants + 2 * variants * phases
    assert shapes["pies"]["slice"] == 2 * phases
    assert shapes["scatter"]["bar"] == 2  # polygons of spans
    assert shapes["scatter"]["frontier"] == 2 and shapes["scatter"]["band"] == 1


def test_everything_that_is_drawn_has_a_place(seen):
    assert seen["unplaced"] == 0


def test_zones_rules_callouts_corners_and_labels_are_drawn(seen):
    columns, scatter = seen["shapes"]["columns"], seen["shapes"]["scatter"]
    assert (columns["zone"], columns["rule"], columns["callout"]) == (4, 1, 1)
    assert columns["aside"] == 5  # of four zones and a rule
    assert (scatter["zone"], scatter["rule"], scatter["callout"], scatter["corner"]) == (1, 1, 1, 2)
    assert scatter["label"] == 2 * len(chart_samples.VARIANTS) + 2


def test_a_legend_says_each_look_once(seen):
    assert seen["legend"] == [*chart_samples.VARIANTS, *chart_samples.PHASES]


def test_a_heading_sorts_numbers_as_numbers_and_what_is_unknown_last_either_way(seen):
    assert seen["ascending"] == [["v0", "v1", "v2 *"], [None, None, "ascending"]]
    assert seen["descending"] == [["v1", "v0", "v2 *"], [None, None, "descending"]]


def test_a_variant_filtered_out_leaves_figures_and_tables_and_axes_follow(seen):
    assert max(seen["before"]) > 30  # where v0 is
    assert max(seen["after"]) < 20  # where v2 is
    assert seen["places"] == ["v1", "v2", "pkg.mod:Class+cla2", ""]  # and the label of the axis
    assert seen["rows"] == ["v1", "v2 *"]
    assert seen["columns"] == ["T", "v1", "32", "1.00"]
    assert seen["status"] == "3 of 4 variants"


def test_a_frontier_does_not_outlive_its_points(seen):
    assert seen["frontier"] == 1  # the roof, which is nobody's


def test_a_figure_of_which_nothing_is_chosen_is_left_out(seen):
    assert seen["left"] == [
        ["figure-0-curves", "figure-3-scatter"],
        "1 of 4 variants, T from 32 to 64, 2 figures left out",
    ]


def test_a_reset_brings_everything_back(seen):
    hidden, lengths, address = seen["everything"]
    assert hidden == 0 and lengths == ["32", "64", "128", "256"]
    assert "variants" not in address and "T=" not in address


def test_the_choice_stands_in_the_address(seen):
    assert seen["lengths"] == ["32", "64"]
    assert seen["address"] == "#variants=v1,v2,pkg.mod%3AClass%2Bcla2&T=32,64"


def test_an_address_brings_its_choice_back(seen):
    assert seen["linked"]["variants"] == ["v1", "pkg.mod:Class+cla2"]
    assert seen["linked"]["status"] == "2 of 4 variants, 1 of 2 batch sizes, T from 64 to 128, 2 figures left out"
    assert "nano, B = 8" in seen["linked"]["panels"] and "nano, B = 1" not in seen["linked"]["panels"]


def test_a_table_of_another_batch_size_is_left_out(seen):
    assert seen["linked"]["tables"] == [False, True, False]


def test_arrow_keys_read_a_point_with_its_interval_and_its_case(seen):
    assert seen["read"] == ["v1", "new tokens T: 64", "latency (ms): 2 (1.8 to 2.2)", "bench_latency[v1-64-1]"]
    assert seen["silent"]
    assert seen["last"] == "new tokens T: 64"


def test_samples_behind_a_point_are_dots_and_numbers(seen):
    assert seen["dots"] == 5
    assert "5 samples in 2 passes, 900 µs to 1.1 ms" in seen["samples"]
    assert "900 µs, 1 ms, 1.1 ms" in seen["samples"]


def test_the_theme_is_kept_in_the_address(seen):
    assert seen["theme"] == ["dark", True]


def test_a_phone_does_not_scroll_sideways(seen):
    content, window = seen["wide"]
    assert content <= window <= 375
