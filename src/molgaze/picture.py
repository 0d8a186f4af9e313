"""Path, bytes, file object, PIL image or array -> checked grey ink map at reading scale.

This is the only place where pixels are decoded. `load` checks and cleans (`Sheet`: grey ink at full
resolution), `Sheet.at_scale` brings the drawing to the scale that the reader was taught
(`Picture`), and `bond_length` finds that scale from the pixels alone.

    picture = load("scan.png").at_scale(20.0)      # bonds about 20 px long
    picture.to_original(places)                    # back to pixels of scan.png
"""

from __future__ import annotations

import io
import math
import os
import struct
import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageChops, ImageFilter

FORMATS = ("PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP", "PPM")
MAX_BYTES = 100 * 2**20  # of a file
MAX_PIXELS = 40_000_000
MAX_SIDE = 16_384
MIN_SIDE = 8
MAX_ASPECT = 40
MAX_READ_PIXELS = 4_000_000  # of an ink map at reading scale
MAX_ENLARGEMENT = 4.0
TARGET_BOND = 23.0  # px, at reading scale
MARGIN = 8  # px of paper around the ink, at reading scale
SMALLER = 0.35  # of its size: a picture made so much smaller may lose its thin lines
PLAIN_INK = 0.45  # mean ink of where ink is, at reading scale, in a drawing of usual lines
MIN_CONTRAST = 20  # levels of 255 between paper and ink
MIN_INK_PIXELS = 6

# Every exception that a decoder of Pillow has been seen to let out on a broken file.
_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    MemoryError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    AssertionError,
    RuntimeError,
    OverflowError,
    ZeroDivisionError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)

Source: TypeAlias = "str | os.PathLike[str] | bytes | BinaryIO | Image.Image | NDArray[np.generic]"
Floats: TypeAlias = NDArray[np.float32]
Bytes: TypeAlias = NDArray[np.uint8]


class PictureError(ValueError):
    """A source that is not a readable picture.

    Attributes:
        source: the name of what was read.
        kind: `missing`, `format`, `truncated`, `large`, `small`, `aspect`, `page`, `blank` or
            `array`.
        reason: the reason in words.
    """

    def __init__(self, source: str, kind: str, reason: str) -> None:
        super().__init__(source, kind, reason)
        self.source, self.kind, self.reason = source, kind, reason

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}"


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
    """

    ink: Floats
    offset: tuple[float, float]
    factor: float
    size: tuple[int, int]
    bond: float
    source: str

    def to_original(self, places: ArrayLike) -> NDArray[np.float64]:
        """Places (..., 2) as (x, y) on the ink map -> (x, y) on the original picture.

        Both are lengths from the top left corner, so the first pixel's centre is (0.5, 0.5).
        """
        ink = np.asarray(places, np.float64)
        return ink / self.factor + np.asarray(self.offset, np.float64)

    def from_original(self, places: ArrayLike) -> NDArray[np.float64]:
        """Places (..., 2) as (x, y) on the original picture -> (x, y) on the ink map."""
        original = np.asarray(places, np.float64)
        return (original - np.asarray(self.offset, np.float64)) * self.factor


@dataclass(frozen=True, eq=False)
class Sheet:
    """A checked picture at full resolution.

    Attributes:
        ink: uint8 (H, W), 0 paper .. 255 ink; paper flat, ink stretched to full contrast.
        source: the name of what was read.
    """

    ink: Bytes
    source: str = "array"

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.ink.shape[0], self.ink.shape[1]

    @cached_property
    def bond(self) -> float:
        """Estimated bond length in pixels."""
        return bond_length(self.ink)

    @cached_property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of the ink, in pixels."""
        found = Image.fromarray(self.ink).point(_step(64)).getbbox()
        return found or (0, 0, self.ink.shape[1], self.ink.shape[0])

    def at_scale(self, target: float = TARGET_BOND, bond: float | None = None) -> Picture:
        """The drawing with bonds of about `target` px, cropped to its ink.

        Args:
            target: wanted bond length in px.
            bond: true bond length in original pixels where it is known better than by estimate.
        """
        length = self.bond if bond is None else bond
        if not (target > 0 and length > 0 and math.isfinite(target) and math.isfinite(length)):
            raise ValueError(f"bond lengths must be positive, got {target} and {length}")
        left, top, right, bottom = self.box
        factor = min(target / length, MAX_ENLARGEMENT)
        factor = min(factor, math.sqrt(MAX_READ_PIXELS / ((right - left) * (bottom - top))))
        width = math.ceil((right - left) * factor) + 2 * MARGIN
        height = math.ceil((bottom - top) * factor) + 2 * MARGIN
        # The output has whole pixels; the window on the original is a fraction wider than the ink.
        x = (left + right) / 2 - width / factor / 2
        y = (top + bottom) / 2 - height / factor / 2
        x0, y0 = math.floor(x) - 2, math.floor(y) - 2
        x1, y1 = math.ceil(x + width / factor) + 2, math.ceil(y + height / factor) + 2
        window = Image.fromarray(self.ink).crop((x0, y0, x1, y1))
        grey = window.resize(
            (width, height),
            Image.Resampling.BICUBIC if factor > 1 else Image.Resampling.HAMMING,
            box=(x - x0, y - y0, x - x0 + width / factor, y - y0 + height / factor),
            reducing_gap=3.0,
        )
        ink = np.asarray(grey, np.float32) / np.float32(255)
        if factor < SMALLER:
            ink = lifted(ink)
        return Picture(ink, (x, y), factor, self.size, length, self.source)


