"""molecule.py: graphs as a picture shows them -> molecules, and the way back."""

from __future__ import annotations

import csv
import math
import random
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem import rdDepictor, rdMolDescriptors

from molgaze import graft as grafts
from molgaze import label
from molgaze.finding import Kind
from molgaze.molecule import Molecule, MoleculeError, molecule
from molgaze.train.depict import graph
from molgaze.walk import Graph

Bonds = list[tuple[int, int, str]]
GROUPS = list(
    csv.DictReader((Path(__file__).parent / "labels.csv").read_text("utf-8").splitlines())
)

SMILES = [
    "CC(=O)Oc1ccccc1C(=O)O",
    "C[C@@H](N)C(=O)O",
    "C[C@H](O)[C@@H](O)C",
    "C/C=C/C(=O)O",
    "C/C=C\\C",
    "F/C=C/C=C\\Cl",
    "C[C@H]1CC[C@@H](O)CC1",
    "OC[C@H]1O[C@@H](O)[C@H](O)[C@@H](O)[C@@H]1O",
    "C[C@]12CC[C@H]3[C@@H](CCc4cc(O)ccc43)[C@@H]1CC[C@@H]2O",
    "CN1C=NC2=C1C(=O)N(C(=O)N2C)C",
    "c1ccc2[nH]ccc2c1",
    "O=[N+]([O-])c1ccccc1",
    "C[N+](C)(C)C.[Cl-]",
    "[O-][n+]1ccccc1",
    "CN=[N+]=[N-]",
    "[C-]#[N+]C",
    "[13CH3]C",
    "[2H]C([2H])([2H])O",
    "[2H]O[2H]",
    "[3H]c1ccccc1",
    "F[PH](F)(F)F",
    "[PH5]",
    "CC[S@](C)=O",
    "O=[PH](OC)OC",
    "C[SH](C)C",
    "C[S+](C)C",
    "CC[C@H](C)[P@](C)c1ccccc1",
    "[CH3]",
    "[CH2]",
    "CC(C)(C)N([O])C(C)(C)C",
    "[O][O]",
    "[Na+].[OH-]",
    "[Na]",
    "[AlH3]",
    "[Li]CCCC",
    "C[Mg]Br",
    "Cl[Pt](Cl)(<-[NH3])<-[NH3]",
    "[Fe+2]",
    "[V+5]",
    "[H][H]",
    "[H+]",
    "B",
    "[BH4-]",
    "F[B-](F)(F)F",
    "C[Si](C)(C)C",
    "C[SnH](C)C",
    "[SiH4]",
    "O",
    "N",
    "[NH4+]",
    "[OH3+]",
    "[H]/N=C/C",
    "C/C=N/O",
    "C/C(=N\\O)c1ccccc1",
    "C1CCCCCC/C=C/1",
    "C1CCCCCC/C=C\\1",
    "Ic1ccccc1",
    "O=I(=O)c1ccccc1",
    "O=Cl(=O)(=O)O",
    "OS(=O)(=O)O",
    "c1ccc2ccccc2c1",
    "[O-]c1cc[o+]cc1",
    "*CC",
    "[1*]CC[2*]",
    "CC1=C(C)C(=O)c2ccccc2C1=O",
    "C#N",
]


def laid_out(smiles: str) -> Chem.Mol:
    mol = Chem.MolFromSmiles(smiles)
    rdDepictor.SetPreferCoordGen(False)
    rdDepictor.Compute2DCoords(mol)
    return mol


def in_pixels(mol: Chem.Mol, rng: random.Random | None = None) -> Graph:
    drawn = graph(mol, rng)
    drawn.places = drawn.places * (20 / 1.5) + 100
    return drawn


def read(atoms: list[str], places: list[tuple[float, float]], bonds: Bonds) -> Molecule:
    return molecule(Graph(atoms, np.array(places, dtype=float), bonds))


def ring(n: int, kind: str, radius: float = 20.0) -> tuple[list[tuple[float, float]], Bonds]:
    angles = [2 * math.pi * k / n for k in range(n)]
    places = [(100 + radius * math.cos(a), 100 + radius * math.sin(a)) for a in angles]
    return places, [(k, (k + 1) % n, kind) for k in range(n)]


