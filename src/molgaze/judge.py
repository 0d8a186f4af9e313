"""What the ink and sense say about a walk: its graph mended, findings, features, a confidence.

Every rule acts on the graph and measures in bonds, the median length of those that were read, so
that it holds at every scale. A rule has a name in :data:`RULES` and can be left out by it;
``bench/ablate.py`` prints what each mends and what it spoils.

    verdict = judge(picture, gaze.inked, walk)    # graph, findings and features of a walk
    left = leftovers(gaze.inked, walk.graph)      # ink to which the gaze is sent back
    Confidence.of(metadata)(features)             # the chance that the reading is right
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from .gaze import Walk
from .molecule import FindingKind, Molecule
from .scale import TARGET_BOND, Picture
from .sites import CELL
from .walk import BONDS, CLOSE, OPEN, RING, Graph, is_atom, is_glyph

#: Rules that mend a reading, by name, in the order in which they act.
RULES = ("second look", "wave", "passed carbon", "taper", "cut hydroxyl")

WORTH_A_LOOK = 0.6  # bonds of ink: less was only drawn a little otherwise

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

STRAIGHT = 165.0  # degrees: no carbon is drawn with two single bonds so far apart,
PASSED = 1.3  # bonds: on a line of such length,
PASSED_INK = 0.25  # with so much ink all along it,
PASSED_REACH = 0.09  # bonds: not farther from it than this

INKED = 0.35  # ink of a pixel that has to be explained
THIN, WIDE = 0.15, 0.28  # bonds: how far the ink of a single bond and of others lies from its line
BARE_INK = 0.2  # less ink than this is no line

SHORT_BOND, LONG_BOND = 0.5, 1.8  # bonds: what is shorter or longer is seldom drawn
NARROW = 25.0  # degrees: two bonds of an atom are farther apart
MINUS_ROOM = 0.4  # bonds: nearer to the picture's edge there is no room for a minus
DOUBTFUL_ATOM = 0.5  # confidence under which an atom is named
MOST_NAMED = 5  # atoms


class Kind(StrEnum):
    """What a finding is about."""

    WAVE = "wave"
    PASSED_CARBON = "passed carbon"
    TAPER = "taper"
    CUT_HYDROXYL = "cut hydroxyl"
    FAULT = "fault"
    UNREAD_INK = "unread ink"
    MISSHAPEN = "misshapen"
    CUT_OFF = "cut off"
    DOUBTFUL_ATOM = "doubtful atom"


#: Kinds that a user need not look at: the picture itself shows what was put right.
SILENT = (Kind.WAVE, Kind.PASSED_CARBON, Kind.TAPER)


@dataclass(frozen=True)
class Finding:
    """One thing that the picture, or sense, says about a reading."""

    kind: Kind
    message: str
    """A sentence for the user; places are in pixels of the original picture."""
    atoms: tuple[int, ...] = ()
    """Of the graph, from 0."""


@dataclass(frozen=True)
class Leftover:
    """Ink that grows out of what was read without belonging to it."""

    length: float
    """In bonds."""
    atom: int
    """The atom that it grows out of."""


@dataclass(frozen=True)
class Verdict:
    """A walk over a picture, judged."""

    graph: Graph
    """What it drew, mended; places in pixels of the original picture."""
    chances: NDArray[np.float64]
    """(n,) the least probability of the tokens that wrote each atom or one of its bonds."""
    findings: tuple[Finding, ...]
    features: dict[str, float]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the findings tell the user."""
        return tuple(f.message for f in self.findings if f.kind not in SILENT)

    @property
    def bond(self) -> float | None:
        """Median bond length that was read, in pixels of the original picture."""
        return max(_median_bond(self.graph), 1.0) if len(self.graph.bonds) > 2 else None


@dataclass
class _Draft:
    """A graph on the ink map while the rules act on it, with the probability of each part."""

    graph: Graph
    atoms: list[float]
    bonds: list[float]
    findings: list[Finding] = field(default_factory=list)


