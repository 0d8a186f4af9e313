"""What is on a page: letters, lines of text, rules, and groups of ink that may be drawings.

Ink that hangs together is a component. Letters in lines are text and are set aside; so are long
rules, arrows and all that is thick. What is left is grouped by nearness, and each group can be
shown alone, all other ink taken off, to whoever judges and reads it.

    layout = Layout(ink)
    for region in layout.regions:
        ink_alone = layout.shown(region)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from .arrows import arrows, painted, plus_signs, sticks
from .components import Components, components, runs_of
from .scale import Bytes

INK_LEVEL = 64  # of 255: darker than this is ink
LETTER = 20.0  # px: the height of letters where a page has none to tell it
LETTER_RANGE = (8.0, 60.0)  # px: of letters that tell the height of most
LETTER_PERCENTILE = 60  # of the heights of small components
TALLEST_LETTER = 1.7  # heights of a usual letter
RULE = (260.0, 14.0)  # px, letters: lines longer than both are rules
THICK = 0.85  # letters: ink of thicker strokes is no drawing
WORD_GAP, LINE_GAP = 0.38, 1.3  # letters: between letters of a word, between words of a line
LINE_LETTERS = 9  # in a line of text, at least
SURE_LINE = 20  # letters: a line of fewer that touches a bond may be a long label
TOUCH = 0.3  # letters: between a bond and its label, at most
CHAIN = 1.7  # of a line's ink: a chain of bonds has less, letters that touch have more
CHARGE = 0.8  # letters: a plus that is wider stands between drawings
LINE = 4.2  # letters: a straight line by itself that is longer is no bond
WIDEST = 8.0  # letters: of what may be letters that touch
WORD_LETTERS = 2.0  # in a word of a line of text, on the average at least
GAPS = (0.3, 0.45, 0.75)  # letters: between the parts of a drawing
MIDDLE = 1  # of them, the usual one
SPECK = 3  # pixels: components that are no larger are grain or dots
GRAIN = (3000, 0.6)  # specks, and their share of the components: a page with more is grainy
GRAINY_LEVEL = 90  # of 255: darker than this is ink on a page that was smoothed
FEW_SPECKS = 0.1  # of the components: a page with fewer is clean
EDGE = 2  # px round a component that belong to it
LEAST_SIDES = (3.5, 1.2)  # letters: sides of a region at least, the longer and the shorter
MAX_REGIONS = 300  # of a page, the largest first

Mask = NDArray[np.bool_]
Box = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Region:
    """A part of a page that may be a drawing.

    Attributes:
        box: left, top, right, bottom of its ink, in pixels of the page's ink map.
        parts: (K,) int64, the components that belong to it.
        gap: the index of the gap in `GAPS` by which they hang together; `MIDDLE` if that is one.
    """

    box: Box
    parts: NDArray[np.int64]
    gap: int


class Layout:
    """What is on a page: letters, lines of text, rules, and groups of all else.

    Args:
        ink: (H, W) uint8, 0 paper to 255 ink.
        letter: the height of a usual letter in pixels, where it is known.

    Attributes:
        ink: as given, but smoothed on a grainy page.
        is_grainy: whether the page has grain, as dark or noisy scans have.
        parts: the components of the ink, without rules and arrows.
        arrows: the straight ones.
        pluses: the components that are plus signs, where there are arrows.
        letter: the height of a usual letter, in pixels.
        is_text: (N,) of each component, whether it stands in a line of text.
        regions: groups of what is no text, the largest first.
    """

    def __init__(self, ink: Bytes, letter: float | None = None) -> None:
        mask = ink >= INK_LEVEL
        parts = components(mask)
        specks = np.count_nonzero(parts.areas <= SPECK)
        self.is_grainy = bool(specks > GRAIN[0] and specks > GRAIN[1] * len(parts))
        if self.is_grainy:
            ink = np.array(Image.fromarray(ink).filter(ImageFilter.BoxBlur(1)))
            mask = ink >= GRAINY_LEVEL
            parts = components(mask)
        self.ink = ink
        measured = _letter(parts, _slanting(parts, LETTER))
        self.letter = letter or measured
        longest = max(RULE[0], RULE[1] * self.letter)
        rules = _rules(mask, longest, 0.4 * self.letter)
        self.arrows = arrows(mask, parts, min(self.letter, measured))
        if self.arrows:
            rules |= painted(self.arrows, mask.shape)
        if rules.any():
            parts = components(mask & ~rules)
        self.parts = parts
        width = parts.boxes[:, 2] - parts.boxes[:, 0]
        height = parts.boxes[:, 3] - parts.boxes[:, 1]
        self._reach = np.maximum(width, height)
        strokes = _strokes(parts)
        self.is_thick = strokes > THICK * self.letter
        self._is_slanting = _slanting(parts, self.letter)
        self.is_text = np.zeros(len(parts), bool)
        # A chain of bonds may be as low as a letter, but has no more ink than a line so long.
        is_chain = (width > 1.2 * self.letter) & (parts.areas < CHAIN * strokes * width)
        self._is_bond = is_chain | (self._is_slanting & (self._reach > 0.8 * self.letter))
        for size, least in ((self.letter, 0.35), (2 * self.letter, 0.6)):
            self.is_text |= self._text(size, least * size)
        is_speck = parts.areas < max(3.0, (0.12 * self.letter) ** 2)
        if np.count_nonzero(is_speck) < max(FEW_SPECKS * len(parts), 30):
            is_speck[:] = False  # the dots and dashes of a clean page mean something
        _, length, breadth, _ = sticks(parts)
        is_line = (length > LINE * self.letter) & (breadth < max(0.35 * self.letter, 4.0))
        self.pluses: NDArray[np.int64] = np.zeros(0, np.int64)
        is_plus = np.zeros(len(parts), bool)
        if self.arrows:
            self.pluses = plus_signs(parts, self.letter, self.is_text)
            is_plus[self.pluses] = self._reach[self.pluses] > CHARGE * self.letter
        self.is_loose = ~(self.is_text | self.is_thick | is_speck | is_line | is_plus)
        is_long = self._reach > TALLEST_LETTER * self.letter
        self.is_seed = self.is_loose & (is_long | self._is_bond)
        self.regions = self._regions()

    def _text(self, size: float, least: float) -> Mask:
        """Whether each component stands in a line of letters of about this height, and at least so
        high or wide.
        """
        boxes = self.parts.boxes
        width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
        tallest = TALLEST_LETTER * size
        is_letter = (height <= tallest) & (width <= WIDEST * size) & (self._reach >= least)
        is_letter &= ~self.is_text & ~self._is_bond
        inside = np.zeros(len(boxes), bool)
        if np.count_nonzero(is_letter) < LINE_LETTERS:
            return inside
        letters = boxes[is_letter]
        _, word = linked(letters, WORD_GAP * size / 2, self.parts.size)
        lines, line = linked(letters, LINE_GAP * size / 2, self.parts.size)
        # Letters that touch count by their width.
        each = np.maximum(np.round(width[is_letter] / (0.8 * size)), 1)
        count = np.bincount(line, weights=each, minlength=len(lines))
        first = np.unique(word, return_index=True)[1]
        in_line = np.bincount(line[first], minlength=len(lines))
        is_line = (count >= LINE_LETTERS) & (count >= WORD_LETTERS * in_line)
        short = is_line & ((count < SURE_LINE) | (in_line == 1))
        if short.any():
            is_bond = ~(self.is_text | self.is_thick) & (self._reach > tallest)
            is_bond |= self._is_bond & ~_centred_in(boxes, lines.boxes[is_line], lines.size)
            near = _spread(self.parts.mask(is_bond), TOUCH * size)
            for k in np.flatnonzero(short[line]).tolist():
                left, top, right, bottom = letters[k].tolist()
                if is_line[line[k]] and near[top:bottom, left:right].any():
                    is_line[line[k]] = False
        inside[is_letter] = is_line[line]
        # What lies in a line of text belongs to it: slashes, dots, accents, letters that touch.
        line_boxes = lines.boxes[is_line]
        if len(line_boxes):
            inside |= (height <= 2 * size) & _centred_in(boxes, line_boxes, lines.size)
        return inside

    def _regions(self) -> list[Region]:
        found: dict[bytes, Region] = {}
        loose = self.parts.mask(self.is_loose)
        for number, gap in enumerate(GAPS):
            spread = _spread(loose, gap * self.letter / 2)
            groups, group = _gathered(self.parts, self.is_loose, spread)
            members = np.flatnonzero(self.is_loose)
            seeded = np.zeros(len(groups), bool)
            seeded[group[self.is_seed[members]]] = True
            order = np.argsort(group, kind="stable")
            ends = np.cumsum(np.bincount(group, minlength=len(groups)))
            starts = np.r_[0, ends[:-1]] if len(ends) else ends
            boxes = np.array(
                [
                    _around(self.parts.boxes[members[order[a:b]]])
                    for a, b in zip(starts, ends, strict=True)
                ]
            ).reshape(-1, 4)
            for k in np.flatnonzero(seeded):
                own = members[order[starts[k] : ends[k]]]
                # Loose letters in its box, such as those in the middle of a large ring.
                lone = ~seeded & _within(boxes, boxes[k])
                if lone.any():
                    own = np.sort(np.concatenate([own, members[lone[group]]]))
                box = _around(self.parts.boxes[own])
                key = own.tobytes()
                if key not in found or number == MIDDLE:
                    found[key] = Region(tuple(box.tolist()), own, number)
        least = [side * self.letter for side in LEAST_SIDES]
        regions = [
            region
            for region in found.values()
            if all(a >= b for a, b in zip(_sides(region.box), least, strict=True))
        ]
        regions.sort(key=lambda r: -_area(r.box))
        return regions[:MAX_REGIONS]

    def around(self, parts: NDArray[np.int64]) -> Box:
        """The box of some components."""
        left, top, right, bottom = _around(self.parts.boxes[parts]).tolist()
        return left, top, right, bottom

    def shown(self, region: Region, margin: int = 4) -> Bytes:
        """A region's own ink alone, in its box with a margin of paper, as ink (h, w) uint8."""
        left, top, right, bottom = region.box
        own = self.parts.mask(region.parts, region.box)
        own = np.pad(own, margin)
        near = _spread(own, EDGE)
        height, width = self.ink.shape
        window = (
            max(left - margin, 0),
            max(top - margin, 0),
            min(right + margin, width),
            min(bottom + margin, height),
        )
        grey = self.ink[window[1] : window[3], window[0] : window[2]]
        before = (window[1] - top + margin, window[0] - left + margin)
        framed = np.zeros(own.shape, np.uint8)
        framed[before[0] : before[0] + grey.shape[0], before[1] : before[1] + grey.shape[1]] = grey
        # Dark pixels of others, which stand nearer than the edge of ours, are not ours.
        return np.where(near & (own | (framed < INK_LEVEL)), framed, 0).astype(np.uint8)


