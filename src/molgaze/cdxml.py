"""Readings -> a CDXML document, which ChemDraw and its like open as drawings.

Every molecule lies as in its picture, with wedges on the bonds that had them there, brought to the
bond length of ChemDraw's usual style; below it stands its title. The format is that of the CDX SDK
of CambridgeSoft: lengths in points of 1/72 inch, y downwards.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from xml.sax.saxutils import escape

from rdkit import Chem, rdBase
from rdkit.Chem import rdDepictor

from .reading import Reading, symbol_of

BOND = 14.4  # points
FONT_SIZE = 10.0  # points, of the labels of atoms
CAPTION_SIZE = 8.0  # points
GAP = 28.8  # points between molecules, and round them
WIDTH = 540.0  # points of a page without its margins
HEIGHT = 719.75

_HEAD = """\
<?xml version="1.0" encoding="UTF-8"?>
<CDXML BondLength="{bond:g}" LabelFont="3" LabelSize="{font:g}" LabelFace="96" CaptionFont="3"
 CaptionSize="{caption:g}" HashSpacing="2.5" BoldWidth="2" LineWidth="0.6" MarginWidth="1.6">
<fonttable><font id="3" charset="iso-8859-1" name="Arial"/></fonttable>
<page id="1" BoundingBox="0 0 {width:g} {height:g}" HeightPages="{pages}" WidthPages="1">
"""
_TAIL = "</page>\n</CDXML>\n"
_ORDERS = {
    Chem.BondType.DOUBLE: "2",
    Chem.BondType.TRIPLE: "3",
    Chem.BondType.QUADRUPLE: "4",
    Chem.BondType.AROMATIC: "1.5",
    Chem.BondType.DATIVE: "dative",
}
_DISPLAYS = {
    Chem.BondDir.BEGINWEDGE: "WedgeBegin",
    Chem.BondDir.BEGINDASH: "WedgedHashBegin",
    Chem.BondDir.UNKNOWN: "Wavy",
    Chem.BondDir.EITHERDOUBLE: "Wavy",
}
_RADICALS = {1: "Doublet", 2: "Triplet"}


@dataclass(frozen=True, slots=True)
class _Drawing:
    """A molecule with the places (x, y) of its atoms, in points from its top left corner."""

    mol: Chem.Mol
    places: list[tuple[float, float]]
    size: tuple[float, float]  # (height, width) in points, with its caption
    caption: str


def document(readings: Iterable[Reading]) -> tuple[str, int]:
    """The text of a document with all molecules of the readings, row by row, and their number.

    Args:
        readings: those without a molecule are left out.
    """
    drawings = [drawing for reading in readings if (drawing := _drawing(reading)) is not None]
    ids = count(2)
    parts: list[str] = []
    left, top, tallest = GAP, GAP, 0.0
    for drawing in drawings:
        height, width = drawing.size
        if left > GAP and left + width > WIDTH:
            left, top, tallest = GAP, top + tallest + GAP, 0.0
        parts += _fragment(drawing, (left, top), ids)
        left += width + GAP
        tallest = max(tallest, height)
    head = _HEAD.format(
        bond=BOND,
        font=FONT_SIZE,
        caption=CAPTION_SIZE,
        width=WIDTH,
        height=HEIGHT,
        pages=max(1, math.ceil((top + tallest + GAP) / HEIGHT)),
    )
    return head + "".join(parts) + _TAIL, len(drawings)


def _drawing(reading: Reading) -> _Drawing | None:
    """The molecule as it is drawn; in RDKit's layout if the reading has only SMILES."""
    with rdBase.BlockLogs():
        block = reading.molfile or _laid_out(reading.smiles)
        # bonds and wedges as they are drawn, whatever their chemistry
        mol = Chem.MolFromMolBlock(block, sanitize=False, removeHs=False) if block else None
        if mol is None or not mol.GetNumAtoms():
            return None
        Chem.ReapplyMolBlockWedging(mol)
        mol.UpdatePropertyCache(strict=False)
    places = [tuple(place[:2]) for place in mol.GetConformer().GetPositions().tolist()]
    lengths = [
        math.dist(places[bond.GetBeginAtomIdx()], places[bond.GetEndAtomIdx()])
        for bond in mol.GetBonds()
    ]
    scale = BOND / (statistics.median(lengths or [BOND]) or BOND)
    left, top = min(x for x, _ in places), max(y for _, y in places)
    moved = [((x - left) * scale, (top - y) * scale) for x, y in places]
    caption = reading.title
    width = max(max(x for x, _ in moved), 0.5 * CAPTION_SIZE * len(caption))
    height = max(y for _, y in moved) + GAP / 2 + CAPTION_SIZE
    return _Drawing(mol, moved, (height, width), caption)


