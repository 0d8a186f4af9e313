import gzip
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from molgaze import label
from molgaze.train.condense import condense, invent

PATENTS = Path(__file__).parents[2] / "shared/data/patent.smi.gz"
LISTED = """CCOC(=O)c1ccc(NC(=O)OC(C)(C)C)cc1OC CN(C)CCOc1ccc(C(F)(F)F)cc1[N+](=O)[O-]
CS(=O)(=O)Nc1ccc(C#N)cc1C(=O)O C[Si](C)(C)CCOCn1cc(B2OC(C)(C)C(C)(C)O2)cn1
O=C(OCc1ccccc1)N1CCN(C(=O)CCCO)CC1 CC(C)(C)[Si](C)(C)OC[C@H]1CC[C@@H](N=[N+]=[N-])O1
CCOP(=O)(OCC)Cc1ccc(OS(=O)(=O)C(F)(F)F)cc1 CCCCCCCCOc1ccc(C(=N)N)cc1
O=S(=O)(c1ccccc1)N1CCCC1CO CC(=O)OC1CC(OC(C)=O)C(COC(C)=O)O1 CC(C)Oc1ccnc(SC)c1C=O
CC(C)C[C@H](NC(=O)[C@H](Cc1ccccc1)NC(=O)OC(C)(C)C)C(=O)OC OB(O)c1ccc(CN(C)C)cc1
NC(=O)CCc1ccc(C(=O)NN)cc1 C=CCOC(=O)Nc1ccccc1CC=C CC(C)(O)C#Cc1ccc(OCCBr)cc1
CCN(CC)C(=O)c1ccc(CS(C)=O)cc1 COCCOCCOc1ccc(S(N)(=O)=O)cc1 C[N+](C)(C)Cc1ccc(C(=O)[O-])cc1
[2H]C([2H])([2H])Oc1ccc(CCCCCl)cc1 O=C(O)C[C@@H](O)Cc1ccccc1 CC/C=C/CCOc1ccccc1"""
SMILES = LISTED.split()


def group_smiles(mol, group):
    """The group cut out of the molecule, a dummy for each bond."""
    inside = set(group.atoms)
    bonds = mol.GetAtomWithIdx(group.anchor).GetBonds()
    cut = [b.GetIdx() for b in bonds if b.GetOtherAtomIdx(group.anchor) not in inside]
    pieces = Chem.FragmentOnBonds(mol, cut, dummyLabels=[(0, 0)] * len(cut))
    for atoms in Chem.GetMolFrags(pieces):
        if group.anchor in atoms:
            assert {i for i in atoms if i < mol.GetNumAtoms()} == inside
            return Chem.CanonSmiles(Chem.MolFragmentToSmiles(pieces, atoms)), len(cut)
    raise AssertionError


def text_smiles(text, cuts, first):
    mol = label.fragment(text, (1,) * cuts, first)
    if mol is None:
        return text
    for atom in mol.GetAtoms():
        atom.SetAtomMapNum(0)
    return Chem.CanonSmiles(Chem.MolToSmiles(mol))


def check(mol, groups):
    taken = set()
    for group in groups:
        assert taken.isdisjoint(group.atoms)
        taken.update(group.atoms)
        assert group.anchor in group.atoms
        expected, cuts = group_smiles(mol, group)
        assert text_smiles(group.text, cuts, True) == expected, group
        assert text_smiles(group.reverse, cuts, False) == expected, group
    return len(groups)


@pytest.mark.parametrize("smiles", SMILES)
def test_texts_read_back_as_their_groups(smiles):
    mol = Chem.MolFromSmiles(smiles)
    rng = np.random.default_rng(7)
    assert sum(check(mol, condense(mol, rng, 0.9)) for _ in range(25)) > 0


@pytest.mark.skipif(not PATENTS.exists(), reason="molecule list not here")
def test_patent_molecules():
    rng = np.random.default_rng(3)
    found = 0
    with gzip.open(PATENTS, "rt") as lines:
        for _, line in zip(range(500), lines, strict=False):
            mol = Chem.MolFromSmiles(line.split()[0])
            if mol is not None:
                found += check(mol, condense(mol, rng, 0.8))
    assert found > 300


def test_share():
    mol = Chem.MolFromSmiles(SMILES[0])
    rng = np.random.default_rng(0)
    assert condense(mol, rng, 0.0) == []
    few = sum(len(condense(mol, rng, 0.2)) for _ in range(200))
    many = sum(len(condense(mol, rng, 0.9)) for _ in range(200))
    assert 0 < few < many / 2


def test_the_same_seed_gives_the_same_groups():
    mol = Chem.MolFromSmiles(SMILES[0])
    one, two = (condense(mol, np.random.default_rng(5), 0.7) for _ in range(2))
    assert one == two


def test_spellings_vary():
    mol = Chem.MolFromSmiles("CCOC(=O)c1ccc2ccccc2c1")
    rng = np.random.default_rng(1)
    texts = {g.text for _ in range(300) for g in condense(mol, rng, 1.0)}
    assert {"CO2Et", "COOEt", "CO2CH2CH3", "CO2C2H5"} <= texts


def test_stereo_and_isotopes_stay_drawn():
    for smiles in ("C[C@H](O)Cc1ccccc1", "CC/C=C/c1ccccc1", "[2H]C([2H])([2H])Oc1ccccc1"):
        mol = Chem.MolFromSmiles(smiles)
        kept = {
            atom.GetIdx()
            for atom in mol.GetAtoms()
            if atom.GetChiralTag() != Chem.ChiralType.CHI_UNSPECIFIED or atom.GetIsotope()
        }
        kept |= {
            i
            for bond in mol.GetBonds()
            if bond.GetStereo() > Chem.BondStereo.STEREOANY
            for i in (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
        }
        for seed in range(40):
            for group in condense(mol, np.random.default_rng(seed), 1.0):
                assert kept.isdisjoint(group.atoms)


def test_invented_labels_use_the_glyphs_of_labels():
    rng = np.random.default_rng(2)
    texts = [invent(rng) for _ in range(500)]
    allowed = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789()+-,.'/*=#")
    assert all(text and set(text) <= allowed for text in texts)
    assert sum(map(label.is_variable, texts)) > 250
