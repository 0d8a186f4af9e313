"""What ink says against a reading: pieces and lines that were passed over."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from molgaze.evidence import (
    apart,
    cut_anions,
    leftovers,
    misshapen,
    straight_carbons,
    tapers,
    unread_bonds,
    waves,
)
from molgaze.sites import CELL, padded, sites
from molgaze.walk import Graph

BOND = 24.0


def drawn(places: NDArray[np.float64], bonds: list[tuple[int, int]]) -> NDArray[np.float32]:
    """Lines of two pixels between places."""
    image = Image.new("L", (200, 200))
    pen = ImageDraw.Draw(image)
    for a, b in bonds:
        pen.line([*places[a], *places[b]], fill=255, width=2)
    return padded(np.asarray(image, np.float32) / 255)


def fused() -> tuple[NDArray[np.float64], list[tuple[int, int]]]:
    """Two six-rings side by side; the common bond is the last."""
    turns = np.radians(np.arange(30, 390, 60))
    ring = BOND * np.stack([np.cos(turns), np.sin(turns)], 1)  # flat sides left and right
    step = np.array([BOND * np.sqrt(3), 0.0])
    places = np.concatenate([ring, (ring + step)[[0, 1, 4, 5]]]) + 60
    # 0 and 5 are the right side of the first ring
    bonds = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (0, 7), (7, 6), (6, 9), (9, 8), (8, 5), (0, 5)]
    return places, bonds


def graph(places: NDArray[np.float64], bonds: list[tuple[int, int]]) -> Graph:
    return Graph(["C"] * len(places), places, [(a, b, "-") for a, b in bonds])


def test_the_common_bond_of_fused_rings_is_missed() -> None:
    places, bonds = fused()
    ink = drawn(places, bonds)
    assert unread_bonds(ink, graph(places, bonds[:-1])) == [(0, 5)]
    assert unread_bonds(ink, graph(places, bonds)) == []


def test_no_line_no_bond() -> None:
    places, bonds = fused()
    ink = drawn(places, bonds[:-1])
    assert unread_bonds(ink, graph(places, bonds[:-1])) == []


def test_solid_ink_is_no_line() -> None:
    places, bonds = fused()
    ink = np.ones((200, 200), np.float32)
    assert unread_bonds(ink, graph(places, bonds[:-1])) == []


def test_a_few_atoms_are_not_judged() -> None:
    places, _ = fused()
    ink = drawn(places, [(0, 1), (1, 2)])
    assert unread_bonds(ink, graph(places[:3], [(0, 1)])) == []
    assert unread_bonds(ink, graph(places[:0], [])) == []


@pytest.mark.parametrize("missing", [2, 4])
def test_a_chain_that_was_passed_over_is_left(missing: int) -> None:
    x = 20 + BOND * np.arange(7) * 0.87
    places = np.stack([x, 60 + 12 * (np.arange(7) % 2)], 1).astype(np.float64)
    bonds = [(i, i + 1) for i in range(6)]
    found = sites(drawn(places, bonds))
    cells = found.cells[found.inked]
    in_cells = (places + 0.5) / CELL - 0.5
    left = leftovers(cells, graph(in_cells[:-missing], bonds[: 6 - missing]))
    assert len(left) == 1
    assert left[0].atom == 6 - missing
    assert left[0].length > 0.6 * missing
    assert leftovers(cells, graph(in_cells, bonds)) == []


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


@pytest.mark.parametrize(("kind", "expected"), [("wave", [1]), ("wedge", []), ("hash", [])])
@pytest.mark.parametrize("token", ["w>", "h<"])
def test_wave_swings_from_side_to_side(kind: str, expected: list[int], token: str) -> None:
    places = np.array([[20.0, 20.0], [20.0, 20.0], [40.0, 20.0], [20.0, 20.0]])
    assert waves(stroke(kind), ["C", token, "C", ">"], places) == expected


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


def test_what_is_short_and_stands_by_itself_is_apart() -> None:
    places = np.array([[20.0, 100.0], [44.0, 100.0]])
    word, touching, tall = (100, 92, 124, 104), (40, 92, 56, 104), (120, 10, 130, 80)

    def groups(*blocks: tuple[int, int, int, int]) -> list[list[tuple[int, int]]]:
        image = Image.new("L", (200, 200))
        pen = ImageDraw.Draw(image)
        pen.line([*places[0], *places[1]], fill=255, width=2)
        for x0, y0, x1, y1 in blocks:
            pen.rectangle([x0, y0, x1, y1], fill=255)
        found = sites(padded(np.asarray(image, np.float32) / 255))
        read = graph((places + 0.5) / CELL - 0.5, [(0, 1)])
        return apart(found.cells[found.inked], read)

    (group,) = groups(word)
    assert np.array(group).min(0).tolist() == [100 // CELL, 92 // CELL]
    assert np.array(group).max(0).tolist() == [124 // CELL, 104 // CELL]
    assert groups() == groups(touching) == groups(tall) == []
    dot = (86, 97, 88, 99)
    assert len(groups(word, dot)) == 1  # hangs together over a gap
    assert [len(g) for g in groups(word, (160, 40, 170, 50))] == sorted(
        (len(g) for g in groups(word, (160, 40, 170, 50))), reverse=True
    )


def test_signs_of_atoms_read_amiss() -> None:
    zigzag = 40 + np.array([[0.0, 0.0], [20.0, 12.0], [40.0, 0.0], [60.0, 12.0], [80.0, 0.0]])
    chain = [(i, i + 1) for i in range(4)]
    ink = drawn(zigzag, chain)
    assert straight_carbons(ink, graph(zigzag, chain)) == []
    assert misshapen(graph(zigzag, chain)) == 0
    twice = np.insert(zigzag, 2, [64.0, 50.0], axis=0)
    assert misshapen(graph(twice, [*chain, (4, 5)])) == 1
    assert misshapen(graph(zigzag[:0], [])) == 0
    far = zigzag.copy()
    far[4, 0] += 30
    assert misshapen(graph(far, chain)) == 1
    doubled = np.insert(zigzag, 5, [122.0, 45.0], axis=0)
    assert misshapen(graph(doubled, [*chain, (3, 5)])) == 1

    lengthened = 40 + np.array([[0.0, 0.0], [30.0, 18.0], [60.0, 0.0], [75.0, 9.0], [90.0, 0.0]])
    ink = drawn(lengthened, chain)
    passed = np.insert(lengthened, 1, [55.3, 49.0], axis=0)
    read = graph(passed, [*chain, (4, 5)])
    assert straight_carbons(ink, read) == [1]
    assert straight_carbons(np.zeros_like(ink), read) == []  # where there is no line
    read.bonds[0] = (0, 1, "=")
    assert straight_carbons(ink, read) == []  # of an allene, of an alkyne
    assert straight_carbons(ink, graph(zigzag[:0], [])) == []