def load(source: Source, page: int = 0) -> Sheet:
    """Any source -> checked grey ink at full resolution.

    Args:
        source: path, bytes of a file, binary file object, PIL image, or array (H, W), (H, W, 1),
            (H, W, 3) or (H, W, 4), light paper or dark; bool or 0..1 floats, else integers.
        page: frame of an animation or page of a TIFF; 0 for a PIL image or an array.

    Raises:
        PictureError: no picture in it, or one that the limits refuse, or a blank one.
    """
    name = _name(source)
    if isinstance(source, np.ndarray):
        image = _from_array(source, name)
    elif isinstance(source, Image.Image):
        image = source
    else:
        return _load_file(source, page, name)
    if page:
        raise PictureError(name, "page", f"no page {page}: give a file to choose a page")
    _check_size(image, name)
    try:
        return Sheet(_ink(image, name), name)
    except PictureError:
        raise
    except _DECODER_ERRORS as error:
        raise PictureError(name, "truncated", f"cannot be decoded ({error})") from error


def _name(source: Source) -> str:
    if isinstance(source, str | os.PathLike):
        return os.fsdecode(source)
    if isinstance(source, np.ndarray):
        return "array"
    return str(getattr(source, "filename", None) or getattr(source, "name", None) or "picture")


def _load_file(source: str | os.PathLike[str] | bytes | BinaryIO, page: int, name: str) -> Sheet:
    file = io.BytesIO(_read(source, name))
    try:
        image: Image.Image = Image.open(file, formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureError(name, "large", f"more than {MAX_PIXELS:,} pixels") from error
    except _DECODER_ERRORS as error:
        reason = "not a picture of a known format (" + ", ".join(FORMATS) + ")"
        raise PictureError(name, "format", reason) from error
    with image:
        _check_size(image, name)
        try:
            if page:
                image.seek(page)
        except _DECODER_ERRORS as error:
            raise PictureError(name, "page", f"has no page {page}") from error
        _check_size(image, name)
        try:
            image.load()
            return Sheet(_ink(image, name), name)
        except PictureError:
            raise
        except _DECODER_ERRORS as error:
            raise PictureError(name, "truncated", f"truncated or corrupt ({error})") from error


def _read(source: str | os.PathLike[str] | bytes | BinaryIO, name: str) -> bytes:
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
    elif isinstance(source, str | os.PathLike):
        try:
            # A pipe or a device would never end.
            if os.path.exists(source) and not os.path.isfile(source):
                raise PictureError(name, "format", "not a file")
            with open(source, "rb") as file:
                data = file.read(MAX_BYTES + 1)
        except (OSError, ValueError) as error:
            if isinstance(error, PictureError):
                raise
            raise PictureError(name, "missing", f"cannot be opened ({error})") from error
    else:
        read = getattr(source, "read", None)
        if read is None:
            raise TypeError(f"not a path, bytes, file, image or array: {type(source).__name__}")
        data = read(MAX_BYTES + 1)
        if not isinstance(data, bytes):
            raise PictureError(name, "format", "the file must be opened in binary mode")
    if len(data) > MAX_BYTES:
        raise PictureError(name, "large", f"file of more than {MAX_BYTES // 2**20} MB")
    if not data:
        raise PictureError(name, "format", "empty file")
    return data


def _check_size(image: Image.Image, name: str) -> None:
    width, height = image.size
    short, long = min(width, height), max(width, height)
    if long > MAX_SIDE or width * height > MAX_PIXELS:
        limit = f"{MAX_PIXELS:,} pixels and {MAX_SIDE:,} a side"
        raise PictureError(name, "large", f"{width} x {height} is over the limit of {limit}")
    if short < MIN_SIDE:
        raise PictureError(name, "small", f"{width} x {height} is under {MIN_SIDE} pixels a side")
    if long > MAX_ASPECT * short:
        raise PictureError(name, "aspect", f"{width} x {height} is longer than {MAX_ASPECT}:1")


def _from_array(array: NDArray[np.generic], name: str) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] in (3, 4)):
        raise PictureError(name, "array", f"shape {array.shape} is not (H, W), (H, W, 3 or 4)")
    if array.size == 0:
        raise PictureError(name, "small", "empty array")
    if array.shape[0] > MAX_SIDE or array.shape[1] > MAX_SIDE:
        raise PictureError(name, "large", f"shape {array.shape} is over {MAX_SIDE:,} a side")
    if array.dtype != np.uint8:
        array = _to_bytes(array, name)
    return Image.fromarray(np.ascontiguousarray(array))


