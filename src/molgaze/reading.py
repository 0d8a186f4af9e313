"""Reading: what a picture was read as, with everything that came with it."""

from __future__ import annotations

import html
import math
import os
import re
from base64 import b64encode
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from rdkit import Chem, rdBase
from rdkit.Chem import rdDepictor, rdinchi, rdMolDescriptors
from rdkit.Chem.Draw import rdMolDraw2D

if TYPE_CHECKING:
    from PIL import Image

    from .picture import Source

FinishReason = Literal["end", "length", "no molecule", "error"]

#: Readings with a lower confidence are to be looked at, unless another one is asked for.
MIN_CONFIDENCE = 0.5

#: Columns of :meth:`Reading.row` and of CSV files, in this order.
COLUMNS = (
    "source",
    "page",
    "id",
    "smiles",
    "cxsmiles",
    "inchikey",
    "confidence",
    "review",
    "valid",
    "finish_reason",
    "warnings",
    "alternatives",
    "scale",
    "model",
    "ms",
    "error",
    "error_type",
    "x0",
    "y0",
    "x1",
    "y1",
    "found",
    "number",
)

SIDES = ("x0", "y0", "x1", "y1")  # the columns of a box

IMAGES = (".png", ".svg")
"""Suffixes of files in which :meth:`Reading.save` draws the molecule."""


class DoubtfulAtom(NamedTuple):
    """An atom that may well be wrong.

    Attributes:
        number: its line among the atoms of the molfile, from 1.
        symbol: the element, or the text of a label that stands for a group.
        place: (x, y) in pixels of the original picture, or in the units of a page.
        confidence: probability, 0 to 1, that it is right, its bonds too.
    """

    number: int
    symbol: str
    place: tuple[float, float]
    confidence: float


