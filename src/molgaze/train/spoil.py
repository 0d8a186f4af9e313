"""A clean drawing to the picture that a reader meets: scanned, faxed, compressed, photographed.

Works at the drawing's own resolution, then brings it to reading scale as the runtime would. Every
step that moves ink moves the places with it.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from ..scale import SMALLER, TARGET_BOND, lifted
from ..walk import Graph
from .draw import Drawing, Ink

BOND_RANGE = (13.0, 36.0)  # pixels; the runtime aims at TARGET_BOND by an estimate


def moved(graph: Graph, matrix: NDArray[np.float64]) -> Graph:
    """The graph under a (2, 3) affine map of pixel coordinates."""

    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return points @ matrix[:, :2].T + matrix[:, 2]

    glyphs = {i: move(g) for i, g in graph.glyphs.items()}
    return Graph(graph.atoms, move(graph.places), graph.bonds, glyphs, graph.steps)


def resized(ink: Ink, graph: Graph, factor: float) -> tuple[Ink, Graph]:
    """Resample by factor: area averaging when shrinking, cubic when enlarging."""
    height, width = ink.shape
    h, w = max(int(round(height * factor)), 4), max(int(round(width * factor)), 4)
    fy, fx = h / height, w / width
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    out = cv2.resize(ink, (w, h), interpolation=way)
    matrix = np.array([[fx, 0, 0.5 * fx - 0.5], [0, fy, 0.5 * fy - 0.5]])
    return np.asarray(out, dtype=np.uint8), moved(graph, matrix)


def _tilt(ink: Ink, graph: Graph, rng: np.random.Generator) -> tuple[Ink, Graph]:
    """Rotate by a few degrees and shear, as a crooked scan."""
    strong = rng.random() < 0.25
    angle = math.radians(float(rng.uniform(-5, 5) if strong else rng.normal(0, 1.2)))
    shear = rng.uniform(-0.1, 0.1, 2) if strong else rng.normal(0, 0.015, 2)
    c, s = math.cos(angle), math.sin(angle)
    linear = np.array([[c, -s], [s, c]]) @ np.array([[1, shear[0]], [shear[1], 1]])
    height, width = ink.shape
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], dtype=np.float64)
    turned = corners @ linear.T
    low, high = turned.min(0), turned.max(0)
    matrix = np.hstack([linear, -low[:, None]])
    size = (int(math.ceil(high[0] - low[0])), int(math.ceil(high[1] - low[1])))
    out = cv2.warpAffine(ink, matrix, size, flags=cv2.INTER_LINEAR, borderValue=0)
    return np.asarray(out, dtype=np.uint8), moved(graph, matrix)


def _warp(ink: Ink, graph: Graph, bond: float, rng: np.random.Generator) -> tuple[Ink, Graph]:
    """Elastic warp: a smooth random field of a few hundredths to a tenth of a bond."""
    height, width = ink.shape
    reach = bond * float(rng.uniform(1.5, 4.0))
    rows, cols = max(int(height / reach), 1) + 2, max(int(width / reach), 1) + 2
    force = bond * float(rng.uniform(0.03, 0.14))
    field = rng.normal(0, force, (2, rows, cols)).astype(np.float32)
    dx = cv2.resize(field[0], (width, height), interpolation=cv2.INTER_CUBIC)
    dy = cv2.resize(field[1], (width, height), interpolation=cv2.INTER_CUBIC)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    out = cv2.remap(ink, x + dx, y + dy, cv2.INTER_LINEAR, borderValue=0)

    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        # out(p) = ink(p + d(p)), so a point q of ink lands where p + d(p) = q
        p = points.copy()
        for _ in range(4):
            ix = np.clip(np.round(p[:, 0]), 0, width - 1).astype(int)
            iy = np.clip(np.round(p[:, 1]), 0, height - 1).astype(int)
            p = points - np.stack([dx[iy, ix], dy[iy, ix]], 1)
        return p

    glyphs = {i: move(g) for i, g in graph.glyphs.items()}
    warped = Graph(graph.atoms, move(graph.places), graph.bonds, glyphs, graph.steps)
    return np.asarray(out, dtype=np.uint8), warped


def _noise(shape: tuple[int, int], grain: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Unit normal noise with grains of a given size in pixels."""
    h, w = max(int(shape[0] / grain), 2), max(int(shape[1] / grain), 2)
    small = rng.standard_normal((h, w), dtype=np.float32)
    if grain <= 1:
        return np.asarray(cv2.resize(small, shape[::-1], interpolation=cv2.INTER_NEAREST))
    return np.asarray(cv2.resize(small, shape[::-1], interpolation=cv2.INTER_LINEAR))


def _scan(ink: Ink, line: float, rng: np.random.Generator) -> Ink:
    """One bit: uneven threshold, jagged edges, broken and swollen lines."""
    soft = cv2.GaussianBlur(ink, (0, 0), float(rng.uniform(0.4, 1.0)) * max(line / 4, 0.6))
    level = 128.0 + float(rng.normal(0, 28))
    rough = float(rng.choice([0.0, 25.0, 55.0], p=[0.4, 0.48, 0.12]))
    if rough:
        wave = _noise(ink.shape, float(rng.uniform(1.0, 4.0)), rng) * rough
        out = np.where(soft + wave * (soft > 8) > level, 255, 0)
    else:
        out = np.where(soft > level, 255, 0)
    if (
        out.sum() < 0.6 * ink.sum()
    ):  # hairlines would be lost: a scanner is set so that they are not
        out = np.where(ink > 90, 255, 0)
    return np.asarray(out, dtype=np.uint8)


