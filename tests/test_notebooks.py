"""The notebooks run from top to bottom, and print what is stored in them."""

import contextlib
import io
import json
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def cells(path):
    return json.loads(path.read_text())["cells"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_prints_what_is_stored(path):
    space = {}
    for number, cell in enumerate(cells(path)):
        if cell["cell_type"] != "code":
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("".join(cell["source"]), f"{path.name}[{number}]", "exec"), space)  # noqa: S102 - our own
        stored = "".join("".join(output["text"]) for output in cell["outputs"])
        assert printed.getvalue() == stored, f"cell {number}: execute the notebook again"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_one_of_format_4_5_and_small(path):
    document = json.loads(path.read_text())
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5) and path.stat().st_size < 20_000
    assert document["metadata"]["kernelspec"]["name"] == "python3"
    names = [cell["id"] for cell in document["cells"]]
    assert len(set(names)) == len(names) and all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in names)
    counts = [cell["execution_count"] for cell in document["cells"] if cell["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1)), "executed once, in order"
    for cell in document["cells"]:
        fields = {"cell_type", "id", "metadata", "source"}
        assert cell.keys() == fields | ({"execution_count", "outputs"} if cell["cell_type"] == "code" else set())
        for output in cell.get("outputs", []):
            assert (output["output_type"], output["name"]) == ("stream", "stdout")


def test_both_notebooks_are_there():
    assert [path.stem for path in NOTEBOOKS] == ["scaling_laws", "transformer_sizing"]