def _to_bytes(array: NDArray[np.generic], name: str) -> Bytes:
    """Any range of numbers -> 0..255, scaled, never clipped."""
    if array.dtype.kind not in "buif":
        raise PictureError(name, "array", f"numbers wanted, got {array.dtype}")
    values = array.astype(np.float32)
    if not np.isfinite(values).all():
        raise PictureError(name, "array", "holds NaN or infinity")
    low, high = min(float(values.min()), 0.0), float(values.max())
    if array.dtype.kind in "bf" and low == 0.0 and high <= 1.0:
        high = 1.0
    elif array.dtype.kind in "iuf" and low == 0.0 and high <= 255.0:
        high = 255.0
    # More than 8 bits: 12-bit scans keep their values in 16-bit files, so the top is what is there.
    values -= np.float32(low)
    values *= np.float32(255.0 / max(high - low, 1e-30))
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _ink(image: Image.Image, name: str) -> Bytes:
    """PIL image in any mode -> ink uint8 (H, W), as a person would see it."""
    orientation = _orientation(image)
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(_to_bytes(np.asarray(image), name))
    if image.has_transparency_data:
        layers = image.convert("RGBA")
        ink = _flatten(_over(layers, 255))
        if ink is None:
            ink = _flatten(_over(layers, 0))
    else:
        ink = _flatten(image.convert("L" if image.mode in ("1", "L") else "RGB"))
    if ink is None:
        raise PictureError(name, "blank", "blank: nothing is drawn in it")
    if orientation in _TURNS:
        ink = ink.transpose(_TURNS[orientation])
    return np.array(ink)


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _orientation(image: Image.Image) -> int:
    # Read after the pixels: Pillow turns a TIFF itself and then drops its tag.
    try:
        return int(image.getexif().get(0x0112, 1))
    except _DECODER_ERRORS:
        return 1


