"""A drawn graph -> an RDKit molecule with stereo, names and molfile.

Places are pixels with y down, conformers are the same numbers with y up (negated).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, Geometry, rdBase
from rdkit.Chem import rdDepictor, rdinchi

from molgaze.formula import name_variable
from molgaze.label import expand as expand_label
from molgaze.label import is_variable, is_word
from molgaze.walk import ATOM_PATTERN, Graph

#: A double bond keeps its stereo only if a neighbour leaves its line by more than this (degrees);
#: places are good to 1-3 px and bonds are about 20 px long.
LINEAR = 15.0
#: Elements that carry hydrogens which a drawing leaves out; a metal carries those drawn.
FILLED = frozenset(
    ("B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Ge", "As", "Se", "Br", "Te", "I")
)
#: Element -> number of single bonds that means a lost plus sign, since no drawing leaves out
#: the hydrogen of a hypervalent atom that has single bonds only.
ONIUM = {"S": 3, "Se": 3, "Te": 3, "P": 4, "As": 4, "Cl": 2, "Br": 2, "I": 2}
#: Largest ring in which a double bond has no stereo.
SMALL_RING = 7
V2000_ATOMS = 999

BONDS = {
    "-": Chem.BondType.SINGLE,
    "w": Chem.BondType.SINGLE,
    "h": Chem.BondType.SINGLE,
    "~": Chem.BondType.SINGLE,
    "=": Chem.BondType.DOUBLE,
    "x": Chem.BondType.DOUBLE,
    "#": Chem.BondType.TRIPLE,
    "$": Chem.BondType.QUADRUPLE,
    ":": Chem.BondType.AROMATIC,
    "d": Chem.BondType.DATIVE,
    "?": Chem.BondType.UNSPECIFIED,
}
_ORDER = {Chem.BondType.DOUBLE: 2, Chem.BondType.TRIPLE: 3, Chem.BondType.QUADRUPLE: 4}
WEDGES = {"w": Chem.BondDir.BEGINWEDGE, "h": Chem.BondDir.BEGINDASH, "~": Chem.BondDir.UNKNOWN}
_NUMBER = {Chem.GetPeriodicTable().GetElementSymbol(number): number for number in range(1, 119)} | {
    "*": 0
}
_NUMBERED = re.compile(
    r"^(?P<isotope>\d{1,3})?(?P<element>[A-Z][a-z]?)(?:(?P<h>H)(?P<hs>\d{1,2})?)?"
    r"(?P<dots>\.{0,4})(?:(?P<size>\d)?(?P<sign>\++|-+))?(?P<late>\.{0,4})$"
)
_H_FIRST = re.compile(r"^(H\d?)([A-Z][a-z]?)$")


#: Element -> number of bonds, all single, that means a lost minus sign: PF6-, BF4-.
ATE = {"P": 6, "As": 6, "Sb": 6}
#: Most hydrogens that are added to the nitrogens of rings drawn with circles.
MOST_ADDED = 4


class MoleculeError(ValueError):
    """The graph is none: no atoms, a bond that cannot be, an element that there is not."""


class FindingKind(Enum):
    """What may be said about a molecule that was read."""

    UNKNOWN_LABEL = "unknown label"  # kept as a labelled dummy atom
    RESPELLED_LABEL = "respelled label"  # read as a name that looks alike
    HYDROGENS = "hydrogens"  # more than the label shows, or on a nitrogen of a ring with a circle
    CHARGE = "charge"  # given to an atom that has one bond too many
    NO_STEREO = "no stereo"  # a wedge that makes no stereocentre
    VALENCE = "valence"  # an atom has more bonds than it can have
    CIRCLE = "circle"  # no arrangement of double bonds fits a circle
    SMILES = "smiles"  # RDKit does not read its own SMILES


class Finding(NamedTuple):
    """Something that the user of a molecule should know."""

    kind: FindingKind
    message: str
    atoms: tuple[int, ...]
    """Atoms of the graph that it is about."""


@dataclass(frozen=True)
class Molecule:
    """What a graph stands for.

    Attributes:
        mol: with a 2D conformer: x as in the picture, y its negative (pixels); sanitised if
            ``valid``.
        smiles: RDKit canonical, full stereo; equal to ``Chem.CanonSmiles`` of the same molecule if
            ``valid``, else what RDKit writes, which it may not read.
        findings: what was read otherwise than drawn, and what is at fault.
        atoms: for each atom of mol the atom of the graph that it came from.
        valid: whether it obeys the rules of valence and its circles have a Kekulé form.
    """

    mol: Chem.Mol
    smiles: str
    findings: tuple[Finding, ...]
    atoms: tuple[int, ...]
    valid: bool = True

    @property
    def warnings(self) -> tuple[str, ...]:
        """The messages of the findings."""
        return tuple(dict.fromkeys(finding.message for finding in self.findings))

    # Made when they are asked for: of several attempts at a picture all but one are discarded.

    @cached_property
    def cxsmiles(self) -> str | None:
        """With the labels that plain SMILES cannot hold; None if there are none."""
        labelled = any(a.HasProp("atomLabel") for a in self.mol.GetAtoms())
        return _cxsmiles(self.mol) if labelled else None

    @cached_property
    def molfile(self) -> str:
        """V2000, or V3000 above 999 atoms or bonds; coordinates of the conformer."""
        return _molfile(self.mol, self.valid)

    @cached_property
    def inchikey(self) -> str | None:
        """None where InChI has no answer: labels left as dummy atoms, or not ``valid``."""
        if not self.valid:
            return None
        with rdBase.BlockLogs():
            return rdinchi.MolToInchiKey(self.mol) or None


def molecule(graph: Graph, *, expand: bool = True) -> Molecule:
    """Turn a graph with places into a molecule.

    A valence that no certain repair cures, or a circle without a Kekulé form, withholds nothing:
    the molecule is then not ``valid``, and a finding names the atom.

    Args:
        graph: atoms, places (n, 2) in pixels with y down, and bonds.
        expand: put the atoms that a label stands for in its place; else a label that stands for two
            heavy atoms or more stays a dummy atom with the label as its alias.

    Raises:
        MoleculeError: no atoms, a bond that cannot be, or an unknown element.
    """
    findings: list[Finding] = []
    with rdBase.BlockLogs():
        mol = _build(graph, expand, findings)
        valid = _mend(mol, findings)
        try:
            _place(mol)
            _perceive(mol, valid, findings)
            return _finish(mol, valid, findings)
        except (RuntimeError, ValueError) as err:  # MolSanitizeException is a ValueError
            raise MoleculeError(f"RDKit refuses the molecule: {_first_line(err)}") from err


def _first_line(err: Exception) -> str:
    return (str(err).strip().splitlines() or [type(err).__name__])[0]


def _find(findings: list[Finding], kind: FindingKind, atom: Chem.Atom, message: str) -> None:
    """Note a finding about one atom; its message begins with the atom's name."""
    place = atom.GetIntProp("_graph")
    findings.append(Finding(kind, f"{_name(atom)}: {message}", (place,)))


