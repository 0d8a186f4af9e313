"""Letters and hashes that are too fine for the reading scale.

On a large canvas a program draws long bonds and letters of a usual size. Brought to the scale at
which bonds can be read, such letters have three pixels, and hashes melt into solid wedges. Here
they are found in the ink, as small connected components, and parted from it, so that `scale` can
write them larger in their places.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from .components import Components, joined, median

SMALL_LETTER = 6.0  # px, of a capital letter at reading scale; smaller ones are hard to read
FINE_HASH = 1.7  # px from dash to dash at reading scale; finer hashes look like solid wedges
LETTER = 0.39  # bonds: height of a capital letter that is written larger
LETTER_RANGE = (7.0, 10.0)  # px at reading scale
_LEAST_LETTER = 8.0  # px, of a capital letter in the original: smaller ones show no shape
_MAX_MARKS = 1200  # more small components than this are noise
_REACH = 0.5  # bonds: marks are shorter than this
_TALLEST = 1.7  # heights of a capital letter: brackets of labels are lower
_LONG_TEXT = 8  # letters: so many that stand away from all bonds are a caption

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]
Box = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Label:
    """A small text, in pixels of the original picture.

    Attributes:
        box: left, top, right, bottom.
        anchor: (x, y) of the middle of the letter that the bonds lead to.
        letters: (N, 4) boxes of its letters.
        ink: uint8 (bottom - top, right - left), its letters alone.
        is_apart: True where no bond leads to it, as to counter-ions and captions.
        is_joined: True where a bond has run into another letter of the text.
    """

    box: Box
    anchor: tuple[float, float]
    letters: Ints
    ink: Bytes
    is_apart: bool
    is_joined: bool


@dataclass(frozen=True, eq=False)
class Marks:
    """What of a drawing is too fine at a scale, in pixels of the original picture.

    Attributes:
        ink: uint8 (H, W), the ink without these marks.
        height: of a capital letter; 0 without labels.
        labels: texts.
        hashes: for each hashed bond the ends (N, 2, 2) of its dashes as (x, y), in a row.
        spacing: from dash to dash, for each hashed bond.
    """

    ink: Bytes
    height: float
    labels: tuple[Label, ...]
    hashes: tuple[Doubles, ...]
    spacing: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class _Shapes:
    """Small components as if each were a bar. All (N, ...), in pixels."""

    number: Ints  # among all components
    box: Ints  # (N, 4)
    centre: Doubles  # (N, 2)
    along: Doubles  # (N, 2), a unit vector
    length: Doubles
    width: Doubles
    is_bar: Mask

    @property
    def size(self) -> Ints:
        """(N, 2) width and height of the boxes."""
        return self.box[:, 2:] - self.box[:, :2]


def fine_marks(ink: Bytes, found: Components | None, bond: float, factor: float) -> Marks | None:
    """The letters and hashes of a drawing that are too fine at a scale; None if there are none.

    Args:
        ink: uint8 (H, W), 0 paper .. 255 ink.
        found: the components of what is dark in it; None for noise, in which nothing is looked for.
        bond: bond length in pixels.
        factor: pixels at reading scale for one pixel of `ink`.
    """
    if found is None or factor >= 1 or factor * _LEAST_LETTER > SMALL_LETTER:
        return None
    reach = (found.boxes[:, 2:] - found.boxes[:, :2]).max(axis=1)
    small = np.flatnonzero((reach < _REACH * bond) & (found.areas >= 4))
    if not 0 < small.size <= _MAX_MARKS:
        return None
    shapes = _shapes(found, small)
    rows = _rows(shapes, bond)
    in_row = np.zeros(small.size, bool)
    in_row[[member for row, _ in rows for member in row]] = True
    texts, height = _texts(found, shapes, in_row, SMALL_LETTER / factor)
    fine = [(row, spacing) for row, spacing in rows if spacing * factor < FINE_HASH]
    gone = np.zeros(len(found), bool)
    gone[shapes.number[[member for text in texts for member in text]]] = True
    strokes = reach > _TALLEST * height
    strokes[shapes.number[in_row]] = True
    strokes &= ~gone
    labels = [_label(ink, found, shapes, text, strokes, height, bond) for text in texts]
    is_caption = _captions(labels, height)
    for text, is_left in zip(texts, is_caption, strict=True):
        if is_left:
            gone[shapes.number[text]] = False
    kept = tuple(label for label, out in zip(labels, is_caption, strict=True) if not out)
    larger = letter_factor(height, bond, factor) / factor if kept else 1.0
    # Where letters and bonds run together, not all letters are found. Where larger ones would find
    # no room, the bonds are shorter than was thought.
    if any(label.is_joined for label in kept) or _collide(kept, larger):
        gone[:], kept = False, ()
    gone[shapes.number[[member for row, _ in fine for member in row]]] = True
    if not kept and not fine:
        return None
    return Marks(
        _without(ink, found, gone),
        height if kept else 0.0,
        kept,
        tuple(_dashes(shapes, row) for row, _ in fine),
        tuple(spacing for _, spacing in fine),
    )


def letter_factor(height: float, bond: float, factor: float) -> float:
    """Pixels at reading scale for one pixel of the original, in labels that are written larger.

    Args:
        height: of a capital letter in the original.
        bond: bond length in the original.
        factor: of the rest of the drawing; a letter is never made smaller.
    """
    wanted = min(max(LETTER * bond * factor, LETTER_RANGE[0]), LETTER_RANGE[1])
    return max(factor, wanted / height)


def _shapes(found: Components, small: Ints) -> _Shapes:
    row, start, end = found.runs.T
    count = (end - start).astype(np.float64)
    x, y = (start + end) / 2, row + 0.5

    def total(values: Doubles) -> Doubles:
        sums = np.bincount(found.owner, weights=values, minlength=len(found))
        return np.asarray(sums[small], np.float64)

    area = found.areas[small]
    cx, cy = total(count * x) / area, total(count * y) / area
    # Second moments, each pixel a square of ink.
    xx = total(count * x**2 + count**3 / 12) / area - cx**2
    yy = total(count * (y**2 + 1 / 12)) / area - cy**2
    xy = total(count * x * y) / area - cx * cy
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)
    middle, apart = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    length = np.sqrt(12 * (middle + apart))
    width = np.sqrt(12 * np.maximum(middle - apart, 1 / 12))
    # The stairs of a slanting hairline fill less of it.
    is_bar = (width < 0.4 * length) & ((area > 0.75 * length * width) | (width < 2))
    along = np.stack([np.cos(angle), np.sin(angle)], 1)
    centre = np.stack([cx, cy], 1)
    return _Shapes(small, found.boxes[small], centre, along, length, width, is_bar)


# --- hashes ---


def _rows(shapes: _Shapes, bond: float) -> list[tuple[Ints, float]]:
    """Rows of five parallel bars or more, each from end to end, and the step in pixels."""
    bars = np.flatnonzero(shapes.is_bar)
    if bars.size < 5:
        return []
    centre, along, length = shapes.centre[bars], shapes.along[bars], shapes.length[bars]
    apart = centre[None] - centre[:, None]
    parallel = np.abs(along @ along.T) > 0.95
    aside = np.abs((apart * along[:, None]).sum(axis=2))
    across = np.hypot(apart[..., 0], apart[..., 1])
    longer = np.maximum(length[:, None], length[None])
    next_to = parallel & (aside < 0.3 * longer + 1) & (across < 0.12 * bond) & (across > 0)
    name = joined(bars.size, *np.nonzero(next_to))
    rows = []
    for first in np.unique(name):
        row = np.flatnonzero(name == first)
        if row.size < 5:
            continue
        spread = centre[row] - centre[row].mean(axis=0)
        way = np.linalg.svd(spread, full_matrices=False)[2][0]
        order = np.argsort(spread @ way)
        steps = np.diff((spread @ way)[order])
        step = median(steps)
        if np.mean(np.abs(steps - step) < 0.4 * step) > 0.7:
            rows.append((bars[row[order]], step))
    return rows


def _dashes(shapes: _Shapes, row: Ints) -> Doubles:
    half = shapes.along[row] * shapes.length[row, None] / 2
    return np.stack([shapes.centre[row] - half, shapes.centre[row] + half], 1)


# --- letters ---


def _texts(
    found: Components, shapes: _Shapes, in_row: Mask, limit: float
) -> tuple[list[Ints], float]:
    """The members of each small text, and the height of a capital letter; no text if letters are
    higher than `limit` px.
    """
    size = shapes.size
    wide, high = size.T
    able = ~in_row & ~shapes.is_bar & (high >= _LEAST_LETTER) & (wide < 1.7 * high)
    able &= high < 3 * wide
    letters = np.flatnonzero(able)
    if not letters.size or _usual(high[letters]) >= limit:
        return [], 0.0
    is_letter = np.zeros(len(size), bool)
    is_letter[letters] = [_is_written(found, shapes.number[i], shapes.box[i]) for i in letters]
    letters = np.flatnonzero(is_letter)
    if not letters.size:
        return [], 0.0
    height = _usual(high[letters])
    if height >= limit:
        return [], 0.0
    capital = is_letter & (np.abs(high - height) < 0.25 * height)
    upright = shapes.is_bar & (np.abs(high - height) < 0.2 * height) & (wide < 0.35 * height)
    minus = shapes.is_bar & (wide > 0.2 * height) & (wide < 0.9 * height) & (high < 0.3 * height)
    dot = (size.max(axis=1) < 0.4 * height) & (size.min(axis=1) > 0.08 * height)
    other = ~shapes.is_bar & (size.max(axis=1) < _TALLEST * height)
    piece = shapes.is_bar & (size.max(axis=1) < 1.2 * height)
    member = np.flatnonzero(~in_row & (capital | other | piece))
    box = shapes.box[member]
    # Gaps between boxes, negative where they overlap.
    gap_x = np.maximum(box[:, None, 0], box[None, :, 0]) - np.minimum(
        box[:, None, 2], box[None, :, 2]
    )
    gap_y = np.maximum(box[:, None, 1], box[None, :, 1]) - np.minimum(
        box[:, None, 3], box[None, :, 3]
    )
    narrower = np.minimum(wide[member][:, None], wide[member][None])
    beside = (gap_x < 0.4 * height) & (gap_y < 0)
    above = (gap_y < 0.5 * height) & (gap_x < -0.4 * narrower)
    corner = (gap_x < 0.3 * height) & (gap_y < 0.1 * height)
    part = (gap_x < 0.12 * height) & (gap_y < 0.12 * height)  # of a broken letter
    stroke = (piece & ~upright & ~minus & ~dot)[member]
    # Dots, dashes and single strokes speak to a letter only, not to one another.
    alone = ~is_letter[member]
    near = (beside | above | corner) & ~(alone[:, None] & alone[None])
    near &= ~stroke[:, None] & ~stroke[None]
    near |= part
    name = joined(member.size, *np.nonzero(near))
    texts = [member[name == first] for first in np.unique(name)]
    return [text for text in texts if capital[text].any()], height


def _usual(heights: Ints) -> float:
    """The height that most letters have; of two, the larger."""
    near = np.abs(np.log(heights[:, None] / heights[None])) < 0.13
    votes = near.sum(axis=1)
    highest = heights[votes >= 0.5 * votes.max()].max()
    return median(heights[np.abs(np.log(heights / highest)) < 0.2])


def _is_written(found: Components, number: int, box: Ints) -> bool:
    """True for strokes that turn back upon themselves, as letters do and specks do not."""
    left, top, right, bottom = (int(side) for side in box)
    mask = np.pad(found.mask(np.array([number]), (left, top, right, bottom)), 1)
    outline = np.count_nonzero(mask[1:] != mask[:-1])
    outline += np.count_nonzero(mask[:, 1:] != mask[:, :-1])
    return bool(outline >= 1.2 * 2 * (right - left + bottom - top))


def _label(
    ink: Bytes,
    found: Components,
    shapes: _Shapes,
    text: Ints,
    strokes: Mask,
    height: float,
    bond: float,
) -> Label:
    """A text with its anchor. `strokes` are the components that are bonds or of bonds."""
    letters = shapes.box[text]
    low, high = letters[:, :2].min(axis=0), letters[:, 2:].max(axis=0)
    left, top = (int(v) for v in np.maximum(low - 2, 0))
    right, bottom = int(min(high[0] + 2, ink.shape[1])), int(min(high[1] + 2, ink.shape[0]))
    own = np.zeros(len(found), bool)
    own[shapes.number[text]] = True
    box = (left, top, right, bottom)
    alone = np.where(_grown(found.mask(own, box)), ink[top:bottom, left:right], 0)
    reach = round(min(1.5 * height, 0.7 * bond))
    around = (
        max(left - reach, 0),
        max(top - reach, 0),
        min(right + reach, ink.shape[1]),
        min(bottom + reach, ink.shape[0]),
    )
    ys, xs = np.nonzero(found.mask(strokes, around))
    is_joined = False
    if xs.size == 0:
        anchor = (low + high) / 2
    else:
        x, y = xs + around[0] + 0.5, ys + around[1] + 0.5
        capitals = letters[letters[:, 3] - letters[:, 1] > 0.75 * height]
        away_x = np.maximum(capitals[:, None, 0] - x, x - capitals[:, None, 2])
        away_y = np.maximum(capitals[:, None, 1] - y, y - capitals[:, None, 3])
        away = np.hypot(np.maximum(away_x, 0), np.maximum(away_y, 0)).min(axis=1)
        nearest = capitals[int(np.argmin(away))]
        is_joined = _has_stem(found, strokes, nearest, (left, right), height)
        anchor = (nearest[:2] + nearest[2:]) / 2
    place = (float(anchor[0]), float(anchor[1]))
    return Label(box, place, letters, alone.astype(np.uint8), xs.size == 0, is_joined)


def _has_stem(
    found: Components, strokes: Mask, letter: Ints, ends: tuple[int, int], height: float
) -> bool:
    """True if a stroke stands upright beside a text, as high as its letters: it holds one more."""
    top, bottom = int(letter[1]), int(letter[3])
    for left, right in (
        (round(ends[0] - 0.9 * height), ends[0] + 2),
        (ends[1] - 2, round(ends[1] + 0.9 * height)),
    ):
        box = (max(left, 0), top, min(right, found.size[1]), bottom)
        if box[2] > box[0]:
            beside = found.mask(strokes, box)
            if beside.sum(axis=0).max(initial=0) > 0.85 * (bottom - top):
                return True
    return False


def _captions(labels: list[Label], height: float) -> list[bool]:
    """True for words of a line of text that stands away from all bonds."""
    line: list[int] = []
    found = [False] * len(labels)
    apart = [i for i, label in enumerate(labels) if label.is_apart]
    apart.sort(key=lambda i: (round(labels[i].box[3] / (2 * height)), labels[i].box[0]))
    for i in [*apart, -1]:
        if line and (
            i < 0
            or abs(labels[i].box[3] - labels[line[-1]].box[3]) > height
            or labels[i].box[0] - labels[line[-1]].box[2] > 1.5 * height
        ):
            if sum(len(labels[word].letters) for word in line) >= _LONG_TEXT:
                for word in line:
                    found[word] = True
            line = []
        line.append(i)
    return found


def _collide(labels: tuple[Label, ...], larger: float) -> bool:
    """True if many labels would lie upon others when written so much larger."""
    if len(labels) < 2:
        return False
    anchors = np.concatenate([np.tile(label.anchor, (len(label.letters), 2)) for label in labels])
    boxes = (np.concatenate([label.letters for label in labels]) - anchors) * larger + anchors
    owner = np.repeat(np.arange(len(labels)), [len(label.letters) for label in labels])
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    over = (high > low).all(axis=2) & (owner[:, None] != owner[None])
    return np.unique(owner[over.any(axis=1)]).size > max(1, 0.25 * len(labels))


def _grown(mask: Mask) -> Mask:
    """A mask with the pixels around it, where the edges of a letter fade."""
    image = Image.fromarray(mask.astype(np.uint8) * np.uint8(255))
    return np.asarray(image.filter(ImageFilter.MaxFilter(3))) > 0


def _without(ink: Bytes, found: Components, gone: Mask) -> Bytes:
    """The ink without some components and their faded edges."""
    kept = ink.copy()
    for left, top, right, bottom in found.boxes[gone]:
        box = (
            max(int(left) - 2, 0),
            max(int(top) - 2, 0),
            min(int(right) + 2, ink.shape[1]),
            min(int(bottom) + 2, ink.shape[0]),
        )
        window = kept[box[1] : box[3], box[0] : box[2]]
        window[~_grown(found.mask(~gone, box))] = 0
    return kept