def judge(
    picture: Picture, inked: NDArray[np.integer], read: Walk, without: Collection[str] = ()
) -> Verdict:
    """From a walk to its graph, once, with what the picture shows to be otherwise.

    Args:
        picture: that the walk went over.
        inked: (L, 2) x and y of its cells that hold ink.
        read: the walk, its places in pixels of the ink map.
        without: names of rules to leave out.
    """
    draft = _draft(read)
    if "wave" not in without:
        _wave(picture.ink, draft)
    if "passed carbon" not in without:
        _pass(picture.ink, draft)
    if "taper" not in without:
        _taper(picture.ink, draft)
    left = leftovers(inked, draft.graph)
    odd = misshapen(draft.graph)
    passed = straight_carbons(picture.ink, draft.graph)
    features = _features(picture, read, draft.graph, left)
    features["misshapen"] = float(min(len(odd) + len(passed), 4))
    features["faults"] = float(min(len(read.faults), 3))

    placed = replace(
        draft.graph,
        places=picture.to_original(draft.graph.places),
        glyphs={i: picture.to_original(spots) for i, spots in draft.graph.glyphs.items()},
    )
    draft.graph = placed
    if "cut hydroxyl" not in without:
        _uncut(picture.size, draft)
    findings = draft.findings
    findings += [Finding(Kind.FAULT, f"the walk has a fault: {fault}") for fault in read.faults]
    unread = sum(piece.length for piece in left)
    if unread > WORTH_A_LOOK:
        atoms = tuple(piece.atom for piece in left)
        where = " and ".join(_where(placed, atom) for atom in atoms[:2])
        message = f"ink of {unread:.1f} bond lengths was left unread, beside {where}"
        findings.append(Finding(Kind.UNREAD_INK, message, atoms))
    if odd:
        where = " and ".join(_where(placed, atom) for atom in odd[:3])
        message = f"bonds lie as they are seldom drawn, at {where}"
        findings.append(Finding(Kind.MISSHAPEN, message, tuple(odd)))
    if not read.ended:
        findings.append(Finding(Kind.CUT_OFF, "the reading was cut off at its longest"))
    chances = np.array(draft.atoms, np.float64)
    for (a, b, _), chance in zip(placed.bonds, draft.bonds, strict=True):
        chances[[a, b]] = np.minimum(chances[[a, b]], chance)
    return Verdict(placed, chances, tuple(findings), features)


def doubtful(graph: Graph, confidences: NDArray[np.float64]) -> list[Finding]:
    """The atoms that are less likely right than wrong, the most doubtful first.

    Args:
        graph: its places in pixels of the original picture.
        confidences: (n,) of its atoms.
    """
    return [
        Finding(
            Kind.DOUBTFUL_ATOM,
            f"{_where(graph, i)} is doubtful: confidence {confidences[i]:.2f}",
            (i,),
        )
        for i in map(int, np.argsort(confidences))
        if confidences[i] < DOUBTFUL_ATOM
    ][:MOST_NAMED]


def _where(graph: Graph, atom: int) -> str:
    """How a message names an atom: its number from 1, what is written there, its place."""
    x, y = graph.places[atom]
    return f"atom {atom + 1} ({graph.atoms[atom].strip('[]')} at {x:.0f}, {y:.0f})"


def _draft(read: Walk) -> _Draft:
    """The graph of a walk, and the least probability of the tokens of each atom and bond."""
    graph = read.graph
    chance_of: dict[int, float] = {}  # by each token that an atom or a bond is counted by
    begin = 0
    for i, token in enumerate(read.tokens):
        if is_atom(token) or token in (CLOSE, RING):
            chance = min(read.probabilities[begin : i + 1])
            chance_of.update(dict.fromkeys(range(begin, i + 1), chance))
            begin = i + 1
    own = replace(graph, atoms=list(graph.atoms), bonds=list(graph.bonds))
    return _Draft(
        own,
        [chance_of.get(i, 0.0) for i in graph.steps],
        [chance_of.get(i, 0.0) for i in graph.closed],
    )


# --- the rules that mend ---


def _wave(ink: NDArray[np.float32], draft: _Draft) -> None:
    """Bonds read as wedge or hash whose ink swings from one side to the other are wavy."""
    graph = draft.graph
    for number in waves(ink, graph):
        a, b, _ = graph.bonds[number]
        graph.bonds[number] = (a, b, "~")
        message = f"the bond between atoms {a + 1} and {b + 1} is a wavy line"
        draft.findings.append(Finding(Kind.WAVE, message, (a, b)))


