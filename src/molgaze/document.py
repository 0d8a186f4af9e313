"""Documents to pages: a PDF, a TIFF of several pages, or one picture.

    with Document("paper.pdf") as document:
        for number in range(1, len(document) + 1):
            page = document.page(number)

A page is ink at the resolution at which it is looked over, and the words of its text layer. The
unit of a page is the point, 1/72 inch, in a PDF, and the pixel in a picture; the origin is the top
left corner of the page as a reader sees it, so turned and cropped pages need no care.
"""

from __future__ import annotations

import ctypes
import io
import math
import os
import re
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .paper import page_ink
from .picture import (
    FORMATS,
    MAX_BYTES,
    MIN_SIDE,
    PictureError,
    Sheet,
    Source,
    load,
    name_of,
    not_opened,
    read_file,
)

MAX_PAGES = 2000  # of a PDF
MAX_FRAMES = 10_000  # of a TIFF
MAX_DOCUMENT_BYTES = 1000 * 2**20  # of a PDF in a file, of which a page is read at a time
DPI = 200.0  # of pages that are drawn from vectors, or hold pictures among text
SCAN_DPI = (150.0, 200.0)  # least and most of pages that are one scan
LEAST_DPI = 30.0  # a page so large that it must be drawn smaller than this is refused
MAX_PAGE_PIXELS = 20_000_000
MAX_PAGE_SIDE = 12_000
SCAN_SHARE = 0.6  # of the page's area, which the picture of a scan covers at least
MAX_OBJECTS = 2000  # looked at for the picture of a scan; pages with more are no scans
MAX_CHARACTERS = 100_000  # of the text layer of a page
MAX_IMAGE_PIXELS = 250_000_000  # of a picture in a page; decoded, it would fill the memory
MAX_STREAM = 100 * 2**20  # bytes that a packed stream of a PDF may unpack to
STREAM_HEAD, SWOLLEN = 2**16, 2**23  # a stream whose first bytes swell to so many is unpacked whole
DRAWING_SECONDS = 20.0  # for a page, then it is given up

Box = tuple[float, float, float, float]

# pdfium is not safe for threads.
_PDFIUM = threading.RLock()


@dataclass(frozen=True, slots=True)
class Word:
    """A word of the text layer; its box is left, top, right, bottom in the page's units."""

    text: str
    box: Box


@dataclass(frozen=True, eq=False)
class Page:
    """One page, ready to be looked over.

    Attributes:
        source: the name of the document.
        number: from 1.
        size: (height, width) in the page's units, points of a PDF or pixels of a picture.
        sheet: its ink.
        scale: pixels of the sheet for one unit of the page.
        words: of the text layer, in its order; none for a picture.
    """

    source: str
    number: int
    size: tuple[float, float]
    sheet: Sheet
    scale: float
    words: tuple[Word, ...] = ()


def is_pdf(head: bytes) -> bool:
    """Whether a file that begins so is a PDF: its mark may stand anywhere in the first 1024 bytes.

    Args:
        head: the first bytes of the file.
    """
    return b"%PDF-" in head[:1024]


def tiff_pages(file: IO[bytes], name: str) -> int:
    """Number of pages of a TIFF by its chain of directories; 1 for anything else.

    Args:
        file: at its start.
        name: of the file, for the message of an error.

    Raises:
        PictureError: there are more than `MAX_FRAMES`.
    """
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
    if not order or len(head) < 16:
        return 1
    large = struct.unpack(order + "H", head[2:4])[0] == 43  # BigTIFF
    number, entry, offset = ("Q", 20, "Q") if large else ("H", 12, "I")
    at = struct.unpack(order + offset, head[8:16] if large else head[4:8])[0]
    seen: set[int] = set()
    while at and at not in seen:
        if len(seen) == MAX_FRAMES:
            raise PictureError(name, "large", f"TIFF of more than {MAX_FRAMES:,} pages")
        seen.add(at)
        try:
            file.seek(at)
            entries = struct.unpack(order + number, file.read(struct.calcsize(number)))[0]
            file.seek(entries * entry, os.SEEK_CUR)
            at = struct.unpack(order + offset, file.read(struct.calcsize(order + offset)))[0]
        except (struct.error, OSError, ValueError, OverflowError):
            break
    return max(len(seen), 1)