# ---- atoms, bonds, labels -------------------------------------------------------------------


def _build(graph: Graph, expand: bool, findings: list[Finding]) -> Chem.RWMol:
    """Atoms, bonds (kind in the property ``_kind``), labels replaced by their fragments."""
    if not graph.atoms:
        raise MoleculeError("no atoms")
    places = np.asarray(graph.places, dtype=np.float64)
    if places.shape != (len(graph.atoms), 2) or not np.isfinite(places).all():
        raise MoleculeError(f"{len(graph.atoms)} atoms need as many finite places (x, y)")
    mol = Chem.RWMol()
    labels: list[int] = []
    for i, text in enumerate(graph.atoms):
        atom = _atom(text)
        if atom is None:
            if not (text.startswith("[") and text.endswith("]") and len(text) > 2):
                raise MoleculeError(f"atom {i + 1}: unknown element {text!r}")
            labels.append(i)
            atom = Chem.Atom(0)
        atom.SetIntProp("_graph", i)
        atom.SetDoubleProp("_x", float(places[i, 0]))
        atom.SetDoubleProp("_y", -float(places[i, 1]))
        mol.AddAtom(atom)
    for a, b, kind in graph.bonds:
        if not (0 <= a < len(graph.atoms) and 0 <= b < len(graph.atoms)) or kind not in BONDS:
            raise MoleculeError(f"no such bond: {(a, b, kind)}")
        if a == b or mol.GetBondBetweenAtoms(a, b) is not None:
            raise MoleculeError(f"{_name(mol.GetAtomWithIdx(a))}: bonded to itself or twice to one")
        mol.AddBond(a, b, BONDS[kind])
        bond = mol.GetBondBetweenAtoms(a, b)
        bond.SetProp("_kind", kind)
        if kind == ":":
            bond.SetIsAromatic(True)
            bond.GetBeginAtom().SetIsAromatic(True)
            bond.GetEndAtom().SetIsAromatic(True)
    scale = _bond_length(mol)
    gone = []
    for i in labels:
        first = _bond_is_first(mol.GetAtomWithIdx(i), graph.glyphs.get(i))
        if _expand(mol, i, graph.atoms[i][1:-1], first, scale, expand, findings):
            gone.append(i)
    for i in sorted(gone, reverse=True):
        mol.RemoveAtom(i)
    _oxides(mol)
    return mol


