"""Names: aliases, canonical names, any order."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kvgpt
from kvgpt.recipes import ALIASES, ALIGNMENTS, ATTENTION_PATHS, STORAGES, Variant

variants = st.builds(
    Variant,
    st.sampled_from(sorted(set(STORAGES) - {"none"})),
    st.sampled_from(["cla2", "cla4"]),
    st.sampled_from([None, *ALIGNMENTS]),
    st.just(True),
    st.sampled_from([0, 1, 4]),
    st.sampled_from(ATTENTION_PATHS),
)


def test_the_aliases_are_those_of_the_original():
    assert {alias: Variant.parse(alias).canonical for alias in ALIASES} == {
        "v0": "none",
        "v1": "dense",
        "v2": "int8",
        "v3": "dense+cla2",
        "v4": "int8+cla2",
        "v3a": "dense+cla2+qalign",
        "v4a": "int8+cla2+qalign",
    }
    assert all(Variant.parse(alias).name == alias for alias in ALIASES)


@given(variant=variants, data=st.data())
def test_parts_may_come_in_any_order_and_print_in_one(variant, data):
    parts = data.draw(st.permutations(variant.canonical.split("+")))
    assert Variant.parse("+".join(parts)) == variant
    assert Variant.parse(variant.canonical).canonical == variant.canonical
    assert Variant.parse(variant.name) == variant


def test_every_named_variant_is_known_by_its_own_name():
    assert [variant.name for variant in kvgpt.variants().values()] == list(kvgpt.variants())


@pytest.mark.parametrize(
    "name",
    [
        "",
        "v1+v2",
        "dense++int8",
        "window+window",
        "sinks0",
        "window+sinks1+sinks2",
        "cla1",
        "cla100",
        "dense+cla2+cla4",
        "Dense",
        "int8+",
    ],
)
def test_what_is_no_variant_is_refused_and_the_known_ones_listed(name):
    with pytest.raises(ValueError, match=r"known: v0, v1, v2|two parts"):
        Variant.parse(name)


@pytest.mark.parametrize(
    "fields",
    [
        {"storage": "int3"},
        {"sharing": "pairs"},
        {"align": "qalign"},
        {"align": "calign"},
        {"align": "x"},
        {"attention": "x"},
        {"storage": "none", "window": True},
        {"sinks": 2},
        {"window": True, "sinks": -1},
    ],
)
def test_a_variant_that_cannot_be_is_refused(fields):
    with pytest.raises(ValueError, match=r"unknown|needs a sharing|keeps nothing|first tokens that a window keeps"):
        Variant(**fields)


def test_importing_the_package_its_options_and_its_report_brings_no_torch():
    code = (
        "import sys, kvgpt, kvgpt.options, kvgpt.record, kvgpt.costs, kvgpt.report.publication;"
        "assert kvgpt.variants()['v2'].storage == 'int8';"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names_are_what_they_are_called():
    assert all(getattr(kvgpt, name).__name__ == name for name in kvgpt.__all__)
    assert set(kvgpt.__all__) <= set(dir(kvgpt))
    with pytest.raises(AttributeError, match="module 'kvgpt' has no attribute 'nothing'"):
        _ = kvgpt.nothing


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_embd": 10}, "n_embd=10 is not a multiple of n_head=12"),
        ({"n_layer": 0}, "n_layer=0"),
        ({"n_kv_head": 5}, "n_head=12 is not a multiple of n_kv_head=5"),
        ({"n_kv_head": 0}, "n_kv_head=0"),
        ({"position_embedding": "alibi"}, "position_embedding='alibi'"),
        ({"align": "qalign"}, "needs a sharing"),
        ({"align": "calign"}, "align='calign' needs a sharing"),
        ({"align": "vague", "sharing": "cla2"}, "align='vague': known: None, 'qalign', 'calign'"),
    ],
)
def test_a_config_that_cannot_be_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        kvgpt.GPTConfig(**fields)
    with pytest.raises(ValueError, match="unknown preset 'huge': known: nano, nano-rotary, nano-cla2"):
        kvgpt.GPTConfig.preset("huge")


def test_a_short_last_group_owns_itself():
    config = kvgpt.GPTConfig(n_layer=5, sharing="cla2")
    assert (config.owners, config.slots, config.n_slot) == ((0, 0, 2, 2, 4), (0, 0, 1, 1, 2), 3)