@pytest.mark.parametrize("smiles", SMILES)
def test_round_trip(smiles: str) -> None:
    want = Chem.CanonSmiles(smiles)
    found = molecule(in_pixels(laid_out(smiles)))
    assert found.smiles == want
    assert Chem.MolToSmiles(found.mol) == want
    from_file = Chem.MolFromMolBlock(found.molfile)
    assert Chem.CanonSmiles(Chem.MolToSmiles(from_file)) == want
    assert len(found.atoms) == found.mol.GetNumAtoms()


@settings(max_examples=60, deadline=None)
@given(
    smiles=st.sampled_from(SMILES),
    turn=st.floats(0, 2 * math.pi),
    scale=st.floats(8, 60),
    seed=st.integers(0, 2**32 - 1),
)
def test_round_trip_turned_scaled_and_shuffled(
    smiles: str, turn: float, scale: float, seed: int
) -> None:
    rng = random.Random(seed)
    mol = laid_out(smiles)
    order = list(range(mol.GetNumAtoms()))
    rng.shuffle(order)
    drawn = graph(Chem.RenumberAtoms(mol, order), rng)
    cos, sin = math.cos(turn), math.sin(turn)
    drawn.places = drawn.places @ np.array([[cos, sin], [-sin, cos]]) * scale
    assert molecule(drawn).smiles == Chem.CanonSmiles(smiles)


@pytest.mark.parametrize("smiles", ["C/C=C/C(=O)O", "C[C@@H](N)C(=O)O", "C[C@H]1CC[C@@H](O)CC1"])
def test_noise_of_a_picture_changes_nothing(smiles: str) -> None:
    noise = np.random.default_rng(7)
    for _ in range(20):
        drawn = in_pixels(laid_out(smiles))
        drawn.places = drawn.places + noise.uniform(-2, 2, drawn.places.shape)
        assert molecule(drawn).smiles == Chem.CanonSmiles(smiles)


def test_conformer_is_the_picture_with_y_up_and_atoms_point_back() -> None:
    found = read(["O", "C", "C"], [(60, 10), (40, 30), (20, 10)], [(0, 1, "-"), (1, 2, "-")])
    positions = found.mol.GetConformer().GetPositions()
    assert positions[found.atoms.index(0)].tolist() == [60, -10, 0]
    assert found.inchikey == "LFQSCWFLJHTTHZ-UHFFFAOYSA-N"
    assert found.cxsmiles is None
    assert found.warnings == ()


def test_wedge_and_hash_are_mirror_images() -> None:
    places = [(40.0, 40.0), (40.0, 20.0), (57.0, 50.0), (23.0, 50.0)]
    atoms = ["C", "N", "C", "F"]
    got = {
        kind: read(atoms, places, [(0, 1, kind), (0, 2, "-"), (0, 3, "-")]).smiles
        for kind in "wh~-"
    }
    assert got == {"w": "C[C@H](N)F", "h": "C[C@@H](N)F", "~": "CC(N)F", "-": "CC(N)F"}


def test_only_the_narrow_end_makes_stereo() -> None:
    places = [(40.0, 40.0), (40.0, 20.0), (57.0, 50.0), (23.0, 50.0)]
    found = read(["C", "N", "C", "F"], places, [(1, 0, "w"), (0, 2, "-"), (0, 3, "-")])
    assert found.smiles == "CC(N)F"
    assert "wedge" in found.warnings[0]


def test_the_molfile_of_a_drawn_enantiomer_is_no_racemate() -> None:
    chiral = molecule(in_pixels(laid_out("C[C@H](N)C(=O)O")))
    assert chiral.molfile.splitlines()[3].split()[4] == "1"
    assert molecule(in_pixels(laid_out("CC(N)C(=O)O"))).molfile.splitlines()[3].split()[4] == "0"


@pytest.mark.parametrize("wedged", [1, 2, 3])
@pytest.mark.parametrize("kind", ["w", "h"])
def test_the_molfile_has_wedges_where_they_were_drawn(wedged: int, kind: str) -> None:
    places = [(100.0, 100.0), (100.0, 80.0), (83.0, 110.0), (117.0, 110.0)]
    bonds = [(0, i, kind if i == wedged else "-") for i in (1, 2, 3)]
    found = read(["C", "F", "Cl", "Br"], places, bonds)
    marks = [line.split() for line in found.molfile.splitlines()[8:11]]
    assert [mark for mark in marks if mark[3] != "0"] == [
        ["1", str(wedged + 1), "1", {"w": "1", "h": "6"}[kind]]
    ]
    assert Chem.MolToSmiles(Chem.MolFromMolBlock(found.molfile)) == found.smiles


