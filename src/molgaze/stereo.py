"""Stereo of a drawn molecule, from its wedges and places.

Atoms and bonds carry what was drawn in the properties of :mod:`molgaze.origin`.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
from rdkit import Chem

from .finding import Finding, Kind
from .origin import bonds_of, find, is_of_label, kind_of, spot
from .valence import sanitise

#: A double bond keeps its stereo only if a neighbour leaves its line by more than this (degrees);
#: places are good to 1-3 px and bonds are about 20 px long.
LINEAR = 15.0
#: Largest ring in which a double bond has no stereo.
SMALL_RING = 7
#: Property of a single bond that holds how it was drawn, a key of `WEDGES`; it begins at the narrow
#: end.
MARK = "_drawnAs"
WEDGES = {"w": Chem.BondDir.BEGINWEDGE, "h": Chem.BondDir.BEGINDASH, "~": Chem.BondDir.UNKNOWN}


def perceive(mol: Chem.RWMol, valid: bool, findings: list[Finding]) -> None:
    """Tetrahedral stereo from wedges and places, double-bond stereo from places."""
    marked: set[int] = set()
    wavy: set[int] = set()
    for bond in bonds_of(mol):
        kind = kind_of(bond)
        if kind in WEDGES:
            bond.SetBondDir(WEDGES[kind])
            bond.SetProp(MARK, kind)
        if kind in ("w", "h"):
            marked.add(bond.GetBeginAtomIdx())
        if kind == "~":
            wavy |= {bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()}
    Chem.AssignChiralTypesFromBondDirs(mol, replaceExistingTags=False)
    for bond in bonds_of(mol):
        if bond.GetBondType() == Chem.BondType.SINGLE:
            bond.SetBondDir(Chem.BondDir.NONE)
    mol.ClearComputedProps()
    Chem.FastFindRings(mol)
    rings = mol.GetRingInfo()
    for bond in bonds_of(mol):
        if bond.GetBondType() != Chem.BondType.DOUBLE:
            continue
        if rings.NumBondRings(bond.GetIdx()) and rings.MinBondRingSize(bond.GetIdx()) <= SMALL_RING:
            continue
        a, b = bond.GetBeginAtom(), bond.GetEndAtom()
        crossed = kind_of(bond) == "x"
        if a.GetDegree() == 1 or b.GetDegree() == 1:
            continue
        if crossed or {a.GetIdx(), b.GetIdx()} & wavy or _is_vague(a, b) or _is_vague(b, a):
            bond.SetBondDir(Chem.BondDir.EITHERDOUBLE)
    sanitise(mol, valid)
    Chem.DetectBondStereoChemistry(mol, mol.GetConformer())
    Chem.AssignStereochemistry(mol, cleanIt=True, force=True)
    for i in sorted(marked):
        atom = mol.GetAtomWithIdx(i)
        if atom.GetChiralTag() == Chem.ChiralType.CHI_UNSPECIFIED:
            find(findings, Kind.NO_STEREO, atom, "the wedge drawn from it gives no stereo")


def wedge_as_drawn(mol: Chem.RWMol, others: Collection[int] = ()) -> None:
    """Sets the directions of bonds: as they were drawn, and as RDKit chooses them for the
    stereocentres that no wedge was drawn from.

    Args:
        mol: with the property `MARK` on bonds that were drawn as wedges.
        others: atoms from which wedges lead to what is no atom of mol.
    """
    drawn = [
        (bond.GetIdx(), bond.GetBeginAtomIdx(), bond.GetProp(MARK))
        for bond in bonds_of(mol)
        if bond.HasProp(MARK)
    ]
    Chem.WedgeMolBonds(mol, mol.GetConformer())
    marked = {begin for _, begin, _ in drawn} | set(others)
    for bond in bonds_of(mol):
        if bond.GetBeginAtomIdx() in marked and bond.GetBondType() == Chem.BondType.SINGLE:
            bond.SetBondDir(Chem.BondDir.NONE)
    for i, begin, kind in drawn:
        bond = mol.GetBondWithIdx(i)
        if bond.GetBeginAtomIdx() == begin:
            bond.SetBondDir(WEDGES[kind])


def _is_vague(atom: Chem.Atom, other: Chem.Atom) -> bool:
    """True if the neighbours of a double-bonded atom lie so near the bond's line, or on one
    side of it, that their places do not tell cis from trans."""
    x, y = spot(atom)
    ox, oy = spot(other)
    axis = np.array((x - ox, y - oy))
    if is_of_label(atom) and atom.GetDegree() > 1:
        inner = [n for n in atom.GetNeighbors() if is_of_label(n)]
        if inner:
            return True
    sides: list[float] = []
    for n in atom.GetNeighbors():
        if n.GetIdx() == other.GetIdx():
            continue
        nx, ny = spot(n)
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
