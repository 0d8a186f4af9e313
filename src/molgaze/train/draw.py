"""A molecule to a grey picture and the place of every token, drawn by several hands.

``own`` is our rasteriser: fast, every knob of style ours. ``rdkit`` and ``indigo`` are the programs
that chemists' pictures come from. Every hand returns a :class:`Drawing`; all are deterministic for
a given random generator.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ImageFont
from rdkit import Chem

from ..walk import ATOM_PATTERN, Graph, is_atom
from .condense import condense, invent
from .depict import graph as graph_of

Ink = NDArray[np.uint8]  # (H, W), 0 paper .. 255 ink
Point = tuple[float, float]
Box = tuple[float, float, float, float]  # left, top, right, bottom

FONT_FOLDERS = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path.home() / ".fonts")
FONT_NAMES = re.compile(
    r"(DejaVu|Liberation|Free|Nimbus|C059|P052|URW|texgyre|Roboto|OpenSans|Lato|Arimo|Tinos)", re.I
)
FONT_REFUSED = re.compile(r"(Math|Symbol|D050000L|Z003|chorus|FreeMono(Oblique|BoldOblique))", re.I)


#: SMILES of what stands beside a molecule of a salt -> how it may be written
PARTNERS = {
    **{"O": ("H2O",), "F": ("HF",), "Cl": ("HCl",), "Br": ("HBr",), "I": ("HI",)},
    **{"[Cl-]": ("Cl-",), "[Br-]": ("Br-",), "[I-]": ("I-",), "[Na+]": ("Na+",), "[K+]": ("K+",)},
    **{"O=S(=O)(O)O": ("H2SO4",), "O=[N+]([O-])O": ("HNO3",), "O=P(O)(O)O": ("H3PO4",)},
    "CS(=O)(=O)O": ("CH3SO3H", "MeSO3H", "CH3SO2OH"),
    "O=C(O)C(F)(F)F": ("CF3CO2H", "CF3COOH", "TFA"),
    "CC(=O)O": ("CH3CO2H", "CH3COOH", "AcOH"),
    "CO": ("CH3OH", "MeOH"),
    "CCO": ("C2H5OH", "CH3CH2OH", "EtOH"),
    "N": ("NH3",),
    **{"[Li+]": ("Li+",), "[NH4+]": ("NH4+",), "[Ag+]": ("Ag+",), "[Al+3]": ("Al3+",)},
    **{f"[{metal}+2]": (f"{metal}2+",) for metal in "Ca Mg Zn Ba Sr Sn Fe Cu Mn Co".split()},
    **{f"[{metal}+3]": (f"{metal}3+",) for metal in "Fe Bi La Gd".split()},
    **{"O=[N+]([O-])[O-]": ("NO3-",), "O=S(=O)([O-])[O-]": ("SO42-",)},
    **{"O=P([O-])([O-])[O-]": ("PO43-",), "O=S(=O)([O-])O": ("HSO4-",)},
    **{"F[B-](F)(F)F": ("BF4-",), "F[P-](F)(F)(F)(F)F": ("PF6-",)},
    "[O-][Cl+3]([O-])([O-])[O-]": ("ClO4-",),
    "CC(=O)[O-]": ("CH3CO2-", "CH3COO-", "AcO-"),
    "CS(=O)(=O)[O-]": ("CH3SO3-", "MsO-"),
}
COUNTED = re.compile(
    rf"[2-6](?:{'|'.join(re.escape(text) for texts in PARTNERS.values() for text in texts)})"
)
WRITTEN = "molgaze.written"  # property of an atom: the text that stands for it in the drawing
TURNED = "molgaze.turned"  # the same text where it is written towards the left
NUMBERED = re.compile(r"(?:[RXYZAQLGW]|Ar|Het|[ONS]R|NHR|CO2R|COR|CH2R)\d{1,2}")


#: element -> how dark its text is where texts are coloured; others are nearly black
STRENGTHS = {"C": 0.62, "H": 0.62, "O": 0.75, "F": 0.45, "S": 0.5, "Cl": 0.55, "P": 0.6, "I": 0.7}
RAISED = re.compile(r"(?<=Bu)[tnis](?![a-z])|(?<=Pr)[in](?![a-z])|^[+-](?=[A-Z])")
#: The charge of an ion that has its number, as of Ca2+ and SO42-
CHARGE = re.compile(r"(?<=Ca|Mg|Zn|Ba|Sr|Sn|Fe|Cu|Mn|Co|Bi|La|Gd|Al)[23]\+$|(?<=[SCP]O[34])[23]-$")


@dataclass
class Drawing:
    """A picture of a molecule and what it shows, in the picture's own pixels."""

    ink: Ink
    graph: Graph
    bond: float
    """Bond length in pixels."""


@dataclass(frozen=True)
class Style:
    """How one drawing looks. Lengths in bond lengths unless said."""

    bond: float  # pixels
    line: float = 0.06
    gap: float = 0.18  # between the strokes of a double bond
    inner: float = 0.12  # how much the inner stroke is cut at each end
    wedge: float = 0.2  # width of the wide end
    hashes: float = 0.1  # spacing of a hashed wedge
    hash_tapers: bool = True
    dashed: bool = False  # a hashed wedge is a dashed line along the bond
    dash: float = 0.13  # from the start of one of its dashes to the start of the next
    dash_share: float = 0.58  # how much of that is ink
    bold: bool = False  # a wedge to an atom of a chain is a bar as wide at both ends
    bare: bool = False  # hydrogens of O, N, S and the like are not written
    waves: bool = False  # bonds of some carbons without stereo are wavy
    wave: float = 0.16  # half the length of a wave
    dots: bool = False  # a dot stands before a salt's partner
    counts: bool = False  # small partners are written as text, equal ones once with their number
    partner_font: str = ""  # of single atoms that stand alone, if it is another
    partner_flat: bool = False  # H2O with its 2 on the line
    font: str = ""
    size: float = 0.5  # cap height
    sub: float = 0.7  # size of subscripts
    drop: float = 0.3  # how far a subscript sinks, in cap heights
    clear: float = 0.08  # paper kept around glyphs
    centred: bool = False  # a steep bond meets a text in its middle
    space: float = 0.5  # behind the number of a salt's partner, in widths of a digit
    methyls: float = 0.0  # share of terminal carbons written CH3
    carbons: float = 0.0  # share of other carbons written C
    chains: bool = False  # every carbon outside rings is written, CH2
    inline: bool = False  # its hydrogens stand to its right, even where a bond leaves there
    turned: bool = True  # the layout may be turned by any angle
    circles: bool = False
    circled_charges: bool = False
    charges_above: bool = False  # a charge stands over its atom where there is room
    charges_away: float = 0.0  # how far a charge stands over the end of its text, in cap heights
    attachment: str = "*"  # how an attachment point looks: a star, a wave or a bar across its bond
    raised: bool = False  # the number of an R group is a superscript
    flat_digits: bool = False  # NH2 with its 2 on the line
    stacked: float = 0.7  # NH in a ring: hydrogen above or below
    centred_symbols: bool = False  # Cl centred as a whole, not on its C
    symmetric: float = 0.1  # share of chain double bonds drawn symmetric
    abbreviations: float = 0.0
    variables: float = 0.0
    clutter: float = 0.0
    tinted: bool = False  # texts are coloured by element, so that some of them are pale


