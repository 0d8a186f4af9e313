"""What stands round a molecule in documents and on screens, and is no part of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ..walk import Graph
from .draw import Drawing, Ink, paste, style, typeset
from .spoil import moved


def _grown(drawing: Drawing, room: tuple[int, int, int, int]) -> Drawing:
    """With paper added to the left, top, right and bottom, in pixels."""
    left, top, right, bottom = room
    ink = np.pad(drawing.ink, ((top, bottom), (left, right)))
    shift = np.array([[1.0, 0.0, left], [0.0, 1.0, top]])
    return Drawing(ink, moved(drawing.graph, shift), drawing.bond)


def _line(bond: float, rng: np.random.Generator) -> int:
    return max(round(bond * float(rng.uniform(0.02, 0.09))), 1)


def _frame(drawing: Drawing, rng: np.random.Generator) -> Drawing:
    """A box round the molecule, or some of its sides, as of a table."""
    bond = drawing.bond
    gap = round(bond * float(rng.uniform(0.1, 2.0)))
    out = _grown(drawing, (gap + 4, gap + 4, gap + 4, gap + 4))
    height, width = out.ink.shape
    thick = _line(bond, rng)
    sides = rng.random(4) < (1.0 if rng.random() < 0.5 else 0.4)
    ink = out.ink
    if sides[0]:
        ink[:, :thick] = 255
    if sides[1]:
        ink[:thick] = 255
    if sides[2]:
        ink[:, width - thick :] = 255
    if sides[3]:
        ink[height - thick :] = 255
    return out


def _largest(drawing: Drawing) -> tuple[int, int]:
    """The first and last column of ink of the largest fragment, where there is room for brackets
    between it and the others; of all ink, if not.
    """
    graph, bond = drawing.graph, drawing.bond
    has_ink = drawing.ink.max(0) > 60
    columns = np.flatnonzero(has_ink)
    whole = (int(columns[0]), int(columns[-1]))
    group = list(range(len(graph.atoms)))
    for a, b, _ in graph.bonds:
        old, new = group[a], group[b]
        group = [new if of == old else of for of in group]
    largest = max(set(group), key=group.count)
    places = graph.places[:, 0]
    inside = np.array([of == largest for of in group])
    wide = round(0.9 * bond)
    left, right = (int(v) for v in (places[inside].min(), places[inside].max()))
    while left > 0 and has_ink[max(left - wide, 0) : left].any():
        left -= 1
    while right < len(has_ink) - 1 and has_ink[right + 1 : right + 1 + wide].any():
        right += 1
    if ((places[~inside] > left - wide) & (places[~inside] < right + wide)).any():
        return whole
    within = np.flatnonzero(has_ink[left : right + 1])
    return (left + int(within[0]), left + int(within[-1])) if len(within) else whole


def _brackets(drawing: Drawing, rng: np.random.Generator) -> Drawing:
    """A pair of square brackets or parentheses as high as the molecule, as of an ion or a repeat,
    often with a letter or sign at their end.
    """
    bond = drawing.bond
    look = replace(style(rng), bond=bond)
    if not (drawing.ink > 60).any():
        return drawing
    first, last = _largest(drawing)
    rows = np.flatnonzero(drawing.ink[:, first : last + 1].max(1) > 60)
    gap = round(bond * float(rng.uniform(0.25, 0.6)))
    room = round(1.8 * bond)
    out = _grown(drawing, (room, room, room, room))
    over = round(bond * float(rng.uniform(0.0, 0.5)))
    top, bottom = int(rows[0]) + room - over, int(rows[-1]) + room + over
    arm = round(bond * float(rng.uniform(0.12, 0.4)))
    thick = _line(bond, rng)
    is_round = rng.random() < 0.2
    for side, x in ((1, first + room - gap), (-1, last + room + gap)):
        if is_round:
            middle, half = (x + side * arm, (top + bottom) // 2), (bottom - top) // 2
            start = 110 if side == 1 else -70
            cv2.ellipse(out.ink, middle, (arm, half), 0, start, start + 140, 255, thick)
            continue
        corners = [(x + side * arm, top), (x, top), (x, bottom), (x + side * arm, bottom)]
        cv2.polylines(out.ink, [np.array(corners)], False, 255, thick)
    if rng.random() < 0.6:
        note = str(rng.choice(["n", "m", "x", "2", "2", "3", "+", "2+", "4+", "\u2212", "2\u2212"]))
        text = typeset(note, [0] * len(note), look, bond * float(rng.uniform(0.25, 0.4)), 0)
        at = top if note[-1] in "+\u2212" else bottom
        pen = last + room + gap + 0.1 * bond - min(box[0] for box in text.boxes)
        paste(out.ink, text.shifted(pen, float(at)), look.font)
    return out


def _arrow(drawing: Drawing, rng: np.random.Generator) -> Drawing:
    """A reaction's arrow to the right or to the left, or a plus."""
    bond = drawing.bond
    room = round(bond * float(rng.uniform(2.5, 5)))
    on_right = rng.random() < 0.5
    out = _grown(drawing, (0, 0, room, 0) if on_right else (room, 0, 0, 0))
    height, width = out.ink.shape
    y = int(height * rng.uniform(0.3, 0.7))
    gap = round(bond * float(rng.uniform(0.8, 1.2)))
    begin, end = (width - room + gap, width - 3) if on_right else (3, room - gap)
    thick = _line(bond, rng)
    if rng.random() < 0.25:
        x, arm = (begin + end) // 2, round(0.25 * bond)
        cv2.line(out.ink, (x - arm, y), (x + arm, y), 255, thick)
        cv2.line(out.ink, (x, y - arm), (x, y + arm), 255, thick)
        return out
    cv2.arrowedLine(
        out.ink, (begin, y), (end, y), 255, thick, tipLength=float(rng.uniform(0.08, 0.25))
    )
    return out


