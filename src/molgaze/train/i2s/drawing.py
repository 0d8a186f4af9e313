"""The hand of the reference reader: RDKit's plain drawings, and what is to be read in them.

A picture is 300 pixels wide or high, as RDKit draws it when it is asked for nothing else, cropped
to its ink and shown on 224x224. Every double bond has the stereo that its drawing shows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, rdBase
from rdkit.Chem import rdDepictor
from rdkit.Chem.Draw import rdMolDraw2D
from rdkit.Geometry import Point2D

from ... import walk
from ..depict import graph
from ..draw import Drawing
from .model import CELL, CHARACTERS, END, SIDE, START, STEPS, Size

CANVAS = 300  # pixels of the longer side
SPARE = 30  # pixels of the shorter side beyond the molecule's, for letters and margins
MARGIN = 5  # pixels of paper around the ink on the 224
CROWDED = 0.5  # least distance of two atoms, in RDKit's units: a bond has 1.5


class RefusedError(ValueError):
    """A molecule that cannot be an example; the text says why."""


@dataclass
class Plain:
    """A plain drawing and what it shows."""

    ink: NDArray[np.uint8]
    """(H, W), 255 is ink: the strongest of the three colours."""
    smiles: str
    """Canonical, with the stereo that is drawn."""
    atoms: list[int]
    """For each character of the SMILES the atom that it belongs to, -1 for bonds, branches and ring
    numbers. All characters of an atom (``Cl``, ``[C@@H]``) are the atom's."""
    places: NDArray[np.float64]
    """(n, 2) of the atoms in pixels, 0 the centre of the first; hydrogens that RDKit draws as atoms
    come last."""
    mol: Chem.Mol
    """As it was drawn."""

    def drawing(self) -> Drawing:
        """The same for the other reader: with the graph that is shown."""
        shown = graph(self.mol)
        shown.places = self.places.copy()
        ends = np.array([(a, b) for a, b, _ in shown.bonds])
        apart = self.places[ends[:, 0]] - self.places[ends[:, 1]] if len(ends) else np.zeros((0, 2))
        bond = float(np.median(np.linalg.norm(apart, axis=1))) if len(ends) else 40.0
        return Drawing(self.ink, shown, bond)


def draw(smiles: str, longest: int = STEPS - 2) -> Plain:
    """Draw a molecule as RDKit does, and say what the drawing shows.

    Args:
        smiles: of the molecule.
        longest: characters of its canonical SMILES.

    Raises:
        RefusedError: no molecule, too long, not to be written, or atoms on top of one another.
    """
    with rdBase.BlockLogs():
        mol = Chem.MolFromSmiles(smiles)
        if mol is None or not mol.GetNumAtoms():
            raise RefusedError("not a SMILES")
        rdDepictor.Compute2DCoords(mol)
        Chem.DetectBondStereoChemistry(mol, mol.GetConformer())
        Chem.AssignStereochemistry(mol, cleanIt=True, force=True)
        written = Chem.MolToSmiles(mol)
        order = list(mol.GetPropsAsDict(True, True)["_smilesAtomOutputOrder"])
    atoms = _atoms(written, order, longest)
    spots = mol.GetConformer().GetPositions()[:, :2]
    if _crowded(spots):
        raise RefusedError("atoms on top of one another")
    try:
        with rdBase.BlockLogs():
            shown = rdMolDraw2D.PrepareMolForDrawing(mol)
            spots = shown.GetConformer().GetPositions()[:, :2]
            png, to_pixels = _cairo(shown, *_canvas(spots))
    except (RuntimeError, ValueError):  # RDKit's own errors
        raise RefusedError("not drawn by RDKit") from None
    colours = np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR), np.uint8)
    blue, green, red = cv2.split(colours)
    ink = np.asarray(255 - cv2.min(cv2.min(blue, green), red), np.uint8)
    places = spots @ to_pixels[:, :2].T + to_pixels[:, 2]
    return Plain(ink, written, atoms, places, shown)


_ATOM = re.compile(r"\[[^\]]*\]|Br|Cl|[BCNOPSFIbcnops*]")


def _atoms(smiles: str, order: list[int], longest: int) -> list[int]:
    """The atom of each character, given the atoms in the order of the SMILES."""
    if len(smiles) > longest:
        raise RefusedError(f"SMILES over {longest} characters")
    if set(smiles) & {walk.START, walk.END} or not set(smiles) <= set(CHARACTERS):
        raise RefusedError("a character that is no token")
    spans = [match.span() for match in _ATOM.finditer(smiles)]
    if len(spans) != len(order):
        raise RefusedError("atoms that are not found in their SMILES")
    atoms = [-1] * len(smiles)
    for (start, end), atom in zip(spans, order, strict=True):
        atoms[start:end] = [atom] * (end - start)
    return atoms


