"""The hands of other programs: pictures as RDKit and Indigo draw them, with the atoms' places.

Both are deterministic for a given random generator and raise :class:`DrawingError` for what they
cannot draw.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, Geometry, rdBase
from rdkit.Chem.Draw import rdMolDraw2D

from ..walk import ATOM_PATTERN, Graph, is_atom
from .condense import condense
from .depict import graph as graph_of
from .draw import NUMBERED, RAISED, TURNED, WRITTEN, Box, Drawing, Ink, fonts, waved

Places = NDArray[np.float64]  # (n, 2)
Bond = tuple[int, int, str]

MARGIN = 0.5  # paper kept around the ink, in bonds
LEAST_BOND = (13.0, 24.0)  # pixels: a canvas grows until its bonds are as long as a draw from here
GREATEST_BOND = 240.0  # pixels: beyond it the canvas fits the molecule instead

WAVES = 0.05  # share of molecules in which some bonds without stereo are wavy
PAGE = (250, 850)  # pixels a side of a canvas that the molecule is fitted to

_ORDER = {
    "=": Chem.BondType.DOUBLE,
    "x": Chem.BondType.DOUBLE,
    "#": Chem.BondType.TRIPLE,
    "$": Chem.BondType.QUADRUPLE,
    "d": Chem.BondType.DATIVE,
    "?": Chem.BondType.ZERO,
}
_DIRECTION = {
    "w": Chem.BondDir.BEGINWEDGE,
    "h": Chem.BondDir.BEGINDASH,
    "~": Chem.BondDir.UNKNOWN,
    "x": Chem.BondDir.EITHERDOUBLE,
}
_NUMBERED = re.compile(
    r"^\[(?P<isotope>\d{1,3})?(?P<element>[A-Z][a-z]?)(?P<h>H\d*)?(?P<dots>\.*)(?P<sign>\d?[+-])?\]$"
)
_USE = re.compile(r'<use xlink:href="#(glyph-\d+-\d+)" x="([^"]*)" y="([^"]*)"')
_SUBSCRIPT = re.compile(r"(?<=[A-Za-z)])(\d+)")
_NUMBER_TEXT = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")


class DrawingError(ValueError):
    """A molecule that this hand cannot draw; the text says why."""


class _LabelError(DrawingError):
    """The glyphs of a label were not found in the picture."""


@dataclass
class _Plan:
    """What is to be drawn: a graph in bond lengths, and what is not seen in it."""

    graph: Graph
    hydrogens: list[int]
    reverse: dict[int, str]
    """Condensed label -> its text when written towards the left."""
    notes: dict[int, str]
    """Atom -> R or S."""
    circles: bool
    """True if its aromatic rings may be drawn with circles: no hydrogen is lost by that."""


def _room(i: int, graph: Graph) -> bool:
    """True if a text that runs to the right from atom i meets none of the atom's bonds."""
    x, y = graph.places[i]
    ways = [graph.places[b if a == i else a] for a, b, _ in graph.bonds if i in (a, b)]
    return all(px - x < 0.35 * abs(py - y) + 0.02 for px, py in ways)


