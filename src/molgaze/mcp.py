"""A server for agents, which speaks the Model Context Protocol over standard input and output.

It reads pictures and pages from the folders that it was given, and from nowhere else.
"""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from mcp.server import MCPServer
from mcp.server.mcpserver import Image as PictureContent
from mcp.server.mcpserver.exceptions import ToolError
from PIL import Image

from . import refusals
from .document import Document
from .gallery import marked
from .picture import PictureError
from .reading import Reading
from .show import figure
from .workers import Reads

WIDEST = 1200  # px of the longer side of an annotated picture: enough to be looked at
INSTRUCTIONS = (
    "Reads drawings of molecules from pictures and PDFs. Do not read structures by eye: call "
    "read_picture for a picture of one or a few molecules, and read_page for a page of a PDF or a "
    "scan. Tell the user the confidence, and do not present a molecule with needs_review as sure."
)


class _Server(Protocol):
    def add_tool(self, fn: Any, *, structured_output: bool) -> Any: ...

    def run(self, transport: Any) -> None: ...


def server(reader: Reads, folders: Sequence[str | os.PathLike[str]]) -> _Server:
    """A server with the tools ``read_picture`` and ``read_page``; ``run("stdio")`` starts it.

    Args:
        reader: reads one picture at a time.
        folders: in which the files lie that it may read; links are followed before that is judged.
    """
    allowed = [Path(os.path.realpath(folder)) for folder in folders]
    busy = threading.Lock()

    def read_picture(path: str, page: int = 1) -> list[Any]:
        """Read a picture of a molecule, or of a few, and return SMILES, confidence and doubts.

        Gives JSON with a SMILES for each molecule, its InChIKey and formula, how probable it is
        that it is right (confidence, 0 to 1), doubtful atoms with their places, and warnings; and
        an annotated picture that shows the reading beside the drawing. Places and boxes are in
        pixels of the picture.

        Args:
            path: of a picture file (PNG, JPEG, TIFF, GIF, BMP, WebP), absolute or below one of the
                server's folders.
            page: frame of a TIFF or GIF, counted from 1.
        """
        file = _file(path, allowed)
        with busy:
            try:
                found = list(reader.read_apart(file, page=page))
                if len(found) == 1 and found[0].box is None:
                    image = figure(found[0], file)
                else:
                    with Document(file) as document:
                        image = marked(document, page, found)
            except PictureError as err:
                raise ToolError(f"{path}: {err.reason}") from err
        return _answer(path, page, found, "pixels", image)

    def read_page(path: str, page: int = 1) -> list[Any]:
        """Find every molecule drawn on a page of a PDF or of a scan, and read each.

        Gives JSON with a molecule for each drawing: SMILES, confidence (0 to 1), doubtful atoms,
        warnings, its box on the page as left, top, right, bottom, and the number that the compound
        has in the text; and a picture of the page with numbered boxes. Boxes and places are in
        points of a PDF or pixels of a picture, from the top left corner.

        Args:
            path: of a PDF, a TIFF or a picture of a page, absolute or below one of the server's
                folders.
            page: number of the page, counted from 1.
        """
        file = _file(path, allowed)
        with busy:
            try:
                with Document(file) as document:
                    number, unit = len(document), "points" if document.is_pdf else "pixels"
                    document.size(page)  # refuses pages that are not there
                    found = list(reader.find(file, [page]))
                    image = marked(document, page, found)
            except PictureError as err:
                raise ToolError(f"{path}: {err.reason}") from err
        return _answer(path, page, found, unit, image, pages=number)

    made: _Server = MCPServer("molgaze", version=version("molgaze"), instructions=INSTRUCTIONS)
    made.add_tool(read_picture, structured_output=False)
    made.add_tool(read_page, structured_output=False)
    return made


def _file(path: str, allowed: Sequence[Path]) -> str:
    """The real path of a file that may be read.

    Raises:
        ToolError: it lies elsewhere, or there is none.
    """
    places = ", ".join(map(str, allowed))
    try:
        found = [os.path.realpath(folder / path) for folder in allowed]  # an absolute path stays
    except (OSError, ValueError) as err:
        raise ToolError(f"{refusals.short(path)}: this is no path ({err})") from err
    inside = [file for file in found if any(Path(file).is_relative_to(one) for one in allowed)]
    file = next(filter(os.path.isfile, inside), None)
    if file is not None:
        return file
    if len(inside) < len(found):  # whether there is such a file is not told
        raise ToolError(
            f"{refusals.short(path)}: lies outside of the folders that may be read: {places}"
        )
    if any(map(os.path.isdir, inside)):
        raise ToolError(f"{path}: is a folder; give the path of a file in it")
    said = refusals.of_name(path)
    if said == refusals.MISSING:
        said = f"there is no such file in the folders that may be read: {places}"
    raise ToolError(f"{refusals.short(path)}: {said}")


def _answer(
    path: str, page: int, found: Sequence[Reading], unit: str, image: Image.Image, **more: Any
) -> list[Any]:
    """The text and the picture that a tool gives."""
    told: dict[str, Any] = {"file": path, "page": page, **more, "unit": unit}
    told["molecules"] = [_told(reading.judged()) for reading in found if _is_drawing(reading)]
    if not any(one.get("smiles") for one in told["molecules"]):
        told["note"] = "no molecule was read"
    image.thumbnail((WIDEST, WIDEST))
    file = io.BytesIO()
    image.save(file, "PNG")
    text = json.dumps(told, ensure_ascii=False, allow_nan=False)
    return [text, PictureContent(data=file.getvalue(), format="png")]


def _is_drawing(reading: Reading) -> bool:
    return reading.box is not None or reading.finish_reason != "no molecule"


def _told(reading: Reading) -> dict[str, Any]:
    """What an agent is told of a reading; what is not there is left out."""
    told = {
        "smiles": reading.smiles,
        "cxsmiles": reading.cxsmiles,
        "inchikey": reading.inchikey,
        "formula": reading.formula,
        "confidence": round(reading.confidence, 4),
        "needs_review": reading.review or not reading.valid,
        "number": reading.number,
        "box": reading.box and [round(side, 1) for side in reading.box],
        "doubtful_atoms": [
            {
                "number": atom.number,
                "symbol": atom.symbol,
                "place": [round(side, 1) for side in atom.place],
                "confidence": round(atom.confidence, 4),
            }
            for atom in reading.doubtful_atoms()
        ],
        "warnings": list(reading.warnings),
        "alternatives": [
            {"smiles": smiles, "confidence": round(confidence, 4)}
            for smiles, confidence in reading.alternatives
        ],
        "error": reading.error,
    }
    kept = ("smiles", "confidence", "needs_review", "doubtful_atoms", "warnings")
    return {name: value for name, value in told.items() if name in kept or value}
