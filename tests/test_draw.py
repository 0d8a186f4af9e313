"""How our own hand draws texts, salts and stereo bonds, and how pictures are cut."""

from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDepictor

pytest.importorskip("cv2")

from molgaze import label, walk
from molgaze.molecule import molecule
from molgaze.train import draw, lessons
from molgaze.train.corpus import Corpus, layout
from molgaze.train.spoil import _trimmed, spoil
from molgaze.train.surroundings import _brackets


def laid_out(smiles: str) -> Chem.Mol:
    mol = Chem.MolFromSmiles(smiles)
    rdDepictor.Compute2DCoords(mol)
    return mol


def look(**changes: object) -> draw.Style:
    style = draw.Style(bond=40.0, font=draw.usual_fonts()[0], turned=False)
    return draw.replace(style, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("smiles", sorted(draw.PARTNERS))
def test_a_partner_of_a_salt_is_read_as_it_is_written(smiles: str) -> None:
    for text in draw.PARTNERS[smiles]:
        for count in (1, 2, 4):
            found = label.fragment(text if count == 1 else f"{count}{text}", ())
            assert found is not None, text
            assert Chem.MolToSmiles(found) == Chem.CanonSmiles(".".join([smiles] * count))


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("Ca2+", [0, 0, 1, 1]),
        ("2Sn2+", [0, 0, 0, 1, 1]),
        ("SO42-", [0, 0, -1, 1, 1]),
        ("NO3-", [0, 0, -1, 1]),
        ("NH4+", [0, 0, -1, 1]),
        ("N2+", [0, -1, 1]),
    ],
)
def test_numbers_of_charges_are_raised(text: str, levels: list[int]) -> None:
    assert draw._levels(text) == levels


def test_equal_ions_are_written_once_with_their_number() -> None:
    mol = laid_out("CC(=O)[O-].[Ca+2].[Ca+2].[Cl-].[Cl-].[Cl-]")
    drawn = draw.own(mol, np.random.default_rng(0), look(counts=True))
    assert {"[2Ca2+]", "[3Cl-]"} < set(drawn.graph.atoms)
    assert molecule(drawn.graph).smiles == Chem.CanonSmiles(Chem.MolToSmiles(mol))


def test_ions_beside_a_molecule_are_known() -> None:
    unknown = [text for text in lessons._BESIDE if label.fragment(text, ()) is None]
    assert unknown == ["1/2H2O"]  # half a molecule can't be told
    assert draw._levels("1/2H2O") == [1, 0, -1, 0, -1, 0]


def test_texts_stand_on_stereocentres(tmp_path: Path) -> None:
    lines = tmp_path / "few.smi"
    lines.write_text("CC1CCOC(C)C1\n" * 4)
    molecules = Corpus([lines], 0, pool=2)
    marks = ""
    for seed in range(60):
        rng = np.random.default_rng(seed)
        mol = lessons._labelled(molecules, rng)
        if mol is None or not layout(mol, rng):
            continue
        assert any(atom.HasProp(draw.WRITTEN) for atom in mol.GetAtoms())
        drawn = draw.own(mol, rng, look())
        marks += "".join(kind for _, _, kind in drawn.graph.bonds)
        back, faults = walk.decode(*walk.encode(drawn.graph))
        assert not faults
        assert sorted(back.atoms) == sorted(drawn.graph.atoms)
    assert "w" in marks
    assert "h" in marks


def test_the_number_of_a_partner_stands_off() -> None:
    near, far = (
        draw.typeset("2Cl\u2212", [0, 0, 0, 1], look(space=space), 20.0, 0) for space in (0.0, 1.0)
    )
    gaps = [text.boxes[1][0] - text.boxes[0][2] for text in (near, far)]
    assert gaps[1] - gaps[0] > 5


def test_a_steep_bond_meets_the_middle_of_a_centred_text() -> None:
    mol = Chem.MolFromSmiles("CC")
    rdDepictor.Compute2DCoords(mol)
    for i in range(2):
        mol.GetConformer().SetAtomPosition(i, (0.0, 1.5 * i, 0.0))
    for centred in (False, True):
        drawn = draw.own(mol, np.random.default_rng(3), look(methyls=1.0, centred=centred))
        top = drawn.graph.places[:, 1].min()
        columns = np.flatnonzero(drawn.ink[: int(top) + 8].max(0))
        off = abs((columns[0] + columns[-1]) / 2 - drawn.graph.places[0, 0])
        assert (off < 3) == centred


