"""How long a bond is in a drawing, and the ink map at reading scale.

`bond_length` estimates the bond from the pixels alone; `at_scale` brings the ink to the scale that
the reader was taught (`Picture`), and the picture maps places there and back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFilter

from .components import Components
from .marks import Label, fine_marks, letter_factor

MAX_READ_PIXELS = 4_000_000  # of an ink map at reading scale
MAX_ENLARGEMENT = 4.0
TARGET_BOND = 23.0  # px, at reading scale
MARGIN = 8  # px of paper around the ink, at reading scale
SMALLER = 0.35  # of its size: a picture made so much smaller may lose its thin lines
PLAIN_INK = 0.45  # mean ink of where ink is, at reading scale, in a drawing of usual lines
PADDING = 1.5  # px of paper around a letter that is written larger, at reading scale
HASH = 3.0  # px from dash to dash of a hash that is drawn anew, at reading scale

Floats: TypeAlias = NDArray[np.float32]
Bytes: TypeAlias = NDArray[np.uint8]
Box: TypeAlias = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Picture:
    """A drawing at reading scale.

    Attributes:
        ink: float32 (H, W), 0 paper .. 1 ink, cropped to the ink with a margin.
        offset: (x, y) of the ink map's top left corner, in original pixels (may be negative).
        factor: ink pixels for one original pixel.
        size: (height, width) of the original, as seen (EXIF orientation applied).
        bond: estimated bond length in original pixels.
        source: the name of what was read.
        labels: (N, 6) texts that are written larger than the rest: left, top, right, bottom and
            the x and y of the point that stayed in its place, in pixels of the ink map.
        label_factor: ink pixels for one original pixel, in these texts.
    """

    ink: Floats
    offset: tuple[float, float]
    factor: float
    size: tuple[int, int]
    bond: float
    source: str
    labels: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 6)))
    label_factor: float = 1.0

    def to_original(self, places: ArrayLike) -> NDArray[np.float64]:
        """Places (..., 2) as (x, y) on the ink map -> (x, y) on the original picture.

        Both are lengths from the top left corner, so the first pixel's centre is (0.5, 0.5).
        """
        ink = np.asarray(places, np.float64)
        for *box, x, y in self.labels:
            ink = self._stretched(ink, box, (x, y), self.factor / self.label_factor)
        return ink / self.factor + np.asarray(self.offset, np.float64)

    def from_original(self, places: ArrayLike) -> NDArray[np.float64]:
        """Places (..., 2) as (x, y) on the original picture -> (x, y) on the ink map."""
        original = np.asarray(places, np.float64)
        ink = (original - np.asarray(self.offset, np.float64)) * self.factor
        larger = self.label_factor / self.factor
        for left, top, right, bottom, x, y in self.labels:
            corners = np.array([[left, top], [right, bottom]])
            box = ((corners - (x, y)) / larger + (x, y)).ravel().tolist()
            ink = self._stretched(ink, box, (x, y), larger)
        return ink

    @staticmethod
    def _stretched(
        places: NDArray[np.float64], box: list[float], anchor: tuple[float, float], by: float
    ) -> NDArray[np.float64]:
        """Places with those in a box (left, top, right, bottom) moved away from a point."""
        inside = (places >= box[:2]) & (places <= box[2:])
        moved = (places - anchor) * by + anchor
        return np.where(inside.all(axis=-1, keepdims=True), moved, places)


def at_scale(
    ink: Bytes,
    box: Box,
    strokes: Components | None,
    bond: float,
    target: float = TARGET_BOND,
    source: str = "array",
) -> Picture:
    """The drawing with bonds of about `target` px, cropped to its ink.

    Args:
        ink: uint8 (H, W), 0 paper .. 255 ink.
        box: left, top, right, bottom of the ink, in pixels.
        strokes: the components of what is dark in it; None for noise.
        bond: bond length in pixels.
        target: wanted bond length in px.
        source: the name of what was read.

    Raises:
        ValueError: a length that is not positive.
    """
    if not (target > 0 and bond > 0 and math.isfinite(target) and math.isfinite(bond)):
        raise ValueError(f"bond lengths must be positive, got {target} and {bond}")
    factor = min(target / bond, MAX_ENLARGEMENT)
    factor = min(factor, math.sqrt(MAX_READ_PIXELS / ((box[2] - box[0]) * (box[3] - box[1]))))
    size = (ink.shape[0], ink.shape[1])
    marks = fine_marks(ink, strokes, bond, factor)
    if marks is None:
        found, offset = _resized(ink, box, factor)
        return Picture(found, offset, factor, size, bond, source)
    label_factor = letter_factor(marks.height, bond, factor) if marks.labels else factor
    larger = label_factor / factor
    corners = [
        ((np.array(label.box).reshape(2, 2) - label.anchor) * larger + label.anchor)
        for label in marks.labels
    ]
    ends = np.concatenate([np.array(box, np.float64).reshape(2, 2), *corners])
    low, high = np.floor(ends.min(axis=0)), np.ceil(ends.max(axis=0))
    whole = (int(low[0]), int(low[1]), int(high[0]), int(high[1]))
    found, offset = _resized(marks.ink, whole, factor)
    found = found.copy()
    for dashes, spacing in zip(marks.hashes, marks.spacing, strict=True):
        _hatch(found, (dashes - offset) * factor, spacing * factor)
    boxes = np.zeros((len(marks.labels), 6))
    for row, label in zip(boxes, marks.labels, strict=True):
        anchor = (np.array(label.anchor) - offset) * factor
        letters = (label.letters.reshape(-1, 2, 2) - label.anchor) * label_factor + anchor
        for letter in letters.reshape(-1, 4):
            left, top = (int(v) for v in np.maximum(np.floor(letter[:2] - PADDING), 0))
            right, bottom = (int(v) for v in np.ceil(letter[2:] + PADDING))
            found[top:bottom, left:right] = 0
        row[:4] = (
            (np.array(label.box).reshape(2, 2) - label.anchor) * label_factor + anchor
        ).ravel()
        row[4:] = anchor
    for row, label in zip(boxes, marks.labels, strict=True):
        _write(found, label, row[4:], label_factor)
    return Picture(found, offset, factor, size, bond, source, boxes, label_factor)


def _resized(ink: Bytes, box: Box, factor: float) -> tuple[Floats, tuple[float, float]]:
    """The ink in a box at another scale, with a margin, and the (x, y) of its corner."""
    left, top, right, bottom = box
    width = math.ceil((right - left) * factor) + 2 * MARGIN
    height = math.ceil((bottom - top) * factor) + 2 * MARGIN
    # The output has whole pixels; the window on the original is a fraction wider than the ink.
    x = (left + right) / 2 - width / factor / 2
    y = (top + bottom) / 2 - height / factor / 2
    x0, y0 = math.floor(x) - 2, math.floor(y) - 2
    x1, y1 = math.ceil(x + width / factor) + 2, math.ceil(y + height / factor) + 2
    window = Image.fromarray(ink).crop((x0, y0, x1, y1))
    grey = window.resize(
        (width, height),
        Image.Resampling.BICUBIC if factor > 1 else Image.Resampling.HAMMING,
        box=(x - x0, y - y0, x - x0 + width / factor, y - y0 + height / factor),
        reducing_gap=3.0,
    )
    found = np.asarray(grey, np.float32) / np.float32(255)
    return lifted(found) if factor < SMALLER else found, (x, y)


def _write(ink: Floats, label: Label, anchor: NDArray[np.float64], factor: float) -> None:
    """Write a label into the ink map at its own scale, its anchor at a place of the map."""
    box = np.array(label.box, np.float64).reshape(2, 2)
    ends = (box - label.anchor) * factor + anchor
    left, top = (int(v) for v in np.maximum(np.floor(ends[0]), 0))
    right, bottom = (int(v) for v in np.minimum(np.ceil(ends[1]), ink.shape[::-1]))
    # The window of whole pixels at reading scale, seen from the label's own corner.
    x0, y0 = (np.array([left, top]) - anchor) / factor + label.anchor - box[0]
    x1, y1 = (np.array([right, bottom]) - anchor) / factor + label.anchor - box[0]
    room = math.ceil(1 / factor) + 2
    framed = Image.fromarray(np.pad(label.ink, room))
    x0, x1 = (float(np.clip(v + room, 0, framed.width)) for v in (x0, x1))
    y0, y1 = (float(np.clip(v + room, 0, framed.height)) for v in (y0, y1))
    grey = framed.resize(
        (right - left, bottom - top),
        Image.Resampling.BICUBIC if factor > 1 else Image.Resampling.HAMMING,
        box=(x0, y0, x1, y1),
    )
    window = ink[top:bottom, left:right]
    np.maximum(window, np.asarray(grey, np.float32) / np.float32(255), out=window)


def _hatch(ink: Floats, dashes: NDArray[np.float64], spacing: float) -> None:
    """Draw some of the dashes (N, 2, 2) of a hashed bond, as far apart as can be seen."""
    kept = dashes[:: math.ceil(HASH / spacing)]
    fine = 4
    image = Image.new("L", (ink.shape[1] * fine, ink.shape[0] * fine))
    pen = ImageDraw.Draw(image)
    for begin, end in kept * fine:
        pen.line((*begin, *end), fill=255, width=fine)
    drawn = np.asarray(image.reduce(fine), np.float32) / np.float32(255)
    np.maximum(ink, drawn, out=ink)


def lifted(ink: Floats) -> Floats:
    """Ink of lines that are thinner than a pixel at reading scale, raised to be seen: by a power,
    so that a hashed wedge stays paler than a solid one.
    """
    mean = float((ink**2).sum() / max(float(ink.sum()), 1e-6))
    if not 0.02 < mean < PLAIN_INK:
        return ink
    return np.asarray(ink ** np.float32(math.log(PLAIN_INK) / math.log(mean)))


# ---------------------------------------------------------------------------------------------
# Bond length
# ---------------------------------------------------------------------------------------------

_STROKE = 3.0  # px: strokes are traced at about this width
_WORK_PIXELS = 1_500_000
_ENLARGED_PIXELS = 700_000
_MAX_SIDES = 400_000  # of pixels along outlines; a drawing has a tenth of it, noise has more
_INK_LEVEL = 110  # of 255
_TOLERANCE = 0.9  # original px: the stairs of a slanting 1-bit line stay within it
_GRID = np.geomspace(4.0, 40_000.0, 721)[:500]  # candidate lengths in px, 1.3 % apart


def bond_length(ink: NDArray[np.float32] | Bytes) -> float:
    """Estimated bond length in pixels of a molecule drawing.

    The outlines of the ink are cut into straight edges. An edge between two corners of a stroke
    is one side of a bond whatever the drawing's style; letters make shorter edges and sit in small
    outlines of their own. The length that gathers most edges wins.

    Args:
        ink: (H, W), float 0..1 or uint8 0..255, paper 0.
    """
    grey: Bytes = np.asarray(ink, np.uint8) if ink.dtype == np.uint8 else _levels(ink)
    image, zoom = _working(Image.fromarray(grey))
    mask = np.asarray(image) >= _INK_LEVEL
    edges = _edges(mask, max(1.0, zoom))
    if edges is None:
        return _fallback(grey)
    return float(np.clip(_vote(edges) / zoom, 4.0, max(grey.shape)))


def _levels(ink: NDArray[np.generic]) -> Bytes:
    return (np.clip(np.asarray(ink, np.float32), 0, 1) * np.float32(255)).astype(np.uint8)


def _fallback(grey: Bytes) -> float:
    """A guess from the drawing's size, where nothing in it is straight."""
    return float(np.clip(0.12 * max(grey.shape), 8.0, 60.0))


