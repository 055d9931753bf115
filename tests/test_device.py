"""The device's stable facts that come from folders of the system."""

from kvgpt.measure import device


def caches(folder, *found):
    for number, (level, kind, size) in enumerate(found):
        (folder / f"index{number}").mkdir()
        for name, text in (("level", level), ("type", kind), ("size", size)):
            (folder / f"index{number}" / name).write_text(f"{text}\n")
    return device.last_level_cache("cpu", folder)


def test_the_last_level_cache_is_the_largest_level_that_holds_data(tmp_path):
    levels = [(1, "Data", "32K"), (1, "Instruction", "64K"), (2, "Unified", "1024K"), (3, "Unified", "32768K")]
    assert caches(tmp_path, *levels) == 32 * 2**20


def test_sizes_come_in_two_units(tmp_path):
    assert caches(tmp_path, (3, "Unified", "96M")) == 96 * 2**20


def test_caches_of_instructions_alone_are_none(tmp_path):
    assert device.last_level_cache("cpu", tmp_path / "absent") is None
    assert caches(tmp_path, (4, "Instruction", "64M")) is None
    (tmp_path / "index1").mkdir()  # that says nothing
    assert device.last_level_cache("cpu", tmp_path) is None
