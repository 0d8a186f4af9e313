"""What the reader makes of a walk."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from molgaze import reader, walk
from molgaze.gaze import Walk
from molgaze.picture import Picture

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


@pytest.mark.parametrize(("narrow", "wide"), [(1, 2), (2, 1), (1, 4), (4, 1)])
def test_a_wedge_read_as_a_line_is_a_wedge(narrow: int, wide: int) -> None:
    """In dimethylcyclobutane: a bond that the gaze crossed, and that which closes the ring."""
    spots = [(13, 13), *RING, (13, 71)]
    lines = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 1), (4, 5), (2, 6), (3, 7)]
    spots += [(71, 13), (71, 71)]
    places = [*spots[:5], spots[1], spots[4], spots[5], spots[2], spots[6], spots[3], spots[7]]
    read = walk_of("C C C C C & ^ C ^ C ^ C >", *places)
    bare = [line for line in lines if set(line) != {narrow, wide}]
    picture = picture_of(
        *((*spots[a], *spots[b]) for a, b in bare), wedge=(*spots[narrow], *spots[wide])
    )
    found, graph, faults = reader._mended(picture, read)
    assert not faults
    kinds = {(a, b) if k == "w" else frozenset((a, b)): k for a, b, k in graph.bonds}
    assert kinds.pop((narrow, wide)) == "w"
    assert set(kinds.values()) == {"-"}
    assert len(kinds) == 7
    assert graph.places == pytest.approx(np.array([*spots[:6], *spots[6:]]) * 2 + (10, 20))
    new = next(i for i, token in enumerate(found.tokens) if token[:1] == "w")
    assert found.probabilities[new] == found.probabilities[new + 1]
    assert found.places[new] == pytest.approx(np.mean([spots[narrow], spots[wide]], axis=0))


def test_a_carbon_in_a_straight_line_is_none() -> None:
    """Passed on the way to an atom, and on the way back to the ring."""
    (a, b, c, d), half, back = RING, (54, 42), (30, 42)
    read = walk_of("C C C C C C & >", a, b, half, c, d, back, a)
    ring = [(*RING[i], *RING[i - 1]) for i in range(4)]
    found, graph, faults = reader._mended(picture_of(*ring), read)
    assert not faults
    assert graph.atoms == ["C"] * 4
    assert {frozenset(bond[:2]) for bond in graph.bonds} == {
        frozenset(pair) for pair in ((0, 1), (1, 2), (2, 3), (3, 0))
    }
    assert found.tokens == ("C", "C", "C", "C", "&", ">")
    assert found.places[2] == pytest.approx(c)


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
    assert reader._mended(picture, read)[0].tokens == read.tokens
    assert walk.decode(read.tokens, read.places)[0].atoms == [
        token for token in tokens.split() if walk.is_atom(token)
    ]
