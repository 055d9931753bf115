"""Recipes: those of the package say what they must, any other file is read strictly, and what is written reads back."""

import errno
import math
import os
import tomllib
from dataclasses import fields, replace

import damage
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvgpt import corpora, costs
from kvgpt.config import PRESETS, GPTConfig
from kvgpt.options import read_grid
from kvgpt.training import recipe, writing
from kvgpt.training.recipe import Evaluation, Recipe, evaluation_command, read
from kvgpt.training.schedule import Schedule

TRAININGS = [name for name in recipe.names() if not name.startswith("eval_")]
EVALUATIONS = [name for name in recipe.names() if name.startswith("eval_")]


def test_every_recipe_of_the_original_is_there_and_nanos_family():
    assert set(EVALUATIONS) == {"eval_gpt2", "eval_gpt2_medium", "eval_gpt2_large", "eval_gpt2_xl"}
    originals = {"train_gpt2", "finetune_shakespeare", "train_shakespeare_char"}
    assert set(TRAININGS) == originals | {"nano", "nano-rotary", "nano-cla2", "nano-cla4"}


@pytest.mark.parametrize("name", recipe.names())
def test_a_recipe_has_a_document_that_says_what_it_takes_and_what_to_expect(name):
    document = read(name).document
    assert len(document.splitlines()[0]) > 20 and document.splitlines()[1] == ""
    for heading in ("Data: ", "Expected: ", "Source: "):
        assert f"\n{heading}" in document
    assert name in EVALUATIONS or "\nCost: " in document
    assert all(len(line) <= 120 for line in (recipe.FOLDER / f"{name}.toml").read_text().splitlines())


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_is_of_a_corpus_that_is_known_and_a_model_of_its_encoding(name):
    made = read(name)
    assert made.name == name and made.corpus in corpora.KNOWN
    if made.init_from is None:
        vocab_size = 257 if made.corpus in ("embedded", "shakespeare-char") else 50257
        assert made.config().vocab_size == vocab_size
    else:
        assert made.init_from in PRESETS


def test_nano_is_trained_as_it_was():
    assert read("nano").schedule == read("nano-rotary").schedule == read("nano-cla2").schedule == Schedule()
    assert read("nano").config() == GPTConfig.preset("nano")
    assert read("nano-rotary").config() == GPTConfig.preset("nano-rotary")
    assert read("nano-cla2").config() == GPTConfig.preset("nano", sharing="cla2")
    assert read("nano-cla4").config() == GPTConfig.preset("nano", sharing="cla4")


def test_gpt2_is_trained_as_nanogpt_trains_it():
    made = read("train_gpt2")
    schedule = made.schedule
    assert made.config() == GPTConfig() and costs.parameters(made.config()) == 124_439_808
    assert schedule.batch_size * schedule.accumulate * 1024 == 491_520 and schedule.steps == 600_000
    assert schedule.rate(1999) == pytest.approx(6e-4, rel=1e-4) and schedule.rate(599_999) == pytest.approx(6e-5)
    assert (schedule.betas, schedule.weight_decay, schedule.clip) == ((0.9, 0.95), 0.1, 1.0)


def test_shakespeare_is_trained_by_character_and_tuned_at_a_constant_rate():
    made = read("train_shakespeare_char")
    assert (made.config().n_layer, made.config().n_head, made.config().n_embd) == (6, 6, 384)
    assert made.schedule.tokens(256) == 5000 * 64 * 256
    tuned = read("finetune_shakespeare").schedule
    assert tuned.batch_size * tuned.accumulate * 1024 == 32_768
    assert {tuned.rate(step) for step in range(20)} == {3e-5}
    with pytest.raises(ValueError, match="the config is that of gpt2-xl"):
        read("finetune_shakespeare").config()


@pytest.mark.parametrize("name", EVALUATIONS)
def test_an_evaluation_names_a_command_that_pytest_takes(name, pytestconfig):
    made = read(name)
    assert isinstance(made, Evaluation) and made.model == name.removeprefix("eval_").replace("_", "-")
    words = evaluation_command(made).split()
    assert words[:2] == ["pytest", "benchmarks/bench_perplexity.py"]
    parser = pytestconfig._parser
    options = parser.parse_known_args(words[1:])
    assert (options.kvgpt_model, options.kvgpt_corpus) == (made.model, "wikitext-2")
    assert options.kvgpt_variants == "v1,v2" and read_grid("quick")
    assert (pytestconfig.rootpath / words[1]).is_file()


GOOD = """# A document.
# Of two lines.

[model]
preset = "nano"
sharing = "cla2"

[data]
corpus = "embedded"

[schedule]
steps = 10
learning_rate = 1
betas = [0, 0.5]
"""