def _atom(text: str) -> Chem.Atom | None:
    """An element with dots and charge; None for a label or anything else."""
    match = ATOM_PATTERN.match(text)
    if match is None:
        return None
    element, dots, size, sign = match.groups()
    isotope = {"D": 2, "T": 3}.get(element, 0)
    number = 1 if isotope else _NUMBER.get(element)
    if number is None:
        return None
    atom = Chem.Atom(number)
    atom.SetIsotope(isotope)
    if sign:
        atom.SetFormalCharge(int(size or 1) * (1 if sign == "+" else -1))
    atom.SetNumRadicalElectrons(len(dots))
    atom.SetNoImplicit(element not in FILLED)
    return atom


def _bond_is_first(holder: Chem.Atom, glyphs: NDArray[np.float64] | None) -> bool:
    """Whether the bond of a label is at its first glyph rather than at its last.

    A label's place is where its bonds meet it, so the nearer of the two glyphs tells; where there
    are no places of glyphs, or it is between the two, the direction of the leftmost bond does.
    """
    x, y = _spot(holder)
    if glyphs is not None and len(glyphs) > 1:
        ends = np.asarray(glyphs, dtype=np.float64)[[0, -1]] - (x, -y)
        near, far = np.hypot(*ends.T)
        if max(near, far) > 2 * min(near, far):
            return bool(near < far)
    others = [_spot(other) for other in holder.GetNeighbors()]
    ox, oy = min(others, default=(x, y), key=lambda spot: (spot[0], -spot[1]))
    return ox <= x + 0.35 * abs(oy - y)


def _expand(
    mol: Chem.RWMol,
    i: int,
    text: str,
    at_first: bool,
    scale: float,
    expand: bool,
    findings: list[Finding],
) -> bool:
    """Put what a label stands for in the place of atom ``i``; True if ``i`` is to be removed."""
    holder = mol.GetAtomWithIdx(i)

    def rank(bond: Chem.Bond) -> tuple[float, float]:
        bx, by = _spot(bond.GetOtherAtom(mol.GetAtomWithIdx(i)))
        return bx, -by

    hands = sorted(holder.GetBonds(), key=rank)
    orders = tuple(_ORDER.get(bond.GetBondType(), 1) for bond in hands)
    if text == "*":  # an attachment point
        return False
    # "Ac" and "Pr" in a label are groups, as elements they would be atoms of their own.
    match = None if text in _NUMBER else _NUMBERED.match(_H_FIRST.sub(r"\2\1", text))
    if match is not None and match["element"] in _NUMBER and not is_word(match["element"]):
        _single(holder, match, sum(orders))
        if match["h"] and holder.GetNumExplicitHs() > int(match["hs"] or 1):
            more = (
                f"label {text!r} read with {holder.GetNumExplicitHs()} hydrogens, as its bonds ask"
            )
            findings.append(Finding(FindingKind.HYDROGENS, more, (i,)))
        return False
    known = False
    for first in (at_first, not at_first) if len(hands) == 1 else (True,):
        found = expand_label(text, orders, first)
        if found is None:
            continue
        known = True
        if not expand and sum(atom.GetAtomicNum() > 1 for atom in found.mol.GetAtoms()) > 1:
            break
        if _graft(mol, i, found.mol, hands, scale):
            if found.text != text:
                other = f"label {text!r} is unknown and read as {found.text!r}, which looks alike"
                findings.append(Finding(FindingKind.RESPELLED_LABEL, other, (i,)))
            return True
    name_variable(holder, text)
    if known or holder.GetIsotope():
        return False
    if not hands:
        unknown = f"label {text!r} stands alone and is unknown"
        findings.append(Finding(FindingKind.UNKNOWN_LABEL, unknown, (i,)))
    elif not is_variable(text):
        unknown = f"label {text!r} is unknown and kept as it is"
        findings.append(Finding(FindingKind.UNKNOWN_LABEL, unknown, (i,)))
    return False


