"""What a picture says against a reading of it: lines that were not read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .gaze import CELL, INK_LEVEL
from .walk import Graph

LINE_REACH = 1.1  # cells: how far from a bond ink still belongs to it
TEXT_REACH = 2.6  # cells: how far from the place of an atom its letters may go


def unread(ink: NDArray[np.float32], graph: Graph) -> float:
    """Length, in bonds, of the ink that grows out of a graph without belonging to it.

    A branch or a ring closure that was passed over leaves ink that touches what was read;
    captions lie apart and don't count.

    Args:
        ink: (H, W), 0 paper to 1 ink.
        graph: what was read, in pixels of the ink map from its top left corner.
    """
    height, width = ink.shape
    padded = np.pad(ink, ((0, -height % CELL), (0, -width % CELL)))
    h, w = padded.shape[0] // CELL, padded.shape[1] // CELL
    full = padded.reshape(h, CELL, w, CELL).max((1, 3)) > INK_LEVEL
    cells = np.argwhere(full)[:, ::-1]  # (L, 2) x, y
    if not len(cells) or not graph.bonds:
        return 0.0
    places = graph.places / CELL - 0.5

    ends = places[np.array([(a, b) for a, b, _ in graph.bonds])]  # (M, 2, 2)
    start, along = ends[:, 0], ends[:, 1] - ends[:, 0]
    length = np.sqrt((along**2).sum(1)) + 1e-6
    offset = cells[:, None] - start  # (L, M, 2)
    share = np.clip((offset * along).sum(2) / length**2, 0, 1)
    belongs = _nearest(offset - share[..., None] * along) <= LINE_REACH
    degree = np.bincount(np.array([b[:2] for b in graph.bonds]).ravel(), minlength=len(places))
    # a carbon at the end of a chain may be written out, CH3
    lettered = places[[atom != "C" or n < 2 for atom, n in zip(graph.atoms, degree, strict=True)]]
    glyphs = [np.asarray(g) / CELL - 0.5 for g in graph.glyphs.values()]
    letters = np.concatenate([lettered, *glyphs])
    if len(letters):
        belongs |= _nearest(cells[:, None] - letters) <= TEXT_REACH

    free = np.zeros((h + 2, w + 2), bool)
    free[cells[:, 1] + 1, cells[:, 0] + 1] = ~belongs
    joined = np.zeros_like(free)
    joined[cells[:, 1] + 1, cells[:, 0] + 1] = belongs
    count = -1
    while count != joined.sum():  # spreads by one cell a round
        count = int(joined.sum())
        near = joined.copy()
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                near |= np.roll(joined, (dy, dx), (0, 1))
        joined |= near & free
    return float((joined & free).sum() / np.median(length))


def _nearest(offsets: NDArray[np.floating]) -> NDArray[np.float64]:
    """(L,) least length of offsets (L, N, 2)."""
    return np.asarray(np.sqrt((offsets**2).sum(2)).min(1), dtype=np.float64)