def test_wedge_between_two_centres_belongs_to_its_narrow_end() -> None:
    mol = laid_out("C[C@H](O)[C@@H](N)F")
    drawn = in_pixels(mol)
    centres = [1, 3]
    drawn.bonds = [(a, b, "w" if {a, b} == set(centres) else "-") for a, b, _ in drawn.bonds]
    drawn.bonds = [(1, 3, k) if {a, b} == {1, 3} else (a, b, k) for a, b, k in drawn.bonds]
    assert Chem.FindMolChiralCenters(molecule(drawn).mol)[0][0] == 1
    assert len(Chem.FindMolChiralCenters(molecule(drawn).mol)) == 1


def test_drawn_hydrogens_count_for_stereo_and_then_go() -> None:
    places = [(40.0, 40.0), (40.0, 20.0), (57.0, 50.0), (23.0, 50.0), (30.0, 25.0)]
    bonds: Bonds = [(0, 1, "-"), (0, 2, "-"), (0, 3, "-"), (0, 4, "w")]
    found = read(["C", "N", "C", "F", "H"], places, bonds)
    # Seen from the hydrogen, which is above the plane, N, C and F follow one another clockwise.
    assert found.smiles == "C[C@@H](N)F"
    assert found.mol.GetNumAtoms() == 4
    bonds[-1] = (0, 4, "h")
    assert read(["C", "N", "C", "F", "H"], places, bonds).smiles == "C[C@H](N)F"


@pytest.mark.parametrize("kind", ["w", "h", "~"])
@pytest.mark.parametrize("atom", ["C", "N+"])
def test_the_molfile_has_the_hydrogens_of_wedges(atom: str, kind: str) -> None:
    places = [(40.0, 40.0), (30.0, 25.0), (40.0, 20.0), (57.0, 50.0), (23.0, 50.0)]
    bonds: Bonds = [(0, 1, kind), (0, 2, "-"), (0, 3, "-"), (0, 4, "-")]
    found = read([atom, "H", "O", "C", "F"], places, bonds)
    block = found.molfile
    drawn = Chem.MolFromMolBlock(block, removeHs=False)
    assert [a.GetSymbol() for a in drawn.GetAtoms()] == [atom[0], "O", "C", "F", "H"]
    assert drawn.GetConformer().GetPositions()[4].tolist() == [30.0, -25.0, 0.0]
    assert (found.atoms, found.molfile_atoms) == ((0, 2, 3, 4), (0, 2, 3, 4, 1))
    marks = [line.split() for line in block.splitlines()[9:13]]
    marked = [mark for mark in marks if mark[3] != "0"]
    assert marked == [["1", "5", "1", {"w": "1", "h": "6", "~": "4"}[kind]]]
    assert Chem.MolToSmiles(Chem.MolFromMolBlock(block)) == found.smiles
    assert ("@" in found.smiles) == (kind != "~")


def test_a_hydrogen_whose_wedge_says_nothing_is_not_in_the_molfile() -> None:
    places = [(40.0, 40.0), (40.0, 20.0), (57.0, 50.0), (23.0, 50.0)]
    # The narrow end is at the hydrogen.
    found = read(["C", "C", "C", "H"], places, [(0, 1, "-"), (0, 2, "="), (3, 0, "w")])
    assert found.mol.GetNumAtoms() == Chem.MolFromMolBlock(found.molfile).GetNumAtoms() == 3
    assert found.molfile_atoms == found.atoms


@pytest.mark.parametrize(
    ("end", "smiles"),
    [((77.0, 30.0), "C/C=C/C"), ((77.0, 50.0), "C/C=C\\C"), ((80.0, 43.0), "CC=CC")],
)
def test_double_bond_stereo_needs_a_bend(end: tuple[float, float], smiles: str) -> None:
    places = [(23.0, 50.0), (40.0, 40.0), (60.0, 40.0), end]
    bonds: Bonds = [(0, 1, "-"), (1, 2, "="), (2, 3, "-")]
    assert read(["C"] * 4, places, bonds).smiles == smiles