class Document:
    """The pages of a document; close it, or use it in a ``with`` statement.

    Args:
        source: path, bytes or binary file of a PDF; or any picture that :func:`picture.load` takes,
            all frames of a TIFF being pages.

    Raises:
        PictureError: no document; its kind is `missing`, `format`, `encrypted` or `large`.
    """

    def __init__(self, source: Source) -> None:
        self.source = name_of(source, "document")
        self._pdf: Any = None
        self._data: bytes | None = None
        self._picture: Source = source
        self._count = 1
        if isinstance(source, Image.Image | np.ndarray):
            return
        if isinstance(source, str | os.PathLike):
            self._open_path(os.fspath(source))
        else:
            if isinstance(source, bytes | bytearray | memoryview):
                data = bytes(source)
            else:
                data = read_file(source, self.source)
            self._picture = data
            if is_pdf(data[:1024]):
                self._open_pdf(None, data)
            else:
                self._count = tiff_pages(io.BytesIO(data), self.source)

    def _open_path(self, path: str) -> None:
        try:
            if os.path.exists(path) and not os.path.isfile(path):
                raise PictureError(self.source, "format", "not a file")
            with open(path, "rb") as file:
                head = file.read(1024)
                size = os.fstat(file.fileno()).st_size
                if not is_pdf(head):
                    file.seek(0)
                    self._count = tiff_pages(file, self.source)
        except (OSError, ValueError) as error:
            if isinstance(error, PictureError):
                raise
            raise not_opened(path, self.source, error) from error
        if is_pdf(head):
            if size > MAX_DOCUMENT_BYTES:
                limit = f"PDF of more than {MAX_DOCUMENT_BYTES // 2**20} MB"
                raise PictureError(self.source, "large", limit)
            self._open_pdf(path, None)

    def _open_pdf(self, path: str | None, data: bytes | None) -> None:
        raw = _pdfium(self.source)
        if data is None and os.path.getsize(path or "") <= MAX_BYTES:
            with open(path or "", "rb") as file:
                data = file.read()
        if data is not None and _is_bomb(data):
            reason = f"a stream in it unpacks to more than {MAX_STREAM // 2**20} MB"
            raise PictureError(self.source, "large", reason)
        self._data = data  # pdfium reads from it as long as the document is open
        with _PDFIUM:
            if data is not None:
                pdf = raw.FPDF_LoadMemDocument64(data, len(data), None)
            else:
                name = os.fsencode(path or "") if os.name != "nt" else str(path).encode()
                pdf = raw.FPDF_LoadDocument(name + b"\0", None)
            if not pdf:
                fault = raw.FPDF_GetLastError()
                if fault in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY):
                    reason = "encrypted PDF: save a copy that needs no password"
                    raise PictureError(self.source, "encrypted", reason)
                raise PictureError(self.source, "format", "broken PDF: pdfium cannot open it")
            count = raw.FPDF_GetPageCount(pdf)
            if not 1 <= count <= MAX_PAGES:
                raw.FPDF_CloseDocument(pdf)
                if count < 1:
                    raise PictureError(self.source, "format", "PDF without pages")
                reason = f"PDF of {count:,} pages, the limit is {MAX_PAGES:,}"
                raise PictureError(self.source, "large", reason)
            self._pdf, self._count = pdf, count

    def __len__(self) -> int:
        return self._count

    @property
    def is_pdf(self) -> bool:
        """Whether it is a PDF, so that places on it are in points, not in pixels."""
        return self._pdf is not None

    def page(self, number: int) -> Page:
        """A page, drawn.

        Args:
            number: from 1.

        Raises:
            PictureError: there is no such page (`page`), or it is broken (`truncated`), or too
                large (`large`).
        """
        self._check(number)
        if self._pdf is None:
            sheet = _sheet(self._picture, number, self.source)
            size = (float(sheet.size[0]), float(sheet.size[1]))
            return Page(self.source, number, size, sheet, 1.0)
        with _PDFIUM, self._opened(number) as (raw, page):
            size = _size(raw, page, f"{self.source}: page {number}")
            dpi = self._dpi(raw, page, size)
            pixels = self._draw(raw, page, size, dpi, number)
            words = tuple(_words(raw, page, size))
        ink = page_ink(Image.fromarray(pixels))
        blank = np.zeros(pixels.shape[:2], np.uint8)
        sheet = Sheet(blank if ink is None else np.array(ink), self.source)
        return Page(self.source, number, size, sheet, sheet.size[1] / size[1], words)

    def size(self, number: int) -> tuple[float, float]:
        """(height, width) of a page in its units.

        Raises:
            PictureError: as :meth:`page`.
        """
        self._check(number)
        if self._pdf is not None:
            with _PDFIUM, self._opened(number) as (raw, page):
                return _size(raw, page, f"{self.source}: page {number}")
        height, width = _sheet(self._picture, number, self.source).size
        return float(height), float(width)

    def picture(self, number: int, dpi: float = 100.0) -> Image.Image:
        """A page as an RGB picture to be shown: a PDF at `dpi` dots an inch, else its own pixels.

        Raises:
            PictureError: as :meth:`page`.
        """
        self._check(number)
        if self._pdf is not None:
            with _PDFIUM, self._opened(number) as (raw, page):
                size = _size(raw, page, f"{self.source}: page {number}")
                return Image.fromarray(self._draw(raw, page, size, dpi, number))
        ink = _sheet(self._picture, number, self.source).ink
        return Image.fromarray(255 - ink).convert("RGB")

    def close(self) -> None:
        """Let go of the file."""
        if self._pdf is not None:
            with _PDFIUM:
                _pdfium(self.source).FPDF_CloseDocument(self._pdf)
            self._pdf, self._data = None, None
        self._count = 0

    def __enter__(self) -> Document:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def _check(self, number: int) -> None:
        if not 1 <= number <= self._count:
            reason = f"there is no page {number}, it has {self._count}"
            raise PictureError(self.source, "page", reason)

    @contextmanager
    def _opened(self, number: int) -> Iterator[tuple[Any, Any]]:
        raw = _pdfium(self.source)
        page = raw.FPDF_LoadPage(self._pdf, number - 1)
        if not page:
            raise PictureError(self.source, "truncated", f"page {number} is broken")
        try:
            yield raw, page
        finally:
            raw.FPDF_ClosePage(page)

    def _dpi(self, raw: Any, page: Any, size: tuple[float, float]) -> float:
        """Dots an inch: those of the scan if the page is one, within limits."""
        own = [
            dpi
            for pixels, dpi, share in _pictures(raw, page, size, self.source)
            if share > SCAN_SHARE and pixels
        ]
        dpi = min(max(own[0], SCAN_DPI[0]), SCAN_DPI[1]) if len(own) == 1 else DPI
        height, width = (side / 72 for side in size)  # in inches
        dpi = min(dpi, MAX_PAGE_SIDE / max(height, width))
        return min(dpi, math.sqrt(MAX_PAGE_PIXELS / (height * width)))

    def _draw(
        self, raw: Any, page: Any, size: tuple[float, float], dpi: float, number: int
    ) -> NDArray[np.uint8]:
        """A page as pixels (H, W, 3)."""
        if dpi < LEAST_DPI:
            reason = f"page {number} is {size[1] / 72:,.0f} x {size[0] / 72:,.0f} inches, too large"
            raise PictureError(self.source, "large", reason)
        height, width = (max(math.ceil(side * dpi / 72), 1) for side in size)
        if min(height, width) < MIN_SIDE:
            reason = f"page {number} is {size[1]:.3g} x {size[0]:.3g} points, too small"
            raise PictureError(self.source, "small", reason)
        pixels = np.full((height, width, 3), 255, np.uint8)
        place = pixels.ctypes.data_as(ctypes.c_void_p)
        bitmap = raw.FPDFBitmap_CreateEx(width, height, raw.FPDFBitmap_BGR, place, 3 * width)
        if not bitmap:
            raise PictureError(self.source, "large", f"page {number} does not fit the memory")
        end = time.monotonic() + DRAWING_SECONDS
        pause = raw.IFSDK_PAUSE(version=1)
        # Kept in a variable, since ctypes holds no reference to it.
        is_late = type(pause.NeedToPauseNow)(lambda _: time.monotonic() > end)
        pause.NeedToPauseNow = is_late
        flags = raw.FPDF_ANNOT | raw.FPDF_REVERSE_BYTE_ORDER | raw.FPDF_RENDER_LIMITEDIMAGECACHE
        try:
            state = raw.FPDF_RenderPageBitmap_Start(
                bitmap, page, 0, 0, width, height, 0, flags, pause
            )
            raw.FPDF_RenderPage_Close(page)
        finally:
            raw.FPDFBitmap_Destroy(bitmap)
        if state == raw.FPDF_RENDER_TOBECONTINUED:
            reason = f"page {number} takes more than {DRAWING_SECONDS:.0f} s to draw"
            raise PictureError(self.source, "large", reason)
        if state == raw.FPDF_RENDER_FAILED:
            raise PictureError(self.source, "truncated", f"page {number} cannot be drawn")
        return pixels