def _single(atom: Chem.Atom, match: re.Match[str], valence: int) -> None:
    """Make ``atom`` the one atom that a label such as 13CH3 or PH5 spells."""
    element = match["element"]
    atom.SetAtomicNum(_NUMBER[element])
    atom.SetIsotope(int(match["isotope"] or 0))
    sign = match["sign"] or ""
    size = int(match["size"]) if match["size"] else len(sign)
    atom.SetFormalCharge(size * (1 if sign.startswith("+") else -1) if sign else 0)
    dots = len(match["dots"]) + len(match["late"])
    atom.SetNumRadicalElectrons(dots)
    atom.SetNoImplicit(True)
    shown = int(match["hs"] or 1) if match["h"] else 0
    if element in FILLED and not dots:
        shown = max(shown, _implied(element, atom.GetFormalCharge(), valence))
    atom.SetNumExplicitHs(shown)


def _implied(element: str, charge: int, valence: int) -> int:
    """Hydrogens that RDKit gives an atom whose bonds add up to ``valence``."""
    mol = Chem.RWMol()
    mol.AddAtom(Chem.Atom(element))
    mol.GetAtomWithIdx(0).SetFormalCharge(charge)
    for k in range(valence):
        mol.AddAtom(Chem.Atom("F"))
        mol.AddBond(0, k + 1, Chem.BondType.SINGLE)
    mol.UpdatePropertyCache(strict=False)
    return int(mol.GetAtomWithIdx(0).GetTotalNumHs())


def _graft(mol: Chem.RWMol, i: int, part: Chem.Mol, hands: list[Chem.Bond], scale: float) -> bool:
    """Add ``part`` beside atom ``i`` and move the bonds of ``i`` to it; False if it has not
    as many open ends as ``i`` has bonds."""
    part = Chem.Mol(part)
    ends = {a.GetAtomMapNum(): a for a in part.GetAtoms() if a.GetAtomicNum() == 0}
    ends.pop(0, None)
    if sorted(ends) != list(range(1, len(hands) + 1)) or any(
        end.GetDegree() != 1 for end in ends.values()
    ):
        return False
    try:
        Chem.Kekulize(part, clearAromaticFlags=True)
    except Chem.KekulizeException:
        return False
    holder = mol.GetAtomWithIdx(i)
    here = np.array(_spot(holder))
    away = [np.array(_spot(b.GetOtherAtom(holder))) - here for b in hands]
    spots = _layout(part, [ends[k + 1].GetIdx() for k in range(len(hands))], away, scale)
    source = holder.GetIntProp("_graph")
    for atom, spot in zip(part.GetAtoms(), spots + here, strict=True):
        atom.SetIntProp("_graph", source)
        atom.SetBoolProp("_label", True)
        atom.SetDoubleProp("_x", float(spot[0]))
        atom.SetDoubleProp("_y", float(spot[1]))
    links = [
        (ends[k + 1].GetIdx(), ends[k + 1].GetNeighbors()[0].GetIdx()) for k in range(len(hands))
    ]
    ways = [
        (b.GetOtherAtomIdx(i), b.GetBeginAtomIdx() == i, b.GetBondType(), b.GetProp("_kind"))
        for b in hands
    ]
    offset = mol.GetNumAtoms()
    mol.InsertMol(part)
    for link, (other, outward, order, kind) in zip(links, ways, strict=True):
        end, root = link[0] + offset, link[1] + offset
        atom = mol.GetAtomWithIdx(root)
        # The parity counts the bonds in their order; the new one comes last.
        row = [b.GetOtherAtomIdx(root) for b in atom.GetBonds()]
        if (len(row) - 1 - row.index(end)) % 2:
            atom.InvertChirality()
        mol.RemoveBond(root, end)
        begin, finish = (root, other) if outward else (other, root)
        mol.AddBond(begin, finish, Chem.BondType.SINGLE if kind == ":" else order)
        mol.GetBondBetweenAtoms(begin, finish).SetProp("_kind", kind)
    for end in sorted((end + offset for end, _ in links), reverse=True):
        mol.RemoveAtom(end)
    return True


