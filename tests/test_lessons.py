"""What lessons are made of: fused rings, cages, spelt chains, and the marks of their texts."""

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDepictor

pytest.importorskip("cv2")
pytest.importorskip("indigo")

from molgaze.molecule import molecule
from molgaze.train import corpus, depict, draw, lessons, programs, steroids

STEREO = (
    "C[C@H]1CC[C@@H]2CCCC[C@]2(C)C1",
    "C[C@@H](O)[C@H](N)CC",
    "O[C@H]1CC[C@@H](C)[C@H]2CCO[C@@H]12",
)


@pytest.mark.parametrize("smiles", STEREO)
def test_moved_wedges_tell_the_same(smiles: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mol = Chem.MolFromSmiles(smiles)
    rdDepictor.Compute2DCoords(mol)
    plain = depict.graph(mol)
    moved = 0
    for seed in range(8):
        chance = np.random.default_rng(seed)

        class Willing:  # draws as chance does, and always moves wedges
            def __init__(self, chance: np.random.Generator) -> None:
                self.chance, self.calls = chance, 0

            def random(self) -> float:
                self.calls += 1
                return 0.0 if self.calls == 1 else float(self.chance.random())

        graph = depict.graph(mol, Willing(chance))  # type: ignore[arg-type]
        assert molecule(graph).smiles == Chem.CanonSmiles(smiles)
        moved += set(graph.bonds) != set(plain.bonds)
    assert moved


def test_fused_rings_have_joints_and_stereo() -> None:
    found = [lessons.fused(np.random.default_rng(seed)) for seed in range(40)]
    sound = [mol for mol in found if mol is not None]
    assert len(sound) > 30
    for mol in sound:
        rings = mol.GetRingInfo()
        assert any(rings.NumAtomRings(a.GetIdx()) > 1 for a in mol.GetAtoms())
    assert np.mean(["@" in Chem.MolToSmiles(mol) for mol in sound]) > 0.7


def test_steroids_are_drawn_as_they_are() -> None:
    gonane = Chem.MolFromSmiles("C1CCC2C(C1)CCC1C2CCC2CCCC12")
    core = Chem.AdjustQueryParameters.NoAdjustments()
    core.makeBondsGeneric = core.makeAtomsGeneric = True
    shape = Chem.AdjustQueryProperties(gonane, core)
    found = with_hydrogens = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        mol = lessons._steroid(rng)
        assert mol is not None
        assert mol.HasSubstructMatch(shape)
        mol = corpus.stereocentres_with_hydrogens(mol, rng, 1.0)
        with_hydrogens += mol.GetNumAtoms() > mol.GetNumHeavyAtoms()
        if not corpus.layout(mol, rng, 0.5):
            continue
        found += 1
        want = Chem.MolToSmiles(Chem.RemoveHs(mol), isomericSmiles=True)
        got = Chem.MolFromSmiles(molecule(depict.graph(mol)).smiles or "")
        for bond in got.GetBonds():  # a drawing always tells the stereo of a double bond
            bond.SetStereo(Chem.BondStereo.STEREONONE)
        want_mol = Chem.MolFromSmiles(want)
        for bond in want_mol.GetBonds():
            bond.SetStereo(Chem.BondStereo.STEREONONE)
        assert Chem.MolToSmiles(got) == Chem.MolToSmiles(want_mol)
    assert found > 24
    assert with_hydrogens > 24


def test_glycosides_have_sugars_and_need_a_hydroxyl_group() -> None:
    rng = np.random.default_rng(4)
    alcohol = Chem.MolFromSmiles("OC1CCCCC1")
    acetal = Chem.MolFromSmarts("[CX4;R](O[CX4])[O;R]")
    counts = set()
    for _ in range(12):
        whole = steroids.glycoside(alcohol, rng)
        assert whole is not None
        counts.add(len(whole.GetSubstructMatches(acetal)))
    assert counts == {1, 2, 3}
    assert steroids.glycoside(Chem.MolFromSmiles("C1CCCCC1"), rng) is None


def test_macrocycles_are_rings_of_nine_and_more() -> None:
    sound = 0
    for seed in range(60):
        mol = lessons._macrocycle(Chem.Mol(), np.random.default_rng(seed))
        if mol is not None:
            sound += 1
            assert max(len(ring) for ring in mol.GetRingInfo().AtomRings()) >= 9
    assert sound > 50


@pytest.mark.parametrize("part", ["salts", "cages", "tiny", "stiff", "metals", "ligands"])
def test_every_word_of_a_part_is_a_molecule(part: str) -> None:
    for smiles in lessons._PARTS[part]:
        assert Chem.MolFromSmiles(smiles) is not None, smiles


def test_atoms_bear_their_ligands() -> None:
    found = [lessons._bearing(Chem.Mol(), np.random.default_rng(seed)) for seed in range(80)]
    sound = [mol for mol in found if mol is not None]
    assert len(sound) > 50
    assert any(a.GetSymbol() == "Sn" and a.GetDegree() == 4 for m in sound for a in m.GetAtoms())


def test_signs_and_small_letters_are_raised() -> None:
    assert draw._levels("But") == [0, 0, 1]
    assert draw._levels("ButO2C") == [0, 0, 1, 0, -1, 0]
    assert draw._levels("-O2C") == [1, 0, -1, 0]
    assert draw._levels("Butyl") == [0, 0, 0, 0, 0]
    assert programs._markup("CO2But", "sub") == "CO<sub>2</sub>Bu<sup>t</sup>"
    assert programs._markup("-O2C", "sub") == "<sup>-</sup>O<sub>2</sub>C"
    assert programs._markup("CO2-", "sub") == "CO<sub>2</sub><sup>-</sup>"


def test_a_charge_may_stand_off_its_label() -> None:
    look = draw.Style(bond=40.0, font=draw.usual_fonts()[0], circled_charges=True)
    close = draw.typeset("COO-", draw._levels("COO-"), look, 20.0, 0)
    far = draw._with_charge_away(
        draw.typeset("COO-", draw._levels("COO-"), look, 20.0, 0),
        3,
        draw.replace(look, charges_away=1.0),
        20.0,
    )
    assert far.boxes[:3] == close.boxes[:3]
    assert far.boxes[3][3] < min(box[1] for box in far.boxes[:3])
    ((x, y, radius),) = far.circles
    left, top, right, bottom = far.boxes[3]
    assert x - radius < left < right < x + radius
    assert y - radius < top < bottom < y + radius
