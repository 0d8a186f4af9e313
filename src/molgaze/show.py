"""The gaze drawn over its picture, and the molecule that was read beside it.

>>> sheet = load("drawing.png")  # doctest: +SKIP
>>> show(sheet, Reader().read("drawing.png")).save("gaze.png")  # doctest: +SKIP
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFont

from . import walk
from .document import Document
from .picture import PictureError, Sheet, Source, load
from .reading import Reading, redraw

Point: TypeAlias = tuple[float, float]
Colour: TypeAlias = tuple[int, int, int]
Font: TypeAlias = "ImageFont.FreeTypeFont | ImageFont.ImageFont"

DOUBTFUL = 0.9
"""Tokens less probable than this are marked."""

BOND = 64.0  # px of a bond in the figure, where the panel's limits allow it
MIN_PANEL, MAX_PANEL = 400, 1100  # px of a panel's longer side
FINE = 3  # drawn so much larger and shrunk: Pillow's own lines are jagged
FADE = 0.5  # of the ink that stays under the gaze
GAP = 20  # px around panels and text
TEXT = 15  # px

WHITE: Colour = (255, 255, 255)
BLACK: Colour = (30, 41, 59)
JUMP: Colour = (100, 116, 139)
RING: Colour = (192, 38, 211)
DOUBT: Colour = (220, 38, 38)
RULE: Colour = (226, 232, 240)
#: From the first step to the last.
PATH: tuple[Colour, ...] = ((29, 78, 216), (13, 148, 136), (217, 119, 6))


@dataclass(frozen=True, slots=True)
class Move:
    """The gaze goes from one place to another at a step of the walk.

    Attributes:
        kind: ``bond`` to an atom that it writes, ``ring`` to look at an atom that it closes a ring
            with, ``jump`` back to an atom, or on to a new fragment.
        step: index of the token.
        start, end: (x, y) in pixels of the original picture.
    """

    kind: Literal["bond", "ring", "jump"]
    step: int
    start: Point
    end: Point


def moves(tokens: Sequence[str], places: Sequence[Point]) -> list[Move]:
    """The moves of a walk from atom to atom; places that are not finite are left out."""
    found: list[Move] = []
    here: Point | None = None
    for i, (token, place) in enumerate(zip(tokens, places, strict=False)):
        if not all(map(math.isfinite, place)):
            continue
        if token in (walk.JUMP, walk.FRAGMENT):
            if here is not None and here != place:
                found.append(Move("jump", i, here, place))
            here = place
        elif walk.is_atom(token) or token == walk.OPEN:
            if here is not None and tokens[i - 1 : i] != (walk.FRAGMENT,) and here != place:
                found.append(Move("bond", i, here, place))
            here = place
        elif token == walk.RING and here is not None:
            found.append(Move("ring", i, here, place))
    return found


def figure_format(path: str | os.PathLike[str]) -> str | None:
    """What Pillow calls the format of a figure, by the suffix of its path; None if it has none."""
    form = Image.registered_extensions().get(Path(path).suffix.lower())
    return form if form in Image.SAVE else None


def figure(reading: Reading, picture: Source | None = None) -> Image.Image:
    """The figure of :func:`show`, of a picture or of the part of a page that was read.

    Args:
        reading: of that picture, or of a drawing on that document.
        picture: by default the file that the reading names as its source.

    Raises:
        PictureError: the picture cannot be opened, or no file has the name of the source.
    """
    if picture is None:
        if not reading.source or not os.path.exists(reading.source):
            reason = "no file has this name: give the picture that was read"
            raise PictureError(reading.source or "reading", "missing", reason)
        picture = reading.source
    page = reading.page or 1
    if reading.box is None:
        return show(load(picture, page), reading)
    with Document(picture) as document:
        drawn = document.page(page)
    scale = drawn.scale
    return show(
        drawn.sheet,
        replace(
            reading,
            places=tuple((x * scale, y * scale) for x, y in reading.places),
            scale=reading.scale and reading.scale * scale,
            box=tuple(side * scale for side in reading.box),
        ),
    )


def show(sheet: Sheet, reading: Reading) -> Image.Image:
    """One figure: the picture with the gaze over it, the molecule read, and what was doubtful.

    Args:
        sheet: the picture that was read, as :func:`molgaze.picture.load` gives it.
        reading: of that picture; one without tokens leaves the picture bare, and one with a box
            shows what is in it, in pixels of the picture.
    """
    frame = _Frame.around(sheet, reading)
    gaze = frame.picture(sheet)
    if reading.tokens:
        _Pen(frame, gaze, reading).draw()
    gaze = gaze.resize(frame.size, Image.Resampling.BOX)
    width, height = frame.size
    beside = width < 1.5 * height
    across = 2 * width + GAP if beside else width
    caption = _caption(reading, max(across, 2 * MIN_PANEL if beside else MIN_PANEL))
    whole = (caption.width, (height if beside else 2 * height + GAP) + caption.height + GAP)
    figure = Image.new("RGB", (whole[0] + 2 * GAP, whole[1] + 2 * GAP), WHITE)
    left = GAP + (caption.width - across) // 2
    figure.paste(gaze, (left, GAP))
    second = (left + width + GAP, GAP) if beside else (left, GAP + height + GAP)
    figure.paste(_molecule(reading, frame.size), second)
    ruler = ImageDraw.Draw(figure)
    if beside:
        x = left + width + GAP // 2
        ruler.line((x, GAP, x, GAP + height), RULE)
    else:
        ruler.line((left, GAP + height + GAP // 2, left + width, GAP + height + GAP // 2), RULE)
    figure.paste(caption, (GAP, figure.height - caption.height - GAP))
    return figure


@dataclass(frozen=True, slots=True)
class _Frame:
    """The part of the picture that is shown, and how large.

    Attributes:
        box: left, top, right, bottom in pixels of the original picture.
        factor: figure pixels for one of the original.
        bond: of a bond in the figure, px.
    """

    box: tuple[int, int, int, int]
    factor: float
    bond: float

    @classmethod
    def around(cls, sheet: Sheet, reading: Reading) -> _Frame:
        bond = reading.scale if reading.scale and math.isfinite(reading.scale) else sheet.bond
        bond = min(max(bond, 2.0), float(max(sheet.size)))
        left, top, right, bottom = reading.box or sheet.box
        margin = 0.6 * bond
        box = (
            math.floor(left - margin),
            math.floor(top - margin),
            math.ceil(right + margin),
            math.ceil(bottom + margin),
        )
        side = max(box[2] - box[0], box[3] - box[1])
        factor = min(max(BOND / bond, MIN_PANEL / side), MAX_PANEL / side)
        return cls(box, factor, bond * factor)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in px of the figure."""
        width, height = self.box[2] - self.box[0], self.box[3] - self.box[1]
        return max(1, round(width * self.factor)), max(1, round(height * self.factor))

    def picture(self, sheet: Sheet) -> Image.Image:
        """The paper with its ink faded, FINE times as large as in the figure."""
        ink = Image.fromarray(sheet.ink).crop(self.box)
        paper = ImageChops.invert(ink.point([round(FADE * level) for level in range(256)]))
        size = (self.size[0] * FINE, self.size[1] * FINE)
        return paper.resize(size, Image.Resampling.BICUBIC).convert("RGB")

    def at(self, place: Point) -> Point:
        """Pixels of the original picture -> pixels of :meth:`picture`."""
        scale = self.factor * FINE
        return (place[0] - self.box[0]) * scale, (place[1] - self.box[1]) * scale


