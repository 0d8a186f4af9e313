"""What the ink, and the places of a graph, say for and against what was read: measures alone.

Lengths are in bonds, the median length of those that were read, so that they hold at every scale.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .components import median
from .scale import TARGET_BOND
from .sites import CELL
from .walk import OPEN, Graph

LINE_REACH = 0.38  # bonds: how far from a bond ink still belongs to it
GLYPH_REACH = 0.49  # bonds: how far from its place the ink of a glyph goes
WIDE_LABEL = 1.11  # bonds: how far to the sides the letters of a terminal atom go
HYDROGEN = 0.9  # bonds: how far the hydrogen of an NH goes
SIGN = 0.35  # bonds: how much farther the ink of an atom with a sign goes

WAVE_SPAN = (0.2, 0.8)  # of a bond: where its two sides are compared
WAVE_SIDE = np.arange(0.033, 0.18, 0.022)  # bonds from its middle line: where ink is looked for
WAVE = (-0.68, -4e-5)  # correlation, and covariance in bonds: a wave's are below both

TAPER_SPAN = np.linspace(0.2, 0.8, 13)  # of a bond: where its width is measured
TAPER_SIDE = np.arange(-0.154, 0.155, 0.022)  # bonds from its middle line
TAPER = (0.026, 1.2, 0.08)  # bonds of ink that it gains; that in mean widths; scatter in gains
SOLID = 0.6  # of the ink along the middle of a wedge's wide half: a hash, made small, is paler
PALE = (0.1, 0.5)  # the same of a hash

LINE_OF = np.linspace(0.2, 0.62, 12)  # of a bond: where a mark is compared with plain bonds
PLAIN_WIDTH = (0.75, 1.25)  # widths of a plain bond
PLAIN_GAIN = 0.3  # the same: as much as a line may widen or narrow from end to end
PLAIN_INK = 0.65  # of a plain bond's: ink all along a line, where a hash has gaps

STRAIGHT = 165.0  # degrees: no carbon is drawn with two single bonds so far apart,
PASSED = 1.3  # bonds: on a line of such length,
PASSED_INK = 0.25  # with so much ink all along it,
PASSED_REACH = 0.09  # bonds: not farther from it than this

INKED = 0.35  # ink of a pixel that has to be explained
THIN, WIDE = 0.15, 0.28  # bonds: how far the ink of a single bond and of others lies from its line
BARE_INK = 0.2  # less ink than this is no line
BARE_SPAN = np.linspace(0.35, 0.65, 7)  # of a bond: where there must be ink,
BARE_SIDE = np.linspace(-WIDE, WIDE, 9)  # so many bonds from its middle line
LINE_WIDTH = 0.09  # bonds: of a plain bond
CLOSE_BY = 1e-6  # bonds: more than what rounding can add
BESIDE = 0.5  # bonds: ink not farther than this from what was read is beside it

LINE_SPAN = (0.55, 1.7)  # bonds: between two atoms that share a line,
SURE_SPAN = (0.7, 1.45)  # and between two that surely do
LINE_SIDE = 0.07  # bonds: the line's own ink lies not farther from its middle than this
BESIDE_LINE = 0.17  # bonds from its middle: where a line that is alone has paper
ALONG_SPAN = np.linspace(0.2, 0.8, 11)  # of a line: where all of these are looked at
ALONG_SIDE = np.array([*np.linspace(-LINE_SIDE, LINE_SIDE, 5), -BESIDE_LINE, BESIDE_LINE])
FAINT, DARK = 0.25, 0.5  # of the ink of bonds that were read: on any line, on a sure one
ALONE = 0.3  # of the same: the most beside a sure one
APART = 0.1  # bonds: a line whose middle is nearer to a bond is that bond

TWO_SIDE = np.linspace(-0.36, 0.36, 25)  # bonds from a bond's middle line
TWO_INK = 0.5  # the least on each of two lines
TWO_GAP = (0.1, 0.27)  # bonds: between two lines of one bond

SHORT_BOND, LONG_BOND = 0.5, 1.8  # bonds: what is shorter or longer is seldom drawn
NARROW = 25.0  # degrees: two bonds of an atom are farther apart
MINUS_ROOM = 0.4  # bonds: nearer to the picture's edge there is no room for a minus


@dataclass(frozen=True)
class Leftover:
    """Ink that grows out of what was read without belonging to it."""

    length: float
    """In bonds."""
    atom: int
    """The atom that it grows out of."""


def leftovers(cells: NDArray[np.integer], graph: Graph) -> list[Leftover]:
    """The ink that a reading passed over, the longest piece first.

    A branch or a ring closure that was missed leaves ink that touches what was read; captions lie
    apart and don't count.

    Args:
        cells: (L, 2) x and y of the cells that are inked themselves.
        graph: what was read, its places in pixels of the ink map.
    """
    found = []
    usual = median_bond(graph) if graph.bonds else 0.0
    for piece, touches in _pieces(cells, graph):
        if touches:
            spots = (np.array(piece, dtype=np.float64) + 0.5) * CELL
            away = np.sqrt(((graph.places[:, None] - spots) ** 2).sum(2)).min(1)
            length = len(piece) * CELL / (usual + 1e-6)
            found.append(Leftover(length, int(away.argmin())))
    return sorted(found, key=lambda left: -left.length)


def _pieces(
    cells: NDArray[np.integer], graph: Graph
) -> Iterator[tuple[list[tuple[int, int]], bool]]:
    """The cells with ink that is not of what was read, those together that hang together; and
    whether ink of what was read is next to them.
    """
    if not len(cells) or not graph.bonds:
        return
    belongs = belonging(cells, graph)
    free = {(x, y) for x, y in cells[~belongs].tolist()}
    if not free:
        return
    taken = {(x, y) for x, y in cells[belongs].tolist()}
    while free:
        piece = [free.pop()]
        touches = False
        for x, y in piece:  # grows while it is walked over
            for dx in (-1, 0, 1):
                for dy in (-1, 0, 1):
                    beside = (x + dx, y + dy)
                    touches |= beside in taken
                    if beside in free:
                        free.remove(beside)
                        piece.append(beside)
        yield piece, touches


def belonging(cells: NDArray[np.integer], graph: Graph) -> NDArray[np.bool_]:
    """Which of the cells (L,) have ink of what was read.

    Args:
        cells: (L, 2) x and y of cells.
        graph: with one atom at least, its places in pixels of the ink map.
    """
    unit = unit_of(graph)
    spots = (cells + 0.5) * CELL / unit  # in bonds
    places = graph.places / unit
    belongs = np.zeros(len(spots), bool)
    if graph.bonds:
        ends = places[[bond[:2] for bond in graph.bonds]]  # (M, 2, 2)
        belongs = _from_lines(spots, ends).min(1) <= LINE_REACH
    rest = np.flatnonzero(~belongs)  # few, as most ink is of lines
    if rest.size:
        left = spots[rest]
        belongs[rest] = _any_near(left, places, _reach(graph))
        for glyphs in graph.glyphs.values():
            belongs[rest] |= _any_near(left, glyphs / unit, np.full((1, 2), GLYPH_REACH))
    return belongs


def _any_near(
    spots: NDArray[np.floating], places: NDArray[np.floating], reach: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """(P,) whether any of some places (n, 2) is not farther from spots (P, 2) than its reach
    (n, 2), to the sides and up and down.
    """
    x, y = np.abs(spots.T[:, :, None] - places.T[:, None])  # (2, P, n)
    return np.asarray(((x <= reach[:, 0]) & (y <= reach[:, 1])).any(1))


def _reach(graph: Graph) -> NDArray[np.float64]:
    """(n, 2) how far, in bonds, the letters of each atom go to the sides, and up and down."""
    drawn: list[str] = [""] * len(graph.atoms)  # the kinds of each atom's bonds
    for a, b, kind in graph.bonds:
        drawn[a] += kind
        drawn[b] += kind
    reach = []
    for atom, bonds in zip(graph.atoms, drawn, strict=True):
        if atom == "C":
            sides = (WIDE_LABEL, GLYPH_REACH) if len(bonds) < 2 else (0.0, 0.0)  # CH3 written
        elif atom.startswith(OPEN) or bonds == "=":
            sides = (GLYPH_REACH, GLYPH_REACH)
        elif len(bonds) < 2:
            sides = (WIDE_LABEL, GLYPH_REACH)  # NH2, H2N
        elif atom[0] == "N" and len(bonds) == 2:
            sides = (HYDROGEN, HYDROGEN)  # its hydrogen beside it, above or below
        else:
            sides = (GLYPH_REACH, GLYPH_REACH)
        extra = SIGN if atom[-1] in "+-." else 0.0
        reach.append((sides[0] + extra, sides[1] + extra))
    return np.array(reach, dtype=np.float64)


def unexplained(ink: NDArray[np.float32], graph: Graph) -> tuple[float, float]:
    """The ink that lies neither on a bond that was read nor where the letters of an atom may be.

    Args:
        ink: (H, W), 0 paper to 1 ink.
        graph: what was read, its places in pixels of the ink map from its top left corner.

    Returns:
        Its share of all ink, 0 to 1; and how much of it lies within half a bond of what was read,
        in plain bonds that it would draw.
    """
    dark = ink[::2, ::2] > INKED  # every fourth pixel will do
    count = int(np.count_nonzero(dark))
    if not count or not graph.atoms:
        return float(count > 0), 0.0
    unit = unit_of(graph)
    columns = (2 * np.arange(dark.shape[1]) + 0.5) / unit  # in bonds
    rows = (2 * np.arange(dark.shape[0]) + 0.5) / unit
    places = graph.places / unit
    # What lies in a box round an atom or a glyph does so by its column and by its row.
    spots = [places, *(glyphs / unit for glyphs in graph.glyphs.values())]
    sizes = [np.maximum(_reach(graph), THIN)]
    sizes += [np.full((len(glyphs), 2), GLYPH_REACH) for glyphs in spots[1:]]
    centres, reach = np.concatenate(spots), np.concatenate(sizes)
    across = np.abs(columns[:, None] - centres[:, 0]) <= reach[:, 0]  # (w, n)
    down = np.abs(rows[:, None] - centres[:, 1]) <= reach[:, 1]  # (h, n)
    dark &= down.astype(np.float32) @ across.T.astype(np.float32) == 0
    y, x = np.nonzero(dark)
    if not x.size:
        return 0.0, 0.0
    if graph.bonds:
        ends = places[[bond[:2] for bond in graph.bonds]]  # (M, 2, 2)
        reach = np.where([kind == "-" for *_, kind in graph.bonds], THIN, WIDE)
        # Only what is as near in x and in y can be as near as its reach.
        low, high = ends.min(1) - reach[:, None], ends.max(1) + reach[:, None]
        within = (columns[:, None] >= low[:, 0] - CLOSE_BY) & (
            columns[:, None] <= high[:, 0] + CLOSE_BY
        )
        beside = (rows[:, None] >= low[:, 1] - CLOSE_BY) & (rows[:, None] <= high[:, 1] + CLOSE_BY)
        which, bond = np.nonzero(within[x] & beside[y])
        gone = _from_line(columns[x[which]], rows[y[which]], ends[bond]) <= reach[bond]
        free = np.ones(len(x), bool)
        free[which[gone]] = False
        x, y = x[free], y[free]
    left = np.stack([columns[x], rows[y]], 1)
    if not len(left):
        return 0.0, 0.0
    away = np.sqrt(
        (left[:, None, 0] - places[:, 0]) ** 2 + (left[:, None, 1] - places[:, 1]) ** 2
    ).min(1)  # (P,)
    if graph.bonds:
        away = np.minimum(away, _from_lines(left, ends).min(1))
    beside_read = float((away < BESIDE).sum()) * 4 / (LINE_WIDTH * unit**2)
    return len(left) / count, beside_read


def bare_bonds(ink: NDArray[np.float32], graph: Graph) -> list[int]:
    """Numbers of the bonds along whose middle there is mostly no ink; hashes are not asked.

    Args:
        ink: (H, W), 0 paper to 1 ink.
        graph: what was read, its places in pixels of the ink map from its top left corner.
    """
    numbers = [k for k, (_, _, kind) in enumerate(graph.bonds) if kind not in ("h", "d", "?")]
    if not numbers:
        return []
    inked = _profiles(ink, graph, numbers, BARE_SPAN, BARE_SIDE)
    share = (inked.max(2) > BARE_INK).mean(1)
    return [number for number, part in zip(numbers, share, strict=True) if part < 0.5]


@dataclass(frozen=True)
class Line:
    """A line of ink from one atom to another that no bond was read for."""

    atoms: tuple[int, int]
    sure: bool
    """Whether it is dark all along, as long as a bond, and alone."""


def unread_lines(ink: NDArray[np.float32], graph: Graph) -> list[Line]:
    """Lines between atoms that were not read, as of fused rings whose common bond was passed over.

    Args:
        ink: (H, W), 0 paper to 1 ink.
        graph: what was read, its places in pixels of the ink map from its top left corner.
    """
    if len(graph.bonds) < 3:
        return []
    unit = unit_of(graph)
    places = graph.places / unit
    ends = places[[bond[:2] for bond in graph.bonds]]  # (M, 2, 2)
    x, y = (places[:, None] - places).T
    distance = np.sqrt(x * x + y * y)
    one, other = np.array([bond[:2] for bond in graph.bonds]).T
    distance[one, other] = distance[other, one] = 0.0
    least, most = LINE_SPAN
    pairs = np.argwhere(np.triu((distance > least) & (distance < most)))
    middles = places[pairs].mean(1)
    pairs = pairs[_from_lines(middles, ends).min(1) > APART] if len(pairs) else pairs
    if not len(pairs):
        return []
    usual = max(median(_along(ink, ends * unit, unit)[0]), BARE_INK)
    _, dark, beside = (x / usual for x in _along(ink, places[pairs] * unit, unit))
    length = distance[pairs[:, 0], pairs[:, 1]]
    sure = (dark > DARK) & (beside < ALONE) & (length > SURE_SPAN[0]) & (length < SURE_SPAN[1])
    return [
        Line((int(a), int(b)), bool(sure[k])) for k, (a, b) in enumerate(pairs) if dark[k] > FAINT
    ]


def _along(
    ink: NDArray[np.float32], ends: NDArray[np.floating], unit: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The mean ink on the middle of each of some ways (M, 2, 2), the least there, and the mean ink
    on the paler one of its two sides.
    """
    inked = _profiles_of(ink, ends, unit, ALONG_SPAN, ALONG_SIDE)  # (M, 11, 7)
    on = inked[:, :, :5].max(2)
    return on.mean(1), on.min(1), inked[:, :, 5:].mean(1).min(1)