FONT_USUAL = re.compile(
    r"(NimbusSans|NimbusRoman|LiberationSans|LiberationSerif|FreeSans|FreeSerif|DejaVuSans|Arimo"
    r"|Tinos|texgyreheros|texgyretermes)-?(Regular|Bold|regular|bold)?\.(ttf|otf)$"
)  # the faces of Helvetica and Times, in which most structures are set


@functools.cache
def fonts() -> tuple[str, ...]:
    """Every usable font file of this machine, sorted; at least one or FileNotFoundError."""
    found = sorted(
        str(p)
        for folder in FONT_FOLDERS
        if folder.is_dir()
        for p in folder.rglob("*")
        if p.suffix.lower() in {".ttf", ".otf"}
        and FONT_NAMES.search(p.name)
        and not FONT_REFUSED.search(p.name)
    )
    if not found:
        raise FileNotFoundError(f"no fonts under {', '.join(map(str, FONT_FOLDERS))}")
    return tuple(found)


@functools.cache
def caption_fonts() -> tuple[str, ...]:
    """Fonts with Japanese and Chinese glyphs, in which captions may be set; perhaps none."""
    return tuple(
        sorted(
            str(p)
            for folder in FONT_FOLDERS
            if folder.is_dir()
            for p in folder.rglob("*")
            if p.suffix.lower() in {".ttf", ".otf", ".ttc"} and "CJK" in p.name
        )
    )


@functools.cache
def usual_fonts() -> tuple[str, ...]:
    """Upright faces like Helvetica and Times; every font if the machine has none of them."""
    return tuple(f for f in fonts() if FONT_USUAL.search(f)) or fonts()


def style(rng: np.random.Generator, heavy: int = 25) -> Style:
    """A random style; larger molecules are drawn with shorter bonds."""
    u = rng.random
    bond = float(np.exp(rng.normal(math.log(44.0), 0.35)))
    bond = min(max(bond, 22.0), 80.0 if heavy < 30 else 56.0 if heavy < 50 else 42.0)
    heavy_lines = u() < 0.09
    line = float(np.exp(rng.normal(math.log(0.052), 0.45)))
    faces = usual_fonts() if u() < 0.72 else fonts()
    others = usual_fonts()
    if u() < 0.07:
        return _screen_style(rng, bond)
    return Style(
        bond=bond,
        line=min(max(line, 0.018), 0.15) * (1.6 if heavy_lines else 1.0),
        gap=float(rng.uniform(0.11, 0.27)),
        inner=float(rng.choice([0.0, rng.uniform(0.05, 0.2)], p=[0.15, 0.85])),
        wedge=float(rng.uniform(0.12, 0.36)),
        hashes=float(rng.uniform(0.035, 0.2)),
        hash_tapers=u() < 0.7,
        dashed=u() < 0.4,
        dash=float(rng.uniform(0.11, 0.26)),
        dash_share=float(rng.uniform(0.45, 0.7)),
        bold=u() < 0.04,
        bare=u() < 0.05,
        waves=u() < 0.13,
        wave=float(rng.uniform(0.08, 0.24)),
        dots=u() < 0.5,
        counts=u() < 0.75,
        partner_font=others[int(rng.integers(len(others)))] if u() < 0.3 else "",
        partner_flat=u() < 0.35,
        font=faces[int(rng.integers(len(faces)))],
        size=float(rng.uniform(0.24, 0.36) if u() < 0.08 else rng.uniform(0.36, 0.62)),
        sub=float(rng.uniform(0.6, 0.85)),
        drop=float(rng.uniform(0.15, 0.5)),
        clear=float(rng.uniform(0.02, 0.14)),
        methyls=float(rng.choice([0.0, 1.0, 0.5], p=[0.6, 0.32, 0.08])),
        carbons=float(rng.choice([0.0, 0.07, 1.0], p=[0.9, 0.08, 0.02])),
        centred=u() < 0.08,
        space=float(rng.uniform(0.0, 1.2)),
        chains=u() < 0.09,
        circles=u() < 0.07,
        circled_charges=u() < 0.1,
        charges_above=u() < 0.15,
        attachment=str(rng.choice(["*", "~", "|"], p=[0.3, 0.6, 0.1])),
        raised=u() < 0.5,
        flat_digits=u() < 0.08,
        stacked=float(rng.choice([0.0, 0.8, 1.0], p=[0.2, 0.4, 0.4])),
        centred_symbols=u() < 0.3,
        symmetric=float(rng.choice([0.0, 0.15, 1.0], p=[0.6, 0.35, 0.05])),
        abbreviations=float(rng.choice([0.0, 0.4, 0.9], p=[0.45, 0.3, 0.25])),
        variables=float(rng.choice([0.0, 0.3], p=[0.94, 0.06])),
        clutter=float(rng.choice([0.0, 1.0], p=[0.75, 0.25])),
    )


def _screen_style(rng: np.random.Generator, bond: float) -> Style:
    """As programs draw for the screen: thin lines, small coloured texts with much room, CH3."""
    sans = [f for f in fonts() if re.search(r"(DejaVuSans|LiberationSans-Regular)\.", f)]
    return Style(
        bond=bond,
        line=float(rng.uniform(0.02, 0.05)),
        gap=float(rng.uniform(0.12, 0.18)),
        inner=float(rng.uniform(0.08, 0.16)),
        wedge=float(rng.uniform(0.12, 0.2)),
        hashes=float(rng.uniform(0.07, 0.16)),
        hash_tapers=bool(rng.random() < 0.8),
        font=(sans or list(fonts()))[int(rng.integers(len(sans or fonts())))],
        size=float(rng.uniform(0.26, 0.36)),
        sub=float(rng.uniform(0.6, 0.75)),
        drop=float(rng.uniform(0.1, 0.35)),
        clear=float(rng.uniform(0.08, 0.2)),
        methyls=1.0,
        stacked=1.0,
        symmetric=float(rng.choice([0.0, 1.0])),
        tinted=bool(rng.random() < 0.75),
    )


# --- glyphs ---------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=256)
def _font(path: str, pixels: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, pixels, layout_engine=ImageFont.Layout.BASIC)


@functools.lru_cache(maxsize=20_000)
def _glyph(path: str, pixels: int, char: str) -> tuple[Ink, float, float, float]:
    """(mask, left, top, advance); left and top from the pen on the baseline, y down."""
    font = _font(path, pixels)
    left, top, right, bottom = font.getbbox(char, anchor="ls")
    mask = font.getmask(char, mode="L", anchor="ls")
    width, height = mask.size
    shape = np.asarray(mask, dtype=np.uint8).reshape(height, width)
    if (width, height) != (right - left, bottom - top):
        shape = shape[: int(bottom - top), : int(right - left)]
    return shape, float(left), float(top), float(font.getlength(char))


@functools.lru_cache(maxsize=4096)
def _cap_height(path: str) -> float:
    """Cap height over font size."""
    _, top, _, bottom = _font(path, 100).getbbox("H", anchor="ls")
    return max(float(bottom - top), 20.0) / 100.0


