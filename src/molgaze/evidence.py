"""What a picture says against a reading of it: lines that were passed over."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .walk import Graph

LINE_REACH = 1.1  # cells: how far from a bond ink still belongs to it
GLYPH_REACH = 1.4  # cells: how far from its place the ink of a glyph goes


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
    if not len(cells) or not graph.bonds:
        return []
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

    free = {(int(x), int(y)) for x, y in cells[~belongs]}
    taken = {(int(x), int(y)) for x, y in cells[belongs]}
    bond = float(np.median(length))
    found = []
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
        if touches:
            spots = np.array(piece, dtype=np.float64)
            away = np.sqrt(((places[:, None] - spots) ** 2).sum(2)).min(1)
            found.append(Leftover(len(piece) / bond, int(away.argmin())))
    return sorted(found, key=lambda left: -left.length)


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
