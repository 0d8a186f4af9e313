"""CDXML: read again by RDKit and, where it is installed, by Indigo."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rdkit import Chem
from rdkit.Chem import rdDepictor

from molgaze.cdxml import BOND, WIDTH, document
from molgaze.files import text, write
from molgaze.reading import Reading

MOLECULES = [
    *("C", "CO", "c1ccccc1", "C[C@H](N)C(=O)O/C=C/Cl", r"C/C=C\C", "CC=CC", "[2H]OC"),
    *("[13CH3]O", "CC(=O)[O-].[Na+]", "C[N+](C)(C)C.[Cl-]", "[NH4+]", "O=[N+]([O-])c1ccccc1"),
    *("[C-]#[N+]C", "N#Cc1cc[nH]c1", "C[S@](=O)c1ccccc1", "CC[Si](C)(C)C", "C[CH]C", "CS(N)(=O)=O"),
    "C[C@]12CCC(=O)C[C@H]1CC[C@@H]1[C@@H]2CC[C@]2(C)[C@@H](O)CC[C@@H]12",
]


def reading(smiles: str, name: str = "a.png") -> Reading:
    mol = Chem.MolFromSmiles(smiles)
    rdDepictor.Compute2DCoords(mol)
    conformer = mol.GetConformer()
    for i in range(mol.GetNumAtoms()):  # as in a picture: pixels, y downwards is negative
        x, y, _ = conformer.GetAtomPosition(i)
        conformer.SetAtomPosition(i, (40 * x + 300, 40 * y - 400, 0.0))
    return Reading(smiles=smiles, molfile=Chem.MolToMolBlock(mol), source=name, page=1)


def by_rdkit(data: str) -> list[str]:
    return [Chem.MolToSmiles(mol) for mol in Chem.MolsFromCDXML(data)]


def by_indigo(data: str) -> list[str]:
    indigo = pytest.importorskip("indigo").Indigo()
    found = indigo.loadMolecule(data).smiles().split(" ")[0]
    return [Chem.CanonSmiles(found)]


@pytest.mark.parametrize("read", [by_rdkit, by_indigo])
@pytest.mark.parametrize("smiles", MOLECULES)
def test_others_read_the_same_molecule(read: Callable[[str], list[str]], smiles: str) -> None:
    want = Chem.CanonSmiles(smiles)
    data, number = document([reading(want)])
    assert number == 1
    assert Chem.CanonSmiles(".".join(read(data))) == want
    flat, _ = document([Reading(smiles=want)])  # in RDKit's layout
    assert Chem.CanonSmiles(".".join(read(flat))) == want


def test_groups_and_attachment_points() -> None:
    named = "A    1\nBoc\nM  END"
    boc = reading("*c1ccccc1")
    boc = Reading(smiles=boc.smiles, molfile=(boc.molfile or "").replace("M  END", named))
    data, _ = document([boc, reading("[1*]CC"), reading("*CC")])
    assert by_rdkit(data) == ["*c1ccccc1", "CC[*:1]", "*CC"]
    labels = [t.text for t in ElementTree.fromstring(data).iterfind(".//n/t/s")]
    assert labels == ["Boc", "R1", "*"]


@pytest.mark.parametrize("smiles", ["*c1ccccc1", "[1*]CC"])
def test_indigo_reads_groups_as_such(smiles: str) -> None:
    data, _ = document([reading(smiles)])
    assert by_indigo(data)[0].count("*") == 1


def test_wedges_stay_on_the_bonds_that_have_them() -> None:
    mol = reading("C[C@H](N)F").mol
    assert mol is not None
    marked = reading("C[C@H](N)F").molfile or ""
    bonds = [line.split() for line in marked.splitlines() if re.fullmatch(r"( +\d+){4}", line)]
    (drawn,) = [bond for bond in bonds if bond[3] != "0"]
    root = ElementTree.fromstring(document([reading("C[C@H](N)F")])[0])
    (found,) = root.iterfind(".//b[@Display]")
    nodes = [n.get("id") for n in root.iter("n")]
    assert [nodes.index(found.get(end)) + 1 for end in "BE"] == [int(n) for n in drawn[:2]]
    assert found.get("Display") == {"1": "WedgeBegin", "6": "WedgedHashBegin"}[drawn[3]]


def test_molecules_lie_beside_and_below_each_other(tmp_path: Path) -> None:
    many = [reading("CCCCCCCCCC", f"<{i}> & b.png") for i in range(40)]
    none = Reading(finish_reason="no molecule", source="x.png", smiles="C")
    assert write([*many, none], tmp_path / "o.cdxml") == 40
    root = ElementTree.parse(tmp_path / "o.cdxml").getroot()
    boxes = []
    for fragment in root.iter("fragment"):
        places = [tuple(map(float, str(n.get("p")).split())) for n in fragment.iter("n")]
        lengths = [math.dist(a, b) for a, b in pairwise(places)]
        assert sorted(lengths)[len(lengths) // 2] == pytest.approx(BOND, abs=0.1)
        xs, ys = zip(*places, strict=True)
        boxes.append((min(xs), min(ys), max(xs), max(ys)))
    assert all(x0 > 0 and x1 < WIDTH for x0, _, x1, _ in boxes)
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            assert a[0] > b[2] or b[0] > a[2] or a[1] > b[3] or b[1] > a[3]
    captions = [t.findtext("s") for t in root.iterfind("page/t")]
    assert captions == [f"<{i}> & b.png" for i in range(40)]
    ids = [e.get("id") for e in root.iter() if e.get("id") and e.tag != "font"]
    assert len(ids) == len(set(ids))
    assert int(root.find("page").get("HeightPages")) >= 2  # type: ignore[union-attr, arg-type]
    assert text(many, "cdxml") == (tmp_path / "o.cdxml").read_text("utf-8")


def test_what_has_a_fault_in_its_valence_is_drawn_as_it_was_read() -> None:
    block = reading("CO").molfile or ""
    broken = Reading(molfile=block.replace("  1  2  1  0", "  1  2  3  0"), error="valence")
    data, number = document([broken])
    assert number == 1
    assert 'Order="3"' in data
