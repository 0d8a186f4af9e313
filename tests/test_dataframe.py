"""dataframe.py: readings as a table of pandas."""

from __future__ import annotations

import sys

import pytest
from rdkit import Chem
from rdkit.Chem import rdDepictor

from molgaze import to_dataframe
from molgaze.reading import COLUMNS, Reading


def reading(smiles: str) -> Reading:
    mol = Chem.MolFromSmiles(smiles)
    rdDepictor.Compute2DCoords(mol)
    conformer = mol.GetConformer()
    for i in range(mol.GetNumAtoms()):  # in pixels of a picture
        x, y, _ = conformer.GetAtomPosition(i)
        conformer.SetAtomPosition(i, (40 * x + 300, 40 * y - 400, 0.0))
    block = Chem.MolToMolBlock(mol)
    return Reading(smiles=smiles, molfile=block, confidence=0.9, page=1, warnings=("a", "b"))


FAILED = Reading(finish_reason="error", source="b.png", error="too small", error_type="X")
NOISE = Reading(finish_reason="no molecule", smiles="CCl", source="c.png")


def test_rows_and_molecules() -> None:
    pytest.importorskip("pandas")
    frame = to_dataframe(iter([reading("C[C@H](N)O"), FAILED, NOISE]))
    assert list(frame.columns) == [*COLUMNS, "molecule"]
    assert frame["smiles"].isna().tolist() == [False, True, True]
    assert frame["confidence"][0] == 0.9
    assert frame["error"][1] == "too small"
    assert frame["warnings"][0] == "a; b"
    assert (frame["page"][0], frame["page"].dtype.name) == (1, "Int64")
    (mol,) = frame["molecule"].dropna()
    assert Chem.MolToSmiles(mol) == "C[C@H](N)O"
    a, b = mol.GetConformer().GetPositions()[:2]
    assert ((a - b) ** 2).sum() ** 0.5 == pytest.approx(1.5, abs=0.05)
    shown = frame._repr_html_()
    assert shown.count("data:image/png;base64,") == 1
    assert "rdchem.Mol" not in shown


def test_none_and_one() -> None:
    pytest.importorskip("pandas")
    assert list(to_dataframe([]).columns) == [*COLUMNS, "molecule"]
    assert len(to_dataframe(reading("CO"))) == 1


def test_without_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install 'molgaze\[pandas\]'"):
        to_dataframe([])
