"""A page to readings: which of its regions are drawings of molecules, and what they say.

Each region is shown alone to the reader's own encoder; a linear head on the mean and the maximum of
its features tells whether it is a drawing. Those are read, and placed on the page.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rdkit import Chem

from .document import Document, Page
from .gaze import Net, Task, WeightsError, together
from .glyphs import phrases
from .layout import INK_LEVEL, LETTER, MIDDLE, Box, Layout, Region
from .numbering import numbers, printed, windows
from .picture import PictureError, Sheet, Source
from .reaction import is_beside, reactions, roles
from .reading import Reading
from .scale import MAX_ENLARGEMENT, TARGET_BOND, Bytes, bond_length
from .sites import padded, sites

MARGIN = 8  # px of paper round a region that is shown to the reader
LEAST_CHANCE = 0.7  # that a region is a drawing, for it to be read
SLIGHT_CHANCE = 0.25  # that a region by itself is one, for it to be read if its bonds are long:
LONG_BOND = 1.3  # letters; then it must be read
SLIGHT_READ = 0.6  # with this confidence at least
USUAL_BONDS = 1.1, 3.6  # letters: so long are the bonds of drawings among text
LEAST_BOND = 0.8  # letters: text and tables seem to have shorter bonds
MOST_CELLS = 1800  # of a region, which are some 180 atoms; a cluster of drawings has more
SURE = 0.9  # a region that is less probably a drawing must be read,
LEAST_READ = 0.2  # with this confidence at least
VERY_SURE = 0.99  # a region that is less probably a drawing must be read as something,
BARELY_READ = 0.01  # with this confidence at least
WHOLE = 0.4  # of the confidence in all its parts: a whole that is as sure stands
WIDE_WHOLE = 0.8  # the same of a whole that hangs together at the widest gap only
DOUBTFUL = 0.1  # confidence of a part that stands apart, at least
POOR = 0.25  # confidence of a part that may be but a piece of a drawing
FEWEST_ATOMS = 5  # of a molecule that is cut from another; ions and solvents have fewer
CUT_GAP = 0.3  # bonds: between molecules that are cut apart, at least
ATOM_REACH = 0.55  # bonds: how far from its atom and its bonds a molecule's ink lies
SURELY_ONE = 0.6  # confidence of one molecule, over which a picture is not searched for more
PAGE_LETTERS = 200  # in lines of text: a picture with more is a page
MANY = 4  # drawings in a picture, from which on it is a page
SURE_PIECE = 0.5  # confidence of each of fewer, at least
PIECES_GAP = 0.6  # bonds: between them, at least
AROUND = 1.5  # bonds: from a molecule's atoms to what may belong to it
MOST_INK = 0.7  # of a picture that shows one molecule
FEW_LETTERS = 1.5  # times smaller letters than usual must be, to be told by the bonds
LETTER_POINTS = 6.0  # of a letter in a picture, whose points are not known
LETTER_SHARE = 0.42  # of a bond: the height of a letter in a drawing
HEAD = "drawing_head"  # key of the encoder's metadata


# --- which regions are drawings ---


def summary(net: Net, layout: Layout, region: Region) -> NDArray[np.float32] | None:
    """What the encoder sees of a region that is shown alone, in (2 D + 2,) numbers; None for no
    ink, or more of it than a drawing has, or bonds too short for its letters.

    The mean and the maximum of the features of its inked cells, and the logarithms of their number
    and of the length of a bond in letters.
    """
    ink = layout.shown(region)
    bond = bond_length(ink)
    is_told = layout.letter != LETTER and not layout.is_grainy
    if is_told and bond < LEAST_BOND * layout.letter:
        return None
    factor = min(TARGET_BOND / bond, MAX_ENLARGEMENT, 2000 / max(ink.shape))
    size = (max(round(ink.shape[1] * factor), 1), max(round(ink.shape[0] * factor), 1))
    way = Image.Resampling.BICUBIC if factor > 1 else Image.Resampling.HAMMING
    grey = Image.fromarray(ink).resize(size, way, reducing_gap=3.0)
    found = sites(padded(np.asarray(grey, np.float32) / np.float32(255)))
    if not 0 < len(found.cells) <= MOST_CELLS or not found.inked.any():
        return None
    features = net.encode(found)[0][1:][found.inked]
    sizes = [math.log(len(features)), math.log(bond / layout.letter)]
    return np.concatenate([features.mean(0), features.max(0), sizes]).astype(np.float32)


@dataclass(eq=False)
class Finding:
    """A region that looks like a drawing, and those inside it that do so too."""

    region: Region
    probability: float
    inner: list[Finding]


def findings(net: Net, layout: Layout) -> list[Finding]:
    """The regions of a page that look like drawings of molecules, each with those inside it.

    Raises:
        WeightsError: the weights have no head for pages.
    """
    stored = net.metadata.get(HEAD)
    if stored is None:
        raise WeightsError("these weights cannot find molecules on pages: export them anew")
    weights = np.frombuffer(base64.b64decode(stored), "<f4").astype(np.float64)
    outer: list[Finding] = []
    slight: list[Finding] = []
    for region in reversed(layout.regions):  # the smallest first
        seen = summary(net, layout, region)
        if seen is None:
            continue
        chance = 1 / (1 + math.exp(-float(np.clip(seen @ weights[:-1] + weights[-1], -30, 30))))
        if chance < LEAST_CHANCE:
            if chance > SLIGHT_CHANCE and seen[-1] > math.log(LONG_BOND):
                slight.append(Finding(region, chance, []))
            continue
        own = set(region.parts.tolist())
        inner = [f for f in outer if not own.isdisjoint(f.region.parts.tolist())]
        if len(inner) == 1 and not inner[0].inner:
            # One drawing at two gaps, with letters more or fewer: the middle gap is the usual one,
            # else the wider.
            if inner[0].region.gap == MIDDLE:
                continue
            inner = inner[0].inner
        outer = [f for f in outer if f not in inner and own.isdisjoint(f.region.parts.tolist())]
        outer.append(Finding(region, chance, inner))
    for finding in reversed(slight):  # the largest first
        own = set(finding.region.parts.tolist())
        if all(own.isdisjoint(f.region.parts.tolist()) for f in outer):
            outer.append(finding)
    return outer


# --- reading ---


class Read(Protocol):
    """Reads one drawing, given as grey paper (h, w) uint8, 255 paper: as a task, whose steps are
    taken together with those of the other drawings of its page.

    With `is_scaled`, its page bears out the length of a bond that the drawing seems to have.
    """

    def __call__(self, source: Bytes, /, *, is_scaled: bool = False) -> Task[Reading]: ...


def find(
    net: Net, read: Read, source: Source, pages: Iterable[int] | None = None
) -> Iterator[Reading]:
    """Every molecule that is drawn in a document, page by page, from top to bottom.

    Args:
        net: the encoder, with a head for pages.
        read: reads one drawing.
        source: a PDF, a TIFF of several pages or a picture: path, bytes, file, image or array.
        pages: numbers of the pages, from 1; all of them if None.

    Yields:
        A reading for every drawing, with its page, its box and its places on the page, also for
        those that can't be read; and one for every page that can't be drawn.

    Raises:
        PictureError: the document can't be opened.
        WeightsError: the weights have no head for pages.
    """
    with Document(source) as document:
        for number in range(1, len(document) + 1) if pages is None else pages:
            try:
                page = document.page(number)
            except PictureError as error:
                yield Reading(
                    source=document.source,
                    page=number,
                    finish_reason="error",
                    error=str(error),
                    error_type=type(error).__name__,
                )
                continue
            yield from read_page(net, read, page)


def read_page(net: Net, read: Read, page: Page, layout: Layout | None = None) -> list[Reading]:
    """Every molecule that is drawn on a page, from top to bottom; see :func:`find`.

    Args:
        net: the encoder, with a head for pages.
        read: reads one drawing.
        page: to be looked over.
        layout: of its ink, if that is known.
    """
    layout = layout or Layout(page.sheet.ink)
    drawings = findings(net, layout)
    parts: dict[int, list[_Read]] = {}
    for number, those, seconds in together(net, (_read(layout, read, one) for one in drawings)):
        if isinstance(those, Exception):
            raise those
        ms = seconds * 1000 / len(those)
        parts[number] = [replace(one, reading=replace(one.reading, ms=ms)) for one in those]
    found = [one for number in sorted(parts) for one in parts[number] if one.is_credible]
    found = _in_rows(found)
    readings = [_on_page(one, page) for one in found]
    if layout.arrows:
        readings = _with_roles(readings, [one.region.box for one in found], layout)
    called = _called(found, page, layout)
    return [replace(r, number=number) for r, number in zip(readings, called, strict=True)]


def _called(found: Sequence[_Read], page: Page, layout: Layout) -> list[str | None]:
    """What each drawing of a page is called: by the text layer, else by what is read of the ink."""
    point = page.scale if page.scale != 1.0 else layout.letter / LETTER_POINTS
    boxes = []
    for one in found:
        left, top, right, bottom = (side / point for side in one.region.box)
        boxes.append((left, top, right, bottom))
    called = numbers(boxes, page.words)
    unnamed = [k for k, number in enumerate(called) if number is None]
    if not unnamed:
        return called
    taken = np.zeros(len(layout.parts), bool)
    for one in found:
        taken[one.region.parts] = True
    near = []
    for k in unnamed:
        for window in windows(boxes[k]):
            left, top, right, bottom = (round(side * point) for side in window)
            near.append((left, top, right, bottom))
    # What stands beside the shaft of an arrow are its conditions.
    said = [
        phrase
        for phrase in phrases(layout, taken, near)
        if not any(is_beside(phrase.box, arrow, layout.letter) for arrow in layout.arrows)
    ]
    read = numbers([boxes[k] for k in unnamed], printed(said, point))
    given = {number for number in called if number}
    for k, number in zip(unnamed, read, strict=True):
        called[k] = None if number in given else number
    return called


def _with_roles(readings: Sequence[Reading], boxes: Sequence[Box], layout: Layout) -> list[Reading]:
    """Readings with what the arrows of their page say of them."""
    pluses = [layout.around(np.array([k])) for k in layout.pluses.tolist()]
    found = reactions(boxes, layout.arrows, pluses, layout.letter)
    told = roles(found, [reading.smiles for reading in readings])
    return [
        replace(reading, role=role, reaction=reaction)
        for reading, (role, reaction) in zip(readings, told, strict=True)
    ]


def apart(net: Net, read: Read, sheet: Sheet, whole: Reading) -> list[Reading]:
    """The molecules of a picture, each by itself, if it shows several; else the picture's reading.

    A salt is one molecule, and so is whatever was read as one and surely enough. Where an arrow
    makes one drawing of another, they are apart.

    Args:
        net: the encoder.
        read: reads one drawing.
        sheet: the picture.
        whole: what the picture was read as.
    """
    is_one = bool(whole.smiles) and "." not in (whole.smiles or "") and _is_most(sheet, whole)
    if HEAD not in net.metadata or (is_one and whole.confidence > SURELY_ONE):
        return [whole]
    height, width = sheet.size
    page = Page(sheet.source, whole.page or 1, (float(height), float(width)), sheet, 1.0)
    layout = Layout(sheet.ink)
    letter = LETTER_SHARE * whole.scale if whole.smiles and whole.scale else 0.0
    is_unknown = layout.letter == LETTER and 0 < letter < LETTER / FEW_LETTERS
    if (letter > layout.letter or is_unknown) and not layout.is_text.any():
        layout = Layout(sheet.ink, letter)  # of a drawing whose letters are few
    found = read_page(net, read, page, layout)
    if np.count_nonzero(layout.is_text) > PAGE_LETTERS:
        return found or [whole]
    molecules = [r for r in found if r.smiles]
    if any(r.role == "product" for r in found):
        return found
    if len(molecules) < MANY:
        # Two or three may be pieces of one drawing whose lines are broken.
        bond = max(r.scale or 0.0 for r in found) if found else 0.0
        sure = all(r.confidence > SURE_PIECE for r in found)
        if (
            len(found) < 2
            or not sure
            or _least_gap([r.box for r in found if r.box]) < PIECES_GAP * bond
        ):
            return [whole]
        if is_one and whole.confidence > WHOLE * math.prod(r.confidence for r in molecules):
            return [whole]
    return [whole] if _is_salt(molecules) else found


def _is_most(sheet: Sheet, whole: Reading) -> bool:
    """Whether most of a picture's ink is at the molecule that was read, not beside it."""
    if not whole.places or not whole.scale:
        return True
    xy = np.array(whole.places)
    reach = AROUND * whole.scale
    (left, top), (right, bottom) = xy.min(0) - reach, xy.max(0) + reach
    inked = sheet.ink >= INK_LEVEL
    here = inked[max(int(top), 0) : max(int(bottom), 0), max(int(left), 0) : max(int(right), 0)]
    return bool(np.count_nonzero(here) > MOST_INK * np.count_nonzero(inked))