def _crowded(spots: NDArray[np.float64]) -> bool:
    apart = spots[:, None] - spots[None]
    return bool(((apart**2).sum(-1) + 9 * np.eye(len(spots)) < CROWDED**2).any())


def _canvas(spots: NDArray[np.float64]) -> tuple[int, int]:
    """Width and height: paper above and below, or beside, costs time and is cropped anyway."""
    wide, high = np.ptp(spots, axis=0) + 1.0
    short = min(round(CANVAS * float(min(wide, high) / max(wide, high))) + SPARE, CANVAS)
    return (CANVAS, short) if wide >= high else (short, CANVAS)


def _cairo(mol: Chem.Mol, width: int, height: int) -> tuple[bytes, NDArray[np.float64]]:
    """A PNG and the (2, 3) map from the molecule's coordinates to pixels."""
    drawer = rdMolDraw2D.MolDraw2DCairo(width, height)
    options: Any = drawer.drawOptions()
    options.prepareMolsBeforeDrawing = False
    drawer.DrawMolecule(mol)
    drawer.FinishDrawing()
    corners = [drawer.GetDrawCoords(Point2D(x, y)) for x, y in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))]
    zero, one, two = (np.array([p.x, p.y]) for p in corners)
    # Cairo's pixels have their centres at halves
    return drawer.GetDrawingText(), np.stack([one - zero, two - zero, zero - 0.5], 1)


# --- on the 224 -----------------------------------------------------------------------------------


def canvas(ink: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """An ink map (H, W) of any size, cropped to its ink, on white paper of 224x224; aspect kept.

    Returns:
        The picture (224, 224), 0 black to 255 white, and the (2, 3) affine map that takes a place
        on the ink map (0 the first pixel's centre) to cells of 32 pixels (0 the first's centre).
    """
    x, y, w0, h0 = cv2.boundingRect((ink > FAINT).view(np.uint8))
    if not w0:  # nothing is drawn
        x, y, h0, w0 = 0, 0, *ink.shape
    ink = ink[y : y + h0, x : x + w0]
    room = SIDE - 2 * MARGIN
    factor = room / max(h0, w0)
    h, w = (min(max(round(n * factor), 1), room) for n in (h0, w0))
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    paper = np.full((SIDE, SIDE), 255, np.uint8)
    top, left = (SIDE - h) // 2, (SIDE - w) // 2
    paper[top : top + h, left : left + w] = 255 - cv2.resize(ink, (w, h), interpolation=way)
    fx, fy = w / w0, h / h0
    to_cells = np.array(
        [
            [fx / CELL, 0, ((0.5 - x) * fx + left) / CELL - 0.5],
            [0, fy / CELL, ((0.5 - y) * fy + top) / CELL - 0.5],
        ]
    )
    return paper, to_cells


FAINT = 32  # ink below this is no ink when a picture is cropped


@dataclass
class Example:
    """One picture, what is to be read, and where."""

    picture: NDArray[np.uint8]  # (224, 224), 255 is paper
    smiles: str
    tokens: list[int]  # T + 1, from '<' to '>'
    places: NDArray[np.float32]  # (T + 1, 2) in cells of 32 pixels; NaN where there is none
    atom: list[bool]  # T + 1: the token writes an atom


def example(plain: Plain, size: Size) -> Example:
    """An example from a drawing.

    Raises:
        RefusedError: the walk is too long for the reader, or cannot be written down.
    """
    if size.variant == "walk":
        words, places = walk.encode(plain.drawing().graph)
        if len(words) > size.steps:
            raise RefusedError(f"a walk of over {size.steps - 2} tokens")
        if any(word not in walk.TOKEN_ID for word in words):
            raise RefusedError("a character that is no token")
        tokens = [walk.TOKEN_ID[word] for word in words]
        writes = [walk.is_atom(word) or word == walk.OPEN for word in words]
    else:
        tokens = [START, *map(CHARACTERS.index, plain.smiles), END]
        writes = [False, *(i >= 0 for i in plain.atoms), False]
        places = np.full((len(tokens), 2), np.nan)
        places[writes] = plain.places[[i for i in plain.atoms if i >= 0]]
    picture, to_cells = canvas(plain.ink)
    cells = (places @ to_cells[:, :2].T + to_cells[:, 2]).astype(np.float32)
    return Example(picture, plain.smiles, tokens, cells, writes)