def _layout(part: Chem.Mol, ends: list[int], away: list[np.ndarray], scale: float) -> np.ndarray:
    """Places (n, 2) of a fragment about the origin, turned so that its open ends lie where the
    neighbours are; an atom that all bonds meet lies on the origin itself."""
    rdDepictor.Compute2DCoords(part)
    spots = np.array(part.GetConformer().GetPositions()[:, :2]) * (0.6 * scale / 1.5)
    if not ends:
        return np.asarray(spots - spots.mean(0))
    roots = [part.GetAtomWithIdx(end).GetNeighbors()[0].GetIdx() for end in ends]
    if len(set(roots)) == 1:
        spots = spots - spots[roots[0]]
        drawn = np.mean([_unit(spots[end]) for end in ends], axis=0)
        wanted = np.mean([_unit(v) for v in away], axis=0)
        if np.linalg.norm(drawn) < 0.2 or np.linalg.norm(wanted) < 0.2:
            drawn, wanted = spots[ends[0]], away[0]
    else:
        spots = spots - spots[roots].mean(0)
        drawn, wanted = spots[ends[0]] - spots[ends[-1]], away[0] - away[-1]
    turn = math.atan2(wanted[1], wanted[0]) - math.atan2(drawn[1], drawn[0])
    cos, sin = math.cos(turn), math.sin(turn)
    return np.asarray(spots @ np.array([[cos, sin], [-sin, cos]]))


def _unit(v: np.ndarray) -> np.ndarray:
    return np.asarray(v / max(float(np.linalg.norm(v)), 1e-9))


def _spot(atom: Chem.Atom) -> tuple[float, float]:
    return atom.GetDoubleProp("_x"), atom.GetDoubleProp("_y")


def _bond_length(mol: Chem.Mol) -> float:
    lengths = [math.dist(_spot(b.GetBeginAtom()), _spot(b.GetEndAtom())) for b in mol.GetBonds()]
    return float(np.median(lengths)) if lengths and np.median(lengths) > 0 else 20.0


def _name(atom: Chem.Atom) -> str:
    """How a message names an atom: number in the graph (from 1), element, place in pixels."""
    x, y = _spot(atom)
    where = f"atom {atom.GetIntProp('_graph') + 1} ({atom.GetSymbol()} at {x:.0f}, {-y:.0f})"
    return where + (" of a label" if atom.HasProp("_label") else "")


# ---- valence --------------------------------------------------------------------------------


def _oxides(mol: Chem.RWMol) -> None:
    """Arrows from N, P or S to a lone O: N+-O-, P=O, S=O, as RDKit and its SMILES hold them."""
    for bond in mol.GetBonds():
        giver, taker = bond.GetBeginAtom(), bond.GetEndAtom()
        if bond.GetBondType() != Chem.BondType.DATIVE or taker.GetSymbol() != "O":
            continue
        if taker.GetDegree() > 1 or taker.GetFormalCharge() or giver.GetFormalCharge():
            continue
        if giver.GetSymbol() == "N":
            bond.SetBondType(Chem.BondType.SINGLE)
            giver.SetFormalCharge(1)
            taker.SetFormalCharge(-1)
        elif giver.GetSymbol() in ("P", "S", "As", "Se"):
            bond.SetBondType(Chem.BondType.DOUBLE)


