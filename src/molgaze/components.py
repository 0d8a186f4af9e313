"""The connected components of a mask: what of the ink hangs together.

A row of a mask is a few runs of ink. Runs of neighbouring rows that touch, at a side or at a
corner, belong together, and all runs are joined at once by numpy, so that a page is parted in some
milliseconds.

    found = components(ink >= 128)
    found.boxes[found.areas > 20]
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

DARK = 110  # of 255: a pixel as dark as this is ink
MAX_TURNS = 200_000  # between ink and paper, row by row; noise has more, drawings a tenth

Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Components:
    """The components of a mask, in the order of their first pixels, line by line.

    Attributes:
        size: (height, width) of the mask, in pixels.
        boxes: (N, 4) int64, left, top, right and bottom; right and bottom are the first column
            and row outside.
        areas: (N,) int64, pixels.
        runs: (R, 3) int64, row, first column and the first column outside of every run, in order.
        owner: (R,) int64, the component of each run, from 0.
    """

    size: tuple[int, int]
    boxes: Ints
    areas: Ints
    runs: Ints
    owner: Ints

    def __len__(self) -> int:
        return len(self.areas)

    def labels(self) -> NDArray[np.int32]:
        """A map (H, W): 0 where there is nothing, k + 1 for component k."""
        found = np.zeros(self.size, np.int32)
        found.ravel()[_pixels(self.runs, self.size[1])] = np.repeat(
            self.owner + 1, self.runs[:, 2] - self.runs[:, 1]
        )
        return found

    def mask(self, chosen: Mask | Ints, box: tuple[int, int, int, int] | None = None) -> Mask:
        """The pixels of some components, inside a box.

        Args:
            chosen: (N,) True for those that are wanted, or their indices.
            box: left, top, right, bottom in pixels; the whole mask if None.

        Returns:
            (bottom - top, right - left) bool.
        """
        left, top, right, bottom = box or (0, 0, self.size[1], self.size[0])
        wanted = np.zeros(len(self), bool)
        wanted[chosen] = True
        # Runs lie in the order of their rows.
        first, last = np.searchsorted(self.runs[:, 0], [top, bottom])
        runs = self.runs[first:last][wanted[self.owner[first:last]]]
        rows = runs[:, 0] - top
        starts = np.clip(runs[:, 1], left, right) - left
        ends = np.clip(runs[:, 2], left, right) - left
        found = np.zeros((bottom - top, right - left), bool)
        found.ravel()[_pixels(np.stack([rows, starts, ends], 1), right - left)] = True
        return found


def components(mask: Mask) -> Components:
    """The 8-connected components of a mask.

    Args:
        mask: (H, W) bool.
    """
    height, width = mask.shape
    runs = runs_of(mask)
    above, below = _touching(runs, width)
    root = joined(len(runs), above, below)
    first = np.flatnonzero(root == np.arange(len(runs)))  # the first run of each component
    number = np.zeros(len(runs), np.int64)
    number[first] = np.arange(len(first))
    owner = number[root]
    row, start, end = runs.T
    boxes = np.empty((len(first), 4), np.int64)
    boxes[:, 0], boxes[:, 1] = width, row[first]
    boxes[:, 2:] = 0
    np.minimum.at(boxes[:, 0], owner, start)
    np.maximum.at(boxes[:, 2], owner, end)
    np.maximum.at(boxes[:, 3], owner, row + 1)
    areas = np.bincount(owner, weights=end - start, minlength=len(first)).astype(np.int64)
    return Components((height, width), boxes, areas, runs, owner)


def strokes(ink: NDArray[np.uint8]) -> Components | None:
    """The components of what is dark in a picture; None for noise.

    Args:
        ink: (H, W), 0 paper .. 255 ink.
    """
    dark = ink >= DARK
    return None if is_noise(dark) else components(dark)


def is_noise(mask: Mask) -> bool:
    """True for a mask (H, W) with more runs of ink than a drawing has."""
    flat = mask.ravel()
    return bool(np.count_nonzero(flat[1:] != flat[:-1]) > MAX_TURNS)


def runs_of(mask: Mask) -> Ints:
    """The runs of a mask, line by line.

    Args:
        mask: (H, W) bool.

    Returns:
        (R, 3) row, first column and the first column outside of each.
    """
    height, width = mask.shape
    # A column of paper at either side, so that a run ends where its row does.
    framed = np.zeros((height, width + 2), bool)
    framed[:, 1:-1] = mask
    flat = framed.ravel()
    turns = np.flatnonzero(flat[1:] != flat[:-1])
    starts, ends = turns[::2], turns[1::2]
    row = starts // (width + 2)
    offset = row * (width + 2)
    return np.stack([row, starts - offset, ends - offset], 1)


def _touching(runs: Ints, width: int) -> tuple[Ints, Ints]:
    """The pairs of runs in neighbouring rows that share a side or a corner: upper, lower."""
    stride = width + 2  # so that the end of a row never touches the start of another
    starts = runs[:, 0] * stride + runs[:, 1]
    ends = runs[:, 0] * stride + runs[:, 2]
    first = np.searchsorted(ends, starts + stride, "left")
    last = np.searchsorted(starts, ends + stride, "right")
    counts = np.maximum(last - first, 0)
    above = np.repeat(np.arange(len(runs)), counts)
    inside = np.arange(len(above)) - np.repeat(np.cumsum(counts) - counts, counts)
    return above, np.repeat(first, counts) + inside


def joined(count: int, one: Ints, other: Ints) -> Ints:
    """The smallest member of the set that each of some things is in, when pairs of them are joined.

    Args:
        count: of the things, which are called 0, 1, and so on.
        one: (P,) the first of each pair.
        other: (P,) the second of each pair.

    Returns:
        (count,) int64.
    """
    root = np.arange(count)
    while len(one):
        a, b = root[one], root[other]
        apart = a != b
        if not apart.any():
            break
        one, other, a, b = one[apart], other[apart], a[apart], b[apart]
        # Roots hang themselves under smaller ones, so no circle can form.
        np.minimum.at(root, np.maximum(a, b), np.minimum(a, b))
        while True:
            higher = root[root]
            if np.array_equal(higher, root):
                break
            root = higher
    return root


def _pixels(runs: Ints, width: int) -> Ints:
    """The places of all pixels of some runs in a flat map of this width."""
    lengths = runs[:, 2] - runs[:, 1]
    starts = runs[:, 0] * width + runs[:, 1]
    return np.repeat(starts - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())


def median(values: ArrayLike) -> float:
    """The median of some numbers, as np.median gives it, which takes ten times as long for few, and
    40 ms when it is first called.
    """
    ordered = np.sort(np.asarray(values))
    middle = ordered.size // 2
    return float(ordered[middle] / 2 + ordered[~middle] / 2)
