from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
from rdkit import Chem

from molgaze.molecule import molecule
from molgaze.train.corpus import layout
from molgaze.train.draw import own, style
from molgaze.train.lessons import upright
from molgaze.train.upright import lay_upright


def test_chain_lies_on_one_line_and_its_branches_stand_off_it() -> None:
    mol = Chem.MolFromSmiles("CCCCCC(=O)CCCCC")
    assert lay_upright(mol, np.random.default_rng(1), 0.4)
    xy = mol.GetConformer().GetPositions()[:, :2]
    for bond in mol.GetBonds():
        dx, dy = np.abs(xy[bond.GetBeginAtomIdx()] - xy[bond.GetEndAtomIdx()])
        assert min(dx, dy) < 0.75 * max(dx, dy)
    carbons = [a.GetIdx() for a in mol.GetAtoms() if a.GetAtomicNum() == 6]
    assert np.ptp(xy[carbons], axis=0).min() < 1.5


def test_what_has_no_room_or_no_chain_is_not_laid_out() -> None:
    rng = np.random.default_rng(1)
    assert not lay_upright(Chem.MolFromSmiles("CC"), rng, 0.4)
    assert not lay_upright(Chem.MolFromSmiles("CCC.CCC"), rng, 0.4)
    assert upright(Chem.MolFromSmiles("c1ccccc1"), rng) is None


@pytest.mark.parametrize("smiles", ["CCN(CC)c1ccc(C=Cc2ccccc2)cc1", "COC(=O)CCC(N)=O"])
def test_drawing_shows_the_molecule(smiles: str) -> None:
    rng = np.random.default_rng(2)
    for _ in range(5):
        drawing = upright(Chem.MolFromSmiles(smiles), rng)
        assert drawing is not None
        assert all(0 <= x < drawing.ink.shape[1] for x in drawing.graph.places[:, 0])
        shown = Chem.MolToSmiles(molecule(drawing.graph).mol, isomericSmiles=False)
        assert shown == Chem.CanonSmiles(smiles)


def test_partners_of_a_salt_are_written_with_their_number() -> None:
    rng = np.random.default_rng(3)
    mol = Chem.MolFromSmiles("C[N+](C)(C)CC[N+](C)(C)C.[Br-].[Br-]")
    assert layout(mol, rng)
    look = replace(style(rng, 12), counts=True, abbreviations=0.0, variables=0.0)
    assert "[2Br-]" in own(mol, rng, look).graph.atoms