def _working(image: Image.Image) -> tuple[Image.Image, float]:
    """The picture at the scale where strokes are about `_STROKE` px wide, and its zoom."""
    zoom = 1.0
    step = math.ceil(math.sqrt(image.width * image.height / (2.0 * _WORK_PIXELS)))
    while True:
        if step > 1:
            image, zoom = image.reduce(step), zoom / step
        mask = np.asarray(image) >= _INK_LEVEL
        area = int(np.count_nonzero(mask))
        sides = int(np.count_nonzero(mask[1:] != mask[:-1]))
        sides += int(np.count_nonzero(mask[:, 1:] != mask[:, :-1]))
        if sides <= _MAX_SIDES:
            break
        step = 2
    # A slanting stroke's outline on the pixel grid is 4/pi of its true length, on average.
    stroke = 2.0 * area / max(sides * math.pi / 4, 1.0)
    if stroke > 1.6 * _STROKE:
        step = max(2, int(stroke / _STROKE))
        return image.reduce(step), zoom / step
    grow = min(
        3 if stroke < 0.45 * _STROKE else 2,
        math.isqrt(_ENLARGED_PIXELS // (image.width * image.height)),
    )
    if stroke < 0.8 * _STROKE and grow > 1:
        size = (image.width * grow, image.height * grow)
        # Blurred, or the pixel stairs of a slanting line would count as corners.
        smooth = image.resize(size, Image.Resampling.BICUBIC).filter(
            ImageFilter.BoxBlur(0.4 * grow)
        )
        return smooth, zoom * grow
    return image, zoom


@dataclass(frozen=True, eq=False)
class _Edges:
    """Straight edges of outlines. All (N,), in working pixels."""

    length: NDArray[np.float64]  # between the stroke's own corners, corrected for its width
    ends: NDArray[np.int64]  # how many of its two ends are free ends of a stroke
    reach: NDArray[np.float64]  # longer side of its outline's box


def _edges(mask: NDArray[np.bool_], pixel: float) -> _Edges | None:
    # `pixel`: side of an original pixel, in working pixels.
    points, starts = _outlines(mask)
    if points.shape[0] == 0:
        return None
    perimeter = points.shape[0] * math.pi / 4
    stroke = float(np.clip(2.0 * np.count_nonzero(mask) / perimeter, 1.0, 12.0))
    corners, outline = _corners(points, starts, max(_TOLERANCE * pixel, 0.33 * stroke))
    if corners.shape[0] == 0:
        return None
    low = np.minimum.reduceat(points, starts)
    high = np.maximum.reduceat(points, starts)
    reach = (high - low).max(axis=1)

    # Corners lie outline after outline; the edge of a corner goes to the next one around.
    first = np.flatnonzero(np.r_[True, outline[1:] != outline[:-1]])
    last = np.r_[first[1:], outline.size] - 1
    after = np.arange(outline.size) + 1
    after[last] = first
    vector = corners[after] - corners
    length = np.hypot(vector[:, 0], vector[:, 1])
    heading = vector / np.maximum(length, 1e-9)[:, None]
    straight = length >= max(1.8 * stroke, 4.0)

    # The next straight edge, past at most three small ones that make a cap or a rounded corner.
    following = np.full(outline.size, -1)
    gap = np.zeros(outline.size)
    near = after.copy()
    for _ in range(4):
        found = (following < 0) & straight[near] & (gap <= 2.4 * stroke)
        following[found] = near[found]
        gap = gap + np.where(following < 0, length[near], 0.0)
        near = after[near]
    known = following >= 0
    partner = np.where(known, following, 0)
    dot = (heading * heading[partner]).sum(axis=1)
    cross = heading[:, 0] * heading[partner, 1] - heading[:, 1] * heading[partner, 0]
    free = ~known | (dot < -0.85)
    # Where two edges' lines meet, from the first one's end and from the second one's start.
    joint = corners[partner] - corners[after]
    bent = np.abs(cross) > 0.17
    safe = np.where(bent, cross, 1.0)
    forth = (joint[:, 0] * heading[partner, 1] - joint[:, 1] * heading[partner, 0]) / safe
    back = (joint[:, 0] * heading[:, 1] - joint[:, 1] * heading[:, 0]) / safe
    # From the outline's corner to the stroke's middle line: tan of half the turn.
    inset = 0.5 * stroke * cross / np.maximum(1.0 + dot, 0.1)
    usable = ~free & bent
    reachable = 3.0 * stroke
    ahead = np.where(usable, np.clip(forth, -reachable, reachable) - inset, 0.0)
    behind_of_partner = np.where(usable, np.clip(-back, -reachable, reachable) - inset, 0.0)

    behind = np.zeros(outline.size)
    free_start = np.ones(outline.size, bool)
    linked = straight & known
    behind[partner[linked]] = behind_of_partner[linked]
    free_start[partner[linked]] = free[linked]
    total = length + ahead + behind
    ends = free.astype(np.int64) + free_start
    keep = (
        straight & (total >= 4.0) & ~_brackets(low, high, length, heading, outline, stroke)[outline]
    )
    if not keep.any():
        return None
    return _Edges(total[keep], ends[keep], reach[outline[keep]])


def _brackets(
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    length: NDArray[np.float64],
    heading: NDArray[np.float64],
    outline: NDArray[np.int64],
    stroke: float,
) -> NDArray[np.bool_]:
    """True for outlines (N,) of square brackets: two slim ones of one height, upright, with feet.

    Args:
        low: (N, 2) corners of the outlines' boxes, and `high`.
        high: the opposite corners.
        length: (E,) of the edges, and `heading` (E, 2), `outline` (E,).
        heading: unit vectors.
        outline: of each edge.
        stroke: width of a line in px.
    """
    wide, tall = (high - low).T
    slim = (wide > 2 * stroke + 1) & (wide < 0.35 * tall)
    spine = np.zeros(len(low), bool)
    spine[outline[(np.abs(heading[:, 0]) < 0.04) & (length > 0.8 * tall[outline])]] = True
    found = np.flatnonzero(slim & spine)
    ends = np.stack([low[found, 1], high[found, 1]], 1)
    like = (np.abs(ends[:, None] - ends[None]) < 3 * stroke).all(axis=2).sum(axis=1) > 1
    is_bracket = np.zeros(len(low), bool)
    is_bracket[found[like]] = True
    return is_bracket


def _outlines(mask: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Ink mask -> points (N, 2) as (x, y), outline after outline, and where each one starts.

    The points are the middles of the pixel sides between ink and paper, walked with the ink on
    the right, so holes turn the other way.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        return np.zeros((0, 2)), np.zeros(0, np.int64)
    top, left_end = int(rows[0]), int(columns[0])
    mask = mask[top : rows[-1] + 1, left_end : columns[-1] + 1]
    ink = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2), bool)
    ink[1:-1, 1:-1] = mask
    wide = ink.shape[1]
    flat = ink.ravel()
    level = np.flatnonzero(flat[wide:] != flat[:-wide])
    upright = np.flatnonzero(flat[1:] != flat[:-1])
    is_top, is_left = flat[level + wide], flat[upright + 1]
    # Sides by heading east, south, west, north: the pixel whose side it is, as a flat index.
    pixels = [level[is_top] + wide, upright[~is_left], level[~is_top], upright[is_left] + 1]
    counts = [found.size for found in pixels]
    total = sum(counts)
    number = [np.empty(flat.size, np.int32) for _ in pixels]  # only touched where a side is
    begin = np.cumsum([0, *counts])
    for heading, found in enumerate(pixels):
        number[heading][found] = np.arange(begin[heading], begin[heading + 1])
    ahead, right = (1, wide, -1, -wide), (wide, -1, -wide, 1)
    following = np.empty(total, np.int64)
    for heading, found in enumerate(pixels):
        straight = found + ahead[heading]
        left = straight - right[heading]
        turn_left = flat[left]
        go_on = flat[straight] & ~turn_left
        nexts = number[(heading + 1) % 4][found]
        nexts = np.where(go_on, number[heading][straight], nexts)
        nexts = np.where(turn_left, number[(heading - 1) % 4][left], nexts)
        following[begin[heading] : begin[heading + 1]] = nexts
    order, starts = _walk_cycles(following.tolist())
    where = np.concatenate(pixels)
    y, x = (side.astype(np.float64) for side in np.divmod(where, wide))
    x += np.repeat([0.5, 1.0, 0.5, 0.0], counts) + (left_end - 1)
    y += np.repeat([0.0, 0.5, 1.0, 0.5], counts) + (top - 1)
    path = np.array(order)
    return np.stack([x[path], y[path]], axis=1), np.array(starts)


