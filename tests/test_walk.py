"""The walk language: encode and decode are inverses, and decode takes anything."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem import rdDepictor

from molgaze import walk
from molgaze.molecule import molecule
from molgaze.train.depict import graph
from molgaze.walk import Graph, Trail, decode, encode

MOLECULES = [
    "C",
    "CC(=O)Oc1ccccc1C(=O)O",
    "C[C@H](N)C(=O)O",
    r"C/C=C/C(=O)N/N=C\c1ccccc1",
    "CN1C(=O)C[C@]2(C1)C(=O)N(C)c1ccc(Br)cc12",
    "[Na+].[O-]C(=O)c1ccccc1",
    "C1CC2CCC1CC2",
    "OC[C@H]1O[C@@H](O)[C@H](O)[C@@H](O)[C@@H]1O",
    "C[N+](C)(C)CC#N.[Cl-]",
    "[2H]C([2H])([2H])Oc1ccccc1",
    "C[13CH2]O",
    "[CH3]",
    "Cl[Pt](Cl)(N)N",
    "c1ccc2c(c1)[nH]c1ccccc12",
    "O=S(=O)(c1ccccc1)N1CCOCC1",
]


def laid_out(smiles: str) -> Chem.Mol:
    mol = Chem.MolFromSmiles(smiles)
    rdDepictor.Compute2DCoords(mol)
    return mol


@pytest.mark.parametrize("smiles", MOLECULES)
def test_a_walk_comes_back_as_the_same_molecule(smiles: str) -> None:
    drawn = graph(laid_out(smiles))
    tokens, places = encode(drawn)
    assert tokens[0] == walk.START
    assert tokens[-1] == walk.END
    assert all(token in walk.TOKEN_ID for token in tokens)
    back, faults = decode(tokens, places)
    assert faults == []
    assert molecule(back).smiles == Chem.CanonSmiles(smiles)


@pytest.mark.parametrize("smiles", MOLECULES)
def test_decoded_graph_is_the_encoded_graph_in_walk_order(smiles: str) -> None:
    drawn = graph(laid_out(smiles))
    back, _ = decode(*encode(drawn))
    assert sorted(back.atoms) == sorted(drawn.atoms)
    order = [int(np.argmin(((drawn.places - p) ** 2).sum(1))) for p in back.places]
    there = {(order[a], order[b], k) for a, b, k in back.bonds}
    same = {(a, b, k) for a, b, k in drawn.bonds} | {
        (b, a, k) for a, b, k in drawn.bonds if k not in "whd"
    }
    assert there <= same
    assert len(back.bonds) == len(drawn.bonds)


def test_order_is_top_left_first_then_clockwise() -> None:
    star = Graph(
        ["C", "N", "O", "F"],
        np.array([[1.0, 1.0], [0.0, 0.0], [2.0, 0.0], [1.0, 2.5]]),
        [(0, 1, "-"), (0, 2, "="), (0, 3, "-")],
    )
    tokens, places = encode(star)
    assert tokens == ["<", "N", "C", "=", "O", "^", "F", ">"]
    assert places[3].tolist() == [1.5, 0.5]  # a bond's place is its middle
    assert places[5].tolist() == [1.0, 1.0]  # a jump points at the atom it goes back to


@pytest.mark.parametrize("kind", ["w", "h", "d"])
def test_directed_bonds_keep_their_direction(kind: str) -> None:
    for bond in [(0, 1, kind), (1, 0, kind)]:
        drawn = Graph(["C", "N"], np.array([[0.0, 0.0], [1.0, 0.0]]), [bond])
        back, faults = decode(*encode(drawn))
        assert not faults
        assert back.bonds == [bond]


def test_a_label_is_written_glyph_by_glyph_at_its_places() -> None:
    glyphs = np.array([[1.0, 0.0], [1.5, 0.0], [2.0, 0.1], [2.5, 0.0], [3.0, 0.0]])
    drawn = Graph(["C", "[CO2Et]"], np.array([[0.0, 0.0], [1.0, 0.0]]), [(0, 1, "-")], {1: glyphs})
    tokens, places = encode(drawn)
    assert tokens == ["<", "C", "[", "'C", "'O", "'2", "'E", "'t", "]", ">"]
    assert np.array_equal(places[3:8], glyphs)
    back, faults = decode(tokens, places)
    assert not faults
    assert back.atoms == drawn.atoms
    assert np.array_equal(back.glyphs[1], glyphs)
    assert back.steps == [1, 2]


tokens_of_any_kind = st.lists(st.sampled_from((*walk.VOCABULARY, "nonsense")), max_size=40)
coordinate = st.one_of(st.floats(-1e6, 1e6), st.just(float("nan")), st.just(float("inf")))


@given(tokens_of_any_kind, st.lists(st.tuples(coordinate, coordinate), max_size=40))
@settings(max_examples=300, deadline=None)
def test_decode_never_raises(tokens: list[str], places: list[tuple[float, float]]) -> None:
    found, faults = decode(tokens, places)
    count = len(found.atoms)
    assert found.places.shape == (count, 2)
    assert len(found.steps) == count
    assert all(0 <= a < count and 0 <= b < count and a != b for a, b, _ in found.bonds)
    assert len({frozenset(b[:2]) for b in found.bonds}) == len(found.bonds)
    if tokens and not faults:
        assert walk.END in tokens


@given(st.lists(st.sampled_from(["C", "N", "O", "S", "=", "#", "w>", "^", "&", "."]), max_size=20))
@settings(max_examples=100, deadline=None)
def test_a_sound_walk_survives_another_round(tokens: list[str]) -> None:
    places = [(float(i % 5) * 10, float(i // 5) * 10) for i in range(len(tokens) + 1)]
    found, _ = decode([*tokens, ">"], places)
    again, faults = decode(*encode(found))
    assert not faults
    assert len(again.atoms) == len(found.atoms)
    assert len(again.bonds) == len(found.bonds)


def test_faults_name_what_is_wrong() -> None:
    for tokens, word in [
        (["C", "=", ">"], "nowhere"),
        (["&", ">"], "before the first atom"),
        (["C", "[", "'O"], "does not end"),
        (["C", "[", "]", ">"], "empty label"),
        (["C", "N"], "does not end"),
    ]:
        _, faults = decode(tokens, np.zeros((len(tokens), 2)))
        assert any(word in fault for fault in faults), (tokens, faults)


def test_trail_marks_atoms_and_bonds() -> None:
    trail = Trail()
    assert trail.step("C", (0.0, 0.0)) == ((0.0, 0.0), None)
    assert trail.step("=", (1.0, 0.0)) == (None, None)
    assert trail.step("[", (2.0, 0.0)) == ((2.0, 0.0), (1.0, 0.0))
    assert trail.step("'O", (2.0, 0.0)) == (None, None)
    assert trail.step("&", (0.0, 2.0)) == (None, (1.0, 1.0))
    assert trail.step("^", (0.0, 0.0)) == (None, None)
    assert trail.step("N", (0.0, 4.0)) == ((0.0, 4.0), (0.0, 2.0))
    trail.step(".", (9.0, 9.0))
    assert trail.step("O", (9.0, 9.0)) == ((9.0, 9.0), None)
