"""reading.py: the result."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem import rdDepictor

from molgaze.reading import COLUMNS, Reading, draw


def reading(smiles: str, **more: object) -> Reading:
    mol = Chem.MolFromSmiles(smiles)
    rdDepictor.Compute2DCoords(mol)
    fields: dict[str, object] = {
        "smiles": Chem.MolToSmiles(mol),
        "molfile": Chem.MolToMolBlock(mol),
        "inchikey": Chem.MolToInchiKey(mol),
        "confidence": 0.9,
        "tokens": ("C", "=", "O"),
        "places": ((1.0, 2.0), (3.0, 4.5), (5.0, 6.0)),
        "probabilities": (1.0, 0.9, 0.8),
        "alternatives": (("CO", 0.05),),
        "source": "a.png",
        "model": "test",
        "ms": 12.5,
    }
    return Reading(**(fields | more))  # type: ignore[arg-type]


FAILED = Reading(finish_reason="error", source="b.png", error="too small", error_type="ImageError")
EMPTY = Reading(finish_reason="no molecule", source="c.png")


def test_mol_keeps_stereo_and_is_yours() -> None:
    r = reading("C[C@@H](N)/C=C/C")
    assert r.mol is not None
    assert r.mol is not r.mol
    assert Chem.MolToSmiles(r.mol) == r.smiles == "C/C=C/[C@@H](C)N"
    assert EMPTY.mol is None


@pytest.mark.parametrize(
    ("made", "valid"),
    [
        (Reading(smiles="CO"), True),
        (Reading(smiles=""), False),
        (Reading(smiles="CC O"), False),
        (Reading(smiles="C(C"), False),
        (Reading(smiles="CO", finish_reason="length"), False),
        (Reading(smiles="CO", error="x"), False),
        (FAILED, False),
        (EMPTY, False),
    ],
)
def test_valid(made: Reading, valid: bool) -> None:
    assert made.valid is valid


def test_frozen_and_picklable() -> None:
    r = reading("CO")
    with pytest.raises(AttributeError):
        r.smiles = "C"  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(r)) == r


@given(
    st.builds(
        Reading,
        smiles=st.none() | st.text(),
        confidence=st.floats(0, 1),
        tokens=st.lists(st.text(max_size=3)).map(tuple),
        places=st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9))).map(tuple),
        warnings=st.lists(st.text()).map(tuple),
        alternatives=st.lists(st.tuples(st.text(), st.floats(0, 1))).map(tuple),
        source=st.none() | st.text(),
        page=st.none() | st.integers(0, 9),
    )
)
def test_dict_round_trip_through_json(made: Reading) -> None:
    assert Reading.from_dict(json.loads(json.dumps(made.to_dict(), allow_nan=False))) == made


def test_nan_places_become_null() -> None:
    made = Reading(tokens=("C",), places=((math.nan, 1.0),))
    assert made.to_dict()["places"] == [[None, 1.0]]
    assert math.isnan(Reading.from_dict(made.to_dict()).places[0][0])


@pytest.mark.parametrize("data", [{"smile": "C"}, {"places": [1]}, {"alternatives": [{"a": 1}]}])
def test_from_dict_says_what_is_wrong(data: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="reading"):
        Reading.from_dict(data)


def test_row_is_flat() -> None:
    row = reading("CO", warnings=("one", "two")).row()
    assert tuple(row) == COLUMNS
    assert row["warnings"] == "one; two"
    assert row["alternatives"] == "CO 0.05"
    assert all(v is None or isinstance(v, str | int | float) for v in row.values())


def test_what_is_read_unsurely_is_to_be_looked_at() -> None:
    r = reading("CO", confidence=0.6)
    assert not r.judged(0.6).review
    assert r.judged(0.61).review
    assert not r.judged(0.61).judged(0.5).review
    assert r.judged(0.61).smiles == "CO"
    assert not Reading(finish_reason="error", error="x").judged(0.9).review
    assert r.judged(0.61).row()["review"] is True


def test_notebook() -> None:
    r = reading("CO", source="<script>x</script>")
    assert "<script>" not in r._repr_html_()
    assert "&lt;script&gt;" in r._repr_html_()
    png = r._repr_png_()
    assert png is not None
    assert png.startswith(b"\x89PNG")
    assert FAILED._repr_png_() is None
    assert "too small" in FAILED._repr_html_()
    assert draw(None) is None


def test_a_reading_prints_as_one_line() -> None:
    r = Reading(
        smiles="CCO", confidence=0.973, source="a.png", page=1, tokens=("C",) * 90, warnings=("x",)
    )
    assert str(r) == "a.png: CCO (confidence 0.97), 1 warning"
    assert repr(r) == f"<Reading {r}>"
    assert str(replace(r, page=3, warnings=())) == "a.png, page 3: CCO (confidence 0.97)"
    failed = Reading(source="b.png", finish_reason="error", error="b.png: empty file")
    assert str(failed) == "b.png: empty file"
    assert str(Reading(source="c.png", finish_reason="no molecule")) == "c.png: no molecule"
    assert str(Reading(smiles="C")) == "C (confidence 0.00)"
