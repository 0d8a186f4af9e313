"""The shipped weights read the pictures of examples/: structures, places and confidence."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from molgaze import Reader, Reading
from molgaze.picture import TARGET_BOND

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
