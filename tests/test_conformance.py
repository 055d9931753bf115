"""Every built-in variant keeps every promise, and so do caches that kvgpt has never seen."""

import pytest
from hypothesis import settings

import kvgpt
from kvgpt.conformance import DTYPES, PROMISES, Broken, Op, Scene, Subject, again, asked_of, check_cache

COMPOSED = ("int8+cla2+window+sinks2",)
# Half of the examples is enough of what is made of parts that are asked in full, and a quarter of int8's cache with
# other codecs, but for what those could break.
COMBINED = (
    *("v3a", "v4", "v4a", "dense+cla2+calign", "int8+cla2+calign"),
    *("dense+matmul", "int8+window", "int8-unfused", *COMPOSED),
)
RECODED = ("int4", "k8v4", "fp8")
OTHERS = (
    "none+cla3",
    "dense+cla4",
    "int8+cla3+matmul",
    "none+cla2+qalign",
    "k8v4+cla4+calign",
    "dense-cat+cla2",
    "dense-cat+window",
    "int4+cla2",
    "k8v4+cla2+window",
)
CASES = [
    pytest.param(promise, Subject(name, dtype), id=f"{name}-{dtype}-{promise.name}")
    for name in (*kvgpt.variants(), *COMPOSED)
    for dtype in DTYPES
    for promise in asked_of(Subject(name, dtype))[0]
]


@pytest.mark.parametrize(("promise", "subject"), CASES)
def test_a_built_in_variant_keeps_its_promises(promise, subject):
    fewer = 2 if subject.cache in COMBINED else 4 if subject.cache in RECODED and promise.code[0] not in "BDT" else 1
    promise(subject, settings.default.max_examples // fewer)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("promise", ["A1-chunks", "C3-shared-model", "I1-life"])
def test_other_compositions_answer_as_their_oracle_says(promise, name):
    PROMISES[promise](Subject(name), settings.default.max_examples)


def test_together_the_variants_are_asked_for_every_promise_but_those_of_kinds_that_are_not_built_in():
    asked = {case.values[0].name for case in CASES}
    assert set(PROMISES) - asked == {"A14-graph"}


def test_a_broken_promise_says_what_on_which_input_and_how_to_see_it_again():
    class Short(kvgpt.caches.dense.DenseCache):
        def read(self, layer):
            k, v = super().read(layer)
            return k[:, :, 1:], v[:, :, 1:]

    with pytest.raises(Broken) as caught:
        PROMISES["A2-crop"](Subject(Short))
    story = str(caught.value)
    for part in ("A2-crop", "breaks a promise in float64 on cpu", "promised:  After crop(n)", "happened:", "smallest:"):
        assert part in story
    assert "from kvgpt.conformance import Scene, again\n" in story and "again('A2-crop', " in story
    inputs = story.split("smallest:")[1].split("see again", maxsplit=1)[0].strip()
    scene = eval(inputs.split("scene=")[1].split("), ")[0] + ")", {"Scene": Scene})  # noqa: S307 - our own words
    assert scene.n_layer == scene.batch == 1, "the smallest"
    with pytest.raises((AssertionError, RuntimeError, ValueError, IndexError)):
        again("A2-crop", Short, scene=scene, sizes=(1,), kept=1, more=(1,))


def test_again_takes_a_program_and_says_which_promises_there_are():
    again(
        "I1-life",
        "v2",
        scene=Scene(),
        program=(Op("feed", n=3), Op("fork"), Op("crop", cache=1, n=1), Op("feed", 1, 2)),
    )
    with pytest.raises(ValueError, match="no promise 'A99-none': known: "):
        again("A99-none", "v1")


def test_inputs_are_the_same_in_every_run_unless_a_seed_is_given():
    drawn = []

    class Watching(kvgpt.caches.dense.DenseCache):
        def append(self, layer, k, v):
            drawn[-1].append(tuple(k.shape))
            super().append(layer, k, v)

    for seed in (None, None, 1, 2):
        drawn.append([])
        PROMISES["A1-chunks"](Subject(Watching), 10, seed)
    assert drawn[0] == drawn[1] and drawn[2] != drawn[3]


def test_check_cache_raises_with_every_story_and_then_the_report():
    class Doubles(kvgpt.caches.dense.DenseCache):
        def append(self, layer, k, v):
            super().append(layer, 2 * k, v)

    with pytest.raises(Broken) as caught:
        kvgpt.check_cache(Doubles, examples=3, dtypes=("float64",))
    story = str(caught.value)
    assert story.count("breaks a promise in float64") >= 5
    assert " broken; " in story and "  kept       D1-bytes-held" in story


def test_a_lossy_cache_without_a_map_is_told_how_far_its_answers_depend_on_the_cut():
    class Coarse(kvgpt.caches.dense.DenseCache):
        lossy = True

        def append(self, layer, k, v):
            super().append(layer, (4 * k).round() / 4, v if v.size(2) > 1 else 0.5 * v)

    report = kvgpt.check_cache(Coarse, examples=2, dtypes=("float64",))
    (remark,) = report.remarks
    assert "lossy without round_trip()" in remark and f"  remark     {remark}" in str(report)
    gap = float(remark.split("differ by ")[1].split(" ")[0])
    assert 0.01 < gap < 10
    assert "A1-chunks" in report.not_asked and "B1-read-is-round-trip" in report.not_asked


def test_a_report_names_what_was_kept_and_what_was_not_asked():
    report = check_cache("v1", examples=2, dtypes=("float64",))
    assert "v1 keeps " in str(report) and "A1-chunks" in str(report) and "not declared: lossy" not in str(report)
    assert "A9-window                not declared: window" in str(report)