def _least_gap(boxes: Sequence[Sequence[float]]) -> float:
    """The least distance between boxes, across or down, whichever is more."""
    gaps = [
        max(a[0] - b[2], b[0] - a[2], a[1] - b[3], b[1] - a[3])
        for k, a in enumerate(boxes)
        for b in boxes[:k]
    ]
    return min(gaps, default=0.0)


@cache
def _salt_formers() -> frozenset[str]:
    """What is drawn beside a base or an acid as its salt or its solvate, without stereo."""
    written = (
        "OC(=O)C=CC(=O)O OC(=O)C(=O)O OC(=O)CC(=O)O OC(=O)CCC(=O)O OC(=O)CC(O)C(=O)O "
        "OC(=O)C(O)C(O)C(=O)O OC(=O)CC(O)(CC(=O)O)C(=O)O CS(=O)(=O)O CCS(=O)(=O)O "
        "OCCS(=O)(=O)O OS(=O)(=O)c1ccccc1 Cc1ccc(cc1)S(=O)(=O)O OC(=O)C(F)(F)F OC=O CC(=O)O "
        "CC(O)C(=O)O OC(=O)c1ccccc1 OC(=O)c1ccccc1O OC(=O)C(O)c1ccccc1 OP(=O)(O)O OS(=O)(=O)O "
        "O[N+](=O)[O-] OCC(O)C(O)C(O)C(O)C(=O)O OS(=O)(=O)CCS(=O)(=O)O OC(=O)CNC(=O)c1ccccc1 "
        "NC(CCC(=O)O)C(=O)O NC(CC(=O)O)C(=O)O NC(CCCCN)C(=O)O NC(CCCNC(=N)N)C(=O)O "
        "CNCC(O)C(O)C(O)C(O)CO NC(CO)(CO)CO NCCO OCCNCCO OCCN(CCO)CCO CCN(CC)CC CCNCC "
        "C1CNCCN1 NCCN CC(C)(C)N CO CCO CC(C)O CC(C)=O CN(C)C=O CS(C)=O Cc1ccccc1 C1COCCO1 "
        "ClCCl CC#N CCOC(C)=O CC1(C)C2CCC1(CS(=O)(=O)O)C(=O)C2 OS(=O)(=O)c1cccc2ccccc12 "
        "OS(=O)(=O)c1ccc2ccccc2c1 OC(=O)c1cc2ccccc2c(Cc2c3ccccc3cc(C(=O)O)c2O)c1O"
    )
    mols = map(Chem.MolFromSmiles, written.split())
    return frozenset(str(Chem.MolToSmiles(mol)) for mol in mols)