def _letter(parts: Components, is_stick: Mask) -> float:
    height = parts.boxes[:, 3] - parts.boxes[:, 1]
    width = parts.boxes[:, 2] - parts.boxes[:, 0]
    low, high = LETTER_RANGE
    usual = (height >= low) & (height <= high) & (width <= 1.5 * height) & (width >= 0.25 * height)
    usual &= ~is_stick
    if np.count_nonzero(usual) < 20:
        return LETTER
    return float(np.percentile(height[usual], LETTER_PERCENTILE))


def _rules(mask: Mask, longest: float, thickest: float) -> Mask:
    """The pixels of lines, level or upright, that are longer than any in a drawing, and thin."""
    found = np.zeros(mask.shape, bool)
    for turned in (False, True):
        view = mask.T if turned else mask
        lines = runs_of(view)
        lines = lines[lines[:, 2] - lines[:, 1] > longest]
        if len(lines):
            bars = components(_painted(lines, view.shape))
            thin = bars.boxes[:, 3] - bars.boxes[:, 1] <= max(thickest, 6.0)
            drawn = bars.mask(thin)
            found |= drawn.T if turned else drawn
    return found


def _painted(runs: NDArray[np.int64], shape: tuple[int, ...]) -> Mask:
    found = np.zeros(shape, bool)
    for row, start, end in runs.tolist():
        found[row, start:end] = True
    return found