def _pdfium(name: str) -> Any:
    """pdfium's own functions.

    Raises:
        PictureError: it is not installed.
    """
    try:
        import pypdfium2.raw  # type: ignore[import-untyped]  # noqa: PLC0415  # seldom needed
    except ImportError as error:
        reason = "a PDF; to read it: pip install pypdfium2"
        raise PictureError(name, "format", reason) from error
    return pypdfium2.raw


def _is_bomb(data: bytes) -> bool:
    """Whether a stream of a PDF unpacks to more than the memory should hold.

    Every stream is unpacked for its first bytes, and to its end only if they swell much.
    """
    view = memoryview(data)
    for mark in re.finditer(rb"stream\r?\n(?=[\x08-\x78][\x01\x5e\x9c\xda])", data):
        unpacker = zlib.decompressobj()
        size, at = 0, mark.end()
        try:
            swollen = len(unpacker.decompress(view[at : at + STREAM_HEAD], SWOLLEN))
            if swollen < SWOLLEN:
                continue
            size, left = swollen, unpacker.unconsumed_tail
            at += STREAM_HEAD
            while size <= MAX_STREAM and not unpacker.eof and (left or at < len(data)):
                if not left:
                    left, at = bytes(view[at : at + STREAM_HEAD]), at + STREAM_HEAD
                size += len(unpacker.decompress(left, SWOLLEN))
                left = unpacker.unconsumed_tail
        except zlib.error:
            continue
        if size > MAX_STREAM:
            return True
    return False