@pytest.mark.parametrize("smiles", ["C[C@H](N)C(=O)O", "O[C@H]1CCNC1"])
@pytest.mark.parametrize("changes", [{"bold": True}, {"dashed": True}])
def test_stereo_bonds_tell_the_same_in_every_make(smiles: str, changes: dict[str, bool]) -> None:
    for seed in range(4):
        drawn = draw.own(laid_out(smiles), np.random.default_rng(seed), look(**changes))
        assert molecule(drawn.graph).smiles == Chem.CanonSmiles(smiles)


def test_bold_bonds_are_as_wide_at_both_ends() -> None:
    mol = laid_out("C[C@H](F)Cl")
    widths = {}
    for bold in (False, True):
        drawn = draw.own(mol, np.random.default_rng(1), look(bold=bold, wedge=0.3))
        ((a, b, _),) = [bond for bond in drawn.graph.bonds if bond[2] == "w"]
        root, end = drawn.graph.places[[a, b]]
        along = (end - root) / np.linalg.norm(end - root)
        across = np.array([-along[1], along[0]])
        spots = root + 0.25 * (end - root) + np.arange(-8, 9)[:, None] * across
        x, y = np.round(spots).astype(int).T
        widths[bold] = int((drawn.ink[y, x] > 128).sum())
    assert widths[True] >= widths[False] + 2


def test_trimmed_pictures_lose_at_most_a_few_strokes_and_places_move_along() -> None:
    drawn = draw.own(laid_out("c1ccc(C2CCCCC2)cc1"), np.random.default_rng(0), look())
    cut = set()
    for seed in range(20):
        ink, graph = _trimmed(drawn.ink, drawn.graph, 3.0, np.random.default_rng(seed))
        x, y = np.round(drawn.graph.places[0] - graph.places[0]).astype(int)
        window = drawn.ink[y : y + ink.shape[0], x : x + ink.shape[1]]
        assert np.array_equal(ink, window)
        rows, cols = np.flatnonzero(drawn.ink.max(1)), np.flatnonzero(drawn.ink.max(0))
        lost = (len(rows) - ink.shape[0], len(cols) - ink.shape[1])
        assert all(0 <= pixels <= 10 for pixels in lost)
        cut.add(lost)
    assert len(cut) > 5
    bare = draw.Drawing(drawn.ink * 0, drawn.graph, 40.0)
    assert _trimmed(bare.ink, bare.graph, 3.0, np.random.default_rng(0))[0] is bare.ink
    assert spoil(bare, np.random.default_rng(0)).ink.size


@pytest.mark.parametrize("smiles", ["CCc1ccccc1C(=O)[O-].[Ca+2]", "CC(=O)NC"])
def test_brackets_stand_round_the_largest_fragment(smiles: str) -> None:
    mol = laid_out(smiles)
    if mol.GetNumAtoms() > 6:  # the ion far to the right
        mol.GetConformer().SetAtomPosition(mol.GetNumAtoms() - 1, (14.0, 0.0, 0.0))
    for seed in range(8):
        drawn = draw.own(mol, np.random.default_rng(seed), look())
        out = _brackets(drawn, np.random.default_rng(seed))
        x, y = np.round(out.graph.places[0] - drawn.graph.places[0]).astype(int)
        height, width = drawn.ink.shape
        before = out.ink.copy()
        spot = before[y : y + height, x : x + width]
        assert (spot >= drawn.ink).all()  # what was drawn is there, and has moved with its places
        spot[drawn.ink > 0] = 0
        added = np.flatnonzero((before > 128).any(0))
        inside = out.graph.places[draw._fragments(_neighbours(out.graph))[0], 0]
        assert added.min() < inside.min()
        assert added.max() > inside.max()
        lone = [i for i, name in enumerate(out.graph.atoms) if "Ca" in name]
        for at in out.graph.places[lone, 0]:  # the ion stays outside, on either side
            assert not added.min() < at < added.max()


def _neighbours(graph: walk.Graph) -> list[list[int]]:
    found: list[list[int]] = [[] for _ in graph.atoms]
    for a, b, _ in graph.bonds:
        found[a].append(b)
        found[b].append(a)
    return found
