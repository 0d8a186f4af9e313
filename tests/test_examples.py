"""The shipped weights read the pictures of examples/: structures, places and confidence."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from rdkit import Chem

from molgaze import Reader, Reading
from molgaze.reading import MIN_CONFIDENCE
from molgaze.scale import TARGET_BOND

EXAMPLES = Path(__file__).parents[1] / "examples"
ANSWERS = {
    row["file"]: row["smiles"]
    for row in csv.DictReader((EXAMPLES / "examples.csv").read_text("utf-8").splitlines())
}
PLACES = json.loads((EXAMPLES / "places.json").read_text("utf-8"))
#: Pictures that are read wrongly. A name goes from this list when its picture is read rightly, and
#: no name is added without an issue that says why.
MISSES: tuple[str, ...] = ()
PIXELS = 3.0  # on the ink map, whose bonds are TARGET_BOND pixels long


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(device="cpu")


@pytest.fixture(scope="module")
def readings(reader: Reader) -> dict[str, Reading]:
    return {file: reader.read(EXAMPLES / file) for file in ANSWERS}


def test_the_table_has_every_picture() -> None:
    pictures = {p.name for p in EXAMPLES.iterdir() if p.suffix in (".png", ".jpg", ".tif")}
    assert pictures == set(ANSWERS) == set(PLACES)
    assert len(ANSWERS) == 18


@pytest.mark.parametrize("file", ANSWERS)
def test_structure(file: str, readings: dict[str, Reading]) -> None:
    assert (readings[file].smiles == ANSWERS[file]) == (file not in MISSES), readings[file].smiles


@pytest.mark.parametrize("file", [file for file in ANSWERS if file not in MISSES])
def test_every_drawn_atom_lies_where_it_was_drawn(file: str, readings: dict[str, Reading]) -> None:
    reading = readings[file]
    assert reading.mol is not None
    assert reading.scale is not None
    read = reading.mol.GetConformer().GetPositions()[:, :2] * (1, -1)
    symbols = np.array([atom.GetSymbol() for atom in reading.mol.GetAtoms()])
    near = PIXELS * reading.scale / TARGET_BOND
    taken = set()
    for symbol, x, y in PLACES[file]:
        away = np.where(symbols == symbol, np.hypot(*(read - (x, y)).T), np.inf)
        assert away.min() <= near, (symbol, x, y)
        taken.add(int(away.argmin()))
    assert len(taken) == len(PLACES[file])


def test_places_of_tokens_lie_on_the_picture(readings: dict[str, Reading]) -> None:
    reading = readings["caffeine.png"]
    assert len(reading.tokens) == len(reading.places) == len(reading.probabilities)
    nitrogens = [p for t, p in zip(reading.tokens, reading.places, strict=True) if t == "N"]
    drawn = [(x, y) for symbol, x, y in PLACES["caffeine.png"] if symbol == "N"]
    assert len(nitrogens) == len(drawn)
    for place in nitrogens:
        assert min(np.hypot(place[0] - x, place[1] - y) for x, y in drawn) < 9


def test_right_readings_are_sure_and_need_no_review(readings: dict[str, Reading]) -> None:
    right = [file for file in ANSWERS if file not in MISSES]
    confidences = np.array([readings[file].confidence for file in right])
    assert (confidences >= MIN_CONFIDENCE).mean() > 0.9
    assert confidences.mean() > 0.8
    for file in right:
        assert readings[file].review == (readings[file].confidence < MIN_CONFIDENCE)
        drawn = Chem.MolFromMolBlock(readings[file].molfile or "", removeHs=False)
        assert len(readings[file].atom_confidences) == drawn.GetNumAtoms()


def test_written_groups_stay_as_they_are_written_if_asked_for(
    readings: dict[str, Reading],
) -> None:
    whole = readings["boc-phenylalanine.png"].mol
    reading = Reader(device="cpu", expand=False).read(EXAMPLES / "boc-phenylalanine.png")
    assert whole is not None
    assert reading.mol is not None
    assert reading.mol.GetNumAtoms() < whole.GetNumAtoms()
    assert "HO2C" in (reading.cxsmiles or "")
    assert "HO2C" in (reading.molfile or "")
    assert len(reading.atom_confidences) == reading.mol.GetNumAtoms()


def nothing(kind: str) -> Image.Image:
    """Pictures in which no molecule is drawn."""
    rng = np.random.default_rng(3)
    image = Image.new("L", (460, 320), 255)
    pen = ImageDraw.Draw(image)
    if kind == "text":
        for k in range(12):
            pen.text(
                (20, 15 + 24 * k), "The mixture was stirred at room temperature for 2 h", fill=0
            )
    elif kind == "table":
        for k in range(7):
            pen.line([20, 20 + 40 * k, 440, 20 + 40 * k], fill=0)
            pen.line([20 + 70 * k, 20, 20 + 70 * k, 260], fill=0)
        for k in range(36):
            pen.text((30 + 70 * (k % 6), 32 + 40 * (k // 6)), f"{rng.random():.2f}", fill=0)
    elif kind == "plot":
        pen.line([40, 20, 40, 280, 440, 280], fill=0, width=2)
        y = 150 + np.cumsum(rng.normal(0, 6, 390))
        pen.line(list(zip(range(45, 435), y.tolist(), strict=True)), fill=0, width=2)
        for k in range(8):
            pen.text((50 + 48 * k, 290), f"{10 * k}", fill=0)
    else:
        grain = rng.normal(128, 40, (320, 460)).clip(0, 255).astype(np.uint8)
        image = Image.fromarray(grain).resize((460, 320))
    return image


@pytest.mark.parametrize("kind", ["text", "table", "plot", "noise"])
def test_what_is_no_molecule_is_not_taken_for_one(reader: Reader, kind: str) -> None:
    reading = reader.read(nothing(kind))
    assert reading.confidence < MIN_CONFIDENCE
    assert reading.finish_reason == "no molecule" or reading.review
    if reading.finish_reason == "no molecule":
        assert reading.smiles is None
        assert reading.molfile is None