def _strokes(parts: Components) -> NDArray[np.float64]:
    """Mean width of the strokes of each component, in pixels: twice its area by its outline."""
    runs, owner = parts.runs, parts.owner
    count = len(parts)
    sides = 2.0 * np.bincount(owner, minlength=count)
    # Above and below: all but what the runs of the next row cover.
    length = np.bincount(owner, weights=runs[:, 2] - runs[:, 1], minlength=count)
    covered = np.bincount(owner, weights=_covered(parts), minlength=count)
    sides += 2.0 * (length - covered)
    return np.asarray(2.0 * parts.areas / np.maximum(sides * math.pi / 4, 1.0))


def _covered(parts: Components) -> NDArray[np.float64]:
    """Of each run, how many of its pixels have ink right below."""
    runs, width = parts.runs, parts.size[1]
    stride = width + 2
    starts, ends = runs[:, 0] * stride + runs[:, 1], runs[:, 0] * stride + runs[:, 2]
    # The ink before a place of the flat map, from the runs that end before it.
    total = np.r_[0, np.cumsum(ends - starts)]

    def before(place: NDArray[np.int64]) -> NDArray[np.int64]:
        k = np.searchsorted(starts, place, "right")
        inside = np.minimum(place - starts[k - 1], ends[k - 1] - starts[k - 1])
        return np.where(k > 0, total[k - 1] + inside, 0)

    if not len(runs):
        return np.zeros(0)
    return (before(ends + stride) - before(starts + stride)).astype(np.float64)