def _pass(ink: NDArray[np.float32], draft: _Draft) -> None:
    """Carbons in a straight line that the gaze only passed are none: their two bonds are one."""
    gone: list[int] = []
    graph = draft.graph
    for atom in straight_carbons(ink, graph):
        first, second = (k for k, (a, b, _) in enumerate(graph.bonds) if atom in (a, b))
        ends = [a if b == atom else b for a, b, _ in (graph.bonds[first], graph.bonds[second])]
        if any({a, b} == set(ends) for a, b, _ in graph.bonds):
            continue
        graph.bonds[first] = (ends[0], ends[1], "-")
        draft.bonds[first] = min(draft.bonds[first], draft.bonds[second])
        del graph.bonds[second], draft.bonds[second]
        gone.append(atom)
    if not gone:
        return
    kept = [i for i in range(len(graph.atoms)) if i not in gone]
    number = {old: new for new, old in enumerate(kept)}
    draft.graph = Graph(
        [graph.atoms[i] for i in kept],
        graph.places[kept],
        [(number[a], number[b], kind) for a, b, kind in graph.bonds],
        {number[i]: spots for i, spots in graph.glyphs.items()},
    )
    draft.atoms = [draft.atoms[i] for i in kept]
    message = f"{len(gone)} places on straight lines were not taken as carbons"
    draft.findings.append(Finding(Kind.PASSED_CARBON, message))


def _taper(ink: NDArray[np.float32], draft: _Draft) -> None:
    """Plain bonds whose ink widens steadily from a stereocentre are wedges, or hashes if pale."""
    for number, bond in tapers(ink, draft.graph).items():
        draft.graph.bonds[number] = bond
        message = f"the bond between atoms {bond[0] + 1} and {bond[1] + 1} widens"
        draft.findings.append(Finding(Kind.TAPER, message, bond[:2]))


def _uncut(size: tuple[int, int], draft: _Draft) -> None:
    """O- and S- at an edge that leaves no room for a minus are OH and SH that the edge cuts."""
    graph = draft.graph
    for atom in cut_anions(graph, size):
        graph.atoms[atom] = graph.atoms[atom].removesuffix("-")
        message = f"{_where(graph, atom)} is cut by the picture's edge and taken with a hydrogen"
        draft.findings.append(Finding(Kind.CUT_HYDROXYL, message, (atom,)))


# --- ink that was passed over ---


def leftovers(cells: NDArray[np.integer], graph: Graph) -> list[Leftover]:
    """The ink that a reading passed over, the longest piece first.

    A branch or a ring closure that was missed leaves ink that touches what was read; captions lie
    apart and don't count.

    Args:
        cells: (L, 2) x and y of the cells that are inked themselves.
        graph: what was read, its places in pixels of the ink map.
    """
    found = []
    usual = _median_bond(graph) if graph.bonds else 0.0
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
    free = {(int(x), int(y)) for x, y in cells[~belongs]}
    taken = {(int(x), int(y)) for x, y in cells[belongs]}
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
    unit = _unit(graph)
    spots = (cells + 0.5) * CELL / unit  # in bonds
    places = graph.places / unit
    near = np.abs(spots[:, None] - places) <= _reach(graph)  # (L, n, 2)
    belongs = np.any(np.all(near, axis=2), axis=1)
    if graph.bonds:
        ends = places[np.array([bond[:2] for bond in graph.bonds])]  # (M, 2, 2)
        belongs |= _from_lines(spots, ends).min(1) <= LINE_REACH
    for glyphs in graph.glyphs.values():
        near = np.abs(spots[:, None] - glyphs / unit) <= GLYPH_REACH
        belongs |= np.any(np.all(near, axis=2), axis=1)
    return np.asarray(belongs)


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


def _median_bond(graph: Graph) -> float:
    """Median length of the bonds, of which there is at least one."""
    ends = np.array([(a, b) for a, b, _ in graph.bonds])
    return float(
        np.median(np.linalg.norm(graph.places[ends[:, 0]] - graph.places[ends[:, 1]], axis=1))
    )