def _laid_out(smiles: str | None) -> str | None:
    mol = Chem.MolFromSmiles(smiles) if smiles else None
    if mol is None:
        return None
    rdDepictor.Compute2DCoords(mol)
    return str(Chem.MolToMolBlock(mol, forceV3000=mol.GetNumAtoms() > 999))


def _fragment(drawing: _Drawing, corner: tuple[float, float], ids: Iterator[int]) -> Iterator[str]:
    left, top = corner
    numbers = {atom.GetIdx(): next(ids) for atom in drawing.mol.GetAtoms()}
    yield f'<fragment id="{next(ids)}">\n'
    for atom in drawing.mol.GetAtoms():
        x, y = drawing.places[atom.GetIdx()]
        yield _atom(atom, numbers[atom.GetIdx()], (left + x, top + y))
    for bond in drawing.mol.GetBonds():
        begin, end = numbers[bond.GetBeginAtomIdx()], numbers[bond.GetEndAtomIdx()]
        order = _ORDERS.get(bond.GetBondType())
        display = _DISPLAYS.get(bond.GetBondDir())
        more = f' Order="{order}"' if order else ""
        more += f' Display="{display}"' if display else ""
        yield f'<b id="{next(ids)}" B="{begin}" E="{end}"{more}/>\n'
    yield "</fragment>\n"
    if drawing.caption:
        place = f"{left:.2f} {top + drawing.size[0]:.2f}"
        yield _text(drawing.caption, place, f' id="{next(ids)}"', CAPTION_SIZE, 0)


def _atom(atom: Chem.Atom, number: int, place: tuple[float, float]) -> str:
    """A node, with its label unless it is a carbon."""
    x, y = place
    facts = [f'id="{number}"', f'p="{x:.2f} {y:.2f}"']
    hydrogens = atom.GetTotalNumHs()
    if atom.GetAtomicNum() == 0:
        label = symbol_of(atom)
        if re.fullmatch(r"\*|R\d*", label):
            facts.append(f'NodeType="GenericNickname" GenericNickname="{label}"')
        else:
            facts.append('NodeType="Unspecified" Element="0"')
    else:
        # A carbon has no text: some readers take that of a charged one for the name of a group.
        label = "" if atom.GetAtomicNum() == 6 else _label(atom, hydrogens)
        if label:
            facts.append(f'Element="{atom.GetAtomicNum()}"')
        facts.append(f'NumHydrogens="{hydrogens}"')
    if atom.GetIsotope() and atom.GetAtomicNum():
        facts.append(f'Isotope="{atom.GetIsotope()}"')
    if atom.GetFormalCharge():
        facts.append(f'Charge="{atom.GetFormalCharge()}"')
    if atom.GetNumRadicalElectrons() in _RADICALS:
        facts.append(f'Radical="{_RADICALS[atom.GetNumRadicalElectrons()]}"')
    start = f"<n {' '.join(facts)}"
    if not label:
        return f"{start}/>\n"
    beside = f"{x - 0.35 * FONT_SIZE:.2f} {y + 0.35 * FONT_SIZE:.2f}"
    return f"{start}>{_text(label, beside, '', FONT_SIZE, 96)}</n>\n"


def _label(atom: Chem.Atom, hydrogens: int) -> str:
    isotope = str(atom.GetIsotope() or "")
    count_of_hydrogens = str(hydrogens) if hydrogens > 1 else ""
    charge = atom.GetFormalCharge()
    sign = ("+" if charge > 0 else "-") if charge else ""
    amount = str(abs(charge)) if abs(charge) > 1 else ""
    hydrogen = f"H{count_of_hydrogens}" if hydrogens else ""
    return f"{isotope}{atom.GetSymbol()}{hydrogen}{amount}{sign}"


def _text(words: str, place: str, more: str, size: float, face: int) -> str:
    style = f'font="3" size="{size:g}"' + (f' face="{face}"' if face else "")
    return f'<t{more} p="{place}"><s {style}>{escape(words)}</s></t>'
