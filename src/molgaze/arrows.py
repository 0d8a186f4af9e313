"""Signs of reactions: arrows, which are straight lines with a head at one end, and pluses.

Arrows are found in the ink of a page before it is parted. An arrow says what becomes of what, and
its ink joins drawings that it touches, so it is taken off.
A line is followed from any place on it to both ends; it is an arrow if two barbs go back from one
end at equal angles, filled or not, and nothing stands there at the other end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .components import Components, components, runs_of

SHORTEST = 2.6  # letters: of an arrow that stands free
SHORTEST_JOINED = 3.4  # letters: of one that touches other ink; no bond is so long
SLIMMEST = 3.5  # of a free arrow's length by its breadth, at least
THICKEST = 0.34  # letters: of a shaft
SLOPES = (0.2, 0.27, 0.35, 0.45, 0.57, 0.7, 0.85)  # of a barb to the shaft, 11 to 40 degrees
HEADS = (0.28, 0.4, 0.55, 0.75, 1.0, 1.35)  # letters: lengths of heads
SLIM_HEAD = 0.12  # letters: half the breadth of a head, at least
JOINED_HEAD = 1.4  # the same in breadths of the shaft, where other ink joins the arrow
STEEPEST_JOINED = 0.5  # slope of a barb there
HEAD_SHARE = 0.5  # of the arrow's length, which a head takes at most
FILLED = 0.85  # share of the head of an arrow that joins other ink
INKED, EMPTY = 0.75, 0.25  # shares of a barb that is drawn, and of one that is not
GAP = 2  # px: in a line, at most
STRETCH = 6.0  # letters: that a line is followed at once
STROKE_PERCENTILE = 25  # of the lengths of level runs: upright lines tell how thick lines are
BARB_PLACES = 12  # on a barb that are looked at
DIRECTIONS = 120  # in which a line is looked for from a head
MOST_HEADS = 600  # of a page
MOST_STARTS = 600  # lines of a page that are followed
MOST_FREE = 400  # components of a page that may be an arrow each
PLUS_SIDES = (0.45, 2.2)  # letters: of a plus
PLUS_BAR = 0.45  # of a side of a plus: how thick its bars are, at most

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Arrow:
    """A straight arrow.

    Attributes:
        tail: (x, y) where it begins, in pixels.
        tip: (x, y) where its head ends.
        width: of its shaft, in pixels.
        head: length and half the breadth of its head, in pixels.
    """

    tail: tuple[float, float]
    tip: tuple[float, float]
    width: float
    head: tuple[float, float]

    @property
    def length(self) -> float:
        """From tail to tip, in pixels."""
        return math.dist(self.tail, self.tip)


def sticks(parts: Components) -> tuple[Floats, Floats, Floats, Floats]:
    """The straight stick that has the second moments of each component.

    Args:
        parts: N components.

    Returns:
        Their middles (N, 2), lengths, breadths (N,) in pixels and angles (N,) in degrees, from
        -90 to 90, level 0 and falling to the right above 0.
    """
    runs, owner, count = parts.runs, parts.owner, len(parts)
    if not count:
        return np.zeros((0, 2)), np.zeros(0), np.zeros(0), np.zeros(0)
    length = (runs[:, 2] - runs[:, 1]).astype(np.float64)
    y = runs[:, 0] + 0.5
    x = (runs[:, 1] + runs[:, 2]) / 2

    def mean(values: NDArray[Any]) -> Floats:
        return np.bincount(owner, weights=values * length, minlength=count) / parts.areas

    mx, my = mean(x), mean(y)
    xx = mean((x - mx[owner]) ** 2 + (length**2 - 1) / 12) + 1 / 12
    yy = mean((y - my[owner]) ** 2) + 1 / 12
    xy = mean((x - mx[owner]) * (y - my[owner]))
    half = np.hypot((xx - yy) / 2, xy)
    wide = np.maximum((xx + yy) / 2 + half, 1e-9)
    narrow = np.maximum((xx + yy) / 2 - half, 1e-9)
    angle = np.degrees(0.5 * np.arctan2(2 * xy, xx - yy))
    return np.stack([mx, my], 1), np.sqrt(12 * wide), np.sqrt(12 * narrow), angle


def arrows(mask: Mask, parts: Components, letter: float) -> list[Arrow]:
    """The straight arrows of a page.

    Args:
        mask: (H, W) its ink.
        parts: the components of that.
        letter: the height of a usual letter, in pixels.
    """
    found: list[Arrow] = []
    middles, lengths, breadths, angles = sticks(parts)
    # Components that are an arrow each.
    is_slim = (lengths > SHORTEST * letter) & (lengths > SLIMMEST * breadths)
    boxes = parts.boxes
    reach = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    is_joined = reach > SHORTEST_JOINED * letter
    for k in np.flatnonzero(is_slim)[:MOST_FREE].tolist():
        turn = math.radians(angles[k])
        along = np.array([math.cos(turn), math.sin(turn)])
        left, top, right, bottom = boxes[k].tolist()
        own = parts.mask(np.array([k]), (left, top, right, bottom))  # not what nearly touches
        middle = middles[k] - (left, top)
        if not _is_broad_at_an_end(own, middle, along):
            continue
        arrow = _arrow(own, middle, along, letter, True)
        if arrow is not None:
            found.append(_moved(arrow, left, top))
            is_joined[k] = False
    # Level and upright lines that touch other ink, and heads at the ends of slanting ones.
    joined = parts.mask(is_joined)
    starts = [*_bars(joined, letter), *_rays(joined, letter)]
    for place, along in starts[:MOST_STARTS]:
        arrow = _arrow(mask, place, along, letter, False)
        if arrow is not None and not any(_is_same(arrow, other) for other in found):
            found.append(arrow)
    return found


def painted(found: list[Arrow], size: tuple[int, int]) -> Mask:
    """The pixels (H, W) that arrows cover, with a pixel round them."""
    canvas = Image.new("L", (size[1], size[0]), 0)
    pen = ImageDraw.Draw(canvas)
    for arrow in found:
        tail, tip = np.array(arrow.tail), np.array(arrow.tip)
        along = (tip - tail) / max(arrow.length, 1e-9)
        side = np.array([-along[1], along[0]])
        half = arrow.width / 2 + 1.0
        ends = tail - along, tip + along
        body = [ends[0] + half * side, ends[1] + half * side]
        body += [ends[1] - half * side, ends[0] - half * side]
        base = tip - (arrow.head[0] + 2.0) * along
        barb = (arrow.head[1] + 2.0) * side
        head = [tip + 2.0 * along, base + barb, base - barb]
        for shape in (body, head):
            pen.polygon([(float(x) - 0.5, float(y) - 0.5) for x, y in shape], 255)
    return np.asarray(canvas) > 0


def _is_broad_at_an_end(mask: Mask, middle: Floats, along: Floats) -> bool:
    """Whether a line is broader at an end than in its middle, as an arrow is."""
    places = np.argwhere(mask)[:, ::-1] + 0.5 - middle
    far = np.abs(places @ along)
    off = np.abs(places @ np.array([-along[1], along[0]]))
    return bool(off.max() > off[far < 0.25 * far.max()].max(initial=0.0) + 1.2)


def _moved(arrow: Arrow, x: int, y: int) -> Arrow:
    tail, tip = (arrow.tail[0] + x, arrow.tail[1] + y), (arrow.tip[0] + x, arrow.tip[1] + y)
    return replace(arrow, tail=tail, tip=tip)


def _is_same(a: Arrow, b: Arrow) -> bool:
    return math.dist(a.tip, b.tip) < 2 * max(a.width, 3.0) and (
        math.dist(a.tail, b.tail) < 0.2 * max(a.length, b.length)
    )


# --- pluses ---


def plus_signs(parts: Components, letter: float, is_text: Mask) -> NDArray[np.int64]:
    """The components that are plus signs: two bars that cross in the middle.

    Args:
        parts: the components of a page.
        letter: the height of a usual letter, in pixels.
        is_text: (N,) which of them stand in lines of text, and are not looked at.

    Returns:
        Their indices.
    """
    wide = parts.boxes[:, 2] - parts.boxes[:, 0]
    high = parts.boxes[:, 3] - parts.boxes[:, 1]
    low, most = (side * letter for side in PLUS_SIDES)
    square = np.abs(wide - high) <= np.maximum(0.2 * np.maximum(wide, high), 2)
    sized = (np.minimum(wide, high) >= max(low, 5)) & (np.maximum(wide, high) <= most)
    thin = parts.areas < 0.65 * wide * high
    found: list[int] = []
    for k in np.flatnonzero(square & sized & thin & ~is_text).tolist():
        left, top, right, bottom = parts.boxes[k].tolist()
        if _is_plus(parts.mask(np.array([k]), (left, top, right, bottom))):
            found.append(k)
    return np.array(found, np.int64)


def _is_plus(mask: Mask) -> bool:
    """Whether full rows and full columns lie in the middle, and nothing in the corners."""
    bars = []
    for side in (mask, mask.T):
        full = np.flatnonzero(side.mean(1) > 0.8)
        if not len(full) or full[-1] - full[0] + 1 > PLUS_BAR * len(side):
            return False
        middle = (full[0] + full[-1] + 1) / 2
        if abs(middle - len(side) / 2) > 0.15 * len(side) + 0.5:
            return False
        bars.append(full)
    rest = np.delete(np.delete(mask, bars[0], 0), bars[1], 1)
    # Grey edges of the bars may be ink.
    return bool(rest.size and rest.mean() < 0.25)


# --- where lines may be ---


def _bars(mask: Mask, letter: float) -> list[tuple[Floats, Floats]]:
    """A place on every long thin line, level or upright, and its direction."""
    found: list[tuple[Floats, Floats]] = []
    for turned in (False, True):
        view = mask.T if turned else mask
        runs = runs_of(view)
        runs = runs[runs[:, 2] - runs[:, 1] > SHORTEST_JOINED * letter]
        if not len(runs):
            continue
        lines = np.zeros(view.shape, bool)
        for row, start, end in runs.tolist():
            lines[row, start:end] = True
        bars = components(lines)
        middles, _, breadths, angles = sticks(bars)
        for k in np.flatnonzero(breadths <= THICKEST * letter + 1.0).tolist():
            turn = math.radians(angles[k])
            along = np.array([math.cos(turn), math.sin(turn)])
            step = -1 if turned else 1
            found.append((middles[k][::step], along[::step]))
    return found


def _rays(mask: Mask, letter: float) -> list[tuple[Floats, Floats]]:
    """A place on every straight line that leaves something small and thick, and its direction."""
    lengths = np.diff(runs_of(mask)[:, 1:]).ravel()
    lengths = lengths[lengths < letter / 2]
    if not len(lengths):
        return []
    stroke = int(np.percentile(lengths, STROKE_PERCENTILE))
    thick = _eroded(mask, (stroke + 1) // 2)  # lines are gone, what is thicker is left
    if not thick.any():
        return []
    blobs = components(thick)
    high = blobs.boxes[:, 3] - blobs.boxes[:, 1]
    wide = blobs.boxes[:, 2] - blobs.boxes[:, 0]
    chosen = np.flatnonzero((np.maximum(high, wide) < letter) & (blobs.areas >= 2))[:MOST_HEADS]
    turns = np.arange(DIRECTIONS) * 2 * math.pi / DIRECTIONS
    ways = np.stack([np.cos(turns), np.sin(turns)], 1)
    far = np.arange(0.3 * letter, SHORTEST_JOINED * letter, 3.0)
    near = ~_eroded(~mask, 1)  # with a pixel round it, so that a line is met at an angle too
    middles = sticks(blobs)[0]
    found: list[tuple[Floats, Floats]] = []
    for k in chosen.tolist():
        places = middles[k] + ways[:, None] * far[:, None]
        whole = _at(near, places).all(1)
        for first, last in _spans(np.asarray(whole)):
            turn = (first + last) * math.pi / DIRECTIONS
            along = np.array([math.cos(turn), math.sin(turn)])
            found.append((middles[k] + along * SHORTEST_JOINED * letter / 2, along))
    return found


def _spans(chosen: Mask) -> list[tuple[int, int]]:
    """First and last index of each row of neighbours in a circle, few enough for one line."""
    if chosen.all() or not chosen.any():
        return []
    start = int(np.flatnonzero(~chosen)[0])
    turned = np.roll(chosen, -start)
    edges = np.flatnonzero(np.diff(np.r_[0, turned.astype(np.int8), 0]))
    return [
        (start + int(a), start + int(b) - 1)
        for a, b in edges.reshape(-1, 2)
        if b - a <= DIRECTIONS // 8
    ]


def _eroded(mask: Mask, reach: int) -> Mask:
    """A mask without what lies within so many pixels, across or down, of its edge."""
    found = mask.copy()
    for axis in (1, 0):
        before = found.copy()
        for step in range(1, reach + 1):
            if axis:
                found[:, step:] &= before[:, :-step]
                found[:, :-step] &= before[:, step:]
            else:
                found[step:] &= before[:-step]
                found[:-step] &= before[step:]
    return found


# --- what a line is ---


def _at(mask: Mask, places: Floats) -> Mask:
    """The mask at places (..., 2) (x, y); nothing outside."""
    x, y = np.floor(places[..., 0]).astype(np.int64), np.floor(places[..., 1]).astype(np.int64)
    inside = (x >= 0) & (y >= 0) & (x < mask.shape[1]) & (y < mask.shape[0])
    return np.asarray(mask[np.where(inside, y, 0), np.where(inside, x, 0)] & inside)


def _arrow(mask: Mask, place: Floats, along: Floats, letter: float, is_free: bool) -> Arrow | None:
    """The arrow whose shaft goes through a place in a direction, if there is one."""
    back = forth = 0.0
    for _ in range(2):
        line = _followed(mask, place, along, letter)
        if line is None:
            return None
        place, along, back, forth = line
        if forth - back < (SHORTEST if is_free else SHORTEST_JOINED) * letter:
            return None
    length = forth - back
    width = _width(mask, place, along, (back, forth), letter)
    if not 0 < width <= THICKEST * letter + 1.0:
        return None
    ends = place + forth * along, place + back * along
    heads = [
        _head(mask, tip, way, width, length, letter, is_free)
        for tip, way in zip(ends, (along, -along), strict=True)
    ]
    if (heads[0] is None) == (heads[1] is None):
        return None  # a plain line, or an arrow that points both ways
    which = 0 if heads[0] is not None else 1
    tip, tail, head = ends[which], ends[1 - which], heads[which]
    assert head is not None
    return Arrow((float(tail[0]), float(tail[1])), (float(tip[0]), float(tip[1])), width, head)


def _followed(
    mask: Mask, place: Floats, along: Floats, letter: float
) -> tuple[Floats, Floats, float, float] | None:
    """A line, followed to both ends: a place on it, its direction made exact, and how far it goes
    back and forth from there.
    """
    side = np.array([-along[1], along[0]])
    back, forth = (way * _reach(mask, place, way * along, letter) for way in (-1.0, 1.0))
    if forth - back < 2 * letter:
        return None
    # The middle of the shaft's ink, away from its ends, tells the direction.
    inner = np.arange(back + 0.2 * (forth - back), forth - 0.2 * (forth - back), 1.0)
    wide = np.arange(-0.3 * letter, 0.3 * letter + 0.5, 0.5)
    inked = _at(mask, place + inner[:, None, None] * along + wide[:, None] * side)
    middle = (inked * wide).sum(1) / np.maximum(inked.sum(1), 1)
    kept = inked.any(1) & (np.abs(middle - np.median(middle)) < 0.15 * letter + 1.0)
    if np.count_nonzero(kept) < 5:
        return None
    slope, offset = np.polyfit(inner[kept], middle[kept], 1)
    turned = along + slope * side
    turned /= np.linalg.norm(turned)
    return place + offset * side, turned, back, forth


def _reach(mask: Mask, place: Floats, along: Floats, letter: float) -> float:
    """How far a line goes from a place, in pixels."""
    side = np.array([-along[1], along[0]])
    across = np.arange(-2.0, 2.5, 2.0)[:, None] * side
    stretch = np.arange(round(STRETCH * letter))
    at = 0
    while at < sum(mask.shape):
        inked = _at(mask, place + (at + stretch)[:, None, None] * along + across).any(1)
        # The first place from which on so much is missing.
        gaps = np.convolve(~inked, np.ones(GAP + 1), "valid") > GAP
        if gaps.any():
            return float(max(at + int(gaps.argmax()) - 1, 0))
        at += len(stretch) - GAP
    return float(at)


def _width(
    mask: Mask, place: Floats, along: Floats, span: tuple[float, float], letter: float
) -> float:
    """The usual breadth of a shaft's ink in pixels; 0 where other ink goes along with it."""
    side = np.array([-along[1], along[0]])
    back, forth = span
    inner = np.linspace(back + 0.1 * (forth - back), forth - 0.1 * (forth - back), 40)
    wide = np.arange(-0.6 * letter, 0.6 * letter + 0.25, 0.5)
    inked = _at(mask, place + inner[:, None, None] * along + wide[:, None] * side)
    shares = inked.mean(0)
    middle = len(wide) // 2
    is_shaft = shares > 0.5
    if not is_shaft[middle - 1 : middle + 2].any():
        return 0.0
    low = middle
    while low > 0 and is_shaft[low - 1]:
        low -= 1
    high = middle
    while high < len(wide) - 1 and is_shaft[high + 1]:
        high += 1
    if is_shaft[:low].any() or is_shaft[high + 1 :].any():
        return 0.0  # one of two parallel lines, such as a double bond
    return 0.5 * (high - low + 1)


