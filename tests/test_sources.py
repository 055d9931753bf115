"""The package's own sources: nothing in them runs what a file or a string says."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted([*ROOT.glob("kvgpt/**/*.py"), *ROOT.glob("benchmarks/*.py"), ROOT / "conftest.py"])
BUILT_IN = {"eval", "exec", "compile", "__import__"}
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml", "runpy"}
CALLS = {"torch.load", "os.system", "os.popen", "numpy.fromregex", "torch.hub.load", "pandas.read_pickle"}


def runs_code(source):
    """The lines of a source that could run what they are given, whatever names it imports the means under."""
    found, aliases = [], {"np": "numpy"}
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            aliases.update({name.asname: name.name for name in node.names if name.asname})
            found += [node.lineno for name in node.names if name.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom):
            aliases.update({name.asname or name.name: f"{node.module}.{name.name}" for name in node.names})
            found += [node.lineno] * ((node.module or "").split(".")[0] in MODULES)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            head, dot, rest = ast.unparse(node.func).partition(".")
            name = aliases.get(head, head) + dot + rest
            options = {one.arg: getattr(one.value, "value", True) for one in node.keywords}
            if name in CALLS | BUILT_IN or options.get("shell") or options.get("allow_pickle"):
                found.append(node.lineno)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_runs_what_it_reads(path):
    assert runs_code(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import load",
        "import yaml as y",
        "import torch\ntorch.load('x')",
        "import torch as t\nt.load('x', weights_only=True)",
        "from torch import load as read\nread('x')",
        "eval('1')",
        "exec('1')",
        "__import__('os')",
        "import os\nos.system('ls')",
        "from os import system\nsystem('ls')",
        "subprocess.run('ls', shell=True)",
        "subprocess.run('ls', shell=unknown)",
        "np.load('x', allow_pickle=True)",
    ],
)
def test_what_runs_code_is_found(source):
    assert runs_code(source)


@pytest.mark.parametrize(
    "source", ["model.eval()", "# pickle.load(x)", "'eval(1)'", "run(shell=False)", "re.compile('a')"]
)
def test_what_only_looks_like_it_is_not(source):
    assert runs_code(source) == []


def test_every_source_is_looked_at():
    assert ROOT / "kvgpt" / "checkpoint.py" in SOURCES and len(SOURCES) > 40