@dataclass
class Text:
    """Glyphs laid out around an anchor at the origin, in pixels."""

    items: list[tuple[str, int, float, float]] = field(default_factory=list)  # char, px, pen x, y
    boxes: list[Box] = field(default_factory=list)
    circles: list[tuple[float, float, float]] = field(default_factory=list)  # x, y, radius

    def shifted(self, dx: float, dy: float) -> Text:
        return Text(
            [(c, s, x + dx, y + dy) for c, s, x, y in self.items],
            [(a + dx, b + dy, c + dx, d + dy) for a, b, c, d in self.boxes],
            [(x + dx, y + dy, r) for x, y, r in self.circles],
        )

    def extend(self, other: Text) -> None:
        self.items += other.items
        self.boxes += other.boxes
        self.circles += other.circles


def _levels(text: str, raised: bool = False) -> list[int]:
    """0 on the line, -1 subscript, 1 superscript, for each character of a label.

    ``raised``: the number of an R group is a superscript.
    """
    levels = []
    for i, char in enumerate(text):
        before = text[i - 1] if i else ""
        if char.isdigit():
            if before in {"", "("}:
                levels.append(1 if i + 1 < len(text) and text[i + 1].isalpha() and i == 0 else 0)
            elif before.isdigit():
                levels.append(levels[-1])
            elif before in ",-'":
                levels.append(0)
            else:
                levels.append(-1)
        elif char in "+-" and i == len(text) - 1 and i:
            levels.append(1)
        else:
            levels.append(0)
    for pattern in (RAISED, CHARGE):  # Bu with a small t above the line, a charge in front
        for found in pattern.finditer(text):
            levels[found.start() : found.end()] = [1] * len(found.group())
    if COUNTED.fullmatch(text):
        levels[0] = 0
    if text.startswith("1/2"):
        levels[:3] = [1, 0, -1]
    if len(text) > 1 and text[0].isdigit() and text[1].isdigit():
        k = len(text) - len(text.lstrip("0123456789"))
        levels[:k] = [1] * k
    if raised:
        for found in NUMBERED.finditer(text):
            number = found.group().lstrip("RXYZAQLGWrHetONSC2")
            levels[found.end() - len(number) : found.end()] = [1] * len(number)
    return levels


def typeset(
    text: str, levels: Sequence[int], look: Style, cap: float, anchor: int, whole: int = 1
) -> Text:
    """Set a line of text so that glyphs anchor .. anchor + whole - 1 are centred on the origin."""
    pixels = max(int(round(cap / _cap_height(look.font))), 5)
    small = max(int(round(pixels * look.sub)), 5)
    out = Text()
    pen = 0.0
    is_counted = COUNTED.fullmatch(text.replace("\u2212", "-"))
    for char, level in zip(text, levels, strict=True):
        size = pixels if level == 0 else small
        shift = 0.0 if level == 0 else cap * (look.drop if level < 0 else -0.45)
        shape, left, top, advance = _glyph(look.font, size, char)
        y = cap / 2 + shift
        out.items.append((char, size, pen, y))
        h, w = shape.shape
        out.boxes.append((pen + left, y + top, pen + left + w, y + top + h))
        pen += max(advance, 1.0) * (1.0 + look.space if not pen and is_counted else 1.0)
    first, last = out.boxes[anchor], out.boxes[anchor + whole - 1]
    return out.shifted(-(first[0] + last[2]) / 2, 0.0)


def paste(canvas: Ink, text: Text, font: str, line: float = 1.0, strength: float = 1.0) -> None:
    """Draw a text on a canvas; its circles with lines of a width in pixels.

    ``strength``: how dark it is, 1 for black.
    """
    height, width = canvas.shape
    for x, y, radius in text.circles:
        centre = (int(round(x * 16)), int(round(y * 16)))
        thick = max(int(round(line)), 1)
        cv2.circle(canvas, centre, int(round(radius * 16)), 255, thick, cv2.LINE_8, 4)
    for char, size, x, y in text.items:
        shape, left, top, _ = _glyph(font, size, char)
        if strength < 1.0:
            shape = np.asarray(shape * np.float32(strength), dtype=np.uint8)
        x0, y0 = int(round(x + left)), int(round(y + top))
        h, w = shape.shape
        a, b = max(y0, 0), min(y0 + h, height)
        c, d = max(x0, 0), min(x0 + w, width)
        if a < b and c < d:
            spot = canvas[a:b, c:d]
            np.maximum(spot, shape[a - y0 : b - y0, c - x0 : d - x0], out=spot)


# --- the drawn graph ------------------------------------------------------------------------------


@dataclass
class Sketch:
    """A graph ready to be drawn: unit bond length, y down, with what the hand needs to know."""

    graph: Graph
    hydrogens: list[int]
    rings: list[tuple[int, ...]]
    reverse: dict[int, str]
    """Label -> its text when it is written towards the left."""


def sketch(mol: Chem.Mol, look: Style, rng: np.random.Generator) -> Sketch:
    """Turn a molecule with a 2D conformer into what a hand draws.

    Groups are condensed to labels, rings get circles, the layout is turned and mirrored at random
    (a mirrored layout swaps wedges and hashes, so the stereochemistry stays).
    """
    whole = graph_of(mol, rng)
    n = mol.GetNumAtoms()
    hydrogens = [a.GetTotalNumHs() if a.GetAtomicNum() else 0 for a in mol.GetAtoms()]
    if look.bare:
        for atom in mol.GetAtoms():
            if atom.GetDegree() and atom.GetAtomicNum() != 6 and not atom.GetFormalCharge():
                hydrogens[atom.GetIdx()] = 0
    labels: dict[int, str] = {}
    reverse: dict[int, str] = {}
    gone: set[int] = set()
    is_written = any(atom.HasProp(WRITTEN) for atom in mol.GetAtoms())
    if look.abbreviations > 0 and not is_written:
        for group in condense(mol, rng, look.abbreviations):
            gone.update(set(group.atoms) - {group.anchor})
            labels[group.anchor] = f"[{group.text}]"
            reverse[group.anchor] = group.reverse
    if look.counts:
        _count(mol, labels, reverse, gone, rng)
    for atom in mol.GetAtoms():
        if atom.HasProp(WRITTEN):
            labels[atom.GetIdx()] = f"[{atom.GetProp(WRITTEN)}]"
            reverse[atom.GetIdx()] = atom.GetProp(TURNED)
    if look.variables > 0:
        for atom in mol.GetAtoms():
            i = atom.GetIdx()
            plain = atom.GetDegree() == 1 and atom.GetAtomicNum() == 6 and i not in gone
            if plain and i not in labels and rng.random() < look.variables:
                text = invent(rng)
                bond = atom.GetBonds()[0]
                if bond.GetBondTypeAsDouble() == 1.0 and bond.GetBondDir() == Chem.BondDir.NONE:
                    labels[i], reverse[i] = f"[{text}]", text
    keep = [i for i in range(n) if i not in gone]
    new = {old: i for i, old in enumerate(keep)}
    bonds = [(new[a], new[b], k) for a, b, k in whole.bonds if a in new and b in new]
    rings = [
        tuple(new[i] for i in ring)
        for ring in mol.GetRingInfo().AtomRings()
        if all(i in new for i in ring)
    ]
    if look.circles:
        bonds = _circle(mol, bonds, keep)
    if look.waves:
        bonds = waved(mol, bonds, keep, rng)

    xy = np.asarray(whole.places, dtype=np.float64)[keep]
    lengths = [math.dist(xy[a], xy[b]) for a, b, _ in bonds]
    unit = float(np.median(lengths)) if lengths else 1.5
    xy = (xy - xy.mean(0)) / max(unit, 1e-6)
    if rng.random() < 0.5:
        xy[:, 0] *= -1
        swap = {"w": "h", "h": "w"}
        bonds = [(a, b, swap.get(k, k)) for a, b, k in bonds]
    pick = rng.random()
    if pick < 0.4 or not look.turned:
        angle = 0.0
    elif pick < 0.75:
        angle = float(rng.integers(12)) * math.pi / 6
    else:
        angle = float(rng.uniform(0, 2 * math.pi))
    if angle:
        c, s = math.cos(angle), math.sin(angle)
        xy = xy @ np.array([[c, s], [-s, c]])
    if rng.random() < 0.15:
        xy = xy + rng.normal(0, 0.03, xy.shape)  # hand-placed atoms
    if rng.random() < 0.1:
        xy[:, 0] *= rng.uniform(0.85, 1.18)
    atoms = [labels.get(i, whole.atoms[i]) for i in keep]
    return Sketch(
        Graph(atoms, xy, bonds),
        [hydrogens[i] for i in keep],
        rings,
        {new[i]: t for i, t in reverse.items()},
    )


