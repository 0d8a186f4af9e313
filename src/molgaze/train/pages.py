"""The head that tells drawings of molecules from all else on a page, fitted on drawn pages.

    python -m molgaze.train.pages src/molgaze/weights --data molecules.smi.gz

A page is drawn with molecules, text, tables, plots, spectra, formulas, charts, gels and pictures on
it. Its regions are found as a reader finds them, each is shown alone to the encoder, and a logistic
regression over the mean and the maximum of the features learns which of them are molecules. Its
weights are kept in the metadata of ``encoder.onnx``, and must be fitted anew for every encoder.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from rdkit import Chem

from ..components import components
from ..gaze import Net
from ..layout import INK_LEVEL, Layout
from ..page import HEAD, summary
from ..picture import PictureError
from .corpus import Corpus, drawable, layout
from .draw import fonts, usual_fonts
from .hands import hand
from .metadata import add_metadata

Rng = np.random.Generator
Ink = NDArray[np.uint8]

SIZE = (1500, 1650)  # px, height and width of a drawn page at 200 dots an inch
WHOLE = 0.93  # share of a molecule's ink in a region, from which on it is the molecule
SMALL = 0.15  # share of small molecules
TURNED = 0.1  # share of blocks that are turned by a right angle
PURE = 0.95  # share of a region's ink that is one molecule's, from here on
PENALTY = 10.0  # on the squared weights, for features of unit variance


@dataclass
class Drawn:
    """A drawn page.

    Attributes:
        ink: (H, W) uint8, 0 paper to 255 ink.
        owner: (H, W) int16, the number of the molecule whose ink it is, from 1; 0 for all else.
    """

    ink: Ink
    owner: NDArray[np.int16]


# --- what stands on pages ---


def _canvas(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("L", (max(width, 8), max(height, 8)), 0)
    return image, ImageDraw.Draw(image)


def _font(rng: Rng, size: float, usual: float = 0.7) -> ImageFont.FreeTypeFont:
    names = usual_fonts() if rng.random() < usual else fonts()
    return ImageFont.truetype(names[int(rng.integers(len(names)))], max(int(size), 5))


_CONSONANTS, _VOWELS = "bcdfghlmnprstvw", "aeiou"


def _word(rng: Rng) -> str:
    kind = rng.random()
    if kind < 0.06:
        return f"{rng.integers(1, 2000)}" + ("" if rng.random() < 0.5 else ".")
    if kind < 0.1:
        return "".join(rng.choice(list("ABCDEFGHIKLMNOPRSTX"), int(rng.integers(2, 5))))
    if kind < 0.13:
        return str(
            rng.choice(["(1a)", "[12]", "10%", "H2O", "CH2Cl2", "-78", "NaOH", "et", "al.,"])
        )
    syllables = rng.integers(1, 5)
    word = "".join(
        str(rng.choice(list(_CONSONANTS))) + str(rng.choice(list(_VOWELS)))
        for _ in range(syllables)
    )
    word += str(rng.choice(["", "n", "s", "r", "t", "l", "ng", "m"]))
    if rng.random() < 0.1:
        word = word.capitalize()
    return word + ("," if rng.random() < 0.06 else "." if rng.random() < 0.05 else "")


def _words(rng: Rng, count: int) -> str:
    return " ".join(_word(rng) for _ in range(count))


def _text(rng: Rng, width: int, size: float) -> Ink:
    """A paragraph, a caption or a headline."""
    font = _font(rng, size)
    count = int(rng.integers(1, 14))
    step = size * float(rng.uniform(1.1, 1.6))
    image, pen = _canvas(width, int(step * count + size))
    for k in range(count):
        line = _word(rng)
        last = rng.random() if k == count - 1 else 1.0
        while pen.textlength(line, font) < width * 0.95 * last:
            line += " " + _word(rng)
        while " " in line and pen.textlength(line, font) > width:
            line = line.rpartition(" ")[0]
        pen.text((0, k * step), line, 255, font)
        if rng.random() < 0.03:
            y = int(k * step + size)
            pen.line([(0, y), (int(pen.textlength(line, font)), y)], 255, 1)
    return np.array(image)


def _table(rng: Rng, width: int, size: float) -> Ink:
    font = _font(rng, size)
    rows, columns = int(rng.integers(3, 12)), int(rng.integers(2, 7))
    high, wide = int(size * rng.uniform(1.4, 2.6)), width // columns
    image, pen = _canvas(width, rows * high + 3)
    style = rng.random()
    for k in range(rows + 1):
        if style < 0.5 or k in (0, 1, rows):
            pen.line([(0, k * high), (columns * wide, k * high)], 255, int(rng.integers(1, 4)))
    for k in range(columns + 1):
        if style < 0.35:
            pen.line([(k * wide, 0), (k * wide, rows * high)], 255, int(rng.integers(1, 3)))
    for i in range(rows):
        for j in range(columns):
            cell = _word(rng) if rng.random() < 0.4 else f"{rng.normal(20, 30):.{rng.integers(4)}f}"
            if rng.random() < 0.06:
                cell = "—"
            pen.text((j * wide + size * 0.4, i * high + size * 0.2), cell, 255, font)
    return np.array(image)


def _curve(rng: Rng, count: int) -> NDArray[np.float64]:
    kind = rng.integers(5)
    x = np.linspace(0, 1, count)
    y: NDArray[np.float64]
    if kind == 0:
        y = np.cumsum(rng.normal(0, 1, count))
    elif kind == 1:
        y = 1 / (1 + np.exp(-(x - rng.random()) * rng.uniform(5, 30)))
    elif kind == 2:
        y = np.sin(x * rng.uniform(3, 40)) * np.exp(-x * rng.uniform(0, 4))
    elif kind == 3:
        tops = rng.random((6, 2))
        widths = rng.uniform(0.005, 0.1, 6)[:, None]
        y = (tops[:, :1] * np.exp(-(((x - tops[:, 1:]) / widths) ** 2))).sum(0)
    else:
        y = x ** rng.uniform(0.3, 3) + rng.normal(0, 0.03, count)
    return np.asarray((y - y.min()) / max(float(np.ptp(y)), 1e-9))


def _plot(rng: Rng, width: int, size: float) -> Ink:
    """Axes with ticks, curves, points with error bars, bars, a legend."""
    height = int(width * rng.uniform(0.4, 1.0))
    image, pen = _canvas(width, height)
    font = _font(rng, size * rng.uniform(0.7, 1.1))
    left, bottom, line = int(4 * size), height - int(2.5 * size), int(rng.integers(1, 4))
    right, top = width - int(size), int(size)
    if rng.random() < 0.5:
        pen.rectangle([left, top, right, bottom], None, 255, line)
    else:
        pen.line([(left, top), (left, bottom), (right, bottom)], 255, line)
    for k in range(int(rng.integers(3, 9))):
        x, y = left + (right - left) * k / 8, bottom - (bottom - top) * k / 8
        pen.line([(x, bottom), (x, bottom + size * 0.4)], 255, line)
        pen.line([(left - size * 0.4, y), (left, y)], 255, line)
        pen.text((x - size * 0.5, bottom + size * 0.6), f"{k * rng.integers(1, 20)}", 255, font)
        pen.text((left - size * 2.4, y - size * 0.5), f"{k * 0.1:.1f}", 255, font)
    pen.text(((left + right) / 2, bottom + size * 1.3), _words(rng, 2), 255, font)
    bars = rng.random() < 0.3
    for k in range(int(rng.integers(1, 5))):
        count = int(rng.integers(4, 12)) if bars else int(rng.integers(4, 200))
        values = _curve(rng, count)
        xs = np.linspace(left, right, count).tolist()
        ys = (bottom - values * (bottom - top) * 0.9).tolist()
        if bars:
            half = (right - left) / count / 4
            for a, b in zip(xs, ys, strict=True):
                grey = int(rng.integers(0, 256))
                pen.rectangle([a + k * 2 - half, b, a + half, bottom], grey, 255, 1)
            break
        pen.line(list(zip(xs, ys, strict=True)), int(rng.integers(130, 256)), line)
        if count < 40 and rng.random() < 0.7:
            r, form = size * rng.uniform(0.15, 0.4), rng.integers(4)
            for a, b in zip(xs, ys, strict=True):
                if form == 0:
                    pen.ellipse([a - r, b - r, a + r, b + r], 255 if k % 2 else 0, 255, 1)
                elif form == 1:
                    pen.rectangle([a - r, b - r, a + r, b + r], 255 if k % 2 else 0, 255, 1)
                elif form == 2:
                    pen.polygon([(a, b - r), (a + r, b + r), (a - r, b + r)], 0, 255)
                pen.line([(a, b - 2 * r), (a, b + 2 * r)], 255, 1)
    return np.array(image)


def _spectrum(rng: Rng, width: int, size: float) -> Ink:
    height = int(width * rng.uniform(0.25, 0.7))
    image, pen = _canvas(width, height)
    font = _font(rng, size * 0.8)
    base = height - int(2 * size)
    if rng.random() < 0.5:  # of masses
        for _ in range(int(rng.integers(5, 60))):
            x, high = rng.uniform(0, width), rng.random() ** 3 * (base - 2 * size)
            pen.line([(x, base), (x, base - high)], 255, int(rng.integers(1, 3)))
            if high > size * 3 or rng.random() < 0.15:
                label = f"{rng.uniform(50, 900):.{rng.integers(0, 3)}f}"
                pen.text((x - size, base - high - size * 1.2), label, 255, font)
    else:
        across = np.arange(width)
        trace = rng.normal(0, 0.003, width)
        for _ in range(int(rng.integers(4, 25))):
            middle, split = rng.uniform(0, width), int(rng.integers(1, 5))
            for j in range(split):
                at = middle + j * rng.uniform(3, 6)
                trace += rng.random() / (1 + ((across - at) / rng.uniform(0.8, 2)) ** 2)
        trace = base - trace / trace.max() * (base - size)
        line = list(zip(across.tolist(), trace.tolist(), strict=True))
        pen.line(line, 255, int(rng.integers(1, 3)))
    pen.line([(0, base), (width, base)], 255, 1)
    for k in range(11):
        pen.line([(k * width / 10, base), (k * width / 10, base + size * 0.4)], 255, 1)
        pen.text((k * width / 10, base + size * 0.5), f"{10 - k}", 255, font)
    return np.array(image)


def _formula(rng: Rng, width: int, size: float) -> Ink:
    """Fractions, roots, sums, brackets, indices."""
    size *= rng.uniform(1.0, 1.8)
    image, pen = _canvas(width, int(5 * size))
    font, small = _font(rng, size, 0.4), _font(rng, size * 0.65, 0.4)
    large = _font(rng, size * 2, 0.4)
    x, middle = float(size), 2.5 * size
    signs = list("=+-·→≤≈<∂")
    while x < width * rng.uniform(0.3, 0.9):
        kind = rng.integers(6)
        name = str(rng.choice(list("abcdefkmnpqrtuvxyzABCEFGHKLNPRSTVβδλμω")))
        if kind == 0:
            pen.text((x, middle - 1.4 * size), name + str(rng.integers(9)), 255, font)
            pen.line([(x - 3, middle), (x + 1.6 * size, middle)], 255, 2)
            pen.text((x, middle + 0.1 * size), name.swapcase() + "k", 255, font)
            x += 1.8 * size
        elif kind == 1:
            pen.text((x, middle - 1.3 * size), str(rng.choice(list("∑∫∏"))), 255, large)
            pen.text((x, middle + 1.2 * size), "i=1", 255, small)
            x += 1.7 * size
        elif kind == 2:
            wide = rng.uniform(1, 3) * size
            high = size * 0.7
            shape = [(0, 0.2), (0.15, 0.1), (0.35, 1), (0.6, -1), (wide / size + 0.6, -1)]
            pen.line([(x + a * size, middle + b * high) for a, b in shape], 255, 2)
            pen.text((x + 0.7 * size, middle - 0.6 * size), name, 255, font)
            x += wide + 0.8 * size
        elif kind == 3:
            pen.text((x, middle - 0.6 * size), "(" + name, 255, font)
            pen.text((x + 1.1 * size, middle), str(rng.integers(9)), 255, small)
            pen.text((x + 1.4 * size, middle - 0.6 * size), ")", 255, font)
            x += 1.9 * size
        else:
            pen.text((x, middle - 0.6 * size), name, 255, font)
            pen.text((x + 0.6 * size, middle - 0.8 * size), "2", 255, small)
            x += 1.2 * size
        pen.text((x, middle - 0.6 * size), str(rng.choice(signs)), 255, font)
        x += size
    pen.text((width - 2.5 * size, middle - 0.5 * size), f"({rng.integers(1, 60)})", 255, font)
    return np.array(image)


def _arrow(
    pen: ImageDraw.ImageDraw, a: NDArray[np.float64], b: NDArray[np.float64], line: int, head: float
) -> None:
    pen.line([tuple(a), tuple(b)], 255, line)
    along = (b - a) / max(float(np.linalg.norm(b - a)), 1e-9)
    side = np.array([-along[1], along[0]])
    tip = [
        tuple(b),
        tuple(b - head * along + head * 0.4 * side),
        tuple(b - head * along - head * 0.4 * side),
    ]
    pen.polygon(tip, 255)


def _chart(rng: Rng, width: int, size: float) -> Ink:
    """A flow chart: boxes, diamonds and circles with words, and arrows between them."""
    height = int(width * rng.uniform(0.5, 1.1))
    image, pen = _canvas(width, height)
    font, line = _font(rng, size), int(rng.integers(1, 4))
    rows, columns = int(rng.integers(2, 5)), int(rng.integers(1, 4))
    wide, high = width / columns, height / rows
    middles = [
        np.array([(j + 0.5) * wide, (i + 0.5) * high]) for i in range(rows) for j in range(columns)
    ]
    for _ in range(len(middles)):
        a, b = rng.choice(len(middles), 2)
        _arrow(pen, middles[a], middles[b] * 0.7 + middles[a] * 0.3, line, size * 0.7)
    for x, y in middles:
        w, h = wide * rng.uniform(0.25, 0.42), high * rng.uniform(0.15, 0.35)
        form = rng.integers(4)
        box = [x - w, y - h, x + w, y + h]
        if form == 0:
            pen.rectangle(box, 0, 255, line)
        elif form == 1:
            pen.rounded_rectangle(box, size, 0, 255, line)
        elif form == 2:
            pen.ellipse(box, 0, 255, line)
        else:
            pen.polygon([(x, y - h), (x + w, y), (x, y + h), (x - w, y)], 0, 255, line)
        for k in range(int(rng.integers(1, 3))):
            pen.text((x - w * 0.7, y - size + k * size * 1.2), _words(rng, 2)[:14], 255, font)
    return np.array(image)


def _network(rng: Rng, width: int, size: float) -> Ink:
    """Nodes and edges, a phylogenetic tree, or a web of lines."""
    height = int(width * rng.uniform(0.5, 1.0))
    image, pen = _canvas(width, height)
    font, line = _font(rng, size), int(rng.integers(1, 4))
    if rng.random() < 0.5:
        count = int(rng.integers(5, 25))
        points = rng.uniform(0.08, 0.92, (count, 2)) * (width, height)
        for k in range(1, count):
            gaps = np.linalg.norm(points[:k] - points[k], axis=1)
            for j in np.argsort(gaps)[: int(rng.integers(1, 3))]:
                pen.line([tuple(points[k]), tuple(points[j])], 255, line)
        r = size * rng.uniform(0.3, 1.2)
        for x, y in points:
            pen.ellipse([x - r, y - r, x + r, y + r], int(rng.choice([0, 255, 120])), 255, line)
            if rng.random() < 0.5:
                pen.text((x + r, y - r), _word(rng)[:6], 255, font)
        return np.array(image)
    leaves = int(rng.integers(4, 25))
    step = height / leaves
    nodes = [(width * 0.7, (k + 0.5) * step) for k in range(leaves)]
    for x, y in nodes:
        pen.text((x + 4, y - size * 0.5), _words(rng, 2)[:18], 255, font)
    while len(nodes) > 1:
        k = int(rng.integers(len(nodes) - 1))
        (x0, y0), (x1, y1) = nodes[k], nodes[k + 1]
        x = max(min(x0, x1) - rng.uniform(0.5, 4) * size, 2)
        pen.line([(x0, y0), (x, y0), (x, y1), (x1, y1)], 255, line)
        if rng.random() < 0.4:
            pen.text((x + 2, (y0 + y1) / 2), f"{rng.integers(50, 100)}", 255, font)
        nodes[k : k + 2] = [(x, (y0 + y1) / 2)]
    return np.array(image)


def _map(rng: Rng, width: int, size: float) -> Ink:
    """Outlines of lands, roads, names, a scale."""
    height = int(width * rng.uniform(0.5, 1.0))
    image, pen = _canvas(width, height)
    font = _font(rng, size)
    for _ in range(int(rng.integers(1, 7))):
        count = int(rng.integers(12, 80))
        angle = np.sort(rng.uniform(0, 2 * math.pi, count))
        radius = width * rng.uniform(0.05, 0.35) * (1 + 0.3 * rng.normal(0, 0.3, count))
        middle = rng.uniform(0.1, 0.9, 2) * (width, height)
        points = middle + np.stack([np.cos(angle), np.sin(angle)], 1) * radius[:, None]
        fill = int(rng.choice([0, 0, 60, 120]))
        pen.polygon([tuple(p) for p in points], fill, 255, int(rng.integers(1, 3)))
    for _ in range(int(rng.integers(0, 12))):
        x, y = rng.uniform(0, 0.9, 2) * (width, height)
        pen.text((x, y), _word(rng), 255, font)
        pen.ellipse([x - 6, y, x - 2, y + 4], 255)
    return np.array(image)


def _photograph(rng: Rng, width: int, size: float) -> Ink:
    """Light and shade: clouds of noise at many sizes, a gel with bands, or a true photograph."""
    height = int(width * rng.uniform(0.4, 1.0))
    kind = rng.random()
    true = _shipped()
    if kind < 0.3 and true is not None:
        high, wide = true.shape
        side = int(min(high, wide) * rng.uniform(0.2, 1.0))
        y, x = int(rng.integers(high - side + 1)), int(rng.integers(wide - side + 1))
        cut = Image.fromarray(true[y : y + side, x : x + side])
        return 255 - np.array(cut.resize((width, height), Image.Resampling.BICUBIC))
    if kind < 0.65:
        total = np.zeros((height, width))
        for k in range(1, 8):
            coarse = rng.normal(0, 1, (2**k, 2**k)).astype(np.float32)
            layer = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
            total += np.array(layer) / 2 ** (k * rng.uniform(0.4, 1.1))
        total = (total - total.min()) / np.ptp(total)
        return np.asarray(255 * np.clip(total * rng.uniform(0.8, 1.4), 0, 1), np.uint8)
    image = Image.new("L", (width, height), int(rng.integers(20, 120)))
    pen = ImageDraw.Draw(image)
    lanes = int(rng.integers(4, 14))
    for lane in range(lanes):
        for _ in range(int(rng.integers(1, 9))):
            top, thick = rng.uniform(0, height), rng.uniform(0.2, 0.8) * size
            left = (lane + 0.2) * width / lanes
            box = [left, top, left + 0.6 * width / lanes, top + thick]
            pen.rectangle(box, int(rng.integers(120, 256)))
    soft = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(1, 4))))
    grain = rng.normal(0, 8, (height, width))
    return np.clip(np.array(soft) + grain, 0, 255).astype(np.uint8)


def _shipped() -> Ink | None:
    """A photograph that comes with matplotlib, if that is installed."""
    try:
        import matplotlib  # noqa: PLC0415

        path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
        with Image.open(path) as image:
            return np.array(image.convert("L"))
    except (ImportError, OSError):
        return None


def _scribble(rng: Rng, width: int, size: float) -> Ink:
    """Shapes: polygons, circles, arcs, hatching, a signature, a plate."""
    side = int(min(width, size * rng.uniform(3, 18)))
    image, pen = _canvas(side, side)
    line = int(rng.integers(1, 6))
    for _ in range(int(rng.integers(1, 5))):
        kind = rng.integers(8)
        x0, x1 = np.sort(rng.uniform(0, side, 2))
        y0, y1 = np.sort(rng.uniform(0, side, 2))
        if kind == 0:
            pen.ellipse([x0, y0, x1, y1], None, 255, line)
        elif kind == 1:
            pen.rectangle([x0, y0, x1, y1], None, 255, line)
        elif kind == 2:
            corners = int(rng.integers(3, 9))
            turn = np.arange(corners) * 2 * math.pi / corners + rng.random()
            r = side / 2 * rng.uniform(0.3, 0.95)
            points = side / 2 + r * np.stack([np.cos(turn), np.sin(turn)], 1)
            pen.polygon([tuple(p) for p in points], None, 255, line)
        elif kind == 3:
            pen.arc([x0, y0, x1, y1], float(rng.uniform(0, 180)), 360, 255, line)
        elif kind == 4:
            points = np.cumsum(rng.normal(0, side / 12, (40, 2)), 0) + side / 2
            pen.line([tuple(p) for p in points], 255, line, joint="curve")
        elif kind == 5:
            for x in np.arange(x0, x1, rng.uniform(3, 9)):
                pen.line([(x, y0), (x + (y1 - y0) * rng.choice([0, 0.5]), y1)], 255, 1)
        elif kind == 6:
            a, b = rng.uniform(0, side, (2, 2))
            _arrow(pen, a, b, line, size * rng.uniform(0.4, 1.2))
        else:
            step = rng.uniform(0.1, 0.25) * side
            for i in range(int(side / step)):
                for j in range(int(side / step)):
                    box = [i * step, j * step, (i + 0.7) * step, (j + 0.7) * step]
                    pen.ellipse(box, int(rng.choice([0, 255])), 255, 1)
    return np.array(image)


def _sign(rng: Rng, width: int, size: float) -> Ink:
    """Words apart from lines: numbers of compounds, reagents, headlines, all in any size."""
    font = _font(rng, size * rng.choice([0.8, 1.0, 1.0, 1.3, 2.0, 3.5]), 0.5)
    text = rng.choice(
        ["THF, 0 °C", "K2CO3, DMF", "Pd/C, H2", "(III)", "12a: R = Me", "+", "A", "Fig. 3",
         "NMR", "R = H", "MeOH", "H2SO4", "1. NaH", "n = 1-3", "Example 114", "D", "COOH", "X", "*",
         "[159].", "(n = 3)", "10^6 cm/s", "x = 5.1/6.6", "R1 = H, OCH3"]
    )  # fmt: skip
    if rng.random() < 0.3:
        text = _words(rng, int(rng.integers(1, 4)))
    box = font.getbbox(str(text))
    image, pen = _canvas(int(box[2]) + 4, int(box[3]) + 4)
    pen.text((0, 0), str(text), 255, font)
    return np.array(image)


def _badge(rng: Rng, width: int, size: float) -> Ink:
    """A licence's badge, a button or an icon: filled shapes with light signs on them."""
    wide, high = int(size * rng.uniform(1.5, 9)), int(size * rng.uniform(1.2, 3))
    image, pen = _canvas(wide, high)
    grey = int(rng.choice([255, 255, 140, 90]))
    pen.rounded_rectangle([0, 0, wide - 1, high - 1], high * rng.uniform(0, 0.4), grey, 255, 2)
    font = _font(rng, high * 0.45)
    for _ in range(int(rng.integers(1, 4))):
        x, r = rng.uniform(0, wide), high * rng.uniform(0.2, 0.4)
        kind = rng.integers(3)
        if kind == 0:
            pen.ellipse([x - r, high / 2 - r, x + r, high / 2 + r], 0, 255, 2)
            pen.text((x - r / 2, high / 2 - r / 2), _word(rng)[:2], 255, font)
        elif kind == 1:
            pen.text((x, high * 0.25), _word(rng)[:6].upper(), 0, font)
        else:
            pen.polygon([(x, high / 2 - r), (x + r, high / 2 + r), (x - r, high / 2 + r)], 0)
    return np.array(image)


