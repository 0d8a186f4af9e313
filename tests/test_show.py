"""show.py: the gaze over its picture, at any size and for any reading."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from rdkit import Chem
from rdkit.Chem import rdDepictor

from molgaze import walk
from molgaze.molecule import molecule
from molgaze.picture import PictureError, Sheet, load
from molgaze.reading import Reading
from molgaze.show import DOUBT, MAX_PANEL, MIN_PANEL, RING, Move, moves, show


def drawn(smiles: str, bond: float, doubtful: tuple[int, ...] = ()) -> tuple[Sheet, Reading]:
    """A plain picture of a molecule of single and double bonds, and the reading of it."""
    mol = Chem.MolFromSmiles(smiles)
    Chem.Kekulize(mol, clearAromaticFlags=True)
    rdDepictor.Compute2DCoords(mol)
    spots = mol.GetConformer().GetPositions()[:, :2] * (bond / 1.5, -bond / 1.5)
    places = spots - spots.min(0) + bond
    size = (places.max(0) + bond).astype(int)
    picture = Image.new("L", (int(size[0]), int(size[1])), 255)
    pen = ImageDraw.Draw(picture)
    bonds = []
    for b in mol.GetBonds():
        ends = b.GetBeginAtomIdx(), b.GetEndAtomIdx()
        pen.line([tuple(places[i]) for i in ends], 0, max(1, round(bond / 12)))
        bonds.append((*ends, "=" if b.GetBondTypeAsDouble() == 2 else "-"))
    graph = walk.Graph([a.GetSymbol() for a in mol.GetAtoms()], places, bonds)
    tokens, spots = walk.encode(graph)
    read = molecule(walk.decode(tokens, spots)[0])
    reading = Reading(
        smiles=read.smiles,
        molfile=read.molfile,
        confidence=0.9,
        tokens=tuple(tokens[1:-1]),
        places=tuple((float(x), float(y)) for x, y in spots[1:-1]),
        probabilities=tuple(0.5 if i in doubtful else 0.99 for i in range(len(tokens) - 2)),
        scale=bond,
    )
    return load(picture), reading


def near(figure: Image.Image, colour: tuple[int, int, int]) -> int:
    """How many pixels are about of a colour."""
    apart = np.abs(np.asarray(figure.convert("RGB"), int) - colour).max(2)
    return int((apart < 40).sum())


@pytest.mark.parametrize("bond", [6, 20, 60, 200])
def test_any_size_of_picture(bond: int) -> None:
    sheet, reading = drawn("O=C(O)c1ccccc1", bond)
    figure = show(sheet, reading)
    assert figure.mode == "RGB"
    assert MIN_PANEL < max(figure.size) < 2 * MAX_PANEL + 300


@pytest.mark.parametrize("smiles", ["CO", "C" * 40, "CC1CCC(CC1)C2CCCCC2", "CC.CC"])
def test_any_shape_of_molecule(smiles: str) -> None:
    figure = show(*drawn(smiles, 20))
    assert max(figure.size) < 2 * MAX_PANEL + 300


def test_ring_closures_and_doubt_are_told_apart() -> None:
    chain, ring = show(*drawn("CCCCCC", 30)), show(*drawn("C1CCCCC1", 30))
    assert near(ring, RING) > near(chain, RING) + 100
    doubtful = show(*drawn("CCCCCC", 30, (2,)))
    assert near(doubtful, DOUBT) > near(chain, DOUBT) + 100


def test_the_path_goes_from_place_to_place() -> None:
    sheet, reading = drawn("CCCC", 30)
    bare = show(sheet, Reading(smiles=reading.smiles, molfile=reading.molfile, scale=30.0))
    figure = show(sheet, reading)
    assert figure.size[0] == bare.size[0]
    assert sum(np.asarray(bare).std(2).ravel() > 20) < sum(np.asarray(figure).std(2).ravel() > 20)


def test_moves() -> None:
    a, b, c, d = (0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (40.0, 40.0)
    tokens = ("C", "=", "C", "C", "&", "^", "N", ".", "[", "'M", "'e", "]")
    half = (5.0, 0.0)
    places = (a, half, b, c, a, b, d, a, a, a, a, a)
    assert moves(tokens, places) == [
        Move("bond", 2, a, b),
        Move("bond", 3, b, c),
        Move("ring", 4, c, a),
        Move("jump", 5, c, b),
        Move("bond", 6, b, d),
        Move("jump", 7, d, a),
    ]
    assert moves(("C", "C"), ((math.nan, 0.0), a)) == []
    assert moves((), ()) == []


@pytest.mark.parametrize(
    "reading",
    [
        Reading(finish_reason="no molecule", source="a.png"),
        Reading(finish_reason="error", error="a.png: \u2028 blank " * 200, error_type="X"),
        Reading(smiles="C" * 90, tokens=("C",), places=((1e9, -1e9),), probabilities=(0.1,)),
        Reading(smiles="CC", tokens=("C", "C"), places=((1.0, 2.0),), scale=math.inf),
        Reading(smiles="not one", tokens=("]", "^", "&"), places=((1.0, 2.0),) * 3),
    ],
)
def test_odd_readings(reading: Reading) -> None:
    sheet, _ = drawn("CCO", 20)
    figure = show(sheet, reading)
    assert max(figure.size) < 2 * MAX_PANEL + 300


@settings(max_examples=25, deadline=None)
@given(
    tokens=st.lists(st.sampled_from([t for t in walk.VOCABULARY if t]), max_size=12),
    spots=st.lists(
        st.tuples(*[st.floats(-1e4, 1e4, width=32) | st.just(math.nan)] * 2), max_size=12
    ),
    chances=st.lists(st.floats(0, 1), max_size=12),
)
def test_any_reading(
    tokens: list[str], spots: list[tuple[float, float]], chances: list[float]
) -> None:
    sheet, _ = drawn("CCO", 20)
    reading = Reading(
        tokens=tuple(tokens), places=tuple(spots), probabilities=tuple(chances), scale=20.0
    )
    assert show(sheet, reading).size[0] > MIN_PANEL


def test_a_long_smiles_is_cut_to_three_lines() -> None:
    sheet, reading = drawn("CCO", 20)
    short = show(sheet, reading)
    long = show(sheet, Reading(**{**reading.to_dict(), "smiles": "CO" * 900, "alternatives": ()}))
    assert short.height < long.height <= short.height + 60


def test_a_reading_shows_itself_over_its_file(tmp_path: Path) -> None:
    sheet, reading = drawn("O=C(O)c1ccccc1", 40)
    path = tmp_path / "a.png"
    Image.fromarray(255 - sheet.ink).save(path)
    wanted = np.asarray(show(sheet, reading))
    named = replace(reading, source=str(path), page=1)
    for figure in (named.show(), reading.show(path), reading.show(Image.open(path))):
        assert np.array_equal(np.asarray(figure), wanted)
    for source in (None, "array", str(tmp_path / "gone.png")):
        with pytest.raises(PictureError, match="give the picture that was read"):
            replace(reading, source=source).show()


def test_a_molecule_on_a_page_is_shown_alone(tmp_path: Path) -> None:
    """In points of a PDF, whose page is drawn at another scale."""
    sheet, reading = drawn("O=C(O)c1ccccc1", 40)
    height, width = sheet.size
    page = Image.new("L", (800, 1000), 255)
    page.paste(Image.fromarray(255 - sheet.ink), (300, 500))
    ImageDraw.Draw(page).rectangle((20, 20, 200, 60), 0)
    page.save(tmp_path / "a.pdf", resolution=144)  # two pixels a point

    def moved(x: float, y: float) -> tuple[float, float]:
        return (x + 300) / 2, (y + 500) / 2

    placed = replace(
        reading,
        source=str(tmp_path / "a.pdf"),
        page=1,
        places=tuple(moved(*place) for place in reading.places),
        scale=20.0,
        box=(*moved(0, 0), *moved(width, height)),
    )
    alone, paged = show(sheet, replace(reading, box=(0, 0, width, height))), placed.show()
    assert max(abs(a - b) for a, b in zip(alone.size, paged.size, strict=True)) <= 4
    small = [figure.convert("L").resize((80, 60)) for figure in (alone, paged)]
    apart = np.abs(np.subtract(*(np.asarray(image, int) for image in small)))
    assert apart.mean() < 4
