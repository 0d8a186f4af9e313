"""Short printed phrases of a page, such as numbers of compounds, read glyph by glyph.

A glyph is what hangs together, with the dots above it. It is brought to a square of few pixels, and
with its height and its place on the line it is told by a small network of one hidden layer, whose
weights (``weights/glyphs.npz``) are fitted on drawn phrases by ``python -m molgaze.train.glyphs``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .components import components
from .layout import INK_LEVEL, SPECK, Box, Layout, Region, linked
from .scale import Bytes

CLASSES = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz()[]-.,:;=+/'"
SIDE = 18  # px of the square that a glyph is brought to
SIZES = (0.3, 1.9, 3.0)  # letters: least and most height of a glyph, most width
LEAST_HIGH = 0.55  # letters: of a phrase
SPACE = 0.9  # letters: a wider gap parts two phrases,
APART = 2.2  # letters: and one that is wider than this, two lines
BLANK = 0.33  # of the line's height: and one that is wider than this, two words
SOLID = (0.3, 0.45)  # of the darkest ink of a phrase: levels from which on a glyph is looked at
LOWEST = 5  # px: a phrase that is lower is not read
WIDE = 0.75  # heights of the line: what is wider may be two glyphs that touch,
CUTS = 6  # places where they may be cut,
BETTER = 0.08  # and how much surer both halves must be than the whole
LONGEST = 18  # glyphs in a phrase that is read
SHORT = 4  # glyphs: phrases that are no longer may be numbers of lines anywhere on the page
MOST_PHRASES = 200  # of a page
LIKELY = 0.06  # probability of a class that is thought of,
THOUGHT_OF = 3  # of so many at most
MOST_OPTIONS = 64  # of a phrase

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Phrase:
    """A phrase that was read.

    Attributes:
        box: left, top, right, bottom in pixels.
        options: what it may say, with the geometric mean of the probabilities of its glyphs, the
            most probable first.
    """

    box: Box
    options: tuple[tuple[str, float], ...]


def phrases(layout: Layout, taken: Mask, windows: Sequence[Box]) -> list[Phrase]:
    """The short phrases of a page that stand in some windows, and all the very short ones.

    Args:
        layout: of the page.
        taken: (N,) the components that belong to drawings.
        windows: boxes in pixels.
    """
    parts, letter = layout.parts, layout.letter
    wide = parts.boxes[:, 2] - parts.boxes[:, 0]
    high = parts.boxes[:, 3] - parts.boxes[:, 1]
    is_glyph = (high <= SIZES[1] * letter) & (wide <= SIZES[2] * letter) & ~taken
    tall = np.flatnonzero(is_glyph & (high >= SIZES[0] * letter))
    if not len(tall) or not windows:
        return []
    chains, chain = linked(parts.boxes[tall], SPACE * letter / 2, parts.size)
    count = np.bincount(chain, minlength=len(chains))
    # What stands in a longer line is a part of a sentence.
    lines, line = linked(parts.boxes[tall], APART * letter / 2, parts.size)
    is_alone = np.bincount(line, minlength=len(lines))[line] <= LONGEST
    alone = np.ones(len(chains), bool)
    np.logical_and.at(alone, chain, is_alone)
    boxes = chains.boxes
    near = np.zeros(len(chains), bool)
    for left, top, right, bottom in windows:
        near |= (
            (boxes[:, 0] < right)
            & (boxes[:, 2] > left)
            & ((boxes[:, 1] < bottom) & (boxes[:, 3] > top))
        )
    small = np.flatnonzero(is_glyph & (high < SIZES[0] * letter))
    found = []
    wanted = alone & (count <= LONGEST) & (near | (count <= SHORT))
    for k in np.flatnonzero(wanted)[:MOST_PHRASES].tolist():
        own = tall[chain == k]
        left, top = parts.boxes[own, :2].min(0)
        right, bottom = parts.boxes[own, 2:].max(0)
        if bottom - top < LEAST_HIGH * letter:
            continue  # a comma, or a stroke of something
        # Dots, dashes and the like that stand in the line or right above it.
        x, y = parts.boxes[small, ::2].mean(1), parts.boxes[small, 1::2].mean(1)
        reach = 0.5 * (bottom - top)
        inside = (x > left - reach) & (x < right + reach) & (y > top - reach)
        inside &= y < bottom + 0.5 * reach
        members = np.concatenate([own, small[inside]])
        box = layout.around(members)
        ink = layout.shown(Region(box, members, 0), 0)
        options = [
            option
            for glyphs in (line_of(ink, solid) for solid in SOLID)
            if glyphs is not None
            for option in _options(probabilities(glyphs.features), glyphs.blanks)
        ]
        if options:
            found.append(Phrase(box, tuple(sorted(options, key=lambda o: -o[1]))))
    return found


# --- from ink to numbers ---


@dataclass(frozen=True, eq=False)
class Line:
    """The glyphs of a phrase, from left to right.

    Attributes:
        boxes: (K, 4) left, top, right, bottom of each, in pixels.
        features: (K, SIDE ** 2 + 4) what the network is given.
        blanks: (K,) whether there is a blank before each.
    """

    boxes: NDArray[np.int64]
    features: Floats
    blanks: Mask


def line_of(ink: Bytes, solid: float = SOLID[0], is_cut: bool = True) -> Line | None:
    """The glyphs of a phrase; None if nothing of it is as high as a letter.

    Args:
        ink: (h, w) uint8 of the phrase alone, 255 ink.
        solid: share of its darkest ink: what is lighter is the edge of a glyph.
        is_cut: whether what is wide is cut in two if the network knows both halves better.
    """
    mask = ink >= max(solid * float(ink.max(initial=0)), INK_LEVEL)
    parts = components(mask)
    order = np.argsort(parts.boxes[:, 0], kind="stable")
    boxes: list[list[int]] = []
    for k in order[parts.areas[order] > SPECK].tolist():
        left, top, right, bottom = parts.boxes[k].tolist()
        if boxes:
            last = boxes[-1]
            common = min(last[2], right) - max(last[0], left)
            if common > 0.6 * min(last[2] - last[0], right - left):  # the dot of an i
                boxes[-1] = [min(last[0], left), min(last[1], top),
                             max(last[2], right), max(last[3], bottom)]  # fmt: skip
                continue
        boxes.append([left, top, right, bottom])
    placed = np.array(boxes).reshape(-1, 4)
    heights = placed[:, 3] - placed[:, 1]
    tall = heights > 0.6 * heights.max(initial=0)
    if not tall.any() or heights.max() < LOWEST:
        return None
    high, base = float(np.median(heights[tall])), float(np.median(placed[tall, 3]))
    glyphs = [
        glyph
        for box in placed.tolist()
        for glyph in (_cut(ink, mask, box, high, base) if is_cut else [box])
    ]
    placed = np.array(glyphs)
    features = np.stack([_features(mask, glyph, high, base) for glyph in glyphs])
    blanks = np.r_[False, placed[1:, 0] - placed[:-1, 2] > BLANK * high]
    return Line(placed, features, blanks)


def _cut(ink: Bytes, mask: Mask, box: list[int], high: float, base: float) -> list[list[int]]:
    """A glyph, or the two or more that touch in it."""
    left, top, right, bottom = box
    if right - left < WIDE * high:
        return [box]
    columns = ink[top:bottom, left:right].sum(0, dtype=np.int64)
    reach = 0.2 * high
    inner = np.arange(math.ceil(reach), math.floor(right - left - reach))
    order = inner[np.argsort(columns[inner], kind="stable")][:CUTS]
    ways = [
        [
            _trimmed(mask, [left, top, left + k, bottom]),
            _trimmed(mask, [left + k, top, right, bottom]),
        ]
        for k in order.tolist()
    ]
    rows = [box, *(piece for way in ways for piece in way)]
    said = probabilities(np.stack([_features(mask, row, high, base) for row in rows])).max(1)
    halves = np.sqrt(said[1::2] * said[2::2])
    if not len(halves) or halves.max() < said[0] + BETTER:
        return [box]
    chosen = ways[int(halves.argmax())]
    return [glyph for half in chosen for glyph in _cut(ink, mask, half, high, base)]


def _trimmed(mask: Mask, box: list[int]) -> list[int]:
    """A box without empty rows above and below."""
    left, top, right, bottom = box
    rows = np.flatnonzero(mask[top:bottom, left:right].any(1))
    return [left, top + int(rows[0]), right, top + int(rows[-1]) + 1] if len(rows) else box


def _features(mask: Mask, box: list[int], high: float, base: float) -> Floats:
    """A glyph in its square, its sides and its place on the line in heights of the line."""
    left, top, right, bottom = box
    image = Image.fromarray(mask[top:bottom, left:right].astype(np.uint8) * 255)
    factor = SIDE / max(image.size)
    size = (max(round(image.width * factor), 1), max(round(image.height * factor), 1))
    square = Image.new("L", (SIDE, SIDE))
    square.paste(
        image.resize(size, Image.Resampling.BOX if factor < 1 else Image.Resampling.BILINEAR),
        ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2),
    )
    pixels = np.asarray(square, np.float32).ravel() / np.float32(255)
    places = np.array([bottom - top, right - left, base - bottom, base - top]) / high
    return np.concatenate([pixels, np.clip(places, -2, 4)]).astype(np.float32)


# --- the network ---


@cache
def _weights() -> tuple[Floats, Floats, Floats, Floats]:
    path = resources.files("molgaze") / "weights" / "glyphs.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        hidden, shift, out, bias = (
            stored[name].astype(np.float32) for name in ("hidden", "shift", "out", "bias")
        )
    return hidden, shift, out, bias


def probabilities(
    features: Floats, weights: tuple[Floats, Floats, Floats, Floats] | None = None
) -> Floats:
    """(N, len(CLASSES)) the probability of each class.

    Args:
        features: (N, SIDE ** 2 + 4) of the glyphs.
        weights: of the hidden layer, its bias, of the output and its bias; those that are shipped
            if None.
    """
    hidden, shift, out, bias = weights or _weights()
    scores = np.maximum(features @ hidden + shift, 0) @ out + bias
    raised = np.exp(scores - scores.max(1, keepdims=True))
    return np.asarray(raised / raised.sum(1, keepdims=True), np.float32)


def _options(said: Floats, blanks: Mask) -> tuple[tuple[str, float], ...]:
    """What a phrase may say, the most probable first."""
    best = np.argsort(-said, axis=1)[:, :THOUGHT_OF]
    choices: list[list[tuple[str, float]]] = []
    for row, classes in zip(said, best, strict=True):
        likely = [(CLASSES[c], float(row[c])) for c in classes if row[c] > LIKELY]
        choices.append(likely or [(CLASSES[classes[0]], float(row[classes[0]]))])
    # The least doubtful glyphs are settled first, so that few options are left.
    for k in sorted(range(len(choices)), key=lambda k: -choices[k][0][1]):
        if math.prod(len(c) for c in choices) <= MOST_OPTIONS:
            break
        choices[k] = choices[k][:1]
    found = []
    for way in product(*choices):
        text = "".join(
            (" " if blank else "") + c for (c, _), blank in zip(way, blanks, strict=True)
        )
        mean = math.exp(sum(math.log(max(p, 1e-9)) for _, p in way) / len(way))
        found.append((text, mean))
    return tuple(sorted(found, key=lambda option: -option[1]))