def _numbers(drawing: Drawing, rng: np.random.Generator) -> Drawing:
    """The number of each atom beside it, where there is room."""
    graph, bond = drawing.graph, drawing.bond
    look = replace(style(rng), bond=bond)
    cap = bond * float(rng.uniform(0.16, 0.26))
    around = np.array([[math.cos(a), math.sin(a)] for a in np.arange(8) * math.pi / 4])
    soft = cv2.blur(drawing.ink, (5, 5))
    first = int(rng.integers(2))
    for i, place in enumerate(graph.places):
        number = str(i + first)
        text = typeset(number, [0] * len(number), look, cap, 0)
        spots = place + around * bond * float(rng.uniform(0.26, 0.4))
        for x, y in spots[rng.permutation(8)]:
            boxes = np.array(text.boxes) + np.array([x, y, x, y])
            low = np.floor(boxes[:, :2].min(0)).astype(int) - 1
            high = np.ceil(boxes[:, 2:].max(0)).astype(int) + 1
            if (low < 0).any() or high[0] >= soft.shape[1] or high[1] >= soft.shape[0]:
                continue
            if soft[low[1] : high[1], low[0] : high[0]].max() < 8:
                paste(drawing.ink, text.shifted(float(x), float(y)), look.font)
                break
    return drawing


def _highlit(drawing: Drawing, rng: np.random.Generator) -> Drawing:
    """Coloured discs and bands under some of the atoms and bonds."""
    graph, bond = drawing.graph, drawing.bond
    under: Ink = np.zeros_like(drawing.ink)
    grey = int(rng.integers(15, 110))
    radius = round(bond * float(rng.uniform(0.15, 0.4)))
    chosen = rng.random(len(graph.atoms)) < rng.uniform(0.1, 0.7)
    spots = [(round(float(x)), round(float(y))) for x, y in graph.places]
    for i, spot in enumerate(spots):
        if chosen[i]:
            cv2.circle(under, spot, radius, grey, -1)
    for a, b, _ in graph.bonds:
        if chosen[a] and chosen[b]:
            cv2.line(under, spots[a], spots[b], grey, max(radius, 1))
    return Drawing(np.maximum(drawing.ink, under), graph, bond)


