"""Chains laid out along horizontal and vertical lines, as printed formulas are.

Older patents, and Japanese ones to this day, write every atom of a chain, put the chain on one
line and its branches above and below it: CH3-C(=O)-CH2-C(=O)-CH3, or rings joined by CH=CH.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, Geometry, rdBase
from rdkit.Chem import rdDepictor

BOND = 1.5  # of RDKit's layouts
CLOSEST = 0.75  # bond lengths between atoms that are not bonded, at least
LARGEST_RINGS = 14  # atoms of a ring system that is laid out as one piece
TRIES = 4

Vector = NDArray[np.float64]


def lay_upright(mol: Chem.Mol, rng: np.random.Generator, text: float) -> bool:
    """Give a molecule such a layout, in which chains are straight and branches stand off them.

    Args:
        mol: sanitised, of one fragment; gets one conformer, in RDKit's units.
        rng: all chance comes from here.
        text: cap height of the texts in bond lengths, for which the bonds leave room.

    Returns:
        Whether it could be done; if not, the molecule has no conformer that is of use.
    """
    if mol.GetNumAtoms() < 3 or len(Chem.GetMolFrags(mol)) > 1:
        return False
    systems = _systems(mol)
    if any(len(system) > LARGEST_RINGS for system in systems):
        return False
    with rdBase.BlockLogs():
        rdDepictor.Compute2DCoords(mol, clearConfs=True)
    flat = mol.GetConformer().GetPositions()[:, :2] / BOND
    for _ in range(TRIES):
        places = _Layout(mol, systems, flat, rng, text).places
        if _is_clear(mol, places):
            conformer = mol.GetConformer()
            for i, (x, y) in enumerate(places * BOND):
                conformer.SetAtomPosition(i, Geometry.Point3D(float(x), float(y), 0.0))
            return True
    return False


def _systems(mol: Chem.Mol) -> list[set[int]]:
    """The atoms of each ring system; rings with an atom in common are one."""
    systems: list[set[int]] = []
    for ring in map(set, mol.GetRingInfo().AtomRings()):
        joined = [s for s in systems if s & ring]
        systems = [s for s in systems if not s & ring] + [ring.union(*joined)]
    return systems


def _is_clear(mol: Chem.Mol, places: Vector) -> bool:
    """Whether no two atoms that are not bonded lie on each other."""
    apart = np.hypot(*np.moveaxis(places[:, None] - places[None], 2, 0))
    apart[np.arange(len(places)), np.arange(len(places))] = math.inf
    for bond in mol.GetBonds():
        a, b = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        apart[a, b] = apart[b, a] = math.inf
    return bool(apart.min() > CLOSEST)


class _Layout:
    """One layout of a molecule: ring systems as they are, all else along the axes."""

    def __init__(
        self,
        mol: Chem.Mol,
        systems: list[set[int]],
        flat: Vector,
        rng: np.random.Generator,
        text: float,
    ) -> None:
        self.mol, self.flat, self.rng, self.text = mol, flat, rng, text
        self.system = {i: system for system in systems for i in system}
        self.wide = float(rng.uniform(0.9, 1.3))  # a bond along the line, without the text
        self.high = float(rng.uniform(0.85, 1.25))  # a bond across it
        self.forks = rng.random() < 0.6  # two equal branches at an end are spread like a fork
        self.places: Vector = np.full(flat.shape, np.nan)
        ends = [a.GetIdx() for a in mol.GetAtoms() if a.GetDegree() == 1] or [0]
        start = max(ends, key=lambda i: (self._reach(i, -1), rng.random()))
        along = np.array([1.0, 0.0]) if rng.random() < 0.85 else np.array([0.0, 1.0])
        self._put(start, -1, np.zeros(2), along)

    def _exits(self, atoms: set[int], parent: int) -> list[tuple[int, int]]:
        """The bonds (inside, outside) that leave a set of atoms, but for the one to the parent."""
        return [
            (i, n.GetIdx())
            for i in sorted(atoms)
            for n in self.mol.GetAtomWithIdx(i).GetNeighbors()
            if n.GetIdx() not in atoms and n.GetIdx() != parent
        ]

    def _reach(self, atom: int, parent: int) -> int:
        """How long the longest chain from an atom on is, a ring counted as three atoms."""
        atoms = self.system.get(atom, {atom})
        own = 1 if len(atoms) == 1 else 3
        return own + max((self._reach(b, a) for a, b in self._exits(atoms, parent)), default=0)

    def _put(self, atom: int, parent: int, at: Vector, way: Vector) -> None:
        """Place an atom, or the ring system that it is in, and all that hangs on it.

        Args:
            atom: the atom that is reached.
            parent: the atom from which it is reached; -1 at the start.
            at: (2,) where the atom comes to lie.
            way: (2,) the direction of the bond to it, of length 1.
        """
        if atom in self.system:
            self._put_rings(atom, parent, at, way)
            return
        self.places[atom] = at
        way = self._straightened(way)
        across = np.array([-way[1], way[0]]) * self.rng.choice((-1.0, 1.0))
        branches = sorted(
            (b for _, b in self._exits({atom}, parent)),
            key=lambda b: (self._reach(b, atom), self.rng.random()),
            reverse=True,
        )
        ways = [way, across, -across, -way]
        order = [self.mol.GetBondBetweenAtoms(atom, b).GetBondTypeAsDouble() for b in branches]
        if len(branches) == 2 and parent >= 0:
            reaches = [self._reach(b, atom) for b in branches]
            if self.forks and max(reaches) <= 3:
                slope = float(self.rng.uniform(0.6, 1.1))
                ways = [(way + slope * s * across) / math.hypot(1, slope) for s in (1, -1)]
            elif order[0] > 1 and reaches[0] <= reaches[1] + 1:
                branches.reverse()  # C=O stands across the chain
        for branch, leaving in zip(branches, ways, strict=False):
            self._put(branch, atom, at + leaving * self._length(atom, branch, leaving), leaving)

    def _straightened(self, way: Vector) -> Vector:
        """The axis that is nearest to a direction; rather the horizontal one."""
        if abs(way[0]) > 0.6 * abs(way[1]):
            return np.array([math.copysign(1.0, way[0]), 0.0])
        return np.array([0.0, math.copysign(1.0, way[1])])

    def _length(self, a: int, b: int, way: Vector) -> float:
        """The length of a bond, with room for the text of the atom on its left."""
        if abs(way[0]) < 0.5:
            return self.high
        left = self.mol.GetAtomWithIdx(a if way[0] > 0 else b)
        if left.GetIdx() in self.system:
            return self.wide
        hydrogens = left.GetTotalNumHs()
        glyphs = 1.0 * (hydrogens > 0) + 0.6 * (hydrogens > 1)
        return self.wide + glyphs * self.text * float(self.rng.uniform(0.8, 1.2))

    def _put_rings(self, atom: int, parent: int, at: Vector, way: Vector) -> None:
        atoms = self.system[atom]
        back = self.flat[atom] - self.flat[sorted(atoms)].mean(0)  # out of the rings, at the atom
        if parent >= 0 and self.mol.GetBondBetweenAtoms(atom, parent):
            back = self.flat[parent] - self.flat[atom]
        turn = math.atan2(-way[1], -way[0]) - math.atan2(back[1], back[0])
        c, s = math.cos(turn), math.sin(turn)
        turned = np.array([[c, s], [-s, c]])
        for i in atoms:
            self.places[i] = at + (self.flat[i] - self.flat[atom]) @ turned
        for a, b in self._exits(atoms, parent):
            leaving = (self.flat[b] - self.flat[a]) @ turned
            leaving /= math.hypot(*leaving) + 1e-9
            length = self._length(a, b, leaving)
            self._put(b, a, self.places[a] + leaving * length, leaving)
