"""The walk language: a drawn molecule as the path of a gaze over it, and back.

A walk is a list of tokens, each with the place that it was read at:

    atom        C  N+  O-  D  Cl ...   bonded to the atom the gaze stood on; the gaze moves to it
    bond        = # $ : w> w< h> h< ~ d> d< ? x   before an atom or ``&``; single: no token
    &           ring closure to the atom, already written, that the gaze points at
    ^           jump back to the atom, already written, that the gaze points at
    .           a new fragment; points at its first atom
    [ 'C 'O ]   a label, glyph by glyph
    < >         start and end; they have no place

``w>`` narrows towards the atom left, ``w<`` towards the atom reached; ``h`` and ``d`` alike.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

START, END, FRAGMENT, RING, JUMP, OPEN, CLOSE = "<", ">", ".", "&", "^", "[", "]"

ELEMENTS = (
    "C N O S F Cl Br I P B Si Se H D T * "
    "Li Na K Rb Cs Be Mg Ca Sr Ba Al Ga In Tl Ge Sn Pb As Sb Bi Te Po At "
    "Sc Ti V Cr Mn Fe Co Ni Cu Zn Y Zr Nb Mo Tc Ru Rh Pd Ag Cd Hf Ta W Re Os Ir Pt Au Hg "
    "La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Ac Th Pa U Np Pu Am Cm He Ne Ar Kr Xe Rn"
).split()
CHARGED = (
    "N+ O- S- N- O+ S+ P+ C- C+ B- I+ I- Cl- Br- F- H+ Na+ K+ Li+ Cs+ Ag+ Cu+ Tl+ Si- Se+ Se- Te+ "
    "As+ P- Al- Mg2+ Ca2+ Ba2+ Sr2+ Zn2+ Cu2+ Fe2+ Fe3+ Co2+ Co3+ Ni2+ Mn2+ Pd2+ Pt2+ Pt4+ Hg2+ "
    "Al3+ Cr3+ Ru2+ Rh3+ Ir3+ Gd3+ La3+ O2- S2-"
).split()
RADICALS = "C. N. O. S. C.. N.. O.. Si. P. O.- C.+ N.+ O.+ S.+".split()
GLYPHS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789()+-,.'/*=#"

#: bond kind in a Graph -> tokens for the two directions in which the gaze may cross it
BOND_TOKENS = {
    "-": ("", ""),
    "=": ("=", "="),
    "#": ("#", "#"),
    "$": ("$", "$"),
    ":": (":", ":"),
    "~": ("~", "~"),
    "?": ("?", "?"),
    "x": ("x", "x"),
    "w": ("w>", "w<"),
    "h": ("h>", "h<"),
    "d": ("d>", "d<"),
}
BONDS = ("=", "#", "$", ":", "~", "?", "x", "w>", "w<", "h>", "h<", "d>", "d<")

ATOMS = (*ELEMENTS, *CHARGED, *RADICALS)
VOCABULARY: tuple[str, ...] = (
    "",  # padding
    START,
    END,
    FRAGMENT,
    RING,
    JUMP,
    OPEN,
    CLOSE,
    *BONDS,
    *ATOMS,
    *("'" + g for g in GLYPHS),
)
TOKEN_ID = {token: i for i, token in enumerate(VOCABULARY)}
_ATOMS = frozenset(ATOMS)
_BOND_OF = {
    t: (k, i == 1) for k, pair in BOND_TOKENS.items() for i, t in reversed([*enumerate(pair)])
}
ATOM_PATTERN = re.compile(r"^([A-Z][a-z]?|\*)(\.{0,2})(?:(\d*)([+-]))?$")


def is_atom(token: str) -> bool:
    """True for a token that is an atom by itself."""
    return token in _ATOMS


def is_glyph(token: str) -> bool:
    """True for one glyph of a label."""
    return len(token) == 2 and token[0] == "'"


@dataclass
class Graph:
    """What a picture shows: atoms and labels with places, and the bonds drawn between them."""

    atoms: list[str]
    """Element with radical dots and charge (``C``, ``N+``, ``C.``), or a label (``[CO2Et]``)."""
    places: NDArray[np.float64]
    """(n, 2): x to the right, y down, in pixels. For a label: where its bonds meet it."""
    bonds: list[tuple[int, int, str]]
    """(begin, end, kind), kind a key of BOND_TOKENS; wedges and hashes are narrow at begin."""
    glyphs: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    """Label -> (characters, 2), the place of each of its glyphs."""
    steps: list[int] = field(default_factory=list)
    """Atom -> index of the token that wrote it (decoded graphs only)."""
    closed: list[int] = field(default_factory=list)
    """Bond -> index of the token that it ends at (decoded graphs only)."""


def encode(graph: Graph) -> tuple[list[str], NDArray[np.float64]]:
    """Write a graph as a walk.

    Starts at the atom nearest the top left corner (least x + y); depth first; ring closures first,
    then neighbours clockwise from where the gaze came from.

    Returns:
        Tokens from ``<`` to ``>`` and their places (len(tokens), 2), NaN for ``<`` and ``>``.
    """
    places = np.asarray(graph.places, dtype=np.float64).reshape(-1, 2)
    xy: list[tuple[float, float]] = [(float(x), float(y)) for x, y in places]
    neighbours: list[list[tuple[int, int, str]]] = [[] for _ in graph.atoms]
    for number, (a, b, kind) in enumerate(graph.bonds):
        there, back = BOND_TOKENS[kind]
        neighbours[a].append((b, number, there))
        neighbours[b].append((a, number, back))

    tokens: list[str] = [START]
    where: list[tuple[float, float]] = [(np.nan, np.nan)]

    def say(token: str, place: tuple[float, float]) -> None:
        tokens.append(token)
        where.append(place)

    def write_atom(atom: int) -> None:
        text = graph.atoms[atom]
        if text in _ATOMS:
            say(text, xy[atom])
            return
        glyphs = graph.glyphs.get(atom)
        letters = text[1:-1] if text[:1] == OPEN else text
        say(OPEN, xy[atom])
        for i, letter in enumerate(letters):
            say("'" + letter, xy[atom] if glyphs is None else (glyphs[i][0], glyphs[i][1]))
        say(CLOSE, xy[atom])

    def write_bond(token: str, a: int, b: int) -> None:
        if token:
            say(token, ((xy[a][0] + xy[b][0]) / 2, (xy[a][1] + xy[b][1]) / 2))

    def clockwise(atom: int, came: tuple[float, float]) -> list[tuple[int, int, str]]:
        x, y = xy[atom]
        zero = np.arctan2(came[1], came[0])

        def turn(entry: tuple[int, int, str]) -> float:
            bx, by = xy[entry[0]]
            return float((np.arctan2(by - y, bx - x) - zero) % (2 * np.pi))

        return sorted(neighbours[atom], key=turn)

    visited: set[int] = set()
    crossed: set[int] = set()
    for start in sorted(range(len(graph.atoms)), key=lambda i: xy[i][0] + xy[i][1]):
        if start in visited:
            continue
        if visited:
            say(FRAGMENT, xy[start])
        write_atom(start)
        visited.add(start)
        stands = start
        stack = [(start, iter(clockwise(start, (0.0, -1.0))))]
        while stack:
            atom, ways = stack[-1]
            for other, number, bond in ways:
                if number in crossed or other in visited:
                    continue
                crossed.add(number)
                if stands != atom:
                    say(JUMP, xy[atom])
                write_bond(bond, atom, other)
                write_atom(other)
                visited.add(other)
                stands = other
                came = (xy[atom][0] - xy[other][0], xy[atom][1] - xy[other][1])
                onward = clockwise(other, came)
                for ring, ring_number, ring_bond in onward:
                    if ring in visited and ring_number not in crossed:
                        crossed.add(ring_number)
                        write_bond(ring_bond, other, ring)
                        say(RING, xy[ring])
                stack.append((other, iter(onward)))
                break
            else:
                stack.pop()
    say(END, (np.nan, np.nan))
    return tokens, np.array(where, dtype=np.float64)


def decode(
    tokens: Sequence[str], places: NDArray[np.floating] | Sequence[Sequence[float]]
) -> tuple[Graph, list[str]]:
    """Read a walk back; never raises on any sequence of tokens.

    Args:
        tokens: as from :func:`encode`; ``<`` may be missing, what follows ``>`` is not read.
        places: (len(tokens), 2); missing or NaN places are taken as the origin.

    Returns:
        The graph and a list of what was wrong with the walk (empty for a sound one).
    """
    spots = np.zeros((len(tokens), 2))
    given = np.asarray(places, dtype=np.float64).reshape(-1, 2)[: len(tokens)]
    spots[: len(given)] = np.nan_to_num(given, posinf=0.0, neginf=0.0)
    spot_of: list[list[float]] = spots.tolist()  # quicker to ask than an array
    atoms: list[str] = []
    where: list[list[float]] = []
    steps: list[int] = []
    bonds: list[tuple[int, int, str]] = []
    glyphs: dict[int, NDArray[np.float64]] = {}
    closed: list[int] = []
    bonded: set[frozenset[int]] = set()
    faults: list[str] = []
    here: int | None = None
    bond = ""
    label: list[int] | None = None  # indices of '[' and of the glyphs after it

    def fault(i: int, what: str) -> None:
        faults.append(f"token {i} {tokens[i]!r}: {what}" if i < len(tokens) else f"end: {what}")

    def join(i: int, a: int, b: int) -> None:
        if a == b:
            fault(i, "bond from an atom to itself")
        elif frozenset((a, b)) in bonded:
            fault(i, "second bond between the same atoms")
        else:
            bonded.add(frozenset((a, b)))
            kind, back = _BOND_OF[bond]
            bonds.append((b, a, kind) if back else (a, b, kind))
            closed.append(i)

    def add(i: int, text: str) -> None:
        nonlocal here, bond
        atoms.append(text)
        where.append(spot_of[i])
        steps.append(i)
        if here is not None:
            join(i, here, len(atoms) - 1)
        elif bond:
            fault(i, "bond before the first atom")
        here, bond = len(atoms) - 1, ""

    def close(i: int) -> None:
        nonlocal label
        assert label is not None
        if len(label) > 1:
            add(label[0], OPEN + "".join(tokens[k][1] for k in label[1:]) + CLOSE)
            glyphs[len(atoms) - 1] = spots[label[1:]]
        else:
            fault(i, "empty label")
        label = None

    def nearest(i: int) -> int:
        x, y = spot_of[i]
        away = [(x - a) * (x - a) + (y - b) * (y - b) for a, b in where]
        return away.index(min(away))

    ended = False
    for i, token in enumerate(tokens):
        if label is not None and not is_glyph(token):
            if token != CLOSE:
                fault(i, "label not closed")
            close(i)
            if token == CLOSE:
                continue
        if token == END:
            ended = True
            break
        if is_atom(token):
            add(i, token)
        elif token in _BOND_OF and token:
            if bond:
                fault(i, "two bonds in a row")
            bond = token
        elif token == OPEN:
            label = [i]
        elif is_glyph(token) and label is not None:
            label.append(i)
        elif token == RING:
            if here is None:
                fault(i, "ring closure before the first atom")
            else:
                join(i, here, nearest(i))
            bond = ""
        elif token in (JUMP, FRAGMENT):
            if bond:
                fault(i, "bond that leads nowhere")
            if not atoms:
                fault(i, "before the first atom")
            here = nearest(i) if token == JUMP and atoms else None
            bond = ""
        elif token != START or i:
            fault(i, "out of place")
    if label is not None:
        close(len(tokens))
    if bond:
        fault(len(tokens), "bond that leads nowhere")
    if not ended:
        fault(len(tokens), "the walk does not end")
    return Graph(
        atoms, np.array(where, dtype=np.float64).reshape(-1, 2), bonds, glyphs, steps, closed
    ), faults


class Trail:
    """Follows a walk token by token and says which marks each token leaves in the picture."""

    def __init__(self, here: tuple[float, float] | None = None) -> None:
        self.here = here
        """The place of the atom the gaze stands on."""

    def step(
        self, token: str, place: tuple[float, float]
    ) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
        """The atom put down and the midpoint of the bond closed by a token at a place."""
        bond = None
        if is_atom(token) or token in (OPEN, RING):
            if self.here is not None:
                bond = ((self.here[0] + place[0]) / 2, (self.here[1] + place[1]) / 2)
            if token == RING:
                return None, bond
            self.here = place
            return place, bond
        if token == JUMP:
            self.here = place
        elif token == FRAGMENT:
            self.here = None
        return None, None