@dataclass(frozen=True, slots=True, repr=False)
class Reading:
    """One picture, read.

    Attributes:
        smiles: RDKit canonical, full stereo; None if there is no molecule.
        cxsmiles: with labels that plain SMILES cannot hold, else None.
        molfile: coordinates lie on the picture (x, -y in pixels).
        inchikey: None without a molecule or with unknown labels.
        confidence: calibrated probability, 0 to 1, that ``smiles`` is right.
        tokens: the walk, without ``<`` and ``>``.
        places: (x, y) of each token in pixels of the original picture.
        probabilities: of each token, 0 to 1.
        finish_reason: ``end``, ``length`` (cut off), ``no molecule`` or ``error``.
        warnings: what was read otherwise than drawn.
        alternatives: other (smiles, confidence), best first.
        source: path or name of the picture.
        page: number of the page or frame, from 1.
        id: what the picture is called where it comes from, for one in a table.
        review: True if the confidence is under what was asked for: a person should look at it.
        scale: bond length in pixels of the original picture.
        model: name of the weights and the device they ran on.
        ms: time for this picture in milliseconds.
        error, error_type: message and class name if the picture could not be read.
        box: left, top, right, bottom of the drawing where it was found on a page; then it, the
            places, the molfile and the scale are in the page's units, points of a PDF or pixels.
        found: probability, 0 to 1, that what was found on a page is a drawing.
        number: what the compound is called on the page, such as ``12a``.
        role: on a page with arrows, ``reactant``, ``agent``, ``product``, or ``intermediate`` for a
            product that the next arrow takes on; None where no arrow makes it plain.
        reaction: SMILES of the reaction that it belongs to, ``reactants>agents>products``;
            of an intermediate, the reaction that makes it.
        atom_confidences: probability, 0 to 1, that each atom of ``molfile`` is right, bonds too.
    """

    smiles: str | None = None
    cxsmiles: str | None = None
    molfile: str | None = None
    inchikey: str | None = None
    confidence: float = 0.0
    tokens: tuple[str, ...] = ()
    places: tuple[tuple[float, float], ...] = ()
    probabilities: tuple[float, ...] = ()
    finish_reason: FinishReason = "end"
    warnings: tuple[str, ...] = ()
    alternatives: tuple[tuple[str, float], ...] = ()
    source: str | None = None
    page: int | None = None
    scale: float | None = None
    model: str | None = None
    ms: float | None = None
    error: str | None = None
    error_type: str | None = None
    id: str | None = None
    review: bool = False
    box: tuple[float, ...] | None = None
    found: float | None = None
    number: str | None = None
    atom_confidences: tuple[float, ...] = ()
    role: str | None = None
    reaction: str | None = None

    def judged(self, least: float = MIN_CONFIDENCE) -> Reading:
        """The same, with ``review`` told by the least confidence that is asked for."""
        review = bool(self.smiles) and self.confidence < least
        return self if review == self.review else replace(self, review=review)

    def __str__(self) -> str:
        """One line: the molecule and its confidence, or why there is none, and where it is from."""
        where = self.source or ""
        if self.source and self.page is not None and self.page > 1:
            where += f", page {self.page}"
        what = self.error or self.finish_reason
        if self.smiles:
            what = f"{self.cxsmiles or self.smiles} (confidence {self.confidence:.2f})"
        told = what if not where or (self.error and where in what) else f"{where}: {what}"
        count = len(self.warnings)
        return told + (f", {count} warning{'s' if count > 1 else ''}" if count else "")

    def __repr__(self) -> str:
        return f"<Reading {self}>"

    @property
    def title(self) -> str:
        """What the reading is called on one line: its id, or its source, its page if it is not the
        first, and its page and number if the compound has a number on its page.
        """
        if self.id:
            return one_line(self.id)
        is_told = self.page is not None and (self.page > 1 or bool(self.number))
        page = f", page {self.page}" if is_told else ""
        number = f", {self.number}" if self.number else ""
        return one_line(f"{self.source or ''}{page}{number}")

    @property
    def mol(self) -> Chem.Mol | None:
        """The molecule by RDKit, with stereo; None if there is none. Each call gives a new one.

        Its conformer is that of the picture: x to the right and y upwards, in pixels, so that the
        atom at the place (x, y) has the position (x, -y, 0). A reading without a molfile gives the
        molecule of its SMILES, without a conformer.
        """
        mol = _parse(self.molfile, self.smiles)
        return None if mol is None else Chem.Mol(mol)

    @property
    def formula(self) -> str | None:
        """The molecular formula in Hill's order, such as ``C8H10N4O2``; charges come last, and
        ``*`` counts the groups that stand for no atoms. None if there is no molecule.
        """
        mol = _parse(self.molfile, self.smiles)
        return None if mol is None else str(rdMolDescriptors.CalcMolFormula(mol))

    @property
    def inchi(self) -> str | None:
        """The standard InChI; None without a molecule or with groups that stand for no atoms."""
        mol = _parse(self.molfile, self.smiles)
        if mol is None or any(atom.GetAtomicNum() == 0 for atom in mol.GetAtoms()):
            return None
        with rdBase.BlockLogs():
            return rdinchi.MolToInchi(mol)[0] or None

    def doubtful_atoms(self, least: float = 0.5) -> list[DoubtfulAtom]:
        """The atoms whose confidence is below ``least``, from 0 to 1, the most doubtful first."""
        mol = _drawn(self.molfile)
        if mol is None or mol.GetNumAtoms() != len(self.atom_confidences):
            return []
        places = mol.GetConformer().GetPositions()
        return [
            DoubtfulAtom(
                i + 1,
                symbol_of(mol.GetAtomWithIdx(i)),
                (float(places[i][0]), -float(places[i][1])),
                confidence,
            )
            for confidence, i in sorted((c, i) for i, c in enumerate(self.atom_confidences))
            if confidence < least
        ]

    @property
    def valid(self) -> bool:
        """True if the whole picture was read and ``smiles`` is a molecule by RDKit's rules."""
        # RDKit takes "" for a molecule, and what follows a blank for a name.
        return (
            self.error is None
            and self.finish_reason == "end"
            and bool(self.smiles)
            and not re.search(r"\s", self.smiles or "")
            and _parse(None, self.smiles) is not None
        )

    def show(self, picture: Source | None = None) -> Image.Image:
        """The picture with the gaze over it, and the molecule that was read beside it.

        A notebook shows what it gives; elsewhere ``reading.show().save("gaze.png")`` keeps it.

        Args:
            picture: that was read; by default the file that ``source`` names. For a molecule on a
                page it is the document.

        Returns:
            An image of colours, of any size up to about 2300 pixels.

        Raises:
            PictureError: the picture cannot be opened, or no file has the name in ``source``.
        """
        from .show import figure  # noqa: PLC0415  seldom needed, and it comes after this module

        return figure(self, picture)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the reading to a file, in the format of its suffix; it appears whole or not at all.

        ``.mol``, ``.sdf``, ``.smi`` and ``.cdxml`` hold the molecule, ``.png`` and ``.svg`` draw
        it as it lies on the picture; ``.csv``, ``.tsv``, ``.jsonl`` and ``.parquet`` hold the
        columns of the tables. ``.gz`` may follow, but for images.

        Args:
            path: replaced if it exists.

        Raises:
            ValueError: a suffix of no such format, or no molecule for a format that holds one.
            ImportError: Parquet without the extra that brings it.
            OSError: the file cannot be written; one that was there before is left as it was.
        """
        from .files import FORMATS, STRUCTURES, answered, form_of, whole, write  # noqa: PLC0415

        suffix, form = Path(path).suffix.lower(), form_of(path)
        if form is None and suffix not in IMAGES:
            known = ", ".join((*(f".{form}" for form in FORMATS), *IMAGES))
            raise ValueError(f"{os.fspath(path)}: the suffix must be one of {known}")
        held = answered(self)
        is_there = held.smiles if form == "smi" else held.molfile or held.smiles
        if (form is None or form in STRUCTURES) and not is_there:
            raise ValueError(f"{self.title or 'reading'}: no molecule was read that could be saved")
        if form is not None:
            write([self], path, form)
            return
        drawn = redraw(self, svg=suffix == ".svg")
        if drawn is None:
            raise ValueError(f"{self.title or 'reading'}: RDKit cannot draw this molecule")
        with whole(path) as draft:
            draft.write_bytes(drawn)

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON: lists for tuples, no NaN, alternatives as objects."""
        out: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name == "alternatives":
                value = [{"smiles": s, "confidence": _finite(c)} for s, c in value]
            elif f.name == "places":
                value = [[_finite(x), _finite(y)] for x, y in value]
            elif isinstance(value, tuple):
                value = [_finite(v) for v in value]
            else:
                value = _finite(value)
            out[f.name] = value
        return out

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Reading:
        """The inverse of :meth:`to_dict`; missing fields take their defaults.

        Raises:
            ValueError: a field that readings do not have, or a value of the wrong shape.
        """
        if unknown := sorted(set(data) - {f.name for f in fields(cls)}):
            raise ValueError(f"not a field of a reading: {', '.join(unknown)}")
        kept = dict(data)
        try:
            for name in ("tokens", "probabilities", "warnings", "atom_confidences"):
                if name in kept:
                    kept[name] = tuple(kept[name])
            if kept.get("box") is not None:
                left, top, right, bottom = kept["box"]
                kept["box"] = tuple(map(float, (left, top, right, bottom)))
            if "places" in kept:
                kept["places"] = tuple((_number(x), _number(y)) for x, y in kept["places"])
            if "alternatives" in kept:
                kept["alternatives"] = tuple(
                    (a["smiles"], a["confidence"]) for a in kept["alternatives"]
                )
        except (TypeError, KeyError, ValueError) as err:
            raise ValueError(f"not a reading: {err}") from err
        return cls(**kept)

    def row(self) -> dict[str, str | int | float | bool | None]:
        """One flat row with the keys of :data:`COLUMNS`; lists are joined by ``; ``."""
        row: dict[str, str | int | float | bool | None] = {
            name: _finite(getattr(self, name)) for name in COLUMNS if name not in SIDES
        }
        row |= dict(zip(SIDES, self.box or (None,) * 4, strict=True))
        row["warnings"] = "; ".join(self.warnings)
        row["alternatives"] = "; ".join(f"{s} {c:.4g}" for s, c in self.alternatives)
        return {name: row[name] for name in COLUMNS}

    def _repr_png_(self) -> bytes | None:
        return redraw(self)

    def _repr_html_(self) -> str:
        picture = redraw(self)
        rows = [
            ("source", self.source if self.page is None else f"{self.source}, page {self.page}"),
            ("SMILES", self.cxsmiles or self.smiles),
            ("InChIKey", self.inchikey),
            ("confidence", f"{self.confidence:.2f}" if self.smiles else None),
            ("ended", None if self.finish_reason == "end" else self.finish_reason),
            ("warnings", "; ".join(self.warnings) or None),
            ("error", self.error),
        ]
        cells = "".join(
            f"<tr><th>{name}</th><td>{html.escape(str(value))}</td></tr>"
            for name, value in rows
            if value is not None
        )
        image = (
            f'<img alt="structure" src="data:image/png;base64,{b64encode(picture).decode()}">'
            if picture
            else ""
        )
        return f"<div>{image}<table>{cells}</table></div>"