def _is_salt(readings: Sequence[Reading]) -> bool:
    """Whether drawings that stand side by side are one salt or solvate: their charges cancel, or
    all but one are acids, bases or solvents that salts are made with.
    """
    mols = [mol for mol in (reading.mol for reading in readings) if mol is not None]
    charges = [Chem.GetFormalCharge(mol) for mol in mols]
    if any(charges) and sum(charges) == 0:
        return True
    flat = [str(Chem.MolToSmiles(mol, isomericSmiles=False)) for mol in mols]
    others = [smiles for smiles in flat if smiles not in _salt_formers()]
    return len(others) == 1


def _in_rows(found: Sequence[_Read]) -> list[_Read]:
    """Row after row from top to bottom, each from left to right.

    A drawing whose top lies above the middle of a row's first drawing belongs to that row.
    """
    rows: list[list[_Read]] = []
    for one in sorted(found, key=lambda one: one.region.box[1]):
        first = rows[-1][0].region.box if rows else None
        if first is not None and one.region.box[1] < (first[1] + first[3]) / 2:
            rows[-1].append(one)
        else:
            rows.append([one])
    return [one for row in rows for one in sorted(row, key=lambda one: one.region.box[0])]


@dataclass(frozen=True, eq=False)
class _Read:
    """A region and what was read in it; places in pixels of the page's ink map."""

    region: Region
    probability: float
    reading: Reading

    @property
    def is_credible(self) -> bool:
        """Whether the looks of a region and what was read in it make it a drawing."""
        if self.probability > VERY_SURE:
            return True  # told with its box, though it may not be read
        least = BARELY_READ
        if self.probability <= SURE:
            least = SLIGHT_READ if self.probability < LEAST_CHANCE else LEAST_READ
        return self.reading.confidence > least


