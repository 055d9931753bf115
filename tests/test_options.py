"""The options: a grid, what overrides it, and usage errors that list what is known."""

import pytest

from kvgpt import corpora
from kvgpt.options import SETTINGS, read_grid

pytest_plugins = ["pytester"]


def chosen(pytester, *arguments):
    return pytester.parseconfigure("-p", "kvgpt.options", *arguments).stash[SETTINGS]


def test_the_default_is_nano_on_a_cpu_with_the_seven_variants(pytester):
    settings = chosen(pytester)
    assert (settings.model, settings.weights, settings.device, settings.dtype) == ("nano", "shipped", "cpu", "float32")
    assert settings.variants == ("v0", "v1", "v2", "v3", "v4", "v3a", "v4a")


def test_the_seed_grid_is_the_originals():
    settings = read_grid("seed")
    assert len(settings.lengths) == 16 and settings.lengths[-1] == 1024
    assert (settings.warmup, settings.rounds, settings.autoregressive_tokens, settings.batch_sizes) == (
        5,
        10,
        4096,
        (1,),
    )


def test_options_override_the_grid(pytester):
    settings = chosen(
        pytester,
        "--kvgpt-grid=seed",
        "--kvgpt-model=gpt2",
        "--kvgpt-weights=random",
        "--kvgpt-variants=cla2+int8,v1,dense",
        "--kvgpt-lengths=16,8",
        "--kvgpt-batch-sizes=2",
        "--kvgpt-max-tokens=99",
        "--kvgpt-rounds=3",
        "--kvgpt-dtype=bfloat16",
    )
    assert settings.variants == ("v4", "v1"), "canonical names and repeats become one name each"
    assert (settings.lengths, settings.batch_sizes, settings.max_tokens, settings.rounds) == ((16, 8), (2,), 99, 3)
    assert (settings.model, settings.weights, settings.dtype, settings.warmup) == ("gpt2", "random:0", "bfloat16", 5)


def test_a_cache_of_ones_own_takes_the_place_of_the_variants_unless_they_are_named(pytester):
    assert chosen(pytester, "--kvgpt-cache=my.caches:Mine").variants == ()
    both = chosen(pytester, "--kvgpt-cache=my.caches:Mine+cla2", "--kvgpt-variants=v1")
    assert (both.caches, both.variants) == (("my.caches:Mine+cla2",), ("v1",))


def test_a_grid_may_be_a_file(pytester):
    path = pytester.makefile(".toml", grid='model = "gpt2"\nweights = "random:7"\nlengths = [4]\n')
    settings = chosen(pytester, f"--kvgpt-grid={path}")
    assert (settings.model, settings.weights, settings.lengths) == ("gpt2", "random:7", (4,))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--kvgpt-variants=v1,v9", "unknown variant 'v9' (at 'v9'): known: v0, v1"),
        ("--kvgpt-model=gpt5", "unknown model 'gpt5': known: nano, nano-rotary, nano-cla2"),
        ("--kvgpt-device=tpu", "unknown device 'tpu': known: cpu, cuda"),
        ("--kvgpt-dtype=int8", "unknown dtype 'int8': known: float32, bfloat16"),
        ("--kvgpt-weights=borrowed", "has no weights 'borrowed': known: shipped, random, random:SEED"),
        ("--kvgpt-weights=random:x", "expected whole numbers of at least 0"),
        ("--kvgpt-weights=pretrained+int8", "has no weights 'pretrained+int8': known: shipped, random"),
        ("--kvgpt-weights=shipped+int4", "has no weights 'shipped+int4'"),
        ("--kvgpt-lengths=32,x", "--kvgpt-lengths 'x': expected whole numbers"),
        ("--kvgpt-lengths=0", "--kvgpt-lengths '0': expected whole numbers"),
        ("--kvgpt-rounds=0", "--kvgpt-rounds '0'"),
        ("--kvgpt-rank-seconds=0", "--kvgpt-rank-seconds '0'"),
        ("--kvgpt-grid=huge", "unknown grid 'huge': known: quick, seed, full"),
        ("--kvgpt-corpus=novel", "no corpus 'novel': known: embedded, wikitext-2"),
    ],
)
def test_an_unknown_value_is_a_usage_error_that_lists_the_known_ones(pytester, option, message):
    result = pytester.runpytest_subprocess("-p", "kvgpt.options", option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert message in result.stderr.str()


def test_a_prepared_corpus_is_known_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    grid = tmp_path / "grid.toml"
    grid.write_text('corpus = "my-books"')
    with pytest.raises(ValueError, match="no corpus 'my-books'"):
        read_grid(str(grid))
    corpora.prepared("my-books").mkdir(parents=True)
    (corpora.prepared("my-books") / corpora.DESCRIPTION).write_text("{}")
    assert read_grid(str(grid)).corpus == "my-books"


@pytest.mark.parametrize(
    ("asked", "named"),
    [("shipped+int8", "shipped+int8"), ("random+int8", "random:0+int8"), ("random:7+int8", "random:7+int8")],
)
def test_weights_as_codes_have_a_name_of_their_own(pytester, asked, named):
    settings = chosen(pytester, f"--kvgpt-weights={asked}")
    assert settings.weights == named and settings.coded_weights
    assert settings.random_weights == named.startswith("random")


def test_peers_are_not_measured_beside_codes(pytester):
    result = pytester.runpytest_subprocess("-p", "kvgpt.options", "--kvgpt-weights=shipped+int8", "--kvgpt-peers")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "other systems have no such codes: leave out --kvgpt-peers or +int8" in result.stderr.str()


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ("lengths = [", "not TOML"),
        ("length = [3]", "unknown key 'length': known: model, weights"),
        ('lengths = "32"', "lengths='32': expected tuple"),
        ("lengths = [0]", "expected whole numbers of at least 1"),
        ('variants = ["v9"]', "unknown variant 'v9'"),
    ],
)
def test_a_broken_grid_is_named(tmp_path, grid, message):
    path = tmp_path / "grid.toml"
    path.write_text(grid)
    with pytest.raises(ValueError, match=message):
        read_grid(str(path))