@pytest.mark.parametrize("kinds", ["-x-", "~=-", "-=~"])
def test_crossed_and_wavy_mean_unknown(kinds: str) -> None:
    places = [(23.0, 50.0), (40.0, 40.0), (60.0, 40.0), (77.0, 30.0)]
    bonds: Bonds = [(0, 1, kinds[0]), (1, 2, kinds[1]), (2, 3, kinds[2])]
    found = read(["C"] * 4, places, bonds)
    assert found.smiles == "CC=CC"
    assert Chem.MolToSmiles(Chem.MolFromMolBlock(found.molfile)) == "CC=CC"


def test_imine_without_a_drawn_hydrogen_has_no_stereo() -> None:
    places = [(23.0, 50.0), (40.0, 40.0), (60.0, 40.0)]
    assert read(["C", "C", "N"], places, [(0, 1, "-"), (1, 2, "=")]).smiles == "CC=N"


def test_unknown_double_bond_of_a_mol_is_drawn_crossed() -> None:
    mol = laid_out("CC=CC")
    assert {k for _, _, k in graph(mol).bonds} == {"-", "="}
    mol.GetBondWithIdx(1).SetStereo(Chem.BondStereo.STEREOANY)
    assert {k for _, _, k in graph(mol).bonds} == {"-", "x"}


def test_any_and_dative_bonds_survive_the_molfile() -> None:
    places = [(0.0, 0.0), (20.0, 0.0)]
    assert read(["C", "C"], places, [(0, 1, "?")]).smiles == Chem.CanonSmiles("C~C")
    for kind in "?d":
        found = read(["N", "Fe2+"], places, [(0, 1, kind)])
        again = Chem.MolFromMolBlock(found.molfile)
        assert Chem.MolToSmiles(again) == found.smiles == Chem.MolToSmiles(found.mol)


def test_circles() -> None:
    places, bonds = ring(6, ":")
    assert read(["C"] * 6, places, bonds).smiles == "c1ccccc1"
    assert read(["C"] * 5 + ["N"], places, bonds).smiles == "c1ccncc1"
    places, bonds = ring(5, ":")
    pyrrole = read(["C"] * 4 + ["N"], places, bonds)
    assert pyrrole.smiles == "c1cc[nH]c1"
    assert "NH" in pyrrole.warnings[0]
    assert read(["C", "N", "C", "C", "N"], places, bonds).smiles == "c1c[nH]cn1"
    five = read(["C"] * 5, places, bonds)
    assert not five.valid
    assert five.findings[0].kind is Kind.CIRCLE
    assert five.warnings[0].startswith("atom 1 (C at 120, 100): no arrangement")


@pytest.mark.parametrize(
    ("atoms", "bonds", "smiles", "warned"),
    [
        ("C N O O", [(0, 1, "-"), (1, 2, "="), (1, 3, "=")], "C[N+](=O)[O-]", False),
        ("C N+ O O", [(0, 1, "-"), (1, 2, "="), (1, 3, "=")], "C[N+](=O)[O-]", True),
        ("N C C C C", [(0, k, "-") for k in range(1, 5)], "C[N+](C)(C)C", True),
        ("N C C C O", [(0, k, "-") for k in range(1, 5)], "C[N+](C)(C)[O-]", True),
        ("C N N N", [(0, 1, "-"), (1, 2, "="), (2, 3, "=")], "CN=[N+]=[N-]", True),
        ("C N N N", [(0, 1, "-"), (1, 2, "="), (2, 3, "#")], "CN=[N+]=[N-]", False),
        ("C N C", [(0, 1, "-"), (1, 2, "#")], "[C-]#[N+]C", True),
        ("O C C C", [(0, k, "-") for k in range(1, 4)], "C[O+](C)C", True),
        ("S C C C", [(0, k, "-") for k in range(1, 4)], "C[S+](C)C", True),
        ("B F F F F", [(0, k, "-") for k in range(1, 5)], "F[B-](F)(F)F", True),
        ("N C C C O", [(0, 1, "-"), (0, 2, "-"), (0, 3, "-"), (0, 4, "d")], None, False),
        ("S C C O", [(0, 1, "-"), (0, 2, "-"), (0, 3, "d")], "CS(C)=O", False),
    ],
)
def test_certain_repairs(atoms: str, bonds: Bonds, smiles: str | None, warned: bool) -> None:
    names = atoms.split()
    places = [(100.0, 100.0)] + [(100 + 20 * k, 80.0 + 7 * (k % 2)) for k in range(1, len(names))]
    found = read(names, places, bonds)
    assert found.smiles == (smiles or "C[N+](C)(C)[O-]")
    assert bool(found.warnings) == warned