def _head(
    mask: Mask,
    tip: Floats,
    along: Floats,
    width: float,
    length: float,
    letter: float,
    is_free: bool,
) -> tuple[float, float] | None:
    """Length and half the breadth of the head at the end of a line, in pixels; None for none.

    Args:
        mask: the ink.
        tip: the end.
        along: the direction in which the line comes to it.
        width: of the line.
        length: of the line.
        letter: height of a usual letter.
        is_free: no other ink touches the arrow.
    """
    side = np.array([-along[1], along[0]])
    reach, slope = (grid.ravel() for grid in np.meshgrid(HEADS, SLOPES, indexing="ij"))
    reach = reach * letter
    half = slope * reach  # (K,) of all heads that are tried
    tried = (reach <= HEAD_SHARE * length) & (half >= max(width / 2 + 1.8, SLIM_HEAD * letter))
    if not is_free:
        # Bonds that meet at a sharp angle are no head, nor is the broad end of a wedge.
        tried &= (half >= JOINED_HEAD * width) & (slope <= STEEPEST_JOINED)
    if not tried.any():
        return None
    reach, slope, half = reach[tried], slope[tried], half[tried]

    def shares(back: Floats, off: Floats) -> Floats:
        """How much is inked of places (K, S) so far behind the tip and so far from the shaft."""
        places = tip - back[..., None] * along + off[..., None] * side
        return np.asarray(_at(mask, places).mean(1))

    steps = np.linspace(0.25, 1.0, BARB_PLACES) * reach[:, None]
    off = np.maximum(slope[:, None] * steps - 0.5, 0.0)
    # A barb may lie a pixel beside where it is looked for, if that is not on the shaft.
    slack = np.clip(half - width / 2 - 2.0, 0.0, 1.0)[:, None]
    barbs = np.ones(len(reach))
    sides = np.zeros((2, len(reach)))
    front = np.linspace(0.0, 0.3, 5) * reach[:, None]
    behind = np.linspace(1.25, 2.0, 8) * reach[:, None] + 1.0
    for way in (1, -1):
        inked = np.zeros(off.shape, bool)
        for beside in (-slack, 0 * slack, slack):
            places = tip - steps[..., None] * along + (way * (off + beside))[..., None] * side
            inked |= _at(mask, places)
        barbs = np.minimum(barbs, inked.mean(1))
        # Beside the shaft behind the barb, and beside the tip, there is nothing.
        clear = np.broadcast_to(way * (0.9 * half[:, None] + 0.5), behind.shape)
        after = shares(behind, clear)
        sides[max(way, 0)] = np.maximum(after, shares(front, clear[:, : front.shape[1]]))
    # Two arrows may end at one place, so that each has the other's line at a side.
    empty = sides.max(0) if is_free else sides.min(0)
    fits = (barbs >= INKED) & (empty <= EMPTY)
    if not is_free and fits.any():
        across = np.linspace(-1.0, 1.0, 9)
        full = [shares(steps, share * off) for share in across]
        fits &= np.mean(full, 0) >= FILLED
    if not fits.any():
        return None
    best = int(np.argmax(np.where(fits, barbs * half, -1.0)))
    return float(reach[best]), float(half[best])