def _sheet(source: Source, number: int, name: str) -> Sheet:
    """The ink of a page; none on a blank page, which is no fault."""
    try:
        sheet = load(source, number)
    except PictureError as error:
        if error.kind != "blank":
            raise PictureError(name, error.kind, error.reason) from error
        with_size = source if isinstance(source, np.ndarray) else None
        shape = with_size.shape[:2] if with_size is not None else _shape(source, number)
        return Sheet(np.zeros(shape, np.uint8), name)
    return Sheet(sheet.ink, name)


def _shape(source: Source, number: int) -> tuple[int, int]:
    """(height, width) of a picture that `load` found blank."""
    if isinstance(source, Image.Image):
        return source.height, source.width
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    with Image.open(file, formats=FORMATS) as image:  # type: ignore[arg-type]
        image.seek(number - 1)
        return image.height, image.width


def _size(raw: Any, page: Any, name: str) -> tuple[float, float]:
    """(height, width) in points."""
    height, width = raw.FPDF_GetPageHeightF(page), raw.FPDF_GetPageWidthF(page)
    if not (0 < height < math.inf and 0 < width < math.inf):
        raise PictureError(name, "small", "has no area")
    return height, width


def _pictures(
    raw: Any, page: Any, size: tuple[float, float], name: str
) -> Iterator[tuple[int, float, float]]:
    """Of each picture in a page: pixels, dots an inch, and its share of the page's area.

    Raises:
        PictureError: one would fill the memory.
    """
    width, height = ctypes.c_uint(), ctypes.c_uint()
    sides = [ctypes.c_float() for _ in range(4)]
    left, bottom, right, top = sides
    for i in range(min(raw.FPDFPage_CountObjects(page), MAX_OBJECTS)):
        thing = raw.FPDFPage_GetObject(page, i)
        if raw.FPDFPageObj_GetType(thing) != raw.FPDF_PAGEOBJ_IMAGE:
            continue
        if not raw.FPDFImageObj_GetImagePixelSize(thing, width, height):
            continue
        pixels = width.value * height.value
        if pixels > MAX_IMAGE_PIXELS:
            raise PictureError(name, "large", f"holds a picture of {pixels:,} pixels")
        if not raw.FPDFPageObj_GetBounds(thing, *sides):
            continue
        wide, high = right.value - left.value, top.value - bottom.value
        if wide <= 0 or high <= 0:
            continue
        # A picture may be turned, so by areas.
        dpi = 72 * math.sqrt(pixels / (wide * high))
        yield pixels, dpi, wide * high / (size[0] * size[1])


