"""reading.py: the result."""

from __future__ import annotations

import gzip
import json
import math
import pickle
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem import rdDepictor

from molgaze.reading import COLUMNS, DoubtfulAtom, Reading, draw


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


@pytest.mark.parametrize("wedged", [2, 3, 4, 5])
def test_drawings_have_wedges_where_the_molfile_has_them(wedged: int, tmp_path: Path) -> None:
    atoms = [("C", 60, -60), ("O", 40, -70), ("N", 80, -70), ("F", 75, -45), ("H", 45, -45)]
    bonds = [f"  1{i:>3}  1  {6 if i == wedged else 0}" for i in (2, 3, 4, 5)]
    rows = [f"{x:>10}{y:>10}{0:>10} {name:<3} 0  0" for name, x, y in atoms]
    head = "  5  4  0  0  1  0  0  0  0  0999 V2000"
    block = "\n".join(["", "", "", head, *rows, *bonds, "M  END"])
    mol = Chem.MolFromMolBlock(block)
    Reading(Chem.MolToSmiles(mol), molfile=block).save(tmp_path / "a.svg")
    lines = re.findall(r"class='bond-(\d+) ", (tmp_path / "a.svg").read_text("utf-8"))
    # A plain bond is two lines, each in the colour of one of its ends; a hashed one has many.
    assert [i for i in range(4) if lines.count(str(i)) > 3] == [wedged - 2]


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


def test_titles() -> None:
    assert reading("CO").title == "a.png"
    assert reading("CO", page=3).title == "a.png, page 3"
    assert reading("CO", id="CHEMBL\n25").title == "CHEMBL 25"
    assert reading("CO", page=3, number="12a").title == "a.png, page 3, 12a"
    assert reading("CO", page=1, number="3").title == "a.png, page 1, 3"
    assert reading("CO", number="IV").title == "a.png, IV"
    assert Reading().title == ""


def test_formula_and_inchi() -> None:
    r = reading("C[C@@H](N)C(=O)[O-].[Na+]")
    assert r.formula == "C3H6NNaO2"
    assert r.inchi == "InChI=1S/C3H7NO2.Na/c1-2(4)3(5)6;/h2H,4H2,1H3,(H,5,6);/q;+1/p-1/t2-;/m1./s1"
    assert Chem.InchiToInchiKey(r.inchi) == r.inchikey
    group = reading("*c1ccccc1")
    assert (group.formula, group.inchi) == ("C6H5*", None)
    assert (FAILED.formula, FAILED.inchi) == (None, None)


def test_the_conformer_is_that_of_the_picture() -> None:
    block = reading("CO").molfile or ""
    lines = block.splitlines()
    lines[4:6] = [f"{x:10.4f}{-y:10.4f}    0.0000 {e}   0  0" for x, y, e in PLACES]
    mol = reading("CO", molfile="\n".join(lines)).mol
    assert mol is not None
    assert mol.GetConformer().GetPositions().tolist() == [[20.5, -31.0, 0.0], [60.0, -33.25, 0.0]]
    assert Reading(smiles="CO").mol.GetNumConformers() == 0  # type: ignore[union-attr]


PLACES = ((20.5, 31.0, "C"), (60.0, 33.25, "O"))


def test_doubtful_atoms_stand_where_they_are_drawn() -> None:
    r = reading("CCO", atom_confidences=(0.45, 0.9, 0.2))
    mol = r.mol
    assert mol is not None
    x, y, _ = mol.GetConformer().GetPositions()[2].tolist()
    first, second = r.doubtful_atoms()
    assert first == DoubtfulAtom(3, "O", pytest.approx((x, -y)), 0.2)
    assert (second.number, second.symbol, second.confidence) == (1, "C", 0.45)
    assert r.doubtful_atoms(0.1) == []
    assert [atom.number for atom in r.doubtful_atoms(1.0)] == [3, 1, 2]
    assert FAILED.doubtful_atoms() == []
    group = reading("[1*]C", atom_confidences=(0.1, 0.9))
    assert [atom.symbol for atom in group.doubtful_atoms()] == ["R1"]


@pytest.mark.parametrize(
    "name", ["o.mol", "o.sdf", "o.sdf.gz", "o.smi", "o.cdxml", "o.png", "o.svg"]
)
def test_save_holds_the_molecule(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    reading("C[C@H](N)F").save(path)
    found = {
        ".mol": lambda: Chem.MolFromMolFile(str(path)),
        ".sdf": lambda: next(iter(Chem.SDMolSupplier(str(path)))),
        ".gz": lambda: Chem.MolFromMolBlock(gzip.decompress(path.read_bytes()).decode()),
        ".smi": lambda: Chem.MolFromSmiles(path.read_text()),
        ".cdxml": lambda: Chem.MolsFromCDXMLFile(str(path))[0],
    }
    if make := found.get(path.suffix):
        assert Chem.MolToSmiles(make()) == "C[C@H](N)F"
    else:
        assert path.read_bytes().startswith({".png": b"\x89PNG", ".svg": b"<?xml"}[path.suffix])
    before = path.read_bytes()
    for empty in (FAILED, EMPTY, reading("CO", finish_reason="no molecule")):
        with pytest.raises(ValueError, match="no molecule was read"):
            empty.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_save_holds_the_row_even_of_a_failure(tmp_path: Path) -> None:
    FAILED.save(tmp_path / "o.csv")
    assert "too small" in (tmp_path / "o.csv").read_text()
    with pytest.raises(ValueError, match=r"o\.pdf: the suffix must be one of .*\.sdf.*\.png"):
        FAILED.save(tmp_path / "o.pdf")