def _read(layout: Layout, read: Read, finding: Finding) -> Task[list[_Read]]:
    """Read a region, and those inside it if there are two or more: they stand if they read better
    than the whole.
    """
    whole = yield from _read_alone(layout, read, finding.region, finding.probability)
    inner: list[_Read] = []
    for inside in finding.inner:
        inner += yield from _read(layout, read, inside)
    if len(inner) >= 2 and _is_split(whole, inner):
        return inner
    pieces = []
    for region in _cut(layout, whole):
        pieces.append((yield from _read_alone(layout, read, region, finding.probability)))
    return pieces if pieces and _is_split(whole, pieces) else [whole]


def _is_split(whole: _Read, parts: Sequence[_Read]) -> bool:
    """Whether the parts are the drawings, not the whole.

    They are if the whole was read as several molecules and all parts can be read, or if it is much
    less sure than that all its parts are right, which never is as sure as one part.
    """
    sure = [part.reading.confidence for part in parts if part.reading.smiles]
    if len(sure) < 2:
        return False
    if whole.reading.smiles and "." in whole.reading.smiles:
        boxes = [part.region.box for part in parts]
        are_apart = not any(_overlap(a, b) for k, a in enumerate(boxes) for b in boxes[:k])
        return min(sure) > (DOUBTFUL if are_apart else POOR)
    is_wide = whole.region.gap > MIDDLE  # so that the parts hang together at the usual gap
    return whole.reading.confidence < (WIDE_WHOLE if is_wide else WHOLE) * math.prod(sure)


