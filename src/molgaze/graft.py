"""Puts the atoms that a label stands for in its place, with its bonds and its stereo."""

from __future__ import annotations

import math
import re

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdDepictor

from .finding import Finding, Kind
from .formula import name_variable
from .label import expand as expand_label
from .label import is_variable, is_word
from .origin import kind_of, source, spot, trace, trace_bond
from .valence import FILLED

_ORDER = {Chem.BondType.DOUBLE: 2, Chem.BondType.TRIPLE: 3, Chem.BondType.QUADRUPLE: 4}
NUMBER = {Chem.GetPeriodicTable().GetElementSymbol(number): number for number in range(1, 119)} | {
    "*": 0
}
_NUMBERED = re.compile(
    r"^(?P<isotope>\d{1,3})?(?P<element>[A-Z][a-z]?)(?:(?P<h>H)(?P<hs>\d{1,2})?)?"
    r"(?P<dots>\.{0,4})(?:(?P<size>\d)?(?P<sign>\++|-+))?(?P<late>\.{0,4})$"
)
# 2Cl- beside a molecule are two chlorides, no isotope.
_COUNTED = re.compile(r"(?!6Li)[2-6](?!H[+-]?$)[A-Z]")
_H_FIRST = re.compile(r"^(H\d?)([A-Z][a-z]?)$")


def graft(
    mol: Chem.RWMol,
    i: int,
    text: str,
    glyphs: NDArray[np.float64] | None,
    scale: float,
    expand: bool,
    findings: list[Finding],
) -> bool:
    """Put what a label stands for in the place of a dummy atom.

    Args:
        mol: whose atoms and bonds are traced (:mod:`molgaze.origin`); it is changed.
        i: the dummy atom.
        text: of the label.
        glyphs: (characters, 2) their places, y down; None if these are not known.
        scale: length of a bond in pixels.
        expand: as of :func:`molgaze.molecule.molecule`.
        findings: to which it is added what the label was read as.

    Returns:
        True if the dummy atom is to be removed.
    """
    holder = mol.GetAtomWithIdx(i)
    at_first = _bond_is_first(holder, glyphs)

    def rank(bond: Chem.Bond) -> tuple[float, float]:
        bx, by = spot(bond.GetOtherAtom(mol.GetAtomWithIdx(i)))
        return bx, -by

    hands = sorted(holder.GetBonds(), key=rank)
    orders = tuple(_ORDER.get(bond.GetBondType(), 1) for bond in hands)
    if text == "*":  # an attachment point
        return False
    # "Ac" and "Pr" in a label are groups, as elements they would be atoms of their own.
    is_counted = not orders and _COUNTED.match(text)
    match = None if text in NUMBER or is_counted else _NUMBERED.match(_H_FIRST.sub(r"\2\1", text))
    if match is not None and match["element"] in NUMBER and not is_word(match["element"]):
        _single(holder, match, sum(orders))
        if match["h"] and holder.GetNumExplicitHs() > int(match["hs"] or 1):
            more = (
                f"label {text!r} read with {holder.GetNumExplicitHs()} hydrogens, as its bonds ask"
            )
            findings.append(Finding(Kind.HYDROGENS, more, (i,)))
        return False
    known = False
    for first in (at_first, not at_first) if len(hands) == 1 else (True,):
        found = expand_label(text, orders, first)
        if found is None:
            continue
        known = True
        if not expand and sum(atom.GetAtomicNum() > 1 for atom in found.mol.GetAtoms()) > 1:
            break
        if _insert(mol, i, found.mol, hands, scale):
            if found.text != text:
                other = f"label {text!r} is unknown and read as {found.text!r}, which looks alike"
                findings.append(Finding(Kind.RESPELLED_LABEL, other, (i,)))
            return True
    name_variable(holder, text)
    if known or holder.GetIsotope():
        return False
    if not hands:
        unknown = f"label {text!r} stands alone and is unknown"
        findings.append(Finding(Kind.UNKNOWN_LABEL, unknown, (i,)))
    elif not is_variable(text):
        unknown = f"label {text!r} is unknown and kept as it is"
        findings.append(Finding(Kind.UNKNOWN_LABEL, unknown, (i,)))
    return False


def _bond_is_first(holder: Chem.Atom, glyphs: NDArray[np.float64] | None) -> bool:
    """Whether the bond of a label is at its first glyph rather than at its last.

    A label's place is where its bonds meet it, so the nearer of the two glyphs tells; where there
    are no places of glyphs, or it is between the two, the direction of the leftmost bond does.
    """
    x, y = spot(holder)
    if glyphs is not None and len(glyphs) > 1:
        ends = np.asarray(glyphs, dtype=np.float64)[[0, -1]] - (x, -y)
        near, far = np.hypot(*ends.T)
        if max(near, far) > 2 * min(near, far):
            return bool(near < far)
    others = [spot(other) for other in holder.GetNeighbors()]
    ox, oy = min(others, default=(x, y), key=lambda spot: (spot[0], -spot[1]))
    return ox <= x + 0.35 * abs(oy - y)


def _single(atom: Chem.Atom, match: re.Match[str], valence: int) -> None:
    """Make ``atom`` the one atom that a label such as 13CH3 or PH5 spells."""
    element = match["element"]
    atom.SetAtomicNum(NUMBER[element])
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


def _insert(mol: Chem.RWMol, i: int, part: Chem.Mol, hands: list[Chem.Bond], scale: float) -> bool:
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
    here = np.array(spot(holder))
    away = [np.array(spot(b.GetOtherAtom(holder))) - here for b in hands]
    spots = _layout(part, [ends[k + 1].GetIdx() for k in range(len(hands))], away, scale)
    for atom, (x, y) in zip(part.GetAtoms(), spots + here, strict=True):
        trace(atom, source(holder), (float(x), float(y)), of_label=True)
    links = [
        (ends[k + 1].GetIdx(), ends[k + 1].GetNeighbors()[0].GetIdx()) for k in range(len(hands))
    ]
    ways = [
        (b.GetOtherAtomIdx(i), b.GetBeginAtomIdx() == i, b.GetBondType(), kind_of(b)) for b in hands
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
        trace_bond(mol.GetBondBetweenAtoms(begin, finish), kind)
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