def redraw(reading: Reading, size: tuple[int, int] = (240, 320), svg: bool = False) -> bytes | None:
    """A PNG of the molecule of a reading as it lies in the picture, its wedges on the bonds that
    had them there; in RDKit's layout without a molfile, and None without a molecule.

    Args:
        reading: of a picture.
        size: (height, width) in pixels.
        svg: True for an SVG drawing of the same size.
    """
    mol = as_drawn(reading.molfile)
    return draw(reading.mol, size, svg) if mol is None else draw(mol, size, svg, prepared=True)


def draw(
    mol: Chem.Mol | None,
    size: tuple[int, int] = (240, 320),
    svg: bool = False,
    prepared: bool = False,
) -> bytes | None:
    """A PNG of a molecule in its own layout, or RDKit's if it has none; None if it has no atoms.

    Args:
        mol: drawn if not None.
        size: (height, width) in pixels.
        svg: True for an SVG drawing of the same size.
        prepared: True if its bonds have their wedges already, as :func:`as_drawn` gives them; else
            RDKit chooses the bonds that are wedged.
    """
    if mol is None or not mol.GetNumAtoms():
        return None
    with rdBase.BlockLogs():
        kind = rdMolDraw2D.MolDraw2DSVG if svg else rdMolDraw2D.MolDraw2DCairo
        canvas = kind(size[1], size[0])
        try:
            shown = Chem.Mol(mol)
            if shown.GetNumConformers():  # in pixels of a picture: letters are sized for angstroms
                rdDepictor.NormalizeDepiction(shown, canonicalize=0)
            if prepared:
                options: Any = canvas.drawOptions()
                options.prepareMolsBeforeDrawing = False
                canvas.DrawMolecule(shown)
            else:
                rdMolDraw2D.PrepareAndDrawMolecule(canvas, shown)
        except (RuntimeError, ValueError):
            return None
        canvas.FinishDrawing()
        drawn = canvas.GetDrawingText()
    return drawn.encode() if isinstance(drawn, str) else bytes(drawn)