def _overlap(a: Box, b: Box) -> bool:
    return min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])


def _cut(layout: Layout, whole: _Read) -> list[Region]:
    """A region that was read as several molecules side by side, cut by the places of their atoms.

    Ink belongs to the molecule whose bonds it follows; arrows and numbers between them belong to
    none. No regions if there is but one molecule, or if they are not apart.
    """
    mol, bond = whole.reading.mol, whole.reading.scale
    if mol is None or bond is None or not mol.GetNumConformers():
        return []
    groups = [list(g) for g in Chem.GetMolFrags(mol) if len(g) >= FEWEST_ATOMS]
    if len(groups) < 2:
        return []
    left, top, right, bottom = whole.region.box
    xy = mol.GetConformer().GetPositions()[:, :2] * (1, -1) - MARGIN  # from the box's corner
    ends = [np.r_[xy[g].min(0), xy[g].max(0)] for g in groups]
    if any(_overlap(tuple(a), tuple(b)) for k, a in enumerate(ends) for b in ends[:k]):
        return []
    near = Image.new("L", (right - left, bottom - top), 0)
    pen = ImageDraw.Draw(near)
    owner = {atom: k for k, group in enumerate(groups, 1) for atom in group}
    for atom, k in owner.items():
        x, y = xy[atom]
        reach = ATOM_REACH * bond
        pen.ellipse([x - reach, y - reach, x + reach, y + reach], k)
    for line in mol.GetBonds():
        a, b = line.GetBeginAtomIdx(), line.GetEndAtomIdx()
        if a in owner:
            pen.line([tuple(xy[a]), tuple(xy[b])], owner[a], max(round(ATOM_REACH * bond), 1))
    covered = np.asarray(near)
    shares = np.zeros((len(whole.region.parts), len(groups) + 1))
    for row, part in zip(shares, whole.region.parts, strict=True):
        own = layout.parts.mask(np.array([part]), whole.region.box)
        row[:] = np.bincount(covered[own], minlength=len(groups) + 1) / max(own.sum(), 1)
    regions = []
    for k in range(1, len(groups) + 1):
        parts = whole.region.parts[(shares.argmax(1) == k) & (shares[:, k] > 0.5)]
        if len(parts):
            box = layout.around(parts)
            regions.append(Region(box, parts, whole.region.gap))
    if len(regions) < len(groups) or _least_gap([r.box for r in regions]) < CUT_GAP * bond:
        return []  # what almost touches is one drawing, a bond of which was not read
    return regions


