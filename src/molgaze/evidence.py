"""What a picture says against a reading of it: ink and lines that were passed over."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .walk import OPEN, Graph, Trail

LINE_REACH = 1.1  # cells: how far from a bond ink still belongs to it
GLYPH_REACH = 1.4  # cells: how far from its place the ink of a glyph goes
GLYPH_GAP = (2, 1)  # cells: how far apart neighbouring glyphs of a line may lie
APART_SIZE = (16, 4)  # cells: what is larger is more than a counter-ion or a solvent
BOND_SPAN = (0.6, 1.4)  # of the median bond: how far apart two atoms that share a line may lie
LINE_INK = 0.45  # of the ink along the bonds that were read: less than this is no line
BESIDE = 3.5  # px to either side of a line, where there must be less ink than on it
TAKEN = 2.5  # px: a line so near to a bond that was read is that bond
WAVE_SPAN = (0.2, 0.8)  # of a bond: where its two sides are compared
WAVE_SIDE = np.arange(0.75, 4.1, 0.5)  # px from its middle line: where ink is looked for
WAVE = (-0.68, -0.02)  # correlation and covariance of the two sides: a wave's are below both
TAPER_SPAN = np.linspace(0.2, 0.8, 13)  # of a bond: where its width is measured
TAPER_SIDE = np.arange(-3.5, 3.6, 0.5)  # px from its middle line
TAPER = (0.6, 1.2, 0.08)  # px of ink that it gains; that in widths of its middle; scatter in gains
SOLID = 0.6  # of the ink along the middle of a wedge's wide half: a hash, made small, is paler
PALE = (0.1, 0.5)  # the same of a hash
STRAIGHT = 165.0  # degrees: no carbon is drawn with two single bonds so far apart,
PASSED = 1.3  # median bonds: on a line of such length,
PASSED_INK = 0.25  # with so much ink all along it
SHORT_BOND, LONG_BOND = 0.5, 1.8  # median bonds: what is shorter or longer is seldom drawn
NARROW = 25.0  # degrees: two bonds of an atom are farther apart
MINUS_ROOM = 0.4  # of the median bond: nearer to the picture's edge there is no room for a minus


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
        graph: what was read, its places in cells.
    """
    found = []
    for piece, touches in _pieces(cells, graph, (1, 1)):
        if touches:
            spots = np.array(piece, dtype=np.float64)
            away = np.sqrt(((graph.places[:, None] - spots) ** 2).sum(2)).min(1)
            found.append(Leftover(len(piece) / (_median_bond(graph) + 1e-6), int(away.argmin())))
    return sorted(found, key=lambda left: -left.length)


def apart(cells: NDArray[np.integer], graph: Graph) -> list[list[tuple[int, int]]]:
    """Groups of cells with the ink of something short that stands by itself, as ``HCl`` or ``Br-``
    beside a molecule, or a caption of a line; the largest first.

    Args:
        cells: (L, 2) x and y of the cells that are inked themselves.
        graph: what was read, its places in cells.
    """
    found = []
    for piece, touches in _pieces(cells, graph, GLYPH_GAP):
        wide, high = np.ptp(np.array(piece), axis=0) + 1
        if not touches and len(piece) > 1 and wide <= APART_SIZE[0] and high <= APART_SIZE[1]:
            found.append(piece)
    return sorted(found, key=lambda piece: -len(piece))


def _pieces(
    cells: NDArray[np.integer], graph: Graph, gap: tuple[int, int]
) -> Iterator[tuple[list[tuple[int, int]], bool]]:
    """The cells with ink that is not of what was read, those together that hang together over gaps
    in x and y; and whether ink of what was read is next to them.
    """
    if not len(cells) or not graph.bonds:
        return
    belongs = _belonging(cells, graph)
    free = {(int(x), int(y)) for x, y in cells[~belongs]}
    taken = {(int(x), int(y)) for x, y in cells[belongs]}
    while free:
        yield _piece(free, taken, gap)