def _count(
    mol: Chem.Mol,
    labels: dict[int, str],
    reverse: dict[int, str],
    gone: set[int],
    rng: np.random.Generator,
) -> None:
    """Write small fragments beside a molecule as text, equal ones once with their number: 2HCl."""
    alone: dict[str, list[tuple[int, ...]]] = {}
    fragments = Chem.GetMolFrags(mol)
    for atoms in fragments if len(fragments) > 1 else ():
        if len(atoms) <= 7 and not any(mol.GetAtomWithIdx(i).HasProp(WRITTEN) for i in atoms):
            alone.setdefault(Chem.MolFragmentToSmiles(mol, atoms), []).append(atoms)
    for smiles, equal in alone.items():
        if smiles not in PARTNERS or len(equal) > 6 or (len(equal) == 1 and len(equal[0]) == 1):
            continue
        kept, *others = (equal[k] for k in rng.permutation(len(equal)))
        text = str(rng.choice(PARTNERS[smiles]))
        for i in (i for atoms in equal for i in atoms):
            labels.pop(i, None)
            reverse.pop(i, None)
        labels[kept[0]] = f"[{len(equal) if others else ''}{text}]"
        reverse[kept[0]] = labels[kept[0]][1:-1]
        gone.update(kept[1:], *others)
        gone.discard(kept[0])


def waved(
    mol: Chem.Mol, bonds: list[tuple[int, int, str]], keep: list[int], rng: np.random.Generator
) -> list[tuple[int, int, str]]:
    """Draw a bond of some carbons without stereo as a wave: the chemist does not know or say."""
    kinds: dict[int, str] = {}
    for a, b, kind in bonds:
        kinds[a] = kinds.get(a, "") + kind
        kinds[b] = kinds.get(b, "") + kind
    drawn = []
    waved: set[int] = set()
    for a, b, kind in bonds:
        for centre, other in ((a, b), (b, a)):
            atom = mol.GetAtomWithIdx(keep[centre])
            if (
                kind == "-"
                and atom.GetAtomicNum() == 6
                and len(kinds[centre]) >= 3
                and set(kinds[centre] + kinds[other]) == {"-"}
                and not waved & {centre, other}
                and not mol.GetBondBetweenAtoms(keep[centre], keep[other]).IsInRing()
                and rng.random() < 0.4
            ):
                waved |= {centre, other}
                drawn.append((centre, other, "~"))
                break
        else:
            drawn.append((a, b, kind))
    return drawn


def _circle(
    mol: Chem.Mol, bonds: list[tuple[int, int, str]], keep: list[int]
) -> list[tuple[int, int, str]]:
    """Write lone aromatic six-rings with a circle: every bond of the ring becomes ``:``."""
    aromatic = [
        ring
        for ring in mol.GetRingInfo().AtomRings()
        if all(mol.GetAtomWithIdx(i).GetIsAromatic() for i in ring)
    ]
    new = {old: i for i, old in enumerate(keep)}
    marked: set[frozenset[int]] = set()
    for ring in aromatic:
        alone = not any(set(ring) & set(other) for other in aromatic if other is not ring)
        if len(ring) == 6 and alone and all(i in new for i in ring):
            marked |= {
                frozenset((new[a], new[b])) for a, b in zip(ring, (*ring[1:], ring[0]), strict=True)
            }
    return [(a, b, ":" if frozenset((a, b)) in marked and k in "-=" else k) for a, b, k in bonds]


# --- our own hand ---------------------------------------------------------------------------------


class _Pen:
    """Filled shapes on a canvas with coordinates to a sixteenth of a pixel."""

    def __init__(self, canvas: Ink) -> None:
        self.canvas = canvas

    def polygon(self, points: Iterable[Point]) -> None:
        corners = np.array([[x * 16, y * 16] for x, y in points])
        cv2.fillConvexPoly(self.canvas, np.round(corners).astype(np.int32), 255, cv2.LINE_8, 4)

    def line(self, a: Point, b: Point, width: float) -> None:
        dx, dy = b[0] - a[0], b[1] - a[1]
        length = math.hypot(dx, dy)
        if length < 1e-6:
            return
        # cv2 fills the outline's pixels too: half a pixel less on each side keeps the width
        half = max(width - 1.0, 0.0) / 2
        nx, ny = -dy / length * half, dx / length * half
        self.polygon(
            [
                (a[0] + nx, a[1] + ny),
                (b[0] + nx, b[1] + ny),
                (b[0] - nx, b[1] - ny),
                (a[0] - nx, a[1] - ny),
            ]
        )

    def dot(self, at: Point, radius: float) -> None:
        centre = (int(round(at[0] * 16)), int(round(at[1] * 16)))
        cv2.circle(self.canvas, centre, int(round(radius * 16)), 255, -1, cv2.LINE_8, 4)

    def curve(self, points: Sequence[Point], width: float) -> None:
        path = np.round(np.array(points) * 16).astype(np.int32)
        cv2.polylines(self.canvas, [path], False, 255, max(int(round(width)), 1), cv2.LINE_8, 4)


def _leave(a: Point, b: Point, boxes: Sequence[Box], margin: float) -> float:
    """Share of the way from a to b after which the line is clear of all boxes."""
    leave = 0.0
    dx, dy = b[0] - a[0], b[1] - a[1]
    for left, top, right, bottom in boxes:
        enter, out = 0.0, 1.0
        for p, d, low, high in (
            (a[0], dx, left - margin, right + margin),
            (a[1], dy, top - margin, bottom + margin),
        ):
            if abs(d) < 1e-9:
                if not low < p < high:
                    out = -1.0
                continue
            s, t = (low - p) / d, (high - p) / d
            if s > t:
                s, t = t, s
            enter, out = max(enter, s), min(out, t)
        if out > enter and enter < 0.55:
            leave = max(leave, out)
    return min(leave, 1.0)


