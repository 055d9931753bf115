"""JSON: bounded in depth, and nothing that can be read in more than one way."""

import pytest

from kvgpt import strict_json


@pytest.mark.parametrize("depth", [strict_json.DEEPEST, 300, 100_000])
def test_json_is_read_to_a_depth_and_no_further(depth):
    inner = depth - 2  # the object itself, and its innermost value
    strict_json.parse('{"a":' + "[" * (strict_json.DEEPEST - 2) + "]" * (strict_json.DEEPEST - 2) + "}")
    with pytest.raises(ValueError, match="nested deeper than 64"):
        strict_json.parse('{"a":' + "[" * (inner + 2) + "]" * (inner + 2) + "}")


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ('{"a": 1e999}', "1e999 is beyond the largest number"),
        ('{"a": -Infinity}', "-Infinity is no JSON number"),
        ('{"a": {"b": 1, "b": 1}}', "key 'b' is there twice"),
        (b'{"a": "\xff"}', "codec can't decode"),
        ('{"a": ' + "9" * 4400 + "}", "limit"),
        ("7", "expected an object, found int"),
    ],
)
def test_json_that_reads_more_than_one_way_is_refused(written, message):
    with pytest.raises(ValueError, match=message):
        strict_json.parse(written)