def _unit(graph: Graph) -> float:
    """A bond in pixels of the ink map: the median, if it is near what is read at."""
    if not graph.bonds:
        return TARGET_BOND
    return float(np.clip(_median_bond(graph), 0.5 * TARGET_BOND, 2 * TARGET_BOND))


# --- what lies as none is drawn ---


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
    unit, usual = _unit(graph), _median_bond(graph)
    for i, atom in enumerate(graph.atoms):
        if atom == "C" and [kind for _, kind in bonds[i]] == ["-", "-"]:
            ends = graph.places[[j for j, _ in bonds[i]]]
            u, v = ends - graph.places[i]
            apart = abs(math.atan2(u[0] * v[1] - u[1] * v[0], u @ v))
            far = math.dist(*ends) > PASSED * usual
            straight = far and math.degrees(apart) > STRAIGHT
            if straight and _least_ink(ink, ends[0], ends[1], PASSED_REACH * unit) > PASSED_INK:
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
    length = np.linalg.norm(along, axis=1)
    usual = np.median(length)
    between_carbons = [graph.atoms[a] == graph.atoms[b] == "C" for a, b, _ in graph.bonds]
    odd = (length < SHORT_BOND * usual) | (length > LONG_BOND * usual) & between_carbons
    found = [graph.bonds[number][0] for number in np.flatnonzero(odd)]
    headings: list[list[float]] = [[] for _ in graph.atoms]
    for (a, b, _), (x, y) in zip(graph.bonds, along, strict=True):
        headings[a].append(math.degrees(math.atan2(y, x)))
        headings[b].append(math.degrees(math.atan2(-y, -x)))
    for i, (atom, turns) in enumerate(zip(graph.atoms, headings, strict=True)):
        if len(turns) > 1 and not atom.startswith(OPEN):
            turns.sort()
            gaps = np.diff([*turns, turns[0] + 360])
            found += [i] * int((gaps < NARROW).sum())
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
    is_cut = room < MINUS_ROOM * _median_bond(graph)
    return [i for i, atom in enumerate(graph.atoms) if atom in ("O-", "S-") and is_cut[i]]


# --- what marks of bonds are ---


def waves(ink: NDArray[np.float32], graph: Graph) -> list[int]:
    """Numbers of bonds read as wedge or hash whose ink swings from one side to the other: waves.

    The two sides of a wedge are alike, and so are those of a hash; where a wave has ink on one side
    it has none on the other.

    Args:
        ink: (H, W), 0 paper to 1 ink.
        graph: what was read, its places in pixels of the ink map from its top left corner.
    """
    found = []
    unit = _unit(graph)
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
        amount = _sampled(ink, spots).mean(1) * np.ptp(WAVE_SIDE)
        sides.append(amount - np.polyval(np.polyfit(turn, amount, 1), turn))
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
    unit = _unit(graph)
    ends = graph.places[[graph.bonds[number][:2] for number in numbers]]  # (M, 2, 2)
    start, along = ends[:, 0], ends[:, 1] - ends[:, 0]
    length = np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
    across = unit * np.stack([-along[:, 1], along[:, 0]], 1) / length
    spots = (
        start[:, None, None]
        + TAPER_SPAN[:, None, None] * along[:, None, None]
        + TAPER_SIDE[:, None] * across[:, None, None]
    )
    profiles = _sampled(ink, spots)  # (M, span, side)
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


# --- features ---


def _features(picture: Picture, read: Walk, graph: Graph, left: list[Leftover]) -> dict[str, float]:
    """What the confidence is made of, as far as the walk and the ink tell it.

    Of the walk, the least log-probability of a letter, of a bond's mark and of what else is written
    on the way; the mean log-probability of a token and their sum; the logarithm of
    the number of atoms; ink that was passed over, in bonds; other ink that nothing explains, as the
    logarithm of the atoms that it would make; bonds without ink; and how dark the ink is.
    """
    logs = np.log(np.maximum(read.probabilities, 1e-9)) if read.tokens else np.zeros(1)
    share = unexplained(picture.ink, graph)
    dark = picture.ink[picture.ink > 0.2]
    return {
        "letter": _least(logs, [_is_letter(token) for token in read.tokens]),
        "mark": _least(logs, [token in BONDS for token in read.tokens]),
        "way": _least(logs, [not _is_letter(t) and t not in BONDS for t in read.tokens]),
        "mean": float(max(logs.mean(), -3.0)),
        "total": float(max(logs.sum(), -20.0)),
        "size": math.log(1 + len(graph.atoms)),
        "unread": min(sum(piece.length for piece in left), 5.0),
        "apart": math.log1p(min(len(graph.atoms) * share / (1.01 - share), 20.0)),
        "bare": float(min(len(bare_bonds(picture.ink, graph)), 3)),
        "grey": float(dark.mean()) if dark.size else 0.0,
    }


