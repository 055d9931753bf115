"""A few questions, and the recipe of a model of the size that was asked for."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kvgpt.config import PRESETS, GPTConfig
from kvgpt.training import sizing
from kvgpt.training.recipe import Recipe

SUFFIXES = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}
DEVICES = ("cpu", "cuda")
TOGETHER = ("size", "context", "budget")  # what must go together
NEEDED = ("n_layer", "n_head", "n_embd", "vocab_size", "block_size")  # of a model without a preset
USUAL = GPTConfig()


@dataclass(frozen=True)
class Text:
    """What is known of a corpus before it is opened: its encoding's vocabulary, and tokens to train on, if they are."""

    vocab_size: int
    tokens: int | None


@dataclass(frozen=True)
class Question:
    """What is asked, the usual answer, and what an answer comes to; ValueError for one that will not do."""

    asked: str
    usual: str
    understood: Callable[[str], Any]


def configure(
    ask: Callable[[str], str] | None,
    look: Callable[[str], Text],
    operations_a_second: Callable[[str], float | None],
    given: Mapping[str, str] | None = None,
    tell: Callable[[str], None] = print,
) -> Recipe:
    """The recipe that the answers come to.

    ``ask`` takes a question and gives the answer, the usual one where it is empty; wrong ones are asked again. What is
    ``given`` is not asked, and what is wrong there is a ValueError; with ``ask`` None, what is not given is usual.
    ``look`` says what is known of a corpus, or raises ValueError; ``operations_a_second`` what a device does.
    """
    given = given or {}
    answers: dict[str, Any] = {}
    for name, question in _questions(look).items():
        answers[name] = _answered(name, question, ask, given, tell)
    while True:
        try:
            return _recipe(answers, operations_a_second)
        except ValueError as error:  # answers that are right each for itself do not go together
            again = [] if ask is None else [name for name in TOGETHER if name not in given]
            if not again:
                raise
            tell(str(error))
        for name in again:
            answers[name] = _answered(name, _questions(look)[name], ask, given, tell)


def whole(text: str) -> int:
    """``30M`` as 30,000,000."""
    match = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)\s*([kmb]?)", text.strip().lower().replace(",", ""))
    number = round(float(match[1]) * SUFFIXES[match[2]]) if match else 0
    if number < 1:
        raise ValueError(f"{text!r}: a number is expected, such as 124M, 1.5B or 300k")
    return number


def budget(text: str) -> tuple[str, float] | None:
    """``auto`` as None, ``2h`` as ("seconds", 7200.0), ``1B`` as ("tokens", 1e9)."""
    if text.strip().lower() == "auto":
        return None
    if hours := re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)\s*h(?:ours?)?", text.strip().lower()):
        if float(hours[1]) > 0:
            return "seconds", 3600 * float(hours[1])
        raise ValueError(f"{text!r}: no time at all")
    try:
        return "tokens", float(whole(text))
    except ValueError as error:
        raise ValueError(f"{text!r}: hours, such as 2h, tokens, such as 1B, or auto are expected") from error


def _questions(look: Callable[[str], Text]) -> dict[str, Question]:
    return {
        "corpus": Question(
            "Corpus: a name or a text file", "embedded", lambda text: (text.strip(), look(text.strip()))
        ),
        "size": Question(f"Size: parameters, such as 30M, or one of {', '.join(PRESETS)}", "2M", _size),
        "context": Question("Context: tokens that the model sees at once", "256", _context),
        "budget": Question("Budget: hours such as 2h, tokens such as 1B, or auto: 20 a parameter", "auto", budget),
        "device": Question(f"Device: {' or '.join(DEVICES)}", "cpu", _device),
    }


def _answered(
    name: str,
    question: Question,
    ask: Callable[[str], str] | None,
    given: Mapping[str, str],
    tell: Callable[[str], None],
) -> Any:
    if name in given or ask is None:
        try:
            return question.understood(given.get(name, question.usual))
        except ValueError as error:
            raise ValueError(f"--{name} {error}") from error
    while True:
        try:
            return question.understood(ask(f"{question.asked} [{question.usual}]: ").strip() or question.usual)
        except ValueError as error:
            tell(str(error))


def _size(text: str) -> int | str:
    return text.strip() if text.strip() in PRESETS else whole(text)


def _context(text: str) -> int:
    number = whole(text)
    if not 8 <= number <= 2**16:
        raise ValueError(f"{text!r}: a context of 8 to {2**16} tokens is expected")
    return number


def _device(text: str) -> str:
    if text.strip().lower() not in DEVICES:
        raise ValueError(f"{text!r}: known: {', '.join(DEVICES)}")
    return text.strip().lower()


def _recipe(answers: Mapping[str, Any], operations_a_second: Callable[[str], float | None]) -> Recipe:
    (corpus, text), size, device = answers["corpus"], answers["size"], answers["device"]
    sizes = {"vocab_size": text.vocab_size, "block_size": answers["context"]}
    config = GPTConfig.preset(size, **sizes) if isinstance(size, str) else sizing.shape(size, **sizes)
    kind, amount = answers["budget"] or ("", 0.0)
    made = sizing.plan(
        config,
        device,
        text.tokens,
        tokens=int(amount) if kind == "tokens" else None,
        seconds=amount if kind == "seconds" else None,
        operations_a_second=operations_a_second(device) if kind == "seconds" else None,
    )
    model = {name: value for name, value in vars(config).items() if name in NEEDED or value != getattr(USUAL, name)}
    return Recipe(corpus, _document(made, corpus, text, device), corpus, model, schedule=made.schedule)


def _document(made: sizing.Plan, corpus: str, text: Text, device: str) -> str:
    a_step = made.tokens // made.schedule.steps
    times = "" if text.tokens is None else f", {made.tokens / text.tokens:.2g} times through the text"
    return "\n".join(
        [
            f"A GPT of {made.parameters:,} parameters on {corpus}.",
            "",
            f"Cost: {made.schedule.steps:,} steps of {a_step:,} tokens on {device}, {made.tokens:,} tokens in all,",
            f"  {made.tokens / made.parameters:.2g} a parameter{times}; {made.operations:.2g} operations.",
            "Expected: nothing is known of it before it is trained.",
            "Source: the rules of kvgpt/training/sizing.py, by `kvgpt train --new`.",
        ]
    )