@pytest.mark.parametrize(
    ("atoms", "places", "bonds", "message"),
    [
        ([], [], [], "no atoms"),
        (["C"], [(0, float("nan"))], [], "finite places"),
        (["Qq"], [(0, 0)], [], "unknown element 'Qq'"),
        (["C", "C"], [(0, 0), (20, 0)], [(0, 2, "-")], "no such bond"),
        (["C", "C"], [(0, 0), (20, 0)], [(0, 1, "!")], "no such bond"),
        (["C", "C"], [(0, 0), (20, 0)], [(0, 1, "-"), (1, 0, "=")], "twice"),
        (["C", "C"], [(0, 0), (20, 0)], [(0, 0, "-")], "itself"),
    ],
)
def test_errors_say_where(
    atoms: list[str], places: list[tuple[float, float]], bonds: Bonds, message: str
) -> None:
    with pytest.raises(MoleculeError, match=message):
        read(atoms, places, bonds)


def test_no_rdkit_noise(capfd: pytest.CaptureFixture[str]) -> None:
    assert read(["F", "C"], [(7, 9), (20, 0)], [(0, 1, "=")]).molfile
    molecule(in_pixels(laid_out("[1*]CC*")))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("label", "x", "smiles"),
    [
        ("[CO2Et]", 57.0, "CCOC(=O)C[C@H](N)F"),
        ("[EtO2C]", 23.0, "CCOC(=O)C[C@@H](N)F"),
        ("[NHBoc]", 57.0, "CC(C)(C)OC(=O)NC[C@H](N)F"),
        ("[13CH3]", 57.0, "N[C@@H](F)C[13CH3]"),
    ],
)
def test_labels_become_atoms(label: str, x: float, smiles: str) -> None:
    places = [(40.0, 40.0), (40.0, 20.0), (40 + (x - 40) / 1, 50.0), (80 - x, 50.0)]
    places.append((x + (x - 40), 40.0))
    bonds: Bonds = [(0, 1, "w"), (0, 2, "-"), (0, 3, "-"), (2, 4, "-")]
    found = read(["C", "N", "C", "F", label], places, bonds)
    flat = Chem.MolToSmiles(Chem.MolFromSmiles(smiles), isomericSmiles=False)
    got = Chem.MolToSmiles(found.mol, isomericSmiles=False)
    assert got == flat
    assert "@" in found.smiles
    assert set(found.atoms) == {0, 1, 2, 3, 4}
    spots = found.mol.GetConformer().GetPositions()[:, :2]
    gaps = np.linalg.norm(spots[:, None] - spots, axis=2) + 1e9 * np.eye(len(spots))
    assert gaps.min() > 3


def test_label_between_two_bonds_is_read_from_the_left() -> None:
    places = [(0.0, 0.0), (60.0, 0.0), (30.0, 0.0)]
    found = read(["F", "C", "[SO2NH]"], places, [(1, 2, "-"), (2, 0, "-")])
    assert found.smiles == "CNS(=O)(=O)F"


def test_unknown_labels_and_r_groups_stay() -> None:
    places = [(0.0, 0.0), (20.0, 0.0), (30.0, 17.0), (10.0, 17.0)]
    found = read(["[R2]", "C", "[Qxz]", "O"], places, [(0, 1, "-"), (1, 2, "-"), (1, 3, "=")])
    assert found.smiles == "*C([2*])=O"
    assert found.cxsmiles is not None
    assert "_R2" in found.cxsmiles
    assert "Qxz" in found.cxsmiles
    assert "RGP" in found.molfile
    assert "Qxz" in found.molfile
    assert found.inchikey is None
    assert found.warnings == ("label 'Qxz' is unknown and kept as it is",)
    again = graph(Chem.MolFromMolBlock(found.molfile))
    assert set(again.atoms) == {"[R2]", "C", "[Qxz]", "O"}