def _over(layers: Image.Image, paper: int) -> Image.Image:
    sheet = Image.new("RGB", layers.size, (paper, paper, paper))
    sheet.paste(layers, mask=layers.getchannel("A"))
    return sheet


def _flatten(image: Image.Image) -> Image.Image | None:
    """L or RGB -> L ink on flat paper (0), at full contrast (255); None when blank.

    A channel at a time, and the strongest difference wins: yellow sulfur on white is nearly
    invisible in luminance and black in the blue channel.
    """
    channels = list(image.split())
    if len(channels) == 3 and _is_grey(channels):
        channels = channels[1:2]
    darker, lighter = None, None
    for channel in channels:
        paper = _paper(channel)
        down = _ratio(ImageChops.subtract(paper, channel), paper)
        up = ImageChops.subtract(channel, paper)
        darker = down if darker is None else ImageChops.lighter(darker, down)
        lighter = up if lighter is None else ImageChops.lighter(lighter, up)
    assert darker is not None
    assert lighter is not None
    ramp = np.arange(256) * (np.arange(256) >= MIN_CONTRAST)
    masses = [float((np.array(side.histogram()) * ramp).sum()) for side in (darker, lighter)]
    return _stretch(darker if masses[0] >= masses[1] else lighter)


def _is_grey(channels: list[Image.Image]) -> bool:
    red, green, blue = channels
    apart = (ImageChops.difference(red, green), ImageChops.difference(green, blue))
    return all(int(side.getextrema()[1]) <= 24 for side in apart)  # type: ignore[arg-type]


