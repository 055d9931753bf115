"""From a size to a recipe: published rules give published models back, and the questions end in a file that reads."""

import argparse
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kvgpt import costs
from kvgpt.cli import configuring
from kvgpt.config import GPTConfig
from kvgpt.training import configurator, sizing
from kvgpt.training.configurator import Text, configure
from kvgpt.training.recipe import read


@pytest.mark.parametrize(
    ("parameters", "vocab_size", "block_size", "expected"),
    [
        (124_000_000, 50257, 1024, (12, 12, 768)),  # GPT-2
        (10_800_000, 257, 256, (6, 6, 384)),  # nanoGPT's, for Shakespeare by character
    ],
)
def test_known_sizes_come_out_as_the_published_models(parameters, vocab_size, block_size, expected):
    config = sizing.shape(parameters, vocab_size, block_size)
    assert (config.n_layer, config.n_head, config.n_embd) == expected


@given(
    parameters=st.floats(5, 10).map(lambda power: int(10**power)),
    vocab_size=st.sampled_from([257, 50257]),
    block_size=st.sampled_from([32, 256, 1024, 8192]),
)
def test_a_shape_is_close_to_what_was_asked_or_the_closest_is_named(parameters, vocab_size, block_size):
    refused = ""
    try:
        config = sizing.shape(parameters, vocab_size, block_size)
    except ValueError as error:
        refused = str(error)
    if refused:
        found = int(refused.partition(" has ")[2].partition(": ask")[0].replace(",", ""))
        assert abs(found / parameters - 1) > 0.1 and "for a shorter context" in refused
        return
    assert config.n_layer >= 2 and abs(costs.parameters(config) / parameters - 1) <= 0.17
    assert config.head_dim in (32, 64) and (config.vocab_size, config.block_size) == (vocab_size, block_size)


def test_rates_are_those_that_the_rules_were_fitted_to():
    inner = costs.matrices(GPTConfig())
    assert sizing.learning_rate(inner) == pytest.approx(6.9e-4), "GPT-3 (125M): 6e-4"
    assert sizing.learning_rate(costs.matrices(sizing.shape(10_800_000, 257, 256))) == pytest.approx(9.8e-4)
    assert sizing.learning_rate(10**10) > 0
    assert sizing.critical_batch(inner) == pytest.approx(2e8 / 2.866 ** (1 / 0.21), rel=0.01)


def test_gpt2_gets_twenty_tokens_a_parameter_in_batches_of_half_a_million():
    made = sizing.plan(GPTConfig(), "cuda")
    a_step = made.schedule.batch_size * made.schedule.accumulate * 1024
    assert a_step == 2**19 and made.tokens == pytest.approx(20 * 124_439_808, rel=0.001)
    assert made.schedule.dtype == "bfloat16" and made.schedule.betas == (0.9, 0.95)
    assert made.operations == pytest.approx(made.tokens * 3 * (2 * (85e6 + 38.6e6) + 4 * 768 * 12 * 512.5), rel=0.01)


def test_a_text_is_gone_through_sixteen_times_at_most():
    made = sizing.plan(sizing.shape(10_800_000, 257, 256), corpus_tokens=1_003_854)
    assert made.tokens == pytest.approx(16 * 1_003_854, rel=0.01)
    assert made.schedule.steps >= 2000 and made.schedule.betas == (0.9, 0.99)


def test_hours_become_tokens_at_two_fifths_of_what_the_device_does():
    config = sizing.shape(10_800_000, 257, 256)
    one = sizing.plan(config, seconds=3600, operations_a_second=1e12)
    assert one.operations == pytest.approx(0.4 * 3600 * 1e12, rel=0.01)
    assert sizing.plan(config, seconds=7200, operations_a_second=1e12).tokens == pytest.approx(2 * one.tokens, rel=0.01)
    with pytest.raises(ValueError, match="is not known: say tokens, not hours"):
        sizing.plan(config, seconds=3600)
    with pytest.raises(ValueError, match="10 tokens are fewer than one context of 256"):
        sizing.plan(config, tokens=10)


@given(
    parameters=st.floats(5.5, 9).map(lambda power: int(10**power)),
    block_size=st.sampled_from([64, 1000, 4096]),
    device=st.sampled_from(["cpu", "cuda"]),
    tokens=st.none() | st.floats(4, 12).map(lambda power: int(10**power)),
)
def test_any_plan_trains_about_as_many_tokens_as_it_says(parameters, block_size, device, tokens):
    try:
        config = sizing.shape(parameters, 257, block_size)
    except ValueError:
        assume(False)
    made = sizing.plan(config, device, tokens=tokens)
    wanted = tokens or 20 * made.parameters
    assert wanted / 2 <= made.tokens <= wanted or made.schedule.steps == 1
    assert 0 <= made.schedule.warmup <= made.schedule.steps
    a_step = made.schedule.batch_size * made.schedule.accumulate * block_size
    assert a_step <= max(2**19, block_size)


# The questions.


class Answers:
    """Answers to questions as they come; what was asked and what was said."""

    def __init__(self, *answers):
        self.answers, self.asked, self.said = list(answers), [], []

    def __call__(self, question):
        self.asked.append(question)
        answer = self.answers.pop(0)
        if isinstance(answer, type):
            raise answer
        return answer


def look(name):
    if name == "nothing":
        raise ValueError("'nothing': no such corpus")
    return Text(257, 1_000_000)


def asked(answers, **given):
    return configure(answers, look, lambda device: 1e12, given, answers.said.append)


