"""What is published: a wheel with all that it needs and no more, used from an empty folder outside the checkout."""

import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import kvgpt
from kvgpt.config import SISTERS

HOME = Path(__file__).parent.parent
FAMILY = [f"kvgpt/pretrained/{name}/" for name in ("nano", *SISTERS["nano"])]
LARGEST = 20e6  # bytes that nano and its sisters may have, all together


def run(*command, folder):
    """What it printed; it must end well."""
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """Built from a copy: setuptools leaves a build/ behind, and what lies in one goes into the next wheel."""
    source, out = tmp_path_factory.mktemp("source") / "kvgpt", tmp_path_factory.mktemp("dist")
    leave = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("kvgpt", "benchmarks"):
        shutil.copytree(HOME / name, source / name, ignore=leave)
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(HOME / name, source)
    own = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet")
    run(sys.executable, "-I", "-m", "pip", "wheel", *own, "--wheel-dir", str(out), str(source), folder=out)
    (made,) = out.glob("*.whl")
    return made


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    """The scripts of an environment that has the wheel, and from this one what the wheel depends on."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False, symlinks=True)
    paths = sysconfig.get_paths("venv", vars={"base": str(home), "platbase": str(home)})
    # Its path alone: the .pth files in there, and so an editable kvgpt, are not read.
    Path(paths["purelib"], "dependencies.pth").write_text(sysconfig.get_paths()["purelib"])
    own = ("--no-deps", "--no-index", "--disable-pip-version-check", "--quiet", "--ignore-installed")
    python = Path(paths["scripts"], "python")
    run(sys.executable, "-I", "-m", "pip", "--python", str(python), "install", *own, str(wheel), folder=home)
    # As pip writes it: unlike python -m pytest, it puts no folder of the user's on sys.path.
    pytest_itself = Path(paths["scripts"], "pytest")
    pytest_itself.write_text(f"#!{python}\nimport sys\nfrom pytest import main\nsys.exit(main())\n")
    pytest_itself.chmod(0o755)
    return Path(paths["scripts"])


@pytest.fixture
def outside(installed, tmp_path, monkeypatch):
    """Runs a command of that environment in a folder that has ``mymodule.py`` alone."""
    for name in ("PYTHONPATH", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "PYTEST_PLUGINS", "COVERAGE_PROCESS_START"):
        monkeypatch.delenv(name, raising=False)
    shutil.copy(HOME / "tests" / "mymodule.py", tmp_path)

    def command(program, *arguments):
        return run(str(installed / program), *map(str, arguments), folder=tmp_path)

    return command


def test_a_wheel_has_what_the_checkout_has(wheel):
    with zipfile.ZipFile(wheel) as archive:
        sizes = {one.filename: one.file_size for one in archive.infolist() if ".dist-info/" not in one.filename}
    files = [path for path in (HOME / "kvgpt").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    expected = {path.relative_to(HOME).as_posix(): path for path in files}
    expected |= {f"kvgpt/benchmarks/{path.name}": path for path in (HOME / "benchmarks").glob("*.py")}
    assert sizes == {name: path.stat().st_size for name, path in expected.items()}
    of_each = [sum(size for name, size in sizes.items() if name.startswith(folder)) for folder in FAMILY]
    assert all(of_each) and sum(of_each) <= LARGEST


def test_its_version_is_that_of_the_package_and_of_the_changelog(wheel):
    newest = re.search(r"^## (\S+)", (HOME / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert wheel.name == f"kvgpt-{kvgpt.__version__}-py3-none-any.whl"
    assert newest is not None and newest[1] == kvgpt.__version__


def test_it_is_the_wheel_that_runs(outside, installed):
    where = outside("python", "-c", "import kvgpt; print(kvgpt.__file__)")
    assert Path(where.strip()).is_relative_to(installed.parent)
    assert outside("kvgpt", "--version") == f"kvgpt {kvgpt.__version__}\n"


def test_doctor(outside):
    assert "torch" in outside("kvgpt", "doctor", "--device", "cpu")


def test_generate(outside):
    prompt = "The for statement"
    said = outside("kvgpt", "generate", "--prompt", prompt, "--max-new-tokens", 4)
    assert said.startswith(prompt) and len(said.rstrip("\n")) > len(prompt)


def test_the_kit_holds_a_cache_of_three_methods(outside):
    few = ("--kvgpt-examples", 4, "-p", "no:cacheprovider", "-q")
    said = outside("pytest", "--pyargs", "kvgpt.conformance", "--kvgpt-cache", "mymodule:MyCache", *few)
    assert re.search(r"\d\d passed", said) and "failed" not in said and "skipped" not in said
    assert "mymodule:MyCache was not asked for A2-crop" in said


def test_the_benchmarks_measure_it_and_a_report_shows_it(outside, tmp_path):
    short = ("--kvgpt-lengths=8", "--kvgpt-rounds=2", "--kvgpt-variants=v1", "--kvgpt-cache=mymodule:MyCache")
    asked = ("--benchmark-json=out.json", "-p", "no:cacheprovider", "-q")
    outside("pytest", "--pyargs", "kvgpt.benchmarks.bench_memory", *short, *asked)
    outside("kvgpt", "report", "out.json", "--out", "report")
    page = (tmp_path / "report" / "index.html").read_text()
    assert "mymodule:MyCache" in page and (tmp_path / "report" / "figures").is_dir()


def test_the_lowest_versions_are_those_that_are_tested():
    asked = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]["dependencies"]
    lowest = dict(re.match(r"([\w-]+)>=([\d.]+)", one).groups() for one in asked)
    pinned = dict(re.findall(r"^([\w-]+)==([\d.]+)", (HOME / "tests" / "minimum.txt").read_text(), flags=re.MULTILINE))
    assert pinned.keys() == lowest.keys()
    assert all(f"{pinned[name]}.".startswith(f"{version}.") for name, version in lowest.items()), (pinned, lowest)