def _mend(mol: Chem.RWMol, findings: list[Finding]) -> bool:
    """Cure what can be cured with certainty, then sanitise; whether all is well then.

    What cannot be cured is a finding, and its atom keeps its bonds and hydrogens as they are.
    """
    mol.UpdatePropertyCache(strict=False)
    for atom in mol.GetAtoms():
        lost = is_onium(atom) and not atom.GetNoImplicit()
        charge = int(lost) - int(_is_ate(atom))
        if charge and not atom.HasProp("_label"):
            atom.SetFormalCharge(charge)
            read = f"read as {atom.GetSymbol()}{'+' if charge > 0 else '-'}"
            _find(findings, FindingKind.CHARGE, atom, read)
    faults: set[int] = set()
    for _ in range(mol.GetNumAtoms() + 1):
        Chem.SanitizeMol(
            mol,
            Chem.SanitizeFlags.SANITIZE_CLEANUP
            | Chem.SanitizeFlags.SANITIZE_CLEANUP_ORGANOMETALLICS,
            catchErrors=True,
        )
        problem = next(
            (p for p in Chem.DetectChemistryProblems(mol) if _culprit(mol, p) not in faults), None
        )
        if problem is None:
            break
        culprit = _culprit(mol, problem)
        atom = mol.GetAtomWithIdx(culprit)
        if problem.GetType() in ("AtomValenceException", "AtomSanitizeException"):
            if _recharge(atom, findings):
                continue
            why = f"its bonds and hydrogens add up to {_valence(atom)}"
            why += f" at charge {atom.GetFormalCharge():+d}" if atom.GetFormalCharge() else ""
            _find(findings, FindingKind.VALENCE, atom, why)
            atom.SetNoImplicit(True)
        elif problem.GetType() == "AtomKekulizeException":
            _find(findings, FindingKind.CIRCLE, atom, "part of a circle but in no ring")
        elif not _kekulize(mol, findings):
            why = "no arrangement of double bonds fits the circle drawn in its ring"
            _find(findings, FindingKind.CIRCLE, atom, why)
        else:
            continue
        faults.add(culprit)
    if not faults:
        try:
            Chem.SanitizeMol(Chem.RWMol(mol))
        except Chem.MolSanitizeException as err:  # what only making it aromatic shows
            culprit = _culprit(mol, getattr(err, "cause", err))
            faults.add(culprit)
            why = "its bonds and those of a circle add up to too many"
            _find(findings, FindingKind.VALENCE, mol.GetAtomWithIdx(culprit), why)
    _sanitise(mol, not faults)
    return not faults


def _culprit(mol: Chem.Mol, problem: Chem.MolSanitizeException) -> int:
    """The atom that a problem is about: of a ring without a Kekulé form the first."""
    if hasattr(problem, "GetAtomIdx"):
        return int(problem.GetAtomIdx())
    atoms = problem.GetAtomIndices() if hasattr(problem, "GetAtomIndices") else ()
    return int(min(atoms, default=0))


def _sanitise(mol: Chem.RWMol, valid: bool) -> None:
    """Sanitise a molecule, without a look at valences and circles where these are at fault."""
    if valid:
        Chem.SanitizeMol(mol)
        return
    flags = Chem.SanitizeFlags
    mol.UpdatePropertyCache(strict=False)
    but_valences = flags.SANITIZE_ALL ^ flags.SANITIZE_PROPERTIES
    if Chem.SanitizeMol(mol, but_valences, catchErrors=True) != flags.SANITIZE_NONE:
        circles = flags.SANITIZE_KEKULIZE | flags.SANITIZE_SETAROMATICITY
        Chem.SanitizeMol(mol, but_valences ^ circles, catchErrors=True)


def is_onium(atom: Chem.Atom) -> bool:
    """Whether an atom has so many single bonds that it must have lost its plus sign."""
    return (
        ONIUM.get(atom.GetSymbol()) == atom.GetDegree()
        and not atom.GetFormalCharge()
        and not atom.GetNumRadicalElectrons()
        and not atom.GetIsAromatic()
        and all(b.GetBondType() == Chem.BondType.SINGLE for b in atom.GetBonds())
        and all(n.GetSymbol() in FILLED or n.GetAtomicNum() == 0 for n in atom.GetNeighbors())
    )


def _is_ate(atom: Chem.Atom) -> bool:
    return (
        ATE.get(atom.GetSymbol()) == atom.GetDegree()
        and not atom.GetFormalCharge()
        and all(b.GetBondType() == Chem.BondType.SINGLE for b in atom.GetBonds())
    )


def _valence(atom: Chem.Atom) -> int:
    total = sum(b.GetValenceContrib(atom) for b in atom.GetBonds()) + atom.GetNumExplicitHs()
    return int(total)