def _plan(
    mol: Chem.Mol, rng: np.random.Generator, condensed: float, rightwards: bool = False
) -> _Plan:
    """Turn and mirror the molecule at random, choose a Kekulé form and labels, wedge it.

    ``rightwards``: labels only where there is room for them to the right.
    """
    if not mol.GetNumConformers() or not mol.GetNumAtoms():
        raise DrawingError("the mol needs atoms and a 2D conformer")
    turned = Chem.Mol(mol)
    conformer = turned.GetConformer()
    spots = np.array(conformer.GetPositions(), dtype=np.float64)
    if rng.random() < 0.5:
        spots[:, 0] *= -1
    pick = rng.random()
    angle = 0.0 if pick < 0.4 else float(rng.uniform(0, 2 * math.pi))
    if 0.4 <= pick < 0.75:
        angle = round(angle / (math.pi / 6)) * math.pi / 6
    c, s = math.cos(angle), math.sin(angle)
    spots[:, :2] = spots[:, :2] @ np.array([[c, s], [-s, c]])
    for i, spot in enumerate(spots):
        conformer.SetAtomPosition(i, Geometry.Point3D(*map(float, spot)))
    try:
        whole = graph_of(turned, rng)
        is_written = any(atom.HasProp(WRITTEN) for atom in mol.GetAtoms())
        groups = condense(mol, rng, condensed) if condensed > 0 and not is_written else []
    except (ValueError, RuntimeError) as err:
        raise DrawingError(f"no graph of the molecule: {err}") from err
    bulky = {i for group in groups for i in group.atoms if i != group.anchor}
    if rightwards and groups:
        bare = Graph(
            whole.atoms,
            whole.places,
            [(a, b, k) for a, b, k in whole.bonds if a not in bulky and b not in bulky],
        )
        groups = [group for group in groups if _room(group.anchor, bare)]
    gone = {i for group in groups for i in group.atoms if i != group.anchor}
    keep = [i for i in range(len(whole.atoms)) if i not in gone]
    new = {old: i for i, old in enumerate(keep)}
    labels = {group.anchor: group.text for group in groups}
    reverse = {new[group.anchor]: group.reverse for group in groups}
    for atom in mol.GetAtoms():
        if atom.HasProp(WRITTEN) and atom.GetIdx() in new:
            if rightwards and not _room(atom.GetIdx(), whole):
                raise DrawingError("no room for a text to the right of its atom")
            labels[atom.GetIdx()] = atom.GetProp(WRITTEN)
            reverse[new[atom.GetIdx()]] = atom.GetProp(TURNED)
    bonds = [(new[a], new[b], k) for a, b, k in whole.bonds if a in new and b in new]
    if rng.random() < WAVES:
        bonds = waved(mol, bonds, keep, rng)
    xy = np.asarray(whole.places, dtype=np.float64)[keep]
    lengths = [math.dist(xy[a], xy[b]) for a, b, _ in bonds]
    unit = max(float(np.median(lengths)) if lengths else 1.5, 1e-6)
    atoms = [f"[{labels[i]}]" if i in labels else whole.atoms[i] for i in keep]
    atoms = [name if is_atom(name) or name[0] == "[" else f"[{name}]" for name in atoms]
    hydrogens = [0 if i in labels else turned.GetAtomWithIdx(i).GetTotalNumHs() for i in keep]
    notes = {
        new[a.GetIdx()]: a.GetProp("_CIPCode")
        for a in mol.GetAtoms()
        if a.HasProp("_CIPCode") and a.GetIdx() in new
    }
    aromatic = [a for a in mol.GetAtoms() if a.GetIsAromatic()]
    circles = all(a.GetAtomicNum() == 6 or not a.GetTotalNumHs() for a in aromatic)
    graph = Graph(atoms, (xy - xy.mean(0)) / unit, bonds)
    return _Plan(graph, hydrogens, reverse, notes, bool(aromatic) and circles)


def _median_bond(places: Places, bonds: Sequence[Bond]) -> float:
    lengths = [math.dist(places[a], places[b]) for a, b, _ in bonds]
    return float(np.median(lengths)) if lengths else 0.0


def _ink(png: bytes, luminance: bool) -> Ink:
    """Ink of a PNG on white: loss of luminance, or of the channel that loses most."""
    data = np.frombuffer(png, np.uint8)
    if luminance:
        grey = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    else:
        colour = cv2.imdecode(data, cv2.IMREAD_COLOR)
        grey = None if colour is None else colour.min(axis=2)
    if grey is None:
        raise DrawingError("the program gave no picture")
    return np.asarray(255 - grey, dtype=np.uint8)


def _finished(ink: Ink, graph: Graph, bond: float) -> Drawing:
    """Crop to the ink; places are moved to the convention that pixel centres are whole numbers."""
    box = cv2.boundingRect(np.asarray(ink > 8, dtype=np.uint8))
    x, y, width, height = box
    if not width:
        raise DrawingError("the picture is blank")
    pad = math.ceil(MARGIN * bond)
    top, left = max(y - pad, 0), max(x - pad, 0)
    cut = np.ascontiguousarray(ink[top : y + height + pad, left : x + width + pad])
    shift = np.array([left + 0.5, top + 0.5])
    glyphs = {i: g - shift for i, g in graph.glyphs.items()}
    shown = Graph(graph.atoms, graph.places - shift, graph.bonds, glyphs)
    if not np.isfinite(shown.places).all():
        raise DrawingError("places that are no numbers")
    return Drawing(cut, shown, bond)