def _slanting(parts: Components, letter: float) -> Mask:
    """Whether each component is a thin straight stick at an angle, as bonds are and letters not."""
    _, length, breadth, angle = sticks(parts)
    steep = np.abs(angle)
    thin = breadth < np.maximum(0.28 * letter, 3.0)
    return np.asarray(thin & (length > 3.5 * breadth) & (steep > 15) & (steep < 75))


def _spread(mask: Mask, reach: float) -> Mask:
    """Ink spread by so many pixels to all sides."""
    return _shifted(_shifted(mask, round(reach), 1), round(reach), 0)


def _shifted(mask: Mask, reach: int, axis: int) -> Mask:
    """A mask or-ed with itself moved by up to `reach` pixels both ways along an axis."""
    out, done = mask, 0
    while done < reach:
        step = min(done + 1, reach - done)  # what is spread by d covers gaps of d
        wide = out.copy()
        if axis:
            wide[:, step:] |= out[:, :-step]
            wide[:, :-step] |= out[:, step:]
        else:
            wide[step:] |= out[:-step]
            wide[:-step] |= out[step:]
        out, done = wide, done + step
    return out


def _gathered(
    parts: Components, chosen: Mask, spread: Mask
) -> tuple[Components, NDArray[np.int64]]:
    """The components of a mask that covers the chosen parts, and which of them each part is in."""
    groups = components(np.ascontiguousarray(spread))
    first = np.full(len(parts), len(parts.runs))
    np.minimum.at(first, parts.owner, np.arange(len(parts.runs)))
    at = parts.runs[first[chosen]]
    return groups, _owners(groups, at[:, 0], at[:, 1])


def linked(
    boxes: NDArray[np.int64], reach: float, size: tuple[int, int]
) -> tuple[Components, NDArray[np.int64]]:
    """Letters whose boxes lie side by side, each reaching so far to both sides: the chains of them
    and the chain that each box is in.

    Only the middle half of a box's height counts, so lines do not hang together by what goes below
    them, and subscripts lie apart.
    """
    canvas = np.zeros(size, bool)
    x0 = np.maximum(boxes[:, 0] - round(reach), 0)
    x1 = boxes[:, 2] + round(reach)
    quarter = (boxes[:, 3] - boxes[:, 1]) // 4
    y0, y1 = boxes[:, 1] + quarter, boxes[:, 3] - quarter
    for top, bottom, left, right in np.stack([y0, y1, x0, x1], 1).tolist():
        canvas[top:bottom, left:right] = True
    chains = components(canvas)
    return chains, _owners(chains, y0, x0)


def _owners(parts: Components, y: NDArray[np.int64], x: NDArray[np.int64]) -> NDArray[np.int64]:
    """The components that some pixels of theirs belong to."""
    stride = parts.size[1] + 2
    starts = parts.runs[:, 0] * stride + parts.runs[:, 1]
    return np.asarray(parts.owner[np.searchsorted(starts, y * stride + x, "right") - 1])


def _centred_in(boxes: NDArray[np.int64], areas: NDArray[np.int64], size: tuple[int, int]) -> Mask:
    """Whether the middle of each box lies in one of the areas."""
    cover = np.zeros(size, bool)
    for left, top, right, bottom in areas.tolist():
        cover[top:bottom, left:right] = True
    x, y = (boxes[:, 0] + boxes[:, 2]) // 2, (boxes[:, 1] + boxes[:, 3]) // 2
    return np.asarray(cover[y, x])


def _around(boxes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray(np.r_[boxes[:, :2].min(0), boxes[:, 2:].max(0)])


def _within(boxes: NDArray[np.int64], box: NDArray[np.int64]) -> Mask:
    return np.asarray((boxes[:, :2] >= box[:2]).all(1) & (boxes[:, 2:] <= box[2:]).all(1))


def _sides(box: Box) -> tuple[int, int]:
    """The longer and the shorter side of a box."""
    sides = box[2] - box[0], box[3] - box[1]
    return max(sides), min(sides)


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
