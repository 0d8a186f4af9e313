"""How long a bond is, and what the reader gets to see of a drawing."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from test_picture import hexagons

from molgaze import scale
from molgaze.picture import load
from molgaze.scale import bond_length


@pytest.mark.parametrize("one_bit", [False, True])
@pytest.mark.parametrize("angle", [0.0, 0.2, 0.5])
@pytest.mark.parametrize(
    ("side", "width"), [(9, 1), (14, 1), (20, 2), (35, 2), (35, 5), (70, 4), (140, 8)]
)
def test_bond_length_of_rings(side: float, width: int, angle: float, one_bit: bool) -> None:
    image = hexagons(side, width, angle=angle)
    if one_bit:
        image = image.convert("1", dither=Image.Dither.NONE)
    assert bond_length(load(image).ink) == pytest.approx(side, rel=0.15)


def test_bond_length_takes_floats_and_survives_anything() -> None:
    sheet = load(hexagons(40))
    assert bond_length(sheet.ink.astype(np.float32) / np.float32(255)) == bond_length(sheet.ink)
    random = np.random.default_rng(3)
    inks: list[NDArray[np.uint8]] = [
        np.zeros((30, 40), np.uint8),
        np.full((30, 40), 255, np.uint8),
        (random.random((200, 300)) < 0.5).astype(np.uint8) * np.uint8(255),
        (random.random((8, 8)) < 0.5).astype(np.uint8) * np.uint8(255),
        np.indices((64, 64)).sum(axis=0).astype(np.uint8) % 2 * np.uint8(255),
    ]
    for ink in inks:
        assert 4.0 <= bond_length(ink) <= 400.0


def test_captions_and_specks_do_not_set_the_scale() -> None:
    image = hexagons(40, 3)
    random = np.random.default_rng(5)
    for x, y in random.integers(0, image.width, (30, 2)):
        image.putpixel((int(x), int(y)), 0)
    ImageDraw.Draw(image).text((4, 4), "Example 114, Compound IV", fill=0)
    assert bond_length(load(image).ink) == pytest.approx(40, rel=0.15)


@pytest.mark.parametrize("side", [10, 20, 45, 120])
def test_reading_scale_and_places(side: int) -> None:
    image = hexagons(side, max(1, side // 15))
    sheet = load(image)
    for target in (14.0, 20.0, 24.0):
        shot = sheet.at_scale(target, bond=float(side))
        assert shot.factor == pytest.approx(target / side)
        # The rings are 2 sides high; the stroke adds its width.
        ys, xs = np.nonzero(shot.ink > 0.3)
        assert np.ptp(ys) == pytest.approx(2 * target, abs=0.2 * target)
        # The drawing's middle is the picture's middle.
        middle = shot.to_original([(xs.min() + xs.max() + 1) / 2, (ys.min() + ys.max() + 1) / 2])
        assert middle == pytest.approx(np.array(image.size) / 2, abs=1.5 / shot.factor + 1)
        assert shot.from_original(shot.to_original([[3.0, 4.0]])) == pytest.approx(
            np.array([[3.0, 4.0]])
        )
        low, high = shot.ink[: scale.MARGIN - 3].max(), shot.ink[:, : scale.MARGIN - 3].max()
        assert max(low, high) < 0.1


def test_scale_is_bounded() -> None:
    sheet = load(hexagons(20))
    assert sheet.at_scale(20, bond=0.5).factor <= scale.MAX_ENLARGEMENT
    big = np.full((4000, 6000), 255, np.uint8)
    big[10:20], big[-20:-10] = 0, 0
    assert load(big).at_scale(20, bond=2.0).ink.size < 1.1 * scale.MAX_READ_PIXELS
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="positive"):
            sheet.at_scale(wrong)
