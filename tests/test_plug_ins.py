"""Plug-ins: imported where an argument names them and nowhere else, named with their file, refused in words."""

import json
import sys

import damage
import pytest
import torch
from hypothesis import example, given, settings
from safetensors.torch import load_file, save_file

import kvgpt
from kvgpt import cli, record, registry
from kvgpt.conformance import strategies
from kvgpt.options import read_grid

pytest_plugins = ["pytester"]

SOUND = "from kvgpt.caches.dense import DenseCache\n\nclass Outer:\n    class Inner(DenseCache):\n        pass\n"
MODEL = strategies.model(kvgpt.GPTConfig(1, 1, 4, 7, 6), 0, torch.float32)


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module that can be imported, under a name that no other test has imported."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name, source):
        (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    return write


@settings(max_examples=5 * settings.default.max_examples)
@given(spec=damage.specs())
@example(spec="kvgpt.caches.dense:DenseCache+cla2")
def test_a_spec_of_anything_is_refused_by_name_or_is_a_cache(spec):
    if not damage.refused(lambda: registry.plug_in(spec), repr(spec.partition("+")[0])[1:-1]):
        found, _ = registry.plug_in(spec)
        assert issubclass(found, kvgpt.KVCache) and not found.__abstractmethods__


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "no cache at ''"),
        (":", "no cache at ':'"),
        ("a:b:c", "no cache at 'a:b:c'"),
        ("..x:Y", r"no cache at '\.\.x:Y': .*relative"),
        ("os:system", "'os:system' is no subclass of kvgpt.KVCache"),
        ("os:path.join", "'os:path.join' is no subclass of kvgpt.KVCache"),
        ("os:", "no cache at 'os:'"),
        ("kvgpt.__main__:x", "no cache at 'kvgpt.__main__:x'"),
        ("kvgpt.caches.base:KVCache", "'kvgpt.caches.base:KVCache' does not define append, nbytes, read"),
        ("kvgpt.caches.dense:DenseCache+", "no cache at 'kvgpt.caches.dense:DenseCache[+]': unknown sharing ''"),
        ("kvgpt.caches.dense:DenseCache+cla2+cla2", r"unknown sharing 'cla2\+cla2'"),
    ],
)
def test_a_spec_that_is_none_is_refused(spec, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["kvgpt"])
    with pytest.raises(ValueError, match=message):
        registry.plug_in(spec)


def test_a_class_that_lacks_a_method_is_refused_by_the_engine_too():
    with pytest.raises(ValueError, match="KVCache does not define append, nbytes, read: a cache needs"):
        kvgpt.Engine(MODEL, kvgpt.KVCache)


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("raise RuntimeError('no GPU here')", "RuntimeError: no GPU here"),
        ("import sys; sys.exit('told to leave')", "SystemExit: told to leave"),
        ("import pytest; pytest.skip('not today', allow_module_level=True)", "Skipped: not today"),
        ("def (", "SyntaxError: "),
        ("import no_such_module_at_all", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
        ("def __getattr__(name): raise RuntimeError('odd ' + name)", "RuntimeError: odd "),
        ("\0", "SyntaxError|ValueError"),
    ],
)
def test_a_module_that_raises_is_named_with_the_cause(module, source, cause):
    with pytest.raises(ValueError, match=f"no cache at 'raising_mine:Mine'.*({cause})"):
        registry.plug_in(f"{module('raising_mine', source)}:Mine")


