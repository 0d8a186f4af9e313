"""A document as a page of HTML: its pages with boxes round the molecules, the readings beside them;
and every molecule cut out of its page, as a picture of its own.

A click on a box goes to its reading, a click on a reading to its box. The page is one file without
scripts, and holds all its pictures.
"""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from .document import Document
from .files import whole
from .picture import PictureError, Source
from .reading import MIN_CONFIDENCE, Reading, redraw

DPI = 100.0  # of a page of a PDF as it is shown
WIDEST = 1200  # px of a page of a picture as it is shown
LEVELS = 32  # of grey or colour: enough to be looked at, and a small file
CROP_DPI = 300.0  # of molecules that are cut out of a PDF
CROP_EDGE = 12  # px of paper round them
COLOURS = {"": "#1d4ed8", " doubtful": "#b45309", " failed": "#b91c1c"}  # of boxes
LETTER = 15  # px of the numbers at boxes
MARGIN = 6  # px of paper between a drawing and its box
STRUCTURE = (150, 220)  # px, height and width of a drawn structure

STYLE = """
:root { color-scheme: light; font: 15px/1.45 system-ui, sans-serif; color: #1e293b; }
body { margin: 1.5rem; background: #f8fafc; }
h1 { font-size: 1.3rem; } h2 { font-size: 1rem; margin: 2rem 0 .5rem; }
.sheet { display: grid; grid-template-columns: minmax(20rem, 3fr) minmax(18rem, 2fr); gap: 1rem;
  align-items: start; }
.picture { position: sticky; top: 1rem; background: #fff; box-shadow: 0 1px 4px #0003; }
.picture img { width: 100%; display: block; }
.box { position: absolute; border: 2px solid #1d4ed8; border-radius: 3px; scroll-margin: 4rem; }
.box.doubtful { border-color: #d97706; } .box.failed { border-color: #dc2626; }
.box span { position: absolute; left: -2px; top: -1.35rem; padding: 0 .3rem; font-size: .8rem;
  background: #1d4ed8; color: #fff; border-radius: 3px; }
.box.doubtful span { background: #b45309; } .box.failed span { background: #b91c1c; }
.reading { display: block; color: inherit; text-decoration: none; background: #fff;
  border: 1px solid #e2e8f0; border-radius: 6px; padding: .5rem .75rem; margin-bottom: .5rem;
  scroll-margin: 1rem; overflow-wrap: anywhere; }
.reading img { float: right; max-width: 45%; }
.reading::after { content: ""; display: block; clear: both; }
.reading code { font-size: .85rem; } .note { color: #64748b; font-size: .85rem; }
:target { outline: 3px solid #facc15; outline-offset: 2px; }
@media (max-width: 60rem) { .sheet { grid-template-columns: 1fr; } }
"""


def pages(source: Source, readings: Iterable[Reading], least: float) -> Iterator[str]:
    """The HTML of a document and its readings, piece by piece.

    Args:
        source: the document, from which the readings are.
        readings: as :meth:`Reader.find` gives them, page by page; pages without any are left out.
        least: confidence under which a reading is marked as doubtful.

    Raises:
        PictureError: the document can't be opened.
    """
    with Document(source) as document:
        name = html.escape(document.source)
        yield f"<!doctype html>\n<html lang='en'><meta charset='utf-8'><title>{name}</title>\n"
        yield "<meta name='viewport' content='width=device-width'>"
        yield f"<style>{STYLE}</style>\n<h1>{name}</h1>\n"
        count = 0
        for number, found in groupby(readings, key=lambda r: r.page or 1):
            here = list(found)
            count += len(here)
            yield _sheet(document, number, here, least)
        told = f"{count} drawings" if count != 1 else "1 drawing"
        yield f"<p class='note'>{told} on {len(document)} page{'s' * (len(document) != 1)}</p>\n"


def _sheet(document: Document, number: int, readings: Sequence[Reading], least: float) -> str:
    try:
        image = document.picture(number, DPI)
        height, width = document.size(number)
    except PictureError as error:
        return f"<h2>Page {number}</h2><p class='note'>{html.escape(error.reason)}</p>\n"
    parts = [f"<h2>Page {number}</h2>\n<div class='sheet'><div class='picture'>"]
    parts.append(f"<img alt='page {number}' src='{_encoded(image)}'>")
    for i, reading in enumerate(readings, 1):
        if reading.box is None:
            continue
        left, top, right, bottom = reading.box
        place = (
            f"left:{100 * left / width:.3f}%;top:{100 * top / height:.3f}%;"
            f"width:{100 * (right - left) / width:.3f}%;"
            f"height:{100 * (bottom - top) / height:.3f}%"
        )
        kind = _kind(reading, least)
        parts.append(
            f"<a class='box{kind}' id='b{number}-{i}' href='#r{number}-{i}' style='{place}' "
            f"aria-label='drawing {i}'><span>{i}</span></a>"
        )
    parts.append("</div><div>")
    parts += [_entry(number, i, reading) for i, reading in enumerate(readings, 1)]
    parts.append("</div></div>\n")
    return "".join(parts)


