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
        ("OC(O)CC", [(0.4, 0.1), (0, 0), (0.4, -0.1), (-1, 0), (-2, 0)], False),  # two texts
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


@pytest.mark.parametrize("later", [0.0, 1.0])
def test_hydrogens_are_laid_out_with_the_rest_or_later(
    later: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is laid out later has shorter bonds; the molecule stays the same."""
    monkeypatch.setattr(corpus, "ADDED_LATER", later)
    smiles = "C[C@H]1CC[C@H]2[C@@H]3CCC[C@@H]3CC[C@H]2C1"
    rng = np.random.default_rng(3)
    mol = corpus.stereocentres_with_hydrogens(Chem.MolFromSmiles(smiles), rng, 1.0)
    atoms = [a.GetAtomicNum() for a in mol.GetAtoms()]
    for _ in range(20):
        assert corpus.layout(mol, rng, coordgen=0.0)
        assert [a.GetAtomicNum() for a in mol.GetAtoms()] == atoms
        assert drawn_back(mol) == Chem.CanonSmiles(smiles)
        xy = mol.GetConformer().GetPositions()[:, :2]
        lengths = [
            float(np.linalg.norm(xy[b.GetBeginAtomIdx()] - xy[b.GetEndAtomIdx()]))
            for b in mol.GetBonds()
            if 1 in (b.GetBeginAtom().GetAtomicNum(), b.GetEndAtom().GetAtomicNum())
        ]
        assert lengths
        assert (max(lengths) < 1.1) == bool(later)


def test_hydrogens_are_drawn_at_every_stereocentre_or_where_rings_meet() -> None:
    mol = Chem.MolFromSmiles("O[C@H]1CC[C@@H]2CCCC[C@H]2C1")
    counts = {
        corpus.stereocentres_with_hydrogens(mol, np.random.default_rng(s), 1.0).GetNumAtoms()
        - mol.GetNumAtoms()
        for s in range(20)
    }
    assert counts == {2, 3}


def test_cubanes_are_cages() -> None:
    for smiles in ("C12C3C4C1C5C2C3C45", "OC12C3C4C5C3C1C5C24", "C12C3C1C1C2C31"):
        mol = Chem.MolFromSmiles(smiles)
        assert cages.bridged(mol)
        assert cages.draw_in_space(mol, np.random.default_rng(0))
        assert drawn_back(mol) == Chem.MolToSmiles(mol)


def test_cages_of_every_make_are_drawn_in_space() -> None:
    rng = np.random.default_rng(5)
    drawn = 0
    for _ in range(40):
        mol = cages.cage(rng)
        assert mol is not None
        if cages.draw_in_space(mol, rng):
            drawn += 1
            assert drawn_back(mol) == Chem.MolToSmiles(mol)
    assert drawn > 24  # of others, a view would hide something, or there is none


def test_another_ring_is_tied_to_a_cage() -> None:
    base = Chem.MolFromSmiles("C1CC2CCC1C2")
    sizes = set()
    for seed in range(60):
        mol = cages._tied(Chem.RWMol(base), np.random.default_rng(seed))
        assert Chem.SanitizeMol(mol, catchErrors=True) == Chem.SanitizeFlags.SANITIZE_NONE
        assert len(Chem.GetMolFrags(mol)) == 1
        sizes.add(mol.GetNumBonds() - mol.GetNumAtoms() + 1)
    assert 3 in sizes
    assert sizes <= {2, 3}  # 2 where there is no room for one


def test_what_hangs_on_a_cage_does_not_lie_on_it() -> None:
    mol = Chem.MolFromSmiles("C1CC2CCC1C2CCCC")
    rng = np.random.default_rng(0)
    assert cages.draw_in_space(mol, rng)
    conformer = mol.GetConformer()
    middle = conformer.GetPositions()[:7].mean(0)
    for i, (x, y) in zip(range(7, 11), [(-2, 0), (2, 0.1), (-2, 0.2), (2, 0.3)], strict=True):
        conformer.SetAtomPosition(i, [float(middle[0] + x), float(middle[1] + y), 0.0])
    assert cages._is_crossed(mol, set(range(7)))


def test_of_two_bonds_that_cross_one_is_interrupted() -> None:
    places = np.array([(10.0, 50.0), (90.0, 50.0), (50.0, 10.0), (50.0, 90.0), (90.0, 90.0)])
    bonds = [(0, 1, "-"), (2, 3, "-"), (3, 4, "-"), (1, 4, "-")]
    whole = np.zeros((100, 100), np.uint8)
    for a, b, _ in bonds:
        (x, y), (u, v) = places[a].astype(int), places[b].astype(int)
        whole[min(y, v) - 1 : max(y, v) + 2, min(x, u) - 1 : max(x, u) + 2] = 255
    fronts = set()
    for seed in range(12):
        ink = whole.copy()
        assert cages.interrupt(ink, places, bonds, 80.0, 3.0, np.random.default_rng(seed)) == 1
        across, along = ink[50, 10:91].min() > 0, ink[10:91, 50].min() > 0
        assert across != along  # one runs through, the other stops at both sides of it
        fronts.add(across)
        changed = np.argwhere(ink != whole)
        assert len(changed)
        assert np.abs(changed - 50).max() < 20
    assert fronts == {True, False}
    ink = whole.copy()
    wedged = [(0, 1, "w"), *bonds[1:]]
    assert cages.interrupt(ink, places, wedged, 80.0, 3.0, np.random.default_rng(0)) == 0
    assert (ink == whole).all()