def second_lines(ink: NDArray[np.float32], graph: Graph) -> list[int]:
    """Numbers of the bonds read as plain along which there are two lines, side by side.

    Args:
        ink: (H, W), 0 paper to 1 ink.
        graph: what was read, its places in pixels of the ink map from its top left corner.
    """
    numbers = [k for k, (_, _, kind) in enumerate(graph.bonds) if kind == "-"]
    if len(graph.bonds) < 3 or not numbers:
        return []
    inked = _profiles(ink, graph, numbers, np.linspace(0.32, 0.68, 7), TWO_SIDE)
    inked = np.sort(inked, axis=1)[:, 1]  # (M, S) the second least along the bond
    inner = inked[:, 1:-1]
    is_top = (inner > TWO_INK) & (inner >= inked[:, :-2]) & (inner >= inked[:, 2:])
    found = []
    for k in np.flatnonzero(is_top.sum(1) > 1).tolist():
        number, row = numbers[k], inked[k]
        tops = 1 + np.flatnonzero(is_top[k])
        first, last = tops[0], tops[-1]
        valley = row[first : last + 1].min() < 0.7 * min(row[first], row[last])
        gap = TWO_SIDE[last] - TWO_SIDE[first]
        if valley and TWO_GAP[0] < gap < TWO_GAP[1]:
            found.append(number)
    return found


