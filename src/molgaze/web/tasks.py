"""What the server has its workers do. Each answer is ``(fault, answer)``: a fault is a kind of
:class:`molgaze.PictureError`, or what else went wrong, and then the answer is its text.
"""

from __future__ import annotations

import io
import re
from typing import Any

from PIL import Image
from rdkit import Chem, rdBase
from rdkit.Chem import rdinchi

from ..document import Document
from ..files import answered
from ..picture import PictureError, load
from ..workers import Reads, failure, named

Answered = tuple[str | None, Any]


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


def find(reader: Reads, source: str, page: int, content: bytes) -> Answered:
    """The number of pages of a document, and a reading as its dictionary for every molecule that is
    drawn on one of them.

    Args:
        reader: of the worker.
        source: name of the document.
        page: its number, from 1.
        content: of the file, a PDF, a TIFF or a picture of a page.
    """
    try:
        with Document(content) as document:
            pages = len(document)
            document.size(page)  # refuses pages that are not there
        found = [named(reading, source) for reading in reader.find(content, [page])]
    except PictureError as err:
        return err.kind, err.reason
    except Exception as err:
        model = reader.info.get("model")
        return "fault", failure(source, page, err, model, fault=True).error
    return None, {"pages": pages, "readings": [answered(r).judged().to_dict() for r in found]}


def preview(reader: Reads, page: int, content: bytes) -> Answered:
    """A PNG of what the reader sees: for pictures that browsers cannot show.

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
    """SMILES and InChIKey of a molfile.

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
            held = atom.GetPropsAsDict(includePrivate=True)
            label = held.get("molFileAlias") or held.get("dummyLabel", "")
            atom.SetProp("atomLabel", re.sub(r"^R(?=\d+$)", "_R", str(label)))
        smiles = Chem.MolToSmiles(mol)
        fields = int(Chem.CXSmilesFields.CX_ATOM_LABELS | Chem.CXSmilesFields.CX_RADICALS)
        cxsmiles = Chem.MolToCXSmiles(mol, Chem.SmilesWriteParams(), fields) if dummies else None
        inchikey = "" if dummies else rdinchi.MolToInchiKey(mol)
    return None, {"smiles": smiles or None, "cxsmiles": cxsmiles, "inchikey": inchikey or None}
