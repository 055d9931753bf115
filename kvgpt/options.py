"""The pytest options, the same in ``tests/``, in ``benchmarks/`` and wherever kvgpt is installed.

A pytest plug-in: it imports no torch, does nothing unless asked, and turns what is wrong into a usage error.
"""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from kvgpt import corpora
from kvgpt.config import INT8, PRESETS, SHIPPED, SISTERS
from kvgpt.recipes import ALIASES, Variant

GRIDS = ("quick", "seed", "full")
DEVICES = ("cpu", "cuda")
DTYPES = ("float32", "bfloat16")
LARGEST_GRID = 2**16  # bytes of a TOML file
LEAST = {"warmup": 0, "rounds": 1, "autoregressive_tokens": 2, "precision": 0.0, "seconds": 0.0, "repeats": 1}
NOT_IN_A_GRID = (  # what runs, and on which machines
    "caches",
    "beside",
    "max_tokens",
    "resume",
    "memory_budget",
    "lock_clocks",
    "tensor_parallel",
    "rank_seconds",
)
IMPORTED = "kvgpt-imported"  # a report's property: which plug-in was imported, and from which file
SETTINGS = pytest.StashKey["Settings"]()
pytest_plugins = ["kvgpt.outside"]


@dataclass(frozen=True)
class Settings:
    """What a run measures: a grid, with what the options override.

    A timed case takes ``rounds``, then more until the interval of the median is within ``precision`` of it, relative,
    and stops after ``seconds`` even where that means fewer. ``tensor_parallel`` is no option: it counts the ranks that
    ``torchrun`` started, of which none waits for the others longer than ``rank_seconds``.
    """

    model: str = "nano"
    weights: str = ""
    device: str = "cpu"
    dtype: str = "float32"
    variants: tuple[str, ...] = tuple(ALIASES)
    caches: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    lengths: tuple[int, ...] = (32, 64, 128, 256)
    batch_sizes: tuple[int, ...] = (1,)
    warmup: int = 1
    rounds: int = 7
    precision: float = 0.02
    seconds: float = 10.0
    repeats: int = 1
    resume: bool = False
    peers: bool = False
    memory_budget: int | None = None
    lock_clocks: bool = False
    tensor_parallel: int = 1
    rank_seconds: float = 45.0
    corpus: str = ""
    max_tokens: int | None = None
    autoregressive_tokens: int = 16384
    contexts: tuple[float, ...] = (0.5, 1, 1.25, 2, 4)

    @property
    def random_weights(self) -> bool:
        return self.weights.startswith("random")

    @property
    def coded_weights(self) -> bool:
        """Whether the weights are int8 codes."""
        return self.weights.endswith(INT8)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("kvgpt", "KV caches under test and under measurement")
    add = group.addoption
    add("--kvgpt-variants", metavar="LIST", help=f"variants, such as v0,v1,int8+cla2 (default: {','.join(ALIASES)})")
    add(
        "--kvgpt-cache",
        metavar="SPEC",
        action="append",
        help="a cache of your own, pkg.module:Class[+cla2]; repeatable",
    )
    add("--kvgpt-model", metavar="MODEL", help=f"{', '.join(PRESETS)}, or a checkpoint's directory")
    add(
        "--kvgpt-beside",
        metavar="LIST",
        help="models that bench_sharing compares with it, names or directories (default: for nano, its sisters)",
    )
    add(
        "--kvgpt-weights",
        metavar="KIND",
        help=f"shipped, pretrained or random[:SEED] (default: what the model has); as int8 codes: shipped{INT8}",
    )
    add("--kvgpt-device", metavar="DEVICE", help="cpu (default) or cuda")
    add("--kvgpt-dtype", metavar="DTYPE", help="float32 (default) or bfloat16")
    add("--kvgpt-lengths", metavar="LIST", help="new tokens after a prompt of one, such as 32,64")
    add("--kvgpt-batch-sizes", metavar="LIST", help="such as 1,8,64")
    add("--kvgpt-corpus", metavar="CORPUS", help=f"{', '.join(corpora.KNOWN)}, or a text file (default: embedded)")
    add(
        "--kvgpt-max-tokens",
        metavar="N",
        help="tokens of text to score (default: all, and the grid's autoregressively)",
    )
    add("--kvgpt-grid", metavar="GRID", help=f"{', '.join(GRIDS)} or a TOML file (default: quick)")
    add("--kvgpt-warmup", metavar="N", help="rounds before those that count")
    add("--kvgpt-rounds", metavar="N", help="rounds that count")
    add("--kvgpt-repeats", metavar="N", help="fresh processes that each measure every case once (default: 1)")
    add("--kvgpt-resume", action="store_true", help="go on where the journal beside --benchmark-json ends")
    add("--kvgpt-peers", action="store_true", help="measure other systems with the same weights beside the variants")
    add("--kvgpt-memory-budget", metavar="BYTES", help="what capacity is found for on a CPU (default: a small one)")
    add("--kvgpt-lock-clocks", action="store_true", help="lock a GPU's clocks for this run, where that is permitted")
    add(
        "--kvgpt-rank-seconds",
        metavar="S",
        help="under torchrun, how long a rank waits for the others before it gives up (default: 45)",
    )
    add("--kvgpt-examples", metavar="N", type=int, default=40, help="inputs drawn for each promise (default: 40)")


