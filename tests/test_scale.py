"""How long a bond is, and what the reader gets to see of a drawing."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from rdkit import Chem
from rdkit.Chem.Draw import rdMolDraw2D
from test_picture import hexagons

from molgaze import scale
from molgaze.picture import Sheet, load
from molgaze.scale import Picture, bond_length


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


# Small letters and fine hashes -------------------------------------------------------------------


def canvas(smiles: str, width: int, height: int) -> tuple[Image.Image, NDArray[np.float64]]:
    """A molecule in RDKit's default style and the places (N, 2) of its atoms."""
    mol = Chem.MolFromSmiles(smiles)
    pen = rdMolDraw2D.MolDraw2DCairo(width, height)
    pen.DrawMolecule(mol)
    pen.FinishDrawing()
    points = [pen.GetDrawCoords(i) for i in range(mol.GetNumAtoms())]
    places = np.array([(point.x, point.y) for point in points])
    return Image.open(io.BytesIO(pen.GetDrawingText())), places


def without_marks(sheet: Sheet, monkeypatch: pytest.MonkeyPatch) -> Picture:
    """The picture as it is when no mark is thought too fine."""
    with monkeypatch.context() as patch:
        patch.setattr(scale, "fine_marks", lambda *_: None)
        return sheet.at_scale()


@pytest.mark.parametrize("size", [(800, 600), (1200, 1200), (2000, 2000)])
@pytest.mark.parametrize(
    ("smiles", "atoms"), [("CC(C)=O", [3]), ("CC(=O)O", [2, 3]), ("Clc1ccc(N)cc1", [0, 5])]
)
def test_small_letters_are_written_larger(
    smiles: str, atoms: list[int], size: tuple[int, int]
) -> None:
    image, places = canvas(smiles, *size)
    shot = load(image).at_scale()
    assert len(shot.labels) == len(atoms)
    for left, top, right, bottom, x, y in shot.labels:
        letters = shot.ink[round(top) : round(bottom), round(left) : round(right)]
        rows = np.flatnonzero(letters.max(axis=1) > 0.5)
        assert np.ptp(rows) + 1 >= 7
        # The letter stayed where the atom is.
        middle = shot.to_original([x, y])
        nearest = np.hypot(*(places[atoms] - middle).T).min()
        assert nearest < 0.2 * shot.bond


def test_places_in_larger_letters_map_back() -> None:
    image, _ = canvas("NCCO", 1000, 800)
    dark = 255 - np.asarray(image.convert("L")).astype(int)
    shot = load(image).at_scale()
    assert len(shot.labels) == 2
    for *box, x, y in shot.labels:
        corners = np.array(box).reshape(2, 2)
        (left, top), (right, bottom) = shot.to_original(corners)
        # The box on the original holds the letters from one side to the other.
        window = dark[round(top) : round(bottom), round(left) : round(right)]
        columns = np.flatnonzero(window.max(axis=0) > 100)
        assert columns[0] <= 4
        assert columns[-1] >= window.shape[1] - 5
        inside = corners[0] + (corners[1] - corners[0]) * np.array([[0.1, 0.2], [0.8, 0.7]])
        assert shot.from_original(shot.to_original(inside)) == pytest.approx(inside)
        assert shot.to_original(inside[0]) != pytest.approx(
            inside[0] / shot.factor + np.array(shot.offset), abs=1
        )
        assert shot.from_original(shot.to_original([x, y])) == pytest.approx(np.array([x, y]))