def _is_letter(token: str) -> bool:
    """True for what is written: an atom other than carbon, a label and its glyphs."""
    return (is_atom(token) and token != "C") or is_glyph(token) or token in (OPEN, CLOSE)


def _least(logs: NDArray[np.float64], chosen: list[bool]) -> float:
    """The least of some log-probabilities, 0 for none."""
    return max(float(logs[: len(chosen)][chosen].min(initial=0.0)), -6.0)


def unexplained(ink: NDArray[np.float32], graph: Graph) -> float:
    """The share of the ink, 0 to 1, that lies neither on a bond that was read nor where the letters
    of an atom may be.

    Args:
        ink: (H, W), 0 paper to 1 ink.
        graph: what was read, its places in pixels of the ink map from its top left corner.
    """
    y, x = np.nonzero(ink[::2, ::2] > INKED)  # every fourth pixel will do
    if not x.size or not graph.atoms:
        return float(x.size > 0)
    unit = _unit(graph)
    spots = (2 * np.stack([x, y], 1) + 0.5) / unit  # (P, 2) in bonds
    places = graph.places / unit
    near = np.zeros(len(spots), bool)
    for place, reach in zip(places, _reach(graph), strict=True):
        near |= (np.abs(spots - place) <= np.maximum(reach, THIN)).all(1)
    for glyphs in graph.glyphs.values():
        for glyph in glyphs / unit:
            near |= (np.abs(spots - glyph) <= GLYPH_REACH).all(1)
    left = spots[~near]
    if graph.bonds and len(left):
        ends = places[[bond[:2] for bond in graph.bonds]]
        away = _from_lines(left, ends)  # (P, M)
        reach = np.where([kind == "-" for *_, kind in graph.bonds], THIN, WIDE)
        left = left[(away > reach).all(1)]
    return len(left) / len(spots)


def _from_lines(spots: NDArray[np.floating], ends: NDArray[np.floating]) -> NDArray[np.float64]:
    """(P, M) how far each of some places (P, 2) lies from each of some segments (M, 2, 2)."""
    start, along = ends[:, 0], ends[:, 1] - ends[:, 0]
    offset = spots[:, None] - start  # (P, M, 2)
    share = np.clip((offset * along).sum(2) / ((along**2).sum(1) + 1e-9), 0, 1)
    return np.asarray(np.sqrt(((offset - share[..., None] * along) ** 2).sum(2)))


def bare_bonds(ink: NDArray[np.float32], graph: Graph) -> list[int]:
    """Numbers of the bonds along whose middle there is mostly no ink; hashes are not asked.

    Args:
        ink: (H, W), 0 paper to 1 ink.
        graph: what was read, its places in pixels of the ink map from its top left corner.
    """
    numbers = [k for k, (_, _, kind) in enumerate(graph.bonds) if kind not in ("h", "d", "?")]
    if not numbers:
        return []
    ends = graph.places[[graph.bonds[k][:2] for k in numbers]]  # (M, 2, 2)
    start, along = ends[:, 0], ends[:, 1] - ends[:, 0]
    length = np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
    across = _unit(graph) * np.stack([-along[:, 1], along[:, 0]], 1) / length
    spots = start[:, None] + np.linspace(0.35, 0.65, 7)[:, None] * along[:, None]  # (M, 7, 2)
    sides = np.linspace(-WIDE, WIDE, 9)
    inked = _sampled(ink, spots[:, :, None] + sides[:, None] * across[:, None, None])
    share = (inked.max(2) > BARE_INK).mean(1)
    return [number for number, part in zip(numbers, share, strict=True) if part < 0.5]


