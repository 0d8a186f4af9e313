"""What the server has its workers do. Each answer is ``(fault, answer)``: a fault is a kind of
:class:`molgaze.PictureError`, or what else went wrong, and then the answer is its text.
"""

from __future__ import annotations

import base64
import io
import json
import math
import re
import statistics
from collections.abc import Sequence
from typing import Any, cast

from PIL import Image
from rdkit import Chem, Geometry, rdBase
from rdkit.Chem import rdinchi
from rdkit.Chem.Draw import rdMolDraw2D

from ..document import Document, is_pdf
from ..files import Format, answered, text
from ..picture import PictureError, load
from ..reading import Reading, as_drawn, symbol_of
from ..workers import Reads, failure, named

Answered = tuple[str | None, Any]

DOUBTFUL = 0.8  # confidence of an atom under which it is marked in drawings
DPI = 150.0  # of a page of a PDF as it is shown
WIDEST = 2000  # px of other pictures as they are shown
BOND = 30.0  # px of a bond in drawings
MARK = (1.0, 0.72, 0.3)  # the colour behind doubtful atoms: red, green, blue
WEDGES = (Chem.BondDir.BEGINWEDGE, Chem.BondDir.BEGINDASH)
LINEAR = 1.5  # length of a bond, in the unit that RDKit sizes letters for


def read(reader: Reads, source: str, page: int, content: bytes) -> Answered:
    """A reading as its dictionary; also where the fault is the picture's.

    Args:
        reader: of the worker.
        source: name of the picture.
        page: of a TIFF, from 1.
        content: of the file.
    """
    try:
        return None, answered(named(reader.read(content, page=page), source)).judged().to_dict()
    except PictureError as err:
        return err.kind, failure(source, page, err, reader.info.get("model")).to_dict()
    except Exception as err:
        model = reader.info.get("model")
        return "fault", failure(source, page, err, model, fault=True).to_dict()


def find(
    reader: Reads, source: str, page: int, content: bytes, drawings: bool, picture: bool
) -> Answered:
    """All molecules of a page of a document or of a picture, as ``molgaze read`` gives them.

    Args:
        reader: of the worker.
        source: name of the document.
        page: its number, from 1.
        content: of the file, a PDF or a picture.
        drawings: add a drawing of every molecule, as :func:`drawing` makes it.
        picture: add what is to be shown of the page, for files that browsers cannot show.
    """
    shown: Image.Image | None = None
    try:
        with Document(content) as document:
            pages = len(document)
            size: tuple[float, float] | None = None
            if is_pdf(content):
                size = document.size(page)  # refuses pages that are not there
                readings = list(reader.find(content, [page]))
            else:
                readings = list(reader.read_apart(content, page=page))
            if picture:
                shown = document.picture(page, DPI)
                size = size or (float(shown.height), float(shown.width))
    except PictureError as err:
        return err.kind, err.reason
    except Exception as err:
        model = reader.info.get("model")
        return "fault", failure(source, page, err, model, fault=True).error
    found = [answered(named(reading, source)).judged() for reading in readings]
    answer: dict[str, Any] = {
        "pages": pages,
        "size": size,
        "readings": [reading.to_dict() for reading in found],
        "drawings": None,
        "picture": None,
    }
    if drawings:
        answer["drawings"] = [drawing(r.molfile, r.atom_confidences) for r in found]
    if shown is not None:
        answer["picture"] = _encoded(shown)
    return None, answer


def _encoded(image: Image.Image) -> str:
    """A picture as a data URL."""
    image.thumbnail((WIDEST, WIDEST))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=88, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def preview(reader: Reads, page: int, content: bytes) -> Answered:
    """A PNG of what the reader sees.

    Args:
        reader: of the worker; not used.
        page: of a TIFF, from 1.
        content: of the file.
    """
    try:
        ink = load(content, page).ink
    except PictureError as err:
        return err.kind, err.reason
    file = io.BytesIO()
    Image.fromarray(255 - ink).save(file, "PNG")
    return None, file.getvalue()


def names(reader: Reads, molfile: str) -> Answered:
    """SMILES and InChIKey of a molfile, and its drawing.

    Args:
        reader: of the worker; not used.
        molfile: V2000 or V3000.
    """
    with rdBase.BlockLogs():
        try:
            mol = Chem.MolFromMolBlock(molfile)
        except Exception:
            mol = None
        if mol is None:
            return "molecule", "no molecule by RDKit's rules: check valences and charges"
        dummies = [atom for atom in mol.GetAtoms() if atom.GetAtomicNum() == 0]
        for atom in dummies:  # as molecule.py names them
            atom.SetProp("atomLabel", re.sub(r"^R(?=\d+$)", "_R", _label(atom)))
        smiles = Chem.MolToSmiles(mol)
        fields = int(Chem.CXSmilesFields.CX_ATOM_LABELS | Chem.CXSmilesFields.CX_RADICALS)
        cxsmiles = Chem.MolToCXSmiles(mol, Chem.SmilesWriteParams(), fields) if dummies else None
        inchikey = "" if dummies else rdinchi.MolToInchiKey(mol)
    found = {"smiles": smiles or None, "cxsmiles": cxsmiles, "inchikey": inchikey or None}
    return None, {**found, "drawing": drawing(molfile)}