def own(mol: Chem.Mol, rng: np.random.Generator, look: Style | None = None) -> Drawing:
    """Draw with our own rasteriser.

    Args:
        mol: a molecule with one 2D conformer.
        rng: all chance comes from here.
        look: the style; random if not given.
    """
    look = look or style(rng, mol.GetNumHeavyAtoms())
    plan = sketch(mol, look, rng)
    graph = plan.graph
    scale = look.bond
    xy = graph.places * scale
    neighbours: list[list[int]] = [[] for _ in graph.atoms]
    for a, b, _ in graph.bonds:
        neighbours[a].append(b)
        neighbours[b].append(a)

    lone = replace(look, font=look.partner_font or look.font)
    lone = replace(lone, flat_digits=look.flat_digits or look.partner_flat)
    if look.partner_font:
        lone = replace(lone, size=look.size * float(rng.uniform(0.65, 1.0)))
    looks = (lone, look)  # by whether an atom has neighbours
    texts: dict[int, Text] = {}
    glyphs: dict[int, NDArray[np.float64]] = {}
    for i in range(len(graph.atoms)):
        text, spots = _atom_text(i, plan, neighbours[i], xy, looks[bool(neighbours[i])], rng)
        if text is not None:
            at = xy[i].copy()
            if look.centred and len(neighbours[i]) == 1:
                x, y = np.abs(xy[neighbours[i][0]] - xy[i])
                if x < 0.35 * y:
                    sides = [side for box in text.boxes for side in (box[0], box[2])]
                    at[0] -= (min(sides) + max(sides)) / 2
            texts[i] = text.shifted(at[0], at[1])
            if spots is not None:
                glyphs[i] = spots + at

    pad = 0.6 * scale
    corners = np.array([box for t in texts.values() for box in t.boxes] or [(0.0, 0.0, 0.0, 0.0)])
    low = np.minimum(xy.min(0), corners[:, :2].min(0) if texts else xy.min(0)) - pad
    high = np.maximum(xy.max(0), corners[:, 2:].max(0) if texts else xy.max(0)) + pad
    notes = _clutter(low + pad, high - pad, look, rng) if look.clutter else []
    for note, _ in notes:
        for box in note.boxes:
            low, high = np.minimum(low, box[:2]), np.maximum(high, box[2:])
    width, height = (int(math.ceil(v)) for v in high - low)
    canvas: Ink = np.zeros((height, width), np.uint8)
    xy = xy - low
    texts = {i: t.shifted(-low[0], -low[1]) for i, t in texts.items()}

    pen = _Pen(canvas)
    inside = _ring_centres(plan, xy)
    for bond in graph.bonds:
        _draw_bond(pen, bond, xy, texts, neighbours, inside, look, rng)
    line = max(look.line * scale, 1.0)
    for ring in plan.rings:
        edges = {frozenset(e) for e in zip(ring, (*ring[1:], ring[0]), strict=True)}
        if len(ring) == 6 and all(
            k == ":" for a, b, k in graph.bonds if frozenset((a, b)) in edges
        ):
            centre = xy[list(ring)].mean(0)
            spokes = np.linspace(0, 2 * math.pi, 40)
            radius = 0.55 * scale
            pen.curve(
                [
                    (centre[0] + radius * math.cos(s), centre[1] + radius * math.sin(s))
                    for s in spokes
                ],
                line,
            )
    for i, text in texts.items():
        strength = STRENGTHS.get(graph.atoms[i][:2].rstrip("+-."), 0.9) if look.tinted else 1.0
        paste(canvas, text, looks[bool(neighbours[i])].font, 0.7 * line, strength)
    for i, name in enumerate(graph.atoms):
        if name == "*" and i not in texts:
            _attachment(pen, xy[i], xy[neighbours[i][0]], look)
    if look.dots:
        for atoms in _fragments(neighbours)[1:]:
            starts = [float(xy[i, 0]) for i in atoms]
            starts += [box[0] for i in atoms if i in texts for box in texts[i].boxes]
            level = float(xy[atoms, 1].mean())
            away = float(rng.uniform(0.4, 1.6))
            pen.dot((min(starts) - away * scale, level), max(0.05 * scale, line * 0.6))
    for note, font in notes:
        paste(canvas, note.shifted(-low[0], -low[1]), font)
    shown = Graph(graph.atoms, xy, graph.bonds, {i: g - low for i, g in glyphs.items()})
    return Drawing(canvas, shown, scale)


def _attachment(pen: _Pen, at: NDArray[np.float64], root: NDArray[np.float64], look: Style) -> None:
    """The end of a bond to a part that is not drawn: a wave or a bar across it."""
    along = (at - root) / (np.linalg.norm(at - root) + 1e-9)
    across = np.array([-along[1], along[0]])
    line = max(look.line * look.bond, 1.0)
    half = 0.45 * look.bond
    if look.attachment == "|":
        a, b = at - half * across, at + half * across
        pen.line((float(a[0]), float(a[1])), (float(b[0]), float(b[1])), line)
        return
    turns = 3.0
    points = []
    for s in np.linspace(-1, 1, 49):
        swing = math.sin(s * turns * math.pi) * max(0.09 * look.bond, line)
        x, y = at + s * half * across + swing * along
        points.append((float(x), float(y)))
    pen.curve(points, line)


def _fragments(neighbours: list[list[int]]) -> list[list[int]]:
    """The atoms of each fragment, the largest first."""
    found: list[list[int]] = []
    left = set(range(len(neighbours)))
    while left:
        atoms = [left.pop()]
        for i in atoms:  # grows while it is walked over
            atoms += [j for j in neighbours[i] if j in left]
            left -= set(neighbours[i])
        found.append(atoms)
    return sorted(found, key=len, reverse=True)


def _words(rng: np.random.Generator) -> str:
    """What stands beside a molecule in a document."""
    number = int(rng.integers(1, 400))
    letter = "abc"[number % 3]
    tens, ones = (
        ("", "", "", "X", "XX", "XXX", "XL", "L"),
        "I II III IV V VI VII VIII IX Ia Ib".split(),
    )
    roman = tens[int(rng.integers(len(tens)))] + ones[int(rng.integers(len(ones)))]
    partner = ("HCl", "HCl", "HCl", "HBr", "H2O", "TFA", "Na", "HCOOH", "CH3COOH", "CF3COOH")[
        int(rng.integers(10))
    ]
    known = (
        *(f"({number})", f"({roman})", f"{number}", f"[{number}]", f"[{roman}]", f"{number}."),
        *(f"({number}{letter})", f"{number}{letter}", f"({letter.upper()}-{number})"),
        *(f"Example {number}", f"Compound {number}", f"Formula {roman}", f"Ex. {number}"),
        *(f"Cpd {number}", f"Int-{number}", f"m/z {number}", f"(HTM-{number})"),
        *("mixture", "racemic", "and", "or", "cis", "trans", "+", ";", ","),
        *("Chiral", "Chiral", "Chiral", "(Chiral)", f'compound "{number}"', f"({number}.{roman})"),
        *(f"(interm. {number})", f"Ex. {number}, Int. {number % 9}", f", {roman}", ", or", ", and"),
        *(
            f"[Chemical formula {number}]",
            f"[Formula {number}]",
            f"({roman})",
            f"Formula ({roman})",
        ),
        *(f"x {partner}", f"x {partner}", f"x{partner}", f"n {partner}"),  # in unknown numbers
        *(f"APCI-MS m/z: {number + 200}.1 [MH+]", f"MS m/z {number + 150} (M+H)", f"E{number}"),
        *(
            f"({number % 90 + 1}.{number % 30})",
            f"({letter.upper()}-{number % 40})",
            f"\u2026({number})",
        ),
        *(
            f"\u00b7\u00b7\u00b7({number})",
            f"Scheme {number % 20}",
            f"Step {number % 9}",
            "H",
            "OR",
        ),
    )
    return known[int(rng.integers(len(known)))]