def straight_carbons(ink: NDArray[np.float32], graph: Graph) -> list[int]:
    """Carbons with two plain bonds in a straight line, which no drawing has: the line is one bond.

    Args:
        ink: (H, W), 0 paper to 1 ink.
        graph: what was read, its places in pixels of the ink map from its top left corner.
    """
    if not graph.bonds:
        return []
    bonds: list[list[tuple[int, str]]] = [[] for _ in graph.atoms]
    for a, b, kind in graph.bonds:
        bonds[a].append((b, kind))
        bonds[b].append((a, kind))
    found = []
    unit, usual = unit_of(graph), median_bond(graph)
    places: list[tuple[float, float]] = graph.places.tolist()
    for i, atom in enumerate(graph.atoms):
        if atom == "C" and [kind for _, kind in bonds[i]] == ["-", "-"]:
            first, second = (j for j, _ in bonds[i])
            (x, y), (x1, y1), (x2, y2) = places[i], places[first], places[second]
            if math.dist(places[first], places[second]) <= PASSED * usual:
                continue
            u, v, w, z = x1 - x, y1 - y, x2 - x, y2 - y
            apart = abs(math.atan2(u * z - v * w, u * w + v * z))
            if math.degrees(apart) > STRAIGHT:
                start, end = graph.places[first], graph.places[second]
                if _least_ink(ink, start, end, PASSED_REACH * unit) > PASSED_INK:
                    found.append(i)
    return found