def as_drawn(molfile: str | None) -> Chem.Mol | None:
    """The atoms, bonds and wedges of a molfile as they are in it, whatever their chemistry, for
    drawings; None without places.
    """
    with rdBase.BlockLogs():
        mol = _drawn(molfile)
        try:
            if mol is None or not mol.GetNumAtoms() or not mol.GetNumConformers():
                return None
            Chem.ReapplyMolBlockWedging(mol)
            mol.UpdatePropertyCache(strict=False)
            Chem.FastFindRings(mol)
        except (RuntimeError, ValueError):
            return None
    for atom in mol.GetAtoms():
        if atom.GetAtomicNum() == 0:
            atom.SetProp("_displayLabel", symbol_of(atom))
    return mol


def one_line(value: object) -> str:
    """A value on one line: no control character is left that could end a field or a record."""
    return re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029]+", " ", str(value))


@lru_cache(maxsize=256)
def _parse(molfile: str | None, smiles: str | None) -> Chem.Mol | None:
    with rdBase.BlockLogs():
        mol = Chem.MolFromMolBlock(molfile) if molfile else None
        if mol is None and smiles:
            mol = Chem.MolFromSmiles(smiles)
    return mol if mol is not None and mol.GetNumAtoms() else None


def _drawn(molfile: str | None) -> Chem.Mol | None:
    """The atoms of a molfile one for one, whatever their chemistry."""
    with rdBase.BlockLogs():
        try:
            return Chem.MolFromMolBlock(molfile, False, False) if molfile else None
        except (RuntimeError, ValueError):
            return None


def symbol_of(atom: Chem.Atom) -> str:
    """The element, or the text of the label of a group, such as ``R1``; ``*`` if it has none."""
    if atom.GetAtomicNum():
        return str(atom.GetSymbol())
    held = atom.GetPropsAsDict(includePrivate=True)
    number = atom.GetIsotope() or held.get("_MolFileRLabel")
    return str(held.get("molFileAlias") or (f"R{number}" if number else "*"))


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