def _belonging(cells: NDArray[np.integer], graph: Graph) -> NDArray[np.bool_]:
    """Which of the cells (L,) have ink of what was read."""
    places = graph.places
    ends = places[np.array([(a, b) for a, b, _ in graph.bonds])]  # (M, 2, 2)
    start, along = ends[:, 0], ends[:, 1] - ends[:, 0]
    length = np.sqrt((along**2).sum(1)) + 1e-6
    offset = cells[:, None] - start  # (L, M, 2)
    share = np.clip((offset * along).sum(2) / length**2, 0, 1)
    from_lines = np.sqrt(((offset - share[..., None] * along) ** 2).sum(2)).min(1)
    reach = _reach(graph)  # (n, 2)
    near = np.abs(cells[:, None] - places) <= reach  # (L, n, 2)
    belongs = (from_lines <= LINE_REACH) | np.any(np.all(near, axis=2), axis=1)
    for glyphs in graph.glyphs.values():
        near = np.abs(cells[:, None] - glyphs) <= GLYPH_REACH
        belongs |= np.any(np.all(near, axis=2), axis=1)
    return np.asarray(belongs)


def _piece(
    free: set[tuple[int, int]], taken: set[tuple[int, int]], gap: tuple[int, int]
) -> tuple[list[tuple[int, int]], bool]:
    """Takes from the free cells one and all that hang together with it over gaps in x and y; and
    whether a taken cell is next to one of them.
    """
    piece = [free.pop()]
    touches = False
    for x, y in piece:  # grows while it is walked over
        for dx in range(-gap[0], gap[0] + 1):
            for dy in range(-gap[1], gap[1] + 1):
                beside = (x + dx, y + dy)
                touches |= beside in taken and max(abs(dx), abs(dy)) <= 1
                if beside in free:
                    free.remove(beside)
                    piece.append(beside)
    return piece, touches


def _reach(graph: Graph) -> NDArray[np.float64]:
    """(n, 2) how far, in cells, the letters of each atom go to the sides, and up and down."""
    drawn: list[str] = [""] * len(graph.atoms)  # the kinds of each atom's bonds
    for a, b, kind in graph.bonds:
        drawn[a] += kind
        drawn[b] += kind
    reach = []
    for atom, bonds in zip(graph.atoms, drawn, strict=True):
        if atom == "C":
            sides = (3.2, GLYPH_REACH) if len(bonds) < 2 else (0.0, 0.0)  # CH3 may be written
        elif atom.startswith("[") or bonds == "=":
            sides = (GLYPH_REACH, GLYPH_REACH)
        elif len(bonds) < 2:
            sides = (3.2, GLYPH_REACH)  # NH2, H2N
        elif atom[0] == "N" and len(bonds) == 2:
            sides = (2.6, 2.6)  # its hydrogen beside it, above or below
        else:
            sides = (GLYPH_REACH, GLYPH_REACH)
        extra = 1.0 if atom[-1] in "+-." else 0.0
        reach.append((sides[0] + extra, sides[1] + extra))
    return np.array(reach, dtype=np.float64)


def unread_bonds(ink: NDArray[np.float32], graph: Graph) -> list[tuple[int, int]]:
    """Pairs of atoms with a line between them that was not read, as in fused rings whose common
    bond was passed over.

    Args:
        ink: (H, W), 0 paper to 1 ink.
        graph: what was read, its places in pixels of the ink map from its top left corner.
    """
    if len(graph.bonds) < 3:
        return []
    places = graph.places
    bonded = {frozenset((a, b)) for a, b, _ in graph.bonds}
    ends = np.array([(a, b) for a, b, _ in graph.bonds])
    unit = _median_bond(graph)
    distance = np.linalg.norm(places[:, None] - places, axis=-1)
    low, high = BOND_SPAN[0] * unit, BOND_SPAN[1] * unit
    pairs = [
        (int(a), int(b))
        for a, b in np.argwhere((distance > low) & (distance < high))
        if a < b and frozenset((int(a), int(b))) not in bonded
    ]
    if not pairs:
        return []
    first, second = np.array(pairs).T
    usual = float(np.median(_lines(ink, places[ends[:, 0]], places[ends[:, 1]])[0]))
    on, beside = _lines(ink, places[first], places[second])
    middle = (places[first] + places[second]) / 2
    sure = (on > max(LINE_INK * usual, 0.2)) & (beside < 0.5 * on)
    return [
        pair
        for pair, is_line, spot in zip(pairs, sure, middle, strict=True)
        if is_line and _away(spot, places[ends]) > TAKEN
    ]