def _read_alone(layout: Layout, read: Read, region: Region, probability: float) -> Task[_Read]:
    ink = layout.shown(region, MARGIN)
    low, high = (bond * layout.letter for bond in USUAL_BONDS)
    is_told = layout.letter != LETTER and not layout.is_grainy
    is_scaled = is_told and low < bond_length(ink) < high
    try:
        reading = yield from read(255 - ink, is_scaled=is_scaled)
    except PictureError as error:
        reading = Reading(
            finish_reason="error", error=error.reason, error_type=type(error).__name__
        )
    if reading.finish_reason == "no molecule" and reading.smiles and probability > SURE:
        # What else is known of the page outweighs the doubt.
        reading = replace(reading, finish_reason="end")
    return _Read(region, probability, reading)


def _on_page(one: _Read, page: Page) -> Reading:
    """A reading as it is on the page: places, molfile, box, in the page's units."""
    scale = page.scale
    x0, y0, x1, y1 = (round(v / scale, 2) for v in one.region.box)
    left, top = one.region.box[0] - MARGIN, one.region.box[1] - MARGIN
    reading = one.reading
    error = reading.error
    if error is None and reading.smiles is None:
        error = "no molecule was read here"
    return replace(
        reading,
        source=page.source,
        page=page.number,
        box=(x0, y0, x1, y1),
        found=one.probability,
        places=tuple(((x + left) / scale, (y + top) / scale) for x, y in reading.places),
        molfile=moved(reading.molfile, (left, top), scale) if reading.molfile else None,
        scale=reading.scale / scale if reading.scale else None,
        error=error,
        error_type=reading.error_type or ("MoleculeError" if error else None),
    )


_V2000 = re.compile(r"^( {0,9}-?\d+\.\d{4})( {0,9}-?\d+\.\d{4})( {0,9}-?\d+\.\d{4} )", re.M)
_V3000 = re.compile(r"^(M  V30 \d+ \S+ )(-?[\d.]+) (-?[\d.]+) (-?[\d.]+ )", re.M)


def moved(molfile: str, corner: tuple[float, float], scale: float) -> str:
    """A molfile whose coordinates are moved from a cut-out to its page.

    Args:
        molfile: V2000 or V3000, y upwards.
        corner: (x, y) of the cut-out's top left corner, in its own pixels.
        scale: pixels for one unit of the page.
    """

    def place(x: str, y: str) -> tuple[float, float]:
        return (float(x) + corner[0]) / scale, (float(y) - corner[1]) / scale

    def old(line: re.Match[str]) -> str:
        x, y = place(line[1], line[2])
        return f"{x:10.4f}{y:10.4f}{line[3]}"

    def new(line: re.Match[str]) -> str:
        x, y = place(line[2], line[3])
        return f"{line[1]}{x:.6f} {y:.6f} {line[4]}"

    head, mark, rest = molfile.partition("V3000")
    if mark:
        return head + mark + _V3000.sub(new, rest)
    head, mark, rest = molfile.partition("V2000")
    return head + mark + _V2000.sub(old, rest)