def _lines(rng: np.random.Generator) -> list[str]:
    """Several lines under a molecule: its formula and weight, or its name."""
    c, h, n, o = (int(v) for v in rng.integers((5, 6, 0, 0), (40, 60, 8, 9)))
    mass = 12.011 * c + 1.008 * h + 14.007 * n + 15.999 * o
    if rng.random() < 0.5:
        formula = f"C{c}H{h}" + (f"N{n}" if n else "") + (f"O{o}" if o else "")
        lines = [formula, f"Exact Mass: {mass - 0.2:.2f}", f"Mol. Wt.: {mass:.2f}"]
        return lines[: int(rng.integers(1, 4))]
    parts = "methyl ethyl phenyl chloro fluoro oxo amino di tri yl one benzo pyrid in ol".split()
    name = f"{int(rng.integers(1, 9))}-"
    for _ in range(int(rng.integers(3, 12))):
        name += parts[int(rng.integers(len(parts)))]
        if rng.random() < 0.3:
            name += f"-{int(rng.integers(1, 9))}-"
    wide = int(rng.integers(18, 60))
    return [name[k : k + wide] for k in range(0, min(len(name), 2 * wide), wide)]


def _foreign_words(rng: np.random.Generator) -> str:
    """A Japanese caption: a formula's number, a compound's name."""
    number = str(int(rng.integers(1, 200)))
    if rng.random() < 0.5:
        number = "".join(chr(ord(d) + 0xFEE0) for d in number)  # full width
    katakana = [chr(c) for c in rng.integers(0x30A2, 0x30F3, size=int(rng.integers(4, 16)))]
    known = (
        *(f"[\u5316{number}]", f"\u3010\u5316{number}\u3011", f"<\u5316{number}>"),
        *(f"\u5316\u5408\u7269{number}", f"(\u5408\u6210\u4f8b{number})", f"\u5f0f({number})"),
        *("".join(katakana), f"{number}-" + "".join(katakana)),
    )
    return known[int(rng.integers(len(known)))]


def _clutter(
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    look: Style,
    rng: np.random.Generator,
) -> list[tuple[Text, str]]:
    """Captions and numbers near the molecule that are no part of it, each with its font."""
    out: list[tuple[Text, str]] = []
    cap = look.size * look.bond * float(rng.uniform(0.7, 1.4))
    foreign = caption_fonts() if rng.random() < 0.25 else ()
    faces = usual_fonts() if rng.random() < 0.5 else (look.font,)
    for _ in range(1 + (rng.random() < 0.25)):
        font = (foreign or faces)[int(rng.integers(len(foreign or faces)))]
        below = not foreign and rng.random() < 0.2
        lines = _lines(rng) if below else [_foreign_words(rng) if foreign else _words(rng)]
        note = Text()
        for k, text in enumerate(lines):
            levels = _levels(text) if text[:2] in ("x ", "n ", "xH") else [0] * len(text)
            line = typeset(text, levels, replace(look, font=font), cap, 0)
            start = 0.0 if below and rng.random() < 0.5 else min(box[0] for box in line.boxes)
            note.extend(line.shifted(-start, 1.6 * cap * k))
        boxes = np.array(note.boxes)
        size = boxes[:, 2:].max(0) - boxes[:, :2].min(0)
        gap = look.bond * float(rng.uniform(0.7, 1.6) if rng.random() < 0.7 else rng.uniform(1, 5))
        side = 0.0 if below else rng.random()
        middle = (low + high) / 2
        spread = rng.uniform(-0.5, 0.5, 2) * (high - low)
        if side < 0.4:
            at = np.array([middle[0] + spread[0] - size[0] / 2, high[1] + gap + size[1] / 2])
        elif side < 0.6:
            at = np.array([middle[0] + spread[0] - size[0] / 2, low[1] - gap - size[1] / 2])
        elif side < 0.9:
            at = np.array([high[0] + gap, middle[1] + spread[1]])
        else:
            at = np.array([low[0] - gap - size[0], middle[1] + spread[1]])
        shift = at - np.array([boxes[:, 0].min(), 0.0])
        placed = note.shifted(float(shift[0]), float(shift[1]))
        apart = all(
            p[2] < q[0] - 5 or q[2] < p[0] - 5 or p[3] < q[1] - 5 or q[3] < p[1] - 5
            for other, _ in out
            for p in placed.boxes
            for q in other.boxes
        )
        if apart:
            out.append((placed, font))
    return out


def nothing(rng: np.random.Generator) -> Drawing:
    """A picture that holds no molecule: lines of text, strokes of a plot, or both."""
    look = style(rng)
    width, height = (int(v) for v in rng.uniform(3, 12, 2) * look.bond)
    canvas: Ink = np.zeros((height, width), np.uint8)
    pen = _Pen(canvas)
    line = max(look.line * look.bond, 1.0)
    if rng.random() < 0.6:
        letters = "abcdefghijklmnopqrstuvwxyz     ABCDEFGHIJ0123456789.,()-"
        step = look.bond * float(rng.uniform(0.7, 1.2))
        for y in np.arange(step, height, step):
            count = int(rng.integers(3, 30))
            text = "".join(letters[int(i)] for i in rng.integers(len(letters), size=count))
            note = typeset(text, [0] * count, look, look.size * look.bond, 0)
            paste(canvas, note.shifted(0.4 * look.bond, float(y)), look.font)
    else:
        for _ in range(int(rng.integers(1, 6))):
            kind = rng.random()
            points = rng.uniform(0, 1, (int(rng.integers(2, 30)), 2)) * (width, height)
            if kind < 0.3:
                pen.curve([(float(x), float(y)) for x, y in points[points[:, 0].argsort()]], line)
            elif kind < 0.6:
                (x0, y0), (x1, y1) = points[:2]
                corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]
                pen.curve([(float(x), float(y)) for x, y in corners], line)
            else:
                for x, y in points:
                    pen.dot((float(x), float(y)), line * float(rng.uniform(0.5, 3)))
    return Drawing(canvas, Graph([], np.zeros((0, 2)), []), look.bond)