@pytest.mark.parametrize("smiles", ["CC(=O)Nc1ccc(O)cc1", "CC(N)C(=O)O", "[O-][N+](=O)c1ccccc1"])
@pytest.mark.parametrize("size", [(250, 250), (300, 220)])
def test_letters_of_usual_size_are_left_alone(
    smiles: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    sheet = load(canvas(smiles, *size)[0])
    shot = sheet.at_scale()
    assert len(shot.labels) == 0
    assert np.array_equal(shot.ink, without_marks(sheet, monkeypatch).ink)


def dashes(shot: Picture, begin: NDArray[np.float64], end: NDArray[np.float64]) -> int:
    """How often the ink changes between dark and light on the way between two atoms."""
    ends = shot.from_original(np.stack([begin, end]))
    way = ends[0] + (ends[1] - ends[0]) * np.linspace(0.1, 0.9, 200)[:, None]
    levels = shot.ink[way[:, 1].astype(int), way[:, 0].astype(int)]
    middle = (levels.max() + levels.min()) / 2
    if np.ptp(levels) < 0.3:
        return 0
    return int(np.count_nonzero((levels[1:] > middle) != (levels[:-1] > middle)))


@pytest.mark.parametrize("size", [1000, 1600])
def test_fine_hashes_stay_hashes(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    image, places = canvas("CCC[C@@H](C)CC", size, size)
    sheet = load(image)
    shot, before = sheet.at_scale(), without_marks(sheet, monkeypatch)
    assert len(shot.labels) == 0
    assert dashes(shot, places[3], places[4]) >= 8
    assert dashes(before, places[3], places[4]) < 8
    # Solid bonds stay as they were.
    assert dashes(shot, places[0], places[1]) == dashes(before, places[0], places[1])


def test_no_room_for_larger_letters_says_that_the_bond_is_wrong() -> None:
    image, _ = canvas("CC1(C)S[C@@H]2[C@H](NC(=O)Cc3ccccc3)C(=O)N2[C@H]1C(=O)O", 500, 400)
    sheet = load(image)
    assert len(sheet.at_scale(bond=4 * sheet.bond).labels) == 0


def test_specks_and_captions_are_no_letters() -> None:
    image = hexagons(150, 4)
    pen = ImageDraw.Draw(image)
    random = np.random.default_rng(8)
    for x, y in random.integers(0, image.width - 12, (40, 2)):
        pen.ellipse((int(x), int(y), int(x) + 9, int(y) + 9), fill=0)
    assert len(load(image).at_scale(bond=150.0).labels) == 0
    image = hexagons(150, 4)
    font = ImageFont.load_default(30)
    ImageDraw.Draw(image).text((20, 20), "Example 114, Compound IV", fill=0, font=font)
    assert len(load(image).at_scale(bond=150.0).labels) == 0


@pytest.mark.parametrize("size", [(1000, 800), (2000, 2000)])
@pytest.mark.parametrize("smiles", ["CCO", "CC(C)=O"])
def test_bond_length_of_few_long_bonds(smiles: str, size: tuple[int, int]) -> None:
    image, places = canvas(smiles, *size)
    true = float(np.hypot(*(places[1] - places[0])))
    assert load(image).bond == pytest.approx(true, rel=0.2)


def test_brackets_do_not_set_the_scale() -> None:
    image = hexagons(40, 3)
    pen = ImageDraw.Draw(image)
    for x, foot in ((8, 14), (image.width - 9, -14)):
        pen.line((x, 8, x, image.height - 9), fill=0, width=3)
        for y in (8, image.height - 9):
            pen.line((x, y, x + foot, y), fill=0, width=3)
    assert bond_length(load(image).ink) == pytest.approx(40, rel=0.15)
    assert load(image).ink[image.height // 2, 8] > 200  # and stay in the picture


def test_letters_stay_small_where_a_bond_has_run_into_one(monkeypatch: pytest.MonkeyPatch) -> None:
    image, places = canvas("NCCO", 1000, 800)
    assert len(load(image).at_scale().labels) == 2
    image = image.convert("RGB")
    way = [tuple(places[0] + (places[1] - places[0]) * part) for part in (0.02, 0.3)]
    ImageDraw.Draw(image).line(way, fill=0, width=3)
    sheet = load(image)
    shot = sheet.at_scale()
    assert len(shot.labels) == 0
    assert np.array_equal(shot.ink, without_marks(sheet, monkeypatch).ink)