def export(reader: Reads, content: bytes, format: str) -> Answered:
    """Readings as the text of a file, as the command line writes it.

    Args:
        reader: of the worker; not used.
        content: a JSON list of readings, each with the fields that :func:`read` gives.
        format: one of :data:`molgaze.files.FORMATS` that is text.
    """
    try:
        given = json.loads(content)
        if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
            raise ValueError("send a JSON list of readings")
        return None, text([Reading.from_dict(one) for one in given], cast(Format, format))
    except (ValueError, TypeError, AttributeError, RecursionError) as err:
        return "readings", f"not readings: {err}"


def recognized(reader: Reads, content: bytes) -> Answered:
    """The molfile of a picture, for editors: bonds are 1.5 long, and it has a place for each atom.

    Args:
        reader: of the worker.
        content: of the file.
    """
    fault, found = read(reader, "picture", 1, content)
    if fault is not None or found["molfile"] is None:
        said = (found["error"] or "no molecule was seen in this picture").removeprefix("picture: ")
        return fault or "molecule", said
    with rdBase.BlockLogs():
        mol = as_drawn(found["molfile"])
        if mol is None:
            return "molecule", "this molecule cannot be drawn"
        _sized(mol)
        if any(bond.GetBondDir() in WEDGES for bond in mol.GetBonds()):
            mol.SetIntProp("_MolFileChiralFlag", 1)  # else Ketcher takes it for a racemate
        return None, str(Chem.MolToMolBlock(mol, kekulize=False, forceV3000=_is_large(mol)))


def _is_large(mol: Chem.Mol) -> bool:
    return max(mol.GetNumAtoms(), mol.GetNumBonds()) > 999


def drawing(molfile: str | None, confidences: Sequence[float] = ()) -> dict[str, Any] | None:
    """A molecule as it lies in the picture, with wedges on the bonds that had them there.

    Args:
        molfile: with places on the picture, x and -y; None gives None.
        confidences: of its atoms; those under `DOUBTFUL` are marked.

    Returns:
        ``svg``; ``frame``, the left, top, right and bottom of the svg in pixels of the picture;
        ``doubtful``, for each marked atom its ``x`` and ``y`` in the picture, what stands there
        (``label``) and its ``confidence``.
    """
    with rdBase.BlockLogs():
        mol = as_drawn(molfile)
        if mol is None:
            return None
        places = mol.GetConformer().GetPositions().tolist()
        unit = _sized(mol)  # px of the picture
        try:
            return _drawn(mol, places, unit, confidences)
        except (RuntimeError, ValueError):
            return None


def _sized(mol: Chem.Mol) -> float:
    """Brings a molecule to bonds of the length `LINEAR`; its unit in the old one comes back."""
    conformer = mol.GetConformer()
    places = conformer.GetPositions()
    lengths = [
        math.dist(places[bond.GetBeginAtomIdx()], places[bond.GetEndAtomIdx()])
        for bond in mol.GetBonds()
    ]
    unit = (statistics.median(lengths) if lengths else 0.0) / LINEAR or 20.0
    for i, (x, y, _) in enumerate(places.tolist()):
        conformer.SetAtomPosition(i, Geometry.Point3D(x / unit, y / unit, 0.0))
    return unit


def _drawn(
    mol: Chem.Mol, places: Sequence[Sequence[float]], unit: float, confidences: Sequence[float]
) -> dict[str, Any]:
    known = len(confidences) == mol.GetNumAtoms()
    doubts = [i for i, c in enumerate(confidences) if known and c < DOUBTFUL]
    canvas = rdMolDraw2D.MolDraw2DSVG(-1, -1)
    options: Any = canvas.drawOptions()
    options.prepareMolsBeforeDrawing = False  # which would lay wedges anew
    options.clearBackground = False
    options.scalingFactor = BOND / LINEAR
    options.padding = 0.08
    options.bondLineWidth = 1.6
    options.highlightRadius = 0.42
    options.atomHighlightsAreCircles = True
    canvas.DrawMolecule(
        mol,
        highlightAtoms=doubts,
        highlightAtomColors=dict.fromkeys(doubts, MARK),
        highlightBonds=[],
    )
    canvas.FinishDrawing()
    at = canvas.GetDrawCoords(0)
    far = max(range(len(places)), key=lambda i: math.dist(places[i], places[0]))
    reach = math.dist(places[far], places[0])
    other = canvas.GetDrawCoords(far)
    # svg px for one of the picture: RDKit takes the asked one for a hint
    scale = (
        math.hypot(other.x - at.x, other.y - at.y) / reach
        if reach
        else options.scalingFactor / unit
    )
    left, top = places[0][0] - at.x / scale, -places[0][1] - at.y / scale
    frame = (left, top, left + canvas.Width() / scale, top + canvas.Height() / scale)
    svg = re.sub(r"^<\?xml.*?\?>\s*", "", canvas.GetDrawingText())
    marked = [
        {
            "x": round(places[i][0], 2),
            "y": round(-places[i][1], 2),
            "label": symbol_of(mol.GetAtomWithIdx(i)),
            "confidence": round(confidences[i], 4),
        }
        for i in doubts
    ]
    return {"svg": svg, "frame": [round(v, 2) for v in frame], "doubtful": marked}


def _label(atom: Chem.Atom) -> str:
    """What stands at an atom that is none."""
    held = atom.GetPropsAsDict(includePrivate=True)
    return str(held.get("molFileAlias") or held.get("dummyLabel", ""))