def written(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_file_is_read_into_a_recipe(tmp_path):
    made = read(str(written(tmp_path, GOOD)))
    schedule = Schedule(steps=10, learning_rate=1.0, betas=(0.0, 0.5))
    assert made == Recipe("mine", "A document.\nOf two lines.", "embedded", {"sharing": "cla2"}, "nano", None, schedule)
    assert type(made.schedule.learning_rate) is float


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "steps = 10",
            "stepz = 10",
            r"mine\.toml:12: \[schedule\] has no 'stepz': known: steps, batch_size, accumulate",
        ),
        ("steps = 10", "dropout = 0.2", r"mine\.toml:12: \[schedule\] has no 'dropout'"),
        ("steps = 10", "steps = 0", r"mine\.toml:12: steps=0: must be at least 1"),
        ("steps = 10", "steps = 10.0", r"mine\.toml:12: steps=10\.0: expected int"),
        ("steps = 10", "steps = true", r"mine\.toml:12: steps=True: expected int"),
        ("steps = 10", "steps = " + "9" * 30, r"mine\.toml:12: steps=a number beyond 64 bits: expected int"),
        ("steps = 10", "decay_steps = 0", r"mine\.toml:12: decay_steps=0: must be at least 1"),
        ("steps = 10", "weight_decay = nan", r"mine\.toml:12: weight_decay=nan: must be at least 0"),
        ("steps = 10", "clip = inf", r"mine\.toml:12: clip=inf: must be a positive number"),
        ("steps = 10", "final_fraction = 2", r"mine\.toml:12: final_fraction=2\.0: must be from 0 to 1"),
        ("steps = 10", 'dtype = "float16"', r"mine\.toml:12: dtype='float16': known: float32, bfloat16"),
        ("learning_rate = 1", "learning_rate = 0", r"mine\.toml:13: learning_rate=0\.0: must be a positive number"),
        ("[0, 0.5]", "[0.9]", r"mine\.toml:14: betas=\(0\.9,\): must be two numbers from 0 to below 1"),
        ("[0, 0.5]", '["a", 0]', r"mine\.toml:14: betas=\['a', 0\]: expected a list of float"),
        ("[0, 0.5]", "0.9", r"mine\.toml:14: betas=0\.9: expected a list of float"),
        ("steps = 10", "steps = [10]", r"mine\.toml:12: steps=\[10\]: expected int"),
        ('"nano"', '"nono"', r"mine\.toml:5: unknown preset 'nono': known: nano, nano-rotary"),
        ('"cla2"', '"cla1"', r"mine\.toml:6: unknown sharing 'cla1'"),
        ("sharing", "n_embd = 100\nn_head = 3\nsharing", r"mine\.toml:6: n_embd=100 is not a multiple of n_head=3"),
        ('preset = "nano"', "n_layer = 2", r"mine\.toml:4: \[model\] lacks 'n_head'"),
        ('preset = "nano"\n', 'init_from = "gpt2"\nn_layer = 2\n', r"mine\.toml:6: n_layer beside init_from"),
        ('"nano"', '"nano"\ninit_from = "gpt2"', r"mine\.toml:5: preset beside init_from: the checkpoint says it"),
        ('preset = "nano"\nsharing = "cla2"', 'init_from = "x"\nsharing = "y"', r"mine\.toml:6: unknown sharing 'y'"),
        ('corpus = "embedded"', "", r"mine\.toml:8: \[data\] lacks 'corpus'"),
        ('corpus = "embedded"', "corpus = 3", r"mine\.toml:9: corpus=3: expected str"),
        ("[data]", "[dada]", r"mine\.toml:8: unknown 'dada': known: \[model\], \[data\], \[schedule\]"),
        ("[model]", "seed = 3\n[model]", r"mine\.toml:4: unknown 'seed': known: \[model\]"),
        ("[model]", "data = 3\n[model]", r"mine\.toml: not TOML"),
        ("[schedule]", "[schedule", r"mine\.toml: not TOML: .*line 11"),
    ],
)
def test_a_file_that_says_something_else_is_refused_with_its_line(old, new, message, tmp_path):
    assert GOOD.count(old) >= 1
    with pytest.raises(ValueError, match=message):
        read(str(written(tmp_path, GOOD.replace(old, new, 1))))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"\xff", "not TOML"),
        ("schedule = 3", r"mine\.toml:1: schedule=3: expected a section, \[schedule\]"),
        ("# " + "x" * 2**16, "no recipe is that large"),
        ("x = " + "[" * 3000, "not TOML"),
        ("", r"\[data\] lacks 'corpus'"),
        ('[evaluation]\nmodel = "gpt2"', r"mine\.toml:1: \[evaluation\] lacks 'corpus'"),
        ('[evaluation]\nmodel = "gpt9"\ncorpus = "x"', r"mine\.toml:2: model='gpt9': known: nano"),
        ('[evaluation]\nmodel = "gpt2"\ncorpus = "x"\nmode = "y"', r"mine\.toml:4: mode='y': known: teacher_forced"),
        ('[evaluation]\nmodel = "gpt2"\ncorpus = "x"\nvariants = ["v9"]', r"mine\.toml:4: unknown variant 'v9'"),
        ('[evaluation]\nmodel = "gpt2"\ncorpus = "x"\n[schedule]', r"mine\.toml:4: unknown 'schedule': known: \[eval"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(text, message, tmp_path):
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match=message) as caught:
        damage.bounded(lambda: read(str(path)))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"), [("nobody", "unknown recipe 'nobody': known: .*train_gpt2"), ("no.toml", "cannot be read")]
)
def test_a_recipe_that_is_not_there_is_named(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        read(name)


LINES = ["[model]", "[data]", "[schedule]", "[evaluation]", "[[model]]", "[model.x]", 'preset = "nano"', "steps = 1"]
LINES += ['corpus = "x"', 'init_from = "y"', 'sharing = "cla2"', "n_layer = 3", "betas = [0.9, 0.9]", "a.b = 1"]
LINES += [f"{key} = {value}" for key in ("steps", "betas", "sharing", "n_head", "corpus") for value in damage.TOML]


@given(lines=st.lists(st.sampled_from(LINES), max_size=6), data=st.data())
def test_a_file_of_anything_is_refused_with_its_name_or_read(lines, data, tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / "mine.toml"
    text = "\n".join(lines).encode()
    path.write_bytes(data.draw(st.just(text) | damage.damaged(text) | damage.damaged(GOOD.encode())))
    if not damage.refused(lambda: read(str(path)), path):
        made = read(str(path))
        assert isinstance(made, Evaluation) or made.schedule.steps >= 1


# Written, and read back.

SCHEDULES = st.builds(
    Schedule,
    steps=st.integers(1, 10**9),
    learning_rate=st.floats(1e-12, 10),
    decay_steps=st.none() | st.integers(1, 10**9),
    weight_decay=st.floats(0, 1) | st.just(5e-324),
    betas=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)),
    dtype=st.sampled_from(["float32", "bfloat16"]),
)


