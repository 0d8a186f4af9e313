"""The hands of RDKit and Indigo: what they draw, and where."""

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDepictor

pytest.importorskip("cv2")
pytest.importorskip("indigo")

from molgaze.molecule import molecule
from molgaze.train import programs
from molgaze.walk import decode, encode

SMILES = (
    "C[C@H](N)C(=O)Nc1ccc(Cl)cc1[N+](=O)[O-]",
    "COC(=O)c1ccc(OC(C)(C)C)cc1C(F)(F)F",
    "CC(C)(C)OC(=O)N[C@@H](Cc1ccccc1)C(=O)O",
    "[13CH3]CC(=O)O[15NH]C",
    "C/C=C/C[C@@H]1CC[C@H](O)C1",
    "[2H]C([2H])Oc1ccccn1",
    "CC(=O)[O-].[Na+]",
)
HANDS = (programs.rdkit, programs.indigo)


def laid_out(smiles):
    mol = Chem.MolFromSmiles(smiles)
    rdDepictor.Compute2DCoords(mol)
    return mol


def ink_near(drawing, place, reach):
    x, y = np.round(place).astype(int)
    r = max(round(reach), 1)
    spot = drawing.ink[max(y - r, 0) : y + r + 1, max(x - r, 0) : x + r + 1]
    return spot.size and spot.max()


@pytest.mark.parametrize("hand", HANDS)
@pytest.mark.parametrize("smiles", SMILES)
def test_graph_is_the_molecule(hand, smiles):
    mol = laid_out(smiles)
    for seed in range(6):
        drawing = hand(mol, np.random.default_rng(seed))
        walked, faults = decode(*encode(drawing.graph))
        assert not faults
        assert molecule(walked).smiles == Chem.CanonSmiles(smiles)


@pytest.mark.parametrize("hand", HANDS)
def test_places_lie_on_ink(hand):
    for seed in range(8):
        drawing = hand(laid_out(SMILES[seed % 3]), np.random.default_rng(seed))
        assert drawing.ink.dtype == np.uint8
        assert drawing.ink.max() > 100
        graph = drawing.graph
        for a, b, kind in graph.bonds:
            bare = graph.atoms[a] == graph.atoms[b] == "C"
            if kind == "-" and bare:
                middle = (graph.places[a] + graph.places[b]) / 2
                assert ink_near(drawing, middle, 0.05 * drawing.bond) > 30
        for i, spots in graph.glyphs.items():
            assert len(spots) == len(graph.atoms[i]) - 2
            for spot in spots:
                assert ink_near(drawing, spot, 0.3 * drawing.bond) > 30


@pytest.mark.parametrize("hand", HANDS)
def test_same_seed_same_picture(hand):
    mol = laid_out(SMILES[0])
    one, other = (hand(mol, np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(one.ink, other.ink)
    assert np.array_equal(one.graph.places, other.graph.places)
    assert one.graph.bonds == other.graph.bonds
    assert one.bond == pytest.approx(other.bond)


@pytest.mark.parametrize("hand", HANDS)
def test_labels_stand_for_their_groups(hand, monkeypatch):
    plan = programs._plan
    monkeypatch.setattr(programs, "_plan", lambda m, r, c, **k: plan(m, r, 0.9, **k))
    labels = 0
    for seed in range(12):
        smiles = SMILES[1 + seed % 2]
        try:
            drawing = hand(laid_out(smiles), np.random.default_rng(seed))
        except programs.DrawingError:  # a label whose glyphs are not found is drawn in full
            continue
        labels += len(drawing.graph.glyphs)
        assert molecule(decode(*encode(drawing.graph))[0]).smiles == Chem.CanonSmiles(smiles)
    assert labels > 5


@pytest.mark.parametrize("hand", HANDS)
def test_wedges_are_drawn_from_the_stereocentre(hand):
    for seed in range(6):
        graph = hand(laid_out(SMILES[0]), np.random.default_rng(seed)).graph
        assert sum(kind in "wh" for _, _, kind in graph.bonds) == 1


def test_no_conformer():
    for hand in HANDS:
        with pytest.raises(programs.DrawingError):
            hand(Chem.MolFromSmiles("CCO"), np.random.default_rng(0))


def test_what_indigo_cannot_draw():
    with pytest.raises(programs.DrawingError):
        programs.indigo(laid_out("[NH3]->[Pt](Cl)Cl"), np.random.default_rng(0))
    assert len(programs.rdkit(laid_out("[NH3]->[Pt](Cl)Cl"), np.random.default_rng(0)).graph.atoms)