# --- faults ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("atoms", "places", "bonds", "kind", "message"),
    [
        (["C", "C"], [(7, 9), (20, 0)], [(0, 1, ":")], Kind.CIRCLE, r"atom 1 .*in no ring"),
        (
            ["F", "C"],
            [(7, 9), (20, 0)],
            [(0, 1, "=")],
            Kind.VALENCE,
            r"atom 1 \(F at 7, 9\).*add up to 2",
        ),
        (
            ["C+", "O", "O", "O"],
            [(0, 0), (20, 0), (0, 20), (0, -20)],
            [(0, 1, "="), (0, 2, "="), (0, 3, "-")],
            Kind.VALENCE,
            r"atom 1 \(C at 0, 0\).*add up to 5 at charge \+1",
        ),
    ],
)
def test_a_fault_withholds_nothing(
    atoms: list[str],
    places: list[tuple[float, float]],
    bonds: Bonds,
    kind: Kind,
    message: str,
) -> None:
    found = read(atoms, places, bonds)
    assert not found.valid
    assert found.inchikey is None
    assert found.smiles
    assert re.match(message, found.warnings[0])
    assert found.findings[0].kind is kind
    assert found.findings[0].atoms == (0,)
    assert found.atoms == tuple(range(len(atoms)))
    again = Chem.MolFromMolBlock(found.molfile, sanitize=False)
    assert [a.GetAtomicNum() for a in again.GetAtoms()] == [
        a.GetAtomicNum() for a in found.mol.GetAtoms()
    ]
    assert again.GetNumBonds() == len(bonds)
    expected = [(x, -y, 0) for x, y in places]
    assert np.allclose(again.GetConformer().GetPositions(), expected)


def test_the_rest_of_a_molecule_with_a_fault_is_whole() -> None:
    large = laid_out("CC(C)C[C@@H](N)C(=O)N[C@@H](Cc1ccccc1)C(=O)OCC")
    drawn = in_pixels(large)
    methyl = 0
    drawn.atoms += ["C", "C"]
    x, y = drawn.places[1]
    drawn.places = np.vstack([drawn.places, [(x + 5, y + 19), (x - 5, y + 19)]])
    drawn.bonds += [(1, len(drawn.atoms) - 2, "-"), (1, len(drawn.atoms) - 1, "-")]
    assert (methyl, 1, "-") in drawn.bonds
    found = molecule(drawn)
    assert not found.valid
    assert [f.atoms for f in found.findings] == [(1,)]
    assert found.smiles.count("@") == Chem.MolToSmiles(large).count("@") == 2
    assert "c1ccccc1" in found.smiles


def test_a_whole_molecule_is_valid() -> None:
    found = molecule(in_pixels(laid_out("CC(=O)Oc1ccccc1C(=O)O")))
    assert found.valid
    assert not found.findings


@pytest.mark.parametrize("element", ["P", "As", "Sb"])
def test_six_fluorines_mean_a_lost_minus(element: str) -> None:
    turns = [math.pi * k / 3 for k in range(6)]
    places = [(0.0, 0.0), *((20 * math.cos(a), 20 * math.sin(a)) for a in turns), (50.0, 0.0)]
    bonds: Bonds = [(0, k, "-") for k in range(1, 7)]
    found = read([element, *"FFFFFF", "K+"], places, bonds)
    assert found.smiles == Chem.CanonSmiles(f"F[{element}-](F)(F)(F)(F)F.[K+]")
    assert found.valid
    assert found.findings[0].kind is Kind.CHARGE


def test_circles_in_both_rings_of_a_xanthine() -> None:
    # 3-ethylxanthine, drawn with circles and with no hydrogens on its nitrogens.
    mol = laid_out("CCn1c(=O)[nH]c(=O)c2[nH]cnc21")
    drawn = in_pixels(mol)
    ring_bonds = {b.GetIdx() for b in mol.GetBonds() if b.GetIsAromatic()}
    drawn.bonds = [
        (a, b, ":" if mol.GetBondBetweenAtoms(a, b).GetIdx() in ring_bonds else k)
        for a, b, k in drawn.bonds
    ]
    found = molecule(drawn)
    assert found.valid
    assert rdMolDescriptors.CalcMolFormula(found.mol) == "C7H8N4O2"
    assert found.inchikey is not None
    assert found.inchikey[:14] == Chem.MolToInchiKey(mol)[:14]
    assert [f.kind for f in found.findings] == [Kind.HYDROGENS] * 2


# --- labels ---------------------------------------------------------------------------------------