def _kind(reading: Reading, least: float) -> str:
    if not reading.smiles:
        return " failed"
    return " doubtful" if reading.confidence < least else ""


def _entry(number: int, i: int, reading: Reading) -> str:
    picture = redraw(reading, STRUCTURE)
    shown = (
        f"<img alt='' src='data:image/png;base64,{base64.b64encode(picture).decode()}'>"
        if picture
        else ""
    )
    lines = [f"<b>{i}{f' &middot; {html.escape(reading.number)}' if reading.number else ''}</b>"]
    if reading.smiles:
        lines.append(f"<code>{html.escape(reading.cxsmiles or reading.smiles)}</code>")
        lines.append(f"confidence {reading.confidence:.2f}")
    if reading.error:
        lines.append(html.escape(reading.error))
    lines += [f"<span class='note'>{html.escape(w)}</span>" for w in reading.warnings]
    return (
        f"<a class='reading' id='r{number}-{i}' href='#b{number}-{i}'>{shown}"
        + "<br>".join(lines)
        + "</a>"
    )


def _encoded(image: Image.Image) -> str:
    """A picture as a data URL, small."""
    if image.width > WIDEST:
        image = image.resize((WIDEST, max(round(image.height * WIDEST / image.width), 1)))
    file = io.BytesIO()
    image.quantize(LEVELS, Image.Quantize.FASTOCTREE).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def marked(document: Document, number: int, readings: Sequence[Reading]) -> Image.Image:
    """A page with a box round each reading that has one, and its place among them, from 1.

    Args:
        document: open, from which the readings are.
        number: of the page, from 1.
        readings: of this page, with boxes in its units.

    Raises:
        PictureError: there is no such page, or it is broken or too large.
    """
    image = document.picture(number, DPI)
    scale = image.width / document.size(number)[1]
    if image.width > WIDEST:
        scale *= WIDEST / image.width
        image = image.resize((WIDEST, max(round(image.height * WIDEST / image.width), 1)))
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(LETTER)
    for i, reading in enumerate(readings, 1):
        if reading.box is None:
            continue
        left, top, right, bottom = (side * scale for side in reading.box)
        colour = COLOURS[_kind(reading, MIN_CONFIDENCE)]
        box = (left - MARGIN, top - MARGIN, right + MARGIN, bottom + MARGIN)
        pen.rectangle(box, outline=colour, width=2)
        place = max(box[0], 0.0) + 2, max(box[1] - LETTER - 3, 0.0)  # above the box, on the page
        around = pen.textbbox(place, str(i), font)
        pen.rectangle((place[0] - 2, place[1], around[2] + 2, around[3] + 3), fill=colour)
        pen.text(place, str(i), "white", font)
    return image


def cut_out(readings: Iterable[Reading], folder: Path) -> Iterator[Reading]:
    """The readings as they come, while each that has a box is cut out of its page and kept.

    The pictures are called after the document, the page and the place of the drawing on it, as
    ``paper-p3-2.png``; the second document of a name is ``paper~2``.

    Args:
        readings: page by page; their sources are files.
        folder: made if it does not exist.

    Raises:
        OSError: a picture cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    here: tuple[str | None, int | None] = (None, None)
    names: dict[str, str] = {}
    count, image, scale = 0, None, 1.0
    for reading in readings:
        if reading.box is not None and reading.source and os.path.isfile(reading.source):
            if (reading.source, reading.page) != here:
                here, count = (reading.source, reading.page), 0
                with Document(reading.source) as document:
                    number = reading.page or 1
                    image = document.picture(number, CROP_DPI)
                    scale = image.width / document.size(number)[1]
                    if reading.source not in names:
                        stem = Path(reading.source).stem
                        used = sum(Path(other).stem == stem for other in names)
                        names[reading.source] = f"{stem}~{used + 1}" if used else stem
            count += 1
            assert image is not None
            left, top, right, bottom = (v * scale for v in reading.box)
            box = (left - CROP_EDGE, top - CROP_EDGE, right + CROP_EDGE, bottom + CROP_EDGE)
            wide = Image.new("RGB", (round(box[2] - box[0]), round(box[3] - box[1])), "white")
            x, y = max(round(box[0]), 0), max(round(box[1]), 0)
            part = image.crop(
                (x, y, min(round(box[2]), image.width), min(round(box[3]), image.height))
            )
            wide.paste(part, (x - round(box[0]), y - round(box[1])))
            name = f"{names[reading.source]}-p{reading.page or 1}-{count}.png"
            with whole(folder / name) as draft:
                wide.save(draft, "PNG")
        yield reading