def _lines(
    ink: NDArray[np.float32], start: NDArray[np.float64], end: NDArray[np.float64], reach: int = 1
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The least ink along the middle of each of M ways, not farther from it than a reach in px; and
    the mean ink beside it.
    """
    along = end - start  # (M, 2)
    length = np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
    across = np.stack([-along[:, 1], along[:, 0]], 1) / length
    spots = start[:, None] + np.linspace(0.25, 0.75, 9)[:, None] * along[:, None]  # (M, 9, 2)

    def at(shift: float) -> NDArray[np.float32]:
        x, y = np.moveaxis(np.floor(spots + shift * across[:, None]).astype(np.int64), -1, 0)
        inked = ink[np.clip(y, 0, ink.shape[0] - 1), np.clip(x, 0, ink.shape[1] - 1)]
        return np.asarray(inked)

    on = np.max([at(shift) for shift in range(-reach, reach + 1)], axis=0)
    beside = np.minimum(at(BESIDE), at(-BESIDE))
    return on.min(1), beside.mean(1)


def _away(point: NDArray[np.float64], segments: NDArray[np.float64]) -> float:
    """Distance of a point (2,) from the nearest of some segments (M, 2, 2)."""
    start, along = segments[:, 0], segments[:, 1] - segments[:, 0]
    share = ((point - start) * along).sum(1) / np.maximum((along**2).sum(1), 1e-9)
    nearest = start + np.clip(share, 0, 1)[:, None] * along
    return float(np.linalg.norm(point - nearest, axis=1).min())


def _median_bond(graph: Graph) -> float:
    """Median length of the bonds, of which there is at least one."""
    ends = np.array([(a, b) for a, b, _ in graph.bonds])
    return float(
        np.median(np.linalg.norm(graph.places[ends[:, 0]] - graph.places[ends[:, 1]], axis=1))
    )


def straight_carbons(ink: NDArray[np.float32], graph: Graph) -> list[int]:
    """Carbons with two plain bonds in a straight line, which no drawing has: the line is one bond.

    Args:
        ink: (H, W), 0 paper to 1 ink.
        graph: what was read, its places in pixels of the ink map from its top left corner.
    """
    bonds: list[list[tuple[int, str]]] = [[] for _ in graph.atoms]
    for a, b, kind in graph.bonds:
        bonds[a].append((b, kind))
        bonds[b].append((a, kind))
    found = []
    least = PASSED * _median_bond(graph) if graph.bonds else 0.0
    for i, atom in enumerate(graph.atoms):
        if atom == "C" and [kind for _, kind in bonds[i]] == ["-", "-"]:
            ends = graph.places[[j for j, _ in bonds[i]]]
            u, v = ends - graph.places[i]
            apart = abs(math.atan2(u[0] * v[1] - u[1] * v[0], u @ v))
            if math.dist(*ends) > least and math.degrees(apart) > STRAIGHT:
                on, _ = _lines(ink, ends[:1], ends[1:], reach=2)
                if on[0] > PASSED_INK:
                    found.append(i)
    return found


def misshapen(graph: Graph) -> int:
    """How many bonds are much shorter than others, or longer between carbons, and how many leave
    an atom side by side: no drawing has them, but for some cages.
    """
    if not graph.bonds:
        return 0
    ends = graph.places[[bond[:2] for bond in graph.bonds]]  # (M, 2, 2)
    along = ends[:, 1] - ends[:, 0]
    length = np.linalg.norm(along, axis=1)
    usual = np.median(length)
    between_carbons = [graph.atoms[a] == graph.atoms[b] == "C" for a, b, _ in graph.bonds]
    count = (length < SHORT_BOND * usual) | (length > LONG_BOND * usual) & between_carbons
    headings: list[list[float]] = [[] for _ in graph.atoms]
    for (a, b, _), (x, y) in zip(graph.bonds, along, strict=True):
        headings[a].append(math.degrees(math.atan2(y, x)))
        headings[b].append(math.degrees(math.atan2(-y, -x)))
    narrow = 0
    for atom, turns in zip(graph.atoms, headings, strict=True):
        if len(turns) > 1 and not atom.startswith(OPEN):
            turns.sort()
            gaps = np.diff([*turns, turns[0] + 360])
            narrow += int((gaps < NARROW).sum())
    return int(count.sum()) + narrow


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
    is_cut = room < MINUS_ROOM * _median_bond(graph)
    return [i for i, atom in enumerate(graph.atoms) if atom in ("O-", "S-") and is_cut[i]]


def waves(
    ink: NDArray[np.float32], tokens: Sequence[str], places: NDArray[np.floating]
) -> list[int]:
    """Tokens that say wedge or hash of a bond whose ink swings from one side to the other: a wave.

    The two sides of a wedge are alike, and so are those of a hash; where a wave has ink on one side
    it has none on the other.

    Args:
        ink: (H, W), 0 paper to 1 ink.
        tokens: of a walk.
        places: (len(tokens), 2) x and y of each, in pixels of the ink map from its top left corner.
    """
    found = []
    trail = Trail()
    for i, token in enumerate(tokens):
        if token[:1] in ("w", "h") and trail.here is not None and i + 1 < len(tokens):
            left, right = _sides(ink, np.array(trail.here), np.asarray(places[i + 1]))
            covariance = float((left * right).mean())
            size = float(np.sqrt((left**2).mean() * (right**2).mean())) + 1e-9
            if covariance / size < WAVE[0] and covariance < WAVE[1]:
                found.append(i)
        trail.step(token, (float(places[i][0]), float(places[i][1])))
    return found


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
    ends = graph.places[[graph.bonds[number][:2] for number in numbers]]  # (M, 2, 2)
    start, along = ends[:, 0], ends[:, 1] - ends[:, 0]
    length = np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
    across = np.stack([-along[:, 1], along[:, 0]], 1) / length
    spots = (
        start[:, None, None]
        + TAPER_SPAN[:, None, None] * along[:, None, None]
        + TAPER_SIDE[:, None] * across[:, None, None]
    )
    profiles = _sampled(ink, spots)  # (M, span, side)
    widths = profiles.sum(2) * (TAPER_SIDE[1] - TAPER_SIDE[0])
    turn = TAPER_SPAN - TAPER_SPAN.mean()
    middle = widths.mean(1)
    gain = widths @ turn / (turn**2).sum()
    scatter = (widths - middle[:, None] - gain[:, None] * turn).std(1)
    least, in_widths, loose = TAPER
    size = np.abs(gain)
    is_taper = (size > least) & (size > in_widths * middle) & (scatter < loose * size)

    found = {}
    centre_line = profiles[:, :, np.abs(TAPER_SIDE) <= 0.5].mean(2)
    for k in np.flatnonzero(is_taper):
        a, b, _ = graph.bonds[numbers[k]]
        narrow, wide = (a, b) if gain[k] > 0 else (b, a)
        dark = float(centre_line[k, (turn * gain[k] >= 0)].mean())
        if narrow in centres and dark > SOLID:
            found[numbers[k]] = (narrow, wide, "w")
        elif narrow in centres and PALE[0] < dark < PALE[1]:
            found[numbers[k]] = (narrow, wide, "h")
    return found


def _sides(
    ink: NDArray[np.float32], start: NDArray[np.floating], end: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ink to the left and to the right of a line, every half pixel along it, less its trend."""
    length = max(float(np.linalg.norm(end - start)), 1e-6)
    along = (end - start) / length
    across = np.array([-along[1], along[0]])
    steps = np.arange(WAVE_SPAN[0] * length, WAVE_SPAN[1] * length, 0.5)
    if len(steps) < 6:
        return np.zeros(1), np.zeros(1)
    line = start + steps[:, None] * along
    turn = np.linspace(-1, 1, len(steps))
    sides = []
    for sign in (1, -1):
        spots = line[:, None] + sign * WAVE_SIDE[:, None] * across
        amount = _sampled(ink, spots).mean(1) * np.ptp(WAVE_SIDE)
        sides.append(amount - np.polyval(np.polyfit(turn, amount, 1), turn))
    return sides[0], sides[1]


def _sampled(ink: NDArray[np.float32], spots: NDArray[np.floating]) -> NDArray[np.float64]:
    """The ink at places (..., 2), between pixels where they lie so."""
    height, width = ink.shape
    x = np.clip(spots[..., 0] - 0.5, 0, width - 1.001)
    y = np.clip(spots[..., 1] - 0.5, 0, height - 1.001)
    left, top = x.astype(int), y.astype(int)
    fx, fy = x - left, y - top
    upper = ink[top, left] * (1 - fx) + ink[top, left + 1] * fx
    lower = ink[top + 1, left] * (1 - fx) + ink[top + 1, left + 1] * fx
    return np.asarray(upper * (1 - fy) + lower * fy)