def _walk_cycles(following: list[int]) -> tuple[list[int], list[int]]:
    """A permutation -> its cycles one after another, and where each one starts."""
    order: list[int] = []
    starts: list[int] = []
    done = bytearray(len(following))
    first = 0 if following else -1
    add = order.append  # looked up once: this loop is a fifth of the estimate's time
    while first >= 0:
        starts.append(len(order))
        here = first
        while True:
            done[here] = 1
            add(here)
            here = following[here]
            if here == first:
                break
        first = done.find(0, first)
    return order, starts


def _corners(
    points: NDArray[np.float64], starts: NDArray[np.int64], tolerance: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Outlines -> corners (M, 2) of polygons within `tolerance` px, and the outline of each.

    Douglas and Peucker's splitting, all edges of all outlines at once, a level at a time.
    """
    counts = np.diff(np.r_[starts, points.shape[0]])
    large = counts >= 16  # specks have no straight sides
    outline = np.repeat(np.arange(counts.size), counts)
    keep = large[outline]
    points, outline = points[keep], outline[keep]
    if points.shape[0] == 0:
        return np.zeros((0, 2)), np.zeros(0, np.int64)
    counts, names = counts[large], np.flatnonzero(large)
    starts = np.cumsum(counts) - counts

    # Start each outline at its point farthest from the middle, a true corner, and close it.
    x, y = np.ascontiguousarray(points.T)
    middle_x, middle_y = (np.add.reduceat(side, starts) / counts for side in (x, y))
    away = (x - np.repeat(middle_x, counts)) ** 2 + (y - np.repeat(middle_y, counts)) ** 2
    top = _first_peaks(away, starts, counts) - starts
    closed = counts + 1
    begin = np.cumsum(closed) - closed
    inside = np.arange(int(closed.sum())) - np.repeat(begin, closed)
    turned = (inside + np.repeat(top, closed)) % np.repeat(counts, closed)
    turned += np.repeat(starts, closed)
    x, y = x[turned], y[turned]
    away = (x - np.repeat(x[begin], closed)) ** 2 + (y - np.repeat(y[begin], closed)) ** 2
    opposite = _first_peaks(away, begin, closed)

    chosen = np.zeros(x.size, bool)
    chosen[begin] = True
    chosen[begin + counts] = True
    chosen[opposite] = True
    left = np.sort(np.r_[begin, opposite])
    right = np.sort(np.r_[opposite, begin + counts])
    for _ in range(24):
        wide = right - left > 2
        left, right = left[wide], right[wide]
        if left.size == 0:
            break
        between = right - left - 1
        first = np.cumsum(between) - between
        index = np.arange(int(between.sum())) + np.repeat(left + 1 - first, between)
        along_x, along_y = x[right] - x[left], y[right] - y[left]
        size = np.maximum(np.hypot(along_x, along_y), 1e-9)
        apart_x = x[index] - np.repeat(x[left], between)
        apart_y = y[index] - np.repeat(y[left], between)
        apart_x *= np.repeat(-along_y / size, between)
        apart_y *= np.repeat(along_x / size, between)
        distance = np.abs(apart_x + apart_y)
        peak = _first_peaks(distance, first, between)
        split = distance[peak] > tolerance
        cut = index[peak[split]]
        chosen[cut] = True
        left, right = np.concatenate([left[split], cut]), np.concatenate([cut, right[split]])
    chosen[begin + counts] = False  # the same point as the start
    found = np.flatnonzero(chosen)
    return np.stack([x[found], y[found]], 1), np.repeat(names, closed)[found]


def _first_peaks(
    values: NDArray[np.float64], starts: NDArray[np.int64], counts: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Index of the first maximum of each run of `values`."""
    highest = np.maximum.reduceat(values, starts)
    at = np.flatnonzero(values == np.repeat(highest, counts))
    return at[np.searchsorted(at, starts)]


def _vote(edges: _Edges) -> float:
    """The length in working pixels that gathers most edges."""
    longest = max(1.2 * float(edges.length.max()), 8.0)
    grid = _GRID[: np.searchsorted(_GRID, longest)]
    # A bond between two labels is a stroke alone, and shows but a part of its length.
    alone = (edges.ends == 2) & (edges.reach < 1.25 * edges.length)
    trust = np.array([1.0, 0.35, 0.2])[edges.ends]
    apart = np.log(grid)[:, None] - np.log(edges.length)[None, :]
    near = np.exp(-0.5 * (apart / 0.08) ** 2)
    whole = np.clip(edges.reach[None, :] / grid[:, None] - 0.7, 0.1, 0.7)  # letters are small
    whole[:, alone] = 0.3
    votes = near * trust * whole * edges.length**1.5  # (candidates, edges)
    support = votes.sum(axis=1) * grid**0.3
    best = int(np.argmax(support))
    # Where all atoms are lettered, letters have most of the straight edges: they sit in outlines
    # of their own height, among strokes much longer than theirs.
    small = edges.reach < 2.2 * grid[best]
    longer = np.count_nonzero(edges.length > 1.7 * grid[best])
    if votes[best, small].sum() > 0.5 * votes[best].sum() and longer >= 0.3 * near[best].sum():
        best = int(np.argmax(np.where(1.5 * grid[best] < grid, support, 0.0)))
    return float(grid[best])
