"""What the ink says of a walk: rules that mend its graph, findings, features, the confidence."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rdkit import Chem

from molgaze.confidence import Confidence, odd_rings, sense
from molgaze.evidence import (
    cut_anions,
    leftovers,
    misshapen,
    plain_lines,
    straight_carbons,
    tapers,
    waves,
)
from molgaze.finding import Kind
from molgaze.gaze import Walk
from molgaze.judge import RULES, doubtful, judge
from molgaze.molecule import molecule
from molgaze.scale import Picture
from molgaze.sites import padded, sites
from molgaze.walk import Graph

BOND = 24.0


def drawn(places: NDArray[np.float64], bonds: list[tuple[int, int]]) -> NDArray[np.float32]:
    """Lines of two pixels between places."""
    image = Image.new("L", (200, 200))
    pen = ImageDraw.Draw(image)
    for a, b in bonds:
        pen.line([*places[a], *places[b]], fill=255, width=2)
    return padded(np.asarray(image, np.float32) / 255)


def graph(places: NDArray[np.float64], bonds: list[tuple[int, int]]) -> Graph:
    return Graph(["C"] * len(places), places, [(a, b, "-") for a, b in bonds])


@pytest.mark.parametrize("missing", [2, 4])
def test_a_chain_that_was_passed_over_is_left(missing: int) -> None:
    x = 20 + BOND * np.arange(7) * 0.87
    places = np.stack([x, 60 + 12 * (np.arange(7) % 2)], 1).astype(np.float64)
    bonds = [(i, i + 1) for i in range(6)]
    found = sites(drawn(places, bonds))
    cells = found.cells[found.inked]
    left = leftovers(cells, graph(places[:-missing], bonds[: 6 - missing]))
    assert len(left) == 1
    assert left[0].atom == 6 - missing
    assert left[0].length > 0.6 * missing
    assert leftovers(cells, graph(places, bonds)) == []


@pytest.mark.parametrize(
    ("oxygen", "other", "right", "expected"),
    [
        ("O-", "C", 4.0, [2]),
        ("S-", "C", 4.0, [2]),
        ("O-", "C", 16.0, []),  # room for the minus
        ("O-", "N+", 4.0, []),  # a zwitterion
        ("O", "C", 4.0, []),
    ],
)
def test_anion_without_room_for_its_minus_is_cut_off(
    oxygen: str, other: str, right: float, expected: list[int]
) -> None:
    places = np.array([[20.0, 20.0], [44.0, 20.0], [68.0, 20.0]])
    read = Graph([other, "C", oxygen], places, [(0, 1, "-"), (1, 2, "-")])
    assert cut_anions(read, (40, int(68 + right))) == expected


def stroke(kind: str) -> NDArray[np.float32]:
    """A bond of 20 px from (20, 20) to (40, 20), drawn four times as large and made small."""
    image = Image.new("L", (240, 160))
    pen = ImageDraw.Draw(image)
    if kind == "wave":
        for k in range(6):
            half = (180, 360) if k % 2 else (0, 180)
            pen.arc([80 + 13 * k, 68, 93 + 13 * k, 92], *half, fill=255, width=4)
    elif kind == "wedge":
        pen.polygon([(80, 80), (160, 68), (160, 92)], fill=255)
    elif kind == "line":
        pen.line([80, 80, 160, 80], fill=255, width=4)
    elif kind == "fine hash":
        for k in range(20):
            pen.line([80 + 4 * k, 80 - 0.6 * k, 80 + 4 * k, 80 + 0.6 * k], fill=255)
    else:
        for k in range(8):
            pen.line([80 + 11 * k, 80 - 1.5 * k, 80 + 11 * k, 80 + 1.5 * k], fill=255, width=4)
    return np.asarray(image.resize((60, 40), Image.Resampling.BOX), np.float32) / 255


@pytest.mark.parametrize(("kind", "expected"), [("wave", [0]), ("wedge", []), ("hash", [])])
@pytest.mark.parametrize("bond", [(0, 1, "w"), (1, 0, "h")])
def test_wave_swings_from_side_to_side(
    kind: str, expected: list[int], bond: tuple[int, int, str]
) -> None:
    places = np.array([[20.0, 20.0], [40.0, 20.0]])
    assert waves(stroke(kind), Graph(["C", "C"], places, [bond])) == expected


def test_a_hash_that_is_a_line_like_the_others_is_none() -> None:
    """A bond with gaps, or one that is broader than the plain bonds, stays a hash."""
    places = 40 + np.array([[0.0, 0.0], [24.0, 0.0], [48.0, 0.0], [48.0, 24.0]])
    read = Graph(["C"] * 4, places, [(0, 1, "-"), (1, 2, "-"), (2, 3, "h")])
    line = drawn(places, [(0, 1), (1, 2), (2, 3)])
    assert plain_lines(line, read) == [2]
    gaps = line.copy()
    gaps[44:62:4] = gaps[45:62:4] = 0
    assert plain_lines(gaps, read) == []
    broad = np.maximum(line, np.roll(line, 2, axis=1) * (np.arange(len(line)) > 41)[:, None])
    assert plain_lines(broad, read) == []
    assert (
        plain_lines(line, Graph(["C"] * 4, places, [(0, 1, "-"), (1, 2, "-"), (2, 3, "w")])) == []
    )
    assert plain_lines(line, Graph(["C"] * 2, places[:2], [(0, 1, "h")])) == []  # nothing beside


@pytest.mark.parametrize(
    ("kind", "expected"), [("line", ""), ("wave", ""), ("wedge", "w"), ("fine hash", "h")]
)
def test_a_plain_bond_that_widens_is_a_wedge(kind: str, expected: str) -> None:
    places = np.array([[20.0, 20.0], [40.0, 20.0], [10.0, 3.0], [10.0, 37.0]])
    for bond in ((0, 1, "-"), (1, 0, "-")):
        read = Graph(["C"] * 4, places, [(0, 2, "-"), bond, (0, 3, "-")])
        found = tapers(stroke(kind), read)
        assert found == ({1: (0, 1, expected)} if expected else {})
    alone = Graph(["C"] * 2, places[:2], [(0, 1, "-")])  # from an atom that is no stereocentre
    assert not tapers(stroke(kind), alone)
    known = Graph(["C"] * 4, places, [(0, 2, "-"), (0, 1, "w"), (0, 3, "-")])
    assert not tapers(stroke(kind), known)


def test_signs_of_atoms_read_amiss() -> None:
    zigzag = 40 + np.array([[0.0, 0.0], [20.0, 12.0], [40.0, 0.0], [60.0, 12.0], [80.0, 0.0]])
    chain = [(i, i + 1) for i in range(4)]
    ink = drawn(zigzag, chain)
    assert straight_carbons(ink, graph(zigzag, chain)) == []
    assert misshapen(graph(zigzag, chain)) == []
    twice = np.insert(zigzag, 2, [64.0, 50.0], axis=0)
    assert misshapen(graph(twice, [*chain, (4, 5)])) == [1]
    assert misshapen(graph(zigzag[:0], [])) == []
    far = zigzag.copy()
    far[4, 0] += 30
    assert misshapen(graph(far, chain)) == [3]
    doubled = np.insert(zigzag, 5, [122.0, 45.0], axis=0)
    assert misshapen(graph(doubled, [*chain, (3, 5)])) == [3]

    lengthened = 40 + np.array([[0.0, 0.0], [30.0, 18.0], [60.0, 0.0], [75.0, 9.0], [90.0, 0.0]])
    ink = drawn(lengthened, chain)
    passed = np.insert(lengthened, 1, [55.3, 49.0], axis=0)
    read = graph(passed, [*chain, (4, 5)])
    assert straight_carbons(ink, read) == [1]
    assert straight_carbons(np.zeros_like(ink), read) == []  # where there is no line
    read.bonds[0] = (0, 1, "=")
    assert straight_carbons(ink, read) == []  # of an allene, of an alkyne
    assert straight_carbons(ink, graph(zigzag[:0], [])) == []


# --- the judge ---

RING = ((30, 30), (54, 30), (54, 54), (30, 54))


def picture_of(*lines: tuple[float, ...], wedge: tuple[float, ...] = ()) -> Picture:
    """Lines of two pixels and a wedge of six, at half the scale of the original."""
    image = Image.new("L", (400, 400))
    pen = ImageDraw.Draw(image)
    for line in lines:
        pen.line([4 * x for x in line], fill=255, width=7)
    if wedge:
        a, b = np.array(wedge[:2]) * 4, np.array(wedge[2:]) * 4
        across = (b - a)[::-1] * (1, -1) / np.linalg.norm(b - a) * 11
        pen.polygon([*a, *(b - across), *(b + across)], fill=255)
    ink = np.asarray(image.resize((100, 100), Image.Resampling.BOX), np.float32) / 255
    return Picture(ink, (10.0, 20.0), 0.5, (200, 200), 48.0, "picture")


def walk_of(tokens: str, *places: tuple[float, float]) -> Walk:
    names = tuple(tokens.split())
    chances = tuple(0.9 - 0.01 * i for i in range(len(names)))
    return Walk(names, np.array([*places, (0, 0)], np.float32), chances, -1.0, ended=True)


def inked(picture: Picture) -> NDArray[np.int64]:
    found = sites(padded(picture.ink))
    return found.cells[found.inked]


@pytest.mark.parametrize(("narrow", "wide"), [(1, 2), (2, 1), (1, 4), (4, 1)])
def test_a_wedge_read_as_a_line_is_a_wedge(narrow: int, wide: int) -> None:
    """In dimethylcyclobutane: a bond that the gaze crossed, and that which closes the ring."""
    spots = [(13, 13), *RING, (13, 71), (71, 13), (71, 71)]
    lines = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 1), (4, 5), (2, 6), (3, 7)]
    places = [*spots[:5], spots[1], spots[4], spots[5], spots[2], spots[6], spots[3], spots[7]]
    read = walk_of("C C C C C & ^ C ^ C ^ C >", *places)
    bare = [line for line in lines if set(line) != {narrow, wide}]
    picture = picture_of(
        *((*spots[a], *spots[b]) for a, b in bare), wedge=(*spots[narrow], *spots[wide])
    )
    verdict = judge(picture, inked(picture), read)
    assert [f.kind for f in verdict.findings] == [Kind.TAPER]
    assert not verdict.warnings
    kinds = {(a, b) if k == "w" else frozenset((a, b)): k for a, b, k in verdict.graph.bonds}
    assert kinds.pop((narrow, wide)) == "w"
    assert set(kinds.values()) == {"-"}
    assert len(kinds) == 7
    assert verdict.graph.places == pytest.approx(np.array(spots) * 2 + (10, 20))
    assert all(k == "-" for *_, k in judge(picture, inked(picture), read, ["taper"]).graph.bonds)


def test_a_carbon_in_a_straight_line_is_none() -> None:
    """Passed on the way to an atom, and on the way back to the ring."""
    (a, b, c, d), half, back = RING, (54, 42), (30, 42)
    read = walk_of("C C C C C C & >", a, b, half, c, d, back, a)
    picture = picture_of(*((*RING[i], *RING[i - 1]) for i in range(4)))
    verdict = judge(picture, inked(picture), read)
    assert verdict.graph.atoms == ["C"] * 4
    assert {frozenset(bond[:2]) for bond in verdict.graph.bonds} == {
        frozenset(pair) for pair in ((0, 1), (1, 2), (2, 3), (3, 0))
    }
    assert verdict.graph.places[2] == pytest.approx(np.array(c) * 2 + (10, 20))
    assert verdict.features["misshapen"] == 0
    kept = judge(picture, inked(picture), read, ["passed carbon"])
    assert kept.graph.atoms == ["C"] * 6
    assert kept.features["misshapen"] >= 2


@pytest.mark.parametrize(
    ("tokens", "places"),
    [
        ("C N C >", (RING[0], (54, 30), (78, 30))),
        ("C = C C >", (RING[0], (42, 30), (54, 30), (78, 30))),
        ("C C C >", RING[:3]),
        ("C C C ^ O >", (RING[0], (54, 30), (78, 30), (54, 30), (54, 54))),
    ],
)
def test_other_atoms_stay(tokens: str, places: tuple[tuple[float, float], ...]) -> None:
    read, picture = walk_of(tokens, *places), picture_of((30, 30, 78, 30), (54, 30, 54, 54))
    assert judge(picture, inked(picture), read).graph.atoms == read.graph.atoms


def test_a_wave_and_a_cut_hydroxyl_are_mended_unless_left_out() -> None:
    wave = stroke("wave")
    picture = Picture(wave, (0.0, 0.0), 1.0, (24, 60), 20.0, "picture")
    read = walk_of("C w> C O- >", (20, 20), (30, 20), (40, 20), (57, 20))
    verdict = judge(picture, inked(picture), read)
    assert verdict.graph.bonds[0] == (0, 1, "~")
    assert verdict.graph.atoms == ["C", "C", "O"]
    assert [f.kind for f in verdict.findings][:2] == [Kind.WAVE, Kind.CUT_HYDROXYL]
    assert any("cut by the picture's edge" in warning for warning in verdict.warnings)
    plain = judge(picture, inked(picture), read, RULES)
    assert plain.graph.bonds[0] == (0, 1, "w")
    assert plain.graph.atoms == ["C", "C", "O-"]


def test_ink_that_was_not_read_is_told_of_and_counted() -> None:
    picture = picture_of((20, 50, 44, 40), (44, 40, 68, 50, 92, 40), (44, 40, 44, 90))
    read = walk_of("N C N >", (20, 50), (44, 40), (68, 50))
    verdict = judge(picture, inked(picture), read)
    assert Kind.UNREAD_INK in [f.kind for f in verdict.findings]
    assert verdict.features["unread"] > 1
    assert verdict.features["apart"] > 0.3
    spots = [(4, 50), (28, 40), (52, 50), (76, 40), (96, 50)]
    picture = picture_of(*((*a, *b) for a, b in pairwise(spots)), (52, 50, 52, 90))
    verdict = judge(picture, inked(picture), walk_of("N C C C N >", *spots))
    # half a bond of the branch, less what its atom takes
    assert np.log1p(0.2) < verdict.features["beside"] < np.log1p(1.0)
    whole = picture_of((20, 40, 44, 40))
    read = walk_of("N O >", (20, 40), (44, 40))
    verdict = judge(whole, inked(whole), read)
    assert verdict.features["unread"] == verdict.features["apart"] == 0
    assert verdict.features["beside"] == 0
    assert verdict.findings == ()


@pytest.mark.parametrize(("tokens", "small"), [("C C C >", 0.7), ("C C N >", 0.0)])
def test_few_carbons_alone_may_be_any_lines(tokens: str, small: float) -> None:
    picture = picture_of((20, 50, 44, 40), (44, 40, 68, 50))
    read = walk_of(tokens, (20, 50), (44, 40), (68, 50))
    assert judge(picture, inked(picture), read).features["small"] == pytest.approx(small)


def test_chances_are_of_atoms_with_their_bonds() -> None:
    """N at 0.9, then a double bond and a C, a label, a ring closure."""
    spots = [(30, 30), (42, 30), (54, 30), (54, 54), (54, 54), (54, 54), (30, 30)]
    read = walk_of("N = C [ 'O ] & >", *spots)
    picture = picture_of((30, 30, 54, 30), (54, 30, 54, 54))
    verdict = judge(picture, inked(picture), read)
    assert verdict.graph.atoms == ["N", "C", "[O]"]
    # probabilities fall by 0.01 a token from 0.90: a bond's and an atom's is the least of its own
    assert verdict.chances == pytest.approx([0.84, 0.85, 0.84])
    least = {"letter": 0.85, "mark": 0.89, "way": 0.83}
    assert {name: np.exp(verdict.features[name]) for name in least} == pytest.approx(least)
    assert verdict.features["total"] == pytest.approx(np.log(read.probabilities).sum())
    assert verdict.features["mean"] == pytest.approx(np.log(read.probabilities).mean())


def test_what_chemistry_makes_of_a_graph_is_counted() -> None:
    places = np.array([(0.0, 0), (20, 10), (40, 0)])
    flat = Graph(["C", "[Zzz]", "N"], places, [(0, 1, "w"), (1, 2, "-")])
    features = sense(molecule(flat))
    assert features == {
        **{"invalid": 0, "unknown": 1, "repaired": 1},
        **{"charge": 0, "rings": 0},
    }
    onium = Graph(
        ["C", "C", "C", "S"],
        np.array([(0.0, 0), (40, 0), (20, 40), (20, 15)]),
        [(0, 3, "-"), (1, 3, "-"), (2, 3, "-")],
    )
    assert sense(molecule(onium))["repaired"] == 1
    texas = Graph(["O", "C", "C"], places, [(0, 1, "#"), (1, 2, "#")])
    assert sense(molecule(texas))["invalid"] == 1
    assert sense(None)["invalid"] == 1
    salt = Graph(["N+", "Cl-", "Cl-"], places, [])
    assert sense(molecule(salt))["charge"] == 1


@pytest.mark.parametrize(
    ("smiles", "count"),
    [
        ("C1=CC=C1", 1),
        ("C1CCC1", 0),
        ("C1=CC=CCC1", 1),  # benzene that lacks a line
        ("c1ccccc1", 0),
        ("C1CC=CCC1", 0),
        ("c1ccc2c(c1)CCC=C2", 1),  # naphthalene that lacks a line
        ("c1ccc2c(c1)CCCC2", 0),
    ],
)
def test_rings_as_they_are_seldom_drawn_are_counted(smiles: str, count: int) -> None:
    assert odd_rings(Chem.MolFromSmiles(smiles)) == count


SIX = ((30, 42), (42, 21), (66, 21), (78, 42), (66, 63), (42, 63))


def test_a_line_that_was_not_read_is_told_and_speaks_against_the_reading() -> None:
    """Across a ring of six, from one corner to that on the other side."""
    spots = ((30, 36), (54, 28), (78, 36), (78, 52), (54, 60), (30, 52))
    ring = tuple((*spots[i], *spots[(i + 1) % 6]) for i in range(6))
    walk = walk_of("C C C C C C & >", *spots, spots[0])
    for lines, kinds in ((ring, []), ((*ring, (*spots[1], *spots[4])), [Kind.UNREAD_LINE])):
        picture = picture_of(*lines)
        verdict = judge(picture, inked(picture), walk)
        assert len(verdict.graph.bonds) == 6
        assert verdict.features["lines"] == len(kinds)
        assert [f.kind for f in verdict.findings if f.kind == Kind.UNREAD_LINE] == kinds


@pytest.mark.parametrize(("gap", "kind"), [(4, "="), (0, "-"), (9, "-")])
def test_a_bond_with_two_lines_is_double(gap: int, kind: str) -> None:
    ring = [(*SIX[i], *SIX[(i + 1) % 6]) for i in range(6)]
    if gap:
        ring.append((44, 21 + gap, 64, 21 + gap))
    picture = picture_of(*ring)
    read = walk_of("C C C C C C & >", *SIX, SIX[0])
    verdict = judge(picture, inked(picture), read)
    assert [k for *_, k in verdict.graph.bonds].count("=") == (kind == "=")
    left_out = judge(picture, inked(picture), read, ["second line"]).graph
    assert {k for *_, k in left_out.bonds} == {"-"}
    if kind == "=":
        assert (1, 2, "=") in verdict.graph.bonds
        assert Kind.SECOND_LINE in [f.kind for f in verdict.findings]
        full = walk_of("C = N N = C C = C & >", *double_places())
        kinds = [k for *_, k in judge(picture, inked(picture), full).graph.bonds]
        assert kinds.count("=") == 3  # where valence has no room, a bond stays


def double_places() -> list[tuple[float, float]]:
    """Of the tokens round a ring of six, every other bond of which is double."""
    places: list[tuple[float, float]] = []
    for i, (x, y) in enumerate(SIX):
        if i % 2:
            places.append(((x + SIX[i - 1][0]) / 2, (y + SIX[i - 1][1]) / 2))
        places.append((x, y))
    return [*places, SIX[0]]


def test_the_confidence_reaches_what_it_says_and_can_be_sure() -> None:
    right = {"total": 1.0, "unread": -2.0, "bias": 6.0}
    model = Confidence(right, {"unread": -1.0}, (1.0, 0.5, 2.0), 0.01)
    assert model({"total": -0.1, "unread": 0.0}) > 0.99
    assert model({"total": -0.1, "unread": 4.0}) < 0.15
    atoms = model.of_atoms({"total": -0.1, "unread": 0.0}, np.array([0.99, 0.001]))
    assert atoms[0] > 0.9
    assert atoms[1] < 0.2
    poor = {"letter": -6.0, "mean": -2.0, "total": -20.0, "differ": 3.0}
    assert Confidence.of({})(poor) < 0.01
    assert Confidence.of({}).refuses(poor)
    assert not model.refuses({"total": -30.0, "unread": 1.0})
    assert model.refuses({"total": -0.1, "unread": 5.0})
    assert not Confidence.of({}).refuses({"size": 3.0, "mean": -0.02})
    text = '{"right": {"bias": 2}, "drawing": {"bias": 3}, "atom": [1, 0, 0], "refused": 0.1}'
    stored = Confidence.of({"confidence": text})
    assert stored == Confidence({"bias": 2}, {"bias": 3}, (1, 0, 0), 0.1)


def test_doubtful_atoms_are_named_by_number_and_place() -> None:
    graph = Graph(["C", "O"], np.array([(10.4, 20.0), (30.0, 20.0)]), [(0, 1, "-")])
    findings = doubtful(graph, np.array([0.9, 0.2]))
    assert [f.atoms for f in findings] == [(1,)]
    assert findings[0].message == "atom 2 (O at 30, 20) is doubtful: confidence 0.20"
