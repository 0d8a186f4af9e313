"""Path, bytes, file object, PIL image or array -> checked grey ink at full resolution.

This is the only place where pixels are decoded. `load` checks the source and brings it to plain ink
on plain paper (`Sheet`); `Sheet.at_scale` brings that to the scale that the reader was taught.

    picture = load("scan.png").at_scale(20.0)      # bonds about 20 px long
    picture.to_original(places)                    # back to pixels of scan.png
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from . import formats, refusals
from .components import Components, strokes
from .paper import plain_ink
from .scale import TARGET_BOND, Bytes, Picture, at_scale, bond_length

FORMATS = ("PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP", "PPM")
MAX_BYTES = 100 * 2**20  # of a file
MAX_PIXELS = 40_000_000
MAX_SIDE = 16_384
MIN_SIDE = 8
MAX_ASPECT = 40

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
class Sheet:
    """A checked picture at full resolution.

    Attributes:
        ink: uint8 (H, W), 0 paper .. 255 ink; paper flat, ink stretched to full contrast.
        source: the name of what was read.
        found: the components of what is dark in it, where they are known.
    """

    ink: Bytes
    source: str = "array"
    found: Components | None = field(default=None, repr=False)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.ink.shape[0], self.ink.shape[1]

    @cached_property
    def bond(self) -> float:
        """Estimated bond length in pixels."""
        return bond_length(self.ink)

    @cached_property
    def strokes(self) -> Components | None:
        """The components of what is dark in it; None for noise."""
        return strokes(self.ink) if self.found is None else self.found

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
        return at_scale(self.ink, self.box, self.strokes, length, target, self.source)


def load(source: Source, page: int = 1) -> Sheet:
    """Any source -> checked grey ink at full resolution.

    Args:
        source: path, bytes of a file, binary file object, PIL image, or array (H, W), (H, W, 1),
            (H, W, 3) or (H, W, 4), light paper or dark; bool or 0..1 floats, else integers.
        page: frame of an animation or page of a TIFF, from 1; a PIL image or an array has one.

    Raises:
        PictureError: no picture in it, or one that the limits refuse, or a blank one.
    """
    name = name_of(source)
    if isinstance(source, np.ndarray):
        image = _from_array(source, name)
    elif isinstance(source, Image.Image):
        image = source
    else:
        return _load_file(source, page, name)
    if page != 1:
        raise PictureError(name, "page", f"there is no page {page}: give a file to choose a page")
    _check_size(image.size, name)
    try:
        return _sheet(image, name)
    except PictureError:
        raise
    except _DECODER_ERRORS as error:
        raise PictureError(name, "truncated", f"cannot be decoded ({error})") from error


def name_of(source: Source, nameless: str = "picture") -> str:
    """What a source is called in results and messages.

    Args:
        source: as of :func:`load`.
        nameless: the name of bytes, and of files and images that have none.
    """
    if isinstance(source, str | os.PathLike):
        return refusals.short(os.fsdecode(source))
    if isinstance(source, np.ndarray):
        return "array"
    return str(getattr(source, "filename", None) or getattr(source, "name", None) or nameless)


def _load_file(source: str | os.PathLike[str] | bytes | BinaryIO, page: int, name: str) -> Sheet:
    data = _read(source, name)
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureError(name, "large", f"more than {MAX_PIXELS:,} pixels") from error
    except _DECODER_ERRORS as error:
        image = _open_other(data, name, error)
    with image:
        _check_size(image.size, name)
        try:
            if page < 1:
                raise EOFError
            if page > 1:
                image.seek(page - 1)
        except _DECODER_ERRORS as error:
            raise PictureError(name, "page", f"there is no page {page}{_count(data)}") from error
        _check_size(image.size, name)
        try:
            image.load()
            return _sheet(image, name)
        except PictureError:
            raise
        except _DECODER_ERRORS as error:
            raise PictureError(name, "truncated", f"truncated or corrupt ({error})") from error


def _count(data: bytes) -> str:
    """How many pages a picture has, for messages; empty where a broken one does not tell."""
    try:  # opened anew: after a page that is not there, Pillow counts wrongly
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return f", it has {getattr(image, 'n_frames', 1)}"
    except _DECODER_ERRORS:
        return ""


def _open_other(data: bytes, name: str, error: Exception) -> Image.Image:
    """A picture of a kind that an extra brings; `error` is what Pillow made of it."""
    opened = formats.opener(data)
    if opened is None:
        reason = "not a picture of a known format (" + ", ".join(FORMATS) + ")"
        raise PictureError(name, "format", refusals.of_bytes(data) or reason) from error
    try:
        return opened(data)
    except Exception as fault:  # whatever another library makes of a broken file
        told = next(iter(str(fault).splitlines()), type(fault).__name__)
        raise PictureError(name, "truncated", f"cannot be drawn or decoded ({told})") from fault


def _read(source: str | os.PathLike[str] | bytes | BinaryIO, name: str) -> bytes:
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
    elif isinstance(source, str | os.PathLike):
        try:
            # A pipe or a device would never end.
            if os.path.exists(source) and not os.path.isfile(source):
                what = "a folder, no picture" if os.path.isdir(source) else "not a file"
                raise PictureError(name, "format", what)
            with open(source, "rb") as file:
                data = file.read(MAX_BYTES + 1)
        except (OSError, ValueError) as error:
            if isinstance(error, PictureError):
                raise
            raise not_opened(source, name, error) from error
    else:
        return read_file(source, name)
    _check_bytes(data, name)
    return data


def not_opened(source: str | os.PathLike[str], name: str, error: Exception) -> PictureError:
    """The error for a path that cannot be opened, with what to do if it is no path at all."""
    if os.path.exists(source):
        reason = f"cannot be opened ({getattr(error, 'strerror', None) or error})"
    else:
        reason = refusals.of_name(os.fsdecode(source))
    return PictureError(name, "missing", reason)


def read_file(file: BinaryIO, name: str) -> bytes:
    """The bytes of an open file, which are `MAX_BYTES` at most.

    Raises:
        TypeError: it is no file.
        PictureError: it is empty, too large, or not open in binary mode.
    """
    read = getattr(file, "read", None)
    if read is None:
        raise TypeError(f"not a path, bytes, file, image or array: {type(file).__name__}")
    data = read(MAX_BYTES + 1)
    if not isinstance(data, bytes):
        raise PictureError(name, "format", "the file must be opened in binary mode")
    _check_bytes(data, name)
    return data


def _check_bytes(data: bytes, name: str) -> None:
    if len(data) > MAX_BYTES:
        raise PictureError(name, "large", f"file of more than {MAX_BYTES // 2**20} MB")
    if not data:
        raise PictureError(name, "format", "empty file")


def _check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
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
    # Before its numbers are copied to others of four times the size.
    _check_size((array.shape[1], array.shape[0]), name)
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


def _sheet(image: Image.Image, name: str) -> Sheet:
    """PIL image in any mode -> its ink, as a person would see it."""
    orientation = _orientation(image)
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(_to_bytes(np.asarray(image), name))
    if image.has_transparency_data:
        layers = image.convert("RGBA")
        plain = plain_ink(_over(layers, 255)) or plain_ink(_over(layers, 0))
    else:
        plain = plain_ink(image.convert("L" if image.mode in ("1", "L") else "RGB"))
    if plain is None:
        raise PictureError(name, "blank", "blank: nothing is drawn in it")
    ink, found = plain
    if orientation in _TURNS:
        ink, found = ink.transpose(_TURNS[orientation]), None
    return Sheet(np.array(ink), name, found)


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


def _step(level: int) -> list[int]:
    return [0] * level + [255] * (256 - level)
