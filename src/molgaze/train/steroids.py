"""Steroids of many kinds, none as nature makes it: the skeleton, what it bears, stereo by chance.

Their drawings are hard to read for what stands inside the rings: hydrogens on short wedges and
hashes, methyls at the joints, a bond or two of the next ring beside them.
"""

from __future__ import annotations

import numpy as np
from rdkit import Chem, rdBase

from .cages import grown

_BONDS = (
    *((1, 2), (2, 3), (3, 4), (4, 5), (5, 10), (10, 1), (5, 6), (6, 7), (7, 8), (8, 9), (9, 10)),
    *((9, 11), (11, 12), (12, 13), (13, 14), (14, 8), (14, 15), (15, 16), (16, 17), (17, 13)),
)  # of gonane, by the numbers of its carbons
# The first ring and the one beside it: double bonds, and what stands at carbon 3.
_KINDS: tuple[tuple[float, tuple[tuple[int, int], ...], tuple[str, ...]], ...] = (
    (0.36, (), ("O", "O", "OC(C)=O", "=O", "N", "OC", "OS(=O)(=O)O", "OC(=O)CCC(=O)O", "F")),
    (0.22, ((5, 6),), ("O", "OC(C)=O", "OC", "=O", "Cl", "OCC", "OC(=O)c1ccccc1")),
    (0.18, ((4, 5),), ("=O", "=O", "=NO", "O", "=C")),
    (0.1, ((1, 2), (4, 5)), ("=O",)),
    (0.12, ((1, 2), (3, 4), (5, 10)), ("O", "OC", "OC(C)=O", "OCc1ccccc1", "OC(=O)c1ccccc1", "F")),
    (0.02, ((5, 6), (7, 8)), ("O", "OC(C)=O")),
)
_AT_17 = (
    *("=O", "OC(C)=O", "OC(=O)CC", "C(C)=O", "C(=O)CO", "C(=O)O", "C(=O)COC(C)=O", "C(=O)NC"),
    *("C(C)CCC(=O)O", "C(C)CCC(=O)OC", "C(C)CCC(C)C(C)C", "C(C)C=CC(C)C(C)C", "C(C)CCCC(C)CO"),
    *("C(C)(O)CCCC(C)C", "C(C)CCC(=C)C(C)C", "C(CO)CCC(C)C", "C(C)CO", "C1=CC(=O)OC1", "C(=C)C"),
    *("c1cccnc1", "C(C)CCC(O)C(C)(C)O", "C(C)C1CC(C)=C(C)C(=O)O1", "C1=CC(=O)OC=C1", "CC"),
)
_SECOND = ("C#C", "C", "C=C", "CC", "C(C)=O", "C(=O)CO")  # at 17, with an oxygen as the first
_ANYWHERE = ("O", "O", "O", "=O", "=O", "C", "C", "F", "Cl", "OC(C)=O", "OC", "CO", "C=O", "CC")
_SUGARS = (
    *("C1CC(O)C(O)C(C)O1", "C1CC(O)C(OC)C(C)O1", "C1OC(CO)C(O)C(O)C1O", "C1OC(C)C(O)C(O)C1O"),
    *("C1CC(O)C(N(C)C)C(C)O1", "C1CC(C)(O)C(O)C(C)O1", "C1OCC(O)C(O)C1O", "C1OC(CO)C(O)C1O"),
    *("C1CC(C)(OC)C(O)C(C)O1", "C1OC(C)CC(N(C)C)C1O", "C1OC(C(=O)O)C(O)C(O)C1O"),
)  # their first atom bears the bond


def steroid(rng: np.random.Generator) -> Chem.Mol | None:
    """A steroid without stereo; None if what chance makes is no sound molecule."""
    mol = Chem.RWMol()
    for _ in range(17):
        mol.AddAtom(Chem.Atom(6))
    for a, b in _BONDS:
        mol.AddBond(a - 1, b - 1, Chem.BondType.SINGLE)
    shares = np.array([share for share, _, _ in _KINDS])
    _, doubles, at_3 = _KINDS[int(rng.choice(len(_KINDS), p=shares / shares.sum()))]
    for a, b in doubles:
        mol.GetBondBetweenAtoms(a - 1, b - 1).SetBondType(Chem.BondType.DOUBLE)
    borne = {3: str(rng.choice(at_3)), 13: "C" if rng.random() < 0.92 else "CC"}
    if (5, 10) not in doubles and rng.random() < 0.9:
        borne[10] = "C"
    has_second = rng.random() < 0.2
    borne[17] = "O" if has_second else str(rng.choice(_AT_17))
    for at, chance in ((9, 0.08), (14, 0.08), (5, 0.08), (8, 0.03)):
        if rng.random() < chance:
            borne[at] = str(rng.choice(["O", "F", "C", "O"]))
    for at in (1, 2, 4, 6, 7, 11, 12, 15, 16):
        if rng.random() < 0.13:
            borne[at] = str(rng.choice(_ANYWHERE))
    if rng.random() < 0.1:
        at = int(rng.choice([2, 4, 6, 7, 11, 12, 15, 16]))
        if at not in borne:
            mol.GetAtomWithIdx(at - 1).SetAtomicNum(int(rng.choice([7, 8, 16])))
    for at, group in borne.items():
        atom = mol.GetAtomWithIdx(at - 1)
        used = sum(b.GetBondTypeAsDouble() for b in atom.GetBonds())
        if used + (2 if group[0] == "=" else 1) <= 4 and atom.GetAtomicNum() == 6:
            mol = grown(mol, at - 1, group)
    if has_second:
        mol = grown(mol, 16, str(rng.choice(_SECOND)))
    if (11, 12) not in doubles and not {9, 11, 12} & set(borne) and rng.random() < 0.08:
        mol.GetBondBetweenAtoms(8, 10).SetBondType(Chem.BondType.DOUBLE)
    with rdBase.BlockLogs():
        if Chem.SanitizeMol(mol, catchErrors=True) != Chem.SanitizeFlags.SANITIZE_NONE:
            return None
    return mol.GetMol()


def glycoside(mol: Chem.Mol, rng: np.random.Generator, most: int = 3) -> Chem.Mol | None:
    """With one to ``most`` sugars in a chain, or apart, on hydroxyl groups of a molecule; None if
    it has none of these.
    """
    whole = Chem.Mol(mol)
    count = int(rng.integers(1, most + 1))
    is_chain = rng.random() < 0.5
    floor = 0
    for k in range(count):
        free = [
            a.GetIdx()
            for a in whole.GetAtoms()
            if a.GetAtomicNum() == 8
            and a.GetDegree() == 1
            and a.GetTotalNumHs() == 1
            and a.GetIdx() >= floor
            and a.GetNeighbors()[0].GetHybridization() == Chem.HybridizationType.SP3
        ]
        if not free:
            return whole if k else None
        if is_chain:
            floor = whole.GetNumAtoms()
        with rdBase.BlockLogs():
            both = grown(whole, free[int(rng.integers(len(free)))], str(rng.choice(_SUGARS)))
            if Chem.SanitizeMol(both, catchErrors=True) != Chem.SanitizeFlags.SANITIZE_NONE:
                return None
        whole = both.GetMol()
    return whole
