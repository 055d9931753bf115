"""Looks: told apart in colour, without colour, by eyes that lack a cone, on white and on the dark page."""

import itertools

import pytest
from colour_vision import distance

from kvgpt.peers import PEERS
from kvgpt.recipes import OTHERS, STYLES, styles, variants
from kvgpt.report.colours import DARK, LEAST_CONTRAST, PALE, PHASES, TONES, contrast, lightened

WHITE = "#FFFFFF"
LEAST_DISTANCE = 0.08  # in OKLab: four times what two shades side by side need
LOOKS = {**STYLES, **{f"stranger {number}": look for number, look in enumerate(OTHERS)}}
SHADES = {"on white": lambda colour: colour, "on the dark page": lightened}


def test_contrast_is_that_of_wcag():
    assert contrast("#000000", WHITE) == contrast(WHITE, "#000000") == pytest.approx(21.0)
    assert contrast("#777777", WHITE) == pytest.approx(4.48, abs=0.005)
    assert contrast("#123456", "#123456") == 1.0


def test_every_variant_and_every_peer_has_a_look_of_its_own():
    assert set(STYLES) == {*variants(), *PEERS}


def test_names_without_a_look_get_one_each_in_the_order_in_which_they_come():
    found = styles(["x:Y", "v1", "x:Y", "a:B"])
    assert found == {"x:Y": OTHERS[0], "v1": STYLES["v1"], "a:B": OTHERS[1]}
    many = styles(f"stranger {number}" for number in range(len(OTHERS) + 1))
    assert list(many.values()) == [*OTHERS, OTHERS[0]]


def test_no_two_looks_share_a_marker_or_a_colour():
    for part in ("marker", "colour"):
        shown = [getattr(look, part) for look in LOOKS.values()]
        assert len(shown) == len(set(shown))


@pytest.mark.parametrize("shade", SHADES.values(), ids=SHADES)
def test_lines_of_one_kind_have_colours_that_any_eye_tells_apart(shade):
    alike = [
        f"{one} and {other}: {apart:.3f}"
        for (one, a), (other, b) in itertools.combinations(LOOKS.items(), 2)
        if a.line == b.line and (apart := distance(shade(a.colour), shade(b.colour))) < LEAST_DISTANCE
    ]
    assert not alike


@pytest.mark.parametrize("shade", SHADES.values(), ids=SHADES)
def test_phases_have_colours_that_any_eye_tells_apart(shade):
    alike = [
        f"{one} and {other}: {apart:.3f}"
        for one, other in itertools.combinations(PHASES, 2)
        if (apart := distance(shade(PHASES[one]), shade(PHASES[other]))) < LEAST_DISTANCE
    ]
    assert not alike


@pytest.mark.parametrize(("background", "shade"), [(WHITE, SHADES["on white"]), (DARK, lightened)])
def test_every_colour_stands_out_from_its_background(background, shade):
    every = {name: look.colour for name, look in LOOKS.items()} | PHASES | TONES
    pale = {name: colour for name, colour in every.items() if contrast(shade(colour), background) < LEAST_CONTRAST}
    assert not pale


def test_a_text_on_what_is_shaded_in_its_tone_can_be_read():
    assert {tone: contrast(TONES[tone], PALE[tone]) >= 4.5 for tone in PALE} == dict.fromkeys(TONES, True)


def test_a_colour_that_stands_out_from_the_dark_is_left_as_it_is():
    assert lightened("#F4A261") == "#F4A261"
    assert contrast(lightened("#264653"), DARK) == pytest.approx(LEAST_CONTRAST, abs=0.1)