def _least_ink(
    ink: NDArray[np.float32], start: NDArray[np.float64], end: NDArray[np.float64], reach: float
) -> float:
    """The least ink along the middle half of a way, not farther from it than a reach in px."""
    along = end - start
    across = np.array([-along[1], along[0]]) / max(float(np.linalg.norm(along)), 1e-6)
    spots = start + np.linspace(0.25, 0.75, 9)[:, None] * along  # (9, 2)
    sides = np.linspace(-reach, reach, 5)[:, None, None] * across
    x, y = np.moveaxis(np.floor(spots + sides).astype(np.int64), -1, 0)  # (5, 9)
    inked = ink[np.clip(y, 0, ink.shape[0] - 1), np.clip(x, 0, ink.shape[1] - 1)]
    return float(inked.max(0).min())


def misshapen(graph: Graph) -> list[int]:
    """Atoms at bonds that are much shorter than others, or longer between carbons, and atoms that
    bonds leave side by side: no drawing has them, but for some cages. An atom may be there twice.
    """
    if not graph.bonds:
        return []
    ends = graph.places[[bond[:2] for bond in graph.bonds]]  # (M, 2, 2)
    along = ends[:, 1] - ends[:, 0]
    length = np.sqrt((along * along).sum(1))
    usual = median(length)
    between_carbons = [graph.atoms[a] == graph.atoms[b] == "C" for a, b, _ in graph.bonds]
    odd = (length < SHORT_BOND * usual) | (length > LONG_BOND * usual) & between_carbons
    found = [graph.bonds[number][0] for number in np.flatnonzero(odd)]
    headings: list[list[float]] = [[] for _ in graph.atoms]
    for (a, b, _), (x, y) in zip(graph.bonds, along.tolist(), strict=True):
        headings[a].append(math.degrees(math.atan2(y, x)))
        headings[b].append(math.degrees(math.atan2(-y, -x)))
    for i, (atom, turns) in enumerate(zip(graph.atoms, headings, strict=True)):
        if len(turns) > 1 and not atom.startswith(OPEN):
            turns.sort()
            gaps = (after - turn for turn, after in pairwise([*turns, turns[0] + 360]))
            found += [i] * sum(gap < NARROW for gap in gaps)
    return found