def test_ctrl_c_during_an_import_is_ctrl_c(module):
    name = module("interrupted_mine", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        registry.plug_in(f"{name}:Mine")


def test_a_class_inside_another_is_named_as_python_names_it(module, tmp_path):
    spec = f"{module('nested_mine', SOUND)}:Outer.Inner"
    found, sharing = registry.plug_in(f"{spec}+cla2")
    assert found.__qualname__ == "Outer.Inner" and sharing == "cla2"
    assert registry.resolve(found).name == spec
    assert registry.imported(f"{spec}+cla2") == f"imported {spec}+cla2 from {tmp_path / 'nested_mine.py'}"


@pytest.fixture
def trap(module, tmp_path):
    """A spec whose module leaves a mark when it is imported; the fixture's end fails where there is one."""
    marker = tmp_path / "ran"
    module("trap_mine", f"open({str(marker)!r}, 'w').close()")
    yield "trap_mine:Outer.Inner"
    assert not marker.exists(), "a file chose what was imported"


def test_no_grid_names_a_plug_in(trap, tmp_path):
    path = tmp_path / "grid.toml"
    for line in (f'caches = ["{trap}"]', f'variants = ["{trap}"]', f'model = "{trap}"', f'"kvgpt-cache" = "{trap}"'):
        path.write_text(line)
        with pytest.raises(ValueError, match="unknown "):
            read_grid(str(path))


def test_no_results_file_names_a_plug_in(trap, tmp_path, capsys):
    path = tmp_path / "out.json"
    metrics = {name: record.metric(name, value) for name, value in (("total_latency", 4.0), ("per_token_latency", 0.5))}
    workload = {"model": trap, "weights": trap, "dtype": "float32", "device": "cpu", "batch_size": 1, "new_tokens": 8}
    made = record.record("latency", trap, trap, workload, metrics)
    benchmark = {"fullname": trap, "params": {"variant": trap}, "extra_info": {"kvgpt": made}}
    path.write_text(json.dumps({"benchmarks": [benchmark], "machine_info": {}}))
    assert cli.main(["plot", str(path), "--out", str(tmp_path / "report")]) == 0
    assert trap in capsys.readouterr().out, "it is a name, and printed as one"


def test_no_checkpoint_and_no_saved_cache_names_a_plug_in(trap, tmp_path):
    MODEL.save_pretrained(tmp_path)
    (tmp_path / "kvgpt-manifest.json").unlink()
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"kvgpt": {"cache": trap}}))
    with pytest.raises(ValueError, match="expected n_kv_head, position_embedding, sharing, align"):
        kvgpt.GPT.from_pretrained(tmp_path)
    engine, path = kvgpt.Engine(MODEL), tmp_path / "cache.safetensors"
    engine.save(path)
    raw = path.read_bytes()
    header = json.loads(json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]["kvgpt-cache"])
    save_file(load_file(path), path, {"kvgpt-cache": json.dumps(header | {"cache": trap})})
    with pytest.raises(ValueError, match=f"cache is '{trap}'"):
        engine.load(path)


def test_no_variant_of_the_command_is_a_plug_in(trap, capsys):
    assert cli.main(["generate", "--prompt", "The ", "--variant", trap]) == 2
    assert "unknown variant" in capsys.readouterr().err


@pytest.fixture
def run(pytester, pytestconfig, monkeypatch):
    """Pytest as a user runs it, from a folder of his own that holds ``mine.py``."""
    pytester.makepyfile(mine=SOUND, broken="raise RuntimeError('no GPU here')")
    pytester.makeini("[pytest]\npython_functions = test_* bench_*\npython_files = test_*.py bench_*.py\n")
    monkeypatch.setenv("PYTHONPATH", str(pytestconfig.rootpath))  # this tree's kvgpt, wherever another is installed

    def start(*arguments):
        return pytester.runpytest_subprocess("--collect-only", *arguments)

    return start


@pytest.fixture(params=["kit", "benchmarks"])
def target(request, pytestconfig):
    if request.param == "kit":
        return ["--pyargs", "kvgpt.conformance"]
    return [str(pytestconfig.rootpath / "benchmarks"), "-p", "kvgpt.options", f"--confcutdir={pytestconfig.rootpath}"]


def test_a_run_says_what_was_imported_and_from_which_file(run, target, pytester):
    result = run(*target, "--kvgpt-cache=mine:Outer.Inner+cla2")
    assert result.ret == 0, result.stdout.str() + result.stderr.str()
    result.stdout.fnmatch_lines([f"kvgpt: imported mine:Outer.Inner+cla2 from {pytester.path / 'mine.py'}"])


def test_the_kit_without_a_cache_is_a_usage_error(run):
    result = run("--pyargs", "kvgpt.conformance")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*no cache to check: name one with --kvgpt-cache*"])


def test_a_run_with_a_module_that_raises_is_a_usage_error(run):
    result = run("--pyargs", "kvgpt.conformance", "--kvgpt-cache=broken:Mine")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*no cache at 'broken:Mine': * (RuntimeError: no GPU here)"])