def _paper(channel: Image.Image) -> Image.Image:
    """Grey level of the paper at each pixel: the medians of large blocks, smoothed."""
    width, height = channel.size
    step = max(1, max(width, height) // 512)
    small = np.asarray(channel.reduce(step) if step > 1 else channel)
    side = max(24, max(small.shape) // 12)  # px of a block: wider than a ring, narrower than a lamp
    rows, columns = max(1, small.shape[0] // side), max(1, small.shape[1] // side)
    blocks = _block_medians(small, rows, columns)
    level = float(np.median(blocks))
    spread = np.percentile(np.abs(blocks - level), 75)
    if spread < 4:
        return Image.new("L", channel.size, round(level))
    # A block inside a bold ring or a stray black bar must not pass for paper.
    padded = np.pad(blocks, 1, mode="edge")
    around = np.stack(
        [padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3)], axis=0
    )
    smooth = Image.fromarray(np.median(around, axis=0).astype(np.uint8))
    return smooth.resize(channel.size, Image.Resampling.BILINEAR)


def _block_medians(grey: Bytes, rows: int, columns: int) -> NDArray[np.float64]:
    """Medians (rows, columns) of as many blocks of a picture, by one histogram of all of them."""
    ys = np.linspace(0, grey.shape[0], rows + 1).astype(int)
    xs = np.linspace(0, grey.shape[1], columns + 1).astype(int)
    row = np.repeat(np.arange(rows), np.diff(ys))
    column = np.repeat(np.arange(columns), np.diff(xs))
    slots = (row[:, None] * columns + column) * 256 + grey
    counts = np.bincount(slots.ravel(), minlength=rows * columns * 256)
    below = counts.reshape(rows, columns, 256).cumsum(2)
    half = below[..., -1:] / 2
    low, high = (below >= half).argmax(2), (below > half).argmax(2)
    return np.asarray((low + high) / 2)


def _ratio(down: Image.Image, paper: Image.Image) -> Image.Image:
    """Loss of light in parts of the paper's own light, so that ink in the shade is still ink."""
    low, high = paper.getextrema()
    if low == high:
        return down  # the stretch does the same for a flat paper
    part = np.asarray(down, np.uint16) * np.uint16(255) // np.maximum(np.asarray(paper), 32)
    return Image.fromarray(np.minimum(part, 255).astype(np.uint8))


def _stretch(ink: Image.Image) -> Image.Image | None:
    """Ink at any contrast -> 0..255 with the paper's grain taken off; None when there is none."""
    counts = np.array(ink.histogram(), np.float64)
    if counts[MIN_CONTRAST:].sum() < MIN_INK_PIXELS:
        return None
    split = max(_otsu(counts), MIN_CONTRAST // 2)
    above = np.cumsum(counts[split + 1 :])
    if above[-1] == 0:
        return None
    top = split + 1 + int(np.searchsorted(above, 0.8 * above[-1]))
    floor = round(0.05 * top)
    if top >= 250:
        return ink
    ramp = (np.arange(256) - floor) * (255.0 / max(top - floor, 1))
    return ink.point(np.clip(np.rint(ramp), 0, 255).astype(int).tolist())


def _otsu(counts: NDArray[np.float64]) -> int:
    """Level that parts a histogram into two classes of least spread."""
    levels = np.arange(counts.size)
    below = np.cumsum(counts)
    mass = np.cumsum(counts * levels)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mass[-1] * below - mass * below[-1]) ** 2 / (below * (below[-1] - below))
    return int(np.nanargmax(np.where(np.isfinite(between), between, 0.0)))


def lifted(ink: Floats) -> Floats:
    """Ink of lines that are thinner than a pixel at reading scale, raised to be seen: by a power,
    so that a hashed wedge stays paler than a solid one.
    """
    mean = float((ink**2).sum() / max(float(ink.sum()), 1e-6))
    if not 0.02 < mean < PLAIN_INK:
        return ink
    return np.asarray(ink ** np.float32(math.log(PLAIN_INK) / math.log(mean)))


def _step(level: int) -> list[int]:
    return [0] * level + [255] * (256 - level)


# ---------------------------------------------------------------------------------------------
# Bond length
# ---------------------------------------------------------------------------------------------

_STROKE = 3.0  # px: strokes are traced at about this width
_WORK_PIXELS = 1_500_000
_ENLARGED_PIXELS = 700_000
_MAX_SIDES = 400_000  # of pixels along outlines; a drawing has a tenth of it, noise has more
_INK_LEVEL = 110  # of 255
_TOLERANCE = 0.9  # original px: the stairs of a slanting 1-bit line stay within it
_GRID = np.geomspace(4.0, 400.0, 361, dtype=np.float64)  # candidate lengths in px, 1.3 % apart


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
    """Straight edges of outlines. All (N,) but `stroke`, in working pixels."""

    length: NDArray[np.float64]  # between the stroke's own corners, corrected for its width
    ends: NDArray[np.int64]  # how many of its two ends are free ends of a stroke
    reach: NDArray[np.float64]  # longer side of its outline's box
    stroke: float


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
    keep = straight & (total >= 4.0)
    if not keep.any():
        return None
    return _Edges(total[keep], ends[keep], reach[outline[keep]], stroke)


def _outlines(mask: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Ink mask -> points (N, 2) as (x, y), outline after outline, and where each one starts.

    The points are the middles of the pixel sides between ink and paper, walked with the ink on
    the right, so holes turn the other way.
    """
    ink = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2), bool)
    ink[1:-1, 1:-1] = mask
    wide = ink.shape[1]
    flat = ink.ravel()
    # Sides by heading east, south, west, north: the pixel whose side it is, as a flat index.
    pixels = [
        np.flatnonzero(flat[wide:] & ~flat[:-wide]) + wide,
        np.flatnonzero(flat[:-1] & ~flat[1:]),
        np.flatnonzero(flat[:-wide] & ~flat[wide:]),
        np.flatnonzero(flat[1:] & ~flat[:-1]) + 1,
    ]
    counts = [found.size for found in pixels]
    total = sum(counts)
    if total == 0:
        return np.zeros((0, 2)), np.zeros(0, np.int64)
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
    x = (where % wide).astype(np.float64)
    y = (where // wide).astype(np.float64)
    x += np.repeat([0.5, 1.0, 0.5, 0.0], counts) - 1
    y += np.repeat([0.0, 0.5, 1.0, 0.5], counts) - 1
    path = np.array(order)
    return np.stack([x[path], y[path]], axis=1), np.array(starts)


def _walk_cycles(following: list[int]) -> tuple[list[int], list[int]]:
    """A permutation -> its cycles one after another, and where each one starts."""
    order: list[int] = []
    starts: list[int] = []
    done = bytearray(len(following))
    first = 0 if following else -1
    while first >= 0:
        starts.append(len(order))
        here = first
        while not done[here]:
            done[here] = 1
            order.append(here)
            here = following[here]
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
    starts = np.r_[0, np.cumsum(counts)[:-1]]

    # Start each outline at its point farthest from the middle, a true corner, and close it.
    middle = np.add.reduceat(points, starts) / counts[:, None]
    away = ((points - np.repeat(middle, counts, axis=0)) ** 2).sum(axis=1)
    top = _first_peaks(away, starts, counts) - starts
    closed = counts + 1
    begin = np.r_[0, np.cumsum(closed)[:-1]]
    inside = np.arange(int(closed.sum())) - np.repeat(begin, closed)
    turned = (inside + np.repeat(top, closed)) % np.repeat(counts, closed)
    path = points[np.repeat(starts, closed) + turned]
    away = ((path - np.repeat(path[begin], closed, axis=0)) ** 2).sum(axis=1)
    opposite = _first_peaks(away, begin, closed)

    chosen = np.zeros(path.shape[0], bool)
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
        first = np.r_[0, np.cumsum(between)[:-1]]
        index = np.arange(int(between.sum())) + np.repeat(left + 1 - first, between)
        chord = path[right] - path[left]
        size = np.maximum(np.hypot(chord[:, 0], chord[:, 1]), 1e-9)
        normal = np.stack([-chord[:, 1], chord[:, 0]], axis=1) / size[:, None]
        apart = path[index] - np.repeat(path[left], between, axis=0)
        distance = np.abs((apart * np.repeat(normal, between, axis=0)).sum(axis=1))
        peak = _first_peaks(distance, first, between)
        split = distance[peak] > tolerance
        cut = index[peak[split]]
        chosen[cut] = True
        left, right = np.r_[left[split], cut], np.r_[cut, right[split]]
    chosen[begin + counts] = False  # the same point as the start
    found = np.flatnonzero(chosen)
    return path[found], np.repeat(names, closed)[found]


def _first_peaks(
    values: NDArray[np.float64], starts: NDArray[np.int64], counts: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Index of the first maximum of each run of `values`."""
    highest = np.maximum.reduceat(values, starts)
    at = np.flatnonzero(values == np.repeat(highest, counts))
    return at[np.searchsorted(at, starts)]


def _vote(edges: _Edges) -> float:
    """The length in working pixels that gathers most edges."""
    # A bond between two labels is a stroke alone, and shows but a part of its length.
    alone = (edges.ends == 2) & (edges.reach < 1.25 * edges.length)
    trust = np.array([1.0, 0.35, 0.2])[edges.ends]
    apart = np.log(_GRID)[:, None] - np.log(edges.length)[None, :]
    near = np.exp(-0.5 * (apart / 0.08) ** 2)
    whole = np.clip(edges.reach[None, :] / _GRID[:, None] - 0.7, 0.1, 0.7)  # letters are small
    whole[:, alone] = 0.3
    votes = near * trust * whole * edges.length**1.5  # (candidates, edges)
    support = votes.sum(axis=1) * _GRID**0.3
    best = int(np.argmax(support))
    # Where all atoms are lettered, letters have most of the straight edges: they sit in outlines
    # of their own height, among strokes much longer than theirs.
    small = edges.reach < 2.2 * _GRID[best]
    longer = np.count_nonzero(edges.length > 1.7 * _GRID[best])
    if votes[best, small].sum() > 0.5 * votes[best].sum() and longer >= 0.3 * near[best].sum():
        best = int(np.argmax(np.where(1.5 * _GRID[best] < _GRID, support, 0.0)))
    return float(_GRID[best])
