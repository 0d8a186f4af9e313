"""What the ink and sense say about a walk: its graph mended, findings, features.

A rule mends the graph by what :mod:`molgaze.evidence` measures. It has a name in :data:`RULES` and
can be left out by it; ``bench/ablate.py`` prints what each mends and what it spoils.

    verdict = judge(picture, gaze.inked, walk)    # graph, findings and features of a walk
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from .confidence import features_of
from .evidence import (
    Leftover,
    cut_anions,
    leftovers,
    median_bond,
    misshapen,
    plain_lines,
    second_lines,
    straight_carbons,
    tapers,
    unread_lines,
    waves,
)
from .finding import Finding, Kind, name
from .gaze import Walk
from .scale import Picture
from .walk import CLOSE, RING, Graph, is_atom

#: Rules that mend a reading, by name, in the order in which they act.
RULES = (
    "second look",
    "wave",
    "passed carbon",
    "plain line",
    "taper",
    "second line",
    "cut hydroxyl",
)
WORTH_A_LOOK = 0.6  # bonds of ink: less was only drawn a little otherwise
VALENCES = {"C": 4, "N": 3, "N+": 4, "O": 2, "S": 6, "P": 5, "B": 3, "Si": 4}
ORDERS = {"=": 2, "x": 2, "#": 3, "$": 4, ":": 1.5}  # of kinds of bonds; 1 for others
DOUBTFUL_ATOM = 0.5  # confidence under which an atom is named
MOST_NAMED = 5  # atoms

#: Kinds that a user need not look at: the picture itself shows what was put right.
SILENT = (Kind.WAVE, Kind.PASSED_CARBON, Kind.PLAIN_LINE, Kind.TAPER, Kind.SECOND_LINE)


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
        return max(median_bond(self.graph), 1.0) if len(self.graph.bonds) > 2 else None


@dataclass
class _Draft:
    """A graph on the ink map while the rules act on it, with the probability of each part."""

    graph: Graph
    atoms: list[float]
    bonds: list[float]
    findings: list[Finding] = field(default_factory=list)


def judge(
    picture: Picture,
    inked: NDArray[np.integer],
    read: Walk,
    without: Collection[str] = (),
    left: list[Leftover] | None = None,
) -> Verdict:
    """From a walk to its graph, once, with what the picture shows to be otherwise.

    Args:
        picture: that the walk went over.
        inked: (L, 2) x and y of its cells that hold ink.
        read: the walk, its places in pixels of the ink map.
        without: names of rules to leave out.
        left: what the walk's own graph leaves of the ink, if that is known.
    """
    draft = _draft(read)
    if "wave" not in without:
        _wave(picture.ink, draft)
    if "passed carbon" not in without:
        _pass(picture.ink, draft)
    if "plain line" not in without:
        _unmark(picture.ink, draft)
    if "taper" not in without:
        _taper(picture.ink, draft)
    if "second line" not in without:
        _double(picture.ink, draft)
    lines = unread_lines(picture.ink, draft.graph)
    if left is None or draft.findings:  # each rule that mends the graph finds something
        left = leftovers(inked, draft.graph)
    odd = misshapen(draft.graph)
    passed = straight_carbons(picture.ink, draft.graph)
    features = features_of(picture, read, draft.graph, left)
    features["lines"] = float(min(len(lines), 3))
    features["misshapen"] = float(min(len(odd) + len(passed), 4))

    placed = replace(
        draft.graph,
        places=picture.to_original(draft.graph.places),
        glyphs={i: picture.to_original(spots) for i, spots in draft.graph.glyphs.items()},
    )
    draft.graph = placed
    if "cut hydroxyl" not in without:
        _uncut(picture.size, draft)
    findings = draft.findings
    for a, b in (line.atoms for line in lines if line.sure):
        message = f"a line from {_where(placed, a)} to {_where(placed, b)} was left unread"
        findings.append(Finding(Kind.UNREAD_LINE, message, (a, b)))
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
    x, y = graph.places[atom]
    return name(atom, graph.atoms[atom], x, y)


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


def _unmark(ink: NDArray[np.float32], draft: _Draft) -> None:
    """Bonds read as hash whose ink is that of a plain bond are plain."""
    for number in plain_lines(ink, draft.graph):
        a, b, _ = draft.graph.bonds[number]
        draft.graph.bonds[number] = (a, b, "-")
        message = f"the bond between atoms {a + 1} and {b + 1} is a plain line"
        draft.findings.append(Finding(Kind.PLAIN_LINE, message, (a, b)))


def _taper(ink: NDArray[np.float32], draft: _Draft) -> None:
    """Plain bonds whose ink widens steadily from a stereocentre are wedges, or hashes if pale."""
    for number, bond in tapers(ink, draft.graph).items():
        draft.graph.bonds[number] = bond
        message = f"the bond between atoms {bond[0] + 1} and {bond[1] + 1} widens"
        draft.findings.append(Finding(Kind.TAPER, message, bond[:2]))


def _double(ink: NDArray[np.float32], draft: _Draft) -> None:
    """Plain bonds with a second line beside the first are double, where valence has room."""
    graph = draft.graph
    for number in second_lines(ink, graph):
        a, b, _ = graph.bonds[number]
        if _has_room(graph, a) and _has_room(graph, b):
            graph.bonds[number] = (a, b, "=")
            message = f"the bond between atoms {a + 1} and {b + 1} has two lines"
            draft.findings.append(Finding(Kind.SECOND_LINE, message, (a, b)))


def _has_room(graph: Graph, atom: int) -> bool:
    """Whether an atom that is none of a label can have one bond more."""
    bonds = sum(ORDERS.get(kind, 1) for a, b, kind in graph.bonds if atom in (a, b))
    return bonds < VALENCES.get(graph.atoms[atom], 0)


def _uncut(size: tuple[int, int], draft: _Draft) -> None:
    """O- and S- at an edge that leaves no room for a minus are OH and SH that the edge cuts."""
    graph = draft.graph
    for atom in cut_anions(graph, size):
        graph.atoms[atom] = graph.atoms[atom].removesuffix("-")
        message = f"{_where(graph, atom)} is cut by the picture's edge and taken with a hydrogen"
        draft.findings.append(Finding(Kind.CUT_HYDROXYL, message, (atom,)))