def _model(rng: Rng, width: int, size: float) -> Ink:
    """A molecule in space, as it sits in a protein: shaded sticks, balls, ribbons, dashes, names.

    A reader of drawings cannot read it.
    """
    height = int(width * rng.uniform(0.6, 1.0))
    image, pen = _canvas(width, height)
    font = _font(rng, size)
    for _ in range(int(rng.integers(0, 4))):  # ribbons
        points = np.cumsum(rng.normal(0, width / 10, (6, 2)), 0) + rng.uniform(0, 1, 2) * width
        thick = int(size * rng.uniform(0.5, 2))
        pen.line([tuple(p) for p in points], int(rng.integers(40, 140)), thick, joint="curve")
    for _ in range(int(rng.integers(1, 5))):
        count = int(rng.integers(4, 14))
        place = rng.uniform(0.2, 0.8, 2) * (width, height)
        spots = [place]
        for _ in range(count):
            turn = rng.uniform(0, 2 * math.pi)
            step = size * rng.uniform(0.8, 2.4) * np.array([math.cos(turn), math.sin(turn)])
            spots.append(spots[int(rng.integers(len(spots)))] + step)
        dark, thick = int(rng.integers(110, 256)), max(int(size * rng.uniform(0.15, 0.45)), 2)
        for a, b in pairwise(spots):
            pen.line([tuple(a), tuple(b)], dark, thick)
            pen.line([tuple(a - 1), tuple(b - 1)], max(dark - 70, 0), max(thick // 3, 1))
        if rng.random() < 0.5:
            r = thick * rng.uniform(0.6, 1.5)
            for x, y in spots:
                pen.ellipse([x - r, y - r, x + r, y + r], dark)
        pen.text(tuple(spots[-1] + 5), f"{_word(rng)[:3].title()}{rng.integers(300)}", 255, font)
    return np.array(image)


OTHERS: tuple[Callable[[Rng, int, float], Ink], ...] = (
    _table, _plot, _spectrum, _formula, _chart, _network, _map, _photograph, _scribble, _sign,
    _badge, _model,
)  # fmt: skip


# --- molecules ---


def supply(data: Sequence[Path], seed: int) -> Iterator[Chem.Mol]:
    """Laid-out molecules of all sizes without end, a fifth of them small, as reagents are."""
    rng = np.random.default_rng([seed, 8])
    corpus = Corpus(data, [seed, 7], pool=60, uses=2)
    usual = iter(corpus)
    while True:
        if rng.random() > SMALL:
            yield next(usual)
            continue
        mol = None
        while mol is None or not (5 <= mol.GetNumAtoms() <= 12 and layout(mol, rng)):
            smiles = corpus.smiles()
            mol = drawable(smiles) if len(smiles) < 24 else None
        yield mol


def _molecule(mol: Chem.Mol, rng: Rng, bond: float) -> Ink:
    """A drawing with bonds of so many pixels, cropped to the ink of the molecule."""
    drawing = hand(mol, rng)
    factor = bond / drawing.bond
    places = drawing.graph.places
    glyphs = [spots for spots in drawing.graph.glyphs.values() if len(spots)]
    middles = [(places[a] + places[b]) / 2 for a, b, _ in drawing.graph.bonds]
    points = np.concatenate([places, *glyphs, np.reshape(middles, (-1, 2))])
    # A hand may set words and frames beside the molecule.
    parts = components(drawing.ink >= INK_LEVEL)
    low, high = parts.boxes[:, None, :2], parts.boxes[:, None, 2:]
    away = np.maximum(np.maximum(low - points, points - high), 0).max(2).min(1, initial=1e9)
    own = parts.mask(away < 0.3 * drawing.bond)
    if not own.any():
        return np.zeros((8, 8), np.uint8)
    ys, xs = np.flatnonzero(own.any(1)), np.flatnonzero(own.any(0))
    near = np.array(Image.fromarray(own).convert("L").filter(ImageFilter.MaxFilter(5))) > 0
    ink = np.where(near, drawing.ink, 0)[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
    size = (max(round(ink.shape[1] * factor), 4), max(round(ink.shape[0] * factor), 4))
    way = Image.Resampling.BOX if factor < 1 else Image.Resampling.BICUBIC
    return np.array(Image.fromarray(ink.astype(np.uint8)).resize(size, way, reducing_gap=3.0))


# --- pages ---


def draw_page(molecules: Iterator[Chem.Mol], rng: Rng) -> Drawn:
    """A page: blocks of all kinds from top to bottom, in one column or two."""
    height, width = SIZE
    page = Drawn(np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.int16))
    size = float(rng.uniform(14, 27))  # of the type, in pixels
    bond = size * float(rng.uniform(0.9, 2.4))
    columns = 1 if rng.random() < 0.4 else 2
    wide = (width - 120 - (columns - 1) * 60) // columns
    with_molecules = rng.random() < 0.85
    count = 0
    for column in range(columns):
        x, y = 60 + column * (wide + 60), 60
        while y < height - 100:
            kind = rng.random()
            if kind < 0.6 and with_molecules:
                y, count = _row(page, molecules, rng, (x, y, wide), (size, bond), count)
            elif kind < 0.75:
                block = _text(rng, wide, size * float(rng.choice([0.8, 1, 1, 1, 1.4, 2.2])))
                if rng.random() < TURNED:  # beside the page, or beside a plot
                    block = np.rot90(block)[:600]
                y = _paste(page, block, x, y)
            else:
                other = OTHERS[int(rng.integers(len(OTHERS)))]
                block = other(rng, int(wide * rng.uniform(0.3, 1.0)), size)
                if rng.random() < TURNED:
                    block = np.rot90(block, int(rng.choice([1, 3])))[:, : wide - 30]
                y = _paste(page, block, x + int(rng.integers(0, 30)), y)
            y += int(size * rng.uniform(0.7, 3))
    _spoil(page, rng)
    return page


def _row(
    page: Drawn,
    molecules: Iterator[Chem.Mol],
    rng: Rng,
    place: tuple[int, int, int],
    sizes: tuple[float, float],
    count: int,
) -> tuple[int, int]:
    """Molecules side by side, with arrows, numbers and words between them: the y below them."""
    left, top, wide = place
    size, bond = sizes
    x, low = left, top
    for _ in range(int(rng.integers(1, 6))):
        ink = _molecule(next(molecules), rng, bond)
        if ink.shape[1] > wide - (x - left) or ink.shape[0] > 700 or min(ink.shape) < 10:
            continue
        count += 1
        end = _paste(page, ink, x, top + int(rng.integers(0, int(size))), count)
        if rng.random() < 0.5:
            label = _sign(rng, wide, size)
            gap = int(size * rng.uniform(0.6, 2))
            end = _paste(page, label, x + max((ink.shape[1] - label.shape[1]) // 2, 0), end + gap)
        x += ink.shape[1] + int(size * rng.uniform(1.2, 4))
        low = max(low, end)
        if rng.random() < 0.3 and x + 8 * size < left + wide:
            length = int(size * rng.uniform(4, 8))
            image, pen = _canvas(length, int(size))
            _arrow(pen, np.array([0, size / 2]), np.array([length - 2, size / 2]), 2, size * 0.7)
            _paste(page, np.array(image), x, (top + low) // 2)
            sign = _sign(rng, length, size * 0.8)
            if sign.shape[1] < length:
                _paste(page, sign, x + 5, (top + low) // 2 - sign.shape[0] - 6)
            x += length + int(size * rng.uniform(1, 3))
    return low, count


def _paste(page: Drawn, block: Ink, x: int, y: int, number: int = 0) -> int:
    """Set a block on a page, and return the y below it; what does not fit is left out."""
    height, width = page.ink.shape
    if number and (y + block.shape[0] > height or x + block.shape[1] > width):
        return y
    block = block[: max(height - y, 0), : max(width - x, 0)]
    window = np.s_[y : y + block.shape[0], x : x + block.shape[1]]
    page.ink[window] = np.maximum(page.ink[window], block)
    if number:
        page.owner[window] = np.where(block >= INK_LEVEL // 2, number, page.owner[window])
    return int(y + block.shape[0])


def _spoil(page: Drawn, rng: Rng) -> None:
    """What scanners, fax machines and JPEG do; the places stay."""
    kind = rng.random()
    image = Image.fromarray(page.ink)
    if kind < 0.35:
        return
    if kind < 0.6:
        image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.4, 1.3))))
    if kind < 0.8:  # one bit, as patents are
        level = int(rng.integers(90, 170))
        grey = np.array(image) + rng.normal(0, 20, page.ink.shape)
        image = Image.fromarray(((grey > level) * 255).astype(np.uint8))
    if kind > 0.7:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=int(rng.integers(15, 70)))
        image = Image.open(file)
    page.ink[:] = np.array(image)
    if rng.random() < 0.3:
        specks = rng.random(page.ink.shape) < 10 ** rng.uniform(-5, -3.5)
        page.ink[specks] = 255


# --- the head ---


def page_examples(net: Net, page: Drawn, rng: Rng) -> list[tuple[NDArray[np.float32], bool]]:
    """Summaries of the regions of a drawn page, and whether each is a molecule.

    Regions that are a part of a molecule, or hold two, are left out.
    """
    found_on = Layout(page.ink)
    total = np.bincount(page.owner[page.ink >= INK_LEVEL].ravel())
    regions = found_on.regions
    if len(regions) > 60:
        regions = [regions[int(k)] for k in rng.choice(len(regions), 60, replace=False)]
    found = []
    for region in regions:
        left, top, right, bottom = region.box
        mask = found_on.parts.mask(region.parts, region.box)
        own = np.bincount(page.owner[top:bottom, left:right][mask], minlength=len(total))
        best = int(own[1:].argmax()) + 1 if len(own) > 1 else 0
        pure = own[best] / max(own.sum(), 1) if best else 0.0
        whole = own[best] / max(total[best], 1) if best else 0.0
        is_molecule = pure > PURE and whole > WHOLE
        if is_molecule or own[1:].sum() < 0.05 * own.sum():
            vector = summary(net, found_on, region)
            if vector is not None:
                found.append((vector, is_molecule))
    return found


def fit(
    x: NDArray[np.float32], y: NDArray[np.bool_], penalty: float = PENALTY
) -> NDArray[np.float64]:
    """Weights (D + 1,) of a logistic regression, the last for the constant 1, by Newton's method.

    Args:
        x: (n, D) summaries.
        y: (n,) whether each is a molecule.
        penalty: on the squares of the weights of features of unit variance.
    """
    mean, spread = x.mean(0), np.maximum(x.std(0), 1e-4)
    design = np.concatenate([(x - mean) / spread, np.ones((len(x), 1))], 1).astype(np.float64)
    # Both kinds weigh the same, whatever the number of each.
    weight = np.where(y, 0.5 / max(y.mean(), 1e-9), 0.5 / max(1 - y.mean(), 1e-9))
    ridge = np.full(design.shape[1], penalty)
    ridge[-1] = 0.0
    beta = np.zeros(design.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-np.clip(design @ beta, -30, 30)))
        slope = design.T @ (weight * (y - p)) - ridge * beta
        curve = (design.T * (weight * p * (1 - p) + 1e-9)) @ design + np.diag(ridge + 1e-9)
        step = np.linalg.solve(curve, slope)
        beta += step
        if np.abs(step).max() < 1e-5:
            break
    plain = beta[:-1] / spread
    return np.asarray(np.r_[plain, beta[-1] - plain @ mean])


def fit_head(
    folder: Path, data: Sequence[Path], pages: int = 150, seed: int = 0, minutes: float = 8.0
) -> dict[str, float]:
    """Fit the head of an exported encoder and write it into the encoder's metadata.

    Args:
        folder: with ``encoder.onnx`` and ``step.onnx``; the encoder's file is replaced.
        data: files of SMILES, whose held-out lines are not used.
        pages: how many are drawn, at most.
        seed: of all that is drawn.
        minutes: of a core, after which no page more is drawn.

    Returns:
        How many regions there were, and on every tenth of them, that a first fit did not see, the
        shares of molecules found and of others taken for molecules.
    """
    net = Net(folder, "cpu", 1)
    rng = np.random.default_rng(seed)
    molecules = supply(data, seed)
    found: list[tuple[NDArray[np.float32], bool]] = []
    end = time.process_time() + 60 * minutes
    for drawn, example in enumerate(_by_page(net, molecules, rng)):
        found += example
        if drawn + 1 >= pages or time.process_time() > end:
            break
    x, y = np.array([f for f, _ in found]), np.array([m for _, m in found])
    kept = np.arange(len(y)) % 10 == 9
    trial = fit(x[~kept], y[~kept])
    said = x[kept] @ trial[:-1] + trial[-1] > 0
    right, wrong = said[y[kept]], said[~y[kept]]
    # As base64 of float32 numbers.
    head = base64.b64encode(fit(x, y).astype("<f4").tobytes()).decode()
    add_metadata([folder / "encoder.onnx"], {HEAD: head})
    return {
        "regions": float(len(y)),
        "molecules": float(y.sum()),
        "found": float(right.sum() / max(len(right), 1)),
        "false": float(wrong.sum() / max(len(wrong), 1)),
    }


def _by_page(
    net: Net, molecules: Iterator[Chem.Mol], rng: Rng
) -> Iterator[list[tuple[NDArray[np.float32], bool]]]:
    while True:
        try:
            yield page_examples(net, draw_page(molecules, rng), rng)
        except PictureError:
            continue


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit the head of exported weights."""
    parser = argparse.ArgumentParser(prog="python -m molgaze.train.pages", description=__doc__)
    parser.add_argument("folder", type=Path, help="with encoder.onnx and step.onnx")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="files of SMILES")
    parser.add_argument("--pages", type=int, default=150, help="pages drawn at most (150)")
    parser.add_argument("--minutes", type=float, default=8.0, help="of a core at most (8)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    report = fit_head(given.folder, given.data, given.pages, given.seed, given.minutes)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