def _atom_text(
    i: int,
    plan: Sketch,
    neighbours: list[int],
    xy: NDArray[np.float64],
    look: Style,
    rng: np.random.Generator,
) -> tuple[Text | None, NDArray[np.float64] | None]:
    """The text of an atom around its place, and the glyph places if it is a label."""
    name = plan.graph.atoms[i]
    cap = look.size * look.bond
    ways = [(float(xy[j, 0] - xy[i, 0]), float(xy[j, 1] - xy[i, 1])) for j in neighbours]
    if not is_atom(name):
        text = name[1:-1] if name.startswith("[") else name
        towards = sum(dx / (math.hypot(dx, dy) + 1e-9) for dx, dy in ways)
        steep = all(abs(dx) < 0.35 * abs(dy) for dx, dy in ways)
        backwards = i in plan.reverse and ((towards > 0.2) if not steep else rng.random() < 0.15)
        if backwards:
            text = plan.reverse[i]
            plan.graph.atoms[i] = f"[{text}]"
        levels = [0] * len(text) if look.flat_digits else _levels(text, look.raised)
        if backwards:
            # the last glyph on the line meets the bond, not its subscript
            anchor = max((k for k, v in enumerate(levels) if v == 0), default=0)
        else:
            anchor = next((k for k, c in enumerate(text) if c.isupper()), 0)
        shown = "".join(
            "\u2212" if char == "-" and level == 1 else char
            for char, level in zip(text, levels, strict=True)
        )
        laid = typeset(shown, levels, look, cap, anchor)
        ends = [k for k in (0, len(text) - 1) if text[k] in "+-" and len(text) > 1]
        if ends and (look.circled_charges or look.charges_away):
            laid = _with_charge_away(laid, ends[-1], look, cap)
        boxes = np.array(laid.boxes)
        return laid, (boxes[:, :2] + boxes[:, 2:]) / 2

    match = ATOM_PATTERN.match(name)
    assert match is not None, name
    symbol, dots, count, sign = match.groups()
    hydrogens = plan.hydrogens[i]
    if name == "*" and look.attachment != "*" and len(neighbours) == 1:
        return None, None
    if symbol == "C" and not dots and not sign and neighbours:
        share = look.methyls if len(neighbours) == 1 else look.carbons
        if look.chains and not any(i in ring for ring in plan.rings):
            share = 1.0
        if not share or rng.random() >= share:
            return None, None
    charge = f"{count or ''}{sign}" if sign else ""
    out = typeset(
        symbol, [0] * len(symbol), look, cap, 0, len(symbol) if look.centred_symbols else 1
    )
    right = max(box[2] for box in out.boxes)
    left = min(box[0] for box in out.boxes)
    low = 0.06 * cap
    if hydrogens:
        hs = "H" if hydrogens == 1 else f"H{hydrogens}"
        levels = [0] + [0 if look.flat_digits else -1] * (len(hs) - 1)
        tag = typeset(hs, levels, look, cap, 0)
        tag_left, tag_right = min(b[0] for b in tag.boxes), max(b[2] for b in tag.boxes)
        alone = not ways and symbol not in ("C", "N")  # HCl, H2O
        side = "left" if alone and rng.random() < 0.85 else _free_side(ways, look, rng)
        if side == "right":
            tag = tag.shifted(right + low - tag_left, 0.0)
            right = max(b[2] for b in tag.boxes)
        elif side == "left":
            tag = tag.shifted(left - low - tag_right, 0.0)
            left = min(b[0] for b in tag.boxes)
        else:
            step = cap * (1.25 if side == "down" else -1.25)
            tag = tag.shifted(0.0, step)
        out.extend(tag)
    if charge:
        mark = typeset(charge.replace("-", "\u2212"), [1] * len(charge), look, cap, 0)
        begin, end = min(b[0] for b in mark.boxes), max(b[2] for b in mark.boxes)
        height = (min(b[1] for b in mark.boxes) + max(b[3] for b in mark.boxes)) / 2
        around = 0.0
        if look.circled_charges and len(charge) == 1:
            around = 0.7 * (end - begin) + 0.08 * cap
            mark.circles.append(((begin + end) / 2, height, around))
            around -= (end - begin) / 2
        if look.charges_away:
            on_left = bool(ways) and sum(dx for dx, _ in ways) > 0
            at = left + 0.3 * cap if on_left else right - 0.2 * cap
            rise = min(b[1] for b in out.boxes) - look.charges_away * cap - around
            mark = mark.shifted(at - (begin + end) / 2, rise - height)
        elif look.charges_above and not hydrogens and all(dy > -0.3 * cap for _, dy in ways):
            top = min(b[1] for b in out.boxes)
            low_end = max(b[3] for b in mark.boxes) + around
            mark = mark.shifted(-(begin + end) / 2, top - 1.5 * low - low_end)
        else:
            mark = mark.shifted(right + 1.5 * low + around - begin, 0.0)
            right = max(b[2] for b in mark.boxes) + around
        out.extend(mark)
    for k in range(len(dots)):
        mark = typeset("\u2022", [1], look, cap, 0)
        out.extend(mark.shifted(right + low - min(b[0] for b in mark.boxes), k * 0.3 * cap))
    return out, None


def _with_charge_away(text: Text, at: int, look: Style, cap: float) -> Text:
    """A label whose sign, the glyph ``at``, stands off the rest: over it or in a circle."""
    char, size, x, y = text.items[at]
    left, top, right, bottom = text.boxes[at]
    middle, height = (left + right) / 2, (top + bottom) / 2
    radius = (0.7 * (right - left) + 0.08 * cap) if look.circled_charges else 0.0
    away = 1 if at else -1
    dx = away * max(radius - (right - left) / 2 + 0.08 * cap, 0.0)
    rest = min(box[1] for k, box in enumerate(text.boxes) if k != at)
    dy = (rest - look.charges_away * cap - radius - height) if look.charges_away else 0.0
    text.items[at] = (char, size, x + dx, y + dy)
    text.boxes[at] = (left + dx, top + dy, right + dx, bottom + dy)
    if radius:
        text.circles.append((middle + dx, height + dy, radius))
    return text


def _free_side(ways: Sequence[Point], look: Style, rng: np.random.Generator) -> str:
    """Where hydrogens go: the first of right, left, down, up that no bond points to."""

    def crowding(x: float, y: float) -> float:
        return max(((dx * x + dy * y) / (math.hypot(dx, dy) + 1e-9) for dx, dy in ways), default=-1)

    if len(ways) <= 1:
        is_forward = look.inline and rng.random() < 0.6  # CH3- at the left end, too
        return "left" if crowding(1, 0) > 0.3 and not is_forward else "right"
    right, left = crowding(1, 0), crowding(-1, 0)
    if look.inline:
        return "left" if right > 0.6 and left <= 0.6 and rng.random() < 0.3 else "right"
    down, up = crowding(0, 1), crowding(0, -1)
    if min(right, left) > 0.3 and rng.random() < look.stacked:
        return "down" if down < up else "up"
    if right <= 0.6:
        return "right"
    if left <= 0.6:
        return "left"
    best = min((down, "down"), (up, "up"), (right, "right"), (left, "left"))
    return best[1]


def _ring_centres(plan: Sketch, xy: NDArray[np.float64]) -> dict[frozenset[int], Point]:
    """Bond -> centre of its smallest ring (six-rings with more double bonds first)."""
    kinds = {frozenset((a, b)): k for a, b, k in plan.graph.bonds}
    centres: dict[frozenset[int], Point] = {}

    def rank(ring: tuple[int, ...]) -> tuple[int, int]:
        edges = zip(ring, (*ring[1:], ring[0]), strict=True)
        doubles = sum(kinds.get(frozenset(e)) == "=" for e in edges)
        return (-doubles if len(ring) == 6 else 0, len(ring))

    for ring in sorted(plan.rings, key=rank):
        if len(ring) > 8:
            continue
        centre = xy[list(ring)].mean(0)
        for e in zip(ring, (*ring[1:], ring[0]), strict=True):
            centres.setdefault(frozenset(e), (float(centre[0]), float(centre[1])))
    return centres


