"""What is done to files before kvgpt must read them, drawn bytes and valid files changed, and what reading may cost."""

import json
import resource
import struct
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

from hypothesis import strategies as st

T = TypeVar("T")
LONGEST = 1.0  # seconds that a reader may take
LARGEST = 100 * 10**6  # bytes that it may allocate


def bounded(read: Callable[[], T]) -> T:
    """What ``read()`` comes to, once it is known to take no longer and to allocate no more than a reader may.

    It is called twice: tracing what Python allocates costs time. The process's own growth tells of what torch does.
    """
    resident, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        return read()
    finally:
        seconds = time.process_time() - begun
        grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident)
        tracemalloc.start()
        with suppress(ValueError):
            read()
        allocated = max(grown, tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert seconds < LONGEST, f"took {seconds:.1f} s"
        assert allocated < LARGEST, f"took {allocated / 1e6:.0f} MB"


def refused(read: Callable[[], Any], naming: object) -> bool:
    """Whether ``read()`` refuses: with a ValueError that names the file, and with nothing else; within bounds."""
    message = None
    try:
        bounded(read)
    except ValueError as error:
        message = str(error)
    assert message is None or str(naming) in message, f"does not name {naming}: {message}"
    return message is not None


@st.composite
def damaged(draw: st.DrawFn, valid: bytes) -> bytes:
    """``valid`` with bits flipped, parts cut out, repeated or moved, or cut short; or bytes that never were a file."""
    data = bytearray(valid)
    for _ in range(draw(st.integers(1, 4))):
        place, other = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        match draw(st.sampled_from(["flip", "flip", "cut out", "cut short", "insert", "splice", "nothing like it"])):
            case "flip" if place < len(data):
                data[place] ^= 1 << draw(st.integers(0, 7))
            case "cut out":
                del data[place:other]
            case "cut short":
                del data[place:]
            case "insert":
                data[place:place] = draw(st.binary(max_size=40))
            case "splice":
                data[place:place] = valid[place:other]
            case "nothing like it":
                data = bytearray(draw(st.binary(max_size=200)))
    return bytes(data)


class Raw(str):
    """JSON as it is to be written, whether it is JSON or not."""

    __slots__ = ()


class Object(list):  # type: ignore[type-arg]  # of pairs, so that a key can come twice
    """A JSON object by its (name, value) pairs."""


NUMBERS = [0, -1, 1, 2**20, 2**31, 2**63, 2**64, 10**400, 0.5, -1e308]
RAW = ["NaN", "-Infinity", "1e999", "-0", "1e-999", "9" * 4400, "[" * 500 + "]" * 500, '{"a":' * 900 + "1" + "}" * 900]
NAMES = ["", "..", "../model.safetensors", "/etc/passwd", ".safetensors", "a/b", "\ud800", "é\n", "1e5", "x" * 300]
NAMES += ["x" * 300 + ".safetensors", "\0.safetensors", "../b.safetensors", "b.safetensors/"]
awkward = st.one_of(
    st.sampled_from([None, True, False]),
    st.builds(list) | st.builds(lambda: [[]]) | st.builds(Object) | st.builds(lambda: Object([("a", 1)])),
    st.sampled_from(NUMBERS) | st.integers(-3, 70),
    st.sampled_from(NAMES) | st.text(max_size=5),
    st.sampled_from(RAW).map(Raw),
)


@st.composite
def altered(draw: st.DrawFn, valid: Any) -> bytes:
    """The JSON of ``valid`` with up to three of its parts replaced by awkward ones, dropped, or there twice."""
    tree = [_tree(valid)]
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(tree))
        holder, place = places[draw(st.integers(0, len(places) - 1))]
        what = draw(st.sampled_from(["replace", "replace", "rename", "drop", "double"]))
        if what == "drop" and holder is not tree:
            del holder[place]
            continue
        name, value = holder[place] if isinstance(holder, Object) else ("", holder[place])
        if what != "double":
            value = draw(awkward)
        if what == "rename":
            name, value = draw(st.sampled_from(NAMES)), (holder[place][1] if isinstance(holder, Object) else value)
        made = (name, value) if isinstance(holder, Object) else value
        if what == "double" and holder is not tree:
            holder.append(made)
        else:
            holder[place] = made
    return _spelt(tree[0]).encode("utf-8", "surrogatepass")


@st.composite
def tensor_files(draw: st.DrawFn, valid: bytes) -> bytes:
    """A file of safetensors whose header is altered, or says another length than it has, or whose bytes are damaged."""
    if draw(st.booleans()):
        return draw(damaged(valid))
    (size,) = struct.unpack("<Q", valid[:8])
    header, body = draw(altered(json.loads(valid[8 : 8 + size]))), valid[8 + size :]
    size = draw(st.sampled_from([len(header)] * 6 + [0, len(header) + 1, len(valid), 10**8, 2**63, 2**64 - 1]))
    return struct.pack("<Q", size) + header + body


KEYS = ["model", "weights", "device", "dtype", "variants", "lengths", "batch_sizes", "warmup", "rounds", "corpus"]
KEYS += ["autoregressive_tokens", "caches", "max_tokens", "no.such", "a.b.c", "model.x", ""]
TOML = [
    "true",
    "-1",
    "0",
    "1.5",
    "nan",
    "inf",
    "9" * 4400,
    "1979-05-27",
    "[]",
    "[[[[]]]]",
    "{}",
    '{"a" = 1}',
    '"',
    "[true]",
]
TOML += [
    '["v1"]',
    '["v9"]',
    "[1]",
    "[[1]]",
    '["os:system"]',
    "[" * 600 + "]" * 600,
    f'"{"x" * 300}"',
    '"\\u0000"',
    "[0]",
]
TOML += ['"../.."', '"random:x"', "[99999999999999999999]", '"nano"', "7", "[4, 8]"]


def grids() -> st.SearchStrategy[bytes]:
    """TOML files that say something of a grid, not always in TOML."""
    line = st.builds("{} = {}".format, st.sampled_from(KEYS), st.sampled_from(TOML))
    written = st.lists(line, min_size=1, max_size=4).map(lambda lines: "\n".join(lines).encode())
    return written | written.flatmap(damaged) | st.binary(max_size=60)


def specs() -> st.SearchStrategy[str]:
    """Plug-ins as nobody should name them. The words are of modules that do no harm when they are imported."""
    word = st.sampled_from(
        ["os", "kvgpt", "caches", "dense", "DenseCache", "KVCache", "base", "zz", "", "é", "\0", "__doc__"]
    )
    pieces = st.lists(word | st.sampled_from([".", ":", "+", "..", "cla2", "cla1", " "]), max_size=9)
    return pieces.map("".join)


def _tree(value: Any) -> Any:
    if isinstance(value, dict):
        return Object((name, _tree(inner)) for name, inner in value.items())
    return [_tree(inner) for inner in value] if isinstance(value, list) else value


def _places(holder: Any) -> Iterator[tuple[Any, int]]:
    for place, inner in enumerate(holder):
        yield holder, place
        child = inner[1] if isinstance(holder, Object) else inner
        if isinstance(child, list):
            yield from _places(child)


def _spelt(value: Any) -> str:
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, Object):
        return "{" + ",".join(f"{json.dumps(name)}:{_spelt(inner)}" for name, inner in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_spelt, value)) + "]"
    return json.dumps(value)