def _specks(ink: Ink, bond: float, rng: np.random.Generator) -> Ink:
    out = ink.copy()
    area = ink.size / bond**2
    for _ in range(int(rng.poisson(min(0.12 * area, 12.0)))):
        at = (int(rng.integers(ink.shape[1])), int(rng.integers(ink.shape[0])))
        radius = max(float(rng.exponential(0.015)) * bond, 0.6)
        cv2.circle(out, at, int(round(radius)), 255 if rng.random() < 0.75 else 0, -1)
    return out


def _cropped(ink: Ink, graph: Graph, cuts: float, rng: np.random.Generator) -> tuple[Ink, Graph]:
    """Crop to ink with a margin; in a share ``cuts`` of all pictures through the outermost ink, as
    by a box that was put round the bonds.
    """
    rows = np.flatnonzero(ink.max(1) > 60)
    cols = np.flatnonzero(ink.max(0) > 60)
    if not len(rows) or not len(cols):
        return ink, graph
    margin = rng.integers(2, 9, 4)
    if rng.random() < cuts:
        margin[int(rng.integers(4))] = -int(rng.integers(1, 13))
    top, bottom = rows[0] - margin[0], rows[-1] + 1 + margin[1]
    left, right = cols[0] - margin[2], cols[-1] + 1 + margin[3]
    before = (max(-top, 0), max(bottom - ink.shape[0], 0))
    beside = (max(-left, 0), max(right - ink.shape[1], 0))
    wide = np.pad(ink, (before, beside))
    out = wide[top + before[0] : bottom + before[0], left + beside[0] : right + beside[0]]
    shift = np.array([[1.0, 0.0, -left], [0.0, 1.0, -top]])
    return np.ascontiguousarray(out), moved(graph, shift)


def _trimmed(ink: Ink, graph: Graph, line: float, rng: np.random.Generator) -> tuple[Ink, Graph]:
    """Cut close on all sides, as by a box round the ends of the bonds: lines that lie on an edge
    are thinner or gone, and letters lose a stroke's width.

    ``line``: width of a bond's line in pixels.
    """
    rows = np.flatnonzero(ink.max(1) > 60)
    cols = np.flatnonzero(ink.max(0) > 60)
    if min(len(rows), len(cols)) < 12 * line:
        return ink, graph
    top, bottom, left, right = np.round(rng.uniform(-0.3, 1.2, 4).clip(0) * line).astype(int)
    y, x = int(rows[0] + top), int(cols[0] + left)
    out = ink[y : rows[-1] + 1 - bottom, x : cols[-1] + 1 - right]
    shift = np.array([[1.0, 0.0, -x], [0.0, 1.0, -y]])
    return np.ascontiguousarray(out), moved(graph, shift)


def spoil(drawing: Drawing, rng: np.random.Generator, harm: float = 1.0) -> Drawing:
    """Spoil a drawing and bring it to reading scale.

    Args:
        drawing: as a hand drew it.
        rng: all chance comes from here.
        harm: 0 only rescales and crops; 1 spoils as much as real pictures are.
    """
    ink, graph, bond = drawing.ink, drawing.graph, drawing.bond
    u = rng.random
    cuts = 0.12 * harm  # of the clean and of the spoiled alike
    trims = 0.3 * harm
    if u() < 0.3:  # born digital, or scanned well
        harm *= 0.25
    target = TARGET_BOND * math.exp(float(rng.normal(0, 0.2)))
    target = min(max(target, BOND_RANGE[0]), BOND_RANGE[1])

    if u() < 0.3 * harm:
        ink, graph = _tilt(ink, graph, rng)
    if u() < 0.06 * harm:
        ink, graph = _warp(ink, graph, bond, rng)
    if u() < 0.18 * harm:  # a picture of low resolution
        low = float(rng.uniform(8.5, 16.0))
        ink, graph = resized(ink, graph, low / bond)
        bond = low
    line = max(0.06 * bond, 1.0)
    if u() < trims:
        ink, graph = _trimmed(ink, graph, line, rng)
    if u() < 0.5 * harm and bond > 13:
        ink = _scan(ink, line, rng)
    if u() < 0.15 * harm:
        ink = _specks(ink, bond, rng)
    if u() < 0.06 * harm:
        kernel = np.ones((2, 2), np.uint8)
        ink = np.asarray(
            cv2.dilate(ink, kernel) if u() < 0.6 or bond < 35 else cv2.erode(ink, kernel),
            dtype=np.uint8,
        )
    if u() < 0.1 * harm:
        quality = int(rng.integers(12, 70))
        coded = cv2.imencode(".jpg", 255 - ink, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        ink = 255 - np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)

    ink, graph = resized(ink, graph, target / bond)
    if target / bond < SMALLER:
        raised = lifted(ink.astype(np.float32) / np.float32(255))
        ink = np.asarray(np.round(255 * raised), dtype=np.uint8)
    if u() < 0.12 * harm:
        ink = np.asarray(cv2.GaussianBlur(ink, (0, 0), float(rng.uniform(0.4, 1.1))))
    if u() < 0.15 * harm:
        wave = _noise(ink.shape, float(rng.uniform(1, 3)), rng) * float(rng.uniform(3, 22))
        ink = np.clip(ink + wave, 0, 255).astype(np.uint8)
    if u() < 0.4:
        peak = max(int(ink.max()), 1)
        gain = float(rng.uniform(0.6, 1.0)) if u() < 0.4 else 255.0 / peak
        power = float(rng.uniform(0.6, 1.5)) if u() < 0.5 * harm else 1.0
        table = 255.0 * np.clip(np.arange(256) / 255.0 * gain, 0, 1) ** power
        ink = np.clip(table, 0, 255).astype(np.uint8)[ink]
    ink, graph = _cropped(ink, graph, cuts, rng)
    return Drawing(ink, graph, target)