def _extent(path: str) -> Box:
    """Box of an SVG path of absolute M, L, C and Q commands."""
    numbers = [float(n) for n in _NUMBER_TEXT.findall(path)]
    xs, ys = numbers[::2], numbers[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def _middles(boxes: Sequence[Box]) -> Places:
    corners = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    return (corners[:, :2] + corners[:, 2:]) / 2


# --- RDKit ----------------------------------------------------------------------------------------


def _markup(text: str, way: str, raised: bool = False) -> str:
    if way and raised and NUMBERED.fullmatch(text):
        way = "sup"
    if way and text[0].isdigit() and not text.isdigit():  # an isotope
        number = text[: len(text) - len(text.lstrip("0123456789"))]
        return f"<sup>{number}</sup>" + _markup(text[len(number) :], way)
    if not way:
        return text
    tail = text[-1] if text[-1] in "+-" and len(text) > 1 else ""
    body = RAISED.sub(r"<sup>\g<0></sup>", text[: len(text) - len(tail)])
    return _SUBSCRIPT.sub(rf"<{way}>\1</{way}>", body) + (f"<sup>{tail}</sup>" if tail else "")


def _rdkit_mol(plan: _Plan, way: str, notes: bool, raised: bool) -> Chem.RWMol:
    """A mol that RDKit draws as it is: Kekulé form, wedges and hydrogens fixed."""
    mol = Chem.RWMol()
    for i, name in enumerate(plan.graph.atoms):
        match, numbered = ATOM_PATTERN.match(name), _NUMBERED.match(name)
        text = name[1:-1]
        if i not in plan.reverse and (match or numbered):
            element, sign = (
                (match[1], (match[3] or "") + (match[4] or ""))
                if match
                else (numbered["element"], numbered["sign"] or "")  # type: ignore[index]
            )
            isotope = {"D": 2, "T": 3}.get(element, 0) if match else 0
            if numbered and numbered["isotope"]:
                isotope = int(numbered["isotope"])
            try:
                atom = Chem.Atom("H" if element in ("D", "T") else element)
            except RuntimeError as err:
                raise DrawingError(f"unknown element {element}") from err
            atom.SetIsotope(isotope)
            if sign:
                size = int(sign[:-1] or 1)
                atom.SetFormalCharge(size if sign[-1] == "+" else -size)
            dots = match[2] if match else numbered["dots"]  # type: ignore[index]
            atom.SetNumRadicalElectrons(len(dots))
        else:
            atom = Chem.Atom(0)
            atom.SetProp("_displayLabel", _markup(text, way, raised))
            atom.SetProp("_displayLabelW", _markup(plan.reverse.get(i, text), way, raised))
        atom.SetNoImplicit(True)
        atom.SetNumExplicitHs(plan.hydrogens[i])
        if notes and i in plan.notes:
            atom.SetProp("atomNote", f"({plan.notes[i]})")
        mol.AddAtom(atom)
    for a, b, kind in plan.graph.bonds:
        mol.AddBond(a, b, _ORDER.get(kind, Chem.BondType.SINGLE))
        if kind in _DIRECTION:
            mol.GetBondBetweenAtoms(a, b).SetBondDir(_DIRECTION[kind])
    conformer = Chem.Conformer(mol.GetNumAtoms())
    conformer.Set3D(False)
    for i, (x, y) in enumerate(plan.graph.places * 1.5):
        conformer.SetAtomPosition(i, Geometry.Point3D(float(x), -float(y), 0.0))
    mol.AddConformer(conformer, assignId=True)
    mol.UpdatePropertyCache(strict=False)
    Chem.FastFindRings(mol)
    return mol


def _annotate(mol: Chem.RWMol, rng: np.random.Generator) -> None:
    """Write numbers beside the atoms: their places in the list, charges, or maps after a colon."""
    kind = rng.random()
    first = int(rng.integers(2))
    for atom in mol.GetAtoms():
        i = atom.GetIdx()
        if kind < 0.35:
            atom.SetAtomMapNum(i + 1)
        elif kind < 0.7:
            atom.SetProp("atomNote", str(i + first))
        else:
            atom.SetProp("atomNote", f"{rng.normal(0, 0.4):.2f}")


def _rdkit_options(plan: _Plan, rng: np.random.Generator) -> tuple[int, int, dict[str, Any], bool]:
    """Width, height, options by name, and whether the style is that of ACS 1996."""
    u = rng.random
    options: dict[str, Any] = {"prepareMolsBeforeDrawing": False}
    size = np.ptp(plan.graph.places, axis=0) + 1.2  # bonds
    width = height = -1
    bond = 30.0
    kind = u()
    default, acs = kind < 0.45, 0.45 <= kind < 0.55
    if u() < (0.75 if default else 0.3) and not acs and plan.graph.bonds and not plan.reverse:
        width = height = int(rng.integers(*PAGE))
        if u() < 0.3:
            height = int(width * rng.uniform(0.6, 1.0))
        bond = 0.9 * min(width / size[0], height / size[1])
        least = float(rng.uniform(*LEAST_BOND))
        if bond < least:
            width, height = (int(v * least / bond) for v in (width, height))
            bond = least
        elif bond > GREATEST_BOND:
            width = height = -1
    if width < 0 and not acs:
        bond = 30.0
        if kind > 0.25:
            most = max(28.0, min(80.0, 700.0 / float(size.max())))
            bond = float(rng.uniform(22.0, most))
        options["fixedBondLength"] = bond
    if default:
        if u() < 0.4:
            options["baseFontSize"] = float(rng.uniform(0.35, 0.9))
        return width, height, options, False
    options["dummiesAreAttachments"] = bool(u() < 0.7)
    options["factor"] = float(rng.uniform(1.4, 3.6))  # ACS 1996 only
    options["fontFile"] = str(fonts()[int(rng.integers(len(fonts())))])
    if acs:
        if u() < 0.5:
            del options["fontFile"]
        return -1, -1, options, True
    thick = float(np.exp(rng.normal(math.log(0.06), 0.4)))  # bonds
    options["bondLineWidth"] = min(max(thick * bond, 0.8), 0.12 * bond)
    options["baseFontSize"] = float(rng.uniform(0.45, 0.8))
    options["minFontSize"] = int(min(int(rng.integers(5, 12)), 0.38 * bond))
    options["maxFontSize"] = int(rng.integers(18, 60))
    options["multipleBondOffset"] = float(rng.uniform(0.1, 0.24))
    options["additionalAtomLabelPadding"] = float(rng.choice([0.0, rng.uniform(0.0, 0.12)]))
    options["explicitMethyl"] = bool(u() < 0.15)
    options["scaleBondWidth"] = bool(u() < 0.2)
    options["singleColourWedgeBonds"] = bool(u() < 0.4)
    options["splitBonds"] = bool(u() < 0.03)
    options["atomLabelDeuteriumTritium"] = True
    return width, height, options, False


def _rdkit_draw(
    drawer: Any, mol: Chem.Mol, options: Mapping[str, Any], acs: bool, palette: str
) -> None:
    style = drawer.drawOptions()
    if acs:
        rdMolDraw2D.SetACS1996Mode(style, 1.5)
        factor = options["factor"]
        style.scalingFactor *= factor
        style.fixedBondLength *= factor
        style.bondLineWidth *= factor
        style.fixedFontSize = round(style.fixedFontSize * factor)
        style.additionalAtomLabelPadding = 0.066
    for name, value in options.items():
        if name != "factor":
            setattr(style, name, value)
    getattr(style, palette)()
    drawer.DrawMolecule(mol)
    drawer.FinishDrawing()


def _drawn_places(drawer: Any, mol: Chem.Mol) -> Places:
    points = [drawer.GetDrawCoords(i) for i in range(mol.GetNumAtoms())]
    return np.array([(p.x, p.y) for p in points], dtype=np.float64)


def _glyph_orders(name: str) -> list[list[str]]:
    """The orders in which RDKit sets the parts of a label such as [15NH3+]."""
    match = _NUMBERED.match(name)
    if match is None:
        return []
    parts = [match[k] or "" for k in ("isotope", "element", "h", "sign")]
    isotope, element, hydrogens, sign = parts
    return [[isotope, element, hydrogens, sign], [hydrogens, isotope, element, sign]]


def _rdkit_labels(svg: str, plan: _Plan, places: Places) -> tuple[list[str], dict[int, Places]]:
    """Texts of the atoms as they were set, and the places of the glyphs of labels."""
    atoms = list(plan.graph.atoms)
    boxes: dict[int, list[Box]] = {}
    for number, path in re.findall(r"<path class='atom-(\d+)' d='([^']*)'", svg):
        boxes.setdefault(int(number), []).append(_extent(path))
    glyphs: dict[int, Places] = {}
    for i, name in enumerate(atoms):
        if is_atom(name):
            continue
        spots = _middles(boxes.get(i, []))
        away = np.linalg.norm(spots - places[i], axis=1)
        text = name[1:-1]
        orders = [] if i in plan.reverse else _glyph_orders(name)
        if orders:
            if len(spots) == len(text) - len(orders[0][2]):  # 13C: no hydrogens are written
                isotope, symbol, _, sign = orders[0]
                orders = [[isotope, symbol, "", sign], ["", isotope, symbol, sign]]
                text = "".join(orders[0])
                atoms[i] = f"[{text}]"
            if len(spots) != len(text) or "." in text:
                raise _LabelError(f"glyphs of {name} not found")
            forward, backward = orders
            element = forward[1]
            here = len(forward[0])
            there = len(backward[0]) + len(backward[1])
            if away[there : there + len(element)].min() < away[here : here + len(element)].min():
                hydrogens = len(backward[0])
                rest = spots[hydrogens : len(spots) - len(forward[3])]
                spots = np.vstack([rest, spots[:hydrogens], spots[len(spots) - len(forward[3]) :]])
            glyphs[i] = spots
            continue
        back = plan.reverse.get(i, text)
        if len(spots) not in (len(text), len(back)):
            raise _LabelError(f"glyphs of {name} not found")
        backwards = len(spots) != len(text) or (back != text and away[-2:].min() < away[0])
        if backwards and len(spots) != len(back):
            raise _LabelError(f"glyphs of {name} not found")
        atoms[i] = f"[{back}]" if backwards else name
        glyphs[i] = spots
    return atoms, glyphs


def rdkit(mol: Chem.Mol, rng: np.random.Generator) -> Drawing:
    """Draw as RDKit does, in its default style, ACS 1996, or one of its many others.

    Args:
        mol: sanitised, with a 2D conformer (y up); it is turned and mirrored at random.
        rng: all chance comes from here.

    Raises:
        DrawingError: RDKit does not draw this molecule.
    """
    condensed = float(rng.choice([0.0, 0.4, 0.9], p=[0.85, 0.09, 0.06]))
    with rdBase.BlockLogs():
        try:
            return _rdkit(mol, rng, condensed)
        except _LabelError:
            if not condensed:
                raise
            return _rdkit(mol, rng, 0.0)


def _rdkit(mol: Chem.Mol, rng: np.random.Generator, condensed: float) -> Drawing:
    plan = _plan(mol, rng, condensed)
    way = str(rng.choice(["sub", "", "sup"], p=[0.85, 0.12, 0.03]))
    width, height, options, acs = _rdkit_options(plan, rng)
    plain = acs or rng.random() < 0.45
    palette = "useBWAtomPalette"
    if not plain:
        palettes = ("useDefaultAtomPalette", "useAvalonAtomPalette", "useCDKAtomPalette")
        palette = palettes[int(rng.choice(3, p=[0.8, 0.1, 0.1]))]
    shown = _rdkit_mol(plan, way, rng.random() < 0.02, rng.random() < 0.5)
    if rng.random() < 0.03 and all(map(is_atom, plan.graph.atoms)):
        _annotate(shown, rng)
    luminance = plain or rng.random() < 0.5
    if not options.get("atomLabelDeuteriumTritium"):
        plan.graph.atoms = [{"D": "[2H]", "T": "[3H]"}.get(name, name) for name in plan.graph.atoms]
    try:
        drawer = rdMolDraw2D.MolDraw2DCairo(width, height)
        _rdkit_draw(drawer, shown, options, acs, palette)
        places = _drawn_places(drawer, shown)
        if width > 0 and _median_bond(places, plan.graph.bonds) < LEAST_BOND[0]:
            # wide labels shrink the bonds of a canvas of given size
            width = height = -1
            options["fixedBondLength"] = 30.0
            drawer = rdMolDraw2D.MolDraw2DCairo(width, height)
            _rdkit_draw(drawer, shown, options, acs, palette)
            places = _drawn_places(drawer, shown)
        atoms, glyphs = plan.graph.atoms, dict[int, Places]()
        if not all(map(is_atom, atoms)):
            vector = rdMolDraw2D.MolDraw2DSVG(width, height)
            _rdkit_draw(vector, shown, options, acs, palette)
            lines = _drawn_places(vector, shown)
            atoms, glyphs = _rdkit_labels(vector.GetDrawingText(), plan, lines)
            glyphs = {i: g + (places[i] - lines[i]) for i, g in glyphs.items()}
        bond = _median_bond(places, plan.graph.bonds)
        if not bond:
            one, two = (drawer.GetDrawCoords(Geometry.Point2D(x, 0.0)) for x in (0.0, 1.5))
            bond = min(max(math.hypot(two.x - one.x, two.y - one.y), 20.0), 80.0)
        ink = _ink(drawer.GetDrawingText(), luminance)
    except RuntimeError as err:
        raise DrawingError(f"RDKit does not draw it: {str(err).strip().splitlines()[0]}") from err
    return _finished(ink, Graph(atoms, places, plan.graph.bonds, glyphs), bond)


# --- Indigo ---------------------------------------------------------------------------------------

_MARK = {"w": 1, "h": 6, "~": 4, "x": 3}
_KIND = {(1, 1): "w", (1, 6): "h", (1, 4): "~", (2, 3): "x"}
_NUMBER = {"-": 1, "w": 1, "h": 1, "~": 1, "=": 2, "x": 2, "#": 3, ":": 4}
_KIND_OF = {1: "-", 2: "=", 3: "#", 4: ":"}
SEARCH = 3  # pixels of shift between Indigo's PNG and SVG, beyond their difference in size
CIRCLES = 0.1  # share of molecules, of those that allow it, whose aromatic rings get circles
OFF_LINE = 0.05  # bonds by which a place may miss the strokes


@functools.cache
def _indigo() -> tuple[Any, Any, Any]:
    """The session, its renderer and its exception."""
    try:
        from indigo import Indigo, IndigoException  # noqa: PLC0415 - slow to load, seldom needed
        from indigo.renderer import IndigoRenderer  # noqa: PLC0415
    except ImportError as err:
        raise DrawingError("Indigo is not installed here") from err

    session = Indigo()
    session.setOption("ignore-stereochemistry-errors", True)
    session.setOption("ignore-bad-valence", True)
    session.setOption("molfile-saving-mode", "2000")
    return session, IndigoRenderer(session), IndigoException


def _molfile(plan: _Plan) -> str:
    """V2000 of the plan; labels are carbons, to be reset."""
    graph = plan.graph
    if len(graph.atoms) > 999 or len(graph.bonds) > 999:
        raise DrawingError("too large for a V2000 molfile")
    counts = f"{len(graph.atoms):3d}{len(graph.bonds):3d}"
    lines = ["", "", "", f"{counts}  0  0  1  0  0  0  0  0999 V2000"]
    extra: list[str] = []
    for i, (name, (x, y)) in enumerate(zip(graph.atoms, graph.places, strict=True)):
        match, numbered = ATOM_PATTERN.match(name), _NUMBERED.match(name)
        element, valence = "C", 0
        if i not in plan.reverse and (match or numbered):
            found = match if match else numbered
            assert found is not None
            element, dots = (match[1], match[2]) if match else (found["element"], found["dots"])
            sign = (match[3] or "") + (match[4] or "") if match else found["sign"] or ""
            isotope = {"D": 2, "T": 3}.get(element, 0)
            if numbered and numbered["isotope"]:
                isotope = int(numbered["isotope"])
            if sign:
                size = int(sign[:-1] or 1) * (1 if sign[-1] == "+" else -1)
                extra.append(f"M  CHG  1 {i + 1:3d} {size:3d}")
            if isotope:
                extra.append(f"M  ISO  1 {i + 1:3d} {isotope:3d}")
            if dots:
                extra.append(f"M  RAD  1 {i + 1:3d} {len(dots) + 1:3d}")
            element = "H" if element in ("D", "T") else "C" if element == "*" else element
            if numbered and not dots:
                total = plan.hydrogens[i] + sum(
                    {"=": 2, "x": 2, "#": 3}.get(k, 1) for a, b, k in graph.bonds if i in (a, b)
                )
                valence = total or 15
        spot = f"{x:10.4f}{-y:10.4f}{0:10.4f}"
        lines.append(f"{spot} {element:<3s} 0  0  0  0  0{valence:3d}  0  0  0  0  0  0")
    for a, b, kind in graph.bonds:
        if kind not in _NUMBER:
            raise DrawingError(f"Indigo's hand draws no bond of kind {kind!r}")
        lines.append(f"{a + 1:3d}{b + 1:3d}{_NUMBER[kind]:3d}{_MARK.get(kind, 0):3d}")
    return "\n".join([*lines, *extra, "M  END", ""])


def _read_back(molfile: str, atoms: list[str]) -> Graph:
    """Coordinates (bond lengths, y down) and bonds of a V2000 molfile of Indigo's."""
    lines = molfile.splitlines()
    n, m = int(lines[3][:3]), int(lines[3][3:6])
    if n != len(atoms):
        raise DrawingError("Indigo changed the number of atoms")
    places = np.array([(float(row[:10]), -float(row[10:20])) for row in lines[4 : 4 + n]])
    bonds: list[Bond] = []
    for line in lines[4 + n : 4 + n + m]:
        a, b, order, mark = (int(line[k : k + 3]) for k in (0, 3, 6, 9))
        kind = _KIND.get((order, mark)) or _KIND_OF.get(order)
        if kind is None:
            raise DrawingError(f"Indigo made a bond of order {order}")
        bonds.append((a - 1, b - 1, kind))
    return Graph(atoms, places, bonds)


def _crowded(places: Places) -> bool:
    if not np.isfinite(places).all():
        return True
    gaps = np.linalg.norm(places[:, None] - places[None], axis=-1) + np.eye(len(places)) * 9
    return bool(gaps.min() < 0.35)


def _indigo_options(rng: np.random.Generator, heavy: int) -> dict[str, Any]:
    u = rng.random
    bond = min(max(float(np.exp(rng.normal(math.log(34.0), 0.25))), 20.0), 60.0)
    if heavy > 35:
        bond = min(bond, 36.0)
    hydrogens = u()
    options: dict[str, Any] = {
        "render-bond-length": bond,
        "render-bond-line-width": 1.0,
        "render-relative-thickness": 1.0,
        "render-implicit-hydrogens-visible": True,
        "render-label-mode": "terminal-hetero",
        "render-coloring": bool(u() < 0.35),
        "render-stereo-style": "none" if u() < 0.93 else "old",
        "render-margins": (4, 4),
        "render-background-color": (1.0, 1.0, 1.0),
        "render-center-double-bond-when-stereo-adjacent": bool(u() < 0.1),
        "render-valences-visible": False,
    }
    if u() < 0.65:
        options["render-relative-thickness"] = float(np.exp(rng.normal(0.0, 0.3)))
        options["render-bond-line-width"] = float(rng.uniform(0.6, 2.0))
    if hydrogens < 0.6:
        modes = ("hetero", "terminal-hetero", "all")
        options["render-label-mode"] = modes[int(rng.choice(3, p=[0.7, 0.27, 0.03]))]
        options["render-implicit-hydrogens-visible"] = bool(u() < 0.95)
    return options


def _box_of_glyphs(svg: str) -> dict[str, Box]:
    found = re.findall(r'<g id="(glyph-\d+-\d+)">\s*<path[^>]*? d="([^"]*)"', svg)
    return {name: _extent(path) for name, path in found if path.strip()}


def _misses(places: Places, bonds: Sequence[Bond], strokes: NDArray[np.float64]) -> float:
    """How far the middles of single bonds lie from the nearest stroke: upper decile, in bonds."""
    singles = [(a, b) for a, b, kind in bonds if kind == "-"]
    if not singles:
        return 0.0
    pairs = np.array(singles)
    middles = (places[pairs[:, 0]] + places[pairs[:, 1]]) / 2
    start, way = strokes[:, :2], strokes[:, 2:] - strokes[:, :2]
    gaps = middles[:, None] - start[None]
    along = (gaps * way).sum(-1) / np.maximum((way**2).sum(-1), 1e-9)
    # labels shorten a stroke, so its line is taken a little beyond its ends
    foot = start[None] + np.clip(along, -1.0, 2.0)[..., None] * way[None]
    away = np.linalg.norm(middles[:, None] - foot, axis=-1).min(axis=1)
    return float(np.quantile(away, 0.9)) / max(_median_bond(places, bonds), 1e-6)


def _shift(ink: Ink, strokes: NDArray[np.float64], width: float, size: tuple[int, int]) -> Places:
    """(dx, dy) from the SVG to the PNG: where the strokes (n, 4) fit the picture best.

    Text is a little wider in the PNG, so its page is larger than the SVG's (height, width).
    """
    mask = np.zeros(size, np.uint8)
    thick = max(int(width), 1)  # OpenCV's lines are up to a pixel wider than asked
    for x0, y0, x1, y1 in np.round((strokes - 0.5) * 16).astype(int).tolist():
        cv2.line(mask, (x0, y0), (x1, y1), 255, thick, cv2.LINE_AA, 4)
    height, breadth = (max(a, b) for a, b in zip(ink.shape, size, strict=True))
    wide = np.zeros((height + 2 * SEARCH, breadth + 2 * SEARCH), np.float32)
    wide[SEARCH : SEARCH + ink.shape[0], SEARCH : SEARCH + ink.shape[1]] = ink
    fit = cv2.matchTemplate(wide, mask.astype(np.float32), cv2.TM_CCORR)
    row, column = np.unravel_index(int(fit.argmax()), fit.shape)
    if not (0 < row < fit.shape[0] - 1 and 0 < column < fit.shape[1] - 1):
        raise DrawingError("the places of the atoms were not found in Indigo's picture")
    covered = float(fit[row, column]) / max(float((mask.astype(np.float32) ** 2).sum()), 1.0)
    if covered < 0.45 * min(width, 1.0):
        raise DrawingError("Indigo's picture does not show the bonds where they should be")

    def peak(low: float, mid: float, high: float) -> float:
        curve = low - 2 * mid + high
        return 0.5 * (low - high) / curve if curve else 0.0

    line = fit[row, column - 1 : column + 2].tolist()
    pile = fit[row - 1 : row + 2, column].tolist()
    return np.array([column - SEARCH + peak(*line), row - SEARCH + peak(*pile)])


def _indigo_glyphs(svg: str, plan: _Plan, places: Places) -> dict[int, Places]:
    """Places of the glyphs of labels, in the pixels of the SVG."""
    labels = [i for i, name in enumerate(plan.graph.atoms) if not is_atom(name)]
    if not labels:
        return {}
    shapes = _box_of_glyphs(svg)
    uses: list[Box] = []
    for name, x, y in _USE.findall(svg):
        box = shapes.get(name, (0.0, 0.0, 0.0, 0.0))
        uses.append((box[0] + float(x), box[1] + float(y), box[2] + float(x), box[3] + float(y)))
    spots = _middles(uses)
    bond = _median_bond(places, plan.graph.bonds)
    glyphs: dict[int, Places] = {}
    for i in labels:
        name = plan.graph.atoms[i]
        text = name[1:-1]
        away = np.linalg.norm(spots - places[i], axis=1)
        first = int(away.argmin()) if len(away) else 0
        match = None if i in plan.reverse else _NUMBERED.match(name)
        if match and (match["sign"] or match["dots"]):
            raise _LabelError(f"glyphs of {name} are no text")
        if first + len(text) > len(spots) or away[first] > 0.35 * bond:
            raise _LabelError(f"glyphs of {name} not found")
        run = spots[first : first + len(text)]
        if np.linalg.norm(run - places[i], axis=1).max() > bond * (0.6 + 0.45 * len(text)):
            raise _LabelError(f"glyphs of {name} not found")
        if match:
            size, count = len(match["element"]), len(match["isotope"] or "")
            run = np.vstack([run[size : size + count], run[:size], run[size + count :]])
        glyphs[i] = run
    return glyphs


def indigo(mol: Chem.Mol, rng: np.random.Generator) -> Drawing:
    """Draw as Indigo does, from the given coordinates or in a layout of its own.

    Args:
        mol: sanitised, with a 2D conformer (y up); it is turned and mirrored at random.
        rng: all chance comes from here.

    Raises:
        DrawingError: Indigo does not draw this molecule, or not so that its atoms are found.
    """
    condensed = float(rng.choice([0.0, 0.4, 0.9], p=[0.85, 0.09, 0.06]))
    with rdBase.BlockLogs():
        try:
            return _indigo_hand(mol, rng, condensed)
        except _LabelError:
            if not condensed:
                raise
            return _indigo_hand(mol, rng, 0.0)


def _indigo_hand(mol: Chem.Mol, rng: np.random.Generator, condensed: float) -> Drawing:
    session, renderer, failure = _indigo()
    plan = _plan(mol, rng, condensed, rightwards=True)
    atoms = plan.graph.atoms
    if not plan.graph.bonds:
        raise DrawingError("without bonds, Indigo's scale is not known")
    options = _indigo_options(rng, len(atoms))
    own_layout, luminance, circles = rng.random(3) < (0.5, 0.5, CIRCLES)
    try:
        for name, value in options.items():
            if isinstance(value, tuple):
                session.setOption(name, *value)
            else:
                session.setOption(name, value)
        drawn = _load(session, plan)
        circles &= plan.circles
        if circles:
            drawn.aromatize()
        own_layout &= not plan.reverse
        if own_layout:
            drawn.layout()
        if own_layout or circles:
            plan.graph = _read_back(drawn.molfile(), atoms)
            if _crowded(plan.graph.places):
                raise DrawingError("Indigo's layout has atoms on top of one another")
        session.setOption("render-output-format", "svg")
        svg = bytes(renderer.renderToBuffer(drawn)).decode()
        session.setOption("render-output-format", "png")
        ink = _ink(bytes(renderer.renderToBuffer(drawn)), bool(luminance))
    except failure as err:
        raise DrawingError(f"Indigo does not draw it: {err}") from err
    return _placed(svg, ink, plan)


def _load(session: Any, plan: _Plan) -> Any:
    drawn = session.loadMolecule(_molfile(plan))
    for i, name in enumerate(plan.graph.atoms):
        if name == "*" or i in plan.reverse or not (is_atom(name) or _NUMBERED.match(name)):
            drawn.getAtom(i).resetAtom(name[1:-1] if name[0] == "[" else name)
    return drawn


def _placed(svg: str, ink: Ink, plan: _Plan) -> Drawing:
    matrices = re.findall(r'transform="matrix\(([^)]*)\)"', svg)
    if not matrices:
        raise DrawingError("no line in Indigo's picture tells its scale")
    scale, _, _, _, left, top = (float(v) for v in matrices[0].split(","))
    spots = plan.graph.places
    unit = float(np.mean([math.dist(spots[a], spots[b]) for a, b, _ in plan.graph.bonds]))
    places = (spots - spots.min(0)) / unit * scale + (left, top)
    ends = re.findall(
        r'stroke-width="([^"]*)"[^>]* d="M (\S+) (\S+) L (\S+) (\S+) " transform="matrix', svg
    )
    if not ends:
        raise DrawingError("no line in Indigo's picture tells its scale")
    strokes = np.array([e[1:] for e in ends], dtype=np.float64) * scale + (left, top, left, top)
    if _misses(places, plan.graph.bonds, strokes) > OFF_LINE:
        raise DrawingError("Indigo's lines are not where the bonds should be")
    sizes = re.search(r'width="(\d+)" height="(\d+)"', svg)
    assert sizes is not None
    glyphs = _indigo_glyphs(svg, plan, places)
    move = _shift(ink, strokes, float(ends[0][0]) * scale, (int(sizes[2]), int(sizes[1])))
    glyphs = {i: g + move for i, g in glyphs.items()}
    places = places + move
    graph = Graph(plan.graph.atoms, places, plan.graph.bonds, glyphs)
    return _finished(ink, graph, _median_bond(places, plan.graph.bonds))
