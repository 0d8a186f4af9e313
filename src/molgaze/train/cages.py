"""Bridged ring systems as chemists draw them: a view of the cage in space, bonds crossing.

Flat layouts of quinuclidine, tropane, adamantane or norbornane are not what is printed; the usual
drawing is a projection of the cage, chosen so that every atom is seen apart.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, Geometry, rdBase
from rdkit.Chem import rdDepictor, rdDistGeom, rdForceFieldHelpers

MOST_ATOMS = 13  # of a cage; larger ones are drawn flat
LONGEST_RING = 7
BOND = 1.5  # of RDKit's layouts
VIEWS = 80  # looked at before one is chosen

# Cages to hang on molecules, for they are rarer in lists of molecules than in drawings of drugs;
# the first atom bears the bond.
CAGES = (
    *("C1CN2CCC1CC2", "C12CCN(CC1)CC2", "N1C2CCC1CCC2", "C1CC2CCC(C1)N2C", "C1CC2CCC(C1)N2"),
    *("C1C2CCC1CC2", "C1CC2CCC1C2", "C12CC3CC(CC(C3)C1)C2", "C1C2CC3CC(C2)CC1C3", "N1C2CCC1CC2"),
    *("C1CC2CCC1CC2", "C12CCC(CC1)CC2", "C1C2CC1C2(C)C", "C1CC2(C)CCC1C2(C)C", "N1CC2CCC(C1)O2"),
    *(
        "N1CC2CCC1C2",
        "N1CC2CCC(C1)C2",
        "N1CC2CCC1CN2C",
        "C1CC2CC1CN2",
        "C12CC(C1)C2",
        "C1OC2CCC1C2",
    ),
    *("N1CC2CNCC(C1)C2", "C1NC2CCC1CC2", "C1CC2CC(C1)CN2", "C1C2CC3CC1CN(C2)C3", "C1=CC2CC1C=C2"),
    *("C12(C)CC3CC(C1)CC(C3)C2", "C1C2CCC1C(=O)C2", "C1CC2(C)C(=O)CC1C2", "C1C2CC(=O)CC1CC2"),
    *("C1(C)CN2CCN1CC2", "N1C2CCC1CC(=O)C2", "C1C2OC(=O)C1CC2", "C1OC2COC1C2", "C1C2CCC1(C)C2=C"),
    "C1C2C3CC4C2CC1C4C3",
    *("C1C2CC3CC(C2)CC1(O)C3", "C1C2=CCC(C1)C2(C)C", "C1C2CCN1CCC2", "C1CC2CCC1S2"),
    *("N1CC2CC1CC2", "N1CC2CCC1CC2", "C1N2CN3CN1CN(C2)C3", "C1OC2OC(C1)CC2", "C1C2CNCC1OC2"),
)

#: Atoms of the three bridges between two bridgeheads -> how often they are made: norbornanes,
#: bicyclo[2.2.2]octanes, tropanes, pinanes and the like.
BRIDGES = {
    **{(2, 2, 1): 9, (2, 2, 2): 6, (3, 2, 1): 7, (3, 1, 1): 3, (3, 3, 1): 5, (2, 1, 1): 2},
    **{(3, 2, 2): 2, (4, 2, 1): 2, (1, 1, 1): 1, (4, 1, 1): 1},
}
FRAMES = (
    *("C1C2CC3CC1CC(C2)C3", "C1C2CC3CC1CC(C2)C3", "C1C2CC3CC1CC(C2)N3", "C1C2CC3CC2CC1C3"),
    *("C12C3C4C1C5C2C3C45", "C1C2CC3C1C3C2", "C1CC2C3CCC(C3)C2C1", "C1C2CC3CC(C1)C2C3"),
    *("C1CC2C3CCC2C1CC3", "C1C2C3CC4C2CC1C4C3", "C1C2CCC3C1C2CC3", "C1C2CC3C4CC1C(C2)C34"),
)  # SMILES of cages with more than three bridges, to bear groups
BORNE = (
    *("C", "C", "C", "O", "O", "OC", "=O", "=O", "Cl", "F", "NC", "N(C)C", "CC", "CO", "C(=O)O"),
    *("C(=O)OC", "OC(C)=O", "NC(C)=O", "C#N", "C=C", "c1ccccc1", "Cc1ccccc1", "OCc1ccccc1"),
    *("C(C)C", "[N+](=O)[O-]", "C(O)c1ccccc1", "NC(=O)c1ccccc1", "CN(C)C", "S(=O)(=O)C", "=C"),
)  # SMILES of what cages bear, which may begin with a double bond


def grown(mol: Chem.Mol, at: int, group: str) -> Chem.RWMol:
    """With a group, a SMILES that may begin with its bond, on an atom."""
    both = Chem.RWMol(Chem.CombineMols(mol, _group(group.lstrip("="))))
    order = Chem.BondType.DOUBLE if group[0] == "=" else Chem.BondType.SINGLE
    both.AddBond(at, mol.GetNumAtoms(), order)
    return both


@functools.cache
def _group(smiles: str) -> Chem.Mol:
    return Chem.MolFromSmiles(smiles)


def cage(rng: np.random.Generator) -> Chem.Mol | None:
    """A cage with groups, heteroatoms and perhaps a ring fused to it or a spiro ring; None if what
    chance makes is no sound molecule.
    """
    mol = Chem.RWMol(_group(str(rng.choice(FRAMES)))) if rng.random() < 0.25 else _bicycle(rng)
    if rng.random() < 0.2:
        for _ in range(int(rng.choice([1, 2, 3], p=[0.5, 0.35, 0.15]))):
            mol = _tied(mol, rng)
    for _ in range(int(rng.choice([1, 2, 3, 4], p=[0.3, 0.35, 0.25, 0.1]))):
        free = [
            a.GetIdx()
            for a in mol.GetAtoms()
            if a.GetAtomicNum() == 6 and not a.GetIsAromatic() and _room(a) and a.GetDegree() > 1
        ]
        if not free:
            break
        at = mol.GetAtomWithIdx(free[int(rng.integers(len(free)))])
        group = str(rng.choice(BORNE))
        if group[0] == "=" and (_room(at) < 2 or at.GetDegree() > 2):
            group = "C"
        mol = grown(mol, at.GetIdx(), group)
        if group == "C" and _room(mol.GetAtomWithIdx(at.GetIdx())) and rng.random() < 0.35:
            mol = grown(mol, at.GetIdx(), group)  # two methyls
    with rdBase.BlockLogs():
        if Chem.SanitizeMol(mol, catchErrors=True) != Chem.SanitizeFlags.SANITIZE_NONE:
            return None
    return mol.GetMol()


def _tied(mol: Chem.RWMol, rng: np.random.Generator) -> Chem.RWMol:
    """With a chain between two atoms that closes another ring of five or six, as alkaloids have."""
    free = [
        a.GetIdx()
        for a in mol.GetAtoms()
        if a.GetAtomicNum() == 6 and _room(a) and a.GetDegree() < 4
    ]
    apart = Chem.GetDistanceMatrix(mol, force=True)
    pairs = [(a, b) for a in free for b in free if a < b and 1 <= apart[a, b] <= 4]
    if not pairs:
        return mol
    a, b = pairs[int(rng.integers(len(pairs)))]
    count = int(rng.choice([5, 6, 6])) - 1 - int(apart[a, b])
    if count < 1:
        return mol
    first = mol.GetNumAtoms()
    mol = _fused(mol, a, b, count)
    if rng.random() < 0.4:
        at = first + int(rng.integers(count))
        mol.GetAtomWithIdx(at).SetAtomicNum(int(rng.choice([7, 7, 8])))
    elif count == 4 and apart[a, b] == 1 and all(_room(mol.GetAtomWithIdx(i)) for i in (a, b)):
        for i, j in ((a, b), (first, first + 1), (first + 2, first + 3)):  # a benzene ring
            mol.GetBondBetweenAtoms(i, j).SetBondType(Chem.BondType.DOUBLE)
    return mol


def _room(atom: Chem.Atom) -> int:
    """Bonds that a carbon of a molecule without hydrogens has left."""
    return 4 - int(sum(b.GetBondTypeAsDouble() for b in atom.GetBonds()))


def _bicycle(rng: np.random.Generator) -> Chem.RWMol:
    """Two bridgeheads with three bridges between them."""
    shapes = list(BRIDGES)
    weights = np.array(list(BRIDGES.values()), dtype=np.float64)
    lengths = shapes[int(rng.choice(len(shapes), p=weights / weights.sum()))]
    mol = Chem.RWMol()
    for _ in range(2 + sum(lengths)):
        mol.AddAtom(Chem.Atom(6))
    bridges, new = [], 2
    for length in lengths:
        bridge = [0, *range(new, new + length), 1]
        new += length
        for a, b in pairwise(bridge):
            mol.AddBond(a, b, Chem.BondType.SINGLE)
        bridges.append(bridge[1:-1])
    if rng.random() < 0.15:
        mol.GetAtomWithIdx(0).SetAtomicNum(7)
    shortest = bridges[-1]
    wide = [bridge for bridge in bridges if len(bridge) > 1]
    if rng.random() < 0.5:
        at = shortest[0] if rng.random() < 0.6 else int(rng.integers(2, new))
        element = int(rng.choice([7, 7, 7, 8, 8, 16]))
        if mol.GetAtomWithIdx(0).GetAtomicNum() == 6 or element == 7:
            mol.GetAtomWithIdx(at).SetAtomicNum(element)
        if element == 7 and rng.random() < 0.75:
            tail = str(rng.choice(["C", "C", "C", "CC", "C(=O)OC(C)(C)C", "Cc1ccccc1", "C(C)=O"]))
            if mol.GetAtomWithIdx(at).GetAtomicNum() == 7:
                mol = grown(mol, at, tail)
    if wide and rng.random() < 0.4:  # in a bridge of two and more: a double bond, or another ring
        bridge = wide[int(rng.integers(len(wide)))]
        a, b = bridge[:2]
        atoms = (mol.GetAtomWithIdx(a), mol.GetAtomWithIdx(b))
        if all(atom.GetAtomicNum() == 6 for atom in atoms):
            pick = rng.random()
            if pick < 0.5:
                mol.GetBondBetweenAtoms(a, b).SetBondType(Chem.BondType.DOUBLE)
            elif pick < 0.75:
                mol = _fused(mol, a, b, int(rng.integers(1, 5)))
            else:
                mol = _benzo(mol, a, b)
    elif rng.random() < 0.1:  # a ring that shares one atom
        spiro = [i for i in range(2, new) if mol.GetAtomWithIdx(i).GetAtomicNum() == 6]
        if spiro:
            at = spiro[int(rng.integers(len(spiro)))]
            mol = _fused(mol, at, at, int(rng.integers(3, 6)))
    return mol


def _fused(mol: Chem.RWMol, a: int, b: int, count: int) -> Chem.RWMol:
    """With a chain of so many carbons from atom a to atom b."""
    last = a
    for _ in range(count):
        new = mol.AddAtom(Chem.Atom(6))
        mol.AddBond(last, new, Chem.BondType.SINGLE)
        last = new
    mol.AddBond(last, b, Chem.BondType.SINGLE)
    return mol


def _benzo(mol: Chem.RWMol, a: int, b: int) -> Chem.RWMol:
    """With a benzene ring fused to the bond of atoms a and b."""
    ring = [a, *(mol.AddAtom(Chem.Atom(6)) for _ in range(4)), b]
    for k, (i, j) in enumerate(pairwise(ring)):
        mol.AddBond(i, j, Chem.BondType.SINGLE if k % 2 else Chem.BondType.DOUBLE)
    return mol


def bridged(mol: Chem.Mol) -> list[tuple[int, ...]]:
    """The atoms of each small ring system in which two rings share more than one bond."""
    rings = [set(ring) for ring in mol.GetRingInfo().AtomRings()]
    systems: list[tuple[set[int], bool, int]] = []
    for ring in rings:
        whole, has_bridge, longest = set(ring), False, len(ring)
        apart = []
        for atoms, bridge, length in systems:
            shared = len(atoms & ring)
            if shared >= 2:
                whole |= atoms
                has_bridge |= bridge
                longest = max(longest, length)
            else:
                apart.append((atoms, bridge, length))
        has_bridge |= any(len(ring & other) > 2 for other in rings if other is not ring)
        if not has_bridge and len(ring) < 5:  # cubanes: three small rings at one atom
            has_bridge = any(sum(a in other for other in rings if len(other) < 6) > 2 for a in ring)
        systems = [*apart, (whole, has_bridge, longest)]
    return [
        tuple(sorted(atoms))
        for atoms, bridge, longest in systems
        if bridge and len(atoms) <= MOST_ATOMS and longest <= LONGEST_RING
    ]


def draw_in_space(mol: Chem.Mol, rng: np.random.Generator) -> bool:
    """Lay out a molecule with its largest cage seen in space; False if it has none, or if what
    hangs on the cage would lie on top of it.
    """
    cages = bridged(mol)
    if not cages:
        return False
    atoms = max(cages, key=len)
    index = {a: i for i, a in enumerate(atoms)}
    bonds = tuple(
        (index[b.GetBeginAtomIdx()], index[b.GetEndAtomIdx()])
        for b in mol.GetBonds()
        if b.GetBeginAtomIdx() in index and b.GetEndAtomIdx() in index
    )
    spots = _in_space(len(atoms), bonds)
    if spots is None:
        return False
    flat = _view(spots, bonds, rng).tolist()
    places = {a: Geometry.Point2D(x, y) for a, (x, y) in zip(atoms, flat, strict=True)}
    with rdBase.BlockLogs():
        rdDepictor.Compute2DCoords(mol, coordMap=places, clearConfs=True)
    return not _is_crossed(mol, set(atoms))


def _is_crossed(mol: Chem.Mol, atoms: set[int]) -> bool:
    """True if more than one bond outside a cage crosses another bond: what hangs on the cage lies
    on top of it.
    """
    if mol.GetNumAtoms() < len(atoms) + 3:
        return False
    bonds = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in mol.GetBonds()]
    is_outside = np.array([a not in atoms or b not in atoms for a, b in bonds])
    xy = mol.GetConformer().GetPositions()[:, :2]
    first, second = np.array(bonds).T
    share, _ = _crossings(xy[first], xy[second] - xy[first])
    inner = (share > 0.05) & (share < 0.95)
    return bool((inner & inner.T & is_outside[:, None]).any(1).sum() > 1)


@functools.lru_cache(maxsize=8000)
def _in_space(count: int, bonds: tuple[tuple[int, int], ...]) -> NDArray[np.float64] | None:
    """(n, 3) places of the saturated hydrocarbon with these bonds; None if there is none."""
    cage = Chem.RWMol()
    for _ in range(count):
        cage.AddAtom(Chem.Atom(6))
    for a, b in bonds:
        cage.AddBond(a, b, Chem.BondType.SINGLE)
    try:
        with rdBase.BlockLogs():
            Chem.SanitizeMol(cage)
            whole = Chem.AddHs(cage)
            # possible cages take six attempts at most; hundreds, half a second, are the default
            if rdDistGeom.EmbedMolecule(whole, maxAttempts=10, randomSeed=7) != 0:
                return None
            rdForceFieldHelpers.MMFFOptimizeMolecule(whole, maxIters=40)
    except (RuntimeError, ValueError):
        return None
    return np.asarray(whole.GetConformer().GetPositions()[:count], dtype=np.float64)


def _view(
    spots: NDArray[np.float64], bonds: Sequence[tuple[int, int]], rng: np.random.Generator
) -> NDArray[np.float64]:
    """(n, 2) one of the clearest of many views, median bond as in RDKit's layouts."""
    turns = np.linalg.qr(rng.normal(size=(VIEWS, 3, 3)))[0]
    flat = ((spots - spots.mean(0)) @ turns)[:, :, :2]  # (V, n, 2)
    a, b = np.array(bonds).T
    start, along = flat[:, a], flat[:, b] - flat[:, a]  # (V, m, 2)
    length = np.linalg.norm(along, axis=-1)
    offset = flat[:, :, None] - start[:, None]  # (V, n, m, 2)
    share = (offset * along[:, None]).sum(-1) / np.maximum(length**2, 1e-9)[:, None]
    nearest = offset - np.clip(share, 0, 1)[..., None] * along[:, None]
    away = np.linalg.norm(nearest, axis=-1)  # (V, n, m) of every atom from every bond
    away[:, a, np.arange(len(a))] = away[:, b, np.arange(len(b))] = np.inf
    unit = np.median(length, axis=1)
    clear = np.minimum(away.min((1, 2)), 0.7 * length.min(1)) / unit
    best = np.argsort(-clear)[:5]
    pick = int(best[int(rng.integers(len(best)))])
    return np.asarray(flat[pick] * (BOND / unit[pick]))