def cut_anions(graph: Graph, size: tuple[int, int]) -> list[int]:
    """Atoms read as O- or S- so near to the edge of the picture that no minus can stand there, in a
    drawing without a plus: the edge goes through the H of an OH or SH.

    Args:
        graph: what was read, its places in pixels of the picture.
        size: (height, width) of the picture.
    """
    if not graph.bonds or any("+" in atom for atom in graph.atoms):
        return []
    room = np.minimum(graph.places, np.array(size[::-1]) - graph.places).min(1)
    is_cut = room < MINUS_ROOM * median_bond(graph)
    return [i for i, atom in enumerate(graph.atoms) if atom in ("O-", "S-") and is_cut[i]]


def waves(ink: NDArray[np.float32], graph: Graph) -> list[int]:
    """Numbers of bonds read as wedge or hash whose ink swings from one side to the other: waves.

    The two sides of a wedge are alike, and so are those of a hash; where a wave has ink on one side
    it has none on the other.

    Args:
        ink: (H, W), 0 paper to 1 ink.
        graph: what was read, its places in pixels of the ink map from its top left corner.
    """
    found = []
    unit = unit_of(graph)
    for number, (a, b, kind) in enumerate(graph.bonds):
        if kind in ("w", "h"):
            left, right = _sides(ink, graph.places[a], graph.places[b], unit)
            covariance = float((left * right).mean())
            size = float(np.sqrt((left**2).mean() * (right**2).mean())) + 1e-9
            if covariance / size < WAVE[0] and covariance < WAVE[1]:
                found.append(number)
    return found