def _draw_bond(
    pen: _Pen,
    bond: tuple[int, int, str],
    xy: NDArray[np.float64],
    texts: dict[int, Text],
    neighbours: list[list[int]],
    inside: dict[frozenset[int], Point],
    look: Style,
    rng: np.random.Generator,
) -> None:
    i, j, kind = bond
    a: Point = (float(xy[i, 0]), float(xy[i, 1]))
    b: Point = (float(xy[j, 0]), float(xy[j, 1]))
    length = math.dist(a, b)
    if length < 1e-6:
        return
    ux, uy = (b[0] - a[0]) / length, (b[1] - a[1]) / length
    nx, ny = -uy, ux
    line = max(look.line * look.bond, 1.0)
    clear = look.clear * look.bond + line / 2
    empty: list[Box] = []

    def cut(p: Point, q: Point) -> tuple[Point, Point] | None:
        s = _leave(p, q, texts[i].boxes if i in texts else empty, clear)
        t = _leave(q, p, texts[j].boxes if j in texts else empty, clear)
        if s + t > 0.92:  # labels almost touch: a stub is still drawn
            if s + t >= 1.9:
                return None
            middle = (s + 1 - t) / 2
            s, t = max(middle - 0.06, 0.0), max(1 - middle - 0.06, 0.0)
        dx, dy = q[0] - p[0], q[1] - p[1]
        return (p[0] + s * dx, p[1] + s * dy), (q[0] - t * dx, q[1] - t * dy)

    def stroke(shift: float, trim_a: float = 0.0, trim_b: float = 0.0, width: float = line) -> None:
        p = (a[0] + nx * shift + ux * trim_a, a[1] + ny * shift + uy * trim_a)
        q = (b[0] + nx * shift - ux * trim_b, b[1] + ny * shift - uy * trim_b)
        ends = cut(p, q)
        if ends:
            # bare corners overlap a little, so that two strokes make a joint
            p, q = ends
            extra = line * 0.3 if shift == 0 else 0.0
            ea = extra if i not in texts else 0.0
            eb = extra if j not in texts else 0.0
            pen.line((p[0] - ux * ea, p[1] - uy * ea), (q[0] + ux * eb, q[1] + uy * eb), width)

    gap = max(look.gap * look.bond, line + 2.0)
    if kind in "-:":
        stroke(0.0)
    elif kind == "=":
        centre = inside.get(frozenset((i, j)))
        trim = look.inner * look.bond
        terminal = len(neighbours[i]) == 1 or len(neighbours[j]) == 1
        if centre is not None:
            side = 1.0 if (centre[0] - a[0]) * nx + (centre[1] - a[1]) * ny > 0 else -1.0
            stroke(0.0)
            stroke(side * gap, trim, trim)
        elif (terminal and rng.random() < 0.85) or rng.random() < look.symmetric:
            stroke(gap / 2)
            stroke(-gap / 2)
        else:
            lean = 0.0
            for end, other, at in ((i, j, a), (j, i, b)):
                for k in neighbours[end]:
                    if k != other:
                        v = (xy[k, 0] - at[0]) * nx + (xy[k, 1] - at[1]) * ny
                        lean += math.copysign(1.0, v)
            side = math.copysign(1.0, lean) if lean else (1.0 if rng.random() < 0.5 else -1.0)
            stroke(0.0)
            stroke(
                side * gap,
                0.0 if i in texts or len(neighbours[i]) == 1 else trim,
                0.0 if j in texts or len(neighbours[j]) == 1 else trim,
            )
    elif kind == "#":
        gap = max(gap * 0.85, line + 2.0)
        trim = look.inner * look.bond * (rng.random() < 0.3)
        stroke(0.0)
        stroke(gap, trim, trim)
        stroke(-gap, trim, trim)
    elif kind == "$":
        for shift in (-1.5, -0.5, 0.5, 1.5):
            stroke(shift * gap * 0.8)
    else:
        ends = cut(a, b)
        if ends is None:
            return
        p, q = ends
        span = math.dist(p, q)
        half = max(look.wedge * look.bond / 2, line * 1.1)
        if kind == "w":
            w0 = line / 2 * 0.8
            if look.bold and len(neighbours[j]) < 3:
                half = w0 = max(0.6 * half, line)
            pen.polygon(
                [
                    (p[0] + nx * w0, p[1] + ny * w0),
                    (q[0] + nx * half, q[1] + ny * half),
                    (q[0] - nx * half, q[1] - ny * half),
                    (p[0] - nx * w0, p[1] - ny * w0),
                ]
            )
        elif kind == "h" and look.dashed:
            count = max(round(span / (look.dash * look.bond)), 4)
            for k in range(count):
                s, t = k / count, min((k + look.dash_share) / count, 1.0)
                pen.line(
                    (p[0] + (q[0] - p[0]) * s, p[1] + (q[1] - p[1]) * s),
                    (p[0] + (q[0] - p[0]) * t, p[1] + (q[1] - p[1]) * t),
                    line * 1.15,
                )
        elif kind == "h":
            thick = max(line * 0.9, 1.0)
            step = max(look.hashes * look.bond, thick * 1.7)
            count = max(int(span / step) + 1, 3)
            for k in range(count):
                s = k / (count - 1)
                w = half * (0.12 + 0.88 * s) if look.hash_tapers else half * 0.85
                x, y = p[0] + (q[0] - p[0]) * s, p[1] + (q[1] - p[1]) * s
                pen.line((x + nx * w, y + ny * w), (x - nx * w, y - ny * w), thick)
        elif kind == "~":
            waves = max(round(span / (look.wave * look.bond)), 3)
            points = []
            for k in range(waves * 8 + 1):
                s = k / (waves * 8)
                v = math.sin(s * waves * math.pi) * max(half, line * 1.4) * 0.75
                points.append(
                    (p[0] + (q[0] - p[0]) * s + nx * v, p[1] + (q[1] - p[1]) * s + ny * v)
                )
            pen.curve(points, line)
        elif kind == "x":
            h = gap / 2
            pen.line((p[0] + nx * h, p[1] + ny * h), (q[0] - nx * h, q[1] - ny * h), line)
            pen.line((p[0] - nx * h, p[1] - ny * h), (q[0] + nx * h, q[1] + ny * h), line)
        elif kind == "?":
            count = max(int(span / (0.14 * look.bond)), 3)
            for k in range(count):
                s, t = k / count, (k + 0.55) / count
                pen.line(
                    (p[0] + (q[0] - p[0]) * s, p[1] + (q[1] - p[1]) * s),
                    (p[0] + (q[0] - p[0]) * t, p[1] + (q[1] - p[1]) * t),
                    line,
                )
        elif kind == "d":
            head = min(0.25 * look.bond, span / 2)
            pen.line(p, (q[0] - ux * head / 2, q[1] - uy * head / 2), line)
            pen.polygon(
                [
                    q,
                    (q[0] - ux * head + nx * head / 2.5, q[1] - uy * head + ny * head / 2.5),
                    (q[0] - ux * head - nx * head / 2.5, q[1] - uy * head - ny * head / 2.5),
                ]
            )