def _recharge(atom: Chem.Atom, findings: list[Finding]) -> bool:
    """Give an atom with one bond too many the charge that it must have; False if none is sure."""
    element, charge, valence = atom.GetSymbol(), atom.GetFormalCharge(), _valence(atom)
    if element == "N" and charge == 1 and valence == 5:
        # A nitro group whose plus was drawn and whose minus was lost.
        for bond in atom.GetBonds():
            other = bond.GetOtherAtom(atom)
            if (
                bond.GetBondType() == Chem.BondType.DOUBLE
                and other.GetSymbol() == "O"
                and other.GetDegree() == 1
                and not other.GetFormalCharge()
            ):
                bond.SetBondType(Chem.BondType.SINGLE)
                other.SetFormalCharge(-1)
                _find(findings, FindingKind.CHARGE, atom, "nitro group read as charged")
                return True
        return False
    if charge:
        return False
    if (element, valence) in (("N", 4), ("O", 3)):
        atom.SetFormalCharge(1)
        _find(findings, FindingKind.CHARGE, atom, f"read as {element}+")
        if element == "N":
            _counter(atom)
        return True
    if (element, valence) == ("B", 4):
        atom.SetFormalCharge(-1)
        _find(findings, FindingKind.CHARGE, atom, "read as B-")
        return True
    return False


def _counter(atom: Chem.Atom) -> None:
    """The minus that goes with a lost plus on N: N-oxide, azide, diazo compound, isocyanide."""
    for bond in atom.GetBonds():
        other = bond.GetOtherAtom(atom)
        kind = (other.GetSymbol(), bond.GetBondType())
        if other.GetDegree() > 1 or other.GetFormalCharge() or other.GetNoImplicit():
            continue
        if kind in (
            ("O", Chem.BondType.SINGLE),
            ("N", Chem.BondType.DOUBLE),
            ("C", Chem.BondType.TRIPLE),
        ):
            other.SetFormalCharge(-1)
            return


def _kekulize(mol: Chem.RWMol, findings: list[Finding]) -> bool:
    """Find a Kekulé form for rings drawn with circles, with as few more NH as there must be."""
    nitrogens = [
        a
        for a in mol.GetAtoms()
        if a.GetSymbol() == "N"
        and a.GetIsAromatic()
        and a.GetDegree() == 2
        and not a.GetFormalCharge()
        and not a.GetTotalNumHs()
    ]
    nitrogens.sort(key=lambda atom: -sum(_is_carbonyl(other) for other in atom.GetNeighbors()))
    places = [atom.GetIdx() for atom in nitrogens]
    for count in range(1, min(MOST_ADDED, len(places)) + 1):
        for chosen in combinations(places[:10], count):
            trial = Chem.RWMol(mol)
            for i in chosen:
                trial.GetAtomWithIdx(i).SetNumExplicitHs(1)
            try:
                Chem.Kekulize(trial)
            except Chem.KekulizeException:
                continue
            for i in chosen:
                mol.GetAtomWithIdx(i).SetNumExplicitHs(1)
                _find(findings, FindingKind.HYDROGENS, mol.GetAtomWithIdx(i), "read as NH")
            return True
    return False


def _is_carbonyl(atom: Chem.Atom) -> bool:
    """Whether a ring atom has a double bond to O or S outside of the ring."""
    return any(
        bond.GetBondType() == Chem.BondType.DOUBLE
        and bond.GetOtherAtom(atom).GetSymbol() in ("O", "S")
        for bond in atom.GetBonds()
    )


# ---- stereo ---------------------------------------------------------------------------------


def _place(mol: Chem.RWMol) -> None:
    conformer = Chem.Conformer(mol.GetNumAtoms())
    conformer.Set3D(False)
    for atom in mol.GetAtoms():
        conformer.SetAtomPosition(atom.GetIdx(), Geometry.Point3D(*_spot(atom), 0.0))
    mol.RemoveAllConformers()
    mol.AddConformer(conformer, assignId=True)