#: Features -> what is found about a molecule that makes them.
_SENSE = {
    "unknown": (FindingKind.UNKNOWN_LABEL,),
    "repaired": (
        FindingKind.RESPELLED_LABEL,
        FindingKind.NO_STEREO,
        FindingKind.CHARGE,
        FindingKind.HYDROGENS,
    ),
}


def sense(found: Molecule | None) -> dict[str, float]:
    """Features of what chemistry makes of a graph: labels that stand for nothing, and what had to
    be repaired: labels respelled, wedges without stereo, charges and hydrogens made up.

    Args:
        found: the molecule of the graph; None if it is none.
    """
    kinds = Counter(finding.kind for finding in found.findings) if found else Counter()
    features = {
        name: float(min(sum(kinds[kind] for kind in many), 3)) for name, many in _SENSE.items()
    }
    return {"invalid": float(found is None or not found.valid), **features}


# --- the confidence ---


#: Of weights that come without a confidence of their own: what was fitted for the first ones that
#: were read with these features, on 795 pictures.
RIGHT = {
    "letter": 1.303,
    "mark": 1.111,
    "way": 0.562,
    "mean": 2.266,
    "total": 0.134,
    "size": 1.241,
    "unread": -0.134,
    "apart": -0.045,
    "bare": -0.344,
    "grey": -0.963,
    "misshapen": -0.705,
    "faults": -1.581,
    "unknown": -3.979,
    "repaired": -0.687,
    "agree": 0.634,
    "differ": -1.292,
    "bias": 0.112,
}
DRAWING = {
    "letter": -0.743,
    "mark": 0.415,
    "way": 0.269,
    "mean": 4.026,
    "total": 0.015,
    "size": 2.664,
    "unread": 0.109,
    "apart": -0.504,
    "bare": -0.253,
    "grey": -2.216,
    "misshapen": -0.288,
    "faults": 0.219,
    "unknown": -0.799,
    "repaired": 0.431,
    "agree": -0.276,
    "differ": -0.873,
    "bias": -0.523,
}
ATOM = (3.145, 0.363, 3.384)
REFUSED = 0.15


@dataclass(frozen=True)
class Confidence:
    """Logistic models over the features of a reading: the chance that it is right, the chance that
    a molecule is drawn in the picture at all, and the chance that an atom is right.

    Attributes:
        right: feature -> its weight; ``bias`` is added.
        drawing: the same for whether a molecule is drawn.
        atom: weights of an atom's log-probability and of the reading's log odds, and a bias.
        refused: the chance of a drawing under which a picture is taken for one without a molecule.
    """

    right: Mapping[str, float]
    drawing: Mapping[str, float]
    atom: tuple[float, float, float]
    refused: float

    @classmethod
    def of(cls, metadata: Mapping[str, str]) -> Confidence:
        """The model that came with the weights; without one, that of the first ones."""
        stored = json.loads(metadata.get("confidence", "null"))
        if stored is None:
            return cls(RIGHT, DRAWING, ATOM, REFUSED)
        return cls(
            stored["right"], stored["drawing"], tuple(stored["atom"]), float(stored["refused"])
        )

    def __call__(self, features: Mapping[str, float]) -> float:
        """The chance, 0 to 1, that a reading with such features is right."""
        return _chance(self.logit(features))

    def logit(self, features: Mapping[str, float]) -> float:
        """The same as log odds."""
        return _sum(self.right, features)

    def refuses(self, features: Mapping[str, float]) -> bool:
        """True for a picture in which no molecule seems to be drawn, by its best reading."""
        return _chance(_sum(self.drawing, features)) < self.refused

    def of_atoms(
        self, features: Mapping[str, float], chances: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """(n,) the chance that each atom, with its bonds, is right."""
        own, whole, bias = self.atom
        logs = np.log(np.maximum(chances, 1e-9))
        return np.array([_chance(own * x + whole * self.logit(features) + bias) for x in logs])


def _sum(weights: Mapping[str, float], features: Mapping[str, float]) -> float:
    bias = weights.get("bias", 0.0)
    return bias + sum(weights.get(name, 0.0) * value for name, value in features.items())


def _chance(logit: float) -> float:
    return 1 / (1 + math.exp(-max(min(logit, 30.0), -30.0)))