def pytest_configure(config: pytest.Config) -> None:
    try:
        config.stash[SETTINGS] = settings(config)
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Where others than this process imported a plug-in, what they imported."""
    if config.pluginmanager.hasplugin("dsession"):  # of pytest-xdist
        reports = [report for kind in terminalreporter.stats.values() for report in kind]
        properties = [one for report in reports for one in getattr(report, "user_properties", ())]
        for line in dict.fromkeys(str(value) for name, value in properties if name == IMPORTED):
            terminalreporter.write_line(f"kvgpt: {line}")


def settings(config: pytest.Config) -> Settings:
    """The settings that the command line asks for; ValueError names an unknown value and the known ones."""

    def given(name: str) -> Any:
        return config.getoption(f"--kvgpt-{name}")

    grid, asked = read_grid(given("grid") or "quick"), dict[str, Any]()
    for name in ("model", "weights", "device", "dtype", "corpus"):
        if given(name) is not None:
            asked[name] = given(name)
    for name in ("lengths", "batch-sizes"):
        if given(name) is not None:
            numbers = [_whole(f"--kvgpt-{name}", part) for part in given(name).split(",")]
            asked[name.replace("-", "_")] = tuple(numbers)
    for name in ("resume", "peers", "lock-clocks"):
        if given(name):
            asked[name.replace("-", "_")] = True
    whole = (("warmup", 0), ("rounds", 1), ("max-tokens", 2), ("repeats", 1), ("memory-budget", 1))
    for name, least in whole:
        if given(name) is not None:
            asked[name.replace("-", "_")] = _whole(f"--kvgpt-{name}", given(name), least)
    if given("rank-seconds") is not None:
        asked["rank_seconds"] = float(_whole("--kvgpt-rank-seconds", given("rank-seconds")))
    if given("variants") is not None:
        asked["variants"] = tuple(given("variants").split(","))
    elif given("cache"):
        asked["variants"] = ()
    if given("beside") is not None:
        asked["beside"] = tuple(name for name in given("beside").split(",") if name)
    chosen = _checked(replace(grid, caches=tuple(given("cache") or ()), **asked))
    chosen = replace(chosen, weights=_weights(chosen))
    if given("beside") is None and chosen.weights == "shipped":
        chosen = replace(chosen, beside=SISTERS.get(chosen.model, ()))
    return chosen


def read_grid(name: str) -> Settings:
    """A grid by name, or from a TOML file of the same keys. It names no plug-in: a file must not choose what runs."""
    if name in GRIDS:
        data = (resources.files("kvgpt") / "grids" / f"{name}.toml").read_bytes()
    elif name.endswith(".toml") and _there(name, Path.is_file):
        with Path(name).open("rb") as file:
            data = file.read(LARGEST_GRID + 1)
    else:
        raise ValueError(f"unknown grid {name!r}: known: {', '.join(GRIDS)}, or the path of a TOML file")
    if len(data) > LARGEST_GRID:
        raise ValueError(f"grid {name}: more than {LARGEST_GRID} bytes: no grid is that large")
    try:
        table = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"grid {name}: not TOML: {error}") from error
    known = {field.name: type(field.default) for field in fields(Settings) if field.name not in NOT_IN_A_GRID}
    for key, value in table.items():
        if key not in known:
            raise ValueError(f"grid {name}: unknown key {key!r}: known: {', '.join(known)}")
        if type(value) not in ({tuple: (list,), float: (int, float)}.get(known[key], (known[key],))):
            raise ValueError(f"grid {name}: {key}={value!r}: expected {known[key].__name__}")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    try:
        return _checked(Settings(**values))
    except ValueError as error:
        raise ValueError(f"grid {name}: {error}") from error


def _checked(chosen: Settings) -> Settings:
    """``chosen`` with every name known, and each variant under the name that it prints."""
    for name in chosen.variants:
        if not isinstance(name, str):
            raise ValueError(f"unknown variant {name!r}: expected names, such as {', '.join(ALIASES)}")
    names = tuple(Variant.parse(name).name for name in chosen.variants)
    for what, value, known in (("device", chosen.device, DEVICES), ("dtype", chosen.dtype, DTYPES)):
        if value not in known:
            raise ValueError(f"unknown {what} {value!r}: known: {', '.join(known)}")
    for model in (chosen.model, *chosen.beside):
        if model not in PRESETS and not _there(model, Path.is_dir):
            raise ValueError(f"unknown model {model!r}: known: {', '.join(PRESETS)}, or a checkpoint's directory")
    for what, numbers in (("lengths", chosen.lengths), ("batch sizes", chosen.batch_sizes)):
        if not numbers or any(type(number) is not int or number < 1 for number in numbers):
            raise ValueError(f"{what} {numbers!r}: expected whole numbers of at least 1")
    for what, least in LEAST.items():
        if not getattr(chosen, what) >= least or getattr(chosen, what) == float("inf"):
            raise ValueError(f"{what}={getattr(chosen, what)}: must be at least {least}")
    if any(type(one) not in (int, float) or not 0 < one <= 1024 for one in chosen.contexts):
        raise ValueError(f"contexts {chosen.contexts!r}: expected numbers of contexts above 0, up to 1024")
    if chosen.corpus and not corpora.there(chosen.corpus):
        raise ValueError(f"no corpus {chosen.corpus!r}: known: {', '.join(corpora.KNOWN)}, {corpora.OTHERS}")
    return replace(chosen, variants=tuple(dict.fromkeys(names)))


def _there(name: str, is_kind: Callable[[Path], bool]) -> bool:
    try:
        return is_kind(Path(name))
    except OSError:  # longer than a name can be, or in a folder that may not be read
        return False


def _weights(chosen: Settings) -> str:
    """``shipped``, ``pretrained`` or ``random:<seed>``, and ``+int8`` after it where they are codes."""
    usual = "shipped" if chosen.model in SHIPPED else "pretrained"
    codes = INT8 if chosen.coded_weights else ""
    if codes and chosen.peers:
        raise ValueError(
            f"weights {chosen.weights!r}: other systems have no such codes: leave out --kvgpt-peers or {codes}"
        )
    kind, colon, seed = (chosen.weights.removesuffix(INT8) or usual).partition(":")
    if kind == "random":
        return f"random:{_whole('--kvgpt-weights', seed, least=0) if colon else 0}{codes}"
    if kind != usual or colon:
        raise ValueError(
            f"model {chosen.model!r} has no weights {chosen.weights!r}: known: {usual}, random, random:SEED, each "
            f"also with {INT8}"
        )
    return usual + codes


def _whole(what: str, value: str, least: int = 1) -> int:
    try:
        number = int(value)
    except ValueError:
        number = least - 1
    if number < least:
        raise ValueError(f"{what} {value!r}: expected whole numbers of at least {least}")
    return number