class _Pen:
    """Draws a walk on a picture of a frame."""

    def __init__(self, frame: _Frame, canvas: Image.Image, reading: Reading) -> None:
        self.frame, self.canvas, self.reading = frame, canvas, reading
        self.pen = ImageDraw.Draw(canvas, "RGBA")
        self.bond = frame.bond * FINE
        self.unit = min(max(self.bond, 28.0 * FINE), 1.2 * BOND * FINE)  # sizes of marks
        # What a model says may lie anywhere: far off the paper it is not drawn at all.
        width, height = canvas.size
        self.marks = [
            (i, token, self.frame.at(place))
            for i, (token, place) in enumerate(zip(reading.tokens, reading.places, strict=False))
            if all(map(math.isfinite, place))
            and -width < self.frame.at(place)[0] < 2 * width
            and -height < self.frame.at(place)[1] < 2 * height
        ]
        self.seen = {i for i, _, _ in self.marks}

    def draw(self) -> None:
        """Moves first, then marks, then numbers: each lies over the one before."""
        found = [m for m in moves(self.reading.tokens, self.reading.places) if m.step in self.seen]
        for move in found:
            start, end = self.frame.at(move.start), self.frame.at(move.end)
            if move.kind == "bond":
                self._stroke(start, end, self._tone(move.step))
            elif move.kind == "ring":
                self._closure(start, end)
        for move in found:
            if move.kind == "jump":
                self._jump(self.frame.at(move.start), self.frame.at(move.end))
        for step, token, place in self.marks:
            self._mark(step, token, place)
        for step, place in self._beside():
            self._number(step, place)

    def _tone(self, step: int) -> Colour:
        """The path's colour at a step."""
        along = (len(PATH) - 1) * step / max(1, len(self.reading.tokens) - 1)
        low = min(int(along), len(PATH) - 2)
        a, b, t = PATH[low], PATH[low + 1], along - low
        return tuple(round(x + (y - x) * t) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]

    def _line(self, points: Sequence[Point], colour: tuple[int, ...], width: float) -> None:
        self.pen.line([*points], colour, round(width), joint="curve")

    def _disc(self, place: Point, radius: float, fill: tuple[int, ...]) -> None:
        x, y = place
        self.pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill)

    def _circle(self, place: Point, radius: float, colour: Colour, width: float) -> None:
        x, y = place
        box = (x - radius, y - radius, x + radius, y + radius)
        self.pen.ellipse(box, outline=colour, width=round(width))

    def _arrow(self, tip: Point, towards: Point, size: float, colour: Colour) -> None:
        """A head whose tip lies at a place and points along a direction."""
        dx, dy = towards
        norm = math.hypot(dx, dy) or 1.0
        dx, dy = dx / norm * size, dy / norm * size
        x, y = tip
        self.pen.polygon(
            [
                (x, y),
                (x - dx - 0.55 * dy, y - dy + 0.55 * dx),
                (x - 0.7 * dx, y - 0.7 * dy),
                (x - dx + 0.55 * dy, y - dy - 0.55 * dx),
            ],
            colour,
        )

    def _stroke(self, start: Point, end: Point, colour: Colour) -> None:
        """A bond that the gaze crosses: a broad band under which the ink stays visible."""
        self._line((start, end), (*colour, 110), 0.13 * self.unit)
        dx, dy = end[0] - start[0], end[1] - start[1]
        if math.hypot(dx, dy) > 0.45 * self.unit:
            # Past the middle, where marks of bonds lie.
            tip = (start[0] + 0.72 * dx, start[1] + 0.72 * dy)
            self._arrow(tip, (dx, dy), 0.2 * self.unit, colour)

    def _closure(self, start: Point, end: Point) -> None:
        """A look at the atom that closes a ring: dots along the bond, a circle at its end."""
        for place in _along((start, end), 0.17 * self.unit):
            self._disc(place, 0.055 * self.unit, RING)
        self._circle(end, 0.19 * self.unit, RING, 0.05 * self.unit)

    def _jump(self, start: Point, end: Point) -> None:
        """A way through the air: a dashed arc that keeps clear of bonds."""
        dx, dy = end[0] - start[0], end[1] - start[1]
        length = math.hypot(dx, dy) or 1.0
        bow = min(0.28, 1.5 * self.unit / length)
        middle = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
        # The arc's highest point stays on the paper.
        x = min(max(middle[0] - bow * dy, 0.1 * self.unit), self.canvas.width - 0.1 * self.unit)
        y = min(max(middle[1] + bow * dx, 0.1 * self.unit), self.canvas.height - 0.1 * self.unit)
        top = 2 * x - middle[0], 2 * y - middle[1]
        arc = [
            (
                (1 - t) ** 2 * start[0] + 2 * t * (1 - t) * top[0] + t * t * end[0],
                (1 - t) ** 2 * start[1] + 2 * t * (1 - t) * top[1] + t * t * end[1],
            )
            for t in np.linspace(0.0, 1.0, 9 + round(20 * length / self.unit)).tolist()
        ]
        dash = [*_along(arc, 0.08 * self.unit)]
        for i in range(0, len(dash) - 2, 3):
            self._line(dash[i : i + 3 : 2], (*JUMP, 220), 0.04 * self.unit)
        tip = _back_from(arc, 0.16 * self.unit)
        self._arrow(tip, (end[0] - tip[0], end[1] - tip[1]), 0.18 * self.unit, JUMP)

    def _mark(self, step: int, token: str, place: Point) -> None:
        """A dot at the place of a token; a halo if it is doubtful."""
        colour = self._tone(step)
        if step in _doubtful(self.reading):
            self._disc(place, 0.3 * self.unit, (*DOUBT, 50))
            self._circle(place, 0.3 * self.unit, DOUBT, 0.045 * self.unit)
        if walk.is_atom(token) or token == walk.OPEN:
            self._disc(place, 0.115 * self.unit, WHITE)
            self._disc(place, 0.085 * self.unit, colour)
            if step == self.marks[0][0]:
                self._circle(place, 0.2 * self.unit, colour, 0.05 * self.unit)
        elif walk.is_glyph(token) or token in walk.BONDS:
            self._disc(place, 0.06 * self.unit, WHITE)
            self._disc(place, 0.042 * self.unit, colour)

    def _beside(self) -> Iterator[tuple[int, Point]]:
        """Steps to number, each at a spot beside its place that is free of bonds."""
        graph, _ = walk.decode(self.reading.tokens, self.reading.places)
        ways: list[list[float]] = [[] for _ in graph.atoms]
        for a, b, _ in graph.bonds:
            dx, dy = graph.places[b] - graph.places[a]
            ways[a].append(math.atan2(dy, dx))
            ways[b].append(math.atan2(-dy, -dx))
        atoms = {step: i for i, step in enumerate(graph.steps)}
        doubtful = _doubtful(self.reading)
        for step, token, (x, y) in self.marks:
            if step not in atoms and step not in doubtful:
                continue
            busy: list[float] = []
            if step in atoms:
                busy = ways[atoms[step]]
            elif token in (walk.JUMP, walk.RING):
                apart = np.linalg.norm(graph.places - self.reading.places[step], axis=1)
                busy = ways[int(apart.argmin())]
            angle = _widest(busy)
            busy.append(angle)
            reach = (0.5 if token == walk.OPEN else 0.36) * self.unit
            yield step, (x + reach * math.cos(angle), y + reach * math.sin(angle))

    def _number(self, step: int, place: Point) -> None:
        colour = DOUBT if step in _doubtful(self.reading) else self._tone(step)
        size = min(0.24 * self.unit, 15.0 * FINE)
        font = _font(size)
        text = str(step + 1)
        half = (font.getlength(text) / 2 + 0.3 * size, 0.66 * size)
        x = min(max(place[0], half[0]), self.canvas.width - half[0])
        y = min(max(place[1], half[1]), self.canvas.height - half[1])
        box = (x - half[0], y - half[1], x + half[0], y + half[1])
        self.pen.rounded_rectangle(box, half[1], (255, 255, 255, 225))
        self.pen.text((x, y), text, colour, font, anchor="mm")