@given(
    schedule=SCHEDULES,
    corpus=st.text(st.characters(codec="utf-8"), min_size=1, max_size=12),
    preset=st.sampled_from(sorted(PRESETS)),
    model=st.sampled_from([{}, {"sharing": "cla3"}, {"n_layer": 3, "block_size": 64}]),
    document=st.lists(st.text("ab é:#", max_size=9).map(str.strip), max_size=3),
)
def test_what_is_written_reads_back_the_same(schedule, corpus, preset, model, document, tmp_path_factory):
    path = tmp_path_factory.mktemp("written") / "mine.toml"
    made = Recipe("mine", "\n".join(["A document.", *document]), corpus, model, preset, None, schedule)
    writing.write(made, path)
    assert read(str(path)) == made
    assert set(tomllib.loads(path.read_text())["schedule" if schedule != Schedule() else "model"]) <= {
        one.name for one in fields(Schedule)
    } | {"preset", "sharing", "n_layer", "block_size"}


@pytest.mark.parametrize("name", TRAININGS)
def test_the_recipes_of_the_package_are_written_as_they_are_read(name, tmp_path):
    writing.write(read(name), tmp_path / f"{name}.toml")
    assert read(str(tmp_path / f"{name}.toml")) == read(name)


def test_a_recipe_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "mine.toml"
    writing.write(read("nano"), path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"mine\.toml is there already: name another --out, or add --overwrite"):
        writing.write(read("nano-cla2"), path)
    with pytest.raises(ValueError, match=r"a recipe is a \*\.toml file"):
        writing.write(read("nano"), tmp_path / "mine.txt")

    def full(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        writing.write(read("nano-cla2"), path, overwrite=True)
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("mine.toml", before)]


# The schedule.


def test_the_rate_stays_where_the_cosine_ended():
    schedule = Schedule(steps=300, learning_rate=1.0, warmup=0, final_fraction=0.1, decay_steps=100)
    assert schedule.rate(0) == 1.0 and schedule.rate(99) == pytest.approx(0.1) == schedule.rate(299)
    whole = replace(schedule, decay_steps=None)
    assert whole.rate(150) == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi * 150 / 299)) / 2)


def test_a_recipe_says_what_a_schedule_takes_in_tokens():
    assert Schedule(steps=3, batch_size=5, accumulate=7).tokens(11) == 3 * 5 * 7 * 11