def _words(raw: Any, page: Any, size: tuple[float, float]) -> Iterator[Word]:
    """The words of a page's text layer."""
    text = raw.FPDFText_LoadPage(page)
    if not text:
        return
    try:
        letters: list[str] = []
        boxes: list[Box] = []
        for i in range(min(raw.FPDFText_CountChars(text), MAX_CHARACTERS)):
            letter = chr(min(raw.FPDFText_GetUnicode(text, i), 0x10FFFF))
            if letter.isspace() or not letter.isprintable():
                if letters:
                    yield Word("".join(letters), _around(boxes))
                letters, boxes = [], []
                continue
            box = _letter_box(raw, page, text, i, size)
            if box is not None:
                letters.append(letter)
                boxes.append(box)
        if letters:
            yield Word("".join(letters), _around(boxes))
    finally:
        raw.FPDFText_ClosePage(text)


def _letter_box(raw: Any, page: Any, text: Any, i: int, size: tuple[float, float]) -> Box | None:
    """Where a letter stands, in points from the top left corner of the page as it is seen."""
    left, right, bottom, top = (ctypes.c_double() for _ in range(4))
    if not raw.FPDFText_GetCharBox(text, i, left, right, bottom, top):
        return None
    fine = 16  # parts of a point, since pdfium gives whole numbers
    x, y = ctypes.c_int(), ctypes.c_int()
    corners = []
    for across, up in ((left, bottom), (right, top)):
        place = (round(size[1] * fine), round(size[0] * fine), 0, across.value, up.value, x, y)
        if not raw.FPDF_PageToDevice(page, 0, 0, *place):
            return None
        corners.append((x.value / fine, y.value / fine))
    (x0, y0), (x1, y1) = corners
    return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)


def _around(boxes: list[Box]) -> Box:
    left, top, right, bottom = zip(*boxes, strict=True)
    return min(left), min(top), max(right), max(bottom)
