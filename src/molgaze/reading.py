"""Reading: what a picture was read as, with everything that came with it."""

from __future__ import annotations

import html
import math
import re
from base64 import b64encode
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, Literal

from rdkit import Chem, rdBase
from rdkit.Chem import rdDepictor
from rdkit.Chem.Draw import rdMolDraw2D

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
    def mol(self) -> Chem.Mol | None:
        """The molecule with its places and stereo; None if there is none. Yours to change."""
        mol = _parse(self.molfile, self.smiles)
        return None if mol is None else Chem.Mol(mol)

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
        return draw(self.mol)

    def _repr_html_(self) -> str:
        picture = draw(self.mol)
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


def draw(mol: Chem.Mol | None, size: tuple[int, int] = (240, 320)) -> bytes | None:
    """A PNG of a molecule in its own layout, or RDKit's if it has none.

    Args:
        mol: drawn if not None.
        size: (height, width) in pixels.
    """
    if mol is None or not mol.GetNumAtoms():
        return None
    with rdBase.BlockLogs():
        canvas = rdMolDraw2D.MolDraw2DCairo(size[1], size[0])
        try:
            shown = Chem.Mol(mol)
            if shown.GetNumConformers():  # in pixels of a picture: letters are sized for angstroms
                rdDepictor.NormalizeDepiction(shown, canonicalize=0)
            rdMolDraw2D.PrepareAndDrawMolecule(canvas, shown)
        except (RuntimeError, ValueError):
            return None
        canvas.FinishDrawing()
        return bytes(canvas.GetDrawingText())


@lru_cache(maxsize=256)
def _parse(molfile: str | None, smiles: str | None) -> Chem.Mol | None:
    with rdBase.BlockLogs():
        mol = Chem.MolFromMolBlock(molfile) if molfile else None
        if mol is None and smiles:
            mol = Chem.MolFromSmiles(smiles)
    return mol if mol is not None and mol.GetNumAtoms() else None


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