def _doubtful(reading: Reading) -> list[int]:
    """Steps whose tokens are less probable than DOUBTFUL."""
    return [i for i, p in enumerate(reading.probabilities) if p < DOUBTFUL]


def _along(points: Sequence[Point], step: float) -> Iterator[Point]:
    """Places along a line of points, so far from one another."""
    ahead = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        length = math.hypot(x1 - x0, y1 - y0)
        while ahead <= length and length:
            t = ahead / length
            yield x0 + t * (x1 - x0), y0 + t * (y1 - y0)
            ahead += step
        ahead -= length


def _back_from(points: Sequence[Point], distance: float) -> Point:
    """The last point of a line that is so far from its end; the middle one of a short line."""
    x, y = points[-1]
    far = (p for p in reversed(points) if math.hypot(p[0] - x, p[1] - y) >= distance)
    return next(far, points[len(points) // 2])


def _widest(angles: Sequence[float]) -> float:
    """The middle of the widest gap between directions; up if there are none."""
    if not angles:
        return -math.pi / 2
    around = sorted(a % (2 * math.pi) for a in angles)
    around.append(around[0] + 2 * math.pi)
    low, high = max(pairwise(around), key=lambda pair: pair[1] - pair[0])
    return (low + high) / 2


# ---- beside the picture ---------------------------------------------------------------------


def _font(size: float) -> Font:
    # Pillow carries this one, so a figure looks the same on every machine.
    return ImageFont.load_default(max(size, 6.0))


def _molecule(reading: Reading, size: tuple[int, int]) -> Image.Image:
    """The molecule redrawn, or a line that says why there is none; size (width, height)."""
    drawn = redraw(reading, (size[1], size[0]))
    if drawn is not None:
        with Image.open(io.BytesIO(drawn)) as picture:
            return picture.convert("RGB")
    panel = Image.new("RGB", size, WHITE)
    text = "could not be read" if reading.error else "no molecule"
    pen = ImageDraw.Draw(panel)
    pen.text((size[0] / 2, size[1] / 2), text, JUMP, _font(TEXT), anchor="mm")
    return panel


def _caption(reading: Reading, width: int) -> Image.Image:
    """SMILES, confidence, doubtful tokens and the legend."""
    font = _font(TEXT)
    lines = [(line, BLACK) for line in _wrapped(reading.smiles or reading.error or "", font, width)]
    facts = [f"{len(reading.tokens)} steps"]
    if reading.smiles:
        facts.insert(0, f"confidence {reading.confidence:.2f}")
    lines.append((",  ".join(facts), JUMP))
    doubtful = [
        f"{i + 1} {reading.tokens[i].lstrip(chr(39))} {reading.probabilities[i]:.0%}"
        for i in _doubtful(reading)
        if i < len(reading.tokens)
    ]
    if doubtful:
        more = f",  and {len(doubtful) - 8} more" if len(doubtful) > 8 else ""
        text = "doubtful:  " + ",  ".join(doubtful[:8]) + more
        lines += [(line, DOUBT) for line in _wrapped(text, font, width)]
    row = round(1.5 * TEXT)
    legend = _legend(width)
    panel = Image.new("RGB", (width, row * len(lines) + legend.height + TEXT // 2), WHITE)
    pen = ImageDraw.Draw(panel)
    for i, (line, colour) in enumerate(lines):
        pen.text((0, i * row + row / 2), line, colour, font, anchor="lm")
    panel.paste(legend, (0, panel.height - legend.height))
    return panel


def _wrapped(text: str, font: Font, width: int) -> list[str]:
    """Text on lines that fit, three at most, cut anywhere as SMILES have no blanks; dots stand for
    what is left out.
    """
    lines: list[str] = []
    text = "".join(c if c.isprintable() else "?" for c in text[:2000])
    while text and len(lines) < 3:
        count = len(text)
        while count > 1 and font.getlength(text[:count]) > width:
            count = min(count - 1, int(count * width / font.getlength(text[:count])) + 1)
        lines.append(text[:count])
        text = text[count:]
    if text:
        lines[-1] = lines[-1][:-3] + "..."
    return lines


def _legend(width: int) -> Image.Image:
    font = _font(0.85 * TEXT)
    row, sample = round(1.7 * TEXT), round(2.4 * TEXT)
    spots: list[tuple[str, int, int]] = []
    x = y = 0
    for name in ("first to last step", "ring closure", "jump", f"under {DOUBTFUL:.0%} sure"):
        span = round(sample + 0.5 * TEXT + font.getlength(name))
        if x and x + span > width:
            x, y = 0, y + row
        spots.append((name, x, y))
        x += span + round(1.4 * TEXT)
    panel = Image.new("RGB", (width, y + row), WHITE)
    pen = ImageDraw.Draw(panel)
    for i, (name, x, y) in enumerate(spots):
        swatch = Image.new("RGB", (sample * FINE, row * FINE), WHITE)
        _sample(swatch, i)
        panel.paste(swatch.resize((sample, row), Image.Resampling.BOX), (x, y))
        pen.text((x + sample + 0.5 * TEXT, y + row / 2), name, JUMP, font, anchor="lm")
    return panel


def _sample(swatch: Image.Image, entry: int) -> None:
    """What an entry of the legend looks like."""
    frame = _Frame((0, 0, 1, 1), 1.0, 40.0)
    pen = _Pen(frame, swatch, Reading(tokens=("C",) * 24))
    width, middle = swatch.width, swatch.height / 2
    start, end = (0.08 * width, middle), (0.8 * width, middle)
    if entry == 0:
        for i in range(24):
            a = (start[0] + (end[0] - start[0]) * i / 24, middle)
            b = (start[0] + (end[0] - start[0]) * (i + 1) / 24, middle)
            pen._line((a, b), pen._tone(i), 0.13 * pen.unit)
    elif entry == 1:
        pen._closure(start, end)
    elif entry == 2:
        pen._jump((start[0], 0.3 * swatch.height), (end[0], 0.3 * swatch.height))
    else:
        pen.reading = Reading(tokens=("=",), probabilities=(0.0,))
        pen._mark(0, "=", (width / 2, middle))