def labelled(text: str, right: bool = True, expand: bool = True) -> Molecule:
    """A label on an ethyl group, to its right or to its left."""
    x = 40.0 if right else -40.0
    places = np.array([(0.0, 0.0), (x / 2, 10.0), (x, 0.0)])
    drawn = Graph(["C", "C", f"[{text}]"], places, [(0, 1, "-"), (1, 2, "-")])
    return molecule(drawn, expand=expand)


@pytest.mark.parametrize("row", GROUPS, ids=[row["right"] for row in GROUPS])
def test_groups_of_every_day_in_a_molecule(row: dict[str, str]) -> None:
    for text, right in ((row["right"], True), (row["left"], False)):
        found = labelled(text, right)
        assert found.smiles == Chem.CanonSmiles("CC" + row["group"].removeprefix("*")) or (
            not row["group"] and found.mol.GetNumAtoms() == 3
        )
        assert found.warnings == ()
        if not row["group"]:
            (dummy,) = (a for a in found.mol.GetAtoms() if not a.GetAtomicNum())
            assert dummy.GetProp("atomLabel").removeprefix("_") == text


@pytest.mark.parametrize(
    ("text", "bonded", "smiles"),
    [
        ("NC", 1, "C#N"),
        ("NC", 0, "[N+]#[C-]"),
        ("SCN", 0, "SC#N"),
        ("SCN", 2, "N=C=S"),
        ("OCN", 2, "N=C=O"),
    ],
)
def test_the_glyph_at_the_bond_tells_which_way_a_label_runs(
    text: str, bonded: int, smiles: str
) -> None:
    # The bond comes from below, so its direction says nothing.
    glyphs = np.array([(10.0 * k, 0.0) for k in range(len(text))])
    place = glyphs[bonded]
    places = np.array([(place[0], 40.0), (place[0], 20.0), place])
    drawn = Graph(["C", "C", f"[{text}]"], places, [(0, 1, "-"), (1, 2, "-")], {2: glyphs})
    assert molecule(drawn).smiles == Chem.CanonSmiles("CC" + smiles)


def test_r_groups_keep_their_number() -> None:
    assert labelled("R2").smiles == "[2*]CC"
    assert labelled("R2").cxsmiles == "[2*]CC |$_R2;;$|"
    assert labelled("R10").smiles == "[10*]CC"
    assert "M  RGP  1   3   2" in labelled("R2").molfile
    assert labelled("NHR1").cxsmiles == "[1*]NCC |$_R1;;;$|"
    assert labelled("CO2R").cxsmiles == "*OC(=O)CC |$R;;;;;$|"
    assert labelled("NR3R4").smiles == "[3*]N([4*])CC"
    assert "M  RGP  2" in labelled("NR3R4").molfile


def test_attachment_points() -> None:
    for text in ("*", "[*]"):
        places = [(0.0, 0.0), (20.0, 0.0)]
        found = read([text, "C"], places, [(0, 1, "-")])
        assert found.smiles == "*C"
        assert found.cxsmiles is None
        assert found.warnings == ()


def test_abbreviations_may_stay() -> None:
    kept = labelled("NHBoc", expand=False)
    assert kept.smiles == "*CC"
    assert kept.cxsmiles == "*CC |$NHBoc;;$|"
    assert "NHBoc" in kept.molfile
    assert kept.warnings == ()
    assert labelled("R1", expand=False).smiles == "[1*]CC"
    assert labelled("13CH3", expand=False).smiles == "CC[13CH3]"
    assert labelled("NH2", expand=False).smiles == "CCN"
    assert labelled("Qxz", expand=False).findings[0].kind is Kind.UNKNOWN_LABEL


@pytest.mark.parametrize(
    ("text", "smiles", "kind"),
    [
        ("Qxz", "*CC", Kind.UNKNOWN_LABEL),
        ("AcH", "*CC", Kind.UNKNOWN_LABEL),
        ("TsH", "*CC", Kind.UNKNOWN_LABEL),
        ("OCHs", "*CC", Kind.UNKNOWN_LABEL),
        ("C6H4", "*CC", Kind.UNKNOWN_LABEL),
        ("C02H", "CCC(=O)O", Kind.RESPELLED_LABEL),
        ("CH2", "CCC", Kind.HYDROGENS),
    ],
)
def test_no_label_is_read_otherwise_in_silence(text: str, smiles: str, kind: Kind) -> None:
    found = labelled(text)
    assert found.smiles == smiles
    assert [(f.kind, f.atoms) for f in found.findings] == [(kind, (2,))]
    assert repr(text) in found.warnings[0]


