"""Arrows that are drawn in many ways, and drawings in which there are none."""

import math

import numpy as np
import pytest
from paper import Sheet
from PIL import Image, ImageDraw

from molgaze.arrows import arrows, painted, sticks
from molgaze.components import components
from molgaze.layout import Layout

LETTER = 16.0


def arrow(pen, tail, tip, head=12.0, width=2, filled=True, spread=22):
    """Draw an arrow with barbs of so many pixels, at so many degrees to its shaft."""
    pen.line([tail, tip], 255, width)
    turn = math.atan2(tip[1] - tail[1], tip[0] - tail[0])
    ends = [
        (tip[0] - head * math.cos(turn + way), tip[1] - head * math.sin(turn + way))
        for way in (math.radians(spread), -math.radians(spread))
    ]
    if filled:
        pen.polygon([tip, *ends], 255)
    else:
        for end in ends:
            pen.line([tip, end], 255, width)


def canvas(width=500, height=400):
    image = Image.new("L", (width, height), 0)
    return image, ImageDraw.Draw(image)


def found_in(image):
    mask = np.asarray(image) >= 64
    return arrows(mask, components(mask), LETTER)


@pytest.mark.parametrize("filled", [True, False])
@pytest.mark.parametrize("turn", range(0, 360, 24))
def test_arrows_at_all_angles(turn, filled):
    image, pen = canvas()
    along = np.array([math.cos(math.radians(turn)), math.sin(math.radians(turn))])
    tail, tip = (250, 200) - 60 * along, (250, 200) + 60 * along
    arrow(pen, tuple(tail), tuple(tip), filled=filled, spread=25)
    (found,) = found_in(image)
    assert math.dist(found.tip, tip) < 4
    assert math.dist(found.tail, tail) < 4
    assert found.length == pytest.approx(120, abs=5)
    assert found.width <= 4


def test_plain_lines_and_arrows_with_two_heads_are_none():
    image, pen = canvas()
    pen.line([(50, 50), (200, 50)], 255, 2)
    pen.line([(50, 100), (200, 180)], 255, 3)
    arrow(pen, (60, 300), (200, 300))
    arrow(pen, (200, 300), (60, 300))
    assert found_in(image) == []


def test_arrows_that_cross_and_end_at_one_place():
    image, pen = canvas()
    arrow(pen, (60, 200), (400, 300), head=16)
    arrow(pen, (430, 80), (100, 290))
    arrow(pen, (400, 60), (400, 300))
    tips = sorted((round(a.tip[0], -1), round(a.tip[1], -1)) for a in found_in(image))
    assert tips == [(100, 290), (400, 300), (400, 300)]


def test_an_arrow_that_touches_a_drawing_is_taken_off():
    sheet = Sheet(700, 400)
    sheet.molecule("CC(=O)Cc1ccccc1", 80, 150)
    right = sheet.boxes[0][2]
    row = np.flatnonzero(sheet.pixels[:, right - 1] < 128)[0]
    image = Image.fromarray(255 - sheet.pixels)
    pen = ImageDraw.Draw(image)
    arrow(pen, (right - 1, row), (right + 130, row))
    sheet_boxes = [r.box for r in Layout(np.asarray(image)).regions]
    best = min(np.abs(np.array(b) - sheet.boxes[0]).max() for b in sheet_boxes)
    assert best <= 4


@pytest.mark.parametrize("bond", [18, 26, 40])
def test_drawings_of_molecules_hold_no_arrows(bond):
    sheet = Sheet(1500, 900)
    for k, smiles in enumerate(
        ["C1C2CC3CC1CC(C2)(C3)C(=O)O", "CC#CC#CCCO", "C[C@H](N)[C@@H](O)C(=O)O", "ICC(C)(C)CI",
         "c1ccc2cc3cc4ccccc4cc3cc2c1", "CC(C)(C)c1ccc(cc1)C(C)(C)C"]
    ):  # fmt: skip
        sheet.molecule(smiles, 40 + 480 * (k % 3), 60 + 400 * (k // 3), bond=bond, size=15)
    mask = 255 - sheet.pixels >= 64
    assert arrows(mask, components(mask), LETTER) == []


def test_what_arrows_cover_is_their_ink():
    image, pen = canvas()
    arrow(pen, (100, 100), (300, 180))
    mask = np.asarray(image) >= 64
    cover = painted(found_in(image), mask.shape)
    assert (mask & ~cover).sum() < 0.05 * mask.sum()
    assert cover.sum() < 4 * mask.sum()


def test_sticks_have_the_length_and_the_angle_of_lines():
    image, pen = canvas()
    pen.line([(50, 50), (150, 150)], 255, 3)
    pen.line([(250, 150), (350, 150)], 255, 5)
    middles, lengths, breadths, angles = sticks(components(np.asarray(image) >= 64))
    assert np.allclose(lengths, [141, 101], atol=4)
    assert np.allclose(angles, [45, 0], atol=1)
    assert breadths[1] == pytest.approx(5, abs=0.5)
    assert np.allclose(middles[0], [100.5, 100.5], atol=1)
