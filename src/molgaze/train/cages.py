"""Bridged ring systems as chemists draw them: a view of the cage in space, bonds crossing.

Flat layouts of quinuclidine, tropane, adamantane or norbornane are not what is printed; the usual
drawing is a projection of the cage, chosen so that every atom is seen apart.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

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
        systems = [*apart, (whole, has_bridge, longest)]
    return [
        tuple(sorted(atoms))
        for atoms, bridge, longest in systems
        if bridge and len(atoms) <= MOST_ATOMS and longest <= LONGEST_RING
    ]


def draw_in_space(mol: Chem.Mol, rng: np.random.Generator) -> bool:
    """Lay out a molecule with its largest cage seen in space; False, and nothing done, if it has
    none.
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
    return True


@functools.lru_cache(maxsize=2000)
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
            if rdDistGeom.EmbedMolecule(whole, randomSeed=7) != 0:
                return None
            rdForceFieldHelpers.MMFFOptimizeMolecule(whole)
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