WRITINGS = (
    "F[C@](Br)(Cl)*",
    "*[C@](F)(Cl)Br",
    "F[C@@](*)(Cl)Br",
    "Br[C@](Cl)(F)*",
    "Cl[C@](*)(F)Br",
)


@pytest.mark.parametrize("writing", WRITINGS)
def test_a_label_keeps_its_hand_on_its_bond(writing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mol = Chem.MolFromSmiles(writing.replace("*", "[*:1]"))
    expansion = label.Expansion(mol, "Xyz")
    monkeypatch.setattr(grafts, "expand_label", lambda *_: expansion)
    expected = Chem.MolToSmiles(mol).replace("[*:1]", "CC")
    joined = Chem.molzip(Chem.CombineMols(mol, Chem.MolFromSmiles("CC[*:1]")))
    assert labelled("Xyz").smiles == Chem.MolToSmiles(joined)
    assert Chem.CanonSmiles(expected) == Chem.MolToSmiles(joined)


@pytest.mark.parametrize("text", ["Trp", "Glc", "OGlc", "NHCO-Trp"])
def test_labels_with_stereo(text: str) -> None:
    fragment = label.fragment(text)
    joined = Chem.molzip(Chem.CombineMols(fragment, Chem.MolFromSmiles("CC[*:1]")))
    assert "@" in labelled(text).smiles
    assert labelled(text).smiles == Chem.CanonSmiles(Chem.MolToSmiles(joined))


# --- the way back ---------------------------------------------------------------------------------


def test_texts_of_a_drawing() -> None:
    def texts(smiles: str) -> list[str]:
        return sorted(graph(laid_out(smiles)).atoms)

    assert texts("C[N+](C)(C)[O-]") == ["C", "C", "C", "N+", "O-"]
    assert texts("[13CH4]") == ["[13CH4]"]
    assert texts("[PH5]") == ["[PH5]"]
    assert texts("[Fe+2].[2H]O[3H]") == ["D", "Fe2+", "O", "T"]
    assert texts("C[CH2]") == ["C", "C."]
    assert texts("[NaH]") == ["[NaH]"]


def test_random_kekule_forms_are_drawn() -> None:
    mol = laid_out("Cc1ccccc1C")
    forms = {tuple(graph(mol, random.Random(seed)).bonds) for seed in range(20)}
    assert len(forms) == 2


def test_graph_needs_places() -> None:
    with pytest.raises(ValueError, match="conformer"):
        graph(Chem.MolFromSmiles("C"))


def test_large_molecules_are_v3000() -> None:
    n = 1001
    found = read(["C"] * n, [(20.0 * k, 10.0 * (k % 2)) for k in range(n)],
                 [(k, k + 1, "-") for k in range(n - 1)])  # fmt: skip
    assert "V3000" in found.molfile
    assert Chem.MolFromMolBlock(found.molfile).GetNumAtoms() == n


def test_a_circle_that_also_joins_a_carbonyl_is_a_fault_and_no_crash() -> None:
    """Valences that fit until the ring is made aromatic: RDKit finds this only at the end."""
    angles = np.arange(6) * math.pi / 3
    ring = 30 * np.stack([np.cos(angles), np.sin(angles)], 1)
    places = np.vstack([ring, [[45.0, 50.0], [70.0, 50.0], [45.0, 80.0]]]) + 100
    bonds = [(i, (i + 1) % 6, ":") for i in range(6)]
    bonds += [(1, 6, "-"), (0, 6, ":"), (6, 7, "="), (6, 8, "-")]
    found = molecule(Graph(["C"] * 7 + ["O", "N"], places, bonds))
    assert not found.valid
    assert any("circle" in warning for warning in found.warnings)
    assert found.molfile


@pytest.mark.parametrize(
    ("text", "smiles"), [("2Cl-", "[Cl-].[Cl-]"), ("3Na+", "[Na+].[Na+].[Na+]"), ("6Li+", "[6Li+]")]
)
def test_a_number_before_ions_beside_a_molecule_counts_them(text: str, smiles: str) -> None:
    beside = Graph(["C", "C", f"[{text}]"], np.array([[0, 0], [20, 0], [60, 0]]), [(0, 1, "-")])
    assert molecule(beside).smiles == Chem.CanonSmiles(f"CC.{smiles}")