def _perceive(mol: Chem.RWMol, valid: bool, findings: list[Finding]) -> None:
    """Tetrahedral stereo from wedges and places, double-bond stereo from places."""
    marked: set[int] = set()
    wavy: set[int] = set()
    for bond in mol.GetBonds():
        kind = bond.GetProp("_kind") if bond.HasProp("_kind") else ""
        if kind in WEDGES:
            bond.SetBondDir(WEDGES[kind])
        if kind in ("w", "h"):
            marked.add(bond.GetBeginAtomIdx())
        if kind == "~":
            wavy |= {bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()}
    Chem.AssignChiralTypesFromBondDirs(mol, replaceExistingTags=False)
    for bond in mol.GetBonds():
        if bond.GetBondType() == Chem.BondType.SINGLE:
            bond.SetBondDir(Chem.BondDir.NONE)
    mol.ClearComputedProps()
    Chem.FastFindRings(mol)
    rings = mol.GetRingInfo()
    for bond in mol.GetBonds():
        if bond.GetBondType() != Chem.BondType.DOUBLE:
            continue
        if rings.NumBondRings(bond.GetIdx()) and rings.MinBondRingSize(bond.GetIdx()) <= SMALL_RING:
            continue
        a, b = bond.GetBeginAtom(), bond.GetEndAtom()
        crossed = bond.HasProp("_kind") and bond.GetProp("_kind") == "x"
        if a.GetDegree() == 1 or b.GetDegree() == 1:
            continue
        if crossed or {a.GetIdx(), b.GetIdx()} & wavy or _is_vague(a, b) or _is_vague(b, a):
            bond.SetBondDir(Chem.BondDir.EITHERDOUBLE)
    _sanitise(mol, valid)
    Chem.DetectBondStereoChemistry(mol, mol.GetConformer())
    Chem.AssignStereochemistry(mol, cleanIt=True, force=True)
    for i in sorted(marked):
        atom = mol.GetAtomWithIdx(i)
        if atom.GetChiralTag() == Chem.ChiralType.CHI_UNSPECIFIED:
            _find(findings, FindingKind.NO_STEREO, atom, "the wedge drawn from it gives no stereo")


def _is_vague(atom: Chem.Atom, other: Chem.Atom) -> bool:
    """True if the neighbours of a double-bonded atom lie so near the bond's line, or on one
    side of it, that their places do not tell cis from trans."""
    x, y = _spot(atom)
    ox, oy = _spot(other)
    axis = np.array((x - ox, y - oy))
    if atom.HasProp("_label") and atom.GetDegree() > 1:
        inner = [n for n in atom.GetNeighbors() if n.HasProp("_label")]
        if inner:
            return True
    sides: list[float] = []
    for n in atom.GetNeighbors():
        if n.GetIdx() == other.GetIdx():
            continue
        nx, ny = _spot(n)
        v = np.array((nx - x, ny - y))
        lengths = float(np.linalg.norm(axis) * np.linalg.norm(v))
        if lengths < 1e-6:
            return True
        sides.append(float(axis[0] * v[1] - axis[1] * v[0]) / lengths)
    if not sides:
        return False
    if len(sides) == 2 and sides[0] * sides[1] > 0:
        return True
    return max(abs(s) for s in sides) < math.sin(math.radians(LINEAR))


# ---- the result -----------------------------------------------------------------------------


def _finish(drawn: Chem.RWMol, valid: bool, findings: list[Finding]) -> Molecule:
    mol = Chem.RemoveHs(drawn, sanitize=valid)
    atoms = tuple(a.GetIntProp("_graph") for a in mol.GetAtoms())
    for atom in mol.GetAtoms():
        for name in ("_graph", "_x", "_y", "_label"):
            atom.ClearProp(name)
        if atom.GetAtomicNum():
            atom.SetAtomMapNum(0)
    for bond in mol.GetBonds():
        bond.ClearProp("_kind")
    if not valid:
        mol.UpdatePropertyCache(strict=False)
    smiles = Chem.MolToSmiles(mol)
    again = Chem.MolFromSmiles(smiles)
    if again is not None:
        smiles = Chem.MolToSmiles(again)
    elif valid:
        why = "RDKit does not read its own SMILES of this molecule"
        findings.append(Finding(FindingKind.SMILES, why, ()))
    return Molecule(mol, smiles, tuple(dict.fromkeys(findings)), atoms, valid)


def _molfile(mol: Chem.Mol, valid: bool) -> str:
    copy = Chem.RWMol(mol)
    # RDKit writes only a query bond as "any" (8); an unspecified one becomes an illegal 0.
    for i in [b.GetIdx() for b in copy.GetBonds() if b.GetBondType() == Chem.BondType.UNSPECIFIED]:
        copy.ReplaceBond(i, Chem.MolFromSmarts("*~*").GetBondWithIdx(0))
    large = copy.GetNumAtoms() > V2000_ATOMS or copy.GetNumBonds() > V2000_ATOMS
    return str(Chem.MolToMolBlock(copy, kekulize=valid, forceV3000=large))


def _cxsmiles(mol: Chem.Mol) -> str:
    fields = Chem.CXSmilesFields
    text = Chem.MolToCXSmiles(
        mol, Chem.SmilesWriteParams(), int(fields.CX_ATOM_LABELS | fields.CX_RADICALS)
    )
    return str(text)
