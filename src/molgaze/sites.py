"""Where a picture holds ink: the sites that are worked on, at three resolutions.

Most of a drawing is paper. So the encoder works on sites, squares of 2, 4 and 8 pixels with
ink in them or beside them, and takes all the paper there is for one site, row 0, whose neighbours
are paper again. A convolution looks its neighbours up in a table of rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CELL = 8  # pixels a side of the coarsest sites, the cells that the gaze moves over
INK_LEVEL = 45 / 255  # darker than this, a site has ink
DILATIONS = (1, 2, 4)  # of the convolutions over cells
_ROOM = max(DILATIONS)  # cells of paper that the tables may reach into

TABLES = ("patches", "down4", "near4", "down8", "near8")  # what the encoder is given

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Sites:
    """The sites of one picture; a table names rows of the sites that it looks at, 0 is paper.

    ``down`` tables give the 4x4 finer sites under a site and around it, row by row; ``near`` tables
    the 3x3 sites around it.
    """

    patches: NDArray[np.float32]
    """(N2, 16) the 4x4 pixels under each site of 2x2 pixels and around it."""
    down4: Rows
    """(N4, 16) from sites of 4x4 pixels to those of 2x2."""
    near4: Rows
    """(N4, 9)"""
    down8: Rows
    """(N8, 16) from cells to sites of 4x4 pixels."""
    near8: Rows
    """(len(DILATIONS), N8, 9)"""
    cells: NDArray[np.int64]
    """(N8 - 1, 2) x and y of the cells in rows 1, 2, ..."""
    inked: NDArray[np.bool_]
    """(N8 - 1,) whether the cell has ink itself, not only beside it."""
    grid: Rows
    """(h, w) the row of every cell."""
    grid4: Rows
    """(2h, 2w) the row of every site of 4x4 pixels."""
    up2: Rows
    """(N2, 4) the places in ``down4``, flat, that name a site of 2x2 pixels; 0 for none."""
    up4: Rows
    """(N4, 4) the places in ``down8``, flat, that name a site of 4x4 pixels; 0 for none."""


def padded(ink: NDArray[np.number[Any]]) -> NDArray[np.float32]:
    """An ink map (H, W) with paper to the right and below, to whole cells."""
    height, width = ink.shape
    return np.pad(ink.astype(np.float32), ((0, -height % CELL), (0, -width % CELL)))


def sites(ink: NDArray[np.float32], upward: bool = False) -> Sites:
    """The sites of an ink map.

    Args:
        ink: (8h, 8w), 0 paper to 1 ink.
        upward: whether ``up2`` and ``up4`` are wanted, as they are for learning only.
    """
    framed = _framed(ink, 1)
    inner = framed[1:, 1:]
    # a lone grey pixel is noise
    smooth = (inner + framed[:-1, 1:] + framed[1:, :-1] + framed[:-1, :-1])[:-1, :-1] / 4
    full2 = _coarser(smooth > INK_LEVEL)
    full4 = _coarser(full2)
    full8 = _coarser(full4)
    near2, near4s = _spread(full2), _spread(full4)
    (grid2, y2, x2), (grid4, y4, x4), (grid8, y8, x8) = (
        _numbered(near) for near in (near2, near4s, _coarser(near4s))
    )
    four, three = np.arange(4), np.arange(-1, 2)
    patches = _around(framed, 2 * y2, 2 * x2, four)
    down4 = _around(_framed(grid2, 1), 2 * y4, 2 * x4, four)
    framed4 = _framed(grid4, 1)
    down8 = _around(framed4, 2 * y8, 2 * x8, four)
    near4 = _around(framed4, y4 + 1, x4 + 1, three)
    wide = _framed(grid8, _ROOM)
    near8 = np.stack([_around(wide, y8 + _ROOM, x8 + _ROOM, three * d) for d in DILATIONS])
    none = np.zeros((0, 4), np.int64)
    return Sites(
        patches,
        down4,
        near4,
        down8,
        near8,
        np.stack([x8, y8], 1),
        full8[y8, x8],
        grid8,
        grid4,
        _above(grid4, y2, x2) if upward else none,
        _above(grid8, y4, x4) if upward else none,
    )


def _coarser(full: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(h, w) to (h / 2, w / 2): where any of four is."""
    rows = full[::2] | full[1::2]
    return np.asarray(rows[:, ::2] | rows[:, 1::2])


def _spread(full: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where any of the 3x3 around is."""
    padded = _framed(full, 1)
    tall = padded[:-2] | padded[1:-1] | padded[2:]
    return np.asarray(tall[:, :-2] | tall[:, 1:-1] | tall[:, 2:])


def _numbered(near: NDArray[np.bool_]) -> tuple[Rows, Rows, Rows]:
    """The row of every site of a map, 0 where there is none, and y and x of rows 1, 2, ..."""
    found = np.flatnonzero(near)
    grid = np.zeros(near.shape, np.int64)
    grid.ravel()[found] = np.arange(1, len(found) + 1)
    y, x = np.divmod(found, near.shape[1])
    return grid, y, x


def _around(grid: NDArray[Any], y: Rows, x: Rows, reach: Rows) -> NDArray[Any]:
    """(N + 1, k k) values at (y, x) and around; row 0, the paper's, is nought."""
    steps = reach[:, None] * grid.shape[1] + reach  # (k, k)
    flat = (y * grid.shape[1] + x)[:, None] + steps.ravel()
    found = np.empty((len(flat) + 1, flat.shape[1]), grid.dtype)
    found[0] = 0
    grid.ravel().take(flat, out=found[1:], mode="clip")  # quicker than "raise" into an array
    return found


def _framed(grid: NDArray[Any], by: int) -> NDArray[Any]:
    """A map in a frame of noughts, as np.pad makes it in some more time."""
    height, width = grid.shape
    found = np.zeros((height + 2 * by, width + 2 * by), grid.dtype)
    found[by : by + height, by : by + width] = grid
    return found


def _above(grid: Rows, y: Rows, x: Rows) -> Rows:
    """(N + 1, 4) places in a flat ``down`` table of the coarser sites in ``grid`` that name the
    finer sites at (y, x).
    """
    wide = np.pad(grid, 1)
    found = np.zeros((len(y) + 1, 4), np.int64)
    for k, (a, b) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        above_y, above_x = (y + 1) // 2 - a, (x + 1) // 2 - b
        tap = (y - 2 * above_y + 1) * 4 + x - 2 * above_x + 1
        row = wide[above_y + 1, above_x + 1]
        found[1:, k] = np.where(row > 0, row * 16 + tap, 0)
    return found
