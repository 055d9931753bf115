"""Bytes that a CPU counts itself: what perf writes, what it is told, and why there may be no count."""

import shutil
import stat
import sys

import pytest

from kvgpt.measure import perf

FAKE = """#!{python}
import os, signal, sys, time
from pathlib import Path
words = sys.argv[1:]
orders, answers = map(int, words[words.index("--control") + 1].removeprefix("fd:").split(","))
Path({notes!r}).write_text(repr(words))
if {refuses!r}:
    print({refuses!r})
    sys.exit(255)
def end(*_):
    Path(words[words.index("-o") + 1]).write_text({said!r})
    sys.exit(0)
signal.signal(signal.SIGINT, end)
for _ in range(2):
    order = os.read(orders, 16)
    with Path({notes!r}).open("a") as file:
        file.write(order.decode())
    os.write(answers, b"ack\\n\\0")
time.sleep(60)
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a perf on PATH that says this, or ends with that."""

    def made(said="", refuses=""):
        script, notes = tmp_path / "perf", tmp_path / "notes.txt"
        script.write_text(FAKE.format(python=sys.executable, notes=str(notes), said=said, refuses=refuses))
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        return notes

    return made


def test_lines_that_the_last_cache_did_not_have_are_bytes(install):
    notes, ran = install("# started\n\n12345,,cache-misses:u,100,100.00,,\n"), []
    assert perf.counted(lambda: ran.append(notes.read_text().splitlines()[-1])) == 64 * 12345
    assert ran[0].endswith("enable") and notes.read_text().splitlines()[-1] == "disable", (
        "it counts around the body alone"
    )
    assert "sudo" not in notes.read_text() and perf.why_not() is None


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("<not supported>,,cache-misses,0,100.00,,\n", "is not supported: a virtual machine"),
        ("<not counted>,,cache-misses,0,100.00,,\n", "is not counted"),
        ("17,,page-faults,0,100.00,,\n", "no line for cache-misses"),
        ("", "nothing at all"),
    ],
)
def test_what_is_not_counted_says_why(install, said, why):
    install(said)
    with pytest.raises(perf.Uncountable, match=why):
        perf.counted(lambda: None)
    assert why in perf.why_not()


def test_what_the_system_does_not_permit_names_the_fix(install, tmp_path, monkeypatch):
    install(refuses="Access to performance monitoring is limited.")
    monkeypatch.setattr(perf, "PARANOID", tmp_path / "absent")
    assert "limited" in perf.why_not()
    monkeypatch.setattr(perf, "PARANOID", tmp_path / "paranoid")
    perf.PARANOID.write_text("4\n")
    assert "is 4: an administrator may set it to 2" in perf.why_not()


def test_without_perf_the_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no perf on PATH: install" in perf.why_not()


def test_a_body_that_raises_leaves_no_perf_behind(install):
    install("1,,cache-misses,0,100.00,,\n")
    with pytest.raises(ZeroDivisionError):
        perf.counted(lambda: 1 / 0)


@pytest.mark.skipif(shutil.which("perf") is None, reason="needs perf: install linux-perf")
def test_the_real_perf_counts_or_says_why(monkeypatch):
    monkeypatch.setattr(perf, "EVENT", "page-faults")  # counted by the kernel: no processor is asked
    why = perf.why_not()
    assert why is None or "perf" in why
    if why is None:
        assert perf.counted(lambda: bytearray(64 * 2**20)) >= 64