def hang(mol: Chem.Mol, rng: np.random.Generator) -> Chem.Mol:
    """Put a cage in the place of a hydrogen; the molecule itself where that can't be."""
    sites = [
        a.GetIdx()
        for a in mol.GetAtoms()
        if a.GetAtomicNum() in (6, 7, 8)
        and a.GetTotalNumHs()
        and not a.GetFormalCharge()
        and a.GetChiralTag() == Chem.ChiralType.CHI_UNSPECIFIED
    ]
    if not sites:
        return mol
    cage = Chem.MolFromSmiles(CAGES[int(rng.integers(len(CAGES)))])
    both = Chem.RWMol(Chem.CombineMols(mol, cage))
    site = both.GetAtomWithIdx(sites[int(rng.integers(len(sites)))])
    both.AddBond(site.GetIdx(), mol.GetNumAtoms(), Chem.BondType.SINGLE)
    site.SetNumExplicitHs(max(site.GetNumExplicitHs() - 1, 0))
    try:
        with rdBase.BlockLogs():
            Chem.SanitizeMol(both)
    except ValueError:
        return mol
    return both.GetMol()


def interrupt(
    ink: NDArray[np.uint8],
    places: NDArray[np.float64],
    bonds: Sequence[tuple[int, int, str]],
    bond: float,
    line: float,
    rng: np.random.Generator,
) -> int:
    """Interrupt one of two bonds where plain bonds cross, as if the other lay in front of it.

    Args:
        ink: (H, W) ink 0 to 255, which is changed.
        places: (n, 2) where the atoms are, pixels; pixel centres are whole numbers.
        bonds: of a graph.
        bond: length of a bond, pixels.
        line: width of a line, pixels.
        rng: which bond lies in front, and how wide the gap is.

    Returns:
        How many crossings were changed.
    """
    plain = [(a, b) for a, b, kind in bonds if kind == "-"]
    if len(plain) < 2:
        return 0
    first, second = np.array(plain).T
    start, along = places[first], places[second] - places[first]
    length = np.linalg.norm(along, axis=1)
    share, turn = _crossings(start, along)
    sine = turn / np.maximum(length[:, None] * length[None], 1e-9)
    inner = (share > 0.2) & (share < 0.8)
    crossed = np.argwhere(np.triu(inner & inner.T & (np.abs(sine) > 0.4)))
    gap = float(rng.uniform(0.06, 0.16)) * bond + line / 2
    for pair in crossed.tolist():
        front, back = pair if rng.random() < 0.5 else pair[::-1]
        way = along[front] / length[front]
        across = np.array([-way[1], way[0]])
        middle = start[front] + share[front, back] * along[front]
        reach = line / abs(sine[front, back]) + gap * abs(1 / sine[front, back] ** 2 - 1) ** 0.5 + 1
        for half, beyond, grey in ((gap, 0.0, 0), (max(line - 1, 0) / 2, 1.0, 255)):
            corners = [
                middle + i * (reach + beyond) * way + j * half * across
                for i, j in ((-1, -1), (-1, 1), (1, 1), (1, -1))
            ]
            fixed = np.round(np.array(corners) * 16).astype(np.int32)
            cv2.fillConvexPoly(ink, fixed, grey, cv2.LINE_8, 4)
    return len(crossed)


def _crossings(
    start: NDArray[np.float64], along: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where lines cross: ``[i, j]`` how far along line i, as a share of it, line j crosses it, not
    a number where they are parallel; and the cross product of the two.

    Args:
        start: (m, 2) where the lines begin.
        along: (m, 2) from there to their ends.
    """
    offset = start[None] - start[:, None]  # (m, m, 2)
    turn = along[:, None, 0] * along[None, :, 1] - along[:, None, 1] * along[None, :, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (offset[..., 0] * along[None, :, 1] - offset[..., 1] * along[None, :, 0]) / turn
    return share, turn
