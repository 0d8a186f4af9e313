"""A molecule -> the graph that a drawing of it shows; the way back from :mod:`molgaze.molecule`."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
from rdkit import Chem, rdBase

from ..molecule import BONDS
from ..stereo import WEDGES
from ..valence import FILLED, is_onium
from ..walk import Graph


def graph(mol: Chem.Mol, rng: random.Random | np.random.Generator | None = None) -> Graph:
    """What a drawing of ``mol`` shows.

    Double bonds are crossed where the mol says STEREOANY; one with STEREONONE is plain, so its
    places may give it a stereo that the mol has not. Hydrogens that a reader would not add,
    isotopes and unusual radicals are written as labels (``[13CH3]``, ``[PH5]``, ``[AlH]``).

    Args:
        mol: sanitised, with a 2D conformer (y up).
        rng: if given, one of the Kekulé forms at random instead of RDKit's.

    Raises:
        ValueError: no conformer.
    """
    if not mol.GetNumConformers():
        raise ValueError("the mol needs a 2D conformer")
    with rdBase.BlockLogs():
        plain = Chem.RWMol(mol)
        aromatic = {b.GetIdx() for b in plain.GetBonds() if b.GetIsAromatic()}
        Chem.Kekulize(plain, clearAromaticFlags=True)
        if rng is not None:
            _turn_kekule(plain, aromatic, rng)
        Chem.WedgeMolBonds(plain, plain.GetConformer())
        if rng is not None and rng.random() < 0.1:
            _move_wedges(plain, rng)
        texts = _texts(plain)
    bonds: list[tuple[int, int, str]] = []
    for bond in plain.GetBonds():
        kind = next((k for k, t in BONDS.items() if t == bond.GetBondType()), "?")
        if kind == "-":
            kind = next((k for k, d in WEDGES.items() if d == bond.GetBondDir()), "-")
        elif kind == "=" and (
            bond.GetStereo() == Chem.BondStereo.STEREOANY
            or bond.GetBondDir() == Chem.BondDir.EITHERDOUBLE
        ):
            kind = "x"
        bonds.append((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), kind))
    places = plain.GetConformer().GetPositions()[:, :2] * (1.0, -1.0)
    return Graph(texts, np.asarray(places, dtype=np.float64), bonds)


def _move_wedges(mol: Chem.RWMol, rng: random.Random | np.random.Generator) -> None:
    """Draw the stereo of some centres on another of their bonds, as on a bond of their ring."""
    for atom in mol.GetAtoms():
        if atom.GetChiralTag() == Chem.ChiralType.CHI_UNSPECIFIED or rng.random() < 0.3:
            continue
        marked = [b for b in atom.GetBonds() if b.GetBondDir() in WEDGES.values()]
        own = [b for b in marked if b.GetBeginAtomIdx() == atom.GetIdx()]
        free = [
            b
            for b in atom.GetBonds()
            if b.GetBeginAtomIdx() == atom.GetIdx()
            and b.GetBondType() == Chem.BondType.SINGLE
            and b.GetBondDir() == Chem.BondDir.NONE
            and b.GetOtherAtom(atom).GetChiralTag() == Chem.ChiralType.CHI_UNSPECIFIED
        ]
        if len(own) == len(marked) == 1 and free:
            own[0].SetBondDir(Chem.BondDir.NONE)
            chosen = free[int(rng.random() * len(free))]
            Chem.WedgeBond(chosen, atom.GetIdx(), mol.GetConformer())


def _turn_kekule(
    mol: Chem.RWMol, aromatic: set[int], rng: random.Random | np.random.Generator
) -> None:
    """Turn the double bonds of a kekulised mol round its benzene-like rings, at random."""
    for _ in range(2):
        for bonds in mol.GetRingInfo().BondRings():
            ring = [mol.GetBondWithIdx(i) for i in bonds]
            orders = [bond.GetBondType() for bond in ring]
            pair = {Chem.BondType.SINGLE, Chem.BondType.DOUBLE}
            alternate = all({a, b} == pair for a, b in pairwise(orders))
            if len(ring) != 6 or not alternate or rng.random() < 0.5:
                continue
            if any(bond.GetIdx() not in aromatic for bond in ring):
                continue
            for bond, order in zip(ring, orders[1:] + orders[:1], strict=True):
                bond.SetBondType(order)


def _texts(mol: Chem.RWMol) -> list[str]:
    """What is written at each atom of a kekulised mol."""
    bare = Chem.RWMol(mol)
    for atom in bare.GetAtoms():
        atom.SetNumExplicitHs(0)
        atom.SetNoImplicit(atom.GetSymbol() not in FILLED)
        if atom.GetNoImplicit():
            atom.SetNumRadicalElectrons(0)
    bare.UpdatePropertyCache(strict=False)
    texts = []
    for atom, read in zip(mol.GetAtoms(), bare.GetAtoms(), strict=True):
        if atom.GetAtomicNum() == 0:
            texts.append(_dummy(atom))
            continue
        element, charge, isotope = atom.GetSymbol(), atom.GetFormalCharge(), atom.GetIsotope()
        hydrogens = atom.GetTotalNumHs()
        if element == "H" and isotope in (2, 3):
            element, isotope = " DT"[isotope - 1], 0
        sign = ("+" if charge > 0 else "-") if charge else ""
        sign = f"{abs(charge)}{sign}" if abs(charge) > 1 else sign
        dots = "." * read.GetNumRadicalElectrons()
        if isotope or hydrogens != read.GetTotalNumHs() or len(dots) > 2 or is_onium(read):
            shown = f"H{hydrogens}" if hydrogens > 1 else "H" * hydrogens
            texts.append(f"[{isotope or ''}{element}{shown}{dots}{sign}]")
        else:
            texts.append(f"{element}{dots}{sign}")
    return texts


def _dummy(atom: Chem.Atom) -> str:
    for name in ("molFileAlias", "atomLabel", "dummyLabel"):
        if atom.HasProp(name) and atom.GetProp(name) not in ("", "*", "R"):
            return f"[{atom.GetProp(name).removeprefix('_')}]"
    return f"[R{atom.GetIsotope()}]" if 0 < atom.GetIsotope() < 100 else "*"
