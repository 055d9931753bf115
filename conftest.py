"""The options are a plug-in of the package, so that they work here, in benchmarks/ and wherever kvgpt is installed."""

import pytest

pytest_plugins = ["kvgpt.options"]


@pytest.hookimpl(tryfirst=True)  # before Hypothesis loads the profile that was asked for
def pytest_configure() -> None:
    # Not before: `pytest-benchmark compare` imports this file without pytest, which must be there before Hypothesis is.
    from hypothesis import HealthCheck, Phase, settings  # noqa: PLC0415 - the same

    # Draws build models: a slow first example is no failure, and the same examples come on every machine.
    settings.register_profile("ci", deadline=None, derandomize=True, max_examples=32, print_blob=True)
    settings.register_profile(
        "deep", deadline=None, max_examples=5000, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.register_profile(
        "mutation", deadline=None, derandomize=True, max_examples=4, phases=[Phase.explicit, Phase.generate]
    )
    settings.load_profile("ci")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("kvgpt").addoption(
        "--kvgpt-data",
        metavar="DIR",
        help="for tests: WikiText-2's raw test split (wikitext-2-raw-test.txt), tiny Shakespeare (tinyshakespeare.txt) "
        "and the gpt2 encoding (tiktoken-cache/)",
    )
