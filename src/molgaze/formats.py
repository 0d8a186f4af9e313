"""Pictures that Pillow alone does not open: SVG drawings, HEIC and AVIF photographs.

They need the packages of the extra ``formats``, which are imported only when such a picture comes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec

from PIL import Image, features

SVG_SIDE = 1000
"""Pixels of the longer side at which an SVG is drawn; places are in these pixels."""
SVG = re.compile(rb"<(\w+:)?svg[\s/>]")  # its first tag, also without an end tag or with a prefix
MAX_ASPECT = 40  # longer SVGs are not drawn: the shorter side would fill the memory or vanish
SVG_DRAWERS = ("resvg_py", "cairosvg")
SUFFIXES = {".svg": SVG_DRAWERS, ".heic": ("pillow_heif",), ".heif": ("pillow_heif",), ".avif": ()}
"""Suffix -> packages of which one is needed; AVIF is Pillow's own, where it was built with it."""


@cache
def can_open(suffix: str) -> bool:
    """Whether pictures with this suffix, one of :data:`SUFFIXES`, can be opened here."""
    if suffix == ".avif":
        return bool(features.check("avif"))
    return any(map(find_spec, SUFFIXES.get(suffix, ())))


def opener(head: bytes) -> Callable[[bytes], Image.Image] | None:
    """What opens a file that begins so, if the package for it is installed; None otherwise.

    The opener takes the whole file, and raises whatever the package makes of a broken one.

    Args:
        head: the first kilobyte of the file, or more.
    """
    if head[4:8] == b"ftyp":
        if head[8:12] in (b"avif", b"avis"):
            return _open_avif if can_open(".avif") else None
        return _open_heif if can_open(".heic") else None
    if SVG.search(head[:4096]):
        return _draw_svg if can_open(".svg") else None
    return None


def _open_avif(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data), formats=("AVIF",))


def _open_heif(data: bytes) -> Image.Image:
    import pillow_heif  # noqa: PLC0415  an extra

    image: Image.Image = pillow_heif.HeifImageFile(io.BytesIO(data))
    return image


def _draw_svg(data: bytes) -> Image.Image:
    """An SVG on white paper. Nothing that it links to is opened, be it a file or an address."""
    text = re.sub(
        r"""\b(?:xlink:)?href\s*=\s*(?:"(?!data:|\#)[^"]*"|'(?!data:|\#)[^']*')""",
        "",
        data.decode("utf-8-sig", "replace"),
    )
    height, width = _svg_size(text)
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise ValueError(f"{width:g} x {height:g} is longer than {MAX_ASPECT}:1")
    scale = SVG_SIDE / max(height, width)
    size = max(round(height * scale), 1), max(round(width * scale), 1)
    if find_spec("resvg_py"):
        import resvg_py  # noqa: PLC0415  an extra

        drawn = resvg_py.svg_to_bytes(
            svg_string=text, height=size[0], width=size[1], background="white"
        )
    else:
        import cairosvg  # noqa: PLC0415  an extra

        drawn = cairosvg.svg2png(
            bytestring=text.encode(),
            output_height=size[0],
            output_width=size[1],
            background_color="white",
        )
    return Image.open(io.BytesIO(bytes(drawn)), formats=("PNG",))


def _svg_size(text: str) -> tuple[float, float]:
    """(height, width) that an SVG asks for, in any unit; a square if it says nothing."""
    found = re.search(r"<(?:\w+:)?svg\b[^>]*>", text)
    root = found[0] if found else ""

    def value(name: str) -> float | None:
        told = re.search(rf"""\s{name}\s*=\s*["']\s*([\d.]+(?:e[-+]?\d+)?)\s*([a-z%]*)""", root)
        return float(told[1]) if told and told[2] != "%" and float(told[1]) > 0 else None

    height, width = value("height"), value("width")
    if height is not None and width is not None:
        return height, width
    box = re.search(r"""\sviewBox\s*=\s*["']([^"']*)["']""", root)
    sides = re.findall(r"[-+\d.e]+", box[1]) if box else []
    if len(sides) == 4 and float(sides[2]) > 0 and float(sides[3]) > 0:
        return float(sides[3]), float(sides[2])
    return 1.0, 1.0
