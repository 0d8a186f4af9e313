"""What a corpus does to molecules before they are drawn: cages, salts, hydrogens, layouts."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem

pytest.importorskip("cv2")

from molgaze import walk
from molgaze.molecule import molecule
from molgaze.train import cages, corpus, draw
from molgaze.train.depict import graph


def drawn_back(mol: Chem.Mol) -> str | None:
    """SMILES of what a drawing of a laid-out molecule shows."""
    return molecule(graph(mol)).smiles


@pytest.mark.parametrize("smiles", cages.CAGES)
def test_every_cage_is_drawn_in_space(smiles: str) -> None:
    rng = np.random.default_rng(1)
    mol = Chem.MolFromSmiles(smiles)
    assert len(cages.bridged(mol)) == 1
    assert cages.draw_in_space(mol, rng)
    xy = mol.GetConformer().GetPositions()[:, :2]
    gaps = np.linalg.norm(xy[:, None] - xy[None], axis=-1) + 9 * np.eye(len(xy))
    assert gaps.min() > 0.15 * cages.BOND
    assert drawn_back(mol) == Chem.MolToSmiles(mol)


def test_a_cage_hangs_on_a_molecule() -> None:
    phenol = Chem.MolFromSmiles("Oc1ccccc1")
    for seed in range(10):
        hung = cages.hang(phenol, np.random.default_rng(seed))
        assert hung.HasSubstructMatch(phenol)
        assert len(cages.bridged(hung)) == 1
    lone = Chem.MolFromSmiles("[Na+].[Cl-]")
    assert cages.hang(lone, np.random.default_rng(0)) is lone


@pytest.mark.parametrize("smiles", ["c1ccc2ccccc2c1", "C1CC2(C1)CCCC2", "CCO", "C1CCC2CCCCC2C1"])
def test_fused_and_spiro_rings_are_no_cages(smiles: str) -> None:
    mol = Chem.MolFromSmiles(smiles)
    assert cages.bridged(mol) == []
    assert not cages.draw_in_space(mol, np.random.default_rng(0))


def test_a_cage_keeps_its_stereo() -> None:
    mol = Chem.MolFromSmiles("CN1[C@H]2CC[C@@H]1C[C@H](OC(=O)c1ccccc1)C2")
    for seed in range(10):
        assert cages.draw_in_space(mol, np.random.default_rng(seed))
        assert drawn_back(mol) == Chem.MolToSmiles(mol)


def test_fragments_stand_apart() -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        mol = corpus._salt(Chem.MolFromSmiles("CCN(CC)CCOC(=O)c1ccccc1"), rng)
        while not corpus.layout(mol, rng):
            pass
        parts = Chem.GetMolFrags(mol)
        assert len(parts) > 1
        xy = mol.GetConformer().GetPositions()[:, :2]
        for k, part in enumerate(parts):
            for other in parts[:k]:
                apart = np.linalg.norm(xy[list(part)][:, None] - xy[list(other)], axis=-1)
                assert apart.min() > 0.9


def test_equal_partners_are_written_with_their_number() -> None:
    mol = Chem.MolFromSmiles("CCN.Cl.Cl.O.O.O")
    rng = np.random.default_rng(2)
    while not corpus.layout(mol, rng):
        pass
    look = draw.Style(bond=40.0, font=draw.usual_fonts()[0], counts=True)
    drawn = draw.own(mol, rng, look)
    assert sorted(a for a in drawn.graph.atoms if a[0] == "[") == ["[2HCl]", "[3H2O]"]
    back, faults = walk.decode(*walk.encode(drawn.graph))
    assert not faults
    assert molecule(back).smiles == Chem.MolToSmiles(mol)


@pytest.mark.parametrize("smiles", ["O=Cc1ccccc1", "C#CCO", "CC(=O)NC", "C[C@H]1CCCC[C@@H]1O"])
def test_hydrogens_drawn_as_atoms_change_nothing(smiles: str) -> None:
    counts = set()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        mol = corpus._hydrogens(Chem.MolFromSmiles(smiles), rng)
        counts.add(mol.GetNumAtoms())
        while not corpus.layout(mol, rng):
            pass
        assert drawn_back(mol) == Chem.CanonSmiles(smiles)
    assert len(counts) > 1


def test_ends_are_crossed_at_right_angles() -> None:
    rng = np.random.default_rng(0)
    mol = Chem.MolFromSmiles("FC(F)(F)c1ccccc1")
    for _ in range(8):
        corpus.rdDepictor.Compute2DCoords(mol)
        corpus._cross_ends(mol, rng)
        xy = mol.GetConformer().GetPositions()[:, :2]
        ways = xy[[0, 2, 3]] - xy[1]
        if abs(ways[0] @ ways[1]) < 1e-6 or abs(ways[0] @ ways[2]) < 1e-6:
            return
    pytest.fail("never crossed")


@pytest.mark.parametrize("unit", [1.0, 1.5])
@pytest.mark.parametrize(
    ("smiles", "places", "legible"),
    [
        ("CCO", [(0, 0), (1, 0), (1.5, 0.87)], True),
        ("CC[O]", [(0, 0), (1, 0), (0.1, 0.05)], False),  # the ends of a chain meet
        ("CCCC", [(0, 0), (1, 0), (2, 0), (2.2, 0.1)], False),  # a bond too short to be seen
        ("CC(C)CC", [(0.4, 0.1), (0, 0), (0.4, -0.1), (-1, 0), (-2, 0)], True),  # a narrow pair
        ("CC(C)CC", [(0.4, 0.05), (0, 0), (0.4, -0.05), (-1, 0), (-2, 0)], False),
        ("[Na+].[Cl-]", [(0, 0), (0.2, 0)], False),
        ("[Na+].[Cl-]", [(0, 0), (2, 0)], True),
        ("C", [(0, 0)], True),
    ],
)
def test_atoms_on_top_of_one_another_are_not_legible(
    smiles: str, places: list[tuple[float, float]], legible: bool, unit: float
) -> None:
    mol = Chem.MolFromSmiles(smiles)
    conformer = Chem.Conformer(mol.GetNumAtoms())
    scale = unit if mol.GetNumBonds() else 1.5
    for i, (x, y) in enumerate(places):
        conformer.SetAtomPosition(i, (float(x * scale), float(y * scale), 0.0))
    mol.AddConformer(conformer)
    assert corpus._is_legible(mol) is legible


def test_hydrogens_inside_rings_are_laid_out() -> None:
    """CoordGen puts them there, on short bonds."""
    smiles = "C[C@]12CC[C@H]3[C@@H](CC[C@H]4CCCC[C@]34C)[C@@H]1CCC2"
    rng = np.random.default_rng(2)
    mol = corpus.stereocentres_with_hydrogens(Chem.MolFromSmiles(smiles), rng, 1.0)
    assert mol.GetNumAtoms() > mol.GetNumHeavyAtoms() + 3
    assert corpus.layout(mol, rng, coordgen=1.0)
    assert drawn_back(mol) == Chem.CanonSmiles(smiles)
