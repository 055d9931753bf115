"""The API reference has every public name, and each says what it is: ``tox -e docs`` builds it, warnings are errors."""

import inspect
import re
from functools import reduce
from importlib import import_module
from pathlib import Path

import pytest

import kvgpt

FOLDER = Path(__file__).parent.parent / "docs" / "api"
DIRECTIVE = re.compile(r"^\.\. (?:py:|auto)(data|class|function|exception|module):: ([\w.]+)$", flags=re.MULTILINE)
MODULE = re.compile(r"^\.\. (?:py:module|automodule|currentmodule):: ([\w.]+)$")


def listed():
    """(module, name) of everything that the pages name; name is None for a module."""
    for page in sorted(FOLDER.glob("*.rst")):
        module = "kvgpt"
        for line in page.read_text().splitlines():
            if found := MODULE.match(line):
                module = found[1]
                yield module, None
            elif found := DIRECTIVE.match(line):
                yield module, found[2]


LISTED = list(listed())


@pytest.mark.parametrize(("module", "name"), LISTED, ids=str)
def test_what_the_pages_name_is_there(module, name):
    if name is None:
        assert import_module(module).__doc__
        return
    if name.startswith("kvgpt."):
        module, _, name = name.rpartition(".")
    assert reduce(getattr, name.split("."), import_module(module)) is not None


@pytest.mark.parametrize("name", kvgpt.__all__)
def test_every_public_name_is_on_a_page(name):
    assert ("kvgpt", name) in LISTED or ("kvgpt", f"kvgpt.{name}") in LISTED


@pytest.mark.parametrize("name", kvgpt.__all__)
def test_every_public_name_and_member_says_what_it_is(name):
    named = getattr(kvgpt, name)
    members = {name: named}
    if inspect.isclass(named):
        members |= {f"{name}.{own}": member for own, member in vars(named).items() if not own.startswith("_")}
    code = {own: getattr(one, "__func__", one) for own, one in members.items()}
    silent = [own for own, one in code.items() if (callable(one) or isinstance(one, property)) and not one.__doc__]
    assert not silent
