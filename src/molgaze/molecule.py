"""A drawn graph -> an RDKit molecule with stereo, names and molfile; and the way back, for drawing.

Places are pixels with y down, conformers are the same numbers with y up (negated).
"""

from __future__ import annotations

import math
import random
import re
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from rdkit import Chem, Geometry, rdBase
from rdkit.Chem import rdDepictor, rdinchi

from molgaze.label import fragment, is_variable
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

_BOND = {
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
_WEDGE = {"w": Chem.BondDir.BEGINWEDGE, "h": Chem.BondDir.BEGINDASH, "~": Chem.BondDir.UNKNOWN}
_NUMBER = {Chem.GetPeriodicTable().GetElementSymbol(number): number for number in range(1, 119)} | {
    "*": 0
}
_NUMBERED = re.compile(
    r"^(?P<isotope>\d{1,3})?(?P<element>[A-Z][a-z]?)(?:(?P<h>H)(?P<hs>\d{1,2})?)?"
    r"(?P<dots>\.{0,4})(?:(?P<size>\d)?(?P<sign>\++|-+))?(?P<late>\.{0,4})$"
)
_H_FIRST = re.compile(r"^(H\d?)([A-Z][a-z]?)$")
_R_GROUP = re.compile(r"^R(\d{1,2})$")


class MoleculeError(ValueError):
    """The graph is no molecule; the text says which atom is at fault and where it lies."""


@dataclass(frozen=True)
class Molecule:
    """What a graph stands for.

    Attributes:
        mol: sanitised, with a 2D conformer: x as in the picture, y its negative (pixels).
        smiles: RDKit canonical, full stereo; equal to ``Chem.CanonSmiles`` of the same molecule.
        warnings: what was read otherwise than drawn.
        atoms: for each atom of mol the atom of the graph that it came from.
    """

    mol: Chem.Mol
    smiles: str
    warnings: tuple[str, ...]
    atoms: tuple[int, ...]

    # Made when they are asked for: of several attempts at a picture all but one are discarded.

    @cached_property
    def cxsmiles(self) -> str | None:
        """With the labels that plain SMILES cannot hold; None if there are none."""
        labelled = any(a.HasProp("atomLabel") for a in self.mol.GetAtoms())
        return _cxsmiles(self.mol) if labelled else None

    @cached_property
    def molfile(self) -> str:
        """V2000, or V3000 above 999 atoms or bonds; coordinates of the conformer."""
        return _molfile(self.mol)

    @cached_property
    def inchikey(self) -> str | None:
        """None where InChI has no answer (labels left as dummy atoms)."""
        with rdBase.BlockLogs():
            return rdinchi.MolToInchiKey(self.mol) or None


def molecule(graph: Graph) -> Molecule:
    """Turn a graph with places into a molecule.

    Args:
        graph: atoms, places (n, 2) in pixels with y down, and bonds.

    Raises:
        MoleculeError: no atoms, a bond that cannot be, an unknown element, a valence that no
            certain repair cures, or an aromatic ring without a Kekulé form.
    """
    warnings: list[str] = []
    with rdBase.BlockLogs():
        mol = _build(graph, warnings)
        try:
            _mend(mol, warnings)
            _place(mol)
            _perceive(mol, warnings)
            return _finish(mol, warnings)
        except (Chem.AtomValenceException, Chem.AtomKekulizeException) as err:
            atom = mol.GetAtomWithIdx(getattr(err, "cause").GetAtomIdx())  # noqa: B009 - not in stubs
            raise MoleculeError(f"{_name(atom)}: {_first_line(err)}") from err
        except (RuntimeError, Chem.MolSanitizeException) as err:
            raise MoleculeError(f"RDKit refuses the molecule: {_first_line(err)}") from err


def _first_line(err: Exception) -> str:
    return (str(err).strip().splitlines() or [type(err).__name__])[0]


# ---- atoms, bonds, labels -------------------------------------------------------------------


def _build(graph: Graph, warnings: list[str]) -> Chem.RWMol:
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
        if not (0 <= a < len(graph.atoms) and 0 <= b < len(graph.atoms)) or kind not in _BOND:
            raise MoleculeError(f"no such bond: {(a, b, kind)}")
        if a == b or mol.GetBondBetweenAtoms(a, b) is not None:
            raise MoleculeError(f"{_name(mol.GetAtomWithIdx(a))}: bonded to itself or twice to one")
        mol.AddBond(a, b, _BOND[kind])
        bond = mol.GetBondBetweenAtoms(a, b)
        bond.SetProp("_kind", kind)
        if kind == ":":
            bond.SetIsAromatic(True)
            bond.GetBeginAtom().SetIsAromatic(True)
            bond.GetEndAtom().SetIsAromatic(True)
    scale = _bond_length(mol)
    gone = [i for i in labels if _expand(mol, i, graph.atoms[i][1:-1], scale, warnings)]
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


def _expand(mol: Chem.RWMol, i: int, text: str, scale: float, warnings: list[str]) -> bool:
    """Put what a label stands for in the place of atom ``i``; True if ``i`` is to be removed."""
    holder = mol.GetAtomWithIdx(i)
    x, y = _spot(holder)

    def rank(bond: Chem.Bond) -> tuple[float, float]:
        bx, by = _spot(bond.GetOtherAtom(mol.GetAtomWithIdx(i)))
        return bx, -by

    hands = sorted(holder.GetBonds(), key=rank)
    orders = tuple(_ORDER.get(bond.GetBondType(), 1) for bond in hands)
    group = _R_GROUP.match(text)
    if group is None:
        # "Ac" and "Pr" in a label are groups, as elements they would be atoms of their own.
        match = None if text in _NUMBER else _NUMBERED.match(_H_FIRST.sub(r"\2\1", text))
        if match is not None and match["element"] in _NUMBER:
            _single(holder, match, sum(orders))
            return False
        others = [_spot(bond.GetOtherAtom(holder)) for bond in hands]
        left = not others or others[0][0] <= x + 0.35 * abs(others[0][1] - y)
        for first in (left, not left) if len(hands) == 1 else (True,):
            part = fragment(text, orders, first)
            if part is not None and _graft(mol, i, part, hands, scale):
                return True
    holder.SetProp("atomLabel", text)
    holder.SetProp("molFileAlias", text)
    if group is not None:
        holder.SetProp("atomLabel", f"_R{int(group[1])}")
        holder.SetProp("dummyLabel", f"R{int(group[1])}")
        holder.ClearProp("molFileAlias")
        if int(group[1]):
            holder.SetIsotope(int(group[1]))
            holder.SetUnsignedProp("_MolFileRLabel", int(group[1]))
    elif not hands:
        warnings.append(f"label {text!r} stands alone and is unknown")
    elif not is_variable(text):
        warnings.append(f"label {text!r} is unknown and kept as it is")
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


def _mend(mol: Chem.RWMol, warnings: list[str]) -> None:
    """Cure what can be cured with certainty, then sanitise.

    Raises:
        MoleculeError: naming the atom that cannot be.
    """
    mol.UpdatePropertyCache(strict=False)
    for atom in mol.GetAtoms():
        if not atom.GetNoImplicit() and not atom.HasProp("_label") and _is_onium(atom):
            atom.SetFormalCharge(1)
            warnings.append(f"{_name(atom)}: read as {atom.GetSymbol()}+")
    for _ in range(mol.GetNumAtoms() + 1):
        Chem.SanitizeMol(
            mol,
            Chem.SanitizeFlags.SANITIZE_CLEANUP
            | Chem.SanitizeFlags.SANITIZE_CLEANUP_ORGANOMETALLICS,
            catchErrors=True,
        )
        problems = Chem.DetectChemistryProblems(mol)
        if not problems:
            break
        problem = problems[0]
        if problem.GetType() == "KekulizeException":
            _kekulize(mol, warnings)
        elif problem.GetType() in ("AtomValenceException", "AtomSanitizeException"):
            atom = mol.GetAtomWithIdx(problem.GetAtomIdx())
            if not _recharge(atom, warnings):
                raise MoleculeError(
                    f"{_name(atom)}: its bonds and hydrogens add up to {_valence(atom)}"
                    + (f" at charge {atom.GetFormalCharge():+d}" if atom.GetFormalCharge() else "")
                )
        elif problem.GetType() == "AtomKekulizeException":
            atom = mol.GetAtomWithIdx(problem.GetAtomIdx())
            raise MoleculeError(f"{_name(atom)}: part of a circle but in no ring")
        else:
            raise MoleculeError(problem.Message())
    Chem.SanitizeMol(mol)


def _is_onium(atom: Chem.Atom) -> bool:
    return (
        ONIUM.get(atom.GetSymbol()) == atom.GetDegree()
        and not atom.GetFormalCharge()
        and not atom.GetNumRadicalElectrons()
        and not atom.GetIsAromatic()
        and all(b.GetBondType() == Chem.BondType.SINGLE for b in atom.GetBonds())
        and all(n.GetSymbol() in FILLED or n.GetAtomicNum() == 0 for n in atom.GetNeighbors())
    )


def _valence(atom: Chem.Atom) -> int:
    total = sum(b.GetValenceContrib(atom) for b in atom.GetBonds()) + atom.GetNumExplicitHs()
    return int(total)


def _recharge(atom: Chem.Atom, warnings: list[str]) -> bool:
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
                warnings.append(f"{_name(atom)}: nitro group read as charged")
                return True
        return False
    if charge:
        return False
    if (element, valence) in (("N", 4), ("O", 3)):
        atom.SetFormalCharge(1)
        warnings.append(f"{_name(atom)}: read as {element}+")
        if element == "N":
            _counter(atom)
        return True
    if (element, valence) == ("B", 4):
        atom.SetFormalCharge(-1)
        warnings.append(f"{_name(atom)}: read as B-")
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


def _kekulize(mol: Chem.RWMol, warnings: list[str]) -> None:
    """Find a Kekulé form for rings drawn with circles, with one more NH if there must be one."""
    nitrogens = [
        a.GetIdx()
        for a in mol.GetAtoms()
        if a.GetSymbol() == "N"
        and a.GetIsAromatic()
        and a.GetDegree() == 2
        and not a.GetFormalCharge()
        and not a.GetTotalNumHs()
    ]
    for i in nitrogens:
        trial = Chem.RWMol(mol)
        trial.GetAtomWithIdx(i).SetNumExplicitHs(1)
        try:
            Chem.Kekulize(trial)
        except Chem.KekulizeException:
            continue
        mol.GetAtomWithIdx(i).SetNumExplicitHs(1)
        warnings.append(f"{_name(mol.GetAtomWithIdx(i))}: read as NH")
        return
    ring = [a for a in mol.GetAtoms() if a.GetIsAromatic()]
    raise MoleculeError(
        f"{_name(ring[0])}: no arrangement of double bonds fits the circle drawn in its ring"
        if ring
        else "no Kekulé form"
    )


# ---- stereo ---------------------------------------------------------------------------------


def _place(mol: Chem.RWMol) -> None:
    conformer = Chem.Conformer(mol.GetNumAtoms())
    conformer.Set3D(False)
    for atom in mol.GetAtoms():
        conformer.SetAtomPosition(atom.GetIdx(), Geometry.Point3D(*_spot(atom), 0.0))
    mol.RemoveAllConformers()
    mol.AddConformer(conformer, assignId=True)


def _perceive(mol: Chem.RWMol, warnings: list[str]) -> None:
    """Tetrahedral stereo from wedges and places, double-bond stereo from places."""
    marked: set[int] = set()
    wavy: set[int] = set()
    for bond in mol.GetBonds():
        kind = bond.GetProp("_kind") if bond.HasProp("_kind") else ""
        if kind in _WEDGE:
            bond.SetBondDir(_WEDGE[kind])
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
    Chem.SanitizeMol(mol)
    Chem.DetectBondStereoChemistry(mol, mol.GetConformer())
    Chem.AssignStereochemistry(mol, cleanIt=True, force=True)
    for i in sorted(marked):
        atom = mol.GetAtomWithIdx(i)
        if atom.GetChiralTag() == Chem.ChiralType.CHI_UNSPECIFIED:
            warnings.append(f"{_name(atom)}: the wedge drawn from it gives no stereo")


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


def _finish(drawn: Chem.RWMol, warnings: list[str]) -> Molecule:
    mol = Chem.RemoveHs(drawn)
    atoms = tuple(a.GetIntProp("_graph") for a in mol.GetAtoms())
    for atom in mol.GetAtoms():
        for name in ("_graph", "_x", "_y", "_label"):
            atom.ClearProp(name)
        if atom.GetAtomicNum():
            atom.SetAtomMapNum(0)
    for bond in mol.GetBonds():
        bond.ClearProp("_kind")
    smiles = Chem.MolToSmiles(mol)
    again = Chem.MolFromSmiles(smiles)
    if again is None:
        warnings.append("RDKit does not read its own SMILES of this molecule")
    else:
        smiles = Chem.MolToSmiles(again)
    return Molecule(mol, smiles, tuple(dict.fromkeys(warnings)), atoms)


def _molfile(mol: Chem.Mol) -> str:
    copy = Chem.RWMol(mol)
    # RDKit writes only a query bond as "any" (8); an unspecified one becomes an illegal 0.
    for i in [b.GetIdx() for b in copy.GetBonds() if b.GetBondType() == Chem.BondType.UNSPECIFIED]:
        copy.ReplaceBond(i, Chem.MolFromSmarts("*~*").GetBondWithIdx(0))
    large = copy.GetNumAtoms() > V2000_ATOMS or copy.GetNumBonds() > V2000_ATOMS
    return str(Chem.MolToMolBlock(copy, forceV3000=large))


def _cxsmiles(mol: Chem.Mol) -> str:
    fields = Chem.CXSmilesFields
    text = Chem.MolToCXSmiles(
        mol, Chem.SmilesWriteParams(), int(fields.CX_ATOM_LABELS | fields.CX_RADICALS)
    )
    return str(text)


# ---- the way back, for drawing --------------------------------------------------------------


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
        texts = _texts(plain)
    bonds: list[tuple[int, int, str]] = []
    for bond in plain.GetBonds():
        kind = next((k for k, t in _BOND.items() if t == bond.GetBondType()), "?")
        if kind == "-":
            kind = next((k for k, d in _WEDGE.items() if d == bond.GetBondDir()), "-")
        elif kind == "=" and (
            bond.GetStereo() == Chem.BondStereo.STEREOANY
            or bond.GetBondDir() == Chem.BondDir.EITHERDOUBLE
        ):
            kind = "x"
        bonds.append((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), kind))
    places = plain.GetConformer().GetPositions()[:, :2] * (1.0, -1.0)
    return Graph(texts, np.asarray(places, dtype=np.float64), bonds)


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
        if isotope or hydrogens != read.GetTotalNumHs() or len(dots) > 2 or _is_onium(read):
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