def _tinted(drawing: Drawing, rng: np.random.Generator) -> Drawing:
    """A grey ground, even or with a slope."""
    height, width = drawing.ink.shape
    slope = np.linspace(0, 1, width)[None] * rng.uniform(-1, 1)
    slope = slope + np.linspace(0, 1, height)[:, None] * rng.uniform(-1, 1)
    ground = float(rng.uniform(4, 40)) + slope * float(rng.uniform(0, 20))
    ink = np.clip(np.maximum(drawing.ink, ground), 0, 255).astype(np.uint8)
    return Drawing(ink, drawing.graph, drawing.bond)


def _beside(drawing: Drawing, other: Drawing, rng: np.random.Generator) -> Drawing:
    """The cut end of another drawing at an edge of the picture."""
    bond = drawing.bond
    scale = bond / other.bond
    ink = cv2.resize(other.ink, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    part = round(bond * float(rng.uniform(0.3, 1.2)))
    gap = round(bond * float(rng.uniform(0.9, 2.0)))
    on_right = rng.random() < 0.5
    room = gap + part
    out = _grown(drawing, (0, 0, room, 0) if on_right else (room, 0, 0, 0))
    columns = np.flatnonzero(ink.max(0) > 60)
    if not len(columns):
        return out
    strip = ink[:, columns[0] :][:, :part] if on_right else ink[:, : columns[-1] + 1][:, -part:]
    strip = strip[: out.ink.shape[0]]
    top = int(rng.integers(0, out.ink.shape[0] - len(strip) + 1))
    left = out.ink.shape[1] - strip.shape[1] if on_right else 0
    spot = out.ink[top : top + len(strip), left : left + strip.shape[1]]
    np.maximum(spot, strip, out=spot)
    return out


_OFTEN = (0.13, 0.13, 0.13, 0.13, 0.13, 0.22, 0.13)  # how often each kind of thing is drawn


def surrounded(
    drawing: Drawing, another: Callable[[], Drawing], rng: np.random.Generator
) -> Drawing:
    """A drawing with one or two things round it that are no part of the molecule.

    Args:
        drawing: as a hand drew it.
        another: gives another drawing, of which an end may be seen.
        rng: all chance comes from here.
    """
    if not drawing.graph.atoms:
        return drawing
    for kind in rng.choice(7, size=int(rng.integers(1, 3)), replace=False, p=_OFTEN):
        if kind == 0:
            drawing = _frame(drawing, rng)
        elif kind == 1:
            drawing = _arrow(drawing, rng)
        elif kind == 2:
            drawing = _numbers(drawing, rng)
        elif kind == 3:
            drawing = _highlit(drawing, rng)
        elif kind == 4:
            drawing = _tinted(drawing, rng)
        elif kind == 5:
            drawing = _brackets(drawing, rng)
        else:
            drawing = _beside(drawing, another(), rng)
    return drawing


def photograph(rng: np.random.Generator) -> Drawing:
    """Grey shapes, textures and steps, as of photographs and screens, without a molecule."""
    height, width = (int(v) for v in rng.integers(60, 200, 2))
    shade: NDArray[np.float32] = np.zeros((height, width), np.float32)
    for grain in (60.0, 20.0, 6.0, 2.0):
        rough = rng.standard_normal((int(height / grain) + 2, int(width / grain) + 2))
        smooth = cv2.resize(rough.astype(np.float32), (width, height))
        shade += smooth * float(rng.uniform(0, 60))
    ink = np.clip(shade + float(rng.uniform(-40, 60)), 0, 255).astype(np.uint8)
    for _ in range(int(rng.integers(0, 6))):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        size = int(rng.integers(5, 60))
        grey = int(rng.integers(30, 256))
        if rng.random() < 0.5:
            cv2.circle(ink, (x, y), size, grey, -1 if rng.random() < 0.6 else 2)
        else:
            cv2.rectangle(ink, (x, y), (x + size, y + size), grey, -1 if rng.random() < 0.6 else 2)
    return Drawing(ink, Graph([], np.zeros((0, 2)), []), float(rng.uniform(20, 40)))
