"""The pages say what is: the promises, the tolerances, and where links lead."""

import re
from pathlib import Path

import pytest

from kvgpt.conformance import PROMISES, tolerances

HOME = Path(__file__).parent.parent
PAGES = [HOME / "README.md", HOME / "CHANGELOG.md", HOME / "CONTRIBUTING.md", *sorted((HOME / "docs").glob("*.md"))]


def test_every_promise_is_listed_as_it_stands():
    page = (HOME / "docs" / "conformance.md").read_text()
    rows = re.findall(r"^\| `([A-Z]\d+-[a-z-]+)` \| (.*) \| (.*) \|$", page, flags=re.MULTILINE)
    assert {name: (sentence, needs) for name, sentence, needs in rows} == {
        name: (promise.sentence, ", ".join(sorted(promise.needs)) or "nothing") for name, promise in PROMISES.items()
    }


def test_every_tolerance_is_listed_as_it_stands():
    page = (HOME / "docs" / "testing.md").read_text()
    for name, line in tolerances.TABLE.items():
        assert f"| {name} | {line.value:g} | {line.unit} | {line.derivation} | `{line.bug}` |" in page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        there = page.parent / name if name else page
        assert there.exists(), f"{page.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", there.read_text(), flags=re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{page.name} links to {target}"