def test_empty_answers_are_the_usual_ones():
    answers = Answers("", "", "", "", "")
    made = asked(answers)
    assert made.corpus == "embedded" and 0.85 < costs.parameters(made.config()) / 2e6 < 1.15
    assert made.config().block_size == 256 and answers.said == [] and len(answers.asked) == 5
    assert all("[" in question and question.endswith("]: ") for question in answers.asked)


def test_wrong_answers_are_asked_again():
    answers = Answers("nothing", "play", "huge", "-3", "10.8M", "3", "256", "two hours", "0h", "1h", "tpu", "cuda")
    made = asked(answers)
    assert len(answers.said) == 7 and answers.answers == []
    assert answers.said[0] == "'nothing': no such corpus" and "'tpu': known: cpu, cuda" in answers.said[-1]
    assert made.config().n_embd == 384 and made.schedule.dtype == "bfloat16" and made.corpus == "play"
    assert made.schedule.tokens(256) == pytest.approx(
        0.4 * 3600e12 / (3 * (2 * 10.7e6 + 4 * 384 * 6 * 128.5)), rel=0.02
    )


def test_answers_that_do_not_go_together_are_asked_again():
    answers = Answers("", "200k", "32k", "", "", "200k", "256", "")
    made = asked(answers)
    assert len(answers.said) == 1 and "the closest with 257 tokens and a context of 32,000" in answers.said[0]
    assert made.config().block_size == 256 and answers.answers == []


def test_what_is_given_is_not_asked():
    answers = Answers("", "")
    made = asked(answers, size="gpt2", context="1k", device="cuda")
    assert [question.partition(":")[0] for question in answers.asked] == ["Corpus", "Budget"]
    assert made.config() == GPTConfig.preset("gpt2", vocab_size=257, block_size=1000)
    rotary = configure(None, look, lambda device: None, {"size": "nano-rotary"})
    assert rotary.config() == GPTConfig.preset("nano-rotary")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": "x"}, "--size 'x': a number is expected, such as 124M"),
        ({"size": "0"}, "--size '0': a number is expected"),
        ({"corpus": "nothing"}, "--corpus 'nothing': no such corpus"),
        ({"size": "200k", "context": "32k"}, "the closest with 257 tokens"),
        ({"budget": "1h"}, "is not known: say tokens, not hours"),
        ({"size": "20B"}, "20,000,000,000 parameters: the rules are for"),
    ],
)
def test_what_is_given_wrong_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        configure(None, look, lambda device: None, given)


@pytest.mark.parametrize(
    ("text", "number"), [("30M", 30_000_000), ("1.5b", 1_500_000_000), ("124,439,808", 124_439_808), ("300 k", 300_000)]
)
def test_numbers_are_read_as_people_write_them(text, number):
    assert configurator.whole(text) == number
    assert configurator.budget(text) == ("tokens", number)


# The command's part.


def options(*words):
    parser = argparse.ArgumentParser()
    parser.add_argument("--corpus")
    parser.add_argument("--out", type=configuring.Path)
    parser.add_argument("--overwrite", action="store_true")
    configuring.add_options(parser)
    return parser.parse_args(["--new", *map(str, words)])


@pytest.fixture
def typed(monkeypatch):
    """``typed(*answers)``: what the user answers."""

    def given(*answers):
        answering = Answers(*answers)
        monkeypatch.setattr("builtins.input", answering)
        return answering

    return given


def test_a_size_and_a_corpus_are_enough(tmp_path, capsys, typed):
    answering = typed()
    (tmp_path / "play.txt").write_text("To be, or not to be. " * 5000)
    path = tmp_path / "my.toml"
    configuring.new(options("--size", "30M", "--corpus", tmp_path / "play.txt", "--out", path))
    made = read(str(path))
    assert answering.asked == [] and made.corpus == str(tmp_path / "play.txt")
    assert 0.85 < costs.parameters(made.config()) / 30e6 < 1.15 and made.config().vocab_size == 257
    assert made.schedule.tokens(256) == pytest.approx(16 * 0.9 * 21 * 5000, rel=0.02)
    assert f"train it with `kvgpt train {path}`" in capsys.readouterr().out
    with pytest.raises(ValueError, match="is there already"):
        configuring.new(options("--size", "30M", "--out", path))


def test_questions_end_in_a_file(tmp_path, monkeypatch, typed):
    monkeypatch.chdir(tmp_path)
    answering = typed("shakespeare", "30M", "512", "", "cuda")
    configuring.new(options())
    assert len(answering.asked) == 5 and read("recipe.toml").config().vocab_size == 50257


@pytest.mark.parametrize(("stop", "raised"), [(EOFError, ValueError), (KeyboardInterrupt, KeyboardInterrupt)])
def test_questions_that_are_left_write_nothing(stop, raised, tmp_path, typed):
    typed("embedded", "2M", stop)
    with pytest.raises(raised):
        configuring.new(options("--out", tmp_path / "my.toml"))
    assert list(tmp_path.iterdir()) == []


def test_a_large_text_is_for_gpt2s_encoding_and_an_unknown_one_is_named(tmp_path):
    with (tmp_path / "large.txt").open("wb") as file:
        file.truncate(44 * 10**6)
    assert configuring.look(str(tmp_path / "large.txt")) == Text(50257, 9_000_000)
    with pytest.raises(ValueError, match="'nobody': no such corpus: known: embedded, wikitext-2, openwebtext"):
        configuring.look("nobody")


def test_the_rate_of_this_device_is_measured():
    rate = configuring.rate("cpu")
    assert rate is not None and 1e8 < rate < 1e14 and math.isfinite(rate)