def _sides(
    ink: NDArray[np.float32],
    start: NDArray[np.floating],
    end: NDArray[np.floating],
    unit: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ink to the left and to the right of a line, in bonds, every fiftieth of a bond along it,
    less its trend.
    """
    length = max(float(np.linalg.norm(end - start)), 1e-6)
    along = (end - start) / length
    across = np.array([-along[1], along[0]])
    steps = np.arange(WAVE_SPAN[0] * length, WAVE_SPAN[1] * length, 0.022 * unit)
    if len(steps) < 6:
        return np.zeros(1), np.zeros(1)
    line = start + steps[:, None] * along
    turn = np.linspace(-1, 1, len(steps))
    sides = []
    for sign in (1, -1):
        spots = line[:, None] + sign * unit * WAVE_SIDE[:, None] * across
        amount = _sampled(ink, spots[..., 0], spots[..., 1]).mean(1) * np.ptp(WAVE_SIDE)
        slope = (turn @ amount) / (turn @ turn)  # of the line that fits best, as turn has mean 0
        sides.append(amount - amount.mean() - slope * turn)
    return sides[0], sides[1]


def tapers(ink: NDArray[np.float32], graph: Graph) -> dict[int, tuple[int, int, str]]:
    """Bonds read as plain whose ink widens steadily from an atom that has bonds enough to be a
    stereocentre: wedges and fine hashes.

    Args:
        ink: (H, W), 0 paper to 1 ink.
        graph: what was read, its places in pixels of the ink map from its top left corner.

    Returns:
        Number of the bond -> what it is: (narrow end, wide end, ``w`` or ``h``).
    """
    bonds = Counter(atom for a, b, _ in graph.bonds for atom in (a, b))
    centres = {i for i, atom in enumerate(graph.atoms) if atom == "C" and bonds[i] > 2}
    numbers = [
        number
        for number, (a, b, kind) in enumerate(graph.bonds)
        if kind == "-" and (a in centres or b in centres)
    ]
    if not numbers:
        return {}
    profiles = _profiles(ink, graph, numbers, TAPER_SPAN, TAPER_SIDE)
    widths = profiles.sum(2) * (TAPER_SIDE[1] - TAPER_SIDE[0])  # bonds
    turn = TAPER_SPAN - TAPER_SPAN.mean()
    middle = widths.mean(1)
    gain = widths @ turn / (turn**2).sum()
    scatter = (widths - middle[:, None] - gain[:, None] * turn).std(1)
    least, in_widths, loose = TAPER
    size = np.abs(gain)
    is_taper = (size > least) & (size > in_widths * middle) & (scatter < loose * size)

    found = {}
    centre_line = profiles[:, :, np.abs(TAPER_SIDE) < 0.023].mean(2)
    for k in np.flatnonzero(is_taper):
        a, b, _ = graph.bonds[numbers[k]]
        narrow, wide = (a, b) if gain[k] > 0 else (b, a)
        dark = float(centre_line[k, (turn * gain[k] >= 0)].mean())
        if narrow in centres and dark > SOLID:
            found[numbers[k]] = (narrow, wide, "w")
        elif narrow in centres and PALE[0] < dark < PALE[1]:
            found[numbers[k]] = (narrow, wide, "h")
    return found


def plain_lines(ink: NDArray[np.float32], graph: Graph) -> list[int]:
    """Numbers of bonds read as hash whose ink is a line like those of the plain bonds beside it:
    as wide, no wider at one end, and without gaps.

    Args:
        ink: (H, W), 0 paper to 1 ink.
        graph: what was read, its places in pixels of the ink map from its top left corner.
    """
    hashes = [number for number, bond in enumerate(graph.bonds) if bond[2] == "h"]
    plain = [number for number, bond in enumerate(graph.bonds) if bond[2] == "-"]
    if not hashes or not plain:
        return []
    usual = _profiles(ink, graph, plain, LINE_OF, TAPER_SIDE)
    width = max(float(np.median(usual.sum(2).mean(1))), 1e-6)
    darkness = float(np.median(usual.max(2).mean(1)))
    read = _profiles(ink, graph, hashes, LINE_OF, TAPER_SIDE)  # (M, span, side)
    widths = read.sum(2) / width
    turn = LINE_OF - LINE_OF.mean()
    gain = (widths @ turn) / (turn**2).sum() * np.ptp(LINE_OF)
    is_plain = (
        (widths.mean(1) > PLAIN_WIDTH[0])
        & (widths.mean(1) < PLAIN_WIDTH[1])
        & (np.abs(gain) < PLAIN_GAIN)
        & (read.max(2).min(1) > PLAIN_INK * darkness)
    )
    return [number for number, plain in zip(hashes, is_plain, strict=True) if plain]


def _profiles(
    ink: NDArray[np.float32],
    graph: Graph,
    numbers: list[int],
    span: NDArray[np.floating],
    side: NDArray[np.floating],
) -> NDArray[np.float64]:
    """(M, span, side) the ink across some bonds: at shares of their length, so many bonds aside."""
    ends = graph.places[[graph.bonds[number][:2] for number in numbers]]  # (M, 2, 2)
    return _profiles_of(ink, ends, unit_of(graph), span, side)


def _profiles_of(
    ink: NDArray[np.float32],
    ends: NDArray[np.floating],
    unit: float,
    span: NDArray[np.floating],
    side: NDArray[np.floating],
) -> NDArray[np.float64]:
    """(M, span, side) the same of any segments (M, 2, 2), with a bond so many pixels long."""
    x, y = ends[:, 0].T
    along_x, along_y = (ends[:, 1] - ends[:, 0]).T
    length = np.maximum(np.sqrt(along_x * along_x + along_y * along_y), 1e-6)
    across_x, across_y = unit * -along_y / length, unit * along_x / length  # a bond long
    return _sampled(
        ink,
        (x[:, None] + span * along_x[:, None])[:, :, None] + side * across_x[:, None, None],
        (y[:, None] + span * along_y[:, None])[:, :, None] + side * across_y[:, None, None],
    )


def _sampled(
    ink: NDArray[np.float32], x: NDArray[np.floating], y: NDArray[np.floating]
) -> NDArray[np.float64]:
    """The ink at places, between pixels where they lie so."""
    height, width = ink.shape
    x = np.minimum(np.maximum(x - 0.5, 0), width - 1.001)
    y = np.minimum(np.maximum(y - 0.5, 0), height - 1.001)
    left, top = x.astype(np.intp), y.astype(np.intp)
    x -= left
    y -= top
    before = 1 - x
    flat, at = ink.ravel(), top * width + left
    upper = flat.take(at) * before + flat.take(at + 1) * x
    at += width
    lower = flat.take(at) * before + flat.take(at + 1) * x
    return np.asarray(upper * (1 - y) + lower * y)


def _from_lines(spots: NDArray[np.floating], ends: NDArray[np.floating]) -> NDArray[np.float64]:
    """(P, M) how far each of some places (P, 2) lies from each of some segments (M, 2, 2)."""
    return _from_line(spots[:, 0, None], spots[:, 1, None], ends)


def _from_line(
    x: NDArray[np.floating], y: NDArray[np.floating], ends: NDArray[np.floating]
) -> NDArray[np.float64]:
    """How far places lie from segments (M, 2, 2): (M,) for x and y of M places, (P, M) for (P, 1)
    of P.
    """
    start, along = ends[:, 0], ends[:, 1] - ends[:, 0]
    along_x, along_y = along[:, 0], along[:, 1]
    x, y = x - start[:, 0], y - start[:, 1]
    share = (x * along_x + y * along_y) / (along_x**2 + along_y**2 + 1e-9)
    share = np.minimum(np.maximum(share, 0), 1)
    x, y = x - share * along_x, y - share * along_y
    return np.asarray(np.sqrt(x * x + y * y))


def median_bond(graph: Graph) -> float:
    """Median length of the bonds, of which there is at least one."""
    places: list[tuple[float, float]] = graph.places.tolist()
    lengths = []
    for a, b, _ in graph.bonds:
        (x, y), (other_x, other_y) = places[a], places[b]
        x, y = x - other_x, y - other_y
        lengths.append(math.sqrt(x * x + y * y))
    lengths.sort()
    middle = len(lengths) // 2  # without numpy, as this is asked for often, of few
    return lengths[middle] / 2 + lengths[~middle] / 2


def unit_of(graph: Graph) -> float:
    """A bond in pixels of the ink map: the median, if it is near what is read at."""
    if not graph.bonds:
        return TARGET_BOND
    return min(max(median_bond(graph), 0.5 * TARGET_BOND), 2 * TARGET_BOND)
